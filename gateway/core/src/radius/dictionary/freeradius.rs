//! Dictionary files in the form of FreeRADIUS 3, which vendors hand out: `VENDOR`, `BEGIN-VENDOR`, `ATTRIBUTE`, `VALUE` and
//! `$INCLUDE`. What such a file defines joins the dictionary of the product and changes nothing in it.
//!
//! A file includes others from its own folder or below, never from elsewhere. What has no place in a plain attribute space
//! (attributes within attributes, vendors that number with more than one octet) is left out, and the reader says so once for each
//! file: a dictionary of a whole vendor must not be refused for an attribute that nobody sends.

use super::super::definition::{AttributeDef, AttributeNumber, DataType, Hiding};
use super::Dictionary;
use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

/// Files that one dictionary may be made of.
const MOST_FILES: usize = 1024;

/// How deep they may include each other.
const DEEPEST: usize = 16;

/// Attributes and values together.
const MOST_DEFINITIONS: usize = 200_000;

/// A fault of a dictionary file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// File and line: `/etc/orthrus/dictionary.acme:12`.
    pub place: String,
    /// What is wrong, as a clause.
    pub problem: String,
    /// What to do about it.
    pub remedy: &'static str,
}

/// Hands over the text of a file, or a clause that says why it cannot be read.
pub type Open<'a> = dyn Fn(&Path) -> Result<String, String> + 'a;

/// Reads `path` and what it includes into `dictionary`. Returns what was left out, as a sentence for each file.
///
/// # Errors
///
/// The first faults of each file, each with its line; `dictionary` has what could be read.
pub fn load(dictionary: &mut Dictionary, path: &Path, open: &Open<'_>) -> Result<Vec<String>, Vec<Fault>> {
    let mut reader = Reader {
        dictionary,
        open,
        seen: HashSet::new(),
        definitions: 0,
        skipped: HashSet::new(),
        odd_vendors: HashSet::new(),
        later: Vec::new(),
        left_out: Vec::new(),
        faults: Vec::new(),
    };
    reader.file(path, "", DEEPEST);
    reader.values_of_later_attributes();
    if reader.faults.is_empty() { Ok(reader.left_out) } else { Err(reader.faults) }
}

struct Reader<'a> {
    dictionary: &'a mut Dictionary,
    open: &'a Open<'a>,
    /// Files that were read: a second time they define nothing new.
    seen: HashSet<PathBuf>,
    definitions: usize,
    /// Attributes that were left out, in lower case: their values are too.
    skipped: HashSet<String>,
    /// Vendors that number or measure their attributes with other than one octet.
    odd_vendors: HashSet<String>,
    /// Values of attributes that may yet come: where they stand, attribute, name and number.
    later: Vec<(String, [String; 3])>,
    left_out: Vec<String>,
    faults: Vec<Fault>,
}

/// Where a line stands.
#[derive(Default)]
struct Scope {
    vendor: Option<String>,
    /// Attributes inside attributes: nothing of that is taken.
    tlv: usize,
    skipped: usize,
}

