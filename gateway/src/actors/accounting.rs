//! One socket for accounting on one thread: datagrams in, the checks that cost nothing, records to the sinks, and answers out
//! when the sinks have them.
//!
//! There is no duplicate table: a record is recognised by its name (`gateway_core::accounting::record`), and the answer to the
//! same packet is always the same octets.

use super::keeper::Guard;
use super::listener::{Datagrams, OUTBOX, Outbox};
use super::messages::{Batch, Datagram, Recorded};
use crate::accounting::Intake;
use crate::accounting::entry::{Answers, Entry, Origin};
use crate::clock;
use crate::listen::udp::{Bound, Outgoing, UdpSocket};
use crate::node::{Active, Node};
use actix::prelude::*;
use gateway_core::config::Client;
use gateway_core::event::Event;
use gateway_core::radius::{Attributes, Code, Packet, Proof, encode_reply};
use gateway_core::reason::Reason;
use gateway_core::time::Timestamp;
use prometheus::IntCounter;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// One socket for accounting on one thread.
pub struct AccountingListener {
    node: Arc<Node>,
    intake: Intake,
    bound: Option<Bound>,
    label: String,
    outbox: Outbox,
    answers: Option<Arc<Answers>>,
    meters: HashMap<Arc<str>, [IntCounter; 2]>,
    /// Status-Server packets of each client in this second.
    status: HashMap<Arc<str>, (u64, u32)>,
    guard: Option<Guard>,
    serving: bool,
}

type Refused = (Reason, Option<&'static str>);

impl AccountingListener {
    /// For a socket that is bound already; start it on the thread that serves it.
    pub fn new(node: Arc<Node>, bound: Bound) -> Self {
        Self {
            label: bound.local_address().to_string(),
            intake: node.accounting.intake(),
            node,
            bound: Some(bound),
            outbox: Outbox::default(),
            answers: None,
            meters: HashMap::new(),
            status: HashMap::new(),
            guard: None,
            serving: false,
        }
    }

    fn receive(&mut self, datagram: Datagram, active: &Arc<Active>, now: Timestamp) {
        let source = datagram.peer;
        let Some(client) = active.clients.find(source.ip()).cloned() else {
            let reason = Reason::UnknownClient;
            return self.node.observer.observe(Event::Dropped { client: None, source, reason, detail: None }, now);
        };
        let name = client.name.clone();
        if let Err((reason, detail)) = self.take(datagram, client, active, now) {
            self.node.observer.observe(Event::Dropped { client: Some(name), source, reason, detail }, now);
        }
    }

    fn take(
        &mut self,
        datagram: Datagram,
        client: Arc<Client>,
        active: &Active,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let Datagram { bytes, peer, local, truncated } = datagram;
        if truncated {
            return Err((Reason::Oversized, None));
        }
        let packet = Packet::whole(&bytes).map_err(|malformed| (Reason::Malformed, Some(malformed.label())))?;
        if packet.code() == Code::STATUS_SERVER {
            let outgoing = self.status(&packet, &client, active, now)?;
            self.send(Outgoing { bytes: outgoing.into(), peer, local }, &client.name);
            return Ok(());
        }
        self.meters(&client.name)[0].inc();
        if self.node.is_draining() {
            return Err((Reason::Draining, None));
        }
        let Some(answers) = self.answers.clone() else { return Err((Reason::Unexpected, None)) };
        let origin = Origin { client, peer, local, received: now };
        let entry = Entry::read(bytes, origin, self.intake.sinks(), &answers).map_err(|reason| (reason, None))?;
        self.intake.put(&entry).map_err(|_| {
            self.node.observer.metrics.limit_hits.with_label_values(&["accounting_queue"]).inc();
            (Reason::AccountingQueueFull, None)
        })
    }

    /// Status-Server on an accounting port is answered by an Accounting-Response (RFC 5997 §3).
    fn status(
        &mut self,
        packet: &Packet<'_>,
        client: &Client,
        active: &Active,
        now: Timestamp,
    ) -> Result<Vec<u8>, Refused> {
        let proved = client.secrets.iter().find(|secret| packet.message_authenticator(secret) == Proof::Valid);
        let secret = proved.ok_or((Reason::BadMessageAuthenticator, None))?;
        if self.node.is_draining() {
            return Err((Reason::Draining, None));
        }
        let (second, count) = self.status.entry(client.name.clone()).or_default();
        if *second != now.as_secs() {
            (*second, *count) = (now.as_secs(), 0);
        }
        *count = count.saturating_add(1);
        if *count > active.setting.config.limits.status_server_rate {
            self.node.observer.metrics.limit_hits.with_label_values(&["status_server_rate"]).inc();
            return Err((Reason::RateLimited, None));
        }
        encode_reply(Code::ACCOUNTING_RESPONSE, packet, &Attributes::new(), secret)
            .map_err(|_| (Reason::ReplyTooLong, None))
    }

    fn send(&mut self, outgoing: Outgoing, client: &Arc<str>) {
        self.meters(client)[1].inc();
        let mut outbox = self.outbox.borrow_mut();
        if outbox.len() < OUTBOX {
            outbox.push_back(outgoing);
        } else {
            self.node.observer.metrics.send_failures.inc();
        }
    }

    fn meters(&mut self, client: &Arc<str>) -> &[IntCounter; 2] {
        let (metrics, label) = (&self.node.observer.metrics, self.label.as_str());
        self.meters.entry(client.clone()).or_insert_with(|| {
            let client = &**client;
            [
                metrics.requests.with_label_values(&[label, client, "Accounting-Request"]),
                metrics.responses.with_label_values(&[label, client, "Accounting-Response"]),
            ]
        })
    }
}

impl Actor for AccountingListener {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let Some(bound) = self.bound.take() else { return ctx.stop() };
        self.answers = Some(Answers::new(ctx.address().recipient()));
        let node = self.node.clone();
        let (address, buffers) = (bound.local_address(), bound.obtained());
        let again = move || match Bound::bind(address, buffers) {
            Ok(bound) => drop(Self::new(node, bound).start()),
            Err(error) => tracing::error!(%address, %error, "the socket cannot be bound again"),
        };
        self.guard = Some(Guard::new(self.node.clone(), format!("listener {}", self.label), again));
        match UdpSocket::new(bound) {
            Ok(socket) => {
                ctx.add_stream(Datagrams::new(socket, self.outbox.clone(), self.node.clone()));
                self.serving = true;
                self.node.listening.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                tracing::error!(listener = self.label, %error, "the socket cannot be served");
                ctx.stop();
            }
        }
    }
}

impl Drop for AccountingListener {
    fn drop(&mut self) {
        if self.serving {
            self.node.listening.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl StreamHandler<Batch> for AccountingListener {
    fn handle(&mut self, Batch(datagrams): Batch, _: &mut Context<Self>) {
        let (active, now) = (self.node.active().clone(), clock::now());
        for datagram in datagrams {
            self.receive(datagram, &active, now);
        }
    }

    /// The socket has failed: its keeper binds another.
    fn finished(&mut self, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

impl Handler<Recorded> for AccountingListener {
    type Result = ();

    fn handle(&mut self, _: Recorded, _: &mut Context<Self>) {
        let Some(answers) = self.answers.clone() else { return };
        for (outgoing, client) in answers.take() {
            self.send(outgoing, &client);
        }
    }
}
