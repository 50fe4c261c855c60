//! `orthrus simulate`: a dry run of the policies. Nobody is asked and nothing is sent.

use crate::config;
use anyhow::{Context, bail};
use clap::Args;
use gateway_core::config::SecondFactorNeed;
use gateway_core::identity::Rules;
use gateway_core::policy::{self, Decision, Facts};
use gateway_core::radius::describe_attributes;
use serde_json::json;
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;

/// The sign-in to imagine.
#[derive(Debug, Args)]
pub(super) struct Simulate {
    /// The configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "ORTHRUS_CONFIG")]
    config: PathBuf,
    /// The RADIUS client's name
    #[arg(long)]
    client: String,
    /// The user, in any spelling
    #[arg(long)]
    user: String,
    /// The groups that the first factor would tell, separated by commas
    #[arg(long, value_delimiter = ',')]
    groups: Vec<String>,
    /// The address that the packet would come from; the client's first address if left out
    #[arg(long)]
    source: Option<IpAddr>,
    /// Print JSON for scripts
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Simulate, out: &mut dyn Write) -> anyhow::Result<()> {
    let config = config::load(&options.config)?.config;
    let Some(client) = config.clients.iter().find(|client| *client.name == *options.client) else {
        let names: Vec<&str> = config.clients.iter().map(|client| &*client.name).collect();
        bail!("there is no client {}; there are {}", options.client, names.join(", "));
    };
    let source = match options.source {
        Some(source) => source,
        None => client.networks.first().context("the client has no address")?.addr(),
    };
    let identity = Rules::from(&config.identity)
        .read(options.user.as_bytes())
        .map_err(|reason| anyhow::anyhow!("{:?}: {} {}", options.user, reason.cause(), reason.remedy()))?;
    // Without a first factor nobody tells groups.
    let groups = if client.first_factor.is_some() { options.groups.as_slice() } else { &[] };
    let facts = Facts { client: &client.name, source, identity: &identity, groups };

    let mut passed = Vec::new();
    for policy in &config.policies {
        match policy::failed(policy, &facts) {
            Some(condition) => passed.push((policy.name.clone(), condition)),
            None => break,
        }
    }
    let (outcome, policy, second, reply) = match policy::decide(&config.policies, &facts) {
        Decision::Permit(policy) => {
            let factor = policy.second_factor_name.as_deref().unwrap_or_default();
            let second = match policy.second_factor {
                SecondFactorNeed::Required => format!("{factor}, required"),
                SecondFactorNeed::IfEnrolled => format!("{factor}, if the user is enrolled"),
                SecondFactorNeed::Off => "none".to_owned(),
            };
            ("permit", Some(policy.name.clone()), second, describe_attributes(policy.reply.iter()))
        }
        Decision::Deny(policy) => {
            ("deny", Some(policy.name.clone()), String::new(), describe_attributes(policy.reply.iter()))
        }
        Decision::NoMatch => ("deny", None, String::new(), vec![]),
    };
    let first = client.first_factor.as_deref().unwrap_or("none");
    if options.json {
        let passed: Vec<_> =
            passed.iter().map(|(name, failed)| json!({ "policy": &**name, "failed": failed })).collect();
        let policy = policy.as_deref();
        writeln!(
            out,
            "{}",
            json!({ "user": identity.canonical, "upn": identity.upn, "client": &*client.name, "first_factor": first,
                "passed_over": passed, "outcome": outcome, "policy": policy, "second_factor": second, "reply": reply })
        )?;
        return Ok(());
    }
    writeln!(out, "user           {} (UPN {})", identity.canonical, identity.upn)?;
    writeln!(out, "client         {} from {source}", client.name)?;
    writeln!(out, "first factor   {first}")?;
    for (name, condition) in &passed {
        writeln!(out, "policy         {name} does not fit: {condition}")?;
    }
    match &policy {
        Some(policy) => writeln!(out, "policy         {policy} fits")?,
        None => writeln!(out, "policy         none fits")?,
    }
    writeln!(out, "outcome        {outcome}")?;
    if outcome == "permit" {
        writeln!(out, "second factor  {second}")?;
    }
    for attribute in &reply {
        writeln!(out, "reply          {attribute}")?;
    }
    Ok(())
}
