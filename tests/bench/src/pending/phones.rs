//! The people who are prompted, in the simulated cloud, and their packets.

use super::{other_people, pause};
use crate::check::{Demands, check};
use crate::cli::Pending;
use crate::orthrus;
use crate::people::{CLASS, FILTER_ID, GROUP, SECRET};
use crate::scenario::Expected;
use crate::server::secret;
use anyhow::{Context, Result, ensure};
use entra_cloud::{Cloud, Settings};
use gateway_core::radius::{Attributes, Code, attribute, encode_request, hide_password};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const PASSWORD: &str = "correct horse";
const PATIENCE: Duration = Duration::from_secs(120);

/// The people, and the cloud that prompts them.
pub(super) struct Phones {
    cloud: Cloud,
    names: Vec<String>,
}

impl Phones {
    pub(super) fn new(count: usize) -> Self {
        let settings = Settings { max_concurrent_streams: 250, ..Settings::default() };
        Self { cloud: Cloud::start(settings), names: (0..count).map(|number| format!("manual{number:05}")).collect() }
    }

    fn upn(name: &str) -> String {
        format!("{name}@corp.example")
    }

    /// Writes a configuration: people with phones, and others without.
    pub(super) fn prepare(&self, dir: &Path, listen: SocketAddr, begin: &str, arguments: &Pending) -> Result<Command> {
        let write = |name: &str, text: &str| orthrus::secret_file(&dir.join(name), text);
        std::fs::create_dir(dir.join("state"))?;
        let certificate = self.cloud.new_certificate();
        write("secret", SECRET)?;
        write("ca.pem", &self.cloud.ca_pem())?;
        write("entra.crt", &certificate.certificate_pem())?;
        write("entra.key", &certificate.key_pem())?;
        let mut users = String::new();
        for person in other_people() {
            writeln!(
                users,
                "[[users]]\nname = \"{}\"\npassword_plain = \"{}\"\ngroups = [\"{GROUP}\"]\n",
                person.name, person.password
            )?;
        }
        for name in &self.names {
            writeln!(users, "[[users]]\nname = \"{name}\"\npassword_plain = \"{PASSWORD}\"\n")?;
        }
        write("users.toml", &users)?;
        let (tenant, sts, mfa) = (self.cloud.tenant(), self.cloud.sts(), self.cloud.mfa_host());
        let (resource, ip) = (self.cloud.resource_host(), listen.ip());
        let file = dir.join("orthrus.toml");
        let text = format!(
            r#"state_dir = "state"
[listen]
authentication = ["{listen}"]
threads = 1
[identity]
default_realm = "corp.example"
[[clients]]
name = "bench"
addresses = ["{ip}"]
secret_file = "secret"
[[first_factor]]
name = "local"
kind = "file"
users_file = "users.toml"
allow_plain_passwords = true
[[second_factor]]
name = "mfa"
kind = "entra"
[second_factor.entra]
tenant_id = "{tenant}"
certificates = [{{ certificate_file = "entra.crt", key_file = "entra.key" }}]
sts = "{sts}"
mfa_host = "{mfa}"
resource_host = "{resource}"
ca_file = "ca.pem"
begin = "{begin}"
[attempts]
deadline = "10m"
repeat_window = "0s"
[limits]
pending_prompts = 100000
in_progress = 200000
[admin]
enabled = false
[telemetry]
log_level = "warn"
sign_in_log = false
[[policies]]
name = "others"
groups = ["{GROUP}"]
second_factor = "off"
reply = {{ Class = "{CLASS}", Filter-Id = "{FILTER_ID}" }}
[[policies]]
name = "phones"
reply = {{ Class = "{CLASS}", Filter-Id = "{FILTER_ID}" }}
"#
        );
        let text = text + &orthrus::cluster(&arguments.servers);
        write("cluster-key", "a key of a benchmark, which has 32 octets and more")?;
        write("orthrus.toml", &text)?;
        let mut command = Command::new(orthrus::program(&arguments.servers)?);
        command.args(["serve", "--config"]).arg(&file);
        Ok(command)
    }

    /// Waits until every phone has rung.
    pub(super) fn await_prompts(&self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        let wanted = self.names.len() as u64;
        while self.cloud.total_prompts() < wanted {
            ensure!(Instant::now() < end, "{} of {wanted} phones rang", self.cloud.total_prompts());
            pause(Duration::from_millis(50));
        }
        Ok(())
    }
}

/// How late approvals were seen.
pub(super) struct Seen {
    pub(super) asked: usize,
    pub(super) after: Vec<Duration>,
}

