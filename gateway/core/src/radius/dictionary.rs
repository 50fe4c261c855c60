//! The attributes that have names. They are data: text files in `dictionary/`, read once when first asked for. A line
//! that cannot be read is left out at run time; a test makes sure that no such line is ever shipped.

pub mod freeradius;

use super::definition::{AttributeDef, AttributeNumber, DataType, Hiding, Layout, Outer, decimal};
use super::nearest::nearest;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

/// The files, in the order read; `ietf.txt` explains their form.
const FILES: [(&str, &str); 4] = [
    ("ietf.txt", include_str!("dictionary/ietf.txt")),
    ("microsoft.txt", include_str!("dictionary/microsoft.txt")),
    ("cisco.txt", include_str!("dictionary/cisco.txt")),
    ("vendors.txt", include_str!("dictionary/vendors.txt")),
];

/// The dictionary that is built in.
pub fn dictionary() -> &'static Dictionary {
    static DICTIONARY: LazyLock<Dictionary> = LazyLock::new(|| Dictionary::read(&FILES).0);
    &DICTIONARY
}

/// Attributes by name and by number.
#[derive(Clone, Debug, Default)]
pub struct Dictionary {
    /// Those of the product in the order of their numbers, then whatever was added.
    attributes: Vec<AttributeDef>,
    /// Places in `attributes`, by name in lower case.
    names: HashMap<String, usize>,
    /// Places in `attributes`: where a number has several names, the first that was read.
    numbers: HashMap<AttributeNumber, usize>,
    /// A vendor may have several names.
    vendors: Vec<(Cow<'static, str>, u32)>,
    /// Layouts of vendors' types and lengths, where it is not the way of RFC 2865 §5.26.
    layouts: HashMap<u32, Layout>,
    /// Number of `attributes` that are the product's: what a file says changes none of them.
    own: usize,
    /// Type octets of attributes in which TLVs may stand, a bit for each: most packets have none.
    tlvs: [u64; 4],
}

impl Dictionary {
    /// The attribute of this name, in any case.
    pub fn by_name(&self, name: &str) -> Option<&AttributeDef> {
        self.attributes.get(*self.names.get(&name.to_ascii_lowercase())?)
    }

    /// The attribute of this number.
    pub fn by_number(&self, number: AttributeNumber) -> Option<&AttributeDef> {
        self.attributes.get(*self.numbers.get(&number)?)
    }

    /// The attribute that a configuration means: by name, or as `Attr-18`, `Attr-241.1` or `Vendor-9-Attr-1` where the
    /// dictionary has no name for it.
    pub fn find(&self, name: &str) -> Option<Cow<'_, AttributeDef>> {
        self.by_name(name).map(Cow::Borrowed).or_else(|| Some(self.definition(name.parse().ok()?)))
    }

    /// The attribute and the tag that `Tunnel-Type:1` means. Where the attribute has no tag, there is none to find.
    pub fn find_tagged(&self, name: &str) -> Option<(Cow<'_, AttributeDef>, Option<u8>)> {
        if let Some(def) = self.find(name) {
            return Some((def, None));
        }
        let (name, tag) = name.rsplit_once(':')?;
        let tag = decimal::<u8>(tag).ok().filter(|tag| (1..=0x1f).contains(tag))?;
        self.find(name).map(|def| (def, Some(tag)))
    }

