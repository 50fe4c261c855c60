//! Why a request was dropped, refused or left unanswered: one closed catalogue (house rule 9). The id stands in logs and
//! audit records, the label in metrics, cause and remedy in `docs/errors.md`; all of them are generated from this table.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Whose fault it is, so that the person who reads it knows where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The NAS, its settings, or somebody who pretends to be one.
    Peer,
    /// The person who signs in, or their account.
    User,
    /// A directory, a cloud, the store.
    BackEnd,
    /// This node: its limits, its configuration, a fault in Orthrus.
    Node,
}

impl Fault {
    /// One word for logs and the reference.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::User => "user",
            Self::BackEnd => "back_end",
            Self::Node => "node",
        }
    }
}

macro_rules! reasons {
    ($($variant:ident = $id:literal, $label:literal, $fault:ident, $cause:literal, $remedy:literal;)*) => {
        /// One cause for anything but an accept.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $(#[doc = $cause] $variant,)*
        }

        impl Reason {
            /// Every reason, in the order of its id.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable id, `ORT-…`.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)* }
            }

            /// The metric label.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }

            /// Whose fault it is.
            pub const fn fault(self) -> Fault {
                match self { $(Self::$variant => Fault::$fault,)* }
            }

            /// What happened, in one sentence.
            pub const fn cause(self) -> &'static str {
                match self { $(Self::$variant => $cause,)* }
            }

            /// What to do about it.
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)* }
            }
        }
    };
}

