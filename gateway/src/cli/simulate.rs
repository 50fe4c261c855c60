//! `orthrus simulate`: a dry run of the policies. Nobody is asked and nothing is sent; at most the users file is read, for the
//! groups that it tells.

use super::Ended;
use super::signin::attributes;
use crate::actors::self_sign_in;
use crate::{clock, config};
use anyhow::{Context, bail};
use clap::Args;
use gateway_core::config::{
    Client, ClientTable, Config, FirstFactorKind, Policy, SELF_CLIENT, SecondFactorKind, SecondFactorNeed,
};
use gateway_core::factor::Data;
use gateway_core::factor::users::Users;
use gateway_core::identity::Rules;
use gateway_core::policy::{self, Decision, Facts, Values};
use gateway_core::radius::{Attributes, describe_with};
use gateway_core::reason::Reason;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use serde_json::{Value, json};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

/// The sign-in to imagine.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 the policies permit · 1 they refuse, or it could not be told and the error says why · \
                        2 wrong usage"
)]
pub(super) struct Simulate {
    /// The configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "ORTHRUS_CONFIG")]
    config: PathBuf,
    /// The RADIUS client's name; found by --source if left out
    #[arg(long, required_unless_present = "source")]
    client: Option<String>,
    /// The address that the packet would come from; the client's first address if left out
    #[arg(long)]
    source: Option<IpAddr>,
    /// The user, in any spelling
    #[arg(long)]
    user: String,
    /// A group that the first factor would tell, instead of those in the users file; may be repeated, or hold commas
    #[arg(long = "group", visible_alias = "groups", value_delimiter = ',')]
    groups: Vec<String>,
    /// What the packet would say of itself, such as NAS-Port-Type=Virtual; may be repeated
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    attributes: Vec<String>,
    /// The protocol of the first factor: pap, chap, mschapv2, eap-…; pap if left out, none where the client has no first factor
    #[arg(long)]
    protocol: Option<String>,
    /// When, with the offset from UTC: 2026-01-05T08:00+01:00; now if left out
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Print JSON for scripts
    #[arg(long)]
    json: bool,
}

/// What came of it.
struct Outcome {
    refused: Option<Reason>,
    /// What exactly, where the reason alone leaves that open.
    detail: Option<String>,
    policy: Option<Arc<str>>,
    /// What is asked for, in words.
    second: Option<String>,
    reply: Vec<String>,
}

/// What the first factor would tell.
struct Told {
    groups: Vec<String>,
    data: Data,
    upn: Option<String>,
    /// Where the groups come from.
    origin: &'static str,
    refused: Option<Reason>,
}

