//! A NAS: it sends requests, repeats them until they are answered, and believes no reply that is not proved.
//!
//! Every datagram that arrives is held against everything this client has sent. One that answers a request must come from
//! the address that was asked, carry a right Response Authenticator, and Message-Authenticator as its first attribute
//! (CVE-2024-3596); a second answer to the same packet must be the same octets. Whatever is not so ends the test.

use gateway_core::radius::{
    Attributes, Code, Packet, Proof, SharedSecret, attribute, describe, encode_request, hide_password, verify_reply,
};
use gateway_core::secret::Secret;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// What a NAS wants to ask; the same request can be sent many times, each time as a new packet.
#[derive(Clone)]
pub struct Request {
    code: Code,
    password: Option<Vec<u8>>,
    attributes: Attributes,
    signed: bool,
}

impl Request {
    /// An Access-Request for this user.
    pub fn access(user: &str) -> Self {
        let blank = Self { code: Code::ACCESS_REQUEST, password: None, attributes: Attributes::new(), signed: true };
        blank.with(attribute::USER_NAME, user.as_bytes())
    }

    /// A Status-Server.
    pub fn status() -> Self {
        Self { code: Code::STATUS_SERVER, password: None, attributes: Attributes::new(), signed: true }
    }

    /// An Accounting-Request: status, session, and nothing else.
    pub fn accounting(status: u32, session: &str) -> Self {
        let code = Code::ACCOUNTING_REQUEST;
        let blank = Self { code, password: None, attributes: Attributes::new(), signed: false };
        let blank = blank.with(attribute::ACCT_STATUS_TYPE, &status.to_be_bytes());
        if session.is_empty() { blank } else { blank.with(attribute::ACCT_SESSION_ID, session.as_bytes()) }
    }

    /// With a password, or a code, in User-Password.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.as_bytes().to_vec());
        self
    }

    /// With the State of a challenge.
    #[must_use]
    pub fn state(self, challenge: &Reply) -> Self {
        self.with(attribute::STATE, &challenge.state())
    }

    /// From this station of the user.
    #[must_use]
    pub fn station(self, station: &str) -> Self {
        self.with(attribute::CALLING_STATION_ID, station.as_bytes())
    }

    /// With one more attribute.
    #[must_use]
    pub fn with(mut self, kind: u8, value: &[u8]) -> Self {
        self.attributes.push(kind, value).expect("it fits");
        self
    }

    /// Without Message-Authenticator.
    #[must_use]
    pub fn unsigned(mut self) -> Self {
        self.signed = false;
        self
    }
}

/// A request as it was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The octets.
    pub bytes: Vec<u8>,
    identifier: u8,
    authenticator: [u8; 16],
}

/// A reply that was proved.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    bytes: Vec<u8>,
}

impl Reply {
    fn packet(&self) -> Packet<'_> {
        Packet::parse(&self.bytes).expect("it was read before")
    }

    /// What it is.
    pub fn code(&self) -> Code {
        self.packet().code()
    }

    /// The octets.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The State of a challenge.
    pub fn state(&self) -> Vec<u8> {
        self.packet().first(attribute::STATE).unwrap_or_else(|| panic!("no State in {self:?}")).to_vec()
    }

    /// The attributes as they are printed, without those that belong to the protocol itself.
    pub fn attributes(&self) -> Vec<String> {
        let own = ["Message-Authenticator", "State", "Proxy-State"];
        let lines = describe(&self.packet()).into_iter();
        lines.filter(|line| own.iter().all(|own| !line.starts_with(&format!("{own} = ")))).collect()
    }

    /// The values of an attribute, in order.
    pub fn all(&self, kind: u8) -> Vec<Vec<u8>> {
        self.packet().all(kind).map(<[u8]>::to_vec).collect()
    }

    /// What the user reads.
    pub fn message(&self) -> String {
        String::from_utf8(self.all(attribute::REPLY_MESSAGE).concat()).expect("Reply-Message is text")
    }

    /// The reply, which must be of this kind.
    pub fn expect(self, code: Code) -> Self {
        assert_eq!(self.code(), code, "{self:?}");
        self
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.code(), describe(&self.packet()))
    }
}

