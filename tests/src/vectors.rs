//! The packets of `tests/vectors/radius`, as octets; the README there explains the form.

use std::fs;

/// Every packet of every file.
///
/// # Panics
///
/// A file is not in the form, or there are none.
pub fn packets() -> Vec<(String, Vec<u8>)> {
    let folder = crate::workspace().join("tests/vectors/radius");
    let mut packets = Vec::new();
    for file in fs::read_dir(folder).expect("the vectors are there") {
        let text = fs::read_to_string(file.expect("it can be read").path()).expect("it is text");
        let mut name = String::new();
        // A line that begins with a space goes on with the line above.
        let whole = text.replace("\n ", " ");
        for line in whole.lines() {
            if let Some(value) = line.strip_prefix("name: ") {
                value.clone_into(&mut name);
            } else if let Some(hex) = line.strip_prefix("packet: ") {
                packets.push((name.clone(), octets(hex)));
            }
        }
    }
    assert!(packets.len() > 30, "most vectors are missing");
    packets
}

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
    let octet = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).expect("two hex digits");
    digits.chunks(2).map(octet).collect()
}
