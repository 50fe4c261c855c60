//! What is counted.

use gateway_core::radius::Code;
use std::fmt;

/// A named limit of A2 to A5, or another case in which a sign-in does not end as it should, met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// A2: the records of a prompt that is out are gone, and so is its owner.
    ClaimLost,
    /// A4 (a): the owner died before the session was saved.
    OwnerDied,
    /// A4 (b): the answer died with whoever had asked for it.
    AnswerDied,
    /// A4 (c): a new packet after a success that its NAS did not hear of.
    RepeatAfterSuccess,
    /// An approval that no packet came for.
    Uncollected,
    /// An approval that came when the store was away or failed over, or its owner stood still.
    Trouble,
    /// A packet was decided anew by another node, as no verdict was committed, or as the store was away when it came there.
    DecidedAnew,
    /// The store was away.
    StoreOutage,
}

impl Limit {
    const ALL: [(Self, &'static str); 8] = [
        (Self::ClaimLost, "A2: claim and owner lost"),
        (Self::OwnerDied, "A4 (a): owner died before the session was saved"),
        (Self::AnswerDied, "A4 (b): answer died with its owner"),
        (Self::RepeatAfterSuccess, "A4 (c): new packet after a success"),
        (Self::Uncollected, "approvals that no packet came for"),
        (Self::Trouble, "approvals in a time of trouble of store or owner"),
        (Self::DecidedAnew, "packets decided anew: nothing committed, or the store away"),
        (Self::StoreOutage, "outages of the store"),
    ];
}

/// What happened in some runs.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Runs.
    pub runs: u64,
    /// Sign-ins that people began.
    pub sign_ins: u64,
    /// Sign-ins whose VPN server heard an accept.
    pub signed_in: u64,
    /// Packets that VPN servers made.
    pub packets: u64,
    /// Exchanges that ended.
    pub exchanges: u64,
    /// Accepts that were spoken.
    pub accepts: u64,
    /// Rejects that were spoken.
    pub rejects: u64,
    /// Challenges that were spoken.
    pub challenges: u64,
    /// Exchanges that ended in silence.
    pub silences: u64,
    /// Prompts that reached a phone.
    pub prompts: u64,
    /// Prompts that were approved.
    pub approvals: u64,
    /// Packets that waited for a prompt that was out.
    pub joins: u64,
    /// Prompts that another node took over.
    pub taken_over: u64,
    /// Packets that came again.
    pub duplicates: u64,
    /// Nodes that crashed.
    pub crashes: u64,
    /// Nodes that stood still.
    pub pauses: u64,
    /// Fail-overs of the store.
    pub fail_overs: u64,
    limits: [u64; 8],
}

impl Figures {
    pub(crate) fn count(&mut self, code: Code) {
        match code {
            Code::ACCESS_ACCEPT => self.accepts += 1,
            Code::ACCESS_CHALLENGE => self.challenges += 1,
            _ => self.rejects += 1,
        }
    }

    pub(crate) fn meet(&mut self, limit: Limit) {
        self.limits[limit as usize] += 1;
    }

    fn named(&self) -> [(&'static str, u64); 17] {
        [
            ("runs", self.runs),
            ("sign-ins", self.sign_ins),
            ("  signed in", self.signed_in),
            ("packets", self.packets),
            ("exchanges", self.exchanges),
            ("  accepts", self.accepts),
            ("  rejects", self.rejects),
            ("  challenges", self.challenges),
            ("  silences", self.silences),
            ("prompts", self.prompts),
            ("  approved", self.approvals),
            ("  joined", self.joins),
            ("  taken over", self.taken_over),
            ("duplicates", self.duplicates),
            ("crashes", self.crashes),
            ("pauses", self.pauses),
            ("fail-overs", self.fail_overs),
        ]
    }

    /// Adds what happened in other runs.
    pub fn add(&mut self, other: &Self) {
        let ours = [
            &mut self.runs,
            &mut self.sign_ins,
            &mut self.signed_in,
            &mut self.packets,
            &mut self.exchanges,
            &mut self.accepts,
            &mut self.rejects,
            &mut self.challenges,
            &mut self.silences,
            &mut self.prompts,
            &mut self.approvals,
            &mut self.joins,
            &mut self.taken_over,
            &mut self.duplicates,
            &mut self.crashes,
            &mut self.pauses,
            &mut self.fail_overs,
        ];
        for (ours, (_, theirs)) in ours.into_iter().zip(other.named()) {
            *ours += theirs;
        }
        for (ours, theirs) in self.limits.iter_mut().zip(other.limits) {
            *ours += theirs;
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in self.named() {
            writeln!(f, "{name:<16}{count:>12}")?;
        }
        writeln!(f, "limits met")?;
        for (limit, name) in Limit::ALL {
            writeln!(f, "{:>12}  {name}", self.limits[limit as usize])?;
        }
        Ok(())
    }
}
