//! Microsoft's clouds and their hosts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RawEntra;
use crate::config::report::Report;

/// "Azure Multi-Factor Auth Client": Microsoft's own application, with the same id in every tenant.
pub(super) const CLIENT_ID: &str = "981f26a1-7f43-403b-a875-f8b09b8cd720";

/// The path of the interface, on every cloud.
pub(super) const TARGET_PATH: &str = "StrongAuthenticationService.svc/Connector";

/// One of Microsoft's clouds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Cloud {
    /// The public one.
    #[default]
    Public,
    /// US Government.
    Usgov,
    /// US Department of Defense: as `"usgov"` but for Microsoft Graph.
    UsgovDod,
    /// China, operated by 21Vianet.
    China,
}

/// The hosts of one cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloudHosts {
    /// Where tokens are issued, with a slash at its end.
    pub sts: &'static str,
    /// What is called for second factors.
    pub mfa: &'static str,
    /// What tokens are for.
    pub resource: &'static str,
    /// Microsoft Graph, for enrolment.
    pub graph: &'static str,
}

impl Cloud {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Public, Self::Usgov, Self::UsgovDod, Self::China];

    /// Its hosts, as Microsoft documents them.
    pub const fn hosts(self) -> CloudHosts {
        match self {
            Self::Public => CloudHosts {
                sts: "https://login.microsoftonline.com/",
                mfa: "strongauthenticationservice.auth.microsoft.com",
                resource: "adnotifications.windowsazure.com",
                graph: "graph.microsoft.com",
            },
            Self::Usgov | Self::UsgovDod => CloudHosts {
                sts: "https://login.microsoftonline.us/",
                mfa: "strongauthenticationservice.auth.microsoft.us",
                resource: "adnotifications.windowsazure.us",
                graph: if matches!(self, Self::Usgov) { "graph.microsoft.us" } else { "dod-graph.microsoft.us" },
            },
            Self::China => CloudHosts {
                sts: "https://login.chinacloudapi.cn/",
                mfa: "strongauthenticationservice.auth.microsoft.cn",
                resource: "adnotifications.windowsazure.cn",
                graph: "microsoftgraph.chinacloudapi.cn",
            },
        }
    }

    /// The end of the names of all its hosts.
    const fn top_level_domain(self) -> &'static str {
        match self {
            Self::Public => ".com",
            Self::Usgov | Self::UsgovDod => ".us",
            Self::China => ".cn",
        }
    }
}

/// Where to call, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    /// Where tokens are issued: `https:`, with a slash at its end.
    pub sts: String,
    /// What is called for second factors: a host, perhaps with a port.
    pub mfa: String,
    /// What tokens are for.
    pub resource: String,
    /// The path on both, without slashes around it.
    pub target_path: String,
}

/// Whether `text` is a host, perhaps with a port.
pub(super) fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !name.ends_with(':') && (!name.contains(':') || name.ends_with(']')) => {
            (name, Some(port))
        }
        _ => (text, None),
    };
    let port_is_sound = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
    let six = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let name_is_sound = match six {
        Some(six) => six.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            (1..=253).contains(&name.len())
                && name.split('.').all(|label| {
                    (1..=63).contains(&label.len())
                        && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
                })
        }
    };
    port_is_sound && name_is_sound
}

/// The hosts that are called, with faults and warnings.
pub(super) fn check(raw: &RawEntra, report: &mut Report, section: &str) -> Hosts {
    let preset = raw.cloud.hosts();
    let sts = raw.sts.as_deref().map_or_else(|| preset.sts.to_owned(), |sts| format!("{}/", sts.trim_end_matches('/')));
    let host_of_sts = sts.strip_prefix("https://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let rest_is_plain = sts.bytes().all(|octet| octet.is_ascii_graphic() && !matches!(octet, b'?' | b'#' | b'@'));
    if !is_host(host_of_sts) || !rest_is_plain {
        let remedy = "Write it as https://login.microsoftonline.com/; leave it out to follow `cloud`.";
        report.fault(format!("{section}.sts"), format!("`{sts}` is not an https: address"), remedy);
    }
    let host = |report: &mut Report, key: &str, given: Option<&str>, preset: &str| {
        let host = given.unwrap_or(preset);
        if !is_host(host) {
            let remedy = "Write a host name, perhaps with a port, without https:// and path.";
            report.fault(format!("{section}.{key}"), format!("`{host}` is not a host"), remedy);
        }
        host.to_ascii_lowercase()
    };
    let mfa = host(report, "mfa_host", raw.mfa_host.as_deref(), preset.mfa);
    let resource = host(report, "resource_host", raw.resource_host.as_deref(), preset.resource);
    let segment = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_'))
    };
    if !raw.target_path.split('/').all(segment) {
        let remedy = "Write it as StrongAuthenticationService.svc/Connector.";
        report.fault(format!("{section}.target_path"), format!("`{}` is not a path", raw.target_path), remedy);
    }
    warn_of_mixes(raw, report, section, [("sts", host_of_sts), ("mfa_host", &mfa), ("resource_host", &resource)]);
    Hosts { sts, mfa, resource, target_path: raw.target_path.clone() }
}

fn warn_of_mixes(raw: &RawEntra, report: &mut Report, section: &str, hosts: [(&str, &str); 3]) {
    for (key, host) in hosts {
        let path = format!("{section}.{key}");
        let bare = host.split(':').next().unwrap_or_default();
        if key == "mfa_host" && bare.starts_with("adnotifications.") {
            let problem =
                "this host was called by versions of the NPS extension before 1.1.1850.1, and codes do not work there";
            report.warn(path, problem, "Leave it out to call the host of today.");
            continue;
        }
        let other = Cloud::ALL.into_iter().find(|cloud| {
            let known = [cloud.hosts().mfa, cloud.hosts().resource];
            let sts = cloud.hosts().sts.strip_prefix("https://").unwrap_or_default().trim_end_matches('/');
            known.contains(&bare) || sts == bare
        });
        if other.is_some_and(|cloud| cloud.top_level_domain() != raw.cloud.top_level_domain()) {
            let problem = format!("`{bare}` belongs to another cloud than the one `cloud` names");
            report.warn(path, problem, "Set `cloud` to that of the tenant, and leave the hosts out.");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_from_other_texts() {
        for good in ["login.example", "127.0.0.1", "127.0.0.1:8443", "[::1]:8443", "[::1]", "localhost:1"] {
            assert!(is_host(good), "{good}");
        }
        for bad in
            ["", "https://a.example", "a.example/b", "a..b", "a b", "a:0", "a:x", "a:65536", "::1", "a@b", "[a]:1"]
        {
            assert!(!is_host(bad), "{bad}");
        }
    }

    #[test]
    fn every_cloud_has_hosts_of_its_own_domain() {
        for cloud in Cloud::ALL {
            let hosts = cloud.hosts();
            for host in [hosts.mfa, hosts.resource, hosts.graph, hosts.sts.trim_end_matches('/')] {
                assert!(host.ends_with(cloud.top_level_domain()), "{host}");
            }
            assert!(is_host(hosts.mfa) && is_host(hosts.resource) && is_host(hosts.graph));
        }
    }
}
