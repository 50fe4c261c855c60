//! Rules that can be broken on purpose, one at a time, so that the simulation is shown to find it (`tests/simulation`). Only a build
//! with the feature `planted-faults` can break one: in any other [`is`] is `false` at compile time and nothing remains of it.
//! `gateway` does not compile with the feature.

/// Whether this build can break its rules. The shipped program refuses to be one that can.
pub const POSSIBLE: bool = cfg!(feature = "planted-faults");

/// A rule that can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// A1: a password that the first factor refused counts as proved.
    WrongPasswordIsRight = 1,
    /// A1: a code that the second factor found wrong counts as right.
    WrongCodeIsRight,
    /// A1: a prompt that the user denied counts as approved.
    DenialIsApproval,
    /// A2: a claim does not see that a prompt is out.
    ClaimIgnoresPrompt,
    /// A2: a node that takes a prompt over prompts again.
    TakeOverPromptsAgain,
    /// A2: a record that was forgotten is followed by one with the same epoch, so that a late write of its owner fits.
    EpochComesAgain,
    /// A3: what was answered or is in progress counts as new.
    DuplicateIsNew,
    /// A3: a packet that has its outcome and comes again is told another.
    OutcomeChanges,
    /// A3: an outcome is spoken before a replica of the store has it.
    OutcomeIsNotAcknowledged,
    /// A3: a reply to a packet that came while the store was away is not told to other nodes.
    ReplyIsNotTold,
    /// A4: an approval that no packet waited for is dropped.
    ApprovalIsDropped,
    /// A4: a prompt whose session was saved is refused when its owner dies.
    SessionIsIgnored,
    /// A5: a code that was used is not remembered.
    UsedCodeIsForgotten,
    /// A5: a State is not spent.
    StateServesTwice,
    /// A5: an approval is for every packet that asks.
    ApprovalForAll,
    /// A1: a code counts against the limits when it was found wrong, not when it is taken.
    GuessPaidLate,
    /// A2: who has denied a prompt is prompted again at once.
    PromptAfterDenial,
    /// A5: another session of the user takes over who waits for an approval.
    RideOnApproval,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::WrongPasswordIsRight,
        Self::WrongCodeIsRight,
        Self::DenialIsApproval,
        Self::ClaimIgnoresPrompt,
        Self::TakeOverPromptsAgain,
        Self::EpochComesAgain,
        Self::DuplicateIsNew,
        Self::OutcomeChanges,
        Self::OutcomeIsNotAcknowledged,
        Self::ReplyIsNotTold,
        Self::ApprovalIsDropped,
        Self::SessionIsIgnored,
        Self::UsedCodeIsForgotten,
        Self::StateServesTwice,
        Self::ApprovalForAll,
        Self::GuessPaidLate,
        Self::PromptAfterDenial,
        Self::RideOnApproval,
    ];

    /// The invariant that it breaks.
    pub const fn breaks(self) -> &'static str {
        match self {
            Self::WrongPasswordIsRight | Self::WrongCodeIsRight | Self::DenialIsApproval | Self::GuessPaidLate => "A1",
            Self::ClaimIgnoresPrompt | Self::TakeOverPromptsAgain | Self::PromptAfterDenial | Self::EpochComesAgain => {
                "A2"
            }
            Self::DuplicateIsNew | Self::OutcomeChanges | Self::OutcomeIsNotAcknowledged | Self::ReplyIsNotTold => "A3",
            Self::ApprovalIsDropped | Self::SessionIsIgnored => "A4",
            Self::UsedCodeIsForgotten | Self::StateServesTwice | Self::ApprovalForAll | Self::RideOnApproval => "A5",
        }
    }
}

#[cfg(feature = "planted-faults")]
mod chosen {
    use super::Fault;
    use std::sync::atomic::{AtomicU8, Ordering};

    static CHOSEN: AtomicU8 = AtomicU8::new(0);

    /// Breaks this rule from now on in the whole process, and no other.
    pub fn plant(fault: Option<Fault>) {
        CHOSEN.store(fault.map_or(0, |fault| fault as u8), Ordering::SeqCst);
    }

    pub(crate) fn is(fault: Fault) -> bool {
        CHOSEN.load(Ordering::Relaxed) == fault as u8
    }
}

#[cfg(feature = "planted-faults")]
pub(crate) use chosen::is;
#[cfg(feature = "planted-faults")]
pub use chosen::plant;

/// Whether this rule is broken: never.
#[cfg(not(feature = "planted-faults"))]
pub(crate) const fn is(_: Fault) -> bool {
    false
}
