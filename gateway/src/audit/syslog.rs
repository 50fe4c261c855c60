//! The lines of the audit, to a syslog daemon on this machine (RFC 5424, over a Unix datagram socket). Nobody waits for it.

use gateway_core::audit::entry::time;
use gateway_core::time::Timestamp;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

/// Facility authpriv (10), severity informational (6): RFC 5424 §6.2.1.
const PRIORITY: u8 = 10 * 8 + 6;
/// A daemon that is not there is looked for this often.
const AGAIN: Duration = Duration::from_secs(1);

/// The socket.
pub(super) struct Syslog {
    path: PathBuf,
    host: String,
    socket: Option<UnixDatagram>,
    tried: Option<Timestamp>,
}

impl Syslog {
    /// For the daemon behind `path`; `host` is what this machine is called there.
    pub(super) fn new(path: PathBuf, host: &str) -> Self {
        // HOSTNAME is printable ASCII without spaces, at most 255 of it (§6).
        let host: String = host.chars().filter(char::is_ascii_graphic).take(255).collect();
        let host = if host.is_empty() { "-".to_owned() } else { host };
        Self { path, host, socket: None, tried: None }
    }

    /// Sends one line; whether the daemon took it.
    pub(super) fn send(&mut self, line: &[u8], now: Timestamp) -> bool {
        if self.socket.is_none() && self.tried.is_none_or(|tried| now.since(tried) >= AGAIN) {
            self.tried = Some(now);
            self.socket = self.connect();
        }
        let Some(socket) = &self.socket else { return false };
        let process = std::process::id();
        let mut message = format!("<{PRIORITY}>1 {} {} orthrus {process} audit - ", time(now), self.host).into_bytes();
        message.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
        match socket.send(&message) {
            Ok(_) => true,
            // It is slow: the next line may find room.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => false,
            Err(_) => {
                self.socket = None;
                false
            }
        }
    }

    fn connect(&self) -> Option<UnixDatagram> {
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_nonblocking(true).ok()?;
        socket.connect(&self.path).ok()?;
        Some(socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syslog_gets_lines_by_rfc5424() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let second = Timestamp::from_secs(1);
        let mut syslog = Syslog::new(path.clone(), "gw 1\n");
        assert!(!syslog.send(b"{}\n", second), "nobody listens");
        let daemon = UnixDatagram::bind(&path).unwrap();
        assert!(!syslog.send(b"{}\n", second), "it is looked for once a second");
        assert!(syslog.send(b"{\"v\":1}\n", Timestamp::from_secs(2)));
        let mut message = [0; 200];
        let length = daemon.recv(&mut message).unwrap();
        let wanted =
            format!("<86>1 1970-01-01T00:00:02.000000Z gw1 orthrus {} audit - {{\"v\":1}}", std::process::id());
        assert_eq!(String::from_utf8_lossy(&message[..length]), wanted);
    }
}
