//! `entra-cloud demo`: the simulator, and a gateway that calls it, in one process and one folder on loopback. One user signs in
//! by a push and one by a code, over real UDP, and both dialogues are shown. Then both serve until Ctrl-C.
//!
//! The gateway is the real one, with the configuration that a real tenant would need; only the names of the hosts and the
//! authority that signed their certificates are the simulator's.

use crate::{Cloud, Settings};
use anyhow::{Context, bail};
use gateway::cli::dialogue::{Nas, Reply};
use gateway_core::radius::Attributes;
use gateway_core::secret::Secret;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// The shared secret, and everybody's password: both are thrown away with the folder.
const SECRET: &str = "a-secret-for-this-demonstration";
const PASSWORD: &str = "correct horse";
const PUSH: &str = "approve.anna@corp.example";
const CODE: &str = "totp.otto@corp.example";

/// Runs until Ctrl-C, or `once` returns after the two sign-ins.
///
/// # Errors
///
/// Something could not be started, or a sign-in did not end in an accept.
pub fn run(once: bool) -> anyhow::Result<()> {
    let cloud = Cloud::start(Settings::default());
    let folder = tempfile::Builder::new().prefix("orthrus-entra-demo-").tempdir()?;
    prepare(&cloud, folder.path())?;
    let mut out = io::stdout();
    writeln!(out, "{}", crate::BANNER)?;
    writeln!(out, "Simulated cloud   {} (tokens), {} (MFA)", cloud.sts(), cloud.mfa_host())?;
    writeln!(out, "Configuration     {}", folder.path().join("orthrus.toml").display())?;
    cloud.person(PUSH).takes(Duration::from_secs(3));
    let config = folder.path().join("orthrus.toml");
    let (loaded, watched) = gateway::config::load_watched(&config);
    let loaded = loaded?;
    let _log = gateway::telemetry::log::start(&loaded.config.telemetry, None)?;
    actix_rt::System::new().block_on(async {
        let running = gateway::running::start(loaded.config, (Some(config), watched), None).await?;
        let address = running.addresses.first().copied().context("nothing is listened on")?;
        writeln!(out, "Gateway           {address}, shared secret {SECRET}, password of everybody: {PASSWORD}\n")?;
        let shown = actix_rt::task::spawn_blocking(move || -> anyhow::Result<Cloud> {
            sign_in(&cloud, address, &mut io::stdout())?;
            Ok(cloud)
        });
        let _cloud = shown.await.context("the sign-ins")??;
        if !once {
            writeln!(out, "\nBoth serve on. Who a user is in the simulated cloud, the name says: `approve`, `deny`, `sms`, `totp`,")?;
            writeln!(out, "`voice`, `noresponse` and more; any name of a users file entry will do. Ctrl-C ends it.")?;
            actix_rt::signal::ctrl_c().await?;
        }
        running.stop_within(Duration::from_secs(1)).await;
        Ok(())
    })
}

fn sign_in(cloud: &Cloud, address: SocketAddr, out: &mut dyn Write) -> anyhow::Result<()> {
    let none = Attributes::new();
    let secret = || Secret::new(SECRET.as_bytes().to_vec());
    let password = || Secret::new(PASSWORD.as_bytes().to_vec());
    writeln!(out, "--- {PUSH}: a push, approved after 3 s ---\n")?;
    let mut nas = Nas::new(address, secret(), Duration::from_secs(60), 1, true)?;
    let Reply::Accept = nas.ask(PUSH, &password(), None, &none, out)? else {
        bail!("the push did not end in an accept")
    };
    writeln!(out, "\n--- {CODE}: a code of the authenticator app ---\n")?;
    let mut nas = Nas::new(address, secret(), Duration::from_secs(60), 1, true)?;
    let Reply::Challenge { state, question } = nas.ask(CODE, &password(), None, &none, out)? else {
        bail!("the password was not answered with a challenge")
    };
    let code = cloud.person(CODE).totp_code();
    writeln!(out, "\n   \"{question}\" {code}\n")?;
    let code = Secret::new(code.into_bytes());
    let Reply::Accept = nas.ask(CODE, &code, Some(&state), &none, out)? else { bail!("the code was not accepted") };
    let rang = (cloud.prompts(PUSH), cloud.prompts(CODE));
    writeln!(out, "\nPhones rang: {} time for {PUSH}, {} times for {CODE}.", rang.0, rang.1)?;
    Ok(())
}

fn prepare(cloud: &Cloud, folder: &Path) -> anyhow::Result<()> {
    let write = |name: &str, text: &str| -> anyhow::Result<()> {
        let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(folder.join(name));
        file.and_then(|mut file| file.write_all(text.as_bytes())).with_context(|| name.to_owned())
    };
    fs::create_dir(folder.join("state"))?;
    let certificate = cloud.new_certificate();
    write("cloud-ca.pem", &cloud.ca_pem())?;
    write("entra.crt", &certificate.certificate_pem())?;
    write("entra.key", &certificate.key_pem())?;
    write("secret", SECRET)?;
    let users = [PUSH, CODE].map(|name| format!("[[users]]\nname = \"{name}\"\npassword_plain = \"{PASSWORD}\"\n"));
    write("users", &users.concat())?;
    let (tenant, sts, mfa, resource) = (cloud.tenant(), cloud.sts(), cloud.mfa_host(), cloud.resource_host());
    write(
        "orthrus.toml",
        &format!(
            r#"state_dir = "state"

[listen]
authentication = ["127.0.0.1:0"]

[[clients]]
name = "loopback"
addresses = ["127.0.0.0/8"]
secret_file = "secret"

[[first_factor]]
name = "local"
kind = "file"
users_file = "users"
allow_plain_passwords = true

[[second_factor]]
name = "mfa"
kind = "entra"

[second_factor.entra]
tenant_id = "{tenant}"
certificates = [{{ certificate_file = "entra.crt", key_file = "entra.key" }}]
sts = "{sts}"
mfa_host = "{mfa}"
resource_host = "{resource}"
ca_file = "cloud-ca.pem"

[[policies]]
name = "vpn"
reply = {{ Class = "staff", Filter-Id = "vpn-full", Session-Timeout = "28800" }}

[admin]
listen = "127.0.0.1:0"

[telemetry]
log_level = "warn"
"#
        ),
    )
}
