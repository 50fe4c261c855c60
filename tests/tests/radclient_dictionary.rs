//! Every attribute of Debian's whole FreeRADIUS dictionary: what Orthrus sends is what `radclient` sends, octet for octet, except
//! where FreeRADIUS is wrong. And what known texts say an attribute's octets are, whoever is right.

use gateway_core::radius::{
    AttributeDef, AttributeNumber, Attributes, Code, DataType, Dictionary, Hiding, Packet, SharedSecret, dictionary,
    encode_reply, encode_request, freeradius, reveal_password, reveal_salted,
};
use gateway_core::secret::Secret;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const INSTALLED: &str = "/usr/share/freeradius/dictionary";
const SECRET: &str = "testing123";

/// So many attributes stand in one packet.
const EACH: usize = 40;

fn installed(path: &Path) -> Result<String, String> {
    let octets = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

/// What is in a dictionary, with Debian's.
fn with_debians(mut all: Dictionary) -> Dictionary {
    let outcome = freeradius::load(&mut all, Path::new(INSTALLED), &installed);
    outcome.unwrap_or_else(|faults| panic!("{faults:#?}; tests/run installs it (Debian: freeradius-common)"));
    all
}

fn shared() -> SharedSecret {
    SharedSecret::new(Secret::new(SECRET.as_bytes().to_vec()))
}

/// The packet, whatever is wrong with single attributes: values here have right types, and not always right lengths.
fn framed(octets: &[u8]) -> Packet<'_> {
    Packet::frame(octets).unwrap_or_else(|fault| panic!("{fault}: {octets:02x?}")).packet
}

/// A value for attributes of this type, in words that both sides take; `None` for frames.
fn value(data_type: DataType) -> Option<&'static str> {
    Some(match data_type {
        DataType::Text => "x1",
        DataType::String | DataType::Concat => "0x010203",
        DataType::Integer | DataType::Enum => "65793",
        DataType::Byte => "7",
        DataType::Short => "258",
        DataType::Signed => "-2",
        DataType::Time => "1700000000",
        DataType::Ether => "00:00:5e:00:53:01",
        DataType::ComboIp | DataType::Ipv4Addr => "192.0.2.1",
        DataType::Ipv6Addr => "2001:db8::1",
        DataType::Ipv4Prefix => "192.0.2.0/24",
        DataType::Ipv6Prefix => "2001:db8::/32",
        DataType::Ifid => "200:5eff:fe00:5301",
        DataType::Integer64 => "4294967297",
        DataType::Filter => "ip in forward tcp dstport = 80",
        DataType::Tlv | DataType::Vsa | DataType::Evs => return None,
    })
}

/// Whether it is a frame for others, which has no value of its own.
fn is_frame(def: &AttributeDef) -> bool {
    matches!(def.number, AttributeNumber::Standard(26 | 241..=246) | AttributeNumber::Extended { extended: 26, .. })
}

/// The octets that `radclient` sends for each line `NAME = VALUE`, in their order. Between them stand numbers of the lines in
/// Class, which also keep TLVs apart.
fn sent_by_radclient(lines: &[(String, String)]) -> BTreeMap<usize, Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let packets: Vec<String> = lines
        .chunks(EACH)
        .enumerate()
        .map(|(packet, lines)| {
            let lines = lines.iter().enumerate();
            let marked =
                lines.map(|(at, (name, value))| format!("Class = 0x{:08x}\n{name} = {value}", packet * EACH + at));
            marked.collect::<Vec<_>>().join("\n")
        })
        .collect();
    assert!(packets.len() < 256, "each packet has an identifier of its own");
    let over = AtomicBool::new(false);
    let server = socket.local_addr().unwrap().to_string();
    std::thread::scope(|scope| {
        let received = scope.spawn(|| {
            let mut datagrams = Vec::new();
            let mut buffer = [0; 8192];
            loop {
                match socket.recv_from(&mut buffer) {
                    Ok((length, from)) => {
                        // Answered, so that it goes on at once.
                        let request = framed(&buffer[..length]);
                        let ack = encode_reply(Code::COA_ACK, &request, &Attributes::new(), &shared()).unwrap();
                        socket.send_to(&ack, from).unwrap();
                        datagrams.push(buffer[..length].to_vec());
                    }
                    Err(_) if over.load(Ordering::Relaxed) => return datagrams,
                    Err(_) => {}
                }
            }
        });
        let mut child = Command::new("radclient")
            .args(["-q", "-r", "1", "-t", "5", &server, "coa", SECRET])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("radclient: {error}; tests/run installs it (Debian: freeradius-utils)"));
        let mut input = child.stdin.take().unwrap();
        input.write_all((packets.join("\n\n") + "\n").as_bytes()).unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        over.store(true, Ordering::Relaxed);
        let datagrams = received.join().unwrap();
        let printed = String::from_utf8_lossy(&output.stderr);
        let mut sent = BTreeMap::new();
        for octets in &datagrams {
            let packet = framed(octets);
            split(&packet, &mut sent);
        }
        assert!(sent.len() > lines.len() * 9 / 10, "{} of {}: {printed}", sent.len(), lines.len());
        sent
    })
}

