//! Texts with gaps: `shell:roles={user.role|guest}`. What may stand in a gap is a closed list of roots, so that a slip of the
//! pen is found when the configuration is read; which data a user has is only known at the sign-in.

use super::Facts;
use super::claims::nas_address;
use crate::factor::Data;
use crate::radius::{AttributeNumber, attribute, nearest, numbered};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The data of which the names are known beforehand.
const KNOWN: [(&str, Datum); 8] = [
    ("user.name", Datum::UserName),
    ("user.login", Datum::Login),
    ("user.realm", Datum::Realm),
    ("user.upn", Datum::Upn),
    ("client.name", Datum::Client),
    ("nas.identifier", Datum::NasIdentifier),
    ("nas.address", Datum::NasAddress),
    ("nas.source", Datum::NasSource),
];

/// Names that a users file may not give its own data.
pub(crate) const RESERVED: [&str; 4] = ["name", "login", "realm", "upn"];

/// What a gap is filled with.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Datum {
    UserName,
    Login,
    Realm,
    Upn,
    Client,
    NasIdentifier,
    NasAddress,
    NasSource,
    User(Box<str>),
    Group(Box<str>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Gap { name: Box<str>, datum: Datum, default: Option<Box<str>> },
}

/// A text with gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Box<[Piece]>);

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// As a clause.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

/// What gaps are filled from.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// The sign-in.
    pub facts: &'a Facts<'a>,
    /// What the first factor knows of the user.
    pub data: &'a Data,
}

impl Template {
    /// Reads a text. `{{` and `}}` stand for braces.
    ///
    /// # Errors
    ///
    /// A brace that is open, or a gap that names nothing.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let lone = |brace: &str| Fault {
            problem: format!("`{text}` has a lone `{brace}`"),
            remedy: format!("Write {{user.name}} for a datum, or `{brace}{brace}` for the brace itself."),
        };
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            plain.push_str(before);
            if let Some(after) = from.strip_prefix("{{") {
                plain.push('{');
                rest = after;
            } else if let Some(after) = from.strip_prefix("}}") {
                plain.push('}');
                rest = after;
            } else if let Some(after) = from.strip_prefix('{') {
                let (inside, after) = after.split_once('}').ok_or_else(|| lone("{"))?;
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain).into()));
                }
                pieces.push(gap(inside)?);
                rest = after;
            } else {
                return Err(lone("}"));
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Text(plain.into()));
        }
        Ok(Self(pieces.into()))
    }

    /// The text, if it has no gap.
    pub fn fixed(&self) -> Option<&str> {
        match &*self.0 {
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether the packet's attributes are looked at.
    pub fn reads_attributes(&self) -> bool {
        let claimed =
            |piece: &Piece| matches!(piece, Piece::Gap { datum: Datum::NasIdentifier | Datum::NasAddress, .. });
        self.0.iter().any(claimed)
    }

    /// Fills the gaps.
    ///
    /// # Errors
    ///
    /// The name of the datum that nobody knows of this user.
    pub fn fill(&self, values: &Values<'_>) -> Result<String, &str> {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Gap { name, datum, default } => match (datum.value(values), default) {
                    (Some(value), _) => out.push_str(&value),
                    (None, Some(default)) => out.push_str(default),
                    (None, None) => return Err(name),
                },
            }
        }
        Ok(out)
    }
}

impl fmt::Display for Template {
    /// As it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}")),
            Piece::Gap { name, default: None, .. } => write!(f, "{{{name}}}"),
            Piece::Gap { name, default: Some(default), .. } => write!(f, "{{{name}|{default}}}"),
        })
    }
}

fn gap(inside: &str) -> Result<Piece, Fault> {
    let (name, default) = match inside.split_once('|') {
        Some((name, default)) => (name, Some(default.into())),
        None => (inside, None),
    };
    let known = KNOWN.iter().find(|(known, _)| *known == name).map(|(_, datum)| datum.clone());
    let datum = match name.split_once('.') {
        _ if known.is_some() => known,
        Some(("user", key)) if is_key(key) => Some(Datum::User(key.into())),
        Some(("group", key)) if is_key(key) => Some(Datum::Group(key.into())),
        _ => None,
    };
    match datum {
        Some(datum) => Ok(Piece::Gap { name: name.into(), datum, default }),
        None => {
            let remedy = match nearest::nearest(name, KNOWN.iter().map(|(known, _)| *known)) {
                Some(meant) => format!("Did you mean {{{meant}}}?"),
                None => {
                    let known: Vec<String> = KNOWN.iter().map(|(known, _)| format!("{{{known}}}")).collect();
                    format!("Write {}, {{user.NAME}} or {{group.NAME}}; `{{{{` for a brace.", known.join(", "))
                }
            };
            Err(Fault { problem: format!("the template {{{inside}}} names nothing"), remedy })
        }
    }
}

