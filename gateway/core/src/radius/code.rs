//! The packet codes (RFC 2865 §3, RFC 5176 §2.3, RFC 5997 §2).

use std::fmt;

/// What a packet is. Any octet is a code; the listener decides which it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u8);

impl Code {
    /// Access-Request.
    pub const ACCESS_REQUEST: Self = Self(1);
    /// Access-Accept.
    pub const ACCESS_ACCEPT: Self = Self(2);
    /// Access-Reject.
    pub const ACCESS_REJECT: Self = Self(3);
    /// Accounting-Request.
    pub const ACCOUNTING_REQUEST: Self = Self(4);
    /// Accounting-Response.
    pub const ACCOUNTING_RESPONSE: Self = Self(5);
    /// Access-Challenge.
    pub const ACCESS_CHALLENGE: Self = Self(11);
    /// Status-Server: "are you alive?" (RFC 5997).
    pub const STATUS_SERVER: Self = Self(12);
    /// Disconnect-Request (RFC 5176).
    pub const DISCONNECT_REQUEST: Self = Self(40);
    /// Disconnect-ACK (RFC 5176).
    pub const DISCONNECT_ACK: Self = Self(41);
    /// Disconnect-NAK (RFC 5176).
    pub const DISCONNECT_NAK: Self = Self(42);
    /// CoA-Request (RFC 5176).
    pub const COA_REQUEST: Self = Self(43);
    /// CoA-ACK (RFC 5176).
    pub const COA_ACK: Self = Self(44);
    /// CoA-NAK (RFC 5176).
    pub const COA_NAK: Self = Self(45);

    /// The name in the IANA registry, if this code is one that we know.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::ACCESS_REQUEST => "Access-Request",
            Self::ACCESS_ACCEPT => "Access-Accept",
            Self::ACCESS_REJECT => "Access-Reject",
            Self::ACCOUNTING_REQUEST => "Accounting-Request",
            Self::ACCOUNTING_RESPONSE => "Accounting-Response",
            Self::ACCESS_CHALLENGE => "Access-Challenge",
            Self::STATUS_SERVER => "Status-Server",
            Self::DISCONNECT_REQUEST => "Disconnect-Request",
            Self::DISCONNECT_ACK => "Disconnect-ACK",
            Self::DISCONNECT_NAK => "Disconnect-NAK",
            Self::COA_REQUEST => "CoA-Request",
            Self::COA_ACK => "CoA-ACK",
            Self::COA_NAK => "CoA-NAK",
            _ => return None,
        })
    }

    /// Whether the Request Authenticator of this code is computed over the packet instead of being random (RFC 2866 §3,
    /// RFC 5176 §2.3). While anything is computed over such a packet the field counts as zero.
    pub(crate) const fn signs_itself(self) -> bool {
        matches!(self, Self::ACCOUNTING_REQUEST | Self::DISCONNECT_REQUEST | Self::COA_REQUEST)
    }

    /// Whether this code answers an Access-Request.
    pub(crate) const fn answers_access(self) -> bool {
        matches!(self, Self::ACCESS_ACCEPT | Self::ACCESS_REJECT | Self::ACCESS_CHALLENGE)
    }
}

impl From<u8> for Code {
    fn from(octet: u8) -> Self {
        Self(octet)
    }
}

impl From<Code> for u8 {
    fn from(code: Code) -> Self {
        code.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "Code-{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_octet_is_a_code_and_goes_back() {
        for octet in 0..=u8::MAX {
            assert_eq!(u8::from(Code::from(octet)), octet);
        }
        assert_eq!(Code::from(11).to_string(), "Access-Challenge");
        assert_eq!(Code::from(99).to_string(), "Code-99");
    }
}