/// What became of a packet.
struct Asked {
    authenticator: [u8; 16],
    reply: Option<Vec<u8>>,
}

/// One port of a NAS.
pub struct Client {
    socket: UdpSocket,
    server: SocketAddr,
    secret: SharedSecret,
    next: u8,
    /// What was sent under each identifier, newest last, and what came back.
    sent: HashMap<u8, Vec<Asked>>,
    /// The first wait for a reply, which grows with each repetition.
    repeat_after: Duration,
    give_up_after: Duration,
    repetitions: u64,
    repeated_replies: u64,
    through_balancer: bool,
}

impl Client {
    /// A NAS at 127.0.0.1 or ::1.
    pub fn new(server: SocketAddr, secret: &str) -> Self {
        let local = match server.ip() {
            IpAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::from(Ipv6Addr::LOCALHOST),
        };
        Self::at(local, server, secret)
    }

    /// A NAS at another address of this machine.
    pub fn at(local: IpAddr, server: SocketAddr, secret: &str) -> Self {
        Self {
            socket: UdpSocket::bind((local, 0)).expect("the address is this machine's"),
            server,
            secret: SharedSecret::new(Secret::new(secret.as_bytes().to_vec())),
            next: 0,
            sent: HashMap::new(),
            repeat_after: Duration::from_secs(2),
            give_up_after: Duration::from_secs(15),
            repetitions: 0,
            repeated_replies: 0,
            through_balancer: false,
        }
    }

    /// Repeats sooner, for a network that loses packets.
    #[must_use]
    pub fn impatient(mut self) -> Self {
        self.repeat_after = Duration::from_millis(40);
        self
    }

    /// Takes no notice of datagrams without octets: nginx sends one where a node refuses its datagram.
    #[must_use]
    pub fn through_balancer(mut self) -> Self {
        self.through_balancer = true;
        self
    }