pub(super) fn run(options: &Simulate, out: &mut dyn Write) -> anyhow::Result<Ended> {
    let config = config::load(&options.config)?.config;
    let (client, source) = whence(options, &config)?;
    let at = match &options.at {
        None => clock::now(),
        Some(text) => policy::instant(text)
            .with_context(|| format!("--at {text}: write a time with its offset: 2026-01-05T08:00+01:00"))?,
    };
    let rules = Rules::from(&config.identity);
    let mut identity = rules
        .read(options.user.as_bytes())
        .map_err(|reason| anyhow::anyhow!("{:?}: {} {}", options.user, reason.cause(), reason.remedy()))?;
    let told = first_factor(options, &config, &client, &rules, &identity.canonical)?;
    if let Some(upn) = &told.upn {
        identity.upn.clone_from(upn);
    }
    let claimed = attributes(&config.dictionary, &options.attributes)?;
    let usual = if client.first_factor.is_some() { "pap" } else { "none" };
    let protocol = options.protocol.as_deref().unwrap_or(usual);
    let facts = Facts {
        client: &client.name,
        source,
        first_factor: client.first_factor.as_deref(),
        protocol,
        identity: &identity,
        groups: &told.groups,
        attributes: Some(&claimed),
        now: at,
    };
    let reached = told.refused.is_none();
    let passed_over: Vec<(&str, &str)> = config
        .policies
        .iter()
        .map_while(|policy| policy::failed(policy, &facts).map(|condition| (&*policy.name, condition)))
        .collect();
    let outcome = match told.refused {
        Some(reason) => Outcome { refused: Some(reason), detail: None, policy: None, second: None, reply: vec![] },
        None => decide(&config, &client, &facts, &told.data),
    };
    let passed_over = if reached { passed_over } else { vec![] };
    let timed = options.at.is_some() || config.policies.iter().any(|policy| !policy.conditions.times.is_empty());
    let said = describe_with(&config.dictionary, claimed.iter());
    if options.json {
        let passed: Vec<Value> =
            passed_over.iter().map(|(name, failed)| json!({ "policy": name, "failed": failed })).collect();
        let refused = outcome.refused.map(|reason| json!({ "id": reason.id(), "label": reason.label() }));
        let told = json!({
            "user": identity.canonical, "upn": identity.upn, "client": &*client.name, "source": source,
            "challenge": client.challenge, "first_factor": client.first_factor.as_deref().unwrap_or("none"),
            "protocol": protocol, "groups": told.groups, "attributes": said, "at": at.as_secs(),
            "passed_over": passed, "outcome": if outcome.refused.is_some() { "deny" } else { "permit" },
            "reason": refused, "detail": outcome.detail, "policy": outcome.policy.as_deref(),
            "second_factor": outcome.second, "reply": outcome.reply,
        });
        writeln!(out, "{told}")?;
    } else {
        let shows = if client.challenge { "can show a challenge" } else { "cannot show a challenge" };
        writeln!(out, "user           {} (UPN {})", identity.canonical, identity.upn)?;
        writeln!(out, "client         {} from {source}, {shows}", client.name)?;
        match &client.first_factor {
            Some(factor) => writeln!(out, "first factor   {factor}, by {protocol}")?,
            None => writeln!(out, "first factor   none")?,
        }
        if !told.groups.is_empty() {
            writeln!(out, "groups         {} ({})", told.groups.join(", "), told.origin)?;
        }
        for line in &said {
            writeln!(out, "the packet     {line}")?;
        }
        if timed {
            writeln!(out, "at             {}", utc(at))?;
        }
        for (name, condition) in &passed_over {
            writeln!(out, "policy         {name} does not fit: {condition}")?;
        }
        match &outcome.policy {
            Some(policy) => writeln!(out, "policy         {policy} fits")?,
            None if reached => writeln!(out, "policy         none fits")?,
            None => {}
        }
        match outcome.refused {
            Some(reason) => {
                writeln!(out, "outcome        deny")?;
                writeln!(out, "reason         {} {}: {}", reason.id(), reason.label(), reason.cause())?;
            }
            None => writeln!(out, "outcome        permit")?,
        }
        if let Some(second) = &outcome.second {
            writeln!(out, "second factor  {second}")?;
        }
        if let Some(detail) = &outcome.detail {
            writeln!(out, "               {detail}")?;
        }
        for attribute in &outcome.reply {
            writeln!(out, "reply          {attribute}")?;
        }
    }
    Ok(if outcome.refused.is_some() { Ended::Rejected } else { Ended::Well })
}

/// From which client at which address the packet would come.
fn whence(options: &Simulate, config: &Config) -> anyhow::Result<(Arc<Client>, IpAddr)> {
    let table = ClientTable::new(&config.clients);
    let Some(name) = &options.client else {
        let source = options.source.context("which client? give --client or --source")?;
        let client =
            table.find(source).with_context(|| format!("no client sends from {source}: its packets are dropped"))?;
        return Ok((client.clone(), source));
    };
    if let (SELF_CLIENT, Some(own)) = (name.as_str(), &config.health.sign_in) {
        let client = self_sign_in::client(&Secret::new(Vec::new()), own);
        return Ok((Arc::new(client), options.source.unwrap_or(Ipv4Addr::UNSPECIFIED.into())));
    }
    let Some(client) = config.clients.iter().find(|client| *client.name == **name) else {
        let names: Vec<&str> = config.clients.iter().map(|client| &*client.name).collect();
        bail!("there is no client {name}; there are {}", names.join(", "));
    };
    let Some(source) = options.source else {
        return Ok((client.clone(), client.networks.first().context("the client has no address")?.addr()));
    };
    match table.find(source) {
        Some(found) if found.name == client.name => Ok((found.clone(), source)),
        Some(other) => bail!("a packet from {source} is one of {}, not of {name}", other.name),
        None => bail!("no client sends from {source}: its packets are dropped"),
    }
}