type Refusal = (String, &'static str);

impl Reader<'_> {
    fn file(&mut self, path: &Path, included_at: &str, depth: usize) {
        if !self.seen.insert(path.to_owned()) {
            return;
        }
        let place = if included_at.is_empty() { path.display().to_string() } else { included_at.to_owned() };
        if depth == 0 || self.seen.len() > MOST_FILES {
            let problem = format!("more than {MOST_FILES} files, or included more than {DEEPEST} deep");
            return self.fault(place, (problem, "Name the files that you need, one by one."));
        }
        let text = match (self.open)(path) {
            Ok(text) => text,
            Err(problem) => return self.fault(place, (problem, "Correct the path, or make the file readable.")),
        };
        let mut scope = Scope::default();
        for (number, line) in (1..).zip(text.lines()) {
            let place = || format!("{}:{number}", path.display());
            let line = line.split_once('#').map_or(line, |(before, _)| before);
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["$INCLUDE" | "$INCLUDE-", name] => match beside(path, name) {
                    Some(other) => self.file(&other, &place(), depth - 1),
                    None => {
                        let problem = format!("`{name}` lies outside the folder of the file that includes it");
                        self.fault(place(), (problem, "Name that file in `dictionaries` itself."));
                    }
                },
                words => {
                    if let Err(refusal) = self.line(words, &mut scope, &place) {
                        self.fault(place(), refusal);
                    }
                }
            }
            if self.faults.len() > 20 {
                return;
            }
        }
        if let Some(vendor) = &scope.vendor {
            let refusal = (format!("BEGIN-VENDOR {vendor} has no END-VENDOR"), "Add the line.");
            self.fault(path.display().to_string(), refusal);
        }
        if scope.skipped > 0 {
            self.left_out.push(format!(
                "{}: {} attributes were left out, which lie inside others, have numbers of more than one octet or belong to no packet",
                path.display(),
                scope.skipped
            ));
        }
    }

    fn fault(&mut self, place: String, (problem, remedy): Refusal) {
        self.faults.push(Fault { place, problem, remedy });
    }

    fn line(&mut self, words: &[&str], scope: &mut Scope, place: &dyn Fn() -> String) -> Result<(), Refusal> {
        match words {
            [] => Ok(()),
            ["VENDOR", name, number, format @ ..] => {
                let number = number_of(number).ok_or_else(|| no_number(number))?;
                if let [format] = format
                    && format.strip_prefix("format=").is_some_and(|format| !matches!(format, "1,1" | "1,1,c"))
                {
                    self.odd_vendors.insert((*name).to_owned());
                }
                self.dictionary
                    .add_vendor((*name).to_owned().into(), number)
                    .map_err(|problem| (format!("`{name}`: {problem}"), "Give the vendor another name in this file."))
            }
            ["BEGIN-VENDOR", name, format @ ..] => {
                if self.dictionary.vendor_number(name).is_none() {
                    return Err((format!("there is no vendor `{name}`"), "Write its VENDOR line above."));
                }
                if !format.is_empty() {
                    // The vendor's part of an extended attribute (RFC 6929 §2.4).
                    self.odd_vendors.insert((*name).to_owned());
                }
                scope.vendor = Some((*name).to_owned());
                Ok(())
            }
            ["END-VENDOR", name] => match scope.vendor.take() {
                Some(vendor) if vendor == *name => Ok(()),
                _ => Err((format!("END-VENDOR {name} ends what has not begun"), "Match it with BEGIN-VENDOR.")),
            },
            ["BEGIN-TLV", _] => {
                scope.tlv += 1;
                Ok(())
            }
            ["END-TLV", _] => {
                scope.tlv = scope.tlv.saturating_sub(1);
                Ok(())
            }
            ["ATTRIBUTE", name, number, kind, flags @ ..] => self.attribute((name, number, kind), flags, scope, place),
            ["VALUE", attribute, name, number] => {
                self.count()?;
                let known = self.dictionary.by_name(attribute).is_some();
                if known || self.skipped.contains(&attribute.to_ascii_lowercase()) {
                    return self.value(attribute, name, number);
                }
                self.later.push((place(), [attribute, name, number].map(|word| (*word).to_owned())));
                Ok(())
            }
            [
                "FLAGS" | "PROTOCOL" | "BEGIN-PROTOCOL" | "END-PROTOCOL" | "ALIAS" | "DEFINE" | "STRUCT" | "MEMBER",
                ..,
            ] => {
                let word = words.first().copied().unwrap_or_default();
                Err((format!("`{word}` belongs to dictionaries of FreeRADIUS 4"), "Take the file of version 3."))
            }
            [word, ..] => Err((format!("`{word}` is no line of a dictionary, or lacks a word"), "Correct the line.")),
        }
    }

    fn attribute(
        &mut self,
        (name, number, kind): (&str, &str, &str),
        flags: &[&str],
        scope: &mut Scope,
        place: &dyn Fn() -> String,
    ) -> Result<(), Refusal> {
        self.count()?;
        let flags: Vec<&str> =
            flags.iter().flat_map(|flags| flags.split(',')).filter(|flag| !flag.is_empty()).collect();
        // Older files name the vendor at the end of the line.
        let vendor = scope.vendor.clone().or_else(|| {
            flags.iter().find(|flag| self.dictionary.vendor_number(flag).is_some()).map(|flag| (*flag).to_owned())
        });
        let odd = vendor.as_ref().is_some_and(|vendor| self.odd_vendors.contains(vendor));
        let internal = flags.iter().any(|flag| matches!(*flag, "virtual" | "internal"));
        let Some(number) = self.number(number, vendor.as_deref()).filter(|_| !odd && !internal && scope.tlv == 0)
        else {
            if !number.split('.').all(|part| number_of(part).is_some()) {
                return Err(no_number(number));
            }
            self.skipped.insert(name.to_ascii_lowercase());
            scope.skipped += 1;
            return Ok(());
        };
        let encryption = flags.iter().find_map(|flag| flag.strip_prefix("encrypt="));
        let hiding = match encryption {
            None if flags.contains(&"secret") => Hiding::Secret,
            None => Hiding::Open,
            Some("1" | "User-Password") => Hiding::Password,
            Some("2" | "Tunnel-Password") => Hiding::Salted,
            Some(_) => Hiding::Secret,
        };
        let data_type = data_type(kind)
            .ok_or_else(|| (format!("`{kind}` is no type of attributes"), "Take `octets`, or correct the word."))?;
        let def = AttributeDef {
            name: name.to_owned().into(),
            number,
            data_type,
            has_tag: flags.contains(&"has_tag"),
            hiding,
            values: Vec::new(),
        };
        if let Some(known) = self.dictionary.by_name(name).filter(|known| known.number != number) {
            self.left_out.push(format!(
                "{}: `{name}` means {} already and stays so; this is {number}",
                place(),
                known.number
            ));
            return Ok(());
        }
        self.dictionary.add(def).map_err(|problem| (format!("`{name}`: {problem}"), "Correct the line."))
    }

    /// The full number, if a plain attribute space has a place for it.
    fn number(&self, text: &str, vendor: Option<&str>) -> Option<AttributeNumber> {
        match vendor {
            Some(vendor) => Some(AttributeNumber::Vendor {
                vendor: self.dictionary.vendor_number(vendor)?,
                kind: u8::try_from(number_of(text)?).ok()?,
            }),
            None if text.contains('.') => AttributeNumber::plain(text).ok(),
            None => u8::try_from(number_of(text)?).ok().map(AttributeNumber::Standard),
        }
    }

    /// A file may name values of what another file defines.
    fn values_of_later_attributes(&mut self) {
        for (place, [attribute, name, number]) in std::mem::take(&mut self.later) {
            if let Err(refusal) = self.value(&attribute, &name, &number) {
                self.fault(place, refusal);
            }
        }
    }

    fn value(&mut self, attribute: &str, name: &str, number: &str) -> Result<(), Refusal> {
        if self.skipped.contains(&attribute.to_ascii_lowercase()) {
            return Ok(());
        }
        // Values of what we keep as octets, and of 64 bits, name nothing that could be written.
        let kind = self.dictionary.by_name(attribute).map(|def| def.data_type);
        if matches!(kind, Some(kind) if !matches!(kind, DataType::Integer | DataType::Enum)) {
            return Ok(());
        }
        let number = number_of(number).ok_or_else(|| no_number(number))?;
        let added = self.dictionary.add_value(attribute, name.to_owned().into(), number);
        match added {
            // Files of one vendor disagree in the names of values more often than not; the first one stays.
            Ok(()) | Err("the name means another value already") => Ok(()),
            Err(problem) => Err((format!("`{attribute}`: {problem}"), "Write its ATTRIBUTE line above.")),
        }
    }

    fn count(&mut self) -> Result<(), Refusal> {
        self.definitions += 1;
        if self.definitions > MOST_DEFINITIONS {
            return Err((format!("more than {MOST_DEFINITIONS} definitions"), "Name the files that you need."));
        }
        Ok(())
    }
}