/// Whether a users file may call a datum so.
pub(crate) fn is_key(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'-'))
}

impl Datum {
    fn value<'a>(&self, Values { facts, data }: &Values<'a>) -> Option<Cow<'a, str>> {
        let told = |table: &'a Option<std::sync::Arc<BTreeMap<String, String>>>, key: &str| {
            table.as_ref().and_then(|table| table.get(key)).map(|text| Cow::Borrowed(text.as_str()))
        };
        let list = || facts.attributes.map(|list| numbered(list.iter())).unwrap_or_default();
        match self {
            Self::UserName => Some(facts.identity.canonical.as_str().into()),
            Self::Login => Some(facts.identity.user.as_str().into()),
            Self::Realm => facts.identity.realm.as_deref().map(Cow::Borrowed),
            Self::Upn => Some(facts.identity.upn.as_str().into()),
            Self::Client => Some(facts.client.into()),
            Self::NasSource => Some(facts.source.to_string().into()),
            Self::NasAddress => list()
                .into_iter()
                .find_map(|(number, value)| nas_address(number, &value))
                .map(|at| at.to_string().into()),
            Self::NasIdentifier => {
                let wanted = AttributeNumber::Standard(attribute::NAS_IDENTIFIER);
                let (_, value) = list().into_iter().find(|(number, _)| *number == wanted)?;
                String::from_utf8(value.into_owned()).ok().map(Cow::Owned)
            }
            Self::User(key) => told(&data.user, key),
            Self::Group(key) => told(&data.group, key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::radius::Attributes;
    use crate::time::Timestamp;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn fill(text: &str) -> Result<String, String> {
        let identity = Identity {
            given: "CORP\\Alice".into(),
            user: "alice".into(),
            realm: Some("corp.example".into()),
            canonical: "alice@corp.example".into(),
            upn: "a.smith@cloud.example".into(),
        };
        let mut attributes = Attributes::new();
        attributes.push(32, b"vpn-berlin").unwrap();
        attributes.push(4, &[198, 51, 100, 7]).unwrap();
        let facts = Facts {
            client: "vpn",
            source: [192, 0, 2, 10].into(),
            first_factor: Some("staff"),
            protocol: "pap",
            identity: &identity,
            groups: &[],
            attributes: Some(&attributes),
            now: Timestamp::default(),
        };
        let table = |key: &str, value: &str| Some(Arc::new(BTreeMap::from([(key.to_owned(), value.to_owned())])));
        let data = Data { user: table("department", "sales"), group: table("vlan", "120") };
        let template = Template::parse(text).map_err(|fault| format!("{}. {}", fault.problem, fault.remedy))?;
        template.fill(&Values { facts: &facts, data: &data }).map_err(str::to_owned)
    }

    #[test]
    fn gaps_are_filled() {
        for (text, filled) in [
            ("", ""),
            ("plain", "plain"),
            ("{user.department}", "sales"),
            ("a {user.name} b", "a alice@corp.example b"),
            ("{user.login}/{user.realm}/{user.upn}", "alice/corp.example/a.smith@cloud.example"),
            ("{group.vlan}{client.name}", "120vpn"),
            ("{nas.identifier} {nas.address} {nas.source}", "vpn-berlin 198.51.100.7 192.0.2.10"),
            ("{user.floor|none}", "none"),
            ("{user.floor|}", ""),
            ("{user.department|none}", "sales"),
            ("{{{user.department}}}", "{sales}"),
            ("{{user.department}}", "{user.department}"),
        ] {
            assert_eq!(fill(text).as_deref(), Ok(filled), "{text}");
        }
        assert_eq!(fill("{user.floor}"), Err("user.floor".into()));
        assert_eq!(fill("{group.department}"), Err("group.department".into()));
    }

    #[test]
    fn what_names_nothing_is_told() {
        for (text, part) in [
            ("{usr.name}", "Did you mean {user.name}?"),
            ("{name}", "names nothing"),
            ("{}", "names nothing"),
            ("{user.}", "names nothing"),
            ("{user.a b}", "names nothing"),
            ("{nas.identifer}", "Did you mean {nas.identifier}?"),
            ("{nas.serial}", "names nothing"),
            ("{user.name", "lone `{`"),
            ("user.name}", "lone `}`"),
            ("{", "lone `{`"),
        ] {
            let fault = fill(text).unwrap_err();
            assert!(fault.contains(part), "{text}: {fault}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(text in "[a{}|.]{0,12}") {
            if let Ok(template) = Template::parse(&text) {
                prop_assert_eq!(Template::parse(&template.to_string()), Ok(template));
            }
        }

        #[test]
        fn braces_can_be_escaped(text in "\\PC{0,20}") {
            let template = Template::parse(&text.replace('{', "{{").replace('}', "}}")).unwrap();
            prop_assert_eq!(template.fixed(), Some(text.as_str()));
        }
    }
}
