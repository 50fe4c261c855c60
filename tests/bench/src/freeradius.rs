//! FreeRADIUS 3.2, set up by somebody who wants it fast: one virtual server, only the modules that are needed, passwords in
//! memory, no debugging, no detail files, no log of sign-ins unless asked for.
//!
//! It does less than Orthrus where that makes it faster: one code for everybody, nothing remembered between the two legs
//! of a challenge, no Message-Authenticator in its replies. A ratio is thus on the safe side.

use crate::people::{CLASS, FILTER_ID, FIXED_CODE, SECRET, people};
use crate::scenario::Scenario;
use crate::server::Setup;
use anyhow::{Context, Result};
use std::fmt::Write;
use std::fs::{create_dir_all, write};
use std::process::Command;

pub(crate) fn prepare(setup: &Setup<'_>) -> Result<Command> {
    create_dir_all(setup.dir)?;
    let dir = setup.dir.canonicalize()?;
    write(dir.join("radiusd.conf"), configuration(setup, &dir.display().to_string())?)
        .with_context(|| format!("cannot write to {}", dir.display()))?;
    write(dir.join("users"), users(setup)?)?;
    let mut command = Command::new(&setup.servers.freeradius);
    command.args(["-f", "-n", "radiusd", "-d"]).arg(&dir);
    if setup.servers.freeradius_single {
        command.arg("-s");
    }
    Ok(command)
}

fn users(setup: &Setup<'_>) -> Result<String> {
    let mut text = String::new();
    for person in people(setup.users, 0) {
        writeln!(text, "{} Cleartext-Password := \"{}\"", person.name, person.password)?;
        if !matches!(setup.scenario, Scenario::Reject | Scenario::Challenge) {
            writeln!(text, "\tClass := \"{CLASS}\",\n\tFilter-Id := \"{FILTER_ID}\"")?;
        }
    }
    Ok(text)
}

fn configuration(setup: &Setup<'_>, dir: &str) -> Result<String> {
    let log = if setup.servers.log { "yes" } else { "no" };
    let ip = setup.listen.ip();
    let port = setup.listen.port();
    let kind = if setup.scenario == Scenario::Accounting { "acct" } else { "auth" };
    let server = match setup.scenario {
        Scenario::Accept | Scenario::Reject | Scenario::Duplicates => with_module("pap", "PAP"),
        Scenario::Chap => with_module("chap", "CHAP"),
        Scenario::Mschapv2 => with_module("mschap", "MS-CHAP"),
        Scenario::Accounting => "\taccounting {\n\t\tdetail\n\t}\n".to_owned(),
        Scenario::Challenge => challenge(),
    };
    let pool = match setup.servers.freeradius_threads {
        0 => "start_servers = 5\n\tmax_servers = 32\n\tmin_spare_servers = 3\n\tmax_spare_servers = 10".to_owned(),
        n => format!("start_servers = {n}\n\tmax_servers = {n}\n\tmin_spare_servers = 1\n\tmax_spare_servers = {n}"),
    };
    let mut text = String::new();
    write!(
        text,
        r#"name = bench
prefix = /usr
libdir = /usr/lib/freeradius
raddbdir = {dir}
run_dir = {dir}
logdir = {dir}
max_request_time = 30
cleanup_delay = 5
max_requests = 262144
hostname_lookups = no
proxy_requests = no
log {{
	destination = files
	file = {dir}/radius.log
	auth = {log}
}}
security {{
	max_attributes = 200
	reject_delay = 0
	status_server = yes
}}
thread pool {{
	{pool}
	max_requests_per_server = 0
	max_queue_size = 65536
}}
client bench {{
	ipaddr = {ip}
	secret = {SECRET}
	require_message_authenticator = yes
}}
modules {{
	expr {{
	}}
	pap {{
	}}
	chap {{
	}}
	mschap {{
		use_mppe = yes
		require_encryption = yes
		require_strong = yes
	}}
	detail {{
		filename = {dir}/radacct/%{{%{{Packet-Src-IP-Address}}:-%{{Packet-Src-IPv6-Address}}}}/detail-%Y%m%d
		escape_filenames = no
		permissions = 0600
		header = "%t"
		locking = no
	}}
	files {{
		usersfile = {dir}/users
	}}
}}
server bench {{
	listen {{
		type = {kind}
		ipaddr = {ip}
		port = {port}
	}}
{server}}}
"#
    )?;
    Ok(text)
}

/// As the sample configuration has it: what finds out how the user signs in, the users, and what judges.
fn with_module(module: &str, auth_type: &str) -> String {
    // `pap` looks for a password that somebody has found; the others look at the packet.
    let order = if module == "pap" { ["files", "pap"] } else { [module, "files"] };
    format!(
        "\tauthorize {{\n\t\t{}\n\t\t{}\n\t}}\n\tauthenticate {{\n\t\tAuth-Type {auth_type} {{\n\t\t\t{module}\n\t\t}}\n\t}}\n",
        order[0], order[1]
    )
}

/// With State the password is the code. Without, `pap` leaves the section at once if the password is wrong.
fn challenge() -> String {
    format!(
        r#"	authorize {{
		if (&State) {{
			if (&User-Password == "{FIXED_CODE}") {{
				update control {{
					&Auth-Type := Accept
				}}
				update reply {{
					&Class := "{CLASS}"
					&Filter-Id := "{FILTER_ID}"
				}}
			}}
			else {{
				update control {{
					&Auth-Type := Reject
				}}
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
			update control {{
				&Response-Packet-Type := Access-Challenge
			}}
			update reply {{
				&State := "%{{randstr:hhhhhhhhhhhhhhhh}}"
				&Reply-Message := "Enter the code from your authenticator app:"
			}}
		}}
	}}
"#
    )
}