/// What the first factor would tell of a user with a right password.
fn first_factor(
    options: &Simulate,
    config: &Config,
    client: &Client,
    rules: &Rules,
    canonical: &str,
) -> anyhow::Result<Told> {
    let given = !options.groups.is_empty();
    let mut told =
        Told { groups: options.groups.clone(), data: Data::default(), upn: None, origin: "as given", refused: None };
    let factor = config.first_factors.iter().find(|factor| Some(&factor.name) == client.first_factor.as_ref());
    let Some(factor) = factor else {
        // Without a first factor nobody tells groups.
        if given {
            bail!("{} has no first factor, which would tell groups: --group means nothing here", client.name);
        }
        return Ok(told);
    };
    let FirstFactorKind::File(file) = &factor.kind;
    let path = file.users_file.display();
    let text = match std::fs::read_to_string(&file.users_file) {
        Ok(text) => text,
        // Whoever tries policies out with groups of their own may not have written the file yet.
        Err(_) if given => return Ok(told),
        Err(error) => return Err(error).with_context(|| format!("{path}: give --group to go without it")),
    };
    let users =
        Users::parse(&text, file.allowed, rules).map_err(|faults| anyhow::anyhow!("{path}: {}", faults.join("\n")))?;
    match users.find(canonical) {
        Some(user) => {
            if !given {
                told.groups = user.groups.to_vec();
                told.origin = "of the users file";
                told.refused = user.disabled.then_some(Reason::UserDisabled);
            }
            told.data = Data { user: user.data.user.clone(), group: users.data_of_groups(&told.groups) };
            told.upn = user.upn.as_deref().map(str::to_owned);
        }
        None if given => told.data.group = users.data_of_groups(&told.groups),
        None => told.refused = Some(Reason::UnknownUser),
    }
    Ok(told)
}

/// What would be decided, and what would be sent.
fn decide(config: &Config, client: &Client, facts: &Facts<'_>, data: &Data) -> Outcome {
    let mut outcome = Outcome { refused: None, detail: None, policy: None, second: None, reply: vec![] };
    let policy = match policy::decide(&config.policies, &config.policy_index, facts) {
        Decision::Permit(policy) => policy,
        Decision::Deny(policy) => {
            outcome.refused = Some(Reason::DeniedByPolicy);
            policy
        }
        Decision::NoMatch => {
            outcome.refused = Some(Reason::NoPolicy);
            return outcome;
        }
    };
    outcome.policy = Some(policy.name.clone());
    match policy.reply.render(&Values { facts, data }) {
        Ok(list) => outcome.reply = describe(config, &list),
        Err(fault) if outcome.refused.is_none() => {
            outcome.refused = Some(fault.reason);
            outcome.detail = Some(format!("{}: {}", fault.attribute, fault.problem));
        }
        Err(_) => {}
    }
    if outcome.refused.is_none() {
        second_factor(config, client, facts.protocol, policy, &mut outcome);
    }
    outcome
}

fn describe(config: &Config, list: &Attributes) -> Vec<String> {
    describe_with(&config.dictionary, list.iter())
}

/// Who is asked for what, and whether that can be asked by way of this client.
fn second_factor(config: &Config, client: &Client, protocol: &str, policy: &Policy, outcome: &mut Outcome) {
    let name = policy.second_factor_name.as_deref().unwrap_or_default();
    let factor = config.second_factors.iter().find(|factor| &*factor.name == name);
    let takes_codes = factor.is_some_and(|factor| matches!(factor.kind, SecondFactorKind::Oath(_)));
    // Where there is no first factor, the packet has no protocol that could not carry a code.
    let carries_codes = client.challenge && matches!(protocol, "pap" | "none");
    outcome.second = Some(match policy.second_factor {
        SecondFactorNeed::Off => "none".to_owned(),
        SecondFactorNeed::Required => format!("{name}, required"),
        SecondFactorNeed::IfEnrolled => format!("{name}, if the user is enrolled"),
    });
    if policy.second_factor == SecondFactorNeed::Off || carries_codes {
        return;
    }
    let why = if client.challenge { "the protocol carries no code" } else { "the client cannot show a challenge" };
    match (takes_codes, policy.second_factor) {
        (true, SecondFactorNeed::Required) => {
            (outcome.refused, outcome.reply) = (Some(Reason::ChallengeImpossible), vec![]);
            outcome.detail = Some(format!("{name} asks for a code, and {why}"));
        }
        (true, _) => {
            outcome.detail = Some(format!("whoever is enrolled is refused: {name} asks for a code, and {why}"))
        }
        (false, _) => outcome.detail = Some(format!("only what needs no code can be asked for: {why}")),
    }
}

/// The time as people read it, in UTC.
fn utc(at: Timestamp) -> String {
    policy::written(at).unwrap_or_else(|| at.as_secs().to_string())
}
