//! `docs/errors.md` and `docs/metrics.md`, written from the catalogues that the code uses.

use super::metrics::{DURATIONS, Metrics};
use gateway_core::radius::Malformed;
use gateway_core::reason::Reason;
use std::fmt::Write;

const ERRORS: &str = "\
<!-- Generated from gateway/core/src/reason.rs. Change that, then run:
     UPDATE_GENERATED=1 cargo test -p gateway reference -->

# Reasons

Whatever is not an accept or a challenge has one reason out of this list. The id stands in log lines as `reason_id`; the
label stands there as `reason`, and in metrics as the label `reason`. Ids never change their meaning. The person who signs in
sees none of this: a reject carries `attempts.reject_message`, whatever the cause, unless `attempts.reject_messages` has a text for it.

Dropped packets and sign-ins that end in silence get no reply, so that the NAS asks again or asks elsewhere.

\"Fault\" says where to look: `peer` is the NAS, its settings, or somebody who pretends to be one; `user` is the person or the
account; `back_end` is a factor, a directory or the store; `node` is this gateway: its limits, its configuration, a fault in it.
";

const DETAILS: &str = "
## Details of dropped packets

The log line of a packet that was dropped as `malformed` has one of these words as `detail`. Where the Message-Authenticator of
an Access-Request is right all the same, the packet is not dropped but refused, under a reason of its own (`ORT-110`, `ORT-120` to
`ORT-124`): a NAS that hears nothing takes the gateway for dead.
";

/// What the first digit of an id stands for.
const CHAPTERS: [(&str, &str); 7] = [
    ("ORT-1", "Packets that never became a sign-in"),
    ("ORT-2", "Name and first factor"),
    ("ORT-3", "Policies"),
    ("ORT-4", "Second factor"),
    ("ORT-5", "State, challenges and other nodes"),
    ("ORT-6", "Store, deadlines, faults"),
    ("ORT-7", "Accounting"),
];

const METRICS: &str = "\
<!-- Generated from gateway/src/telemetry/metrics.rs. Change that, then run:
     UPDATE_GENERATED=1 cargo test -p gateway reference -->

# Metrics

Served in Prometheus' text format at `/metrics` on `admin.listen`. The label `client` is the name of a `[[clients]]` entry; for
challenges that nobody answered it is its `attempt_group`. `backend` and `provider` are names of `[[first_factor]]` and
`[[second_factor]]` entries. `reason` is a label of [errors.md](errors.md). No label holds a user, an address of a user or a
State, so that the number of series is bounded by the configuration. A series appears when it is first counted.
";

/// The catalogue of reasons, in Markdown.
pub fn errors() -> String {
    let mut out = ERRORS.to_owned();
    for (prefix, title) in CHAPTERS {
        let _ =
            write!(out, "\n## {title}\n\n| Id | Label | Fault | What happened | What to do |\n|---|---|---|---|---|\n");
        for reason in Reason::ALL.iter().filter(|reason| reason.id().starts_with(prefix)) {
            let (id, label, fault) = (reason.id(), reason.label(), reason.fault().label());
            let _ =
                writeln!(out, "| {id} | `{label}` | {fault} | {} | {} |", cell(reason.cause()), cell(reason.remedy()));
        }
    }
    let _ = write!(out, "{DETAILS}\n| Detail | Meaning |\n|---|---|\n");
    for (word, meaning) in Malformed::WORDS {
        let _ = writeln!(out, "| `{word}` | {} |", cell(meaning));
    }
    out
}

/// The catalogue of metrics, in Markdown.
///
/// # Errors
///
/// As [`Metrics::new`].
pub fn metrics() -> prometheus::Result<String> {
    let mut out = METRICS.to_owned();
    out.push_str("\n| Name | Type | Labels | Meaning |\n|---|---|---|---|\n");
    for metric in Metrics::new()?.described() {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let _ =
            writeln!(out, "| `{}` | {} | {} | {} |", metric.name, metric.kind, labels.join(", "), cell(&metric.help));
    }
    let buckets: Vec<_> = DURATIONS.iter().map(f64::to_string).collect();
    let _ = writeln!(out, "\nHistograms are in seconds; their buckets end at {}.", buckets.join(", "));
    Ok(out)
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn is_fresh(name: &str, text: &str) {
        let path = format!("{}/../docs/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            fs::write(&path, text).unwrap();
        }
        let stored = fs::read_to_string(&path).unwrap_or_default();
        assert!(stored == text, "docs/{name} is out of date: UPDATE_GENERATED=1 cargo test -p gateway reference");
    }

    #[test]
    fn the_reference_of_reasons_is_fresh_and_whole() {
        let text = errors();
        for reason in Reason::ALL {
            assert_eq!(text.matches(&format!("| {} |", reason.id())).count(), 1, "{}", reason.id());
        }
        let is_label = |word: &str| Reason::ALL.iter().any(|reason| reason.label() == word);
        for (word, _) in Malformed::WORDS {
            assert_eq!(text.matches(&format!("| `{word}` | ")).count(), 1 + usize::from(is_label(word)), "{word}");
        }
        is_fresh("errors.md", &text);
    }

    #[test]
    fn the_reference_of_metrics_is_fresh_and_whole() {
        let text = metrics().unwrap();
        for name in ["orthrus_build_info", "orthrus_radius_dropped_total", "orthrus_mfa_wait_seconds"] {
            assert!(text.contains(&format!("| `{name}` | ")), "{name}: {text}");
        }
        is_fresh("metrics.md", &text);
    }
}
