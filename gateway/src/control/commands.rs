//! What each command does. Which door it came by, and whether it may, was decided before.

use super::{Answer, CertificateLine, Command, MOST_SESSIONS, NodeLine, SessionLine, Status, limits, locks, orders};
use crate::cli::signin::attributes;
use crate::node::Node;
use admin_api::{Control, Draining};
use gateway_core::accounting::sessions::Session;
use gateway_core::dynamic_authorization::{Order, check_changes};
use gateway_core::identity::Rules;
use gateway_core::radius::Attributes;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Does what `command` says.
pub async fn perform(node: &Arc<Node>, command: Command) -> Answer {
    match command {
        Command::Status {} => Answer::Status(status(node)),
        Command::Sessions { user, nas } => sessions(node, user.as_deref(), nas.as_deref()),
        Command::Disconnect { user, session, client } => {
            let found = find(node, user.as_deref(), session.as_deref(), client.as_deref());
            order(node, Order::Disconnect, found, Attributes::new()).await
        }
        Command::Coa { session, client, attributes: texts } => {
            if texts.is_empty() {
                return Answer::Error("nothing would change: give at least one attribute".to_owned());
            }
            let changes = match attributes(&node.active().setting.config.dictionary, &texts) {
                Ok(changes) => changes,
                Err(error) => return Answer::Error(format!("{error:#}")),
            };
            if let Err(error) = check_changes(&changes) {
                return Answer::Error(error);
            }
            let found = find(node, None, Some(&session), client.as_deref());
            if found.as_ref().is_ok_and(|found| found.len() > 1) {
                return Answer::Error(format!(
                    "several RADIUS clients have a session {session}: name one with --client"
                ));
            }
            order(node, Order::Change, found, changes).await
        }
        Command::Drain { deadline } => {
            let Draining { node, in_progress, deadline } = node.drain(deadline.map(Duration::from_secs));
            Answer::Draining { node, in_progress, deadline: deadline.as_secs() }
        }
        Command::Nodes {} => nodes(node),
        Command::Certificates {} => certificates(node).await,
        Command::Locks {} => locks::list(node),
        Command::Lock { user } => locks::order(node, &user, true).await,
        Command::Unlock { user } => locks::order(node, &user, false).await,
        Command::Limits { user } => limits::list(node, user.as_deref()).await,
        Command::LiftLimits { user, client, source, all } => {
            limits::lift(node, user.as_deref(), client.as_deref(), source.as_deref(), all).await
        }
    }
}

fn status(node: &Node) -> Status {
    let readiness = node.readiness();
    let checks = readiness.checks.into_iter().map(|check| (check.name.to_owned(), check.ok, check.detail));
    Status {
        node: node.owner().node.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        config_version: node.active().setting.config.version.clone(),
        ready: readiness.ready,
        checks: checks.collect(),
        in_progress: node.in_progress(),
        pending: node.pending.len(),
        sessions: node.accounting.sessions().len(),
    }
}

fn sessions(node: &Node, user: Option<&str>, nas: Option<&str>) -> Answer {
    let user = match user.map(|user| canonical(node, user)).transpose() {
        Ok(user) => user,
        Err(error) => return Answer::Error(error),
    };
    let known = node.accounting.sessions();
    let wanted = |session: &&Session| {
        user.as_ref().is_none_or(|user| *user == *session.user) && nas.is_none_or(|nas| is_at(session, nas))
    };
    let mut found: Vec<SessionLine> = Vec::new();
    let mut left_out = 0;
    for session in known.iter().filter(wanted) {
        if found.len() < MOST_SESSIONS {
            found.push(line(session));
        } else {
            left_out += 1;
        }
    }
    drop(known);
    found.sort_by(|a, b| (&a.user, a.started, &a.session).cmp(&(&b.user, b.started, &b.session)));
    Answer::Sessions { node: node.owner().node.to_string(), sessions: found, left_out }
}

fn is_at(session: &Session, nas: &str) -> bool {
    let address = nas.parse::<IpAddr>().ok();
    *session.client == *nas
        || session.nas_identifier.as_deref() == Some(nas.as_bytes())
        || address.is_some_and(|address| session.nas == address || session.nas_ip == Some(address))
}

/// The canonical name of a user who was named in any spelling.
pub(super) fn canonical(node: &Node, user: &str) -> Result<String, String> {
    let rules = Rules::from(&node.active().setting.config.identity);
    rules.read(user.as_bytes()).map(|identity| identity.canonical).map_err(|_| format!("`{user}` is not a user name"))
}

/// The sessions that an order means. None is an error: an operator who mistypes a name must not read success.
fn find(node: &Node, user: Option<&str>, session: Option<&str>, client: Option<&str>) -> Result<Vec<Session>, String> {
    if user.is_none() == session.is_none() {
        return Err("give either a user or a session".to_owned());
    }
    let user = user.map(|user| canonical(node, user)).transpose()?;
    let known = node.accounting.sessions();
    let wanted = |found: &&Session| {
        client.is_none_or(|client| *found.client == *client)
            && session.is_none_or(|session| *found.acct_session_id == *session.as_bytes())
    };
    let found: Vec<Session> = match &user {
        Some(user) => known.of_user(user).filter(wanted).cloned().collect(),
        None => known.iter().filter(wanted).cloned().collect(),
    };
    if found.is_empty() {
        let node = &node.owner().node;
        return Err(format!(
            "node {node} knows of no such session: it knows those that accounting reports to it, and to nodes that it shares a \
             store with"
        ));
    }
    Ok(found)
}

async fn order(node: &Arc<Node>, order: Order, found: Result<Vec<Session>, String>, changes: Attributes) -> Answer {
    match found {
        Ok(found) => Answer::Ordered(orders::send(node, order, found, changes).await),
        Err(error) => Answer::Error(error),
    }
}

/// A session as it is shown.
pub(super) fn line(session: &Session) -> SessionLine {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    SessionLine {
        user: session.user.to_string(),
        session: text(&session.acct_session_id),
        client: session.client.to_string(),
        nas: session.nas.to_string(),
        nas_identifier: session.nas_identifier.as_deref().map(text),
        calling_station: session.calling_station_id.as_deref().map(text),
        framed_ip: session.framed_ip.map(|address| address.to_string()),
        started: session.started.as_secs(),
        last_seen: session.last_seen.as_secs(),
        input_octets: session.input_octets,
        output_octets: session.output_octets,
    }
}

fn nodes(node: &Node) -> Answer {
    let mut members: Vec<NodeLine> = node
        .store
        .nodes()
        .into_iter()
        .map(|member| NodeLine {
            node: member.owner.node.to_string(),
            address: member.says.address,
            version: member.says.version,
            state: member.says.state,
            in_progress: member.says.in_progress,
            pending: member.says.pending,
            started: member.started.as_secs(),
            seen: member.seen.as_secs(),
        })
        .collect();
    if members.is_empty() {
        return Answer::Error("this node shares no store, or cannot reach it: it knows of no other".to_owned());
    }
    members.sort_by(|a, b| a.node.cmp(&b.node));
    Answer::Nodes(members)
}

async fn certificates(node: &Node) -> Answer {
    match node.store.certificates().await {
        Ok(found) => Answer::Certificates(
            found
                .into_iter()
                .map(|certificate| CertificateLine {
                    node: certificate.node,
                    factor: certificate.factor,
                    thumbprint: certificate.thumbprint,
                    state: certificate.state,
                    not_before: certificate.not_before.as_secs(),
                    not_after: certificate.not_after.as_secs(),
                })
                .collect(),
        ),
        Err(error) => Answer::Error(format!("the store does not tell: {error}")),
    }
}
