//! What an operator may ask of a running node, by whichever door: the socket `control.sock` in `state_dir` today
//! ([`socket`]). A door reads a [`Command`], [`commands::perform`] does it, and the [`Answer`] goes back.
//!
//! On the socket each is one line of JSON: `{"version":1,"command":{"sessions":{"user":"alice"}}}`.

pub mod commands;
mod limits;
mod locks;
pub mod orders;
pub mod socket;

use serde::{Deserialize, Serialize};

/// The version of what is said on the socket. A node answers its own version only.
pub const VERSION: u32 = 1;

/// The longest line of a request, in octets.
pub const LONGEST_REQUEST: usize = 64 << 10;

/// The longest line of an answer, in octets: more than `MOST_SESSIONS` sessions of an ordinary size.
pub const LONGEST_ANSWER: usize = 64 << 20;

/// The most sessions that one answer lists.
pub const MOST_SESSIONS: usize = 20_000;

/// The most pauses that one answer lists.
pub const MOST_PAUSES: usize = 10_000;

/// One request.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`].
    pub version: u32,
    /// What to do.
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// How this node is.
    Status {},
    /// The open sessions that this node knows of.
    Sessions {
        /// Of this user, in any spelling.
        user: Option<String>,
        /// Of this RADIUS client's name, NAS-Identifier, or address.
        nas: Option<String>,
    },
    /// End sessions: of a user, or one.
    Disconnect {
        /// Every session of this user.
        user: Option<String>,
        /// The session of this Acct-Session-Id.
        session: Option<String>,
        /// At this RADIUS client only.
        client: Option<String>,
    },
    /// Change one session.
    Coa {
        /// Its Acct-Session-Id.
        session: String,
        /// The RADIUS client, where several have a session of this id.
        client: Option<String>,
        /// `Name=value`, at least one.
        attributes: Vec<String>,
    },
    /// Leave new sign-ins to others, finish running ones, end.
    Drain {
        /// The longest that may take, in seconds; as configured if left out.
        deadline: Option<u64>,
    },
    /// The nodes that are alive.
    Nodes {},
    /// The certificates of all nodes.
    Certificates {},
    /// What pauses since a limit was met.
    Limits {
        /// What holds this user, in any spelling.
        user: Option<String>,
    },
    /// The users whom operators locked.
    Locks {},
    /// Refuse a user at all nodes from now on, and end what is open.
    Lock {
        /// The user, in any spelling.
        user: String,
    },
    /// Let a locked user sign in again, at all nodes.
    Unlock {
        /// The user, in any spelling.
        user: String,
    },
    /// End pauses at all nodes: exactly one of these.
    LiftLimits {
        /// Those of this user, in any spelling.
        user: Option<String>,
        /// Those of this RADIUS client, and of others in its `attempt_group`.
        client: Option<String>,
        /// That of this address of a RADIUS client.
        source: Option<String>,
        /// Every one.
        all: bool,
    },
}

impl Command {
    /// Whether it does anything but tell.
    pub fn changes(&self) -> bool {
        !matches!(
            self,
            Self::Status {} | Self::Sessions { .. } | Self::Nodes {} | Self::Certificates {} | Self::Locks {}
        )
    }

    /// The command in one line, as the log and the audit have it: its name, and what was given, `key=value`. Of RADIUS attributes
    /// the names only: a value may be a secret.
    pub fn told(&self) -> String {
        let Ok(serde_json::Value::Object(named)) = serde_json::to_value(self) else { return String::new() };
        let mut told = String::new();
        for (name, given) in named {
            told.push_str(&name);
            for (key, value) in given.as_object().into_iter().flatten() {
                let value = match value {
                    serde_json::Value::Null => continue,
                    serde_json::Value::String(text) => text.clone(),
                    serde_json::Value::Array(values) => {
                        let name = |value: &serde_json::Value| value.as_str()?.split('=').next().map(str::to_owned);
                        values.iter().filter_map(name).collect::<Vec<_>>().join(",")
                    }
                    other => other.to_string(),
                };
                told.extend([" ", key, "=", &value]);
            }
        }
        told
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// How the node is.
    Status(Status),
    /// Sessions.
    Sessions {
        /// The node that was told of them.
        node: String,
        /// They.
        sessions: Vec<SessionLine>,
        /// Those beyond [`MOST_SESSIONS`].
        left_out: usize,
    },
    /// What each NAS answered.
    Ordered(Vec<Ordered>),
    /// It begins.
    Draining {
        /// The node that goes.
        node: String,
        /// Requests in progress.
        in_progress: usize,
        /// The longest it may take, in seconds.
        deadline: u64,
    },
    /// The nodes that are alive.
    Nodes(Vec<NodeLine>),
    /// The certificates of all nodes.
    Certificates(Vec<CertificateLine>),
    /// What pauses.
    Limits {
        /// The node that counts.
        node: String,
        /// The pauses.
        paused: Vec<PauseLine>,
        /// What else holds the user who was asked for.
        holds: Vec<HoldLine>,
        /// Those beyond [`MOST_PAUSES`].
        left_out: usize,
    },
    /// Pauses were ended.
    Lifted {
        /// The node that was told.
        node: String,
        /// How many pauses and counts of passwords were forgotten there.
        lifted: usize,
        /// What else held the user, and no longer does at any node.
        holds: Vec<HoldLine>,
        /// Other nodes hear of it.
        shared: bool,
    },
    /// The users whom operators locked.
    Locks {
        /// The node that was asked.
        node: String,
        /// The users.
        locked: Vec<LockLine>,
    },
    /// A user was locked or unlocked.
    Locked {
        /// The node that was told.
        node: String,
        /// The canonical name.
        user: String,
        /// `true` if the user is locked now.
        locked: bool,
        /// Number of attempts and challenges that were ended; `None`: the store cannot be reached, and other nodes do not know yet.
        ended: Option<usize>,
        /// Other nodes follow.
        shared: bool,
    },
    /// It was not done: why, and what to do.
    Error(String),
}

/// One locked user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockLine {
    /// The canonical name.
    pub user: String,
    /// Time of the order, in seconds since the Unix epoch.
    pub since: u64,
}

