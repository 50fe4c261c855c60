//! `[second_factor.entra]`: Microsoft Entra MFA, called as the NPS extension calls it.

mod check;
mod clouds;

pub use check::{EntraCertificate, EntraFactor, Proxy, Thumbprint};
pub use clouds::{Cloud, CloudHosts, Hosts};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

use super::{
    terms::{PushUsers, Unregistered},
    units::Span,
};

/// With `kind = "entra"`: Microsoft Entra MFA, called as Microsoft's NPS extension calls it. Two things to know before it is
/// used: Microsoft neither documents nor supports this interface for others, so that it may change without notice; and whoever
/// holds the private key of the certificate can prompt every user of the tenant and try their codes, so that the file must be
/// readable for the gateway alone.
///
/// ```toml
/// [[second_factor]]
/// name = "phone"
/// kind = "entra"
///
/// [second_factor.entra]
/// tenant_id = "3f2b1c0d-5a49-4e8e-9d7c-6b5a49382716"
/// certificates = [{ certificate_file = "entra.crt", key_file = "secrets/entra.key" }]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawEntra {
    /// The id of the tenant (TENANT_ID of the NPS extension), as the Entra admin center shows it. Names such as `common` are
    /// refused: they would ask whichever tenant the user's name belongs to.
    #[schemars(extend("x-default" = "required", "x-type" = "GUID"))]
    pub tenant_id: Option<String>,
    /// Which of Microsoft's clouds the tenant is in: sets `sts`, `mfa_host` and `resource_host`.
    pub cloud: Cloud,
    /// The client application: Microsoft's own "Azure Multi-Factor Auth Client", which has the same id in every tenant. Another
    /// one is for tests only.
    #[schemars(extend("x-type" = "GUID"))]
    pub client_id: String,
    /// The certificates that prove who asks, at least one. The newest that is valid is used first; where the token endpoint
    /// rejects it, the next one is tried. Expired ones are passed over with a warning, so that an old certificate can stay until
    /// the new one is known to work. The files are read again when they change.
    #[schemars(extend("x-default" = "required"))]
    pub certificates: Vec<RawEntraCertificate>,
    /// How the proof to the token endpoint is signed.
    pub assertion_alg: AssertionAlg,
    /// Which of the two token endpoints is asked; both are known to work.
    pub token_endpoint: TokenEndpoint,
    /// Where tokens are issued (STS_URL): an `https:` address.
    #[schemars(extend("x-type" = "URL", "x-default" = "of the cloud"))]
    pub sts: Option<String>,
    /// The host that is called for second factors (AZURE_MFA_HOSTNAME), where needed with its port.
    #[schemars(extend("x-type" = "host", "x-default" = "of the cloud"))]
    pub mfa_host: Option<String>,
    /// The host that tokens are for (AZURE_MFA_RESOURCE_HOSTNAME). It is part of a name and is not called.
    #[schemars(extend("x-type" = "host", "x-default" = "of the cloud"))]
    pub resource_host: Option<String>,
    /// The path on both hosts (AZURE_MFA_TARGET_PATH), without slashes around it.
    #[schemars(extend("x-type" = "path"))]
    pub target_path: String,
    /// How a push or a call is waited for.
    pub begin: EntraBegin,
    /// Asks every user by this one method instead of their own default. A user who has not registered it is refused. That
    /// anything but `"PhoneAppNotification"` works is not proven: try it with one user first.
    #[schemars(extend("x-default" = "the user's default"))]
    pub method: Option<EntraMethod>,
    /// What happens to users whose default is a push (OVERRIDE_NUMBER_MATCHING_WITH_OTP). A policy may say otherwise.
    pub push_users: PushUsers,
    /// Whether users whose default is a spoken code are called to approve with the # key instead (OVERRIDE_VOICE_OTP).
    pub voice_override: VoiceOverride,
    /// What happens to users whom the tenant knows and who have registered no second factor (REQUIRE_USER_MATCH). A policy may
    /// say otherwise, for its users only. Users whom the tenant does not know never pass.
    pub unregistered: Unregistered,
    /// The last day, in UTC, on which `unregistered` lets anybody pass: `2026-03-31`.
    #[schemars(extend("x-type" = "date"))]
    pub unregistered_until: Option<String>,
    /// With `unregistered = "allow_by_code"`: the answers that mean "nothing registered". The other two of the list can also
    /// come for users who have registered something. With `method` set, nobody passes by code: a user who has registered
    /// another method could look like one who has none.
    #[schemars(extend("x-type" = "list of results"))]
    pub unregistered_codes: Vec<UnregisteredCode>,
    /// What happens when the answer names another user than the question did.
    pub upn_echo: UpnEcho,
    /// Whether a code is offered a second time at the address that Microsoft's first answer named, where the session is unknown
    /// at `mfa_host`.
    pub follow_affinity_url: FollowAffinityUrl,
    /// The hosts that such an address may name. The token is sent there.
    #[schemars(extend("x-type" = "list of hosts", "x-default" = "mfa_host and resource_host"))]
    pub affinity_hosts: Vec<String>,
    /// What users are asked when a code is wanted: 1 to 240 octets. The default is the text of the NPS extension.
    pub prompt: String,
    /// The language of calls, as a culture name. The NPS extension always sends `en-us`.
    pub lcid: String,
    /// What the gateway calls itself in requests.
    pub user_agent: String,
    /// What is sent as the caller's address. Every known client sends this constant; what another value does is unknown.
    pub caller_ip: String,
    /// The proxy for everything that goes to Microsoft: `http://proxy.example:3128`, or `environment` for HTTPS_PROXY and
    /// NO_PROXY as curl reads them. Left out, no proxy is used, whatever the environment says.
    #[schemars(extend("x-type" = "URL"))]
    pub proxy: Option<String>,
    /// The name by which the gateway signs in at the proxy.
    pub proxy_user: Option<String>,
    /// File that holds the password for the proxy.
    #[schemars(extend("x-type" = "path"))]
    pub proxy_password_file: Option<PathBuf>,
    /// Environment variable that holds the password for the proxy.
    pub proxy_password_env: Option<String>,
    /// Hosts, domains and networks that are reached without the proxy.
    #[schemars(extend("x-type" = "list of hosts"))]
    pub no_proxy: Vec<String>,
    /// File of the authorities (PEM) that the servers' certificates are checked against, instead of those of the system: for a
    /// proxy that opens TLS. Whoever owns one of them can answer in Microsoft's place.
    #[schemars(extend("x-type" = "path", "x-default" = "those of the system"))]
    pub ca_file: Option<PathBuf>,
    /// The oldest version of TLS.
    pub tls_min_version: TlsVersion,
    /// The cipher suites that may be used, by the names of the IANA registry.
    #[schemars(extend("x-default" = "all safe ones"))]
    pub cipher_suites: Vec<String>,
    /// How long a connection may take to be there, DNS, proxy and TLS included. Nothing was asked before that, so that this
    /// failure is harmless.
    #[schemars(extend("x-min" = "1s", "x-max" = "1m"))]
    pub connect_timeout: Span,
    /// How long everything else may take to be answered: tokens, codes, polls. A push or call that is waited for has until
    /// `attempts.deadline`.
    #[schemars(extend("x-min" = "1s", "x-max" = "1m"))]
    pub request_timeout: Span,
    /// After so many failures in a row Microsoft is not asked for a while (`breaker_pause`); 0 switches this off. Sign-ins
    /// fail at once meanwhile, instead of waiting for a time limit each.
    #[schemars(range(min = 0, max = 10000))]
    pub breaker_failures: u64,
    /// How long Microsoft is left alone; then one sign-in tries whether it answers again.
    #[schemars(extend("x-min" = "1s", "x-max" = "10m"))]
    pub breaker_pause: Span,
    /// How many questions wait on one HTTP/2 connection before another one is opened. Each push that is waited for is a question.
    /// Above what the server allows, they queue where nobody sees them.
    #[schemars(range(min = 1, max = 10000))]
    pub streams_per_connection: u64,
}

