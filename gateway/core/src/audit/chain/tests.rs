use super::*;
use crate::event::{Event, NodeEvent};
use crate::time::Timestamp;

fn key(octet: u8) -> Key {
    Key::of(&Secret::new(vec![octet; 32]))
}

/// Lines of one node, each without its end.
fn lines(count: u64) -> Vec<Vec<u8>> {
    let mut chain = Chain::new(key(1), "gw1", Link::BEGINNING);
    (0..count).map(|at| line(&mut chain, at)).collect()
}

fn line(chain: &mut Chain, at: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let event = Event::Node(NodeEvent::Started { version: "1".to_owned(), config: format!("\"{at}\u{9b}\n\u{202e}") });
    chain.add(&mut out, &Entry::of(&event, Timestamp::from_micros(at)).unwrap());
    assert_eq!(out.pop(), Some(b'\n'));
    out
}

/// The place of the first break, and what it is.
fn verify(lines: &[Vec<u8>]) -> Result<(), (usize, Break)> {
    let keys = [key(2), key(1)];
    let mut verifier = Verifier::new(&keys);
    lines.iter().enumerate().try_for_each(|(at, line)| verifier.line(line).map_err(|fault| (at, fault)))
}

#[test]
fn chain_verifies_across_restarts() {
    let mut before = Chain::new(key(1), "gw1", Link::BEGINNING);
    let mut all: Vec<Vec<u8>> = (0..3).map(|at| line(&mut before, at)).collect();
    let last = Sealed::read(&all[2]).unwrap().link;
    assert_eq!(last, before.last());
    // The key was changed meanwhile.
    let mut after = Chain::new(key(2), "gw1", last);
    all.extend((3..6).map(|at| line(&mut after, at)));
    assert_eq!(verify(&all), Ok(()));
    assert_eq!(verify(&all[2..]), Ok(()), "the oldest may be gone");
}

#[test]
fn every_tampered_octet_is_noticed() {
    let good = lines(3);
    for bit in 0..good[1].len() * 8 {
        let mut bad = good.clone();
        bad[1][bit / 8] ^= 1 << (bit % 8);
        assert_eq!(verify(&bad).unwrap_err().0, 1, "bit {bit}");
    }
    for length in 0..good[1].len() {
        let mut bad = good.clone();
        bad[1].truncate(length);
        assert_eq!(verify(&bad).unwrap_err(), (1, Break::NoLine), "{length} octets");
    }
}

#[test]
fn lines_cannot_be_moved() {
    let good = lines(5);
    let without = |gone: &[usize]| -> Vec<Vec<u8>> {
        good.iter().enumerate().filter(|(at, _)| !gone.contains(at)).map(|(_, line)| line.clone()).collect()
    };
    assert_eq!(verify(&without(&[2])), Err((2, Break::Missing(3, 3))));
    assert_eq!(verify(&without(&[1, 2, 3])), Err((1, Break::Missing(2, 4))));
    let mut twice = good.clone();
    twice.insert(3, good[1].clone());
    assert_eq!(verify(&twice), Err((3, Break::Disorder(2, 3))));
    // The same number, sealed by the same key in another life: put back from a copy.
    let mut other = Chain::new(key(1), "gw1", Sealed::read(&good[0]).unwrap().link);
    let mut replaced = good.clone();
    replaced[1] = line(&mut other, 77);
    assert_eq!(verify(&replaced), Err((2, Break::Replaced)));
    let mut foreign = Chain::new(key(1), "gw2", Sealed::read(&good[3]).unwrap().link);
    let mut mixed = good.clone();
    mixed[4] = line(&mut foreign, 4);
    assert_eq!(verify(&mixed), Err((4, Break::OtherNode("gw2".to_owned()))));
}

#[test]
fn strangers_cannot_seal() {
    let mut stranger = Chain::new(key(9), "gw1", Link::BEGINNING);
    let forged = line(&mut stranger, 0);
    assert_eq!(verify(std::slice::from_ref(&forged)), Err((0, Break::UnknownKey(key(9).id().to_owned()))));
    // Under the name of a key that is known.
    let text = String::from_utf8(forged).unwrap().replace(key(9).id(), key(1).id());
    assert_eq!(verify(&[text.into_bytes()]), Err((0, Break::Forged)));
}

#[test]
fn head_names_the_last_line() {
    let mut chain = Chain::new(key(1), "gw1", Link::BEGINNING);
    let length = chain.head().len();
    line(&mut chain, 0);
    let head = chain.head();
    assert_eq!((head.len(), read_head(&[key(2), key(1)], &head)), (length, Some(chain.last())));
    assert_eq!(read_head(&[key(2)], &head), None);
    assert_eq!(read_head(&[key(1)], &head.replace("00001 ", "00002 ")), None);
    assert_eq!(read_head(&[key(1)], ""), None);
}

#[test]
fn texts_cannot_forge_a_line() {
    let text = String::from_utf8(lines(1).remove(0)).unwrap();
    assert!(text.contains(r#""config":"\"0<U+009B>\n<U+202E>""#), "{text}");
    assert!(text.contains(r#""time":"1970-01-01T00:00:00.000000Z""#), "{text}");
}
