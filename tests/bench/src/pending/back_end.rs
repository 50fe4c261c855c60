//! FreeRADIUS with a second factor the way it can have one: `rlm_rest` asks a back end, and the thread that asks waits for the
//! answer.

use super::{other_people, pause};
use crate::cli::Servers;
use crate::people::{CLASS, FILTER_ID, SECRET};
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::fs::write;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A back end that says yes to everybody, after a while.
pub(super) struct Slow {
    address: SocketAddr,
}

impl Slow {
    /// It ends with the process.
    pub(super) fn start(after: Duration) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || answer(stream, after));
            }
        });
        Ok(Self { address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

fn answer(mut stream: TcpStream, after: Duration) {
    let mut buffer = [0; 4096];
    // One request fits one read on loopback; a connection may bring several.
    while matches!(stream.read(&mut buffer), Ok(length) if length > 0) {
        pause(after);
        if stream.write_all(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

pub(super) fn prepare(
    dir: &Path,
    listen: SocketAddr,
    servers: &Servers,
    threads: u32,
    back_end: SocketAddr,
) -> Result<Command> {
    let dir = dir.canonicalize()?;
    let mut users = String::new();
    for person in other_people() {
        writeln!(users, "{} Cleartext-Password := \"{}\"", person.name, person.password)?;
        writeln!(users, "\tClass := \"{CLASS}\",\n\tFilter-Id := \"{FILTER_ID}\"")?;
    }
    write(dir.join("users"), users)?;
    let (ip, port, dir_text) = (listen.ip(), listen.port(), dir.display());
    let text = format!(
        r#"name = bench
prefix = /usr
libdir = /usr/lib/freeradius
raddbdir = {dir_text}
run_dir = {dir_text}
logdir = {dir_text}
max_request_time = 30
cleanup_delay = 5
max_requests = 262144
hostname_lookups = no
proxy_requests = no
log {{
	destination = files
	file = {dir_text}/radius.log
}}
security {{
	max_attributes = 200
	reject_delay = 0
	status_server = yes
}}
thread pool {{
	start_servers = {threads}
	max_servers = {threads}
	min_spare_servers = 1
	max_spare_servers = {threads}
	max_requests_per_server = 0
	max_queue_size = 65536
}}
client bench {{
	ipaddr = {ip}
	secret = {SECRET}
}}
modules {{
	expr {{
	}}
	pap {{
	}}
	files {{
		usersfile = {dir_text}/users
	}}
	rest {{
		connect_uri = "http://{back_end}/"
		connect_timeout = 4.0
		authorize {{
			uri = "http://{back_end}/mfa"
			method = "get"
		}}
		pool {{
			start = 0
			min = 0
			max = {threads}
			spare = 0
			uses = 0
			lifetime = 0
			idle_timeout = 60
		}}
	}}
}}
server bench {{
	listen {{
		type = auth
		ipaddr = {ip}
		port = {port}
	}}
	authorize {{
		if (&User-Name =~ /^phone/) {{
			rest
			update control {{
				&Auth-Type := Accept
			}}
		}}
		else {{
			files
			pap
		}}
	}}
	authenticate {{
		Auth-Type PAP {{
			pap
		}}
	}}
}}
"#
    );
    write(dir.join("radiusd.conf"), text).with_context(|| format!("cannot write to {dir_text}"))?;
    let mut command = Command::new(&servers.freeradius);
    command.args(["-f", "-n", "radiusd", "-d"]).arg(&dir);
    Ok(command)
}
