//! The NAS's side of a sign-in, for `signin`, `quickstart` and demonstrations: requests over real UDP, retransmitted, every reply verified.

use crate::clock::OsEntropy;
use anyhow::{Context, bail};
use gateway_core::entropy::draw;
use gateway_core::radius::{
    Attributes, Code, Dictionary, Packet, SharedSecret, attribute, describe_with, dictionary, encode_request,
    hide_password, verify_reply,
};
use gateway_core::retransmission::{LONGEST, Retransmission};
use gateway_core::secret::Secret;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The name of the NAS where the attributes give none: a request must have one (RFC 2865 §4.1).
const NAS_IDENTIFIER: &[u8] = b"orthrus-signin";

/// A NAS, as far as one sign-in needs it.
pub struct Nas {
    socket: UdpSocket,
    server: SocketAddr,
    secret: SharedSecret,
    timeout: Duration,
    tries: u32,
    signs: bool,
    identifier: u8,
    /// How attributes are called when they are told.
    pub dictionary: Arc<Dictionary>,
}

/// What came back.
pub enum Reply {
    /// Access-Accept.
    Accept,
    /// Access-Reject.
    Reject,
    /// Access-Challenge.
    Challenge {
        /// Its State.
        state: Vec<u8>,
        /// What the user reads.
        question: String,
    },
    /// No reply to any of the tries.
    Nothing,
}

impl Nas {
    /// One that waits about `timeout` for the first reply and longer for each further one, sends each packet `tries` times at most,
    /// and signs its requests or does not.
    ///
    /// # Errors
    ///
    /// No socket can be had, or there is no way to the server.
    pub fn new(server: SocketAddr, secret: Secret, timeout: Duration, tries: u32, signs: bool) -> anyhow::Result<Self> {
        let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        let socket = UdpSocket::bind(any).context("no UDP socket to send from")?;
        socket.connect(server).with_context(|| format!("{server} cannot be reached"))?;
        let [identifier] = draw(&mut OsEntropy::new());
        let (secret, dictionary) = (SharedSecret::new(secret), Arc::new(dictionary().clone()));
        Ok(Self { socket, server, secret, timeout, tries, signs, identifier, dictionary })
    }

    /// Sends one Access-Request and waits for its reply; tells both.
    ///
    /// # Errors
    ///
    /// Something is too long for RADIUS, or the reply is none.
    pub fn ask(
        &mut self,
        user: &str,
        password: &Secret,
        state: Option<&[u8]>,
        more: &Attributes,
        out: &mut dyn Write,
    ) -> anyhow::Result<Reply> {
        let authenticator = draw(&mut OsEntropy::new());
        self.identifier = self.identifier.wrapping_add(1);
        let mut attributes = Attributes::new();
        attributes.push(attribute::USER_NAME, user.as_bytes()).context("the user name")?;
        let hidden = hide_password(password.expose(), &self.secret, &authenticator).context("the password")?;
        attributes.push(attribute::USER_PASSWORD, &hidden).context("the password")?;
        if let Some(state) = state {
            attributes.push(attribute::STATE, state).context("the State")?;
        }
        let named = [attribute::NAS_IP_ADDRESS, attribute::NAS_IDENTIFIER, attribute::NAS_IPV6_ADDRESS];
        if !more.iter().any(|attribute| named.contains(&attribute.kind)) {
            attributes.push(attribute::NAS_IDENTIFIER, NAS_IDENTIFIER).context("the name of the NAS")?;
        }
        attributes.append(more);
        let code = Code::ACCESS_REQUEST;
        let request = encode_request(code, self.identifier, authenticator, &attributes, &self.secret, self.signs)?;
        tell(&self.dictionary, &request, &format!("-> {}", self.server), out)?;
        let Some(reply) = self.exchange(&request, &authenticator, out)? else { return Ok(Reply::Nothing) };
        tell(&self.dictionary, &reply, "<-", out)?;
        let packet = Packet::parse(&reply).context("the reply is not RADIUS")?;
        let question = packet.all(attribute::REPLY_MESSAGE).map(String::from_utf8_lossy).collect::<Vec<_>>().concat();
        Ok(match packet.code() {
            Code::ACCESS_ACCEPT => Reply::Accept,
            Code::ACCESS_REJECT => Reply::Reject,
            Code::ACCESS_CHALLENGE => {
                let state = packet.first(attribute::STATE).context("the challenge has no State")?.to_vec();
                Reply::Challenge { state, question }
            }
            other => bail!("the server answered an Access-Request with {other}"),
        })
    }

    fn exchange(
        &self,
        request: &[u8],
        authenticator: &[u8; 16],
        out: &mut dyn Write,
    ) -> anyhow::Result<Option<Vec<u8>>> {
        let mut entropy = OsEntropy::new();
        let mut waits = Retransmission::new(self.timeout, LONGEST);
        let mut waited = Duration::ZERO;
        for attempt in 0..self.tries {
            if attempt > 0 {
                writeln!(out, "   no answer within {:.1} s: the same packet again", waited.as_secs_f64())?;
            }
            waited = waits.wait(u32::from_be_bytes(draw(&mut entropy)));
            // A closed port shows itself as an error of a later call: the next try, or silence, tells the rest.
            let _ = self.socket.send(request);
            let end = Instant::now() + waited;
            while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                self.socket.set_read_timeout(Some(left))?;
                let mut buffer = [0; 4096];
                let length = match self.socket.recv(&mut buffer) {
                    Ok(length) => length,
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                        writeln!(out, "   nobody listens at {}", self.server)?;
                        std::thread::park_timeout(left);
                        break;
                    }
                    Err(error) => return Err(error.into()),
                };
                let octets = buffer.get(..length).unwrap_or_default();
                let Ok(packet) = Packet::parse(octets) else { continue };
                if packet.identifier() != self.identifier {
                    continue;
                }
                // Without it, somebody on the path can make an accept of a reject (CVE-2024-3596).
                if self.signs && !packet.has_message_authenticator() {
                    writeln!(out, "   a reply without Message-Authenticator, which anybody on the way can forge")?;
                    continue;
                }
                match verify_reply(&packet, authenticator, &self.secret) {
                    Ok(()) => return Ok(Some(octets.to_vec())),
                    Err(fault) => writeln!(out, "   a reply that must not be trusted ({fault}): is the secret right?")?,
                }
            }
        }
        Ok(None)
    }
}

fn tell(dictionary: &Dictionary, octets: &[u8], arrow: &str, out: &mut dyn Write) -> anyhow::Result<()> {
    let packet = Packet::parse(octets)?;
    writeln!(out, "{arrow} {} id {}, {} octets", packet.code(), packet.identifier(), octets.len())?;
    for line in describe_with(dictionary, packet.attributes()) {
        writeln!(out, "     {line}")?;
    }
    Ok(())
}