impl Default for RawEntra {
    fn default() -> Self {
        Self {
            tenant_id: None,
            cloud: Cloud::Public,
            client_id: clouds::CLIENT_ID.to_owned(),
            certificates: Vec::new(),
            assertion_alg: AssertionAlg::Auto,
            token_endpoint: TokenEndpoint::V2,
            sts: None,
            mfa_host: None,
            resource_host: None,
            target_path: clouds::TARGET_PATH.to_owned(),
            begin: EntraBegin::Auto,
            method: None,
            push_users: PushUsers::Auto,
            voice_override: VoiceOverride::Auto,
            unregistered: Unregistered::Deny,
            unregistered_until: None,
            unregistered_codes: vec![UnregisteredCode::NoDefaultAuthenticationMethodIsConfigured],
            upn_echo: UpnEcho::Enforce,
            follow_affinity_url: FollowAffinityUrl::Never,
            affinity_hosts: Vec::new(),
            prompt: "Enter Your Microsoft verification code".to_owned(),
            lcid: "en-us".to_owned(),
            user_agent: "Orthrus".to_owned(),
            caller_ip: "UNKNOWN:".to_owned(),
            proxy: None,
            proxy_user: None,
            proxy_password_file: None,
            proxy_password_env: None,
            no_proxy: Vec::new(),
            ca_file: None,
            tls_min_version: TlsVersion::Tls12,
            cipher_suites: Vec::new(),
            connect_timeout: Span::secs(10),
            request_timeout: Span::secs(20),
            breaker_failures: 10,
            breaker_pause: Span::secs(10),
            streams_per_connection: 100,
        }
    }
}

