//! From what the file says of Entra to what may be used.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    AssertionAlg, Cloud, EntraBegin, EntraMethod, FollowAffinityUrl, Hosts, RawEntra, RawEntraCertificate, TlsVersion,
    TokenEndpoint, UnregisteredCode, UpnEcho, VoiceOverride, clouds,
};
use crate::config::{
    Surroundings,
    onboarding::{self, Onboarding},
    report::Report,
    secrets::{Reference, fetch},
    terms::{PushUsers, Unregistered},
    units::Span,
};
use crate::secret::Secret;

/// The cipher suites that rustls has with aws-lc-rs.
const CIPHER_SUITES: [&str; 9] = [
    "TLS_AES_256_GCM_SHA384",
    "TLS_AES_128_GCM_SHA256",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// What `kind = "entra"` needs, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntraFactor {
    /// The tenant, in lower case.
    pub tenant_id: String,
    /// The cloud that it is in.
    pub cloud: Cloud,
    /// The client application, in lower case.
    pub client_id: String,
    /// At least one.
    pub certificates: Vec<EntraCertificate>,
    /// How assertions are signed.
    pub assertion_alg: AssertionAlg,
    /// Which token endpoint is asked.
    pub token_endpoint: TokenEndpoint,
    /// Where to call.
    pub hosts: Hosts,
    /// How a prompt is waited for.
    pub begin: EntraBegin,
    /// The one method that everybody is asked by.
    pub method: Option<EntraMethod>,
    /// What happens to users whose default is a push, where the policy does not say.
    pub push_users: PushUsers,
    /// Whether a call replaces a spoken code.
    pub voice_override: VoiceOverride,
    /// What happens to users who are not registered, where the policy does not say.
    pub unregistered: Onboarding,
    /// What "not registered" looks like.
    pub unregistered_codes: Vec<UnregisteredCode>,
    /// What happens when the answer names another user.
    pub upn_echo: UpnEcho,
    /// Whether AffinityUrl is followed.
    pub follow_affinity_url: FollowAffinityUrl,
    /// The hosts that it may name, in lower case.
    pub affinity_hosts: Vec<String>,
    /// What users are asked for a code.
    pub prompt: String,
    /// The language of calls.
    pub lcid: String,
    /// What the gateway calls itself.
    pub user_agent: String,
    /// What is sent as the caller's address.
    pub caller_ip: String,
    /// How to get out.
    pub proxy: Proxy,
    /// The authorities to trust; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// The oldest version of TLS.
    pub tls_min_version: TlsVersion,
    /// The cipher suites; empty: all.
    pub cipher_suites: Vec<String>,
    /// Until a connection is there.
    pub connect_timeout: Duration,
    /// For everything that waits for no person.
    pub request_timeout: Duration,
    /// Failures in a row until the breaker opens; 0: never.
    pub breaker_failures: u32,
    /// How long it stays open.
    pub breaker_pause: Duration,
    /// Questions that wait on one HTTP/2 connection.
    pub streams_per_connection: usize,
}

impl EntraFactor {
    /// Whether users may be asked for a code even where none can be shown: such a client's users are then refused.
    pub(in crate::config) fn insists_on_codes(&self, push_users: Option<PushUsers>) -> bool {
        match self.method {
            Some(method) => method.asks_for_code(),
            None => push_users.unwrap_or(self.push_users) == PushUsers::PreferCode,
        }
    }
}

/// One certificate, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntraCertificate {
    /// The certificate.
    pub certificate_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
    /// What it must be.
    pub thumbprint: Option<Thumbprint>,
}

/// Names one certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thumbprint {
    /// SHA-1 of the DER encoding.
    Sha1([u8; 20]),
    /// SHA-256 of the DER encoding.
    Sha256([u8; 32]),
}

impl Thumbprint {
    /// Reads hexadecimal digits, in groups or not.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.chars().filter(|c| !matches!(c, ':' | ' ' | '-'));
        let digits: Vec<u8> =
            digits.map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect::<Option<_>>()?;
        let octets: Vec<u8> =
            digits.chunks(2).map(|pair| pair.iter().fold(0, |octet, digit| octet << 4 | digit)).collect();
        match digits.len() {
            40 => octets.try_into().ok().map(Self::Sha1),
            64 => octets.try_into().ok().map(Self::Sha256),
            _ => None,
        }
    }
}

