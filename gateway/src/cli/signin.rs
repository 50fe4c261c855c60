//! `orthrus signin`: signs a user in as a VPN server would.

use super::Ended;
use super::dialogue::{Nas, Reply};
use crate::clock;
use anyhow::{Context, bail};
use clap::Args;
use gateway_core::factor::oath::Kind;
use gateway_core::factor::tokens::Tokens;
use gateway_core::identity::Rules;
use gateway_core::radius::{Attributes, Dictionary, dictionary, freeradius};
use gateway_core::secret::Secret;
use std::fs;
use std::io::{BufRead, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroize;

/// Whom to sign in, and where.
#[derive(Debug, Args)]
pub(super) struct Signin {
    /// Address and port of the RADIUS server
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:1812")]
    server: SocketAddr,
    /// File with the shared secret; one trailing newline is ignored
    #[arg(long, value_name = "FILE")]
    secret_file: PathBuf,
    /// The user
    #[arg(long)]
    user: String,
    /// Read the password, and then each code, as lines of standard input instead of asking on the terminal
    #[arg(long)]
    stdin: bool,
    /// Answer challenges with the user's time-based token in this file, for labs
    #[arg(long, value_name = "FILE")]
    tokens_file: Option<PathBuf>,
    /// Send this attribute too, such as Calling-Station-Id=203.0.113.5; may be repeated
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    attributes: Vec<String>,
    /// Names for attributes in this dictionary file, in the form of FreeRADIUS 3; may be repeated
    #[arg(long = "dictionary", value_name = "FILE")]
    dictionaries: Vec<PathBuf>,
    /// Send no Message-Authenticator, as old VPN servers do, and believe answers without it: for labs, since anybody on the way can
    /// forge those
    #[arg(long)]
    unsigned: bool,
    /// Seconds to wait for an answer before the same packet is sent again; each further wait is twice as long, 16 s at most, and a
    /// tenth shorter or longer at random (RFC 5080)
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
    /// How often a packet is sent
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    tries: u32,
}

pub(super) fn run(options: &Signin, out: &mut dyn Write) -> anyhow::Result<Ended> {
    let secret = secret(&options.secret_file)?;
    let dictionary = dictionary_with(&options.dictionaries)?;
    let more = attributes(&dictionary, &options.attributes)?;
    let timeout = Duration::from_secs(options.timeout);
    let mut nas = Nas::new(options.server, secret, timeout, options.tries, !options.unsigned)?;
    nas.dictionary = dictionary;
    let mut codes = Codes::new(options)?;
    let mut answer = answer(options, "Password: ", out)?;
    let mut state = None;
    loop {
        match nas.ask(&options.user, &answer, state.as_deref(), &more, out)? {
            Reply::Accept => {
                writeln!(out, "Signed in.")?;
                return Ok(Ended::Well);
            }
            Reply::Reject => {
                writeln!(out, "Refused.")?;
                return Ok(Ended::Rejected);
            }
            Reply::Nothing => {
                writeln!(
                    out,
                    "No answer from {}. A RADIUS server is silent towards a source it does not know, a wrong secret and an \
                     overload: its log says which.",
                    options.server
                )?;
                return Ok(Ended::Unanswered);
            }
            Reply::Challenge { state: fresh, question } => {
                state = Some(fresh);
                answer = match &mut codes {
                    Some(codes) => codes.next(out)?,
                    None => self::answer(options, &format!("{question} "), out)?,
                };
            }
        }
    }
}

pub(super) fn secret(path: &PathBuf) -> anyhow::Result<Secret> {
    let mut octets = fs::read(path).with_context(|| format!("{}: the shared secret cannot be read", path.display()))?;
    if octets.last() == Some(&b'\n') {
        octets.pop();
        if octets.last() == Some(&b'\r') {
            octets.pop();
        }
    }
    if octets.is_empty() {
        bail!("{}: the shared secret is empty", path.display());
    }
    Ok(Secret::new(octets))
}

/// What is built in, with what these files add.
fn dictionary_with(files: &[PathBuf]) -> anyhow::Result<Arc<Dictionary>> {
    let mut all = dictionary().clone();
    for file in files {
        let open = |path: &Path| crate::config::text(path, LONGEST_DICTIONARY);
        freeradius::load(&mut all, file, &open).map_err(|faults| {
            let lines: Vec<String> =
                faults.iter().map(|fault| format!("{}: {}. {}", fault.place, fault.problem, fault.remedy)).collect();
            anyhow::anyhow!(lines.join("\n"))
        })?;
    }
    Ok(Arc::new(all))
}

/// The longest dictionary file.
const LONGEST_DICTIONARY: usize = 4 << 20;

/// The attributes that `--attribute` gives.
pub(crate) fn attributes(dictionary: &Dictionary, texts: &[String]) -> anyhow::Result<Attributes> {
    let mut attributes = Attributes::new();
    for text in texts {
        let (name, value) = text.split_once('=').with_context(|| format!("--attribute {text}: write NAME=VALUE"))?;
        // The value is not repeated: it may be a secret, under a name that nobody knows.
        let (definition, tag) = dictionary.find_tagged(name).with_context(|| match dictionary.nearest(name) {
            Some(near) => format!("--attribute {name}: there is no {name}; did you mean {near}?"),
            None => format!("--attribute {name}: there is no {name}"),
        })?;
        let value = definition.encode_tagged(value, tag).with_context(|| format!("--attribute {name}"))?;
        attributes.push_def(&definition, &value).with_context(|| format!("--attribute {name}"))?;
    }
    Ok(attributes)
}

fn answer(options: &Signin, question: &str, out: &mut dyn Write) -> anyhow::Result<Secret> {
    if options.stdin || !std::io::stdin().is_terminal() {
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line)? == 0 {
            bail!("standard input ended before the answer to: {question}");
        }
        let answer = Secret::new(line.trim_end_matches(['\r', '\n']).as_bytes().to_vec());
        line.zeroize();
        return Ok(answer);
    }
    out.flush()?;
    Ok(Secret::new(rpassword::prompt_password(question)?.into_bytes()))
}