/// One certificate of the client and its key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawEntraCertificate {
    /// The certificate (PEM), registered with the client application in the tenant.
    #[schemars(extend("x-default" = "required", "x-type" = "path"))]
    pub certificate_file: Option<PathBuf>,
    /// Its private key (PEM, RSA, not encrypted). May be the same file. Readable for the gateway and nobody else.
    #[schemars(extend("x-default" = "required", "x-type" = "path"))]
    pub key_file: Option<PathBuf>,
    /// The thumbprint that the certificate must have, SHA-1 or SHA-256 in hexadecimal (CLIENT_CERT_IDENTIFIER): another
    /// certificate in the file is then not used.
    pub thumbprint: Option<String>,
}

macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        #[schemars(inline)]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)*
        }
    };
}

choice! {
    /// How the assertion is signed.
    AssertionAlg {
        /// What was last seen to work for this tenant; until something was, as `"rs256"`.
        #[default]
        Auto,
        /// RSASSA-PSS with SHA-256, which Microsoft documents now. That it is accepted for this application is not proven.
        Ps256,
        /// RSASSA-PKCS1-v1_5 with SHA-256, which is known to be accepted.
        Rs256,
    }
}

choice! {
    /// Which token endpoint is asked.
    TokenEndpoint {
        /// `/oauth2/v2.0/token`.
        #[default]
        V2,
        /// `/oauth2/token`.
        V1,
    }
}

choice! {
    /// How a prompt is waited for.
    EntraBegin {
        /// As `"held"` for now: that a push can be polled has not been seen on this tenant.
        #[default]
        Auto,
        /// The question is held open until the user has answered, as the NPS extension does. If the node dies meanwhile, the
        /// attempt is lost.
        Held,
        /// The question is answered at once, and the gateway asks every few seconds what became of it, so that another node
        /// can go on. That this works with a push is not proven: try it first.
        Polled,
    }
}

choice! {
    /// Whether a call to approve replaces a spoken code.
    VoiceOverride {
        /// Where no code can be asked for (not PAP, or `challenge = false`).
        #[default]
        Auto,
        /// For everybody.
        Always,
        /// For nobody.
        Never,
    }
}

choice! {
    /// What to do about an answer for another user.
    UpnEcho {
        /// The user is refused.
        #[default]
        Enforce,
        /// It is logged. For tenants with alternate login ids, whose answers name another UPN.
        Warn,
    }
}

choice! {
    /// Whether to follow AffinityUrl.
    FollowAffinityUrl {
        /// No.
        #[default]
        Never,
        /// Once, if its host is among `affinity_hosts`. That this helps is not proven.
        OnInvalidSession,
    }
}

/// One registered method of a user, by Microsoft's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum EntraMethod {
    /// A push.
    PhoneAppNotification,
    /// A code of the authenticator app or of a hardware token.
    PhoneAppOTP,
    /// A code by text message.
    OneWaySMS,
    /// A call to the mobile phone.
    TwoWayVoiceMobile,
    /// A call to the other mobile phone.
    TwoWayVoiceAlternateMobile,
    /// A call to the office.
    TwoWayVoiceOffice,
}

impl EntraMethod {
    /// Its name on the wire.
    pub const fn id(self) -> &'static str {
        match self {
            Self::PhoneAppNotification => "PhoneAppNotification",
            Self::PhoneAppOTP => "PhoneAppOTP",
            Self::OneWaySMS => "OneWaySMS",
            Self::TwoWayVoiceMobile => "TwoWayVoiceMobile",
            Self::TwoWayVoiceAlternateMobile => "TwoWayVoiceAlternateMobile",
            Self::TwoWayVoiceOffice => "TwoWayVoiceOffice",
        }
    }

    /// Whether the user types a code.
    pub const fn asks_for_code(self) -> bool {
        matches!(self, Self::PhoneAppOTP | Self::OneWaySMS)
    }
}

/// An answer that may mean that the user has registered nothing, by Microsoft's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum UnregisteredCode {
    /// There is no default method.
    NoDefaultAuthenticationMethodIsConfigured,
    /// The method that was asked for is not registered.
    AuthenticationMethodNotConfigured,
    /// There is no data behind the method.
    ProofDataNotFound,
}

impl UnregisteredCode {
    /// Its name on the wire.
    pub const fn value(self) -> &'static str {
        match self {
            Self::NoDefaultAuthenticationMethodIsConfigured => "NoDefaultAuthenticationMethodIsConfigured",
            Self::AuthenticationMethodNotConfigured => "AuthenticationMethodNotConfigured",
            Self::ProofDataNotFound => "ProofDataNotFound",
        }
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum TlsVersion {
    /// 1.2 or 1.3.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// 1.3 only.
    #[serde(rename = "1.3")]
    Tls13,
}
