//! Disconnect- and CoA-Requests on their way (RFC 5176): each from a socket of its own, sent again as it was until it is
//! answered or the tries are used up.

use super::{Ordered, commands};
use crate::clock::{self, OsEntropy};
use crate::node::Node;
use gateway_core::accounting::sessions::Session;
use gateway_core::config::Client;
use gateway_core::dynamic_authorization::{Answer, NoAnswer, Order, encode, error_cause, judge};
use gateway_core::entropy::draw;
use gateway_core::radius::{Attributes, LONGEST_PACKET, SharedSecret};
use gateway_core::reason::Reason;
use gateway_core::retransmission::{LONGEST, Retransmission};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

/// Requests that are out at the same time.
const TOGETHER: usize = 32;

/// Sends the order for each of the sessions, and tells what became of each.
pub async fn send(node: &Arc<Node>, order: Order, sessions: Vec<Session>, changes: Attributes) -> Vec<Ordered> {
    let mut done = Vec::with_capacity(sessions.len());
    let mut sessions = sessions.into_iter();
    loop {
        let some: Vec<_> = sessions
            .by_ref()
            .take(TOGETHER)
            .map(|session| {
                let (node, changes) = (node.clone(), changes.clone());
                actix_rt::spawn(async move { one(&node, order, &session, &changes).await })
            })
            .collect();
        if some.is_empty() {
            return done;
        }
        for task in some {
            // A task that died has told the log why.
            done.extend(task.await);
        }
    }
}

/// How it went with one session.
enum Went {
    Answered(Answer),
    Silent { forged: bool },
    NotSent(String),
}

async fn one(node: &Node, order: Order, session: &Session, changes: &Attributes) -> Ordered {
    let active = node.active().clone();
    let client = active.setting.config.clients.iter().find(|client| client.name == session.client);
    let (sent_to, went) = match client {
        Some(client) => {
            let settings = &client.dynamic_authorization;
            let to = SocketAddr::new(settings.address.unwrap_or(session.nas), settings.port);
            (Some(to), exchange(node, order, session, changes, client, to).await)
        }
        None => (None, Went::NotSent("its RADIUS client is not configured any more".to_owned())),
    };
    let (outcome, error_cause, detail, reason) = told(&went);
    let meters = &node.observer.metrics.dynamic_authorization;
    meters.requests.with_label_values(&[&*session.client, order.label(), outcome]).inc();
    match reason {
        None => tracing::info!(
            client = &*session.client,
            user = &*session.user,
            order = order.label(),
            "the NAS did as it was told"
        ),
        Some(reason) => tracing::warn!(
            client = &*session.client,
            user = &*session.user,
            order = order.label(),
            reason_id = reason.id(),
            reason = reason.label(),
            detail,
            "{}",
            reason.cause()
        ),
    }
    Ordered {
        session: commands::line(session),
        sent_to: sent_to.map(|to| to.to_string()),
        outcome: outcome.to_owned(),
        error_cause,
        detail,
        reason: reason.map(|reason| reason.id().to_owned()),
    }
}

fn told(went: &Went) -> (&'static str, Option<u32>, String, Option<Reason>) {
    match went {
        Went::Answered(Answer::Ack) => ("ack", None, String::new(), None),
        Went::Answered(Answer::Nak { cause }) => {
            let text = cause.map_or("it does not say why".to_owned(), |cause| {
                error_cause(cause).map_or_else(|| format!("Error-Cause {cause}"), str::to_owned)
            });
            ("nak", *cause, text, Some(Reason::DynamicAuthorizationRefused))
        }
        Went::Silent { forged: false } => {
            ("no_answer", None, "no answer".to_owned(), Some(Reason::DynamicAuthorizationUnanswered))
        }
        Went::Silent { forged: true } => {
            ("no_answer", None, NoAnswer::Forged.to_string(), Some(Reason::DynamicAuthorizationForged))
        }
        Went::NotSent(error) => ("not_sent", None, error.clone(), Some(Reason::DynamicAuthorizationNotSent)),
    }
}

async fn exchange(
    node: &Node,
    order: Order,
    session: &Session,
    changes: &Attributes,
    client: &Client,
    to: SocketAddr,
) -> Went {
    let settings = &client.dynamic_authorization;
    let Some(secret) = settings.secret.as_ref().or(client.secrets.first()) else {
        return Went::NotSent("there is no secret".to_owned());
    };
    let [identifier] = draw::<1>(&mut OsEntropy::new());
    let request = match encode(order, identifier, session, &settings.send_attributes, changes, secret, clock::now()) {
        Ok(request) => request,
        Err(error) => return Went::NotSent(error.to_string()),
    };
    let resent = node.observer.metrics.dynamic_authorization.resent.with_label_values(&[&*client.name]);
    match transmit(order, &request, secret, to, (settings.timeout, settings.tries), || resent.inc()).await {
        Ok(went) => went,
        Err(error) => Went::NotSent(format!("{to}: {error}")),
    }
}

/// Sends the same octets until an answer counts. What does not count is passed over, so that nobody ends the wait by sending
/// rubbish.
async fn transmit(
    order: Order,
    request: &[u8],
    secret: &SharedSecret,
    to: SocketAddr,
    (first, tries): (Duration, u32),
    resent: impl Fn(),
) -> std::io::Result<Went> {
    let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(to).await?;
    let mut buffer = [0; LONGEST_PACKET];
    let mut forged = false;
    let mut waits = Retransmission::new(first, LONGEST);
    for attempt in 0..tries {
        if attempt > 0 {
            resent();
        }
        // An error here is what ICMP said of the try before: the NAS may be starting.
        let _ = socket.send(request).await;
        let until = Instant::now() + waits.wait(u32::from_be_bytes(draw(&mut OsEntropy::new())));
        while let Ok(received) = timeout_at(until, socket.recv(&mut buffer)).await {
            let Ok(length) = received else { continue };
            match judge(order, request, buffer.get(..length).unwrap_or_default(), secret) {
                Ok(answer) => return Ok(Went::Answered(answer)),
                Err(NoAnswer::Forged) => forged = true,
                Err(NoAnswer::Stranger) => {}
            }
        }
    }
    Ok(Went::Silent { forged })
}
