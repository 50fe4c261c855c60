//! An operator who sets a gateway up: the configuration, the users, the tokens and the secrets.
//!
//! The start is one NAS called `nas` on loopback, users with plain passwords (argon2 is slow on purpose, and has a test of
//! its own), codes for everybody, and a policy whose attributes a test can look for. Refusals are not delayed, and the
//! configuration is read again on SIGHUP only. A test changes what it is about.

use crate::{Gateway, SoftToken};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use toml::{Table, Value};

/// The name of the NAS that every setup has.
pub const NAS: &str = "nas";

/// Its shared secret.
pub const SECRET: &str = "an-odd-secret-of-33-characters-42";

/// The attributes that the policy of [`Setup::new`] gives, as they are printed.
pub const REPLY: [&str; 2] = ["Class = \"staff\"", "Session-Timeout = 3600"];

/// What is written before a gateway starts.
pub struct Setup {
    config: Table,
    policies: String,
    users: String,
    tokens: String,
    secrets: Vec<(String, String)>,
    remembers: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

impl Setup {
    /// A gateway on an address of its own on loopback, so that tests never meet.
    pub fn new() -> Self {
        let address = own_address();
        let config = toml::from_str(&format!(
            r#"
            state_dir = "state"
            reload_on_change = false
            [attempts]
            reject_delay = "0s"
            [listen]
            authentication = ["{}"]
            [[first_factor]]
            name = "staff"
            kind = "file"
            users_file = "users"
            allow_plain_passwords = true
            [[second_factor]]
            name = "code"
            kind = "oath"
            tokens_file = "tokens"
            [admin]
            listen = "{}"
            [telemetry]
            log_format = "json"
            [limits]
            drop_logs_per_second = 1000
            "#,
            SocketAddr::from((address, free_udp_port(address))),
            SocketAddr::from((address, free_tcp_port(address))),
        ));
        Self {
            config: config.expect("this is TOML"),
            policies: "[[policies]]\nname = \"everybody\"\nreply = { Class = \"staff\", Session-Timeout = \"3600\" }\n"
                .to_owned(),
            users: String::new(),
            tokens: String::new(),
            secrets: Vec::new(),
            remembers: true,
        }
        .client(NAS, &["127.0.0.1", "::1"], SECRET)
    }

    /// A user with a plain password.
    #[must_use]
    pub fn user(self, name: &str, password: &str) -> Self {
        self.user_in(name, password, &[])
    }

    /// A user with a plain password and groups.
    #[must_use]
    pub fn user_in(mut self, name: &str, password: &str, groups: &[&str]) -> Self {
        self.users += &user(name, password, groups);
        self
    }

    /// A user whose password is checked by argon2id with these parameters (`m=65536,t=10,p=1`), and never right: for a
    /// check that takes as long as a test needs.
    #[must_use]
    pub fn slow_user(mut self, name: &str, parameters: &str) -> Self {
        let hash = format!("$argon2id$v=19${parameters}${}${}", "A".repeat(22), "A".repeat(43));
        self.users += &format!("[[users]]\nname = \"{name}\"\npassword = \"{hash}\"\n");
        self
    }

    /// More of the users file, as it is.
    #[must_use]
    pub fn users(mut self, text: &str) -> Self {
        self.users += text;
        self
    }

    /// A token.
    #[must_use]
    pub fn token(mut self, token: &SoftToken) -> Self {
        self.tokens += &token.entry();
        self
    }

    /// One more RADIUS client.
    #[must_use]
    pub fn client(mut self, name: &str, addresses: &[&str], secret: &str) -> Self {
        let file = format!("secret-{name}");
        let mut client = Table::new();
        client.insert("name".into(), name.into());
        client.insert("addresses".into(), Value::from(addresses.to_vec()));
        client.insert("secret_file".into(), file.as_str().into());
        let clients = self.config.entry("clients").or_insert_with(|| Value::Array(Vec::new()));
        clients.as_array_mut().expect("clients are a list").push(client.into());
        self.secret(&file, secret)
    }

    /// The only second factor, instead of the tokens file.
    #[must_use]
    pub fn second_factor(mut self, factor: Table) -> Self {
        self.config.insert("second_factor".into(), Value::Array(vec![factor.into()]));
        self
    }

    /// Changes the only second factor.
    #[must_use]
    pub fn edit_second_factor(mut self, change: impl FnOnce(&mut Table)) -> Self {
        let factors = self.config.get_mut("second_factor").and_then(Value::as_array_mut).expect("there is a list");
        change(factors.first_mut().and_then(Value::as_table_mut).expect("there is one"));
        self
    }

    /// A file that holds a secret.
    #[must_use]
    pub fn secret(mut self, file: &str, secret: &str) -> Self {
        self.secrets.push((file.to_owned(), secret.to_owned()));
        self
    }