/// What holds a user beside pauses of passwords.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldLine {
    /// `wrong_codes` or `prompts`.
    pub limit: String,
    /// Wrong codes, or prompts that were not approved.
    pub count: u32,
    /// How much longer it lasts, in seconds; `None`: until it is lifted.
    pub seconds: Option<u64>,
}

/// One pause. Octets that are no text are shown as U+FFFD.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseLine {
    /// The key in `[limits]` that was met.
    pub limit: String,
    /// The user's canonical name, where it is about one.
    pub user: Option<String>,
    /// The `attempt_group` of the RADIUS client, where it is about one.
    pub group: Option<String>,
    /// Calling-Station-Id, where it is about one.
    pub calling_station: Option<String>,
    /// The address of the RADIUS client, where it is about one.
    pub source: Option<String>,
    /// How often the limited thing happened, as far as it is not forgotten.
    pub failures: u32,
    /// How much longer it lasts, in seconds.
    pub seconds: u64,
}

/// How a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its name.
    pub node: String,
    /// Its release.
    pub version: String,
    /// The configuration in force.
    pub config_version: String,
    /// Whether it should be sent new sign-ins.
    pub ready: bool,
    /// Each check: name, whether it is well, detail.
    pub checks: Vec<(String, bool, String)>,
    /// Requests in progress.
    pub in_progress: usize,
    /// Prompts that are out.
    pub pending: usize,
    /// Open sessions it knows of.
    pub sessions: usize,
}

/// One open session. Octets that are no text are shown as U+FFFD.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionLine {
    /// The user's canonical name.
    pub user: String,
    /// Acct-Session-Id.
    pub session: String,
    /// The RADIUS client.
    pub client: String,
    /// The address that its accounting comes from.
    pub nas: String,
    /// NAS-Identifier.
    pub nas_identifier: Option<String>,
    /// Calling-Station-Id.
    pub calling_station: Option<String>,
    /// Framed-IP-Address.
    pub framed_ip: Option<String>,
    /// When it began, in seconds since the Unix epoch.
    pub started: u64,
    /// When the NAS was last heard of it.
    pub last_seen: u64,
    /// Octets from the user.
    pub input_octets: u64,
    /// Octets to the user.
    pub output_octets: u64,
}

/// What became of one request to one NAS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordered {
    /// The session.
    pub session: SessionLine,
    /// Where the request went.
    pub sent_to: Option<String>,
    /// `ack`, `nak`, `no_answer` or `not_sent`.
    pub outcome: String,
    /// Error-Cause of a NAK.
    pub error_cause: Option<u32>,
    /// Why not, in words.
    pub detail: String,
    /// The reason's id, for anything but an ACK.
    pub reason: Option<String>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeLine {
    /// Its name.
    pub node: String,
    /// Where it takes sign-ins.
    pub address: String,
    /// Its release.
    pub version: String,
    /// `ready`, or the check that is not well.
    pub state: String,
    /// Requests in progress.
    pub in_progress: u64,
    /// Prompts that are out.
    pub pending: u64,
    /// When this life began, in seconds since the Unix epoch, by its own clock.
    pub started: u64,
    /// Its last sign of life, by the store's clock.
    pub seen: u64,
}

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateLine {
    /// The node that has its key.
    pub node: String,
    /// The second factor that it is for.
    pub factor: String,
    /// SHA-256 over it, in hexadecimal.
    pub thumbprint: String,
    /// `in use` or `standby`.
    pub state: String,
    /// From when it may be used, in seconds since the Unix epoch.
    pub not_before: u64,
    /// Until when.
    pub not_after: u64,
}
