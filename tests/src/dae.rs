//! A NAS that reports sessions and takes Disconnect- and CoA-Requests (RFC 5176): it believes none that is not proved, that is
//! old, or that names no session of its own.

use gateway_core::radius::{Attributes, Code, Packet, Proof, SharedSecret, attribute, encode_reply, encode_request};
use gateway_core::secret::Secret;
use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How it treats requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It obeys.
    Obeys,
    /// It loses the first packet of each request.
    Loses,
    /// It refuses, and says why with this Error-Cause.
    Refuses(u32),
    /// It answers with another secret.
    Forges,
    /// It says nothing.
    Silent,
}

/// The NAS. Dropping it ends its thread.
pub struct DaeNas {
    secret: Arc<SharedSecret>,
    address: SocketAddr,
    received: Arc<Mutex<Vec<Vec<u8>>>>,
    open: Arc<Mutex<HashSet<Vec<u8>>>>,
    thread: Option<JoinHandle<()>>,
}

fn shared(secret: &str) -> SharedSecret {
    SharedSecret::new(Secret::new(secret.as_bytes().to_vec()))
}

impl DaeNas {
    /// Serves on a port of its own of 127.0.0.1.
    pub fn start(secret: &str, manner: Manner) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has ports");
        let address = socket.local_addr().expect("it is bound");
        let (secret, other) = (Arc::new(shared(secret)), shared("not the secret of anybody else"));
        let (received, open) = (Arc::<Mutex<Vec<Vec<u8>>>>::default(), Arc::<Mutex<HashSet<Vec<u8>>>>::default());
        let (heard, sessions, own) = (received.clone(), open.clone(), secret.clone());
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                if length == 0 {
                    return;
                }
                let octets = &buffer[..length];
                let again = heard.lock().unwrap().iter().any(|before| before == octets);
                heard.lock().unwrap().push(octets.to_vec());
                if manner == Manner::Silent || (manner == Manner::Loses && !again) {
                    continue;
                }
                if let Some(reply) = answer(octets, &own, &other, manner, &sessions) {
                    let _ = socket.send_to(&reply, peer);
                }
            }
        });
        Self { secret, address, received, open, thread: Some(thread) }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What arrived, in order.
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.received.lock().unwrap().clone()
    }

    /// Whether the session is open.
    pub fn has(&self, session: &str) -> bool {
        self.open.lock().unwrap().contains(session.as_bytes())
    }

    /// Reports to `server` that a session has begun, until it is answered.
    ///
    /// # Panics
    ///
    /// It is not answered.
    pub fn begin(&self, server: SocketAddr, user: &str, session: &str) {
        self.open.lock().unwrap().insert(session.as_bytes().to_vec());
        let mut list = Attributes::new();
        list.push_integer(attribute::ACCT_STATUS_TYPE, 1);
        list.push_integer(attribute::EVENT_TIMESTAMP, seconds());
        list.push_text(attribute::USER_NAME, user);
        list.push_text(attribute::ACCT_SESSION_ID, session);
        list.push_text(attribute::NAS_IDENTIFIER, "gw-1");
        list.push_text(attribute::CALLING_STATION_ID, "198.51.100.7");
        let bytes = encode_request(Code::ACCOUNTING_REQUEST, rand::random(), [0; 16], &list, &self.secret, true);
        let bytes = bytes.expect("it fits");
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has ports");
        socket.set_read_timeout(Some(Duration::from_millis(500))).expect("it is not zero");
        let mut buffer = [0; 4096];
        for _ in 0..40 {
            socket.send_to(&bytes, server).expect("loopback takes it");
            if socket.recv(&mut buffer).is_ok() {
                assert_eq!(Code::from(buffer[0]), Code::ACCOUNTING_RESPONSE);
                return;
            }
        }
        panic!("{server} did not answer for a session");
    }
}

fn seconds() -> u32 {
    u32::try_from(crate::token::now().as_secs()).expect("before 2106")
}

fn answer(
    octets: &[u8],
    own: &SharedSecret,
    other: &SharedSecret,
    manner: Manner,
    sessions: &Mutex<HashSet<Vec<u8>>>,
) -> Option<Vec<u8>> {
    let request = Packet::parse(octets).ok()?;
    let (ack, nak) = match request.code() {
        Code::DISCONNECT_REQUEST => (Code::DISCONNECT_ACK, Code::DISCONNECT_NAK),
        Code::COA_REQUEST => (Code::COA_ACK, Code::COA_NAK),
        _ => return None,
    };
    if request.message_authenticator(own) != Proof::Valid {
        return None;
    }
    // The Request Authenticator is right if the same attributes give the same octets.
    let list = Attributes::from_encoded(&octets[20..])?;
    let again = encode_request(request.code(), request.identifier(), [0; 16], &list, own, true).ok()?;
    if again != octets {
        return None;
    }
    let at = u32::from_be_bytes(request.first(attribute::EVENT_TIMESTAMP)?.try_into().ok()?);
    if seconds().abs_diff(at) > 300 {
        return None;
    }
    let session = request.first(attribute::ACCT_SESSION_ID)?.to_vec();
    let mut sessions = sessions.lock().unwrap();
    let known = sessions.contains(&session);
    let cause = match manner {
        Manner::Refuses(cause) => Some(cause),
        _ => (!known).then_some(503),
    };
    if cause.is_none() && request.code() == Code::DISCONNECT_REQUEST {
        sessions.remove(&session);
    }
    let mut attributes = Attributes::new();
    if let Some(cause) = cause {
        attributes.push_integer(attribute::ERROR_CAUSE, cause);
    }
    let secret = if manner == Manner::Forges { other } else { own };
    encode_reply(if cause.is_some() { nak } else { ack }, &request, &attributes, secret).ok()
}

impl Drop for DaeNas {
    fn drop(&mut self) {
        if let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)) {
            let _ = socket.send_to(&[], self.address);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
