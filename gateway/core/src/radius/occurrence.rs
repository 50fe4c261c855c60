//! How often an attribute may stand in an Access-Accept: the tables of RFC 2865 §5.44, RFC 2866 §5.13, RFC 2868 §4, RFC 2869 §5.19,
//! RFC 3162 §3, RFC 4372 §3 and RFC 5176 §3.6.

use super::definition::AttributeNumber;

/// How often an attribute may stand in an Access-Accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occurrence {
    /// Never: it belongs to requests, to accounting or to other answers.
    Never,
    /// Once at most.
    Once,
    /// As often as there is room. So may attributes of which the tables say nothing.
    Any,
}

/// How often the attribute may stand in an Access-Accept.
pub fn in_access_accept(number: AttributeNumber) -> Occurrence {
    let AttributeNumber::Standard(kind) = number else { return Occurrence::Any };
    match kind {
        // What proves somebody, and what the NAS says of itself.
        2..=5 | 30..=32 | 60 | 61 | 70 | 77 | 87 | 95 => Occurrence::Never,
        // Accounting.
        40..=53 | 55 | 68 | 86 => Occurrence::Never,
        // Other answers: challenges, rejects, and NAKs of dynamic authorization.
        73..=76 | 101 => Occurrence::Never,
        1 | 6..=10 | 12 | 15 | 16 | 19 | 20 | 23 | 24 | 27..=29 | 34..=37 | 39 | 62 | 63 => Occurrence::Once,
        71 | 72 | 80 | 84 | 85 | 88 | 89 | 96 | 100 | 102 => Occurrence::Once,
        _ => Occurrence::Any,
    }
}

#[cfg(test)]
mod tests {
    use super::super::dictionary;
    use super::*;

    #[test]
    fn tables_are_read_by_name() {
        let of = |name: &str| in_access_accept(dictionary().by_name(name).unwrap_or_else(|| panic!("{name}")).number);
        for name in [
            "User-Password",
            "CHAP-Password",
            "NAS-IP-Address",
            "NAS-Port",
            "Called-Station-Id",
            "Calling-Station-Id",
            "NAS-Identifier",
            "CHAP-Challenge",
            "NAS-Port-Type",
            "NAS-Port-Id",
            "NAS-IPv6-Address",
            "Connect-Info",
            "Acct-Status-Type",
            "Acct-Delay-Time",
            "Acct-Session-Id",
            "Acct-Terminate-Cause",
            "Acct-Link-Count",
            "Acct-Input-Gigawords",
            "Acct-Output-Gigawords",
            "Event-Timestamp",
            "Password-Retry",
            "Prompt",
            "Error-Cause",
        ] {
            assert_eq!(of(name), Occurrence::Never, "{name}");
        }
        for name in [
            "User-Name",
            "Service-Type",
            "Framed-Protocol",
            "Framed-IP-Address",
            "Framed-IP-Netmask",
            "Framed-MTU",
            "Login-Service",
            "Session-Timeout",
            "Idle-Timeout",
            "Termination-Action",
            "Port-Limit",
            "Framed-Pool",
            "Acct-Interim-Interval",
            "Framed-Interface-Id",
            "Framed-IPv6-Pool",
            "Chargeable-User-Identity",
        ] {
            assert_eq!(of(name), Occurrence::Once, "{name}");
        }
        for name in [
            "Class",
            "Filter-Id",
            "Reply-Message",
            "Framed-Route",
            "Framed-IPv6-Prefix",
            "Tunnel-Type",
            "Cisco-AVPair",
            "Framed-Compression",
            "NAS-Filter-Rule",
            "SAML-Protocol",
        ] {
            assert_eq!(of(name), Occurrence::Any, "{name}");
        }
    }
}