/// How to get out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proxy {
    /// Directly.
    #[default]
    None,
    /// As the environment says.
    Environment,
    /// By way of this one.
    Url {
        /// `http://host:port`.
        url: String,
        /// The name to sign in with, and the password.
        user: Option<(String, Arc<Secret>)>,
        /// What is reached without it.
        no_proxy: Vec<String>,
    },
}

impl RawEntra {
    /// Checks the section; `None` where it would be nonsense.
    pub(in crate::config) fn check(
        &self,
        report: &mut Report,
        around: &Surroundings<'_>,
        section: &str,
    ) -> EntraFactor {
        let at = |key: &str| format!("{section}.{key}");
        let hosts = clouds::check(self, report, section);
        let tenant_id = self.tenant(report, &at("tenant_id"));
        let client_id = self.client_id.to_ascii_lowercase();
        if !is_guid(&client_id) || client_id.starts_with("00001111-aaaa-") {
            let remedy = format!("Leave it out: it is {} in every tenant.", clouds::CLIENT_ID);
            report.fault(at("client_id"), format!("`{}` is not the id of an application", self.client_id), remedy);
        } else if client_id != clouds::CLIENT_ID {
            let problem = "this is not Microsoft's own client application, and the interface answers no other";
            report.warn(at("client_id"), problem, "Leave it out, unless this is a test.");
        }
        if self.certificates.is_empty() {
            let remedy = "Name a certificate that is registered in the tenant, and its key.";
            report.fault(at("certificates"), "there is no certificate", remedy);
        }
        let certificates = self.certificates.iter().enumerate();
        let certificates = certificates
            .map(|(index, certificate)| certificate.check(report, around, &format!("{section}.certificates[{index}]")));
        let certificates = certificates.collect();
        self.warn_of_dangers(report, section);
        self.check_texts(report, section);
        for (index, name) in
            self.cipher_suites.iter().enumerate().filter(|(_, name)| !CIPHER_SUITES.contains(&name.as_str()))
        {
            let remedy = format!("Choose among {}.", CIPHER_SUITES.join(", "));
            report.fault(
                format!("{section}.cipher_suites[{index}]"),
                format!("there is no cipher suite `{name}`"),
                remedy,
            );
        }
        let suite_of_13 = |name: &String| !name.contains("_WITH_");
        if self.tls_min_version == TlsVersion::Tls13
            && !self.cipher_suites.is_empty()
            && !self.cipher_suites.iter().any(suite_of_13)
        {
            let remedy = "Add TLS_AES_256_GCM_SHA384, or allow TLS 1.2.";
            report.fault(at("cipher_suites"), "none of them is of TLS 1.3, and nothing older is allowed", remedy);
        }
        for (key, value, most) in [
            ("connect_timeout", self.connect_timeout, Span::secs(60)),
            ("request_timeout", self.request_timeout, Span::secs(60)),
            ("breaker_pause", self.breaker_pause, Span::secs(600)),
        ] {
            report.within(&at(key), &value, Span::secs(1), most);
        }
        let affinity_hosts = self.affinity_hosts(report, section, &hosts);
        let until = self.unregistered_until.as_deref();
        EntraFactor {
            tenant_id,
            cloud: self.cloud,
            client_id,
            certificates,
            assertion_alg: self.assertion_alg,
            token_endpoint: self.token_endpoint,
            begin: self.begin,
            method: self.method,
            push_users: self.push_users,
            voice_override: self.voice_override,
            unregistered: onboarding::check(report, section, self.unregistered, until, around.now),
            unregistered_codes: self.unregistered_codes.clone(),
            upn_echo: self.upn_echo,
            follow_affinity_url: self.follow_affinity_url,
            affinity_hosts,
            prompt: self.prompt.clone(),
            lcid: self.lcid.clone(),
            user_agent: self.user_agent.clone(),
            caller_ip: self.caller_ip.clone(),
            proxy: self.proxy(report, around, section),
            ca_file: self.ca_file.as_deref().map(|path| around.resolve(path)),
            tls_min_version: self.tls_min_version,
            cipher_suites: self.cipher_suites.clone(),
            connect_timeout: self.connect_timeout.0,
            request_timeout: self.request_timeout.0,
            breaker_failures: report.number(&at("breaker_failures"), self.breaker_failures, 0..=10_000),
            breaker_pause: self.breaker_pause.0,
            streams_per_connection: report.number(
                &at("streams_per_connection"),
                self.streams_per_connection,
                1..=10_000,
            ),
            hosts,
        }
    }

