//! The questions, in the shape that the NPS extension sends: elements in exactly this order, because a DataContract reader drops
//! what stands elsewhere (`datacontract_order`). The shape of AD FS has other elements; the two are never mixed.

use super::assumed;
use crate::attempt::record::AttemptId;
use crate::config::EntraMethod;
use crate::secret::Secret;
use quick_xml::escape::escape;
use std::fmt::Write;
use zeroize::Zeroizing;

/// Why a question cannot be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    /// A value is empty.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// A value holds a control character.
    #[error("{0} holds a control character")]
    Control(&'static str),
}

/// BeginTwoWayAuthentication.
#[derive(Clone, Copy, Debug)]
pub struct Begin<'a> {
    /// Who, as the cloud knows them.
    pub upn: &'a str,
    /// The language of calls.
    pub lcid: &'a str,
    /// The one method to use; `None`: the user's default.
    pub method: Option<EntraMethod>,
    /// A call to approve instead of a spoken code.
    pub override_voice: bool,
    /// A code, for users whose default is a push and who have one.
    pub override_number_matching: bool,
    /// The correlation id.
    pub context: AttemptId,
    /// The answer waits for the user.
    pub sync: bool,
    /// Users who have registered nothing are refused.
    pub require_user_match: bool,
    /// The caller's address, or what stands for it.
    pub caller_ip: &'a str,
}

impl Begin<'_> {
    /// The operation, which is part of the address.
    pub const OPERATION: &'static str = "BeginTwoWayAuthentication";

    /// The body of the request.
    ///
    /// # Errors
    /// A value that must not be sent.
    pub fn body(&self) -> Result<String, Unsendable> {
        let upn = sendable("UserPrincipalName", self.upn)?;
        let lcid = sendable("Lcid", self.lcid)?;
        let caller_ip = sendable("CallerIP", self.caller_ip)?;
        let Self { context, sync, require_user_match, .. } = self;
        let mut body = String::with_capacity(1024);
        let _ = write!(
            body,
            "<BeginTwoWayAuthenticationRequest><Version>1.0</Version><UserPrincipalName>{}</UserPrincipalName><Lcid>{}</Lcid>",
            escape(upn),
            escape(lcid)
        );
        if let Some(method) = self.method.filter(|_| assumed::METHOD_ID_WITH_RADIUS_CALLER) {
            let _ = write!(body, "<AuthenticationMethodId>{}</AuthenticationMethodId>", method.id());
        }
        body.push_str(
            "<AuthenticationMethodProperties xmlns:a=\"http://schemas.microsoft.com/2003/10/Serialization/Arrays\">",
        );
        for (key, value) in [
            ("OverrideVoiceOtp", self.override_voice),
            ("OverrideNumberMatchingWithOTP", self.override_number_matching),
        ] {
            let _ = write!(
                body,
                "<a:KeyValueOfstringstring><a:Key>{key}</a:Key><a:Value>{value}</a:Value></a:KeyValueOfstringstring>"
            );
        }
        let _ = write!(
            body,
            "</AuthenticationMethodProperties><ContextId>{context}</ContextId><SyncCall>{sync}</SyncCall>\
             <RequireUserMatch>{require_user_match}</RequireUserMatch><CallerName>radius</CallerName>\
             <CallerIP>{}</CallerIP></BeginTwoWayAuthenticationRequest>",
            escape(caller_ip)
        );
        Ok(body)
    }
}

/// EndTwoWayAuthentication.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// What Begin called the session.
    pub session: &'a str,
    /// The correlation id, as in Begin.
    pub context: AttemptId,
    /// The code; `None` asks what became of a push or a call.
    pub code: Option<&'a str>,
    /// Who, as in Begin.
    pub upn: &'a str,
}

impl End<'_> {
    /// The operation, which is part of the address.
    pub const OPERATION: &'static str = "EndTwoWayAuthentication";

    /// The body of the request. It may hold a code.
    ///
    /// # Errors
    /// A value that must not be sent.
    pub fn body(&self) -> Result<Secret, Unsendable> {
        let session = escape(sendable("SessionId", self.session)?);
        let upn = escape(sendable("UserPrincipalName", self.upn)?);
        let context = self.context;
        // With room for all of it: a text that grows leaves copies behind.
        let mut body = Zeroizing::new(String::with_capacity(512 + session.len() + upn.len()));
        let _ = write!(
            *body,
            "<EndTwoWayAuthenticationRequest><Version>1.0</Version><SessionId>{session}</SessionId>\
             <ContextId>{context}</ContextId>"
        );
        match self.code {
            Some(code) => {
                let code = sendable("AdditionalAuthData", code)?;
                let _ = write!(*body, "<AdditionalAuthData>{}</AdditionalAuthData>", escape(code));
            }
            None => body
                .push_str("<AdditionalAuthData xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\" i:nil=\"true\"/>"),
        }
        let _ = write!(*body, "<UserPrincipalName>{upn}</UserPrincipalName></EndTwoWayAuthenticationRequest>");
        Ok(Secret::new(std::mem::take(&mut *body).into_bytes()))
    }
}

/// What was typed as a code, if it is 2 to 8 digits; nothing else is sent to anybody.
pub fn code_digits(typed: &Secret) -> Option<&str> {
    let code = std::str::from_utf8(typed.expose()).ok()?.trim();
    ((2..=8).contains(&code.len()) && code.bytes().all(|octet| octet.is_ascii_digit())).then_some(code)
}

fn sendable<'a>(name: &'static str, value: &'a str) -> Result<&'a str, Unsendable> {
    if value.trim().is_empty() {
        return Err(Unsendable::Empty(name));
    }
    // The last two are no characters of XML either.
    if value.contains(|c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}')) {
        return Err(Unsendable::Control(name));
    }
    Ok(value)
}
