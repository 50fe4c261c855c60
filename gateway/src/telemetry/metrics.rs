//! Every metric of the gateway, by name. Labels are closed sets and configured names, never users, addresses of users or
//! State: the number of series is bounded by the configuration.

use prometheus::core::Collector;
use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{
    Encoder, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

/// From a password check in memory to a person who looks for a phone, in seconds.
pub(super) const DURATIONS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 10.0, 20.0, 45.0, 90.0, 120.0];

/// Label of `client` for packets from addresses that no client covers.
pub const NO_CLIENT: &str = "";

/// The metrics, registered.
pub struct Metrics {
    catalogue: Catalogue,
    /// Packets by listener, client and code, before any check but the source address.
    pub requests: IntCounterVec,
    /// Replies by listener, client and code.
    pub responses: IntCounterVec,
    /// Packets dropped unanswered, by client and reason.
    pub dropped: IntCounterVec,
    /// The same packet again, by client and what became of it.
    pub duplicates: IntCounterVec,
    /// Finished requests by client, result and reason.
    pub sign_ins: IntCounterVec,
    /// How long a request took until its reply.
    pub request_duration: HistogramVec,
    /// How long a first factor took.
    pub first_factor_duration: HistogramVec,
    /// Passwords that users changed, by first factor and result.
    pub password_changes: IntCounterVec,
    /// Pauses that began after wrong passwords, by limit.
    pub password_pauses: IntCounterVec,
    /// Questions to a second factor by provider and result.
    pub mfa_requests: IntCounterVec,
    /// From the first packet of a sign-in to its verdict, the human included.
    pub mfa_wait: HistogramVec,
    /// Prompts that were not made, by why.
    pub prompts_suppressed: IntCounterVec,
    /// Prompts of dead nodes that this one went on with.
    pub taken_over: IntCounter,
    /// Prompts that wait for their users.
    pub mfa_pending: IntGauge,
    /// How long a NAS waits before it repeats a packet.
    pub nas_retransmission: GaugeVec,
    /// How long a NAS waits before it gives a packet up.
    pub nas_gives_up: GaugeVec,
    /// Requests in progress.
    pub in_progress: IntGauge,
    /// Records that the store holds.
    pub store_records: IntGauge,
    /// What a store that nodes share counts.
    pub shared_store: super::store::SharedStore,
    /// What readiness is drawn from, by check.
    pub ready: IntGaugeVec,
    /// How long the node's own sign-ins took that went well.
    pub self_sign_in_seconds: Histogram,
    /// Those that failed, by why.
    pub self_sign_in_failures: IntCounterVec,
    /// Connections between nodes.
    pub peers: super::peers::PeerMetrics,
    /// Whether new sign-ins are left to others.
    pub draining: IntGauge,
    /// Orders over HTTP that were refused, by why.
    pub orders_refused: IntCounterVec,
    /// What is counted of Disconnect and CoA.
    pub dynamic_authorization: super::dynamic_authorization::DynamicAuthorizationMeters,
    /// What accounting counts.
    pub accounting: super::accounting::AccountingMeters,
    /// Whether the store's last write failed.
    pub store_failing: IntGauge,
    /// Limits met, by limit.
    pub limit_hits: IntCounterVec,
    /// Datagrams that the kernel did not take.
    pub send_failures: IntCounter,
    /// Whether the last reload of a file or of the configuration went well.
    pub last_reload: IntGaugeVec,
    /// The configuration in force.
    pub config_info: IntGaugeVec,
    /// Clients whose secret is weak.
    pub secret_weak: IntGaugeVec,
    /// Questions to Microsoft by factor, endpoint and what came.
    pub entra_requests: IntCounterVec,
    /// How long they took.
    pub entra_duration: HistogramVec,
    /// Results by factor, operation and class.
    pub entra_results: IntCounterVec,
    /// Results that are not known.
    pub entra_unknown: IntCounterVec,
    /// Whether Microsoft is being left alone.
    pub entra_breaker: IntGaugeVec,
    /// When the token in force ends.
    pub entra_token_expiry: IntGaugeVec,
    /// When certificates end.
    pub certificate_expiry: IntGaugeVec,
    /// Events that found no place in the ring.
    pub events_dropped: IntCounter,
    /// Spans that were not sent.
    pub traces_dropped: IntCounter,
    /// Lines of the log that were lost.
    pub log_lines_lost: IntCounter,
    /// The audit.
    pub audit: super::audit::AuditMeters,
}

