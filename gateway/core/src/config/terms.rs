//! What a factor, or a policy in its place, says of users whom a cloud asks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens to users whose default is a push and who could type a code instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum PushUsers {
    /// A code where the protocol carries one (PAP) and the RADIUS client can show the question (`challenge = true`);
    /// otherwise a push.
    #[default]
    Auto,
    /// A code, if the user has one. Where it cannot be asked for, the user is refused.
    PreferCode,
    /// A push with approve and deny. It shows no number to compare, so that a user can approve somebody else's sign-in.
    PreferPush,
}

/// What happens to users whom the provider knows and who have registered no second factor there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Unregistered {
    /// They are refused.
    #[default]
    Deny,
    /// The provider is told to let them pass (REQUIRE_USER_MATCH = FALSE of the NPS extension). Nobody can tell afterwards
    /// who passed without a second factor.
    AllowByFlag,
    /// The provider is asked as ever, and its answer that nothing is registered lets them pass, told and counted apart.
    AllowByCode,
}
