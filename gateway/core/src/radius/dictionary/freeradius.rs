//! Dictionary files in the form of FreeRADIUS 3, which vendors hand out: `VENDOR`, `BEGIN-VENDOR`, `ATTRIBUTE`, `VALUE` and
//! `$INCLUDE`. What such a file defines joins the dictionary of the product and changes nothing in it.
//!
//! A file includes others from its own folder or below, never from elsewhere. What belongs to no packet (attributes that the
//! server keeps to itself) is left out, and the reader says so once for each file.

use super::super::definition::{AttributeDef, AttributeNumber, DataType, Hiding, Layout};
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
    /// Values of attributes that may yet come: where they stand, attribute, name and number.
    later: Vec<(String, [String; 3])>,
    left_out: Vec<String>,
    faults: Vec<Fault>,
}

/// Where a line stands.
#[derive(Default)]
struct Scope {
    vendor: Option<u32>,
    /// The extended attribute, 241 to 246, of which the vendor's part is meant (RFC 6929 §2.4).
    extended: Option<u8>,
    /// The TLVs around it, the innermost last; `None` for one that was left out.
    tlvs: Vec<Option<AttributeNumber>>,
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
            let Some((keyword, words)) = words.split_first() else { continue };
            match (keyword.to_ascii_uppercase().as_str(), words) {
                (keyword @ ("$INCLUDE" | "$INCLUDE-" | "$-INCLUDE"), [name]) => {
                    let optional = keyword != "$INCLUDE";
                    match beside(path, name) {
                        Some(other) if optional && (self.open)(&other).is_err() => {}
                        Some(other) => self.file(&other, &place(), depth - 1),
                        None if optional => {
                            self.left_out.push(format!("{}: `{name}` lies in another folder and is not read", place()));
                        }
                        None => {
                            let problem = format!("`{name}` lies outside the folder of the file that includes it");
                            self.fault(place(), (problem, "Name that file in `dictionaries` itself."));
                        }
                    }
                }
                (upper, words) => {
                    if let Err(refusal) = self.line((keyword, upper), words, &mut scope, &place) {
                        self.fault(place(), refusal);
                    }
                }
            }
            if self.faults.len() > 20 {
                return;
            }
        }
        if scope.skipped > 0 {
            self.left_out.push(format!(
                "{}: {} attributes were left out, which belong to no packet",
                path.display(),
                scope.skipped
            ));
        }
    }

    fn fault(&mut self, place: String, (problem, remedy): Refusal) {
        self.faults.push(Fault { place, problem, remedy });
    }

    fn line(
        &mut self,
        (keyword, upper): (&str, &str),
        words: &[&str],
        scope: &mut Scope,
        place: &dyn Fn() -> String,
    ) -> Result<(), Refusal> {
        match (upper, words) {
            ("VENDOR", [name, number, format @ ..]) => self.vendor(name, number, format),
            ("BEGIN-VENDOR", [name, format @ ..]) => self.begin_vendor(name, format, scope),
            ("END-VENDOR", [name]) => match (scope.vendor.take(), self.dictionary.vendor_number(name)) {
                (Some(begun), Some(ended)) if begun == ended => {
                    scope.extended = None;
                    Ok(())
                }
                _ => Err((format!("END-VENDOR {name} ends what has not begun"), "Match it with BEGIN-VENDOR.")),
            },
            ("BEGIN-TLV", [name]) => {
                let known = self.dictionary.by_name(name).map(|def| (def.number, def.data_type));
                match known {
                    Some((number, DataType::Tlv)) => scope.tlvs.push(Some(number)),
                    None if self.skipped.contains(&name.to_ascii_lowercase()) => scope.tlvs.push(None),
                    _ => return Err((format!("`{name}` is no TLV"), "Write its ATTRIBUTE line above, of type tlv.")),
                }
                Ok(())
            }
            ("END-TLV", [name]) => match scope.tlvs.pop() {
                Some(_) => Ok(()),
                None => Err((format!("END-TLV {name} ends what has not begun"), "Match it with BEGIN-TLV.")),
            },
            ("ATTRIBUTE", [name, number, kind, flags @ ..]) => {
                self.attribute((name, number, kind), flags, scope, place)
            }
            ("VALUE", [attribute, name, number]) => {
                self.count()?;
                let known = self.dictionary.by_name(attribute).is_some();
                if known || self.skipped.contains(&attribute.to_ascii_lowercase()) {
                    return self.value(attribute, name, number);
                }
                self.later.push((place(), [attribute, name, number].map(|word| (*word).to_owned())));
                Ok(())
            }
            ("VALUE-ALIAS", [attribute, other]) => {
                let values = self.dictionary.by_name(other).map(|def| def.values.clone()).unwrap_or_default();
                values.into_iter().try_for_each(|(name, number)| self.value(attribute, &name, &number.to_string()))
            }
            (
                "FLAGS" | "PROTOCOL" | "BEGIN-PROTOCOL" | "END-PROTOCOL" | "ALIAS" | "DEFINE" | "STRUCT" | "MEMBER",
                _,
            ) => Err((format!("`{keyword}` belongs to dictionaries of FreeRADIUS 4"), "Take the file of version 3.")),
            _ => Err((format!("`{keyword}` is no line of a dictionary, or lacks a word"), "Correct the line.")),
        }
    }

    fn vendor(&mut self, name: &str, number: &str, format: &[&str]) -> Result<(), Refusal> {
        let number = number_of(number).ok_or_else(|| no_number(number))?;
        let layout = match format {
            // What FreeRADIUS knows without being told.
            [] => match number {
                429 => Layout { kind: 4, length: 0, continued: false },
                4846 => Layout { kind: 2, length: 1, continued: false },
                8164 => Layout { kind: 2, length: 2, continued: false },
                _ => Layout::PLAIN,
            },
            [format, ..] => layout(format).ok_or_else(|| {
                let remedy = "Write octets of type and length, such as format=1,1 or format=1,1,c.";
                (format!("`{format}` is no format of a vendor"), remedy)
            })?,
        };
        let wrong = |problem| (format!("`{name}`: {problem}"), "Give the vendor another name in this file.");
        self.dictionary.add_vendor(name.to_owned().into(), number).map_err(wrong)?;
        let wrong = |problem| (format!("`{name}`: {problem}"), "Remove the format from this line.");
        self.dictionary.set_layout(number, layout).map_err(wrong)
    }

    fn begin_vendor(&mut self, name: &str, format: &[&str], scope: &mut Scope) -> Result<(), Refusal> {
        let Some(number) = self.dictionary.vendor_number(name) else {
            return Err((format!("there is no vendor `{name}`"), "Write its VENDOR line above."));
        };
        let inside = format.first().and_then(|format| format.split_once('=')).map(|(_, name)| name);
        let parent = inside.map(|name| self.dictionary.by_name(name).map(|def| def.number));
        scope.extended = match (format.is_empty(), parent) {
            (true, _) => None,
            (false, Some(Some(AttributeNumber::Extended { kind, extended: 26 }))) => Some(kind),
            _ => {
                let problem = format!("BEGIN-VENDOR {name} lies in no Extended-Vendor-Specific");
                return Err((problem, "Write its ATTRIBUTE line above, of type evs."));
            }
        };
        scope.vendor = Some(number);
        Ok(())
    }

    fn attribute(
        &mut self,
        (name, number, kind): (&str, &str, &str),
        flags: &[&str],
        scope: &mut Scope,
        place: &dyn Fn() -> String,
    ) -> Result<(), Refusal> {
        self.count()?;
        let flags = Flags::read(flags);
        let data_type = data_type(kind)
            .ok_or_else(|| (format!("`{kind}` is no type of attributes"), "Take `octets`, or correct the word."))?;
        // Older files name the vendor at the end of the line.
        let vendor = scope.vendor.or_else(|| flags.other.and_then(|flag| self.dictionary.vendor_number(flag)));
        let parts = number.split('.').map(number_of).collect::<Option<Vec<u32>>>();
        let parts = parts.ok_or_else(|| no_number(number))?;
        let Some(number) = self.number(&parts, vendor, scope).filter(|_| !flags.internal) else {
            self.skipped.insert(name.to_ascii_lowercase());
            scope.skipped += 1;
            return Ok(());
        };
        let def = AttributeDef {
            name: name.to_owned().into(),
            number,
            data_type: if flags.concat { DataType::Concat } else { data_type },
            has_tag: flags.has_tag,
            hiding: flags.hiding,
            layout: number.vendor().map(|vendor| self.dictionary.layout(vendor)).unwrap_or_default(),
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
        self.dictionary.add_later(def).map_err(|problem| (format!("`{name}`: {problem}"), "Correct the line."))
    }

    /// The full number, if a packet has a place for it.
    fn number(&self, parts: &[u32], vendor: Option<u32>, scope: &Scope) -> Option<AttributeNumber> {
        let (first, rest) = parts.split_first()?;
        let octet = |number: &u32| u8::try_from(*number).ok();
        let (outer, rest) = match (scope.tlvs.last(), vendor, rest) {
            (Some(around), ..) => ((*around)?, parts),
            (None, Some(vendor), _) if let Some(kind) = scope.extended => {
                (AttributeNumber::ExtendedVendor { kind, vendor, number: octet(first)? }, rest)
            }
            (None, Some(vendor), _) => (self.of_vendor(vendor, *first)?, rest),
            (None, None, [vendor, number, rest @ ..]) if *first == 26 => (self.of_vendor(*vendor, *number)?, rest),
            (None, None, [26, vendor, number, rest @ ..]) if (241..=246).contains(first) => {
                let number = octet(number)?;
                (AttributeNumber::ExtendedVendor { kind: octet(first)?, vendor: *vendor, number }, rest)
            }
            (None, None, [extended, rest @ ..]) if (241..=246).contains(first) => {
                (AttributeNumber::Extended { kind: octet(first)?, extended: octet(extended)? }, rest)
            }
            (None, None, _) => (AttributeNumber::Standard(octet(first).filter(|kind| *kind != 0)?), rest),
        };
        rest.iter().try_fold(outer, |outer, kind| outer.inner(octet(kind)?))
    }

    /// A vendor's attribute, if its number has the octets that the vendor gives it.
    fn of_vendor(&self, vendor: u32, kind: u32) -> Option<AttributeNumber> {
        let octets = u32::from(self.dictionary.layout(vendor).kind);
        let fits = kind.checked_shr(8 * octets).unwrap_or_default() == 0;
        fits.then_some(AttributeNumber::Vendor { vendor, kind })
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
        // Values of octets, and of 64 bits, name nothing that could be written. Once there were values for the server itself.
        let known = self.dictionary.by_name(attribute);
        if known.is_some_and(|def| !def.is_numeric()) || attribute.eq_ignore_ascii_case("Server-Config") {
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

/// Flags behind the type of an attribute.
struct Flags<'a> {
    has_tag: bool,
    hiding: Hiding,
    concat: bool,
    /// The attribute is the server's own.
    internal: bool,
    /// A word that is none of these: a vendor, in older files.
    other: Option<&'a str>,
}

impl<'a> Flags<'a> {
    fn read(words: &[&'a str]) -> Self {
        let mut flags = Self { has_tag: false, hiding: Hiding::Open, concat: false, internal: false, other: None };
        for flag in words.iter().flat_map(|words| words.split(',')).filter(|flag| !flag.is_empty()) {
            match flag {
                "has_tag" | "has_tag=1" => flags.has_tag = true,
                "encrypt=1" | "encrypt=User-Password" => flags.hiding = Hiding::Password,
                "encrypt=2" | "encrypt=Tunnel-Password" => flags.hiding = Hiding::Salted,
                "encrypt=3" | "encrypt=Ascend-Secret" => flags.hiding = Hiding::Ascend,
                "encrypt=0" | "array" => {}
                "secret" if flags.hiding == Hiding::Open => flags.hiding = Hiding::Secret,
                "concat" => flags.concat = true,
                "virtual" | "internal" => flags.internal = true,
                other if other.starts_with("encrypt=") => flags.hiding = Hiding::Secret,
                other => flags.other = flags.other.or(Some(other)),
            }
        }
        flags
    }
}

/// Reads what `format=1,1` says.
fn layout(format: &str) -> Option<Layout> {
    let (key, value) = format.split_once('=')?;
    if !key.eq_ignore_ascii_case("format") {
        return None;
    }
    let (kind, length, continued) = match value.split(',').collect::<Vec<_>>().as_slice() {
        [kind, length] => (*kind, *length, false),
        [kind @ "1", length @ "1", "c"] => (*kind, *length, true),
        _ => return None,
    };
    let (kind, length) = (super::decimal(kind).ok()?, super::decimal(length).ok()?);
    (matches!(kind, 1 | 2 | 4) && length <= 2).then_some(Layout { kind, length, continued })
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

/// What FreeRADIUS calls a type. What stands for frames, and what no attribute of a packet has, are octets to us.
fn data_type(name: &str) -> Option<DataType> {
    // `octets[16]`: of this length.
    let name = name.split_once('[').map_or(name, |(name, _)| name).to_ascii_lowercase();
    Some(match name.as_str() {
        "string" | "text" => DataType::Text,
        "octets" | "bool" | "size" | "struct" | "extended" | "long-extended" => DataType::String,
        "abinary" => DataType::Filter,
        "byte" | "uint8" => DataType::Byte,
        "short" | "uint16" => DataType::Short,
        "signed" | "int32" => DataType::Signed,
        "ether" => DataType::Ether,
        "combo-ip" => DataType::ComboIp,
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
    use super::super::super::{Attributes, describe_with};
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
        assert_eq!(outcome, Ok(vec![]));
        let level = dictionary.by_name("acme-level").unwrap();
        assert_eq!(level.number, AttributeNumber::Vendor { vendor: 32473, kind: 2 });
        assert_eq!(level.encode_value("high").unwrap(), [0, 0, 0, 16]);
        assert_eq!(level.print_value(&[0, 0, 0, 1]), "Low");
        let tunnel = dictionary.by_name("ACME-Tunnel").unwrap();
        assert!(tunnel.is_secret() && tunnel.has_tag);
        assert_eq!(dictionary.vendor_name(32473), Some("ACME"));
        let inner = dictionary.by_name("ACME-Inner").unwrap();
        assert_eq!(inner.number.to_string(), "Vendor-32473-Attr-5.1");
        assert_eq!(inner.encode_value("one").unwrap(), [0, 0, 0, 1]);
        assert!(dictionary.by_name("Class").is_some());
    }

    /// A packet with these attributes, as `NAME=VALUE`.
    fn octets(dictionary: &Dictionary, attributes: &[&str]) -> String {
        let mut list = Attributes::new();
        for text in attributes {
            let (name, value) = text.split_once('=').unwrap();
            let (def, tag) = dictionary.find_tagged(name).unwrap_or_else(|| panic!("{name}"));
            list.push_def(&def, &def.encode_tagged(value, tag).unwrap()).unwrap();
        }
        let known = describe_with(dictionary, list.iter());
        assert!(known.iter().all(|line| !line.contains("Attr-")), "what is sent is shown: {known:?}");
        list.as_bytes().iter().map(|octet| format!("{octet:02x}")).collect()
    }

    /// Forms of lines that releases of FreeRADIUS have.
    const RELEASES: &str = "
        vendor      Acme-VPN    32473
        begin-vendor ACME-Vpn
        attribute   Acme-Tiny   1   byte
        ATTRIBUTE   Acme-Small  2   short
        Attribute   Acme-Below  3   signed
        ATTRIBUTE   Acme-Card   4   ether
        ATTRIBUTE   Acme-Host   5   combo-ip
        ATTRIBUTE   Acme-Filter 6   abinary
        ATTRIBUTE   Acme-Old    7   string
        ATTRIBUTE   Acme-New    7   integer
        ATTRIBUTE   Acme-Twice  8   string
        ATTRIBUTE   Acme-Twice  8   integer
        value       Acme-Tiny   UTRAN   1
        VALUE       Acme-Old    Nothing 1
        VALUE       Acme-New    Fine    9
        VALUE-ALIAS Acme-Twice  Acme-New
        $include-   missing
        $-INCLUDE   missing.too
        $INCLUDE-   ../elsewhere

        VENDOR      Acme-Radio  32474   format=1,1,c
        BEGIN-VENDOR Acme-Radio
        ATTRIBUTE   Radio-Outer 1   tlv
        ATTRIBUTE   Radio-Flat  2   byte
        ATTRIBUTE   Radio-Long  3   octets
        BEGIN-TLV   Radio-Outer
        ATTRIBUTE   Radio-A     1   byte
        ATTRIBUTE   Radio-Deep  2   tlv
        BEGIN-TLV   Radio-Deep
        ATTRIBUTE   Radio-B     3   string
        END-TLV     Radio-Deep
        END-TLV     Radio-Outer
        ATTRIBUTE   Radio-C     1.4 integer
        END-VENDOR  Acme-Radio
        VENDOR      Acme-Wide   32475   format=4,0
        BEGIN-VENDOR Acme-Wide
        ATTRIBUTE   Wide-Number 0x9001 integer
        END-VENDOR  Acme-Wide
        VENDOR      Acme-Both   32476   format=2,2
        ATTRIBUTE   Both-Text   300 string  Acme-Both
        VENDOR      Acme-Short  32477   format=2,1
        ATTRIBUTE   Short-Text  26.32477.258 string

        ATTRIBUTE   Ext-1       241     extended
        ATTRIBUTE   Ext-5       245     long-extended
        ATTRIBUTE   Ext-Vendor-5 245.26 evs
        ATTRIBUTE   Ext-Vendor-1 241.26 evs
        ATTRIBUTE   Ext-Tlv     241.200 tlv
        ATTRIBUTE   Ext-Inner   241.200.3 integer
        BEGIN-VENDOR Acme-VPN parent=Ext-Vendor-5
        ATTRIBUTE   Acme-Ext    9   string
        END-VENDOR  ACME-VPN
        ATTRIBUTE   Acme-Ext-1  241.26.32473.8 string
        ATTRIBUTE   Server-Only 1010    string  virtual
        VALUE       Server-Config Nothing 1
    ";

    #[test]
    fn forms_of_all_releases_are_read() {
        let (dictionary, outcome) = load_text(&[("main", RELEASES)]);
        let left_out = outcome.unwrap();
        assert_eq!(left_out.len(), 2, "{left_out:?}");
        assert!(left_out[1].contains("1 attributes were left out"), "{left_out:?}");
        for (attributes, expected) in [
            (&["Acme-Tiny=UTRAN"][..], "1a0900007ed9010301"),
            (&["Acme-Tiny=255"], "1a0900007ed90103ff"),
            (&["Acme-Small=258"], "1a0a00007ed902040102"),
            (&["Acme-Below=-2"], "1a0c00007ed90306fffffffe"),
            (&["Acme-Card=00:00:5e:00:53:01"], "1a0e00007ed9040800005e005301"),
            (&["Acme-Host=192.0.2.1"], "1a0c00007ed90506c0000201"),
            (&["Acme-Host=2001:db8::1"], "1a1800007ed9051220010db8000000000000000000000001"),
            (&["Acme-Filter=0x0102"], "1a0a00007ed906040102"),
            (&["Acme-Old=30"], "1a0a00007ed907043330"),
            (&["Acme-New=fine"], "1a0c00007ed9070600000009"),
            (&["Acme-Twice=Fine"], "1a0c00007ed9080600000009"),
            (&["Radio-Flat=7"], "1a0a00007eda02040007"),
            (&["Radio-A=7"], "1a0c00007eda010600010307"),
            (&["Radio-B=x"], "1a0e00007eda0108000205030378"),
            // What lies in one TLV is sent in one.
            (
                &["Radio-A=7", "Radio-B=x", "Radio-B=y", "Radio-C=1"],
                "1a1a00007eda011400010307020803037803037904060000 0001",
            ),
            (&["Wide-Number=5"], "1a0e00007edb0000900100000005"),
            (&["Both-Text=hi"], "1a0c00007edc012c00066869"),
            (&["Short-Text=hi"], "1a0b00007edd0102056869"),
            (&["Ext-Inner=2"], "f109c8030600000002"),
            (&["Ext-Inner=2", "Class=x", "Ext-Inner=3"], "f109c803060000000219 0378f109c8030600000003"),
            (&["Acme-Ext=hi"], "f50b1a0000007ed9096869"),
            (&["Acme-Ext-1=hi"], "f10a1a00007ed9086869"),
        ] {
            assert_eq!(octets(&dictionary, attributes), expected.replace(' ', ""), "{attributes:?}");
        }
        let (_, outcome) = load_text(&[("main", "BEGIN-VENDOR Cisco\nATTRIBUTE A 250 byte")]);
        assert_eq!(outcome, Ok(vec![]), "the end of a file ends its vendor");
    }

    #[test]
    fn long_values_go_on_in_further_attributes() {
        let (dictionary, outcome) = load_text(&[("main", RELEASES)]);
        outcome.unwrap();
        for (name, lengths) in [("Radio-Long", &[255, 255, 117][..]), ("Acme-Ext", &[255, 255, 107])] {
            let def = dictionary.by_name(name).unwrap();
            let mut list = Attributes::new();
            list.push_def(def, &[b'x'; 600]).unwrap();
            let parts: Vec<usize> = list.iter().map(|attribute| attribute.value.len() + 2).collect();
            assert_eq!(parts, lengths, "{name}");
            assert_eq!(describe_with(&dictionary, list.iter()), [format!("{name} = \"{}\"", "x".repeat(600))]);
            let refused = list.push_def(def, &vec![0; 4000]).unwrap_err().to_string();
            assert!(refused.ends_with("value of 4000 octets; at most 3072 fit"), "{refused}");
        }
        let tiny = dictionary.by_name("Acme-Tiny").unwrap();
        assert!(tiny.encode_value("256").unwrap_err().to_string().contains("0 to 255"));
        assert!(tiny.encode_value("UTRAM").unwrap_err().to_string().contains("did you mean UTRAN?"));
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
        assert_eq!(dictionary.by_name("old-class").unwrap().data_type, DataType::Text, "a name has its own type");
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
            ("END-TLV A", "/d/main:1: END-TLV A ends what has not begun"),
            ("BEGIN-TLV Class", "/d/main:1: `Class` is no TLV"),
            ("VENDOR V 32473 format=3,1", "/d/main:1: `format=3,1` is no format"),
            ("VENDOR Cisco 9 format=2,1", "/d/main:1: `Cisco`: the vendor's attributes have another form"),
            ("BEGIN-VENDOR Cisco format=Class", "/d/main:1: BEGIN-VENDOR Cisco lies in no Extended"),
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
