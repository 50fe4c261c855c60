//! The attribute types that code names; the dictionary knows the others.

/// User-Name (RFC 2865 §5.1).
pub const USER_NAME: u8 = 1;

/// User-Password, hidden (RFC 2865 §5.2).
pub const USER_PASSWORD: u8 = 2;

/// CHAP-Password (RFC 2865 §5.3).
pub const CHAP_PASSWORD: u8 = 3;

/// NAS-IP-Address (RFC 2865 §5.4).
pub const NAS_IP_ADDRESS: u8 = 4;

/// NAS-Port (RFC 2865 §5.5).
pub const NAS_PORT: u8 = 5;

/// Service-Type (RFC 2865 §5.6).
pub const SERVICE_TYPE: u8 = 6;

/// Framed-Protocol (RFC 2865 §5.7).
pub const FRAMED_PROTOCOL: u8 = 7;

/// Framed-IP-Address (RFC 2865 §5.8).
pub const FRAMED_IP_ADDRESS: u8 = 8;

/// Filter-Id (RFC 2865 §5.11).
pub const FILTER_ID: u8 = 11;

/// Reply-Message, shown to the user (RFC 2865 §5.18).
pub const REPLY_MESSAGE: u8 = 18;

/// State, echoed by the NAS (RFC 2865 §5.24).
pub const STATE: u8 = 24;

/// Class, echoed in accounting (RFC 2865 §5.25).
pub const CLASS: u8 = 25;

/// Vendor-Specific (RFC 2865 §5.26).
pub const VENDOR_SPECIFIC: u8 = 26;

/// Session-Timeout, in seconds (RFC 2865 §5.27).
pub const SESSION_TIMEOUT: u8 = 27;

/// Idle-Timeout, in seconds (RFC 2865 §5.28).
pub const IDLE_TIMEOUT: u8 = 28;

/// Termination-Action (RFC 2865 §5.29).
pub const TERMINATION_ACTION: u8 = 29;

/// Called-Station-Id (RFC 2865 §5.30).
pub const CALLED_STATION_ID: u8 = 30;

/// Calling-Station-Id, the user's address as the NAS sees it (RFC 2865 §5.31).
pub const CALLING_STATION_ID: u8 = 31;

/// NAS-Identifier (RFC 2865 §5.32).
pub const NAS_IDENTIFIER: u8 = 32;

/// Proxy-State (RFC 2865 §5.33).
pub const PROXY_STATE: u8 = 33;

/// Acct-Status-Type (RFC 2866 §5.1).
pub const ACCT_STATUS_TYPE: u8 = 40;

/// Acct-Delay-Time (RFC 2866 §5.2).
pub const ACCT_DELAY_TIME: u8 = 41;

/// Acct-Input-Octets (RFC 2866 §5.3).
pub const ACCT_INPUT_OCTETS: u8 = 42;

/// Acct-Output-Octets (RFC 2866 §5.4).
pub const ACCT_OUTPUT_OCTETS: u8 = 43;

/// Acct-Session-Id (RFC 2866 §5.5).
pub const ACCT_SESSION_ID: u8 = 44;

/// Acct-Session-Time (RFC 2866 §5.7).
pub const ACCT_SESSION_TIME: u8 = 46;

/// Acct-Multi-Session-Id (RFC 2866 §5.11).
pub const ACCT_MULTI_SESSION_ID: u8 = 50;

/// Acct-Input-Gigawords (RFC 2869 §5.1).
pub const ACCT_INPUT_GIGAWORDS: u8 = 52;

/// Acct-Output-Gigawords (RFC 2869 §5.2).
pub const ACCT_OUTPUT_GIGAWORDS: u8 = 53;

/// Event-Timestamp (RFC 2869 §5.3).
pub const EVENT_TIMESTAMP: u8 = 55;

/// CHAP-Challenge (RFC 2865 §5.40).
pub const CHAP_CHALLENGE: u8 = 60;

/// NAS-Port-Type (RFC 2865 §5.41).
pub const NAS_PORT_TYPE: u8 = 61;

/// Tunnel-Client-Endpoint (RFC 2868 §3.3).
pub const TUNNEL_CLIENT_ENDPOINT: u8 = 66;

/// Tunnel-Password, hidden with a salt (RFC 2868 §3.5).
pub const TUNNEL_PASSWORD: u8 = 69;

/// ARAP-Password (RFC 2869 §5.4).
pub const ARAP_PASSWORD: u8 = 70;

/// EAP-Message (RFC 3579 §3.1).
pub const EAP_MESSAGE: u8 = 79;

/// Acct-Interim-Interval (RFC 2869 §5.16).
pub const ACCT_INTERIM_INTERVAL: u8 = 85;

/// Message-Authenticator (RFC 3579 §3.2).
pub const MESSAGE_AUTHENTICATOR: u8 = 80;

/// NAS-Port-Id (RFC 2869 §5.17).
pub const NAS_PORT_ID: u8 = 87;

/// Chargeable-User-Identity (RFC 4372 §2.2).
pub const CHARGEABLE_USER_IDENTITY: u8 = 89;

/// NAS-Filter-Rule (RFC 4849 §2).
pub const NAS_FILTER_RULE: u8 = 92;

/// NAS-IPv6-Address (RFC 3162 §2.1).
pub const NAS_IPV6_ADDRESS: u8 = 95;

/// Framed-IPv6-Prefix (RFC 3162 §2.3).
pub const FRAMED_IPV6_PREFIX: u8 = 97;

/// Error-Cause (RFC 5176 §3.5).
pub const ERROR_CAUSE: u8 = 101;

/// EAP-Key-Name (RFC 4072).
pub const EAP_KEY_NAME: u8 = 102;

/// Framed-IPv6-Address (RFC 6911 §3.1).
pub const FRAMED_IPV6_ADDRESS: u8 = 168;

/// Extended-Attribute-1 (RFC 6929 §3.1).
pub const EXTENDED_1: u8 = 241;

/// Extended-Attribute-2 (RFC 6929 §3.2).
pub const EXTENDED_2: u8 = 242;

/// Extended-Attribute-3 (RFC 6929 §3.3).
pub const EXTENDED_3: u8 = 243;

/// Extended-Attribute-4 (RFC 6929 §3.4).
pub const EXTENDED_4: u8 = 244;

/// Extended-Attribute-5, the long form (RFC 6929 §3.5).
pub const LONG_EXTENDED_1: u8 = 245;

/// Extended-Attribute-6, the long form (RFC 6929 §3.6).
pub const LONG_EXTENDED_2: u8 = 246;

/// The vendors (IANA enterprise numbers) that code names.
pub mod vendor {
    /// Microsoft, whose MS-CHAP and MPPE attributes RFC 2548 describes.
    pub const MICROSOFT: u32 = 311;
    /// Cisco.
    pub const CISCO: u32 = 9;
}