/// Adds the octets behind each number in a Class, which has four octets; as a line of its own it has three.
fn split(packet: &Packet<'_>, sent: &mut BTreeMap<usize, Vec<u8>>) {
    let mut line = None;
    for attribute in packet.attributes() {
        if let (25, Ok(number)) = (attribute.kind, attribute.value.try_into()) {
            line = usize::try_from(u32::from_be_bytes(number)).ok();
            sent.entry(line.unwrap()).or_default();
            continue;
        }
        let octets = sent.get_mut(&line.expect("a number comes first")).unwrap();
        octets.extend([attribute.kind, u8::try_from(attribute.value.len() + 2).unwrap()]);
        octets.extend_from_slice(attribute.value);
    }
}

/// The octets that Orthrus sends.
fn sent_by_us(def: &AttributeDef, value: &str) -> Result<Vec<u8>, String> {
    let mut list = Attributes::new();
    let octets = def.encode_value(value).map_err(|error| error.to_string())?;
    list.push_def(def, &octets).map_err(|error| error.to_string())?;
    let packet =
        encode_request(Code::COA_REQUEST, 1, [0; 16], &list, &shared(), false).map_err(|error| error.to_string())?;
    Ok(packet[20..].to_vec())
}

/// The octets with hidden values revealed, where both sides have drawn their own salt.
fn revealed(def: &AttributeDef, octets: &[u8], value: &str) -> Vec<u8> {
    let blocks = match def.hiding {
        Hiding::Open | Hiding::Secret | Hiding::Ascend => return octets.to_vec(),
        Hiding::Password => 16,
        Hiding::Salted => {
            2 + (1 + def.encode_value(value).unwrap().len() - usize::from(def.has_tag)).next_multiple_of(16)
        }
    };
    let (head, hidden) = octets.split_at(octets.len() - blocks);
    let clear = match def.hiding {
        Hiding::Password => reveal_password(hidden, &shared(), &[0; 16]).expose().to_vec(),
        _ => reveal_salted(hidden, &shared(), &[0; 16]).map(|clear| clear.expose().to_vec()).unwrap_or_default(),
    };
    [head, &clear].concat()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Compares lines, and returns how many were and what differed.
fn compare(lines: &[(String, String)], ours: &Dictionary, theirs: &Dictionary) -> (usize, Vec<String>) {
    let quoted: Vec<(String, String)> = lines
        .iter()
        .map(|(name, value)| {
            let quotes = matches!(theirs.by_name(name).unwrap().data_type, DataType::Text | DataType::Filter);
            (name.clone(), if quotes { format!("\"{value}\"") } else { value.clone() })
        })
        .collect();
    let sent = sent_by_radclient(&quoted);
    let mut differ = Vec::new();
    for (at, (name, value)) in lines.iter().enumerate() {
        let def = ours.by_name(name).unwrap_or_else(|| panic!("{name} was left out"));
        let there = sent.get(&at).map(|octets| revealed(def, octets, value));
        let here = sent_by_us(def, value).map(|octets| revealed(def, &octets, value));
        match (here, there) {
            (Ok(here), Some(there)) if here == there => {}
            (here, there) => {
                let here = here.map_or_else(|error| error, |octets| hex(&octets));
                differ.push(format!(
                    "{name} = {value}: {here}; radclient: {}",
                    there.map(|octets| hex(&octets)).unwrap_or_default()
                ));
            }
        }
    }
    (lines.len(), differ)
}

/// What radclient makes of these says nothing of the dictionary.
const OF_THE_PROTOCOL: [&str; 4] = ["Message-Authenticator", "CHAP-Password", "Proxy-State", "EAP-Message"];

/// Where FreeRADIUS is wrong: the attribute, what is right, and why.
const WRONG: [(&str, &str, &str); 16] = [
    ("Framed-IPv6-Prefix", "6108002020010db8", NO_MORE_THAN_NEEDED),
    ("Delegated-IPv6-Prefix", "7b08002020010db8", NO_MORE_THAN_NEEDED),
    ("PMIP6-Home-HN-Prefix", "9708002020010db8", NO_MORE_THAN_NEEDED),
    ("PMIP6-Visited-HN-Prefix", "9808002020010db8", NO_MORE_THAN_NEEDED),
    ("Route-IPv6-Information", "aa08002020010db8", NO_MORE_THAN_NEEDED),
    ("ERX-IPv6-NdRa-Prefix", "1a0e0000130a8108002020010db8", NO_MORE_THAN_NEEDED),
    ("Huawei-IPv6-Policy-Route", "1a0e000007dbc208002020010db8", NO_MORE_THAN_NEEDED),
    ("WiMAX-Visited-Framed-IPv6-Prefix", "1a0f000060b5500900002020010db8", NO_MORE_THAN_NEEDED),
    ("WiMAX-Home-HNP-PMIP6", "1a0f000060b5850900002020010db8", NO_MORE_THAN_NEEDED),
    ("WiMAX-Visited-HNP-PMIP6", "1a0f000060b5880900002020010db8", NO_MORE_THAN_NEEDED),
    ("IPv6-6rd-IPv4MaskLen", "ad08010600010101", NOT_SENT),
    ("IPv6-6rd-Prefix", "ad0a0208002020010db8", NOT_SENT),
    ("IPv6-6rd-BR-IPv4-Address", "ad080306c0000201", NOT_SENT),
    ("Multi-Link-Flag", "7e0600010101", "it takes the type of another name for the number, and sends the digits"),
    ("Digest-Response", "67047831", "it has the number of a draft; RFC 5090 has 103"),
    ("Fortinet-Client-IPv6-Address", "1a1800003044041220010db8000000000000000000000001", "it takes no address for it"),
];
const NO_MORE_THAN_NEEDED: &str = "RFC 8044 section 3.10 wants no more octets of the prefix than needed";
const NOT_SENT: &str = "it sends nothing of RFC 6930";

#[test]
fn debians_attributes_have_radclients_octets() {
    let (ours, theirs) = (with_debians(dictionary().clone()), with_debians(Dictionary::default()));
    let sendable = |def: &&AttributeDef| !is_frame(def) && !OF_THE_PROTOCOL.contains(&&*def.name);
    let plain: Vec<(String, String)> = theirs
        .attributes()
        .iter()
        .filter(sendable)
        .filter_map(|def| {
            let known_better = def.name == "Fortinet-Client-IPv6-Address";
            let data_type = if known_better { DataType::Ipv6Addr } else { def.data_type };
            Some((def.name.to_string(), value(data_type)?.to_owned()))
        })
        .collect();
    let named: Vec<(String, String)> = theirs
        .attributes()
        .iter()
        .filter(sendable)
        .filter(|def| def.name != "Multi-Link-Flag")
        .filter_map(|def| Some((def.name.to_string(), def.values.last()?.0.to_string())))
        .collect();
    let (mut compared, mut differ) = compare(&plain, &ours, &theirs);
    for (name, right, why) in WRONG {
        let (name, value) = plain.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(sent_by_us(ours.by_name(name).unwrap(), value).map(|octets| hex(&octets)), Ok(right.to_owned()));
        let line = differ.iter().position(|line| line.starts_with(&format!("{name} = ")));
        differ.remove(line.unwrap_or_else(|| panic!("{name} is right in this release too, although {why}")));
    }
    let (more, others) = compare(&named, &ours, &theirs);
    compared += more;
    differ.extend(others);
    assert!(compared > 7800, "only {compared} were compared");
    assert!(differ.is_empty(), "{} of {compared} differ:\n{}", differ.len(), differ.join("\n"));
}

/// Octets that the vendors' own papers and captures show.
#[test]
fn known_octets_are_sent() {
    let ours = with_debians(dictionary().clone());
    for (name, value, expected) in [
        ("3GPP-RAT-Type", "UTRAN", "1a09000028af150301"),
        ("Mimosa-EnableSNMP-Parameter", "1", "1a090000a95c160301"),
        ("ASA-SVC-Ask-Timeout", "30", "1a0c00000c0484060000001e"),
        ("WiMAX-IP-Technology", "7", "1a0d000060b517070000000007"),
    ] {
        let def = ours.by_name(name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(sent_by_us(def, value).map(|octets| hex(&octets)), Ok(expected.to_owned()), "{name}");
    }
}