/// The codes of a user's time-based token.
struct Codes {
    tokens: Tokens,
    user: String,
    last_step: u64,
}

impl Codes {
    fn new(options: &Signin) -> anyhow::Result<Option<Self>> {
        let Some(path) = &options.tokens_file else { return Ok(None) };
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let rules = Rules::default();
        let tokens = Tokens::parse(&text, &rules).map_err(|faults| anyhow::anyhow!(faults.join("\n")))?;
        let user = rules.read(options.user.as_bytes()).map_err(|reason| anyhow::anyhow!("{reason}"))?.canonical;
        Ok(Some(Self { tokens, user, last_step: 0 }))
    }

    /// The code of this time step; or of the next one, if this one's was given already: a code serves once.
    fn next(&mut self, out: &mut dyn Write) -> anyhow::Result<Secret> {
        for token in self.tokens.of(&self.user) {
            let Kind::Totp { period } = token.kind else { continue };
            let period = u64::from(period).max(1);
            let mut step = clock::now().as_secs() / period;
            if step <= self.last_step {
                step = self.last_step + 1;
                let wait = (step * period).saturating_sub(clock::now().as_secs());
                writeln!(out, "   a code serves once: waiting {wait} s for the next")?;
                while clock::now().as_secs() < step * period {
                    std::thread::park_timeout(Duration::from_millis(200));
                }
            }
            self.last_step = step;
            let code = token.code(step).context("the token's secret gives no codes")?;
            let digits = usize::try_from(token.digits)?;
            return Ok(Secret::new(format!("{code:0digits$}").into_bytes()));
        }
        bail!("{} has no time-based token in the tokens file", self.user)
    }
}
