//! `orthrus limits`: what pauses since a limit was met, and how an operator ends that.

use super::commands::canonical;
use super::{Answer, MOST_PAUSES, PauseLine};
use crate::clock;
use crate::node::Node;
use gateway_core::limit::wrong_passwords::{Lift, Pause, Rules, Scope};
use std::net::IpAddr;

/// Lists the pauses.
pub(super) fn list(node: &Node) -> Answer {
    let (rules, now) = (Rules::from(&node.active().setting.config.limits), clock::now());
    let (paused, left_out) = node.guesses.lock().paused(&rules, now, MOST_PAUSES);
    let line = |Pause { scope, failures, until }: Pause| {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let seconds = until.since(now).as_millis().div_ceil(1_000);
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
            seconds: u64::try_from(seconds).unwrap_or(u64::MAX),
        }
    };
    let paused = paused.into_iter().map(line).collect();
    Answer::Limits { node: node.owner().node.to_string(), paused, left_out }
}

/// Ends pauses, here and at the nodes that share the store.
pub(super) fn lift(node: &Node, user: Option<&str>, client: Option<&str>, source: Option<&str>, all: bool) -> Answer {
    let lift = match (user, client, source, all) {
        (Some(user), None, None, false) => canonical(node, user).map(|user| Lift::User(user.as_str().into())),
        (None, Some(client), None, false) => group(node, client),
        (None, None, Some(source), false) => {
            source.parse::<IpAddr>().map(Lift::Source).map_err(|_| format!("`{source}` is not an address"))
        }
        (None, None, None, true) => Ok(Lift::All),
        _ => Err("say what to lift: a user, a client, a source or all".to_owned()),
    };
    match lift {
        Ok(lift) => Answer::Lifted {
            node: node.owner().node.to_string(),
            lifted: node.guesses.lock().lift(lift),
            shared: node.store.is_shared(),
        },
        Err(error) => Answer::Error(error),
    }
}

fn group(node: &Node, name: &str) -> Result<Lift, String> {
    let active = node.active();
    let client = active.setting.config.clients.iter().find(|client| *client.name == *name);
    client.map(|client| Lift::Group(client.attempt_group.clone())).ok_or_else(|| format!("there is no client `{name}`"))
}