    /// Gives up after so long.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.give_up_after = patience;
        self
    }

    /// Its address and port.
    pub fn local(&self) -> SocketAddr {
        self.socket.local_addr().expect("it is bound")
    }

    /// Whom it asks.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// How many packets it had to send again.
    pub fn repetitions(&self) -> u64 {
        self.repetitions
    }

    /// How many replies came more than once, always with the same octets.
    pub fn repeated_replies(&self) -> u64 {
        self.repeated_replies
    }

    /// Makes a new packet.
    pub fn encode(&mut self, request: &Request) -> Sent {
        let identifier = self.next;
        self.next = self.next.wrapping_add(1);
        self.encode_as(request, identifier)
    }

    /// Makes a new packet under an identifier that may have been used.
    pub fn encode_as(&mut self, request: &Request, identifier: u8) -> Sent {
        let authenticator: [u8; 16] = rand::random();
        let mut attributes = Attributes::new();
        attributes.append(&request.attributes);
        if let Some(password) = &request.password {
            let hidden = hide_password(password, &self.secret, &authenticator).expect("it fits");
            attributes.push(attribute::USER_PASSWORD, &hidden).expect("it fits");
        }
        let bytes = encode_request(request.code, identifier, authenticator, &attributes, &self.secret, request.signed);
        let bytes = bytes.expect("it fits");
        // An Accounting-Request has its own, which is a digest over it.
        let authenticator = bytes.get(4..20).and_then(|octets| octets.try_into().ok()).unwrap_or(authenticator);
        self.sent.entry(identifier).or_default().push(Asked { authenticator, reply: None });
        Sent { bytes, identifier, authenticator }
    }

    /// Sends a packet once.
    pub fn send(&self, sent: &Sent) {
        self.send_octets(&sent.bytes);
    }

    /// Sends any octets.
    pub fn send_octets(&self, octets: &[u8]) {
        self.socket.send_to(octets, self.server).expect("loopback takes it");
    }

    /// Sends until there is a reply; `None` after many tries.
    pub fn try_ask(&mut self, sent: &Sent) -> Option<Reply> {
        let end = Instant::now() + self.give_up_after;
        let mut wait = self.repeat_after;
        self.send(sent);
        loop {
            if let Some(reply) = self.await_reply(sent, wait) {
                return Some(reply);
            }
            if Instant::now() >= end {
                return None;
            }
            self.repetitions += 1;
            self.send(sent);
            wait = (wait * 3 / 2).min(Duration::from_secs(2));
        }
    }

    /// Sends a request as a new packet until there is a reply.
    ///
    /// # Panics
    ///
    /// There is none.
    pub fn ask(&mut self, request: &Request) -> Reply {
        let sent = self.encode(request);
        self.try_ask(&sent).unwrap_or_else(|| panic!("{} did not answer", self.server))
    }

    /// A whole sign-in: the password, then the code.
    pub fn sign_in(&mut self, user: &str, password: &str, code: &str) -> Reply {
        let challenge = self.ask(&Request::access(user).password(password)).expect(Code::ACCESS_CHALLENGE);
        self.ask(&Request::access(user).password(code).state(&challenge))
    }

    /// Waits for the reply to this packet. Replies to others are checked and remembered.
    pub fn await_reply(&mut self, sent: &Sent, patience: Duration) -> Option<Reply> {
        let end = Instant::now() + patience;
        loop {
            let known = self.sent.get(&sent.identifier).into_iter().flatten();
            for asked in known {
                if let (true, Some(bytes)) = (asked.authenticator == sent.authenticator, &asked.reply) {
                    return Some(Reply { bytes: bytes.clone() });
                }
            }
            self.receive(end.checked_duration_since(Instant::now())?)?;
        }
    }

    /// Whether nothing is waiting in the socket. Ask it once something else shows that the gateway is done.
    pub fn hears_nothing(&mut self) -> bool {
        self.receive(Duration::from_millis(50)).is_none()
    }

    /// Takes everything that still arrives until nothing comes for a while, and checks it.
    pub fn listen_out(&mut self) {
        while self.receive(Duration::from_millis(200)).is_some() {}
    }

    /// Takes one datagram and checks it.
    fn receive(&mut self, patience: Duration) -> Option<()> {
        let mut buffer = vec![0; 65_536];
        self.socket.set_read_timeout(Some(patience.max(Duration::from_millis(1)))).expect("it is a span of time");
        let (length, from) = match self.socket.recv_from(&mut buffer) {
            Ok(received) => received,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) =>
            {
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        assert_eq!(from, self.server, "a reply must come from where the request went");
        if length == 0 && self.through_balancer {
            return Some(());
        }
        buffer.truncate(length);
        self.check(buffer);
        Some(())
    }

    fn check(&mut self, bytes: Vec<u8>) {
        let packet = Packet::parse(&bytes).unwrap_or_else(|fault| panic!("a reply is malformed: {fault}"));
        let sent = self.sent.get_mut(&packet.identifier()).into_iter().flatten();
        let proved = |authenticator: &[u8; 16]| verify_reply(&packet, authenticator, &self.secret).is_ok();
        let Some(Asked { reply, .. }) = sent.into_iter().find(|asked| proved(&asked.authenticator)) else {
            panic!("{packet:?} answers nothing that was sent, or is signed with another secret");
        };
        // Accounting has its own proof (RFC 2866 §3): Message-Authenticator comes back only where it was sent.
        let proved = packet.message_authenticator_is_first() || packet.code() == Code::ACCOUNTING_RESPONSE;
        assert!(proved, "{packet:?} must begin with Message-Authenticator");
        match reply {
            Some(before) => {
                assert_eq!(before, &bytes, "two different replies to one packet");
                self.repeated_replies += 1;
            }
            None => *reply = Some(bytes),
        }
    }
}

/// What the Message-Authenticator of a request says under a secret, for tests that forge.
pub fn proof(octets: &[u8], secret: &str) -> Proof {
    let secret = SharedSecret::new(Secret::new(secret.as_bytes().to_vec()));
    Packet::parse(octets).map_or(Proof::Wrong, |packet| packet.message_authenticator(&secret))
}
