//! `control.sock` in `state_dir`: a Unix socket for root and for the account that the gateway runs as, one line of JSON each way.

use super::{Answer, Command, LONGEST_ANSWER, LONGEST_REQUEST, Request, VERSION, commands};
use crate::node::Node;
use anyhow::{Context, anyhow, bail};
use cluster::places::{Door, Mark};
use gateway_core::event::Order;
use serde::Deserialize;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as Connection;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

/// The socket's name in `state_dir`.
pub const NAME: &str = "control.sock";

/// How long an operator may take to send the line, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a command waits for the node: longer than all tries of a Disconnect-Request with the longest settings would be in
/// vain, so that a script is told rather than left hanging.
const LONGEST_COMMAND: Duration = Duration::from_secs(600);

/// Serves the socket of `state_dir`, on the thread that calls, to so many at a time. The path, to be removed at the end.
///
/// # Errors
///
/// It cannot be made: the path is too long for a socket (107 octets), or `state_dir` is not ours.
pub fn serve(node: Arc<Node>, state_dir: &Path, connections: usize) -> io::Result<PathBuf> {
    let (path, fresh) = (state_dir.join(NAME), state_dir.join("control.sock.new"));
    let _ = fs::remove_file(&fresh);
    let listener = UnixListener::bind(&fresh)?;
    // Nobody finds it under its name before it is closed to others; one that a dead process left is replaced.
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))?;
    let owner = fs::metadata(&fresh)?.uid();
    fs::rename(&fresh, &path)?;
    let door = Door::new(connections);
    actix_rt::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    greet(&node, stream, owner, (&door, connections));
                    // Whoever lost a place for it is closed before another comes.
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    crate::means::is_behind(&error);
                    door.make_room();
                    // Out of descriptors: not to be asked again at once.
                    actix_rt::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    });
    Ok(path)
}

/// Whoever says nothing gives way to whoever comes; a command that was heard is done.
fn greet(node: &Arc<Node>, stream: UnixStream, owner: u32, (door, connections): (&Door<u32>, usize)) {
    let Ok(peer) = stream.peer_cred() else { return };
    let hits = node.observer.metrics.limit_hits.with_label_values(&["control_connections"]);
    let Some((mut place, closes)) = door.enter(peer.uid()) else {
        hits.inc();
        let error = format!("the node speaks to {connections} operators already: limits.control_connections");
        // There is room for a line in a socket that was just made.
        let _ = line(&Answer::Error(error)).and_then(|line| stream.try_write(&line));
        return;
    };
    if closes {
        hits.inc();
    }
    let node = node.clone();
    actix_rt::spawn(async move {
        let heard = place.mark();
        match place.hold(converse(&node, stream, owner, heard)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::debug!(%error, "a command was not heard to its end"),
            None => tracing::debug!("a silent connection was closed for one that came later"),
        }
    });
}

async fn converse(node: &Arc<Node>, mut stream: UnixStream, owner: u32, heard: Mark<u32>) -> io::Result<()> {
    let (peer, pid) = (stream.peer_cred()?.uid(), stream.peer_cred()?.pid());
    let answer = if peer != 0 && peer != owner {
        tracing::warn!(uid = peer, "somebody else tried to command this node");
        Answer::Error("only root and the account that the gateway runs as may do this".to_owned())
    } else {
        let (read, _) = stream.split();
        let mut line = Vec::new();
        let mut read = tokio::io::BufReader::new(read.take(LONGEST_REQUEST as u64 + 1));
        timeout(PATIENCE, read.read_until(b'\n', &mut line)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        match read_request(&line) {
            Ok(command) => {
                heard.heard();
                let told = command.told();
                tracing::info!(command = told, uid = peer, pid, "an operator's command");
                let audited = node.audit_order(Order::Socket { uid: peer, pid }, told).await;
                if !audited && command.changes() {
                    let error = "the audit cannot be written, and what is not audited is not done: look at the disk of audit.folder";
                    Answer::Error(error.to_owned())
                } else {
                    commands::perform(node, command).await
                }
            }
            Err(error) => Answer::Error(error),
        }
    };
    timeout(PATIENCE, stream.write_all(&line(&answer)?)).await.map_err(|_| io::ErrorKind::TimedOut)?
}

fn line(answer: &Answer) -> io::Result<Vec<u8>> {
    let mut octets = serde_json::to_vec(answer)?;
    octets.push(b'\n');
    Ok(octets)
}

/// Reads the line: first its version, as what another version says cannot be read otherwise.
fn read_request(line: &[u8]) -> Result<Command, String> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    if line.len() > LONGEST_REQUEST {
        return Err(format!("the request has more than {LONGEST_REQUEST} octets"));
    }
    let Versioned { version } = serde_json::from_slice(line).map_err(|error| format!("not a request: {error}"))?;
    if version != VERSION {
        return Err(format!(
            "this node speaks version {VERSION} of the control socket, and the command version {version}: use the orthrus of the \
             node's release, or restart the node with the new one"
        ));
    }
    let request: Request = serde_json::from_slice(line).map_err(|error| format!("not a request: {error}"))?;
    Ok(request.command)
}

/// Sends a command to the node behind the socket and waits for the answer.
///
/// # Errors
///
/// No node, no permission, no sense in the answer: each with what to do. An [`Answer::Error`] is an error here too.
pub fn ask(socket: &Path, command: Command) -> anyhow::Result<Answer> {
    let shown = socket.display();
    let mut connection = Connection::connect(socket).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            anyhow!("{shown}: no node is running here: start it, or name its configuration with --config")
        }
        io::ErrorKind::PermissionDenied => {
            anyhow!("{shown}: permission denied: run this as root or as the account that the gateway runs as")
        }
        _ => anyhow!("{shown}: {error}"),
    })?;
    connection.set_read_timeout(Some(LONGEST_COMMAND))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(&Request { version: VERSION, command })?;
    line.push(b'\n');
    // A node that turns everybody away says so without listening.
    let written = connection.write_all(&line);
    let mut answer = String::new();
    let mut read = BufReader::new(connection.take(LONGEST_ANSWER as u64));
    read.read_line(&mut answer).with_context(|| format!("{shown}: the node did not answer"))?;
    if answer.is_empty() {
        written.with_context(|| format!("{shown}: the node does not listen"))?;
        bail!("{shown}: the node ended the conversation: it has just stopped");
    }
    match serde_json::from_str(&answer) {
        Ok(Answer::Error(error)) => bail!(error),
        Ok(answer) => Ok(answer),
        Err(_) => {
            bail!("{shown}: the node answers what this orthrus cannot read: use the orthrus of the node's release")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_versioned_and_bounded() {
        let line = br#"{"version":1,"command":{"sessions":{"user":"alice"}}}"#;
        assert_eq!(read_request(line), Ok(Command::Sessions { user: Some("alice".to_owned()), nas: None }));
        assert!(read_request(br#"{"version":2,"command":{"later":{}}}"#).unwrap_err().contains("version 2"));
        assert!(read_request(br#"{"version":1,"command":{"later":{}}}"#).unwrap_err().contains("later"));
        assert!(read_request(br#"{"version":1,"command":{"drain":{"dead":1}}}"#).is_err());
        assert!(read_request(b"").is_err());
        assert!(read_request(&vec![b' '; LONGEST_REQUEST + 1]).unwrap_err().contains("octets"));
    }

    #[test]
    fn a_missing_node_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = ask(&folder.path().join(NAME), Command::Status {}).unwrap_err().to_string();
        assert!(error.contains("no node is running here"), "{error}");
    }
}
