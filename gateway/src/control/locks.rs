//! `orthrus lock` and `orthrus unlock`: a user is refused at every node, now.

use super::commands::canonical;
use super::{Answer, LockLine};
use crate::clock;
use crate::node::Node;
use gateway_core::reason::Reason;
use std::sync::Arc;

/// Lists who is locked.
pub(super) fn list(node: &Node) -> Answer {
    let line =
        |lock: gateway_core::limit::locks::Lock| LockLine { user: lock.user.to_string(), since: lock.at.as_secs() };
    let locked = node.locks.locked().into_iter().map(line).collect();
    Answer::Locks { node: node.owner().node.to_string(), locked }
}

/// Locks or unlocks a user. It holds here before it is answered, is on the disk, and what was open is ended in the store.
pub(super) async fn order(node: &Arc<Node>, user: &str, locked: bool) -> Answer {
    let user: Arc<str> = match canonical(node, user) {
        Ok(user) => user.into(),
        Err(error) => return Answer::Error(error),
    };
    if let Err(full) = node.locks.order(user.clone(), locked, clock::now()) {
        return Answer::Error(full.to_string());
    }
    // In force here already. What is open ends first: a disk that fails must not leave it open.
    let ended = match locked {
        // While the store is lost only this node's copies are ended.
        true => {
            let ended = node.end_attempts(user.clone(), Reason::LockedByOperator).await.ok();
            ended.filter(|_| !node.store.health().lost)
        }
        false => Some(0),
    };
    let writer = node.clone();
    let written = actix_rt::task::spawn_blocking(move || writer.locks.persist()).await;
    if !matches!(written, Ok(Ok(()))) {
        let what = if locked { "locked" } else { "unlocked" };
        return Answer::Error(format!(
            "{user} is {what}, but state_dir cannot be written: a restart of this node would forget it. Free or mend the disk; it is \
             written once a second until that works"
        ));
    }
    let shared = node.store.is_shared();
    Answer::Locked { node: node.owner().node.to_string(), user: user.to_string(), locked, ended, shared }
}