/// The file of this name in the folder of `path`, or below.
fn beside(path: &Path, name: &str) -> Option<PathBuf> {
    let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    inside.then(|| path.parent().unwrap_or(Path::new("")).join(name))
}

fn no_number(text: &str) -> Refusal {
    (format!("`{text}` is no number"), "Write it in decimal, or as 0x….")
}

/// Decimal, or hexadecimal behind `0x`.
fn number_of(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if digits.bytes().all(|octet| octet.is_ascii_hexdigit()) => u32::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None => super::decimal(text).ok(),
    }
}

/// What FreeRADIUS calls a type. What RFC 8044 does not have are octets to us: they are written in hexadecimal.
fn data_type(name: &str) -> Option<DataType> {
    // `octets[16]`: of this length.
    let name = name.split_once('[').map_or(name, |(name, _)| name).to_ascii_lowercase();
    Some(match name.as_str() {
        "string" | "text" => DataType::Text,
        "octets" | "abinary" | "byte" | "short" | "uint8" | "uint16" | "signed" | "int32" | "ether" | "combo-ip"
        | "bool" | "size" | "struct" | "extended" | "long-extended" => DataType::String,
        "integer" | "uint32" => DataType::Integer,
        "integer64" | "uint64" => DataType::Integer64,
        "ipaddr" | "ipv4addr" => DataType::Ipv4Addr,
        "ipv6addr" => DataType::Ipv6Addr,
        "ipv4prefix" => DataType::Ipv4Prefix,
        "ipv6prefix" => DataType::Ipv6Prefix,
        "date" | "time" => DataType::Time,
        "ifid" => DataType::Ifid,
        "tlv" => DataType::Tlv,
        "vsa" => DataType::Vsa,
        "evs" => DataType::Evs,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::dictionary;
    use super::*;

    fn load_text(files: &[(&str, &str)]) -> (Dictionary, Result<Vec<String>, Vec<String>>) {
        let mut dictionary = dictionary().clone();
        let open = |path: &Path| {
            let found = files.iter().find(|(name, _)| Path::new("/d").join(name) == path);
            found.map(|(_, text)| (*text).to_owned()).ok_or_else(|| format!("cannot read {}", path.display()))
        };
        let outcome = load(&mut dictionary, Path::new("/d/main"), &open);
        let told =
            |faults: Vec<Fault>| faults.iter().map(|fault| format!("{}: {}", fault.place, fault.problem)).collect();
        (dictionary, outcome.map_err(told))
    }

    const ACME: &str = "
        # ACME makes VPNs
        VENDOR      ACME    32473   format=1,1
        BEGIN-VENDOR ACME
        ATTRIBUTE   ACME-Role   1   string
        ATTRIBUTE   ACME-Level  0x02    integer  # a number
        ATTRIBUTE   ACME-Tunnel 3   string  has_tag,encrypt=2
        ATTRIBUTE   ACME-Blob   4   octets[16]
        ATTRIBUTE   ACME-Nested 5   tlv
        BEGIN-TLV   ACME-Nested
        ATTRIBUTE   ACME-Inner  1   integer
        VALUE       ACME-Inner  One 1
        END-TLV     ACME-Nested
        VALUE       ACME-Level  Low     1
        VALUE       ACME-Level  High    0x10
        END-VENDOR  ACME
    ";

    #[test]
    fn a_vendors_file_joins_what_is_there() {
        let (dictionary, outcome) = load_text(&[("main", "$INCLUDE sub/acme\n"), ("sub/acme", ACME)]);
        let left_out = outcome.unwrap();
        assert_eq!(left_out.len(), 1, "{left_out:?}");
        assert!(left_out[0].starts_with("/d/sub/acme: 1 attributes"), "{left_out:?}");
        let level = dictionary.by_name("acme-level").unwrap();
        assert_eq!(level.number, AttributeNumber::Vendor { vendor: 32473, kind: 2 });
        assert_eq!(level.encode_value("high").unwrap(), [0, 0, 0, 16]);
        assert_eq!(level.print_value(&[0, 0, 0, 1]), "Low");
        let tunnel = dictionary.by_name("ACME-Tunnel").unwrap();
        assert!(tunnel.is_secret() && tunnel.has_tag);
        assert_eq!(dictionary.vendor_name(32473), Some("ACME"));
        assert!(dictionary.by_name("ACME-Inner").is_none());
        assert!(dictionary.by_name("Class").is_some());
    }

    #[test]
    fn nothing_that_is_known_changes_its_meaning() {
        let (dictionary, outcome) = load_text(&[(
            "main",
            "ATTRIBUTE My-Password 2 string\nATTRIBUTE User-Password 2 string\nATTRIBUTE Old-Class 25 string\n\
             ATTRIBUTE Class 200 string\n\
             VALUE Service-Type Sideways 77\nVALUE Service-Type Framed-User 99\n",
        )]);
        assert_eq!(outcome.unwrap(), ["/d/main:4: `Class` means Attr-25 already and stays so; this is Attr-200"]);
        assert!(dictionary.by_name("My-Password").unwrap().is_secret(), "another name is no other attribute");
        assert!(dictionary.by_number(AttributeNumber::Standard(2)).unwrap().is_secret());
        assert_eq!(dictionary.by_name("old-class").unwrap().data_type, DataType::String);
        assert_eq!(dictionary.by_number(AttributeNumber::Standard(25)).unwrap().name, "Class");
        let service = dictionary.by_name("Service-Type").unwrap();
        assert_eq!(service.encode_value("Sideways").unwrap(), [0, 0, 0, 77]);
        assert_eq!(service.encode_value("Framed-User").unwrap(), [0, 0, 0, 2]);
    }

    #[test]
    fn faults_have_file_and_line() {
        for (text, fault) in [
            ("nonsense", "/d/main:1: `nonsense` is no line"),
            ("\nATTRIBUTE A 200", "/d/main:2: `ATTRIBUTE` is no line of a dictionary, or lacks a word"),
            ("ATTRIBUTE A x string", "/d/main:1: `x` is no number"),
            ("ATTRIBUTE A 200 blob", "/d/main:1: `blob` is no type"),
            ("ATTRIBUTE A 200 ipaddr has_tag", "/d/main:1: `A`: only integer"),
            ("VENDOR Cisco 10", "/d/main:1: `Cisco`: the vendor's name has another number"),
            ("VENDOR V -1", "/d/main:1: `-1` is no number"),
            ("BEGIN-VENDOR Nobody", "/d/main:1: there is no vendor `Nobody`"),
            ("END-VENDOR Cisco", "/d/main:1: END-VENDOR Cisco ends what has not begun"),
            ("BEGIN-VENDOR Cisco", "/d/main: BEGIN-VENDOR Cisco has no END-VENDOR"),
            ("VALUE Nothing A 1", "/d/main:1: `Nothing`: the attribute is not named"),
            ("$INCLUDE ../../etc/passwd", "/d/main:1: `../../etc/passwd` lies outside"),
            ("$INCLUDE /etc/passwd", "/d/main:1: `/etc/passwd` lies outside"),
            ("$INCLUDE gone", "/d/main:1: cannot read /d/gone"),
            ("PROTOCOL RADIUS 1", "/d/main:1: `PROTOCOL` belongs to dictionaries of FreeRADIUS 4"),
        ] {
            let faults = load_text(&[("main", text)]).1.unwrap_err();
            assert!(faults.len() == 1 && faults[0].starts_with(fault), "{text}: {faults:?}");
        }
    }

    #[test]
    fn files_that_include_each_other_end() {
        let (_, outcome) = load_text(&[("main", "$INCLUDE other\nATTRIBUTE A 200 string"), ("other", "$INCLUDE main")]);
        assert_eq!(outcome, Ok(vec![]));
        let deep: Vec<(String, String)> = (0..40)
            .map(|at| (if at == 0 { "main".into() } else { at.to_string() }, format!("$INCLUDE {}", at + 1)))
            .collect();
        let deep: Vec<(&str, &str)> = deep.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let faults = load_text(&deep).1.unwrap_err();
        assert!(faults[0].contains("deep"), "{faults:?}");
    }

    #[test]
    fn a_file_of_many_faults_is_given_up() {
        assert!(load_text(&[("main", &"x\n".repeat(10_000))]).1.unwrap_err().len() < 30);
    }

    const INSTALLED: &str = "/usr/share/freeradius/dictionary";

    /// What is installed on this machine, by way of nothing but the file system.
    #[allow(clippy::disallowed_methods, reason = "a test reads what FreeRADIUS has installed")]
    fn installed(path: &Path) -> Result<String, String> {
        let octets = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(String::from_utf8_lossy(&octets).into_owned())
    }

    #[test]
    fn freeradius_dictionary_can_be_loaded() {
        let mut all = dictionary().clone();
        let left_out = load(&mut all, Path::new(INSTALLED), &installed).unwrap_or_else(|faults| panic!("{faults:#?}"));
        assert!(all.attributes().len() > 4000, "{} {left_out:#?}", all.attributes().len());
        assert!(all.by_name("Acme-Role").is_none() && all.by_name("Meraki-Device-Name").is_some());
    }

    /// Every attribute of ours that FreeRADIUS has under the same name has the same number, tag and protection there, and
    /// every one of ours that has a number there at all has a type that goes with it.
    #[test]
    fn freeradius_agrees_with_our_numbers() {
        let mut theirs = Dictionary::default();
        load(&mut theirs, Path::new(INSTALLED), &installed).unwrap_or_else(|faults| panic!("{faults:#?}"));
        let mut compared = 0;
        let mut faults = Vec::new();
        for ours in dictionary().attributes() {
            let Some(other) = theirs.by_name(&ours.name) else { continue };
            compared += 1;
            for (name, number) in &ours.values {
                let there = other.values.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
                if let Some((_, there)) = there.filter(|(_, there)| there != number) {
                    faults.push(format!("{} {name}: {number} here, {there} there", ours.name));
                }
            }
            // Theirs has 206 of a draft first; RFC 5090 has 103.
            if other.number != ours.number && ours.name != "Digest-Response" {
                faults.push(format!("{}: {} here, {} there", ours.name, ours.number, other.number));
            }
            if other.has_tag != ours.has_tag {
                faults.push(format!("{}: tag {} here, {} there", ours.name, ours.has_tag, other.has_tag));
            }
        }
        assert!(compared > 300, "only {compared} were compared");
        assert_eq!(faults, Vec::<String>::new());
    }
}