    fn tenant(&self, report: &mut Report, path: &str) -> String {
        let remedy = "Write the tenant id, a GUID; the Entra admin center shows it under Overview.";
        match self.tenant_id.as_deref() {
            None | Some("") => report.fault(path, "there is no tenant id", remedy),
            Some(text) if matches!(text, "common" | "organizations" | "consumers") => {
                report.fault(
                    path,
                    format!("`{text}` is no tenant: it stands for whichever one a name belongs to"),
                    remedy,
                );
            }
            Some(text) if !is_guid(text) => report.fault(path, format!("`{text}` is not a tenant id"), remedy),
            Some(text) => return text.to_ascii_lowercase(),
        }
        String::new()
    }

    fn warn_of_dangers(&self, report: &mut Report, section: &str) {
        let at = |key: &str| format!("{section}.{key}");
        if self.push_users == PushUsers::PreferPush {
            let problem =
                "a push over RADIUS shows no number to compare, so that a user can approve somebody else's sign-in";
            let remedy = "Prefer \"auto\", and set challenge = true for clients that can ask for a code.";
            report.warn(at("push_users"), problem, remedy);
        }
        if self.upn_echo == UpnEcho::Warn {
            let problem = "an answer that is about another user counts as one about this user";
            report.warn(at("upn_echo"), problem, "Use \"enforce\", unless every answer names another UPN.");
        }
        if self.follow_affinity_url == FollowAffinityUrl::OnInvalidSession {
            let problem = "the token goes to an address that an answer names, within affinity_hosts";
            report.warn(at("follow_affinity_url"), problem, "Use \"never\", unless codes fail with InvalidSession.");
        }
        if self.method.is_some_and(|method| method != EntraMethod::PhoneAppNotification) {
            let problem = "that this method can be chosen over RADIUS is not proven";
            report.warn(at("method"), problem, "Try it with one user, or leave it out.");
        }
        if self.method.is_some() && self.unregistered == Unregistered::AllowByCode {
            let problem = "nobody passes by code while `method` is set";
            report.warn(at("unregistered"), problem, "Leave `method` out, or set this to \"deny\".");
        }
        let sure = |code: &UnregisteredCode| *code == UnregisteredCode::NoDefaultAuthenticationMethodIsConfigured;
        if self.unregistered_codes.iter().any(|code| !sure(code)) {
            let problem = "some of these answers can come for users who have registered something";
            let remedy = "Keep NoDefaultAuthenticationMethodIsConfigured alone, unless it lets nobody pass.";
            report.warn(at("unregistered_codes"), problem, remedy);
        }
        if self.unregistered == Unregistered::AllowByCode && self.unregistered_codes.is_empty() {
            let problem = "no answer means \"not registered\", so that nobody passes";
            report.warn(at("unregistered_codes"), problem, "Leave it out for the default.");
        }
    }

    fn check_texts(&self, report: &mut Report, section: &str) {
        for (key, text, longest) in [
            ("prompt", &self.prompt, 240),
            ("lcid", &self.lcid, 32),
            ("user_agent", &self.user_agent, 200),
            ("caller_ip", &self.caller_ip, 64),
        ] {
            let visible = key == "prompt" || text.bytes().all(|octet| octet.is_ascii_graphic() || octet == b' ');
            if text.trim().is_empty() || text.len() > longest || text.contains(char::is_control) || !visible {
                let remedy = format!("Write 1 to {longest} octets of plain text, or leave it out.");
                report.fault(format!("{section}.{key}"), format!("{text:?} cannot be sent"), remedy);
            }
        }
    }

    fn affinity_hosts(&self, report: &mut Report, section: &str, hosts: &Hosts) -> Vec<String> {
        for (index, host) in self.affinity_hosts.iter().enumerate().filter(|(_, host)| !clouds::is_host(host)) {
            let remedy = "Write a host name, perhaps with a port, without https:// and path.";
            report.fault(format!("{section}.affinity_hosts[{index}]"), format!("`{host}` is not a host"), remedy);
        }
        match self.affinity_hosts.as_slice() {
            [] => vec![hosts.mfa.clone(), hosts.resource.clone()],
            given => given.iter().map(|host| host.to_ascii_lowercase()).collect(),
        }
    }

