//! `orthrus limits`: what pauses since a limit was met, and how an operator ends that.

use super::commands::canonical;
use super::{Answer, HoldLine, MOST_PAUSES, PauseLine};
use crate::clock;
use crate::node::Node;
use cluster::Applied;
use gateway_core::attempt::holds::Hold;
use gateway_core::attempt::record::AttemptKey;
use gateway_core::attempt::transition::{Change, Outcome, Transition};
use gateway_core::limit::wrong_passwords::{Lift, Pause, Rules, Scope};
use gateway_core::time::Timestamp;
use std::net::IpAddr;
use std::sync::Arc;

/// Lists the pauses: all of them, or those of one user with what else holds that user.
pub(super) async fn list(node: &Node, user: Option<&str>) -> Answer {
    let user: Option<Arc<str>> = match user.map(|user| canonical(node, user)).transpose() {
        Ok(user) => user.map(Into::into),
        Err(error) => return Answer::Error(error),
    };
    let (rules, now) = (Rules::from(&node.active().setting.config.limits), clock::now());
    let (mut paused, left_out) = node.guesses.lock().paused(&rules, now, MOST_PAUSES);
    let mut holds = Vec::new();
    if let Some(user) = &user {
        paused.retain(
            |pause| matches!(&pause.scope, Scope::User(name) | Scope::Place { user: name, .. } if name == user),
        );
        match ask(node, user, Change::Look).await {
            Ok(found) => holds = found,
            Err(error) => return Answer::Error(error),
        }
    }
    let paused = paused.into_iter().map(|pause| line(pause, now)).collect();
    Answer::Limits { node: node.owner().node.to_string(), paused, holds, left_out }
}

fn line(Pause { scope, failures, until }: Pause, now: Timestamp) -> PauseLine {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let limit = scope.limit().to_owned();
    let (user, group, station, source) = match scope {
        Scope::Place { user, group, station } => (Some(user), Some(group), station, None),
        Scope::User(user) => (Some(user), None, None, None),
        Scope::Station { group, station } => (None, Some(group), Some(station), None),
        Scope::Source(source) => (None, None, None, Some(source)),
    };
    PauseLine {
        limit,
        user: user.map(|user| user.to_string()),
        group: group.map(|group| group.to_string()),
        calling_station: station.as_deref().map(text),
        source: source.map(|source| source.to_string()),
        failures,
        seconds: left(until, now),
    }
}

/// Seconds until then, those that have begun included.
fn left(until: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(until.since(now).as_millis().div_ceil(1_000)).unwrap_or(u64::MAX)
}

/// What the store says of a user.
async fn ask(node: &Node, user: &Arc<str>, change: Change) -> Result<Vec<HoldLine>, String> {
    let key = AttemptKey { group: "".into(), user: user.clone(), station: None };
    let (rules, now) = (node.active().setting.rules(), clock::now());
    let outcome = match node.store.apply(Transition { key, change, rules }, now) {
        Applied::Now(outcome) => outcome,
        Applied::Later(outcome) => outcome.await,
    };
    let Ok(Outcome::Holds(holds)) = outcome else {
        return Err("the store does not say what holds the user: see its own log line".to_owned());
    };
    let line = |hold: &Hold| {
        let (limit, count) = match hold {
            Hold::WrongCodes { count, .. } => ("wrong_codes", *count),
            Hold::Prompts { refused, .. } => ("prompts", *refused),
        };
        HoldLine { limit: limit.to_owned(), count, seconds: hold.until().map(|until| left(until, now)) }
    };
    Ok(holds.iter().map(line).collect())
}

/// Ends pauses, here and at the nodes that share the store.
pub(super) async fn lift(
    node: &Node,
    user: Option<&str>,
    client: Option<&str>,
    source: Option<&str>,
    all: bool,
) -> Answer {
    let lift = match (user, client, source, all) {
        (Some(user), None, None, false) => canonical(node, user).map(|user| Lift::User(user.as_str().into())),
        (None, Some(client), None, false) => group(node, client),
        (None, None, Some(source), false) => {
            source.parse::<IpAddr>().map(Lift::Source).map_err(|_| format!("`{source}` is not an address"))
        }
        (None, None, None, true) => Ok(Lift::All),
        _ => Err("say what to lift: a user, a client, a source or all".to_owned()),
    };
    let lift = match lift {
        Ok(lift) => lift,
        Err(error) => return Answer::Error(error),
    };
    let holds = match &lift {
        Lift::User(user) => ask(node, user, Change::Lift).await,
        Lift::Group(_) | Lift::Source(_) | Lift::All => Ok(Vec::new()),
    };
    let lifted = node.guesses.lock().lift(lift);
    match holds {
        Ok(holds) => {
            Answer::Lifted { node: node.owner().node.to_string(), lifted, holds, shared: node.store.is_shared() }
        }
        Err(error) => Answer::Error(format!("pauses of passwords are lifted; {error}")),
    }
}

fn group(node: &Node, name: &str) -> Result<Lift, String> {
    let active = node.active();
    let client = active.setting.config.clients.iter().find(|client| *client.name == *name);
    client.map(|client| Lift::Group(client.attempt_group.clone())).ok_or_else(|| format!("there is no client `{name}`"))
}
