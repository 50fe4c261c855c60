//! What can be wrong with a cloud.

use std::time::Duration;

/// What is asked of the cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A token.
    Token,
    /// BeginTwoWayAuthentication.
    Begin,
    /// EndTwoWayAuthentication.
    End,
    /// GetAvailableAuthenticationMethods.
    Methods,
}

/// For how many requests a fault holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// So many.
    Next(u32),
    /// Until it is cleared.
    Always,
}

/// What is wrong. Where it says so, the request is acted on all the same: the phone rings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This status, and nothing was done.
    Status {
        /// The status.
        status: u16,
        /// The header Retry-After.
        retry_after: Option<Duration>,
        /// A page of HTML as body.
        html: bool,
    },
    /// The connection is cut, and nothing was done.
    CloseBeforeReading,
    /// The connection is cut after the request was acted on.
    CloseAfterReading,
    /// It is acted on and never answered, or so much later.
    Hang(Option<Duration>),
    /// Acted on, and answered octet by octet with this pause between.
    Slow(Duration),
    /// Acted on, and answered with so many octets.
    Oversized(u64),
    /// Acted on, and answered with a page of HTML and status 200.
    Html,
    /// Acted on, and answered with XML that ends in the middle.
    Malformed,
    /// Acted on, and answered with a document type.
    Dtd,
    /// Acted on, and answered under another root.
    WrongRoot,
    /// Acted on, and answered with elements in elements in elements.
    Nested,
    /// Acted on, and answered with two results of which one is true.
    Duplicates,
    /// Acted on, and answered with a redirection to another host.
    Redirect,
    /// Acted on, and answered with a value that nobody knows.
    UnknownValue,
    /// Acted on, and answered with `Success` beside this AuthenticationResult; `None`: the element is missing.
    SuccessWithout(Option<&'static str>),
    /// Acted on, and answered with `true` beside this value.
    TrueWithout(&'static str),
    /// Acted on, and the answer names another user.
    OtherUser,
    /// Acted on, and AffinityUrl names another host.
    HostileAffinity,
}

/// A fault that is to happen.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) operation: Operation,
    pub(crate) fault: Fault,
    pub(crate) times: Times,
}

/// The next fault for this operation.
pub(crate) fn next(plan: &mut Vec<Planned>, operation: Operation) -> Option<Fault> {
    let at = plan.iter().position(|planned| planned.operation == operation)?;
    let planned = &mut plan[at];
    let fault = planned.fault.clone();
    if let Times::Next(left) = &mut planned.times {
        *left -= 1;
        if *left == 0 {
            plan.remove(at);
        }
    }
    Some(fault)
}
