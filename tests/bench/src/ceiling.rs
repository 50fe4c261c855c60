//! `bench ceiling`: the least that can answer, to know what the generator itself can do. A server near this figure is not
//! what limits the figure. It is also what the generator is tested with.

use crate::cli::Ceiling;
use crate::cpu::pin;
use crate::generator::Pace;
use crate::load::{Job, measure};
use crate::mschap;
use crate::people::{CLASS, FILTER_ID, Person};
use crate::scenario::Scenario;
use crate::server::{self, Kind};
use anyhow::{Context, Result};
use gateway_core::radius::{Attributes, Code, Packet, SharedSecret, attribute, encode_reply};
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Answers everything that can be parsed as the scenario wants it, without looking at passwords or codes.
pub(crate) fn answer(octets: &[u8], scenario: Scenario, secret: &SharedSecret) -> Option<Vec<u8>> {
    let request = Packet::parse(octets).ok()?;
    let mut attributes = Attributes::new();
    if scenario == Scenario::Mschapv2 {
        let name = std::str::from_utf8(request.first(attribute::USER_NAME)?).ok()?;
        let person = Person::new(name.strip_prefix("user")?.parse().ok()?, 0);
        let answer = mschap::answer(&person, request.identifier(), request.authenticator());
        attributes.push_vendor(mschap::MICROSOFT, mschap::SUCCESS, &answer.success).ok()?;
        for kind in mschap::KEYS {
            attributes.push_vendor(mschap::MICROSOFT, kind, &[0x80; 34]).ok()?;
        }
    }
    let code = match (scenario, request.first(attribute::STATE)) {
        (Scenario::Reject, _) => Code::ACCESS_REJECT,
        (Scenario::Accounting, _) => Code::ACCOUNTING_RESPONSE,
        (Scenario::Challenge, None) => {
            attributes.push(attribute::STATE, b"state").ok()?;
            Code::ACCESS_CHALLENGE
        }
        _ => {
            attributes.push(attribute::CLASS, CLASS.as_bytes()).ok()?;
            attributes.push(attribute::FILTER_ID, FILTER_ID.as_bytes()).ok()?;
            Code::ACCESS_ACCEPT
        }
    };
    encode_reply(code, &request, &attributes, secret).ok()
}

fn serve(socket: &UdpSocket, scenario: Scenario, stop: &AtomicBool) {
    let secret = server::secret();
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
        if let Some(reply) = answer(buffer.get(..length).unwrap_or_default(), scenario, &secret) {
            // The generator counts what does not arrive.
            let _ = socket.send_to(&reply, peer);
        }
    }
}

/// True if every sign-in ended as it must.
pub(crate) fn run(arguments: &Ceiling) -> Result<bool> {
    let socket = UdpSocket::bind("127.0.0.1:0").context("no free port")?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let address = socket.local_addr()?;
    let stop = AtomicBool::new(false);
    let figures = std::thread::scope(|scope| {
        scope.spawn(|| {
            if let Some(Err(error)) = arguments.server_core.map(pin) {
                eprintln!("bench: {error:#}");
            }
            serve(&socket, arguments.scenario, &stop);
        });
        let figures = measure(&Job {
            kind: Kind::Orthrus,
            address,
            pid: None,
            scenario: arguments.scenario,
            pace: Pace::Closed(arguments.in_flight),
            counter: 0,
            shape: &arguments.shape,
        });
        stop.store(true, Ordering::Relaxed);
        figures
    })?;
    println!("the generator's ceiling: what answers only answers, in the place of");
    figures.print();
    Ok(figures.clean())
}
