//! Characters that cannot be seen in a file, and are taken literally all the same: a space at the end of a secret, a mark of byte order, a
//! character without width that came with a copied text.

use super::report::Report;

/// Describes what nobody sees in this text, in words that tell nothing else of it. Octets that are not UTF-8 are taken as they are.
pub(super) fn what(octets: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(octets);
    let text = zeroize::Zeroizing::new(text.into_owned());
    let of = |character: char| match character {
        '\u{feff}' => Some("a mark of byte order (U+FEFF)"),
        '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{ad}' => Some("a character without width"),
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Some("a character that turns the direction of writing"),
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => {
            Some("a space that is not the usual one")
        }
        '\t' | '\r' | '\n' => Some("a tab or the end of a line"),
        other if other.is_control() => Some("a control character"),
        _ => None,
    };
    text.chars()
        .find_map(of)
        .or_else(|| (text.starts_with(' ') || text.ends_with(' ')).then_some("a space at its beginning or its end"))
}

/// Warns of it at `path`. `thing` is what it is: `the secret`.
pub(super) fn warn(report: &mut Report, path: &str, thing: &str, octets: &[u8]) {
    if let Some(unseen) = what(octets) {
        let remedy = "Remove it, unless the other side has it too; it is taken as it stands.";
        report.warn(path, format!("{thing} has {unseen}, which nobody sees"), remedy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_is_told() {
        for (text, told) in [
            ("a-long-and-random-one ", "a space at its"),
            (" a-long-and-random-one", "a space at its"),
            ("\u{feff}a-long-one", "byte order"),
            ("a-long\u{200b}-one", "without width"),
            ("a-long\u{ad}-one", "without width"),
            ("a-long\u{202e}-one", "direction"),
            ("a-long\u{a0}one", "not the usual one"),
            ("a-long-one\r", "the end of a line"),
            ("a-long\tone", "a tab"),
            ("a-long\u{1}one", "control"),
            ("a-long\0one", "control"),
        ] {
            assert!(what(text.as_bytes()).is_some_and(|unseen| unseen.contains(told)), "{text:?}");
        }
        for text in ["a long one", "pässwörd", "日本語", "", "{}\u{1f511}"] {
            assert_eq!(what(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(what(b"K\xe4se"), None, "another encoding is no unseen character");
    }
}
