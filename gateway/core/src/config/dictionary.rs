//! `dictionaries` and `[[attributes]]`: names for attributes that the product does not know.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Surroundings, report::Report};
use crate::radius::{AttributeDef, AttributeNumber, DataType, Dictionary, Hiding, dictionary, freeradius};

/// The longest dictionary file.
const LONGEST: usize = 4 << 20;

/// An attribute that no dictionary has: policies and logs know it by this name from then on.
///
/// ```toml
/// [[attributes]]
/// name = "Acme-Role"
/// vendor = 32473
/// number = 1
/// type = "text"
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawAttribute {
    /// The name: letters, digits, hyphens, dots and underscores. A name that means another attribute already is refused.
    #[schemars(required, extend("x-default" = "required"))]
    pub name: Option<String>,
    /// The vendor's enterprise number at the IANA; left out for an attribute of the IETF's own space.
    #[schemars(extend("x-default" = "none"))]
    pub vendor: Option<u32>,
    /// The number of the attribute, within the vendor's space or the IETF's. Where that number has a name already, the new one is
    /// another name for the same attribute, with the type that it has.
    #[schemars(required, range(min = 1, max = 255), extend("x-default" = "required"))]
    pub number: Option<u64>,
    /// What its octets mean (RFC 8044).
    #[serde(rename = "type")]
    pub kind: RawType,
    /// Whether a tag stands before the value (RFC 2868 §3). Only numbers and texts have one.
    pub tag: bool,
    /// Names for values of an `integer`: `{ Low = 1, High = 2 }`.
    #[schemars(extend("x-type" = "table of name = number"))]
    pub values: BTreeMap<String, u32>,
}

/// What the octets of an attribute mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RawType {
    /// UTF-8.
    #[default]
    Text,
    /// Octets, written as text or as `0x…`.
    String,
    /// 32 bits, unsigned.
    Integer,
    /// 64 bits, unsigned.
    Integer64,
    /// Seconds since 1970.
    Time,
    /// An IPv4 address.
    Ipv4addr,
    /// An IPv6 address.
    Ipv6addr,
    /// An IPv4 network.
    Ipv4prefix,
    /// An IPv6 network.
    Ipv6prefix,
}

impl RawType {
    const fn data_type(self) -> DataType {
        match self {
            Self::Text => DataType::Text,
            Self::String => DataType::String,
            Self::Integer => DataType::Integer,
            Self::Integer64 => DataType::Integer64,
            Self::Time => DataType::Time,
            Self::Ipv4addr => DataType::Ipv4Addr,
            Self::Ipv6addr => DataType::Ipv6Addr,
            Self::Ipv4prefix => DataType::Ipv4Prefix,
            Self::Ipv6prefix => DataType::Ipv6Prefix,
        }
    }
}

/// The dictionary of the product, with what the files and the tables add.
pub(super) fn check(
    files: &[PathBuf],
    attributes: &[RawAttribute],
    report: &mut Report,
    around: &Surroundings<'_>,
) -> Arc<Dictionary> {
    let mut all = dictionary().clone();
    for (index, file) in files.iter().enumerate() {
        let path = format!("dictionaries[{index}]");
        if file.as_os_str().is_empty() {
            report.fault(path, "is empty", "Name a dictionary file in the form of FreeRADIUS 3, or remove it.");
            continue;
        }
        let open = |path: &Path| around.secrets.text(path, LONGEST);
        match freeradius::load(&mut all, &around.resolve(file), &open) {
            Ok(left_out) => {
                for problem in left_out {
                    let remedy = "Write those that you need by number, or define them under [[attributes]].";
                    report.warn(path.as_str(), problem, remedy);
                }
            }
            Err(faults) => {
                for fault in faults {
                    report.fault(path.as_str(), format!("{}: {}", fault.place, fault.problem), fault.remedy);
                }
            }
        }
    }
    for (index, entry) in attributes.iter().enumerate() {
        entry.add(&format!("attributes[{index}]"), report, &mut all);
    }
    Arc::new(all)
}

impl RawAttribute {
    fn add(&self, section: &str, report: &mut Report, all: &mut Dictionary) {
        let Some(name) = self.name.as_deref().filter(|name| !name.is_empty()) else {
            report.fault(format!("{section}.name"), "a name is missing", "Write the name that policies shall use.");
            return;
        };
        let Some(number) = self.number else {
            report.fault(format!("{section}.number"), "the number is missing", "Take it from the vendor's manual.");
            return;
        };
        let kind: u8 = report.number(&format!("{section}.number"), number, 1..=255);
        let number = match self.vendor {
            Some(vendor) => AttributeNumber::Vendor { vendor, kind: kind.into() },
            None => AttributeNumber::Standard(kind),
        };
        let def = AttributeDef {
            name: name.to_owned().into(),
            number,
            data_type: self.kind.data_type(),
            has_tag: self.tag,
            hiding: Hiding::Open,
            layout: number.vendor().map(|vendor| all.layout(vendor)).unwrap_or_default(),
            values: Vec::new(),
        };
        if let Err(problem) = all.add(def) {
            report.fault(
                format!("{section}.name"),
                format!("`{name}`: {problem}"),
                "Correct the entry, or give it another name.",
            );
            return;
        }
        for (value, number) in &self.values {
            if let Err(problem) = all.add_value(name, value.clone().into(), *number) {
                report.fault(format!("{section}.values.{value}"), problem, "Correct the entry, or remove it.");
            }
        }
    }
}