reasons! {
    UnknownClient = "ORT-101", "unknown_client", Peer,
        "A packet came from an address that the `addresses` of no client cover.",
        "Add the address to the client's `addresses`, or find out who sends it. Behind a balancer, check that it keeps the source address.";
    Malformed = "ORT-102", "malformed", Peer,
        "A datagram is not a well-formed RADIUS packet.",
        "See the fault named in the log line; a NAS that sends it needs an update.";
    UnexpectedCode = "ORT-103", "unexpected_code", Peer,
        "A RADIUS packet has a code that this port does not serve.",
        "Point the NAS's accounting at the accounting port, and its authentication at this one.";
    MissingMessageAuthenticator = "ORT-104", "missing_message_authenticator", Peer,
        "An Access-Request has no Message-Authenticator although this client must send one (CVE-2024-3596).",
        "Update the NAS or switch it on there; if it cannot, set require_message_authenticator = \"no\" for this client alone.";
    BadMessageAuthenticator = "ORT-105", "bad_message_authenticator", Peer,
        "The Message-Authenticator of a packet is wrong under every secret of the client.",
        "Compare the shared secret on the NAS and in secret_file; if they agree, somebody forges or alters packets.";
    ProxyStateUnprotected = "ORT-106", "proxy_state_unprotected", Peer,
        "An Access-Request carries Proxy-State without Message-Authenticator, the shape of the attack of CVE-2024-3596.",
        "Switch Message-Authenticator on at the proxy; limit_proxy_state = false lets such packets in.";
    Overload = "ORT-107", "overload", Node,
        "More requests are in progress than limits.in_progress allows.",
        "Find the slow back end in the metrics; add nodes or raise the limit.";
    RateLimited = "ORT-108", "rate_limited", Peer,
        "A client sends more Status-Server requests than limits.status_server_rate allows.",
        "Lower the probe rate on the NAS or raise the limit.";
    Oversized = "ORT-109", "oversized", Peer,
        "A datagram is longer than the 4,096 octets of a RADIUS packet (RFC 2865 §3).",
        "Find out who sends it; no NAS should.";
    MissingUserName = "ORT-110", "missing_user_name", Peer,
        "An Access-Request names no user, or an empty one.",
        "Make the NAS send User-Name.";
    UnsupportedProtocol = "ORT-111", "unsupported_protocol", Peer,
        "An Access-Request has no password in a form that can be read: EAP, MS-CHAP of version 1, half a response, or nothing.",
        "Set the NAS to PAP, CHAP or MS-CHAPv2.";
    SupersededDuplicate = "ORT-112", "superseded", Peer,
        "The NAS used the identifier of this request for a new one before it was answered.",
        "Raise the time limit of the NAS for this server.";
    Draining = "ORT-113", "draining", Node,
        "This node is draining and leaves new sign-ins to others.",
        "Nothing; the NAS's next try reaches another node. If there is none, start this one again.";
    NodeExhausted = "ORT-117", "node_exhausted", Node,
        "The node had no descriptor, thread or memory left for what the sign-in needed. Nobody was asked and nothing was decided.",
        "Nothing for the user: the NAS asks again, or another server. Raise LimitNOFILE, TasksMax or MemoryMax of the unit, or \
         lower what the log says is needed.";
    PasswordLength = "ORT-120", "password_length", User,
        "User-Password has a length that RADIUS does not know: mostly the password is longer than 128 octets.",
        "Let the user set a password of at most 128 octets; if that is not it, update the NAS.";
    ChapLength = "ORT-121", "chap_length", Peer,
        "CHAP-Password has not 17 octets, or CHAP-Challenge has fewer than 5, so that the response would serve again.",
        "Update the NAS, or set it to PAP or MS-CHAPv2.";
    RepeatedAttribute = "ORT-122", "repeated_attribute", Peer,
        "User-Name, User-Password, CHAP-Password or State appears more than once in an Access-Request.",
        "Update the NAS, or the proxy that adds the attribute.";
    MixedCredentials = "ORT-123", "mixed_credentials", Peer,
        "An Access-Request offers two kinds of password, of PAP, CHAP, MS-CHAP, ARAP and EAP (RFC 2869 §5.19).",
        "Set the NAS to one protocol.";
    BrokenAttribute = "ORT-124", "broken_attribute", Peer,
        "An attribute of a signed Access-Request is shorter than its own header or longer than the packet, or State is empty.",
        "Update the NAS, or the proxy that writes the attribute.";
    SelfSignInElsewhere = "ORT-125", "self_sign_in_elsewhere", Peer,
        "A packet from outside names the user of [health.sign_in], or gives itself for the client (self). Only the node itself signs \
         that user in.",
        "Give people and devices accounts of their own; otherwise find out who has the user's password.";
    BadIdentity = "ORT-201", "bad_identity", User,
        "The user name is empty, too long, or holds control characters or characters that show nothing.",
        "Type the name as the directory knows it.";
    UnknownUser = "ORT-202", "unknown_user", User,
        "The first factor does not know the user.",
        "Check the spelling and the realm; `orthrus user list` shows who exists.";
    WrongPassword = "ORT-203", "wrong_password", User,
        "The password is wrong; where every user fails, the shared secret on the NAS is.",
        "Try again; or reset the password with `orthrus user passwd`.";
    EmptyPassword = "ORT-204", "empty_password", User,
        "The password is empty.",
        "Type the password; an empty one is never sent to a back end.";
    UserDisabled = "ORT-205", "user_disabled", User,
        "The account is disabled.",
        "Enable it in the directory, or leave it so.";
    FirstFactorUnavailable = "ORT-206", "first_factor_unavailable", BackEnd,
        "The first factor could not be asked.",
        "See the back end's own log line.";
    PasswordQueueFull = "ORT-207", "password_queue_full", Node,
        "More password checks wait than limits.password_queue allows.",
        "Somebody guesses passwords, or the node is too small: add cores or nodes.";
    UserLocked = "ORT-208", "user_locked", User,
        "The account is locked.",
        "Unlock it in the users file, or leave it so.";
    PasswordExpired = "ORT-209", "password_expired", User,
        "The password has expired.",
        "Set a new one: with MS-CHAPv2 the user can, if the first factor has change_passwords = true; otherwise \
         `orthrus user passwd`.";
    OutsideLogonHours = "ORT-210", "outside_logon_hours", User,
        "The user may not sign in at this hour.",
        "Change the user's logon_hours, or wait.";
    NoSecretForProtocol = "ORT-211", "no_secret_for_protocol", Node,
        "The first factor keeps no secret of this user that the packet's protocol can be checked with.",
        "CHAP needs password_plain; MS-CHAPv2 needs nt_hash (`orthrus user passwd --nt-hash`) or password_plain. Or set the \
         NAS to PAP.";
    PasswordNotChanged = "ORT-212", "password_not_changed", User,
        "The user wanted to change the password, and it cannot be changed so.",
        "Set change_passwords = true for the first factor; or set it with `orthrus user passwd`.";
    PasswordPaused = "ORT-213", "password_paused", User,
        "Too many passwords were wrong: of this user from this station, or as another limits.wrong_passwords… counts them. Until the \
         pause is over, passwords are refused without being looked at, a right one too.",
        "Wait; the log line `passwords pause` says what pauses and how long. `orthrus limits` shows it, `orthrus limits lift` ends it. \
         If it was not the user, somebody guesses.";
    PasswordsInParallel = "ORT-214", "passwords_in_parallel", User,
        "As many passwords are being looked at already as limits.wrong_passwords… lets be wrong; this one was not looked at.",
        "Nothing, if it happens now and then: the NAS sends the packet again. Otherwise somebody guesses.";
    LockedByOperator = "ORT-215", "locked_by_operator", User,
        "An operator has locked the user: passwords and codes are refused unseen, and what was open was ended.",
        "Nothing, or `orthrus unlock` at any node; `orthrus lock` without a user lists who is locked.";
    NoPolicy = "ORT-301", "no_policy", Node,
        "No policy matches this sign-in, and what no policy permits is refused.",
        "Add a [[policies]] entry; `orthrus simulate` shows which conditions fail.";
    DeniedByPolicy = "ORT-302", "denied_by_policy", Node,
        "The first policy that matches denies.",
        "Change the policy if this user should get in; its name is in the log line.";
    NoProof = "ORT-303", "no_proof", Node,
        "Too little was proved: the client has no first factor and the policy wants no second, or the challenge came by way of \
         a client without first factor.",
        "Give the client a first factor or the policy a second one; keep both kinds of client out of one attempt_group.";
    SessionLimit = "ORT-320", "session_limit", User,
        "The user has as many open sessions as max_sessions allows, by what accounting reports.",
        "The user ends a session. A session that is dead already ends with its Stop, or after accounting.session_timeout.";
    DatumMissing = "ORT-330", "datum_missing", Node,
        "A reply attribute of the policy is made from a datum that nobody knows of this user.",
        "The log line names attribute and datum: give the user or a group of the user that datum, or the template a default, \
         {user.vlan|100}.";
    DatumUnfit = "ORT-331", "datum_unfit", Node,
        "A reply attribute of the policy is made from a datum that is no value for it.",
        "The log line names the attribute and what it takes: correct the datum of the user or the group.";
    NotEnrolled = "ORT-401", "not_enrolled", User,
        "The policy requires a second factor and the user has none.",
        "Enrol the user with `orthrus user totp`.";
    ChallengeImpossible = "ORT-402", "challenge_impossible", Node,
        "The user must type a code and this client cannot show a challenge.",
        "Set challenge = true if the NAS can, or give the user a factor that needs no code.";
    WrongCode = "ORT-403", "wrong_code", User,
        "The code is wrong.",
        "Type the newest code; if it is always wrong, check the clocks of this node and of the token.";
    CodeReplayed = "ORT-404", "code_replayed", User,
        "The code was used before.",
        "Wait for the next code.";
    TriesSpent = "ORT-405", "tries_spent", User,
        "The last of attempts.tries codes was wrong.",
        "Sign in again.";
    TooManyWrongCodes = "ORT-406", "too_many_wrong_codes", User,
        "The user gave limits.wrong_codes wrong codes within limits.wrong_codes_window.",
        "Wait; if it was not the user, somebody knows the password: change it.";
    CodeMemoryLost = "ORT-407", "code_memory_lost", Node,
        "This node has lost the memory of used codes and cannot tell whether this one was used.",
        "A later time-based code works; enrol a counter-based token again. Keep state_dir on durable storage.";
    SecondFactorUnavailable = "ORT-408", "second_factor_unavailable", BackEnd,
        "The second factor could not be asked.",
        "See the provider's own log line.";
    RepeatAfterSuccess = "ORT-410", "repeat_after_success", Peer,
        "A new packet repeats a sign-in that succeeded within attempts.repeat_window.",
        "Nothing, if the user is in. If the accept was lost often, set attempts.after_success = \"answer\".";
    RepeatWhilePending = "ORT-411", "repeat_while_pending", Peer,
        "A new packet repeats a sign-in whose prompt is just being made, or whose code is just being checked.",
        "Nothing; the packet that is being worked on gets the answer.";
    PromptPending = "ORT-412", "prompt_pending", User,
        "Another sign-in of the same user has a prompt out, and one person is asked one thing at a time.",
        "Answer that prompt, or wait until it ends. If the user started only one sign-in, somebody else knows the password.";
    PromptUnanswered = "ORT-413", "prompt_unanswered", User,
        "The user did not answer the prompt before attempts.deadline.",
        "Sign in again and look at the phone.";
    ApprovalUncollected = "ORT-414", "approval_uncollected", Peer,
        "The user approved, and no packet was left to tell it to: the NAS had given up, and nobody came back before \
         attempts.deadline.",
        "Raise the time limit of the NAS to 60 s or more, or set answer_within a little below it.";
    PromptLost = "ORT-415", "prompt_lost", Node,
        "What drove the prompt has died, and its answer with it.",
        "Sign in again. Report it with the log lines of the same attempt: it is a fault in Orthrus.";
    PromptsFull = "ORT-416", "prompts_full", Node,
        "As many prompts are pending as limits.pending_prompts allows.",
        "Add nodes or raise the limit; somebody may be starting sign-ins without end.";
    NasPatienceOver = "ORT-417", "nas_patience_over", Peer,
        "The packet was not answered within answer_within: the user has not answered the prompt, and this client cannot show a \
         challenge. The prompt goes on, and a repeat of the sign-in gets its outcome.",
        "Raise the time limit of the NAS and answer_within to 60 s or more.";
    CollectUnproved = "ORT-418", "collect_unproved", Peer,
        "The State of a prompt came back without Message-Authenticator, and with a User-Password that is not text under the \
         shared secret.",
        "Compare the shared secret; if it agrees, somebody forges packets.";
    ProtocolWithoutCode = "ORT-419", "protocol_without_code", Node,
        "A code is wanted, and CHAP and MS-CHAPv2 cannot carry one.",
        "Register a push or a call for the user, or set the NAS to PAP.";
    PromptDenied = "ORT-420", "prompt_denied", User,
        "The user denied the push, or hung up the call.",
        "If it was not the user who started the sign-in, somebody else knows the password: change it.";
    ProviderNoResponse = "ORT-421", "provider_no_response", User,
        "The user did not answer the push or the call in the time that the provider gives.",
        "Sign in again and look at the phone.";
    PromptUndelivered = "ORT-422", "prompt_undelivered", User,
        "The push or the call did not reach the user's phone.",
        "Check the phone's network and the Authenticator app; register the phone anew if it stays so.";
    ProviderThrottled = "ORT-423", "provider_throttled", User,
        "The provider counts too many attempts of the user, or too many calls or messages.",
        "Wait some minutes; let the user register the Authenticator app, which is not limited that way.";
    BlockedByProvider = "ORT-424", "blocked_by_provider", User,
        "The user, or every phone of the user, is blocked for MFA in the tenant.",
        "An administrator of the tenant unblocks the user, once it is known why.";
    ProviderBusy = "ORT-425", "provider_busy", User,
        "The provider has another prompt of the same user open.",
        "Answer that prompt, or wait until it ends.";
    NotRegistered = "ORT-426", "not_registered", User,
        "The user has registered no second factor at the provider, or not the one that was asked for.",
        "The user registers one at the provider's security page; for a roll-out see `unregistered`.";
    MethodUnusable = "ORT-427", "method_unusable", User,
        "The second factor that the user has registered cannot be used: an unreadable phone number, a missing PIN, a method that is \
         not supported.",
        "The user, or an administrator, registers it anew.";
    UserUnknownToProvider = "ORT-428", "user_unknown_to_provider", User,
        "The tenant does not know the UPN; or the tenant is inactive, lacks the first-party applications, or is not the one of the \
         certificate.",
        "If it happens to one user, compare the UPN in the log line with the one in the tenant; if to all, check tenant_id and both \
         service principals.";
    UserRefusedByProvider = "ORT-429", "user_refused_by_provider", User,
        "The tenant refuses to look at the user: the domain of the UPN is not the tenant's, or the user is not synchronised.",
        "Compare the domain of the UPN with the tenant's; check the synchronisation of the user.";
    TokenRefused = "ORT-430", "token_refused", BackEnd,
        "The token endpoint refused to issue a token (ESTS_TOKEN_ERROR).",
        "See the AADSTS number and the advice in the log line.";
    ClientAppDisabled = "ORT-431", "client_app_disabled", BackEnd,
        "The service principal of the MFA client is disabled in the tenant (ESTS_TOKEN_ERROR, AADSTS7000112).",
        "Enable the service principal \"Azure Multi-Factor Auth Client\".";
    ResourceAppDisabled = "ORT-432", "resource_app_disabled", BackEnd,
        "The service principal of the MFA Connector is disabled in the tenant (ESTS_TOKEN_ERROR, AADSTS500014).",
        "Enable the service principal \"Azure Multi-Factor Auth Connector\" too.";
    ClientAppMissing = "ORT-433", "client_app_missing", BackEnd,
        "The tenant does not have the MFA client application (ESTS_TOKEN_ERROR, AADSTS700016 or 700011).",
        "Create its service principal; check tenant_id.";
    CertificateNotRegistered = "ORT-434", "certificate_not_registered", BackEnd,
        "The token endpoint does not take the signature: the certificate is unknown or expired there, or not the one of the key \
         (ESTS_TOKEN_ERROR, AADSTS700027).",
        "Register the certificate with the MFA client; compare thumbprints; check the clock.";
    AssertionOutOfTime = "ORT-435", "assertion_out_of_time", Node,
        "The token endpoint says that the assertion is not valid now (ESTS_TOKEN_ERROR, AADSTS700024).",
        "Set the clock of this node.";
    CertificateOutOfTime = "ORT-436", "certificate_out_of_time", BackEnd,
        "The certificate is revoked or outside its validity (ESTS_TOKEN_ERROR, AADSTS7000214 or 1000502).",
        "Renew the certificate and register the new one.";
    TenantUnknown = "ORT-437", "tenant_unknown", BackEnd,
        "The token endpoint does not know the tenant (ESTS_TOKEN_ERROR, AADSTS90002).",
        "Check tenant_id, and whether `cloud` is the tenant's.";
    NoUsableCertificate = "ORT-438", "no_usable_certificate", Node,
        "No configured certificate can be used: expired, unreadable, or not of its key (CLIENT_CERT_INSTALL_ERROR).",
        "See the log lines that name each file; renew the certificate and register the new one.";
    ProviderUnreachable = "ORT-439", "provider_unreachable", BackEnd,
        "No connection to the provider came about, so that nothing was asked (HTTP_CONNECT_ERROR).",
        "The log line names host and phase (DNS, TCP, proxy, TLS): look at the firewall, the proxy and its certificate.";
    ProviderRefusedToken = "ORT-440", "provider_refused_token", BackEnd,
        "The provider refused a fresh token; nobody was prompted.",
        "Check that both service principals are enabled and that resource_host belongs to the cloud.";
    ProviderOverloaded = "ORT-441", "provider_overloaded", BackEnd,
        "The provider asked for patience (status 429 or 503) for longer than there was time; nobody was prompted by this question.",
        "Sign in again later: nobody asks for this user before the time that Retry-After named. If it stays so, ask the provider.";
    OutcomeUnknown = "ORT-442", "outcome_unknown", BackEnd,
        "A question was sent to the provider and no usable answer came back (HTTPS_COMMUNICATION_ERROR). The user may have been \
         prompted, so that it is not asked again.",
        "Sign in again. The log line says what came: a cut, a time limit, a status, an answer that cannot be read.";
    BreakerOpen = "ORT-443", "breaker_open", BackEnd,
        "The provider failed breaker_failures times in a row and is left alone for breaker_pause.",
        "See the log lines before: they say why it failed.";
    UpnUnusable = "ORT-444", "upn_unusable", User,
        "The user's UPN is empty or holds characters that no UPN has (USERNAME_CANONICALIZATION_ERROR).",
        "Correct the UPN in the directory, or the rules of [identity].";
    AnswerForOtherUser = "ORT-445", "answer_for_other_user", BackEnd,
        "The provider's answer names another user than the question.",
        "With alternate login ids, set upn_echo = \"warn\"; otherwise report it.";
    ResultUnknown = "ORT-446", "result_unknown", BackEnd,
        "The provider gave a result that is not known, which counts as a refusal.",
        "The log line has it verbatim: report it.";
    ResultContradicts = "ORT-447", "result_contradicts", BackEnd,
        "The provider's answer contradicts itself: success without approval, or approval without success. It counts as a refusal.",
        "Report it with the log line.";
    TenantBlocked = "ORT-448", "tenant_blocked", BackEnd,
        "The tenant is blocked at the provider.",
        "An administrator of the tenant asks the provider.";
    SessionExpired = "ORT-449", "session_expired", User,
        "The provider does not know the session any more: more than 3 minutes passed, or the code was wrong before.",
        "Sign in again and answer within 3 minutes.";
    RequestRefused = "ORT-450", "request_refused", BackEnd,
        "The provider refused the question itself (InvalidParameter, VersionNotSupported).",
        "If it happens to one user, look at the registered methods; otherwise report it with the log line.";
    ProviderFault = "ORT-451", "provider_fault", BackEnd,
        "The provider has a fault of its own: InternalError, or a token endpoint that answers with a status from 500 on.",
        "Sign in again later. If it stays so, see the provider's service health.";
    CodeMalformed = "ORT-452", "code_malformed", User,
        "What was typed is no code of 2 to 8 digits; the provider was not asked (REQUEST_MISSING_CODE).",
        "Sign in again and type the digits alone.";
    CodeSent = "ORT-453", "code_sent", User,
        "The user asked for a code in a text message, which the NAS cannot ask for: the sign-in ends here, and the next one \
         brings the code.",
        "Nothing is wrong, if the user signs in again with the code. A NAS that shows questions needs no appended_code.";
    TokenEndpointForeign = "ORT-454", "token_endpoint_foreign", BackEnd,
        "What answers at the address of the token endpoint does not speak as one: a redirect, a page of HTML, an answer without `error`, \
         or status 200 without a token.",
        "The log line has its status and beginning: check sts or cloud, the proxy and its sign-in page, and name resolution.";
    PromptReported = "ORT-460", "prompt_reported", User,
        "The user reported the sign-in as fraud. Nobody is prompted for this user until an operator lifts that.",
        "Somebody else knows the password: change it, then lift the hold.";
    PromptWithheld = "ORT-461", "prompt_withheld", User,
        "The user did not approve the last prompts, and nobody is prompted for a while (attempts.prompt_pauses).",
        "Wait until the time in the log line, or type a code. If the user did not start these sign-ins, somebody else knows \
         the password: change it.";
    StateForged = "ORT-501", "state_forged", Peer,
        "The State of a packet was not made by this cluster.",
        "If NASes send it after a restart, give every node the same cluster.key_file.";
    StateUnknown = "ORT-502", "state_unknown", User,
        "The State belongs to no challenge any more: it came too late, or the node that knew it restarted.",
        "Sign in again; raise attempts.challenge_lifetime if people need longer.";
    StateSpent = "ORT-503", "state_spent", Peer,
        "The State was used before.",
        "A NAS that repeats it under a new identifier hides its retransmissions; otherwise somebody replays packets.";
    StateOtherUser = "ORT-504", "state_other_user", Peer,
        "The State was issued for another user.",
        "Find out why the NAS mixes sessions; if it does not, this is an attack.";
    StateOtherClient = "ORT-505", "state_other_client", Peer,
        "The State was issued to another RADIUS client.",
        "Give NASes that share sessions the same attempt_group; otherwise this is an attack.";
    StateOtherStation = "ORT-506", "state_other_station", Peer,
        "The State was issued for another Calling-Station-Id.",
        "The user changed networks between password and code, or this is an attack: sign in again.";
    StateChecking = "ORT-507", "state_checking", Peer,
        "Another packet with the same State is being checked right now.",
        "Nothing; that packet gets the answer.";
    ChallengeUnanswered = "ORT-508", "challenge_unanswered", User,
        "Nobody answered the challenge before it ended.",
        "Nothing; the user gave up, or the NAS does not show challenges (then set challenge = false).";
    OwnerDied = "ORT-509", "owner_died", Node,
        "The node that was to prompt the user died before it could say whether the prompt went out, so that nobody can go on \
         with it (window (a)).",
        "Sign in again. See why the node died.";
    AnswerDiedWithOwner = "ORT-510", "answer_died_with_owner", Node,
        "The node that polled the provider died after the provider had given the answer and before it was in the store \
         (window (b)).",
        "Sign in again. See why the node died.";
    CodeWhileStoreLost = "ORT-511", "code_while_store_lost", BackEnd,
        "The store of the cluster cannot be reached, so that nobody can tell whether a code was used on another node.",
        "Bring the store back; push and call go on meanwhile.";
    StoreOtherVersion = "ORT-512", "store_other_version", Node,
        "A record in the store was written by a release that this node does not know; it is left as it is.",
        "Run the newer release on every node.";
    StoreTampered = "ORT-513", "store_tampered", BackEnd,
        "A record in the store does not open under the cluster's keys, or is not what it says: nothing was answered.",
        "Give every node the same cluster.key_file. If they have it, somebody else writes into the store: see whose ACL lets them.";
    StoreSettling = "ORT-514", "store_settling", BackEnd,
        "The store has just failed over, and nobody is prompted for 2 s, until the nodes have said again what they hold.",
        "Nothing; the NAS's next packet tries again.";
    ChallengeBurnt = "ORT-515", "challenge_burnt", User,
        "The user began more sign-ins than limits.attempts_per_user allows, and the oldest, which this one is, gave way.",
        "Sign in again. If the user did not start them, somebody else knows the password: change it.";
    PeerUnreachable = "ORT-530", "peer_unreachable", Node,
        "The packet goes on at another node, and the connection to it is not there, or broke before it answered; nothing was \
         answered.",
        "See orthrus_peer_up and the log lines on the peer; the NAS's next packet tries again.";
    PeerLate = "ORT-531", "peer_late", Node,
        "The packet was sent to the node that can go on with it, which did not answer in time.",
        "See what that node waits for; the NAS's next packet tries again.";
    PeerBusy = "ORT-532", "peer_busy", Node,
        "As many packets as cluster.peers.in_flight allows are on their way to or from that node, or it takes no new ones.",
        "Find out why that node is slow, or raise the limit.";
    PeerRefused = "ORT-533", "peer_refused", Node,
        "The node that can go on with the packet did not take it: it does not know the RADIUS client, or another secret of it.",
        "Give all nodes the same [[clients]]; that node's own log line says what is wrong.";
    SelfSignInSecondFactor = "ORT-534", "self_sign_in_second_factor", Node,
        "The policy that fits the user of [health.sign_in] asks for a second factor. Nobody was asked.",
        "Put a policy with clients = [\"(self)\"], users = [that name] and second_factor = \"off\" before the others.";
    SelfSignInFailed = "ORT-535", "self_sign_in_failed", Node,
        "The user of [health.sign_in] could not be signed in.",
        "See the sign-in's own log line just before: it says which step failed.";
    PeerUntrusted = "ORT-540", "peer_untrusted", Peer,
        "Somebody spoke to cluster.peers.listen without a certificate of cluster.peers.ca_file, or did not accept ours.",
        "If it is a node, give it a certificate of that authority, and both the same ca_file. Otherwise find out who it is, and \
         firewall the port.";
    PeerOtherName = "ORT-541", "peer_other_name", Peer,
        "The certificate of a peer does not carry the name that the peer gives, or the name that was called.",
        "Give the node a certificate with its cluster.node_id as a DNS name. If it has one, somebody uses another's certificate.";
    PeerNoMember = "ORT-542", "peer_no_member", Peer,
        "A peer with a good certificate is no node that the shared store knows alive.",
        "Give it the same store and cluster.key_file as the others. If it is no node, withdraw its certificate.";
    PeerGarbage = "ORT-543", "peer_garbage", Peer,
        "What came from a peer is no message, or longer than one may be.",
        "If it is a node, report it. Otherwise find out who it is, and firewall the port.";
    PeerOtherVersion = "ORT-544", "peer_other_version", Node,
        "A peer speaks no version of the protocol between nodes that this release speaks.",
        "Bring the two nodes to releases that follow each other.";
    PeerSilent = "ORT-545", "peer_silent", Peer,
        "A connection did not say who it is within cluster.peers.timeout, or nothing was heard on it for three times as long.",
        "If it is a node, look at the network to it and at its load. Otherwise find out who it is, and firewall the port.";
    PeerTooMany = "ORT-546", "peer_too_many", Peer,
        "As many connections as cluster.peers.connections allows had not said who they are; the oldest of the address with the most \
         was closed for a new one.",
        "Find out who opens them, and firewall the port.";
    StoreUnavailable = "ORT-601", "store_unavailable", BackEnd,
        "The store did not take a record, so nothing was answered.",
        "See the store's own log line; with the memory store, look at the disk of state_dir.";
    StoreFull = "ORT-602", "store_full", Node,
        "The memory store holds limits.attempts records.",
        "Somebody starts sign-ins without end, or the limit is too low.";
    ClaimTooOld = "ORT-603", "claim_too_old", Node,
        "More than a second passed between claiming the attempt and prompting.",
        "The node or its store is overloaded; the NAS's next packet tries again.";
    Superseded = "ORT-604", "attempt_superseded", Node,
        "A newer packet or another node took the attempt over.",
        "Nothing; that one answers.";
    DeadlinePassed = "ORT-605", "deadline_passed", BackEnd,
        "The request was not decided in time.",
        "Find the slow back end in the metrics.";
    Unexpected = "ORT-606", "unexpected", Node,
        "An answer came that the state of the request does not allow; nothing was accepted.",
        "Report it with the log line: it is a fault in Orthrus.";
    ReplyTooLong = "ORT-607", "reply_too_long", Node,
        "The reply would be longer than the 4,096 octets of a packet, or its attributes would leave no room for what the protocol adds.",
        "Shorten the reply attributes of the policy named in the log line, or the data that they are made from.";
    NotAccounting = "ORT-701", "not_accounting", Peer,
        "A packet on the accounting port is no Accounting-Request.",
        "Point the NAS's authentication at the authentication port, and its accounting at this one.";
    AccountingOff = "ORT-702", "accounting_off", Peer,
        "This client has accounting = false, and sent an Accounting-Request.",
        "Switch accounting off on the NAS, or remove accounting = false.";
    BadAccountingAuthenticator = "ORT-703", "bad_accounting_authenticator", Peer,
        "The Request Authenticator of an Accounting-Request is wrong under every secret of the client (RFC 2866 §3).",
        "Compare the shared secret for accounting on the NAS and in secret_file; if they agree, somebody forges records.";
    NoStatusType = "ORT-704", "no_status_type", Peer,
        "An Accounting-Request has no Acct-Status-Type, so that it does not say what happened (RFC 2866 §5.1).",
        "Update the NAS.";
    NoSessionId = "ORT-705", "no_session_id", Peer,
        "An Accounting-Request has no Acct-Session-Id, so that it does not say of which session it is (RFC 2866 §5.5).",
        "Update the NAS.";
    AccountingQueueFull = "ORT-706", "accounting_queue_full", Node,
        "limits.accounting_queue records wait to be written; the NAS sends this one again.",
        "Find out why the disk is slow, or raise the limit.";
    AccountingNotWritten = "ORT-707", "accounting_not_written", Node,
        "A record could not be made durable, so that it was not answered; the NAS sends it again.",
        "See the log line of the sink: the disk is full or failing, or the spool is.";
    DynamicAuthorizationUnanswered = "ORT-730", "dynamic_authorization_unanswered", Peer,
        "The NAS did not answer a Disconnect- or CoA-Request (RFC 5176).",
        "Let the NAS take them from this node's address, compare port and secret, and look at firewalls between.";
    DynamicAuthorizationRefused = "ORT-731", "dynamic_authorization_refused", Peer,
        "The NAS answered a Disconnect- or CoA-Request with a NAK.",
        "The Error-Cause says why: often the session has ended, or the NAS does not know an attribute of send_attributes.";
    DynamicAuthorizationForged = "ORT-732", "dynamic_authorization_forged", Peer,
        "What came back for a Disconnect- or CoA-Request has a wrong authenticator, and nothing else came.",
        "Compare the secret for dynamic authorization on both sides; if they agree, somebody forges answers.";
    DynamicAuthorizationNotSent = "ORT-733", "dynamic_authorization_not_sent", Node,
        "A Disconnect- or CoA-Request could not be made or sent.",
        "The detail says why.";
}

impl Reason {
    /// Returns whether it says nothing of who signs in, only that this node could not see to it just now. Then nobody is refused: the NAS asks
    /// again, or another node.
    pub const fn is_lack(self) -> bool {
        matches!(self, Self::NodeExhausted | Self::PasswordQueueFull)
    }
}

/// Records and audit lines carry the id: the list may grow in the middle, ids never move.
impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = <&str>::deserialize(deserializer)?;
        Self::ALL.iter().copied().find(|reason| reason.id() == id).ok_or_else(|| D::Error::custom("unknown reason id"))
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {} {}", self.id(), self.label(), self.cause(), self.remedy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_and_labels_are_unique_and_in_order() {
        let ids: Vec<_> = Reason::ALL.iter().map(|reason| reason.id()).collect();
        let sorted: BTreeSet<_> = ids.iter().copied().collect();
        assert_eq!(ids, sorted.iter().copied().collect::<Vec<_>>());
        let labels: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.label()).collect();
        assert_eq!(labels.len(), ids.len());
        for label in labels {
            assert!(label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{label}");
        }
    }
}