/// What one metric is called and what it tells.
#[derive(Clone, Debug)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The names of its labels.
    pub labels: Vec<String>,
    /// What it tells.
    pub help: String,
}

/// The registry, and what it holds: metrics that were never counted are not gathered, yet belong into `docs/metrics.md`.
#[derive(Default)]
pub(super) struct Catalogue {
    registry: Registry,
    described: Vec<Described>,
}

pub(super) fn register<C: Collector + Clone + 'static>(
    catalogue: &mut Catalogue,
    collector: prometheus::Result<C>,
) -> prometheus::Result<C> {
    let collector = collector?;
    catalogue.registry.register(Box::new(collector.clone()))?;
    let kind = match collector.collect().first().map(MetricFamily::get_field_type) {
        Some(MetricType::COUNTER) => "counter",
        Some(MetricType::HISTOGRAM) => "histogram",
        _ => "gauge",
    };
    catalogue.described.extend(collector.desc().into_iter().map(|desc| Described {
        name: desc.fq_name.clone(),
        kind,
        labels: desc.variable_labels.clone(),
        help: desc.help.clone(),
    }));
    Ok(collector)
}

pub(super) fn counters(
    catalogue: &mut Catalogue,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<IntCounterVec> {
    register(catalogue, IntCounterVec::new(Opts::new(name, help), labels))
}

pub(super) fn gauges(
    catalogue: &mut Catalogue,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<IntGaugeVec> {
    register(catalogue, IntGaugeVec::new(Opts::new(name, help), labels))
}

fn seconds(catalogue: &mut Catalogue, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<GaugeVec> {
    register(catalogue, GaugeVec::new(Opts::new(name, help), labels))
}

fn histograms(catalogue: &mut Catalogue, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<HistogramVec> {
    register(catalogue, HistogramVec::new(HistogramOpts::new(name, help).buckets(DURATIONS.to_vec()), labels))
}

impl Metrics {
    /// Registers every metric.
    ///
    /// # Errors
    ///
    /// Two metrics have one name: a fault that any test finds.
    pub fn new() -> prometheus::Result<Self> {
        let mut catalogue = Catalogue::default();
        let r = &mut catalogue;
        let build = gauges(r, "orthrus_build_info", "1; the version of this program.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Self {
            requests: counters(
                r,
                "orthrus_radius_requests_total",
                "Packets from RADIUS clients, duplicates included.",
                &["listener", "client", "code"],
            )?,
            responses: counters(
                r,
                "orthrus_radius_responses_total",
                "Replies sent, repeated ones included.",
                &["listener", "client", "code"],
            )?,
            dropped: counters(
                r,
                "orthrus_radius_dropped_total",
                "Packets dropped unanswered; client is empty where the source is none.",
                &["client", "reason"],
            )?,
            duplicates: counters(
                r,
                "orthrus_radius_duplicates_total",
                "The same packet again: replayed (answered with the same octets) or in_flight_local (discarded).",
                &["client", "kind"],
            )?,
            sign_ins: counters(
                r,
                "orthrus_sign_ins_total",
                "Finished requests; result is accept, reject, challenge or silence, reason is empty for the first and third.",
                &["client", "result", "reason"],
            )?,
            request_duration: histograms(
                r,
                "orthrus_radius_request_duration_seconds",
                "From receiving a request to its reply.",
                &["code", "second_factor"],
            )?,
            first_factor_duration: histograms(
                r,
                "orthrus_first_factor_duration_seconds",
                "How long a first factor took to answer.",
                &["backend", "result"],
            )?,
            password_pauses: counters(
                r,
                "orthrus_password_pauses_total",
                "Pauses that began after wrong passwords, by the limit that was met; refusals in them are counted as its hits.",
                &["limit"],
            )?,
            mfa_requests: counters(
                r,
                "orthrus_mfa_requests_total",
                "Questions to second factors and their answers. Of method code, result is challenge (a code was asked for), right, or \
                 the label of a reason. Of method prompt it is sent (the provider was asked to begin, whether or not it then wanted a \
                 code instead), approved, unregistered_passed (let in without a second factor), or the label of a reason.",
                &["provider", "method", "result"],
            )?,
            mfa_wait: histograms(
                r,
                "orthrus_mfa_wait_seconds",
                "From the first packet of a sign-in to its verdict, the human included.",
                &["method"],
            )?,
            taken_over: register(
                r,
                IntCounter::new(
                    "orthrus_mfa_prompts_taken_over_total",
                    "Prompts of dead nodes that this one went on with.",
                ),
            )?,
            prompts_suppressed: counters(
                r,
                "orthrus_mfa_prompts_suppressed_total",
                "Prompts that were not made because one was out or just answered, by why.",
                &["why"],
            )?,
            password_changes: counters(
                r,
                "orthrus_password_changes_total",
                "New passwords that users brought with the old one, by what came of it.",
                &["first_factor", "result"],
            )?,
            mfa_pending: register(
                r,
                IntGauge::new("orthrus_mfa_pending", "Pushes and calls that wait for their users."),
            )?,
            nas_retransmission: seconds(
                r,
                "orthrus_nas_retransmission_seconds",
                "How long this NAS last waited before it repeated a packet that was in progress.",
                &["client"],
            )?,
            nas_gives_up: seconds(
                r,
                "orthrus_nas_gives_up_seconds",
                "After how long this NAS last gave a packet up, or replaced it by a new one: answer_within must be shorter.",
                &["client"],
            )?,
            in_progress: register(
                r,
                IntGauge::new("orthrus_requests_in_progress", "Requests that hold a permit of limits.in_progress."),
            )?,
            store_records: register(
                r,
                IntGauge::new(
                    "orthrus_store_records",
                    "Records that the memory store holds, or users that this node has a copy of.",
                ),
            )?,
            draining: register(
                r,
                IntGauge::new(
                    "orthrus_draining",
                    "1 while new sign-ins are left to other nodes, before the process ends.",
                ),
            )?,
            dynamic_authorization: super::dynamic_authorization::DynamicAuthorizationMeters::new(r)?,
            accounting: super::accounting::AccountingMeters::new(r)?,
            shared_store: super::store::SharedStore::new(r)?,
            ready: gauges(
                r,
                "orthrus_ready",
                "1 for a check of /readyz that is well, 0 for one that makes this node not ready.",
                &["check"],
            )?,
            self_sign_in_seconds: register(
                r,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "orthrus_self_sign_in_seconds",
                        "How long sign-ins of health.sign_in took that went well.",
                    )
                    .buckets(DURATIONS.to_vec()),
                ),
            )?,
            self_sign_in_failures: counters(
                r,
                "orthrus_self_sign_in_failures_total",
                "Sign-ins of health.sign_in that failed; failure is rejected, challenged, unanswered, unproved or not_taken.",
                &["failure"],
            )?,
            orders_refused: counters(
                r,
                "orthrus_admin_orders_refused_total",
                "Orders over HTTP that were refused, by why: no_token, wrong_token or disabled (no admin.token_file).",
                &["why"],
            )?,
            peers: super::peers::PeerMetrics::new(r)?,
            store_failing: register(r, IntGauge::new("orthrus_store_failing", "1 while the store cannot be written."))?,
            limit_hits: counters(
                r,
                "orthrus_limit_hits_total",
                "How often a limit was met, by its key in [limits].",
                &["limit"],
            )?,
            send_failures: register(
                r,
                IntCounter::new("orthrus_radius_send_failures_total", "Replies that the kernel did not take."),
            )?,
            last_reload: gauges(
                r,
                "orthrus_config_last_reload_success",
                "1 if the last reload went well; what is config, or the name of a users or tokens file's factor.",
                &["what"],
            )?,
            config_info: gauges(r, "orthrus_config_info", "1 for the configuration in force.", &["version"])?,
            secret_weak: gauges(
                r,
                "orthrus_secret_weak",
                "1 for a client whose shared secret is shorter than 16 octets.",
                &["client"],
            )?,
            entra_requests: counters(
                r,
                "orthrus_entra_http_requests_total",
                "Questions to Microsoft; endpoint is token, begin or end, status the HTTP status or its class, not_asked (no \
                 connection), lost (cut off) or late.",
                &["factor", "endpoint", "status"],
            )?,
            entra_duration: histograms(
                r,
                "orthrus_entra_http_duration_seconds",
                "How long questions to Microsoft took; begin has the human in it.",
                &["factor", "endpoint"],
            )?,
            entra_results: counters(
                r,
                "orthrus_entra_results_total",
                "What Microsoft answered, by class of result; operation is begin, poll or code.",
                &["factor", "operation", "class"],
            )?,
            entra_unknown: counters(
                r,
                "orthrus_entra_unknown_results_total",
                "Results that this release does not know; each was a refusal, and stands verbatim in the log.",
                &["factor"],
            )?,
            entra_breaker: gauges(
                r,
                "orthrus_entra_breaker_state",
                "0 while Microsoft is asked, 2 while it is left alone after failures, 1 while one sign-in tries.",
                &["factor"],
            )?,
            entra_token_expiry: gauges(
                r,
                "orthrus_entra_token_expiry_timestamp_seconds",
                "When the token in force ends, in seconds since 1970; without sign-ins it is not renewed.",
                &["factor"],
            )?,
            certificate_expiry: gauges(
                r,
                "orthrus_certificate_expiry_timestamp_seconds",
                "When a certificate ends, in seconds since 1970; use is what it is for.",
                &["name", "use"],
            )?,
            events_dropped: register(
                r,
                IntCounter::new("orthrus_events_overwritten_total", "Events that left the ring for newer ones."),
            )?,
            traces_dropped: register(
                r,
                IntCounter::new(
                    "orthrus_traces_dropped_total",
                    "Spans that were not sent: the queue was full, or the collector did not take them.",
                ),
            )?,
            audit: super::audit::AuditMeters::new(r)?,
            log_lines_lost: register(
                r,
                IntCounter::new(
                    "orthrus_log_lines_lost_total",
                    "Lines of the log that were lost because standard error is read too slowly.",
                ),
            )?,
            catalogue,
        })
    }

    /// Every metric there is, by name.
    pub fn described(&self) -> Vec<&Described> {
        let mut described: Vec<_> = self.catalogue.described.iter().collect();
        described.sort_by_key(|metric| &metric.name);
        described
    }

    /// The metrics in Prometheus' text format.
    ///
    /// # Errors
    ///
    /// The library refuses its own metrics.
    pub fn text(&self) -> prometheus::Result<String> {
        let mut out = Vec::new();
        TextEncoder::new().encode(&self.catalogue.registry.gather(), &mut out)?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }
}

/// The counters of one client at one listener, found once instead of at each packet.
pub struct ClientMeters {
    /// Access-Requests.
    pub access_requests: IntCounter,
    /// Status-Server.
    pub status_servers: IntCounter,
    /// Access-Accepts, also those that answer Status-Server.
    pub accepts: IntCounter,
    /// Access-Rejects.
    pub rejects: IntCounter,
    /// Access-Challenges.
    pub challenges: IntCounter,
}

impl ClientMeters {
    /// Of `client` at `listener`.
    pub fn new(metrics: &Metrics, listener: &str, client: &str) -> Self {
        let request = |code| metrics.requests.with_label_values(&[listener, client, code]);
        let response = |code| metrics.responses.with_label_values(&[listener, client, code]);
        Self {
            access_requests: request("Access-Request"),
            status_servers: request("Status-Server"),
            accepts: response("Access-Accept"),
            rejects: response("Access-Reject"),
            challenges: response("Access-Challenge"),
        }
    }
}

/// The histograms that every request meets, found once.
pub struct Timers {
    /// By result and whether a second factor was asked: accept, reject, challenge, silence.
    pub request: [[Histogram; 2]; 4],
}

impl Timers {
    /// From `metrics`.
    pub fn new(metrics: &Metrics) -> Self {
        let of = |code: &str| ["none", "asked"].map(|asked| metrics.request_duration.with_label_values(&[code, asked]));
        Self { request: [of("accept"), of("reject"), of("challenge"), of("silence")] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_a_name_of_its_own_and_a_help_text() {
        let metrics = Metrics::new().unwrap();
        metrics.requests.with_label_values(&["127.0.0.1:1812", "vpn", "Access-Request"]).inc();
        let text = metrics.text().unwrap();
        assert!(text.contains("orthrus_build_info{version=\""), "{text}");
        assert!(text.contains("orthrus_radius_requests_total{client=\"vpn\""), "{text}");
        for line in text.lines().filter(|line| line.starts_with("# HELP")) {
            assert!(line.starts_with("# HELP orthrus_") && line.ends_with('.'), "{line}");
        }
    }
}
