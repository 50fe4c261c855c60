//! `[limits]`: how much of everything, so that nobody's packets grow this process without bound.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

use super::{report::Report, units::Span};

/// How much of everything a node keeps and how much a sender may ask for.
///
/// ```toml
/// [limits]
/// wrong_codes = 10
/// wrong_codes_window = "15m"
/// ```
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawLimits {
    /// Requests in progress on this node. The next one is dropped and counted, and its sender tries again. One RADIUS client may
    /// have all of them; another that has less than its share still gets in, up to twice the limit in all. Too low drops
    /// sign-ins while the machine is idle; too high lets a flood take memory, some KiB each.
    #[schemars(range(min = 16, max = 1_000_000))]
    pub in_progress: u64,
    /// Replies kept by each listener for packets that come a second time. With too few, a repeat is decided anew,
    /// so that a lost reply costs its user another sign-in. Up to 4 KiB each, some 200 octets as a rule.
    #[schemars(range(min = 256, max = 4_000_000))]
    pub cached_replies: u64,
    /// How long such a reply is kept (RFC 5080 §2.2.2). Shorter than the VPN server's last repeat, and that repeat is decided
    /// anew; longer only costs memory.
    #[schemars(extend("x-min" = "5s", "x-max" = "60s"))]
    pub reply_lifetime: Span,
    /// Refusals of this node that wait for `attempts.reject_delay`, shared by RADIUS clients as `in_progress` is. Beyond them refusals
    /// are sent without delay, and are counted: somebody is flooding the node with guesses. Some hundred octets each.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub delayed_rejects: u64,
    /// Passwords hashed at the same time; 0 means one per core. More than there are cores makes every check slower.
    #[schemars(range(min = 0, max = 256), extend("x-reload" = "no"))]
    pub password_checks: u64,
    /// Password checks that may wait for their turn. RADIUS clients take turns. When it is full, the newest check of the client that
    /// has most of them waiting is dropped and counted; one of each client may always wait. Too short drops the rush of a Monday
    /// morning; too long computes answers for senders who have given up.
    #[schemars(range(min = 1, max = 65_536), extend("x-reload" = "no"))]
    pub password_queue: u64,
    /// Attempts, challenges and counters that the memory store holds; with a shared store, users whose records this node has a
    /// copy of. When it is full, new second factors are refused until
    /// old records end; some hundred octets each.
    #[schemars(range(min = 100, max = 10_000_000), extend("x-reload" = "no"))]
    pub attempts: u64,
    /// Attempts of one user that are known at the same time, those that ended a moment ago included. With one more, the oldest
    /// challenge of the user burns, and a late answer to it is refused as `challenge_burnt`. Too few, and somebody who knows
    /// a password takes its owner's challenges away sooner; more only costs memory.
    #[schemars(range(min = 1, max = 24))]
    pub attempts_per_user: u64,
    /// Pushes and calls that wait for their users on this node. The next one is refused. Each takes some KiB; where they are
    /// polled, the node asks its provider 1,000 times a second at most up to 10,000 of them, and each of them every 10 s
    /// beyond.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub pending_prompts: u64,
    /// Wrong codes of one user within `wrong_codes_window` after which further codes are refused unseen. A code counts from when it
    /// is taken to be judged, so that no number of answers at once goes beyond; a right one is forgiven, with those before it. Too low locks out
    /// the clumsy, and lets somebody who knows a password lock its owner out; each one more is one more guess.
    #[schemars(range(min = 1, max = 1_000))]
    pub wrong_codes: u64,
    /// The time in which wrong codes are counted. Too short, and a patient guesser is never stopped: the defaults allow 960
    /// guesses a day, where a code is one of a million.
    #[schemars(extend("x-min" = "1m", "x-max" = "24h", "x-reload" = "when shortened"))]
    pub wrong_codes_window: Span,
    /// Wrong passwords of one user from one station (Calling-Station-Id) by way of one `attempt_group` after which passwords from there
    /// are refused unseen for `password_pause`, twice as long after each further one, up to `longest_password_pause`. 0 never
    /// pauses. Too low holds up the clumsy; each one more is one more guess. See operations.md.
    #[schemars(range(min = 0, max = 1_000))]
    pub wrong_passwords: u64,
    /// The same of one user from all stations together at which the user has not signed in before: against somebody who guesses
    /// from many. Stations where the password was right stay unaffected. 0 never pauses. Too low, and a stranger keeps a user from
    /// signing in at a new station.
    #[schemars(range(min = 0, max = 100_000))]
    pub wrong_passwords_of_user: u64,
    /// The same from one station by way of one `attempt_group`, whoever the users are: against somebody who tries many users. Users who
    /// have signed in there before stay unaffected. 0 never pauses. Too low holds up an office behind one address.
    #[schemars(range(min = 0, max = 100_000))]
    pub wrong_passwords_of_station: u64,
    /// The same by way of one address of a RADIUS client: against somebody who tries many users from many stations. Users at stations
    /// where they have signed in before stay unaffected. 0 never pauses. Too low lets one attacker hold up new users of a NAS.
    #[schemars(range(min = 0, max = 10_000_000))]
    pub wrong_passwords_of_source: u64,
    /// The time after which as many wrong passwords as are free are forgotten, evenly: of five in an hour one each twelve minutes. Too
    /// short, and a patient guesser is never stopped.
    #[schemars(extend("x-min" = "1m", "x-max" = "24h"))]
    pub wrong_passwords_window: Span,
    /// The first pause.
    #[schemars(extend("x-min" = "1s", "x-max" = "1m"))]
    pub password_pause: Span,
    /// The longest pause. Longer ones hold up an owner who shares a place with a guesser; with five minutes a guesser has 288 tries a
    /// day.
    #[schemars(extend("x-min" = "1s", "x-max" = "24h"))]
    pub longest_password_pause: Span,
    /// Users, stations and addresses of which this node counts wrong passwords. When it is full, those of the RADIUS client that fills it
    /// most are forgotten, the ones with the fewest failures first, and counted. Some hundred octets each.
    #[schemars(range(min = 100, max = 10_000_000))]
    pub wrong_passwords_kept: u64,
    /// Users of whom this node remembers where they have signed in, for 30 days, at most 16 stations each. Those beyond are forgotten, the
    /// longest unseen first: they are strangers to the limits above. Some hundred octets each.
    #[schemars(range(min = 0, max = 10_000_000))]
    pub known_stations: u64,
    /// Status-Server requests answered per second and client (RFC 5997); the others are dropped. Too low, and a VPN server
    /// that asks often takes the gateway for dead.
    #[schemars(range(min = 1, max = 10_000))]
    pub status_server_rate: u64,
    /// Lines per second about dropped packets, and as many about passwords that pause; all of them are counted. 0 writes none. Too high lets anybody who can send a
    /// packet fill the disk.
    #[schemars(range(min = 0, max = 10_000))]
    pub drop_logs_per_second: u64,
    /// Lines per second about a factor that was judged and refused: a wrong password, a wrong code, a denied prompt. The sum of the
    /// others is told each second. Too low hides who is being guessed at; too high lets anybody who can type fill the disk.
    #[schemars(range(min = 0, max = 10_000))]
    pub refusal_logs_per_second: u64,
    /// Source addresses of which the gateway remembers what they have proved (which secret, a Message-Authenticator under
    /// `"auto"`). With too few, further sources are not remembered, which is counted: those under `"auto"` stay open.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub learned_sources: u64,
    /// Events of sign-ins kept in memory, so that what happened to one of them can be told step by step. With too few, the
    /// oldest are gone within the hour; some hundred octets each.
    #[schemars(range(min = 0, max = 1_000_000), extend("x-reload" = "no"))]
    pub event_ring: u64,
    /// Accounting records that may wait for the disk, for each sink. The next one is dropped without an answer, and the NAS sends
    /// it again. Too few drops a burst; too many lets memory grow while the disk stands still, some hundred octets each.
    #[schemars(range(min = 16, max = 1_000_000), extend("x-reload" = "no"))]
    pub accounting_queue: u64,
    /// Accounting records of which the gateway remembers that it wrote them, for each sink. With too few, a record that a NAS repeats late
    /// is written a second time; about 100 octets each.
    #[schemars(range(min = 1_000, max = 50_000_000), extend("x-reload" = "no"))]
    pub accounting_records: u64,
    /// Lines of the audit that may wait for the disk. What finds no place is not answered, and is counted. Too few silences a burst; too
    /// many lets memory grow while the disk stands still, some hundred octets each.
    #[schemars(range(min = 64, max = 1_000_000), extend("x-reload" = "no"))]
    pub audit_queue: u64,
    /// Open sessions that are known, of all nodes that share a store. Further ones are not known and not counted for
    /// `max_sessions`; some hundred octets each.
    #[schemars(range(min = 16, max = 10_000_000))]
    pub sessions: u64,
    /// Operators who may speak to `control.sock` at the same time (`orthrus status` and the like). Whoever is connected and says
    /// nothing gives way. Too few, and a script whose commands take long turns a person away.
    #[schemars(range(min = 1, max = 1_024), extend("x-reload" = "no"))]
    pub control_connections: u64,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            in_progress: 65_536,
            cached_replies: 32_768,
            reply_lifetime: Span::secs(30),
            delayed_rejects: 65_536,
            password_checks: 0,
            password_queue: 256,
            attempts: 200_000,
            attempts_per_user: 8,
            pending_prompts: 50_000,
            wrong_codes: 10,
            wrong_codes_window: Span::secs(900),
            wrong_passwords: 5,
            wrong_passwords_of_user: 20,
            wrong_passwords_of_station: 50,
            wrong_passwords_of_source: 1_000,
            wrong_passwords_window: Span::secs(3_600),
            password_pause: Span::secs(2),
            longest_password_pause: Span::secs(300),
            wrong_passwords_kept: 50_000,
            known_stations: 100_000,
            status_server_rate: 10,
            drop_logs_per_second: 5,
            refusal_logs_per_second: 20,
            learned_sources: 10_000,
            event_ring: 20_000,
            accounting_queue: 16_384,
            accounting_records: 200_000,
            audit_queue: 65_536,
            sessions: 200_000,
            control_connections: 16,
        }
    }
}