    fn proxy(&self, report: &mut Report, around: &Surroundings<'_>, section: &str) -> Proxy {
        let at = |key: &str| format!("{section}.{key}");
        let reference = Reference {
            file: self.proxy_password_file.as_ref(),
            env: self.proxy_password_env.as_ref(),
            key: "proxy_password",
        };
        let password = fetch(report, around, section, &reference).map(|(_, secret)| secret);
        let has_password = self.proxy_password_file.is_some() || self.proxy_password_env.is_some();
        if self.proxy_user.is_some() != has_password {
            let remedy = "Set proxy_user and one of proxy_password_file and proxy_password_env, or none of them.";
            report.fault(at("proxy_user"), "a name and a password for the proxy belong together", remedy);
        }
        if self
            .proxy_user
            .as_ref()
            .is_some_and(|user| user.is_empty() || user.contains(|c: char| c == ':' || c.is_control()))
        {
            report.fault(at("proxy_user"), "cannot be sent to a proxy", "Write a name without a colon.");
        }
        let url = match self.proxy.as_deref() {
            None | Some("environment") => {
                let unused = [("proxy_user", self.proxy_user.is_some()), ("no_proxy", !self.no_proxy.is_empty())];
                for (key, _) in unused.into_iter().filter(|(_, set)| *set) {
                    let remedy = "Name the proxy in `proxy`, or remove this.";
                    report.fault(at(key), "belongs to a proxy that is named here, and `proxy` names none", remedy);
                }
                return if self.proxy.is_some() { Proxy::Environment } else { Proxy::None };
            }
            Some(url) => url,
        };
        let authority = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        if !authority.is_some_and(clouds::is_host) {
            let remedy = "Write it as http://proxy.example:3128; name and password stand in keys of their own.";
            // It may hold a password.
            report.fault(at("proxy"), "is not the address of a proxy", remedy);
        }
        let bad =
            |host: &&String| host.is_empty() || !host.bytes().all(|octet| octet.is_ascii_graphic() && octet != b',');
        if self.no_proxy.iter().any(|host| bad(&host)) {
            let remedy = "Write a list: [\"localhost\", \".corp.example\", \"192.0.2.0/24\"].";
            report.fault(at("no_proxy"), "holds something that is neither a host nor a domain nor a network", remedy);
        }
        let user = self.proxy_user.clone().zip(password.map(Arc::new));
        Proxy::Url { url: url.trim_end_matches('/').to_owned(), user, no_proxy: self.no_proxy.clone() }
    }
}

impl RawEntraCertificate {
    fn check(&self, report: &mut Report, around: &Surroundings<'_>, section: &str) -> EntraCertificate {
        for (key, file) in [("certificate_file", &self.certificate_file), ("key_file", &self.key_file)] {
            if file.is_none() {
                report.fault(format!("{section}.{key}"), "is missing", "Name the file; both may be in one.");
            }
        }
        let thumbprint = self.thumbprint.as_deref().and_then(Thumbprint::parse);
        if let (Some(text), None) = (&self.thumbprint, thumbprint) {
            let remedy = "Write the 40 (SHA-1) or 64 (SHA-256) hexadecimal digits of the certificate.";
            report.fault(format!("{section}.thumbprint"), format!("`{text}` is not a thumbprint"), remedy);
        }
        let resolve = |path: &Option<PathBuf>| around.resolve(path.as_deref().unwrap_or(Path::new("")));
        EntraCertificate {
            certificate_file: resolve(&self.certificate_file),
            key_file: resolve(&self.key_file),
            thumbprint,
        }
    }
}

/// Thirty-two hexadecimal digits in five groups.
fn is_guid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|octet| octet.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbprints() {
        let sha1 = "A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D";
        let Some(Thumbprint::Sha1(octets)) = Thumbprint::parse(sha1) else { panic!("it is one") };
        assert_eq!(octets[..3], [0xa9, 0x99, 0x3e]);
        assert!(matches!(Thumbprint::parse(&"0f".repeat(32)), Some(Thumbprint::Sha256(octets)) if octets == [15; 32]));
        for bad in ["", "a9", &"0".repeat(41), &"g".repeat(40), &"0".repeat(39)] {
            assert_eq!(Thumbprint::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn guids() {
        assert!(is_guid("981f26a1-7f43-403b-a875-f8b09b8cd720") && is_guid("981F26A1-7F43-403B-A875-F8B09B8CD720"));
        for bad in
            ["", "common", "981f26a17f43403ba875f8b09b8cd720", "981f26a1-7f43-403b-a875-f8b09b8cd72g", "contoso.com"]
        {
            assert!(!is_guid(bad), "{bad}");
        }
    }
}