    /// What is known of a number, be it nothing but the number.
    pub fn definition(&self, number: AttributeNumber) -> Cow<'_, AttributeDef> {
        self.by_number(number).map_or_else(|| Cow::Owned(AttributeDef::unknown(number)), Cow::Borrowed)
    }

    /// The known name that somebody probably meant by an unknown one.
    pub fn nearest(&self, name: &str) -> Option<&str> {
        nearest(name, self.attributes.iter().map(|def| &*def.name))
    }

    /// The name of a vendor.
    pub fn vendor_name(&self, number: u32) -> Option<&str> {
        self.vendors.iter().find(|(_, vendor)| *vendor == number).map(|(name, _)| &**name)
    }

    /// The number of a vendor, by its name in any case.
    pub fn vendor_number(&self, name: &str) -> Option<u32> {
        self.vendors.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, number)| *number)
    }

    /// Returns whether other attributes lie within this one.
    pub(crate) fn is_tlv(&self, number: AttributeNumber) -> bool {
        let (word, bit) = octet(number);
        self.tlvs.get(word).is_some_and(|octets| octets & bit != 0)
            && self.by_number(number).is_some_and(|def| def.data_type == DataType::Tlv)
    }

    /// Returns the layout of a vendor's types and lengths.
    pub fn layout(&self, vendor: u32) -> Layout {
        if self.layouts.is_empty() {
            return Layout::PLAIN;
        }
        self.layouts.get(&vendor).copied().unwrap_or_default()
    }

    /// Every attribute: those of the product in the order of their numbers, then those that were added.
    pub fn attributes(&self) -> &[AttributeDef] {
        &self.attributes
    }

    /// Gives a vendor a name. It may have others already.
    ///
    /// # Errors
    ///
    /// The name is another vendor's.
    pub fn add_vendor(&mut self, name: Cow<'static, str>, number: u32) -> Result<(), &'static str> {
        match self.vendor_number(&name) {
            Some(known) if known == number => {}
            Some(_) => return Err("the vendor's name has another number already"),
            None => self.vendors.push((name, number)),
        }
        Ok(())
    }

    /// Says how a vendor writes types and lengths. That of a vendor of which the product knows attributes stays as it is.
    ///
    /// # Errors
    ///
    /// The product knows attributes of this vendor, and writes them in another way.
    pub(crate) fn set_layout(&mut self, vendor: u32, layout: Layout) -> Result<(), &'static str> {
        if self.layout(vendor) == layout {
            return Ok(());
        }
        if self.attributes.iter().take(self.own).any(|def| def.number.vendor() == Some(vendor)) {
            return Err("the vendor's attributes have another form already");
        }
        self.layouts.insert(vendor, layout);
        Ok(())
    }

    /// Adds an attribute. What is known of a number already stays: another name for it means the same attribute, with the type
    /// and the protection that it has, so that no file can make a secret printable.
    ///
    /// # Errors
    ///
    /// The name means another attribute already, or the attribute cannot be.
    pub fn add(&mut self, def: AttributeDef) -> Result<(), &'static str> {
        check(&def)?;
        match self.by_name(&def.name) {
            Some(known) if known.number == def.number => return Ok(()),
            Some(_) => return Err("the name means another attribute already"),
            None => {}
        }
        let def = match self.by_number(def.number) {
            Some(known) => AttributeDef { name: def.name, ..known.clone() },
            None => def,
        };
        self.place(def);
        Ok(())
    }

    /// Adds an attribute of a file in which later lines count more than those before them, as FreeRADIUS reads it: a name has the
    /// type that its own line gives it, and a number is shown by its last name. What the product knows stays, and no name makes
    /// what is secret under another printable.
    ///
    /// # Errors
    ///
    /// The name means another attribute already, or the attribute cannot be.
    pub(crate) fn add_later(&mut self, mut def: AttributeDef) -> Result<(), &'static str> {
        check(&def)?;
        let before = self.numbers.get(&def.number).copied();
        if let Some(known) = before.and_then(|place| self.attributes.get(place)) {
            if def.hiding == Hiding::Open {
                def.hiding = known.hiding;
            }
            if known.is_numeric() && def.is_numeric() {
                def.values.clone_from(&known.values);
                // An integer becomes an enum with its first named value.
                if def.data_type == DataType::Integer && !def.values.is_empty() {
                    def.data_type = DataType::Enum;
                }
            }
        }
        match self.names.get(&def.name.to_ascii_lowercase()).copied() {
            None => {
                let number = def.number;
                let place = self.place(def);
                if before.is_none_or(|before| before >= self.own) {
                    self.numbers.insert(number, place);
                }
                Ok(())
            }
            Some(place) => match self.attributes.get_mut(place) {
                Some(known) if known.number != def.number => Err("the name means another attribute already"),
                Some(known) if place >= self.own => {
                    *known = AttributeDef { name: std::mem::take(&mut known.name), ..def.clone() };
                    self.note_tlv(&def);
                    Ok(())
                }
                _ => Ok(()),
            },
        }
    }

    fn place(&mut self, def: AttributeDef) -> usize {
        self.note_tlv(&def);
        let place = self.attributes.len();
        self.names.insert(def.name.to_ascii_lowercase(), place);
        self.numbers.entry(def.number).or_insert(place);
        self.attributes.push(def);
        place
    }

    fn note_tlv(&mut self, def: &AttributeDef) {
        let (word, bit) = octet(def.number);
        if let Some(octets) = self.tlvs.get_mut(word).filter(|_| def.data_type == DataType::Tlv) {
            *octets |= bit;
        }
    }

    /// Names a value of an attribute, whatever its name; an integer with named values is an enum. A value that has a name keeps it
    /// for printing.
    ///
    /// # Errors
    ///
    /// There is no such attribute, its values are no numbers, or the name means another value of it.
    pub fn add_value(&mut self, attribute: &str, name: Cow<'static, str>, number: u32) -> Result<(), &'static str> {
        let place = *self.names.get(&attribute.to_ascii_lowercase()).ok_or("the attribute is not named above")?;
        let def = self.attributes.get_mut(place).ok_or("the attribute is not named above")?;
        if !def.is_numeric() {
            return Err("the attribute is no number");
        }
        let shown = self.numbers.get(&def.number).copied().filter(|shown| *shown != place);
        name_value(def, name.clone(), number)?;
        if let Some(shown) = shown.and_then(|shown| self.attributes.get_mut(shown)).filter(|def| def.is_numeric()) {
            // Where the other name has another value of this name, it keeps it.
            let _ = name_value(shown, name, number);
        }
        Ok(())
    }

    /// Reads the files: what can be read, and a sentence for each line that cannot.
    fn read(files: &[(&str, &'static str)]) -> (Self, Vec<String>) {
        let mut reading = Reading::default();
        let mut faults = Vec::new();
        for (file, text) in files {
            for (number, line) in (1..).zip(text.lines()) {
                if let Err(fault) = reading.line(line) {
                    faults.push(format!("{file}:{number}: {fault}: {line}"));
                }
            }
        }
        let Reading { mut attributes, vendors, .. } = reading;
        attributes.sort_by_key(|def| def.number);
        let names = attributes.iter().enumerate().map(|(place, def)| (def.name.to_ascii_lowercase(), place)).collect();
        let numbers = attributes.iter().enumerate().map(|(place, def)| (def.number, place)).collect();
        let vendors = vendors.into_iter().map(|(name, number)| (name.into(), number)).collect();
        let own = attributes.len();
        let mut read = Self { names, numbers, vendors, own, ..Self::default() };
        attributes.iter().for_each(|def| read.note_tlv(def));
        (Self { attributes, ..read }, faults)
    }
}

fn name_value(def: &mut AttributeDef, name: Cow<'static, str>, number: u32) -> Result<(), &'static str> {
    if def.data_type == DataType::Integer {
        def.data_type = DataType::Enum;
    }
    match def.values.iter().find(|known| known.0.eq_ignore_ascii_case(&name)) {
        Some((_, known)) if *known == number => {}
        Some(_) => return Err("the name means another value already"),
        None => def.values.push((name, number)),
    }
    Ok(())
}

/// Where among 256 bits the type octet of the attribute stands that carries this one.
fn octet(number: AttributeNumber) -> (usize, u64) {
    let kind = match number.parts().0 {
        Outer::Standard(kind) | Outer::Extended(kind, _) | Outer::ExtendedVendor(kind, ..) => kind,
        Outer::Vendor(..) => super::attribute::VENDOR_SPECIFIC,
    };
    (usize::from(kind / 64), 1 << (kind % 64))
}

/// Returns whether there can be such an attribute.
fn check(def: &AttributeDef) -> Result<(), &'static str> {
    check_name(&def.name)?;
    let tagged = matches!(def.data_type, DataType::Integer | DataType::Enum | DataType::Text | DataType::String);
    if def.has_tag && !tagged {
        return Err("only integer, enum, text and string may have a tag");
    }
    Ok(())
}

/// The dictionary while its files are read.
#[derive(Default)]
struct Reading {
    attributes: Vec<AttributeDef>,
    vendors: Vec<(&'static str, u32)>,
    /// Places in `attributes` by lower-case name and by number, to find values' attributes and to refuse a second meaning.
    by_name: HashMap<String, usize>,
    by_number: HashMap<AttributeNumber, usize>,
}

impl Reading {
    fn line(&mut self, line: &'static str) -> Result<(), &'static str> {
        let words: Vec<&'static str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with('#') => Ok(()),
            ["vendor", name, number] => self.vendor(name, number),
            ["attribute", name, number, data_type, flags @ ..] => self.attribute(name, number, data_type, flags),
            ["value", attribute, name, number] => self.value(attribute, name, number),
            _ => Err("neither vendor, attribute nor value"),
        }
    }

    fn vendor(&mut self, name: &'static str, number: &str) -> Result<(), &'static str> {
        let number = decimal(number).map_err(|_| "the vendor's number is no number")?;
        if self.vendors.iter().any(|known| known.0 == name || known.1 == number) {
            return Err("a vendor's name or number is used twice");
        }
        self.vendors.push((name, number));
        Ok(())
    }

    fn attribute(
        &mut self,
        name: &'static str,
        number: &str,
        data_type: &str,
        flags: &[&str],
    ) -> Result<(), &'static str> {
        check_name(name)?;
        let number = match number.split_once(':') {
            Some((vendor, kind)) => {
                let (_, vendor) =
                    *self.vendors.iter().find(|(known, _)| *known == vendor).ok_or("the vendor is not named above")?;
                AttributeNumber::Vendor { vendor, kind: decimal(kind).map_err(|_| "the number is no octet")? }
            }
            None => AttributeNumber::plain(number).map_err(|_| "the number is neither 18, 241.1 nor Vendor:1")?,
        };
        let data_type = DataType::by_name(data_type).ok_or("the data type is none of RFC 8044")?;
        let (has_tag, flags) = match flags {
            ["tag", flags @ ..] => (true, flags),
            flags => (false, flags),
        };
        let tagged = matches!(data_type, DataType::Integer | DataType::Enum | DataType::Text | DataType::String);
        if has_tag && !tagged {
            return Err("only integer, enum, text and string may have a tag");
        }
        let hiding = match flags {
            [] => Hiding::Open,
            ["secret"] => Hiding::Secret,
            ["password"] => Hiding::Password,
            ["salted"] => Hiding::Salted,
            _ => return Err("behind the data type may stand tag, then one of secret, password, salted"),
        };
        let place = self.attributes.len();
        if self.by_number.insert(number, place).is_some() {
            return Err("the number is used twice");
        }
        if self.by_name.insert(name.to_ascii_lowercase(), place).is_some() {
            return Err("the name is used twice");
        }
        self.attributes.push(AttributeDef {
            name: name.into(),
            number,
            data_type,
            has_tag,
            hiding,
            layout: Layout::PLAIN,
            values: Vec::new(),
        });
        Ok(())
    }

    fn value(&mut self, attribute: &str, name: &'static str, number: &str) -> Result<(), &'static str> {
        check_name(name)?;
        let number = decimal(number).map_err(|_| "the value is no number")?;
        let place = self.by_name.get(&attribute.to_ascii_lowercase()).ok_or("the attribute is not named above")?;
        let def = self.attributes.get_mut(*place).ok_or("the attribute is not named above")?;
        if def.data_type != DataType::Enum {
            return Err("the attribute is no enum");
        }
        if def.values.iter().any(|known| known.0.eq_ignore_ascii_case(name) || known.1 == number) {
            return Err("a value's name or number is used twice");
        }
        def.values.push((name.into(), number));
        Ok(())
    }
}

/// Names are letters, digits and a few signs, and never a mere number.
fn check_name(name: &str) -> Result<(), &'static str> {
    let known = |octet: u8| octet.is_ascii_alphanumeric() || b"-._/+".contains(&octet);
    if !(1..=128).contains(&name.len())
        || !name.bytes().all(known)
        || name.bytes().all(|octet| octet.is_ascii_digit())
        || name.parse::<AttributeNumber>().is_ok()
    {
        return Err("that is no name");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_that_is_shipped_can_be_read() {
        let (dictionary, faults) = Dictionary::read(&FILES);
        assert_eq!(faults, Vec::<String>::new());
        let lines =
            FILES.iter().flat_map(|(_, text)| text.lines()).filter(|line| line.starts_with("attribute")).count();
        assert_eq!(dictionary.attributes().len(), lines);
        assert!(lines > 390);
    }

    #[test]
    fn every_attribute_is_found_by_name_and_by_number() {
        for def in dictionary().attributes() {
            assert_eq!(dictionary().by_name(&def.name.to_uppercase()), Some(def));
            assert_eq!(dictionary().by_number(def.number), Some(def));
            assert_eq!(dictionary().find(&def.number.to_string()).as_deref(), Some(def));
        }
        assert_eq!(dictionary().by_name("Filter"), None);
        assert_eq!(dictionary().find("Filter"), None);
        assert_eq!(dictionary().nearest("Filtre-Id"), Some("Filter-Id"));
        assert_eq!(dictionary().vendor_name(25461), Some("PaloAlto"));
        assert_eq!(dictionary().find("Vendor-1-Attr-2").unwrap().name, "Vendor-1-Attr-2");
    }

    #[test]
    fn what_must_not_be_seen_is_marked() {
        for name in ["User-Password", "CHAP-Password", "MS-CHAP2-Response", "MS-MPPE-Send-Key", "Tunnel-Password"] {
            assert!(dictionary().by_name(name).unwrap().is_secret(), "{name}");
        }
    }

    #[test]
    fn a_line_that_cannot_be_read_is_told_and_left_out() {
        let wrong = "attribute A 1 text\nnonsense\nattribute A 2 text\nattribute B 1 text\nattribute C 3 blob\n\
            attribute D 240.0 text\nattribute E Nobody:1 text\nattribute F 4 text loud\nattribute G 5 ipv4addr tag\n\
            value A One 1\nvalue Z One 1\nattribute H 6 enum\nvalue H One 1\nvalue H Uno 1\nvalue H 2 2\nvendor V x\n\
            vendor V 1\nvendor W 1\nattribute H-\u{e9} 7 text\nattribute Attr-9 9 text";
        let (dictionary, faults) = Dictionary::read(&[("f", wrong)]);
        let lines: Vec<&str> = faults.iter().map(|fault| fault.split(':').nth(1).unwrap()).collect();
        assert_eq!(
            lines,
            ["2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "14", "15", "16", "18", "19", "20"],
            "{faults:#?}"
        );
        let names: Vec<&str> = dictionary.attributes().iter().map(|def| &*def.name).collect();
        assert_eq!(names, ["A", "H"]);
    }
}