/// How much of everything, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests in progress per node.
    pub in_progress: usize,
    /// Replies kept per listener.
    pub cached_replies: usize,
    /// How long a reply is kept.
    pub reply_lifetime: Duration,
    /// Refusals that wait for their time.
    pub delayed_rejects: usize,
    /// Passwords hashed at the same time; 0 means one per core.
    pub password_checks: usize,
    /// Password checks that may wait.
    pub password_queue: usize,
    /// Records of the memory store.
    pub attempts: usize,
    /// Attempts of one user.
    pub attempts_per_user: u16,
    /// Prompts that wait for their users.
    pub pending_prompts: usize,
    /// Wrong codes of one user per window.
    pub wrong_codes: u32,
    /// The window for wrong codes.
    pub wrong_codes_window: Duration,
    /// Wrong passwords that are free, of one user from one station; 0 never pauses.
    pub wrong_passwords: u32,
    /// The same of one user from unknown stations.
    pub wrong_passwords_of_user: u32,
    /// The same from one station.
    pub wrong_passwords_of_station: u32,
    /// The same by way of one address.
    pub wrong_passwords_of_source: u32,
    /// The time after which they are forgotten.
    pub wrong_passwords_window: Duration,
    /// The first pause.
    pub password_pause: Duration,
    /// The longest pause.
    pub longest_password_pause: Duration,
    /// Scopes that are counted.
    pub wrong_passwords_kept: usize,
    /// Users whose stations are remembered.
    pub known_stations: usize,
    /// Status-Server answers per second and client.
    pub status_server_rate: u32,
    /// Log lines per second about dropped packets.
    pub drop_logs_per_second: u32,
    /// Log lines per second about factors that were refused.
    pub refusal_logs_per_second: u32,
    /// Sources of which something is remembered.
    pub learned_sources: usize,
    /// Events kept in memory.
    pub event_ring: usize,
    /// Records that wait for each sink.
    pub accounting_queue: usize,
    /// Records that each sink remembers.
    pub accounting_records: usize,
    /// Lines of the audit that wait for the disk.
    pub audit_queue: usize,
    /// Open sessions that are known.
    pub sessions: usize,
    /// Operators at the same time.
    pub control_connections: usize,
}

