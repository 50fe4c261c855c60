//! Networks of their own for peers that want to be whole machines: Linux network namespaces without a way out.

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::process::{Command, Output};

/// A network namespace, removed when dropped. Needs root.
pub struct Namespace {
    name: String,
    /// The machine's ends of its cables.
    ends: RefCell<Vec<String>>,
}

impl Namespace {
    /// A new one with its loopback up.
    ///
    /// # Panics
    ///
    /// It cannot be made: it takes root and iproute2.
    pub fn new(role: &str) -> Self {
        let namespace = Self { name: format!("orthrus-{role}-{}", std::process::id()), ends: RefCell::default() };
        ip(&["netns", "add", &namespace.name]);
        namespace.ip(&["link", "set", "lo", "up"]);
        namespace
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` inside.
    pub fn ip(&self, arguments: &[&str]) -> String {
        ip(&[&["-n", &self.name], arguments].concat())
    }

    /// A command that will run inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Joins this namespace and another, or the machine itself, by a cable; each end gets an address of one /24.
    pub fn cable(&self, own: Ipv4Addr, other: Option<&Self>, others: Ipv4Addr) {
        // Interface names hold 15 characters.
        let number = std::process::id() % 1_000_000;
        let [.., subnet, _] = own.octets();
        let (near, far) = (format!("on{number}-{subnet}"), format!("of{number}-{subnet}"));
        ip(&["link", "add", &near, "type", "veth", "peer", "name", &far]);
        ip(&["link", "set", &near, "netns", &self.name]);
        self.ip(&["addr", "add", &format!("{own}/24"), "dev", &near]);
        self.ip(&["link", "set", &near, "up"]);
        let address = format!("{others}/24");
        match other {
            Some(other) => {
                ip(&["link", "set", &far, "netns", &other.name]);
                other.ip(&["addr", "add", &address, "dev", &far]);
                other.ip(&["link", "set", &far, "up"]);
            }
            None => {
                remove_remains(others);
                ip(&["addr", "add", &address, "dev", &far]);
                ip(&["link", "set", &far, "up"]);
                self.ends.borrow_mut().push(far);
            }
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The kernel keeps a namespace, and its cables, until the last of its connections is over: minutes. A cable to the
        // machine would meanwhile draw away what is meant for the next test.
        for end in self.ends.get_mut() {
            let _ = Command::new("ip").args(["link", "del", end]).status();
        }
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// Takes away the cable of a test that was killed.
fn remove_remains(address: Ipv4Addr) {
    for line in ip(&["-oneline", "addr", "show", "to", &format!("{address}/32")]).lines() {
        let name = line.split_whitespace().nth(1).and_then(|name| name.split('@').next());
        if let Some(name) = name.filter(|name| name.starts_with("of")) {
            ip(&["link", "del", name]);
        }
    }
}

fn ip(arguments: &[&str]) -> String {
    let output = Command::new("ip").args(arguments).output();
    let Output { status, stdout, stderr } =
        output.unwrap_or_else(|error| panic!("ip: {error}; tests/run installs it (Debian: iproute2)"));
    let error = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "ip {}: {error}network namespaces take root: run tests/run as root", arguments.join(" "));
    String::from_utf8_lossy(&stdout).into_owned()
}
