//! `Result/Value`: a closed list, with the class that metrics and messages follow and the reason that is told. What is not on it
//! is a refusal.

use crate::reason::Reason;

/// What kind of result it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Done, or accepted: with AuthenticationResult.
    Ok,
    /// The user has not answered yet: while polling.
    Pending,
    /// The user said no.
    Denied,
    /// The user said nothing.
    NoResponse,
    /// It did not reach the user.
    Delivery,
    /// The code was wrong.
    WrongCode,
    /// Too much in too short a time.
    Throttled,
    /// The user is blocked.
    Blocked,
    /// Another attempt is open.
    Busy,
    /// Nothing is registered.
    NotRegistered,
    /// What is registered cannot be used.
    UserSetup,
    /// The user is not known, or not looked at.
    Identity,
    /// The tenant is blocked.
    Tenant,
    /// The session is over.
    Expired,
    /// The question was wrong.
    OurDefect,
    /// The service has a fault.
    Service,
}

impl Class {
    /// One word for metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Pending => "pending",
            Self::Denied => "denied",
            Self::NoResponse => "no_response",
            Self::Delivery => "delivery",
            Self::WrongCode => "wrong_code",
            Self::Throttled => "throttled",
            Self::Blocked => "blocked",
            Self::Busy => "busy",
            Self::NotRegistered => "not_registered",
            Self::UserSetup => "user_setup",
            Self::Identity => "identity",
            Self::Tenant => "tenant",
            Self::Expired => "expired",
            Self::OurDefect => "our_defect",
            Self::Service => "service",
        }
    }
}

/// One value, its class, and what is told where it refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// As the service writes it.
    pub value: &'static str,
    /// Its class.
    pub class: Class,
    /// What is told of it where it refuses.
    pub reason: Reason,
}

macro_rules! results {
    ($($value:ident: $class:ident, $reason:ident;)*) => {
        /// Every value that is known.
        pub const ALL: &[Known] = &[
            $(Known { value: stringify!($value), class: Class::$class, reason: Reason::$reason },)*
        ];
    };
}

results! {
    Success: Ok, ResultContradicts;
    AuthenticationPending: Pending, ProviderNoResponse;
    SMSSent: Pending, ProviderNoResponse;
    PinEntered: Pending, ProviderNoResponse;
    PhoneAppDenied: Denied, PromptDenied;
    PhoneAppNoResponse: NoResponse, ProviderNoResponse;
    PhoneAppNotificationFailed: Delivery, PromptUndelivered;
    AuthenticationMethodFailed: Delivery, PromptUndelivered;
    OathCodeIncorrect: WrongCode, WrongCode;
    OathCodeDuplicate: WrongCode, CodeReplayed;
    SMSAuthFailedWrongCodeEntered: WrongCode, WrongCode;
    OathCodePinIncorrect: WrongCode, WrongCode;
    SMSAuthFailedWrongCodePinEntered: WrongCode, WrongCode;
    SMSAuthFailedMaxAllowedCodeRetryReached: Throttled, ProviderThrottled;
    UserVoiceAuthFailedCallWentToVoicemail: NoResponse, ProviderNoResponse;
    UserVoiceAuthFailedPhoneUnreachable: Delivery, PromptUndelivered;
    UserVoiceAuthFailedPhoneHungUp: Denied, PromptDenied;
    UserIsBlocked: Blocked, BlockedByProvider;
    PhoneAppAllDevicesBlocked: Blocked, BlockedByProvider;
    UserAuthFailedDuplicateRequest: Busy, ProviderBusy;
    AuthenticationThrottled: Throttled, ProviderThrottled;
    AuthenticationMethodLimitReached: Throttled, ProviderThrottled;
    AuthenticationMethodNotConfigured: NotRegistered, NotRegistered;
    NoDefaultAuthenticationMethodIsConfigured: NotRegistered, NotRegistered;
    ProofDataNotFound: NotRegistered, NotRegistered;
    AuthenticationMethodNotSupported: UserSetup, MethodUnusable;
    InvalidFormat: UserSetup, MethodUnusable;
    StrongAuthenticationServiceInvalidParameter: UserSetup, MethodUnusable;
    MFAPinNotSetup: UserSetup, MethodUnusable;
    UserNotFound: Identity, UserUnknownToProvider;
    AccessDenied: Identity, UserRefusedByProvider;
    BecAccessDenied: Identity, UserRefusedByProvider;
    TenantIsBlocked: Tenant, TenantBlocked;
    InvalidSession: Expired, SessionExpired;
    InvalidParameter: OurDefect, RequestRefused;
    VersionNotSupported: OurDefect, RequestRefused;
    InternalError: Service, ProviderFault;
}

/// What is known of `value`.
pub fn find(value: &str) -> Option<&'static Known> {
    ALL.iter().find(|known| known.value == value)
}

/// The class of `value`; what is unknown is a fault of the service.
pub fn class(value: &str) -> Class {
    find(value).map_or(Class::Service, |known| known.class)
}

/// What is told where `value` refuses.
pub fn reason(value: &str) -> Reason {
    find(value).map_or(Reason::ResultUnknown, |known| known.reason)
}