impl RawLimits {
    pub(super) fn check(&self, report: &mut Report) -> Limits {
        report.within("limits.reply_lifetime", &self.reply_lifetime, Span::secs(5), Span::secs(60));
        report.within("limits.wrong_codes_window", &self.wrong_codes_window, Span::secs(60), Span::secs(86_400));
        report.within(
            "limits.wrong_passwords_window",
            &self.wrong_passwords_window,
            Span::secs(60),
            Span::secs(86_400),
        );
        report.within("limits.password_pause", &self.password_pause, Span::secs(1), Span::secs(60));
        let longest = &self.longest_password_pause;
        report.within("limits.longest_password_pause", longest, Span::secs(1), Span::secs(86_400));
        if longest.0 < self.password_pause.0 {
            report.fault(
                "limits.longest_password_pause",
                "it is shorter than limits.password_pause",
                "Give the longest pause at least the length of the first.",
            );
        }
        Limits {
            in_progress: report.number("limits.in_progress", self.in_progress, 16..=1_000_000),
            cached_replies: report.number("limits.cached_replies", self.cached_replies, 256..=4_000_000),
            reply_lifetime: self.reply_lifetime.0,
            delayed_rejects: report.number("limits.delayed_rejects", self.delayed_rejects, 0..=1_000_000),
            password_checks: report.number("limits.password_checks", self.password_checks, 0..=256),
            password_queue: report.number("limits.password_queue", self.password_queue, 1..=65_536),
            attempts: report.number("limits.attempts", self.attempts, 100..=10_000_000),
            attempts_per_user: report.number("limits.attempts_per_user", self.attempts_per_user, 1..=24),
            pending_prompts: report.number("limits.pending_prompts", self.pending_prompts, 1..=1_000_000),
            wrong_codes: report.number("limits.wrong_codes", self.wrong_codes, 1..=1_000),
            wrong_codes_window: self.wrong_codes_window.0,
            wrong_passwords: report.number("limits.wrong_passwords", self.wrong_passwords, 0..=1_000),
            wrong_passwords_of_user: report.number(
                "limits.wrong_passwords_of_user",
                self.wrong_passwords_of_user,
                0..=100_000,
            ),
            wrong_passwords_of_station: report.number(
                "limits.wrong_passwords_of_station",
                self.wrong_passwords_of_station,
                0..=100_000,
            ),
            wrong_passwords_of_source: report.number(
                "limits.wrong_passwords_of_source",
                self.wrong_passwords_of_source,
                0..=10_000_000,
            ),
            wrong_passwords_window: self.wrong_passwords_window.0,
            password_pause: self.password_pause.0,
            longest_password_pause: self.longest_password_pause.0,
            wrong_passwords_kept: report.number(
                "limits.wrong_passwords_kept",
                self.wrong_passwords_kept,
                100..=10_000_000,
            ),
            known_stations: report.number("limits.known_stations", self.known_stations, 0..=10_000_000),
            status_server_rate: report.number("limits.status_server_rate", self.status_server_rate, 1..=10_000),
            drop_logs_per_second: report.number("limits.drop_logs_per_second", self.drop_logs_per_second, 0..=10_000),
            refusal_logs_per_second: report.number(
                "limits.refusal_logs_per_second",
                self.refusal_logs_per_second,
                0..=10_000,
            ),
            learned_sources: report.number("limits.learned_sources", self.learned_sources, 0..=1_000_000),
            event_ring: report.number("limits.event_ring", self.event_ring, 0..=1_000_000),
            accounting_queue: report.number("limits.accounting_queue", self.accounting_queue, 16..=1_000_000),
            accounting_records: report.number("limits.accounting_records", self.accounting_records, 1_000..=50_000_000),
            audit_queue: report.number("limits.audit_queue", self.audit_queue, 64..=1_000_000),
            sessions: report.number("limits.sessions", self.sessions, 16..=10_000_000),
            control_connections: report.number("limits.control_connections", self.control_connections, 1..=1_024),
        }
    }
}
