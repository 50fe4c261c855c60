//! A record as one line of JSON. Version 1 of the form, which `docs/accounting.md` describes:
//!
//! ```json
//! {"v":1,"id":"…","octets":"…","received":1764064334.123456,"at":1764064330,"client":"vpn","source":"192.0.2.1:50000","attributes":{"Acct-Status-Type":"Start","User-Name":"alice"}}
//! ```
//!
//! Numbers are numbers, names of values are used where there are any, octets that are no text are `"0x…"`, and what stands more
//! than once is a list. A tag (RFC 2868 §3) stands behind the name: `"Tunnel-Private-Group-ID:1":"12"`. Values that must not be seen
//! (User-Password, keys) are left out.

use super::record::Record;
use crate::radius::{AttributeDef, AttributeNumber, DataType, Dictionary, attribute, numbered_with};
use crate::time::Timestamp;
use std::borrow::Cow;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends the line, with its end. `out` is used again and again, so that nothing is allocated for most records.
pub fn write(
    out: &mut Vec<u8>,
    record: &Record<'_>,
    client: &str,
    source: SocketAddr,
    received: Timestamp,
    dictionary: &Dictionary,
) {
    let micros = received.as_micros();
    // Writing to memory cannot fail.
    let _ = write!(
        out,
        "{{\"v\":1,\"id\":\"{:032x}\",\"octets\":\"{:032x}\",\"received\":{}.{:06},\"at\":{},\"client\":",
        record.id,
        record.octets,
        micros / 1_000_000,
        micros % 1_000_000,
        record.at.as_secs(),
    );
    string(out, client);
    let _ = write!(out, ",\"source\":\"{source}\"");
    if let Some(impossible) = record.impossible {
        let _ = write!(out, ",\"impossible_time\":\"{}\"", impossible.label());
    }
    out.extend_from_slice(b",\"attributes\":{");
    attributes(out, record, dictionary);
    out.extend_from_slice(b"}}\n");
}

fn attributes(out: &mut Vec<u8>, record: &Record<'_>, dictionary: &Dictionary) {
    let list = numbered_with(dictionary, record.packet.attributes());
    let mut first = true;
    for (place, (number, octets)) in list.iter().enumerate() {
        let hidden = [
            AttributeNumber::Standard(attribute::MESSAGE_AUTHENTICATOR),
            AttributeNumber::Standard(attribute::PROXY_STATE),
            AttributeNumber::Standard(attribute::CHAP_PASSWORD),
        ];
        if hidden.contains(number) {
            continue;
        }
        let def = dictionary.definition(*number);
        let tag = def.tag(octets);
        let same = |(other, value): &(AttributeNumber, Cow<'_, [u8]>)| other == number && def.tag(value) == tag;
        if def.is_secret() || list.iter().take(place).any(same) {
            continue;
        }
        if !std::mem::replace(&mut first, false) {
            out.push(b',');
        }
        match tag {
            Some(tag) => string(out, &format!("{}:{tag}", def.name)),
            None => string(out, &def.name),
        }
        out.push(b':');
        let mut values = list.iter().skip(place).filter(|entry| same(entry)).peekable();
        let Some((_, only)) = values.next() else { continue };
        if values.peek().is_none() {
            value(out, &def, only);
            continue;
        }
        out.push(b'[');
        value(out, &def, only);
        for (_, more) in values {
            out.push(b',');
            value(out, &def, more);
        }
        out.push(b']');
    }
}

fn value(out: &mut Vec<u8>, def: &AttributeDef, octets: &[u8]) {
    // The tag stands with the name.
    let octets = match (def.data_type, octets) {
        (DataType::Text | DataType::String, [0..=0x1f, rest @ ..]) if def.has_tag => rest,
        _ => octets,
    };
    let number = def.integer(octets);
    match (def.data_type, number) {
        (DataType::Integer | DataType::Time, Some(number)) => {
            let _ = write!(out, "{number}");
        }
        (DataType::Enum, Some(number)) => match def.value_name(number) {
            Some(name) => string(out, name),
            None => {
                let _ = write!(out, "{number}");
            }
        },
        (DataType::Integer64 | DataType::Byte | DataType::Short | DataType::Signed, _) => {
            let printed = def.print_value(octets);
            // A name of a value is a text, and so is what has a wrong length.
            if printed.strip_prefix('-').unwrap_or(&printed).bytes().all(|octet| octet.is_ascii_digit()) {
                out.extend_from_slice(printed.as_bytes());
            } else {
                string(out, &printed);
            }
        }
        (DataType::Ipv4Addr, Some(number)) => {
            let _ = write!(out, "\"{}\"", IpAddr::from(number.to_be_bytes()));
        }
        (DataType::Text | DataType::String, _) => match std::str::from_utf8(octets) {
            // What looks like hexadecimal must be hexadecimal.
            Ok(text) if !text.starts_with("0x") && (def.data_type == DataType::Text || printable(text)) => {
                string(out, text);
            }
            _ => hex(out, octets),
        },
        (DataType::Integer | DataType::Enum | DataType::Time | DataType::Concat, _) => hex(out, octets),
        _ => string(out, &def.print_value(octets)),
    }
}

fn printable(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

fn hex(out: &mut Vec<u8>, octets: &[u8]) {
    out.extend_from_slice(b"\"0x");
    for octet in octets {
        out.extend([octet >> 4, octet & 15].map(|digit| HEX.get(usize::from(digit)).copied().unwrap_or(b'0')));
    }
    out.push(b'"');
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut plain = 0;
    let octets = text.as_bytes();
    for (place, octet) in octets.iter().enumerate() {
        if !matches!(octet, b'"' | b'\\' | 0..=0x1f) {
            continue;
        }
        out.extend_from_slice(octets.get(plain..place).unwrap_or_default());
        plain = place + 1;
        let _ = match octet {
            b'"' => out.write_all(b"\\\""),
            b'\\' => out.write_all(b"\\\\"),
            b'\n' => out.write_all(b"\\n"),
            other => write!(out, "\\u{other:04x}"),
        };
    }
    out.extend_from_slice(octets.get(plain..).unwrap_or_default());
    out.push(b'"');
}