impl Seen {
    /// After how many milliseconds so many of a hundred were seen.
    pub(super) fn percentile(&self, share: usize) -> u64 {
        let mut sorted = self.after.clone();
        sorted.sort_unstable();
        let at = sorted.len().saturating_sub(1) * share / 100;
        sorted.get(at).map_or(0, |span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
    }
}

struct Sent {
    name: String,
    authenticator: [u8; 16],
}

/// Packets that wait, 256 to a port.
pub(super) struct Waiting {
    ports: Vec<UdpSocket>,
    sent: HashMap<(usize, u8), Sent>,
    next: usize,
}

impl Waiting {
    pub(super) fn new(target: SocketAddr, packets: usize) -> Result<Self> {
        let ports = (0..packets.div_ceil(256)).map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0").context("no free source port")?;
            socket.connect(target)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        Ok(Self { ports: ports.collect::<Result<_>>()?, sent: HashMap::new(), next: 0 })
    }

    fn send(&mut self, name: String) -> Result<()> {
        let (port, identifier) = (self.next / 256, u8::try_from(self.next % 256)?);
        self.next += 1;
        let mut authenticator = [0x5a; 16];
        authenticator.iter_mut().zip(self.next.to_be_bytes()).for_each(|(to, from)| *to = from);
        let secret = secret();
        let mut attributes = Attributes::new();
        attributes.push(attribute::USER_NAME, name.as_bytes())?;
        attributes.push(attribute::USER_PASSWORD, &hide_password(PASSWORD.as_bytes(), &secret, &authenticator)?)?;
        attributes.push(attribute::CALLING_STATION_ID, name.as_bytes())?;
        let packet = encode_request(Code::ACCESS_REQUEST, identifier, authenticator, &attributes, &secret, true)?;
        self.ports.get(port).context("too few ports")?.send(&packet)?;
        self.sent.insert((port, identifier), Sent { name, authenticator });
        Ok(())
    }

    /// Sends a first packet for each person, so many a second.
    pub(super) fn send_all(&mut self, phones: &Phones, rate: u32) -> Result<()> {
        let begun = Instant::now();
        for (number, name) in phones.names.iter().enumerate() {
            self.send(name.clone())?;
            let due = Duration::from_secs_f64(f64::from(u32::try_from(number)?) / f64::from(rate.max(1)));
            pause(due.saturating_sub(begun.elapsed()));
        }
        Ok(())
    }

    /// Sends a first packet for each name, not faster than a socket takes them.
    pub(super) fn send_names(&mut self, names: impl Iterator<Item = String>) -> Result<()> {
        for name in names {
            self.send(name)?;
            pause(Duration::from_micros(500));
        }
        Ok(())
    }

    /// Approves some, one every few milliseconds, then everybody, and measures how late the first ones were seen.
    pub(super) fn approve(&mut self, phones: &Phones, some: usize) -> Result<Seen> {
        let stride = (phones.names.len() / some.max(1)).max(1);
        let chosen: Vec<&String> = phones.names.iter().step_by(stride).collect();
        let (mut approved, mut seen) = (HashMap::new(), Seen { asked: phones.names.len(), after: Vec::new() });
        let mut measured = Vec::new();
        for name in &chosen {
            phones.cloud.person(&Phones::upn(name)).approve();
            approved.insert((*name).clone(), Instant::now());
            let until = Instant::now() + Duration::from_millis(5);
            while Instant::now() < until {
                self.receive(&approved, &mut measured)?;
            }
        }
        let end = Instant::now() + Duration::from_secs(15);
        while measured.len() < chosen.len() && Instant::now() < end {
            self.receive(&approved, &mut measured)?;
        }
        ensure!(measured.len() == chosen.len(), "{} of {} approvals were seen", measured.len(), chosen.len());
        // And now the crowd: every one of them must get in.
        for name in phones.names.iter().filter(|name| !approved.contains_key(*name)).collect::<Vec<_>>() {
            phones.cloud.person(&Phones::upn(name)).approve();
        }
        let mut rest = Vec::new();
        let end = Instant::now() + PATIENCE;
        while measured.len() + rest.len() < seen.asked && Instant::now() < end {
            self.receive(&HashMap::new(), &mut rest)?;
        }
        let late = rest.len();
        seen.after = measured;
        seen.asked -= late;
        Ok(seen)
    }

    fn receive(&mut self, approved: &HashMap<String, Instant>, seen: &mut Vec<Duration>) -> Result<()> {
        let demands = Demands { secret: secret(), message_authenticator: true };
        let mut buffer = [0; 4096];
        let mut heard = false;
        for (port, socket) in self.ports.iter().enumerate() {
            while let Ok(length) = socket.recv(&mut buffer) {
                heard = true;
                let reply = buffer.get(..length).unwrap_or_default();
                let identifier = reply.get(1).copied().unwrap_or_default();
                let Some(sent) = self.sent.remove(&(port, identifier)) else { continue };
                let fault = check(reply, &sent.authenticator, &Expected::Accept, &demands).err();
                ensure!(fault.is_none(), "{}: {}", sent.name, fault.map_or("", |fault| fault.name()));
                seen.push(approved.get(&sent.name).map(Instant::elapsed).unwrap_or_default());
            }
        }
        if !heard {
            pause(Duration::from_millis(1));
        }
        Ok(())
    }
}