    /// Sets a key of the client `name`.
    #[must_use]
    pub fn of_client(mut self, name: &str, key: &str, value: impl Into<Value>) -> Self {
        let clients = self.config.get_mut("clients").and_then(Value::as_array_mut).expect("clients are a list");
        let client =
            clients.iter_mut().filter_map(Value::as_table_mut).find(|client| client["name"].as_str() == Some(name));
        client.unwrap_or_else(|| panic!("there is no client {name}")).insert(key.to_owned(), value.into());
        self
    }

    /// Sets a key of the first factor.
    #[must_use]
    pub fn of_first_factor(mut self, key: &str, value: impl Into<Value>) -> Self {
        let factors = self.config.get_mut("first_factor").and_then(Value::as_array_mut).expect("there is a list");
        let factor = factors.first_mut().and_then(Value::as_table_mut).expect("there is one");
        factor.insert(key.to_owned(), value.into());
        self
    }

    /// Sets a key outside the lists, such as `attempts.tries`.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        let (section, key) = key.split_once('.').expect("section.key");
        let section = self.config.entry(section).or_insert_with(|| Value::Table(Table::new()));
        section.as_table_mut().expect("a section").insert(key.to_owned(), value.into());
        self
    }

    /// With the configuration read again by itself when one of its files changes.
    #[must_use]
    pub fn watched(mut self) -> Self {
        self.config.insert("reload_on_change".into(), true.into());
        self
    }

    /// Names attributes by these dictionary files.
    #[must_use]
    pub fn dictionaries(mut self, files: &[&str]) -> Self {
        let files: Vec<Value> = files.iter().map(|file| (*file).into()).collect();
        self.config.insert("dictionaries".into(), files.into());
        self
    }

    /// Replaces the policies by these, in TOML.
    #[must_use]
    pub fn policies(mut self, policies: &str) -> Self {
        policies.clone_into(&mut self.policies);
        self
    }

    /// Listens there instead.
    #[must_use]
    pub fn listen(self, addresses: &[SocketAddr]) -> Self {
        let addresses: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
        self.set("listen.authentication", addresses)
    }

    /// With a state_dir that is new, as on a node that has lost it. Otherwise it looks as if it had always been there, so
    /// that codes count at once.
    #[must_use]
    pub fn without_memory(mut self) -> Self {
        self.remembers = false;
        self
    }

    /// Where it will listen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let listed = self.config["listen"]["authentication"].as_array().into_iter().flatten().filter_map(Value::as_str);
        listed.map(|address| address.parse().expect("an address")).collect()
    }

    /// Where its HTTP side will be.
    pub fn admin(&self) -> SocketAddr {
        self.config["admin"]["listen"].as_str().and_then(|address| address.parse().ok()).expect("an address")
    }

    /// The configuration file.
    pub fn config(&self) -> String {
        format!("{}\n{}", toml::to_string(&self.config).expect("a table is TOML"), self.policies)
    }

    /// Writes everything into `folder`.
    pub fn write(&self, folder: &Path) {
        use std::os::unix::fs::PermissionsExt;
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).expect("the folder can be written");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
        };
        write("orthrus.toml", &self.config());
        write("users", &self.users);
        write("tokens", &self.tokens);
        for (file, secret) in &self.secrets {
            write(file, secret);
        }
        if self.remembers {
            std::fs::create_dir(folder.join("state")).expect("the folder can be written");
            let names = gateway_core::identity::Rules::default().fingerprint();
            write("state/used-codes", &format!("orthrus used-codes 1 0 {names}\n"));
        }
    }

    /// Starts a gateway and waits until it is ready.
    pub fn start(self) -> Gateway {
        Gateway::start(self)
    }

    /// Starts a gateway that is not to get ready.
    pub fn start_unready(self) -> Gateway {
        Gateway::start_unready(self)
    }
}

/// The entry of a user in a users file, with a plain password.
pub fn user(name: &str, password: &str, groups: &[&str]) -> String {
    format!("[[users]]\nname = \"{name}\"\npassword_plain = \"{password}\"\ngroups = {groups:?}\n")
}

/// An address in 127.0.0.0/8 that nobody else uses: by process and by turn.
pub fn own_address() -> Ipv4Addr {
    static TURN: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id().wrapping_mul(64).wrapping_add(TURN.fetch_add(1, Ordering::Relaxed)) % 0x00ff_0000;
    let [_, a, b, c] = (number + 0x0001_0000).to_be_bytes();
    Ipv4Addr::new(127, a, b, c)
}

/// A UDP port that is free at this address now.
pub fn free_udp_port(address: impl Into<std::net::IpAddr>) -> u16 {
    let socket = UdpSocket::bind((address.into(), 0)).expect("loopback has ports");
    socket.local_addr().expect("it is bound").port()
}

/// A TCP port that is free at this address now.
pub fn free_tcp_port(address: Ipv4Addr) -> u16 {
    let socket = TcpListener::bind((address, 0)).expect("loopback has ports");
    socket.local_addr().expect("it is bound").port()
}
