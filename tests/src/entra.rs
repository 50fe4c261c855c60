//! An organisation whose second factor is Entra MFA: people of the simulated cloud, and a gateway that calls it as if it were
//! Microsoft's.

use crate::{Client, Gateway, Reply, Request, Setup, eventually};
use entra_cloud::Cloud;
use gateway_core::radius::Code;
use serde_json::Value as Json;
use toml::{Table, Value};

/// The password of everybody.
pub const PASSWORD: &str = "correct horse";

/// The domain of everybody's UPN.
pub const DOMAIN: &str = "corp.example";

/// What a user is called in the cloud.
pub fn upn(user: &str) -> String {
    format!("{user}@{DOMAIN}")
}

/// A gateway whose second factor is this cloud, with these users. Prompts are not withheld.
pub fn setup(cloud: &Cloud, users: &[&str]) -> Setup {
    let setup = Setup::new().set("identity.default_realm", DOMAIN).set("attempts.repeat_window", "0s");
    let pauses: Vec<String> = Vec::new();
    let setup = setup.set("attempts.prompt_pauses", pauses).set("attempts.codes_only_after", 0).entra(cloud);
    users.iter().fold(setup, |setup, user| setup.user(user, PASSWORD))
}

impl Setup {
    /// With the cloud as the only second factor.
    #[must_use]
    pub fn entra(self, cloud: &Cloud) -> Self {
        let certificate = cloud.new_certificate();
        let mut entra = Table::new();
        for (key, value) in [
            ("tenant_id", cloud.tenant().to_owned()),
            ("sts", cloud.sts()),
            ("mfa_host", cloud.mfa_host()),
            ("resource_host", cloud.resource_host().to_owned()),
            ("ca_file", "cloud-ca".to_owned()),
        ] {
            entra.insert(key.to_owned(), value.into());
        }
        let mut files = Table::new();
        files.insert("certificate_file".into(), "entra.crt".into());
        files.insert("key_file".into(), "entra.key".into());
        entra.insert("certificates".into(), Value::Array(vec![files.into()]));
        let mut factor = Table::new();
        factor.insert("name".into(), "mfa".into());
        factor.insert("kind".into(), "entra".into());
        factor.insert("entra".into(), entra.into());
        self.second_factor(factor)
            .secret("cloud-ca", &cloud.ca_pem())
            .secret("entra.crt", &certificate.certificate_pem())
            .secret("entra.key", &certificate.key_pem())
    }

    /// Sets a key of `[second_factor.entra]`.
    #[must_use]
    pub fn of_entra(self, key: &str, value: impl Into<Value>) -> Self {
        self.edit_second_factor(|factor| {
            let entra = factor.get_mut("entra").and_then(Value::as_table_mut).expect("the factor is entra");
            entra.insert(key.to_owned(), value.into());
        })
    }
}

/// How a request ended, as the NAS and the log tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The reply.
    pub code: Code,
    /// The reason in the log, empty for an accept or a challenge.
    pub reason: String,
}

/// A whole first leg: the password, from a station of the user's own.
pub fn password(user: &str) -> Request {
    Request::access(user).password(PASSWORD).station(&format!("station of {user}"))
}

/// The answer to a challenge.
pub fn answer(user: &str, text: &str, challenge: &Reply) -> Request {
    Request::access(user).password(text).station(&format!("station of {user}")).state(challenge)
}

/// Asks, and looks up in the log why it ended so.
pub fn ask(gateway: &Gateway, nas: &mut Client, user: &str, request: &Request) -> (Reply, Ended) {
    let before = lines(gateway, user).len();
    let reply = nas.ask(request);
    if reply.code() == Code::ACCESS_CHALLENGE {
        return (reply, Ended { code: Code::ACCESS_CHALLENGE, reason: String::new() });
    }
    let line = eventually("the sign-in is logged", || lines(gateway, user).get(before).cloned());
    let code = reply.code();
    (reply, Ended { code, reason: text(&line, "reason") })
}

/// Signs in with the password alone.
pub fn sign_in(gateway: &Gateway, user: &str) -> Ended {
    ask(gateway, &mut gateway.nas(), user, &password(user)).1
}

/// Signs in with the password and then a code, which the challenge must ask for.
pub fn sign_in_with(gateway: &Gateway, user: &str, code: impl FnOnce() -> String) -> Ended {
    let mut nas = gateway.nas();
    let (challenge, _) = ask(gateway, &mut nas, user, &password(user));
    let challenge = challenge.expect(Code::ACCESS_CHALLENGE);
    ask(gateway, &mut nas, user, &answer(user, &code(), &challenge)).1
}

/// The lines of the log that end a request of this user, challenges aside.
pub fn lines(gateway: &Gateway, user: &str) -> Vec<Json> {
    let of_user = |line: &Json| text(line, "message") == "sign-in" && text(line, "user").trim_matches('"') == user;
    gateway.log_lines().into_iter().filter(of_user).collect()
}

fn text(line: &Json, field: &str) -> String {
    let value = line.get(field).or_else(|| line.get("fields")?.get(field));
    value.and_then(Json::as_str).unwrap_or_default().to_owned()
}

/// An accept.
pub fn accepted() -> Ended {
    Ended { code: Code::ACCESS_ACCEPT, reason: String::new() }
}

/// A reject for this reason.
pub fn refused(reason: &str) -> Ended {
    Ended { code: Code::ACCESS_REJECT, reason: reason.to_owned() }
}
