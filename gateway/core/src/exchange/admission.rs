//! Which packets may come in at all, before anything is allocated for them: the code, the Message-Authenticator (RFC 3579
//! §3.2, CVE-2024-3596), and which of a client's two secrets was used.

use crate::config::{Client, Require};
use crate::radius::{Code, Malformed, Packet, Proof, SharedSecret, attribute, reveal_password};
use crate::reason::Reason;

/// A packet that may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// What it wants.
    pub kind: Kind,
    /// Which of the client's secrets it was made with.
    pub secret: usize,
    /// Whether its Message-Authenticator shows that; otherwise the secret is a guess.
    pub proved: bool,
}

impl Admission {
    /// What becomes of a packet with a `fault` of its attributes: whatever is proved to come from the client is answered, because
    /// a NAS takes silence for a dead server (RFC 2865 §5). Status-Server asks for nothing that its attributes say.
    ///
    /// Returns the reason to refuse it, if there is one.
    ///
    /// # Errors
    ///
    /// The fault, of a packet that proves nothing: it is dropped.
    pub fn fault(self, fault: Option<Malformed>) -> Result<Option<Reason>, Malformed> {
        match (fault, self.kind) {
            (None, _) => Ok(None),
            (Some(fault), _) if !self.proved => Err(fault),
            (Some(_), Kind::Status) => Ok(None),
            (Some(fault), Kind::Access) => Ok(Some(refusal(fault))),
        }
    }
}

/// The reason of the Access-Reject that answers a packet with this fault.
const fn refusal(fault: Malformed) -> Reason {
    match fault {
        Malformed::EmptyUserName => Reason::MissingUserName,
        Malformed::UserPasswordLength { .. } => Reason::PasswordLength,
        Malformed::ChapPasswordLength { .. } | Malformed::ChapChallengeLength { .. } => Reason::ChapLength,
        Malformed::RepeatedUserName
        | Malformed::RepeatedUserPassword
        | Malformed::RepeatedChapPassword
        | Malformed::RepeatedState => Reason::RepeatedAttribute,
        Malformed::MixedCredentials => Reason::MixedCredentials,
        Malformed::EmptyState | Malformed::AttributeTooShort { .. } | Malformed::AttributeOverrun { .. } => {
            Reason::BrokenAttribute
        }
        // They leave nothing to prove a packet with, so that none of them comes this far.
        Malformed::Short { .. }
        | Malformed::LengthTooSmall { .. }
        | Malformed::LengthTooLarge { .. }
        | Malformed::Truncated { .. }
        | Malformed::RepeatedMessageAuthenticator
        | Malformed::MessageAuthenticatorLength { .. }
        | Malformed::UnprotectedEap
        | Malformed::UnprotectedStatusServer => Reason::Malformed,
    }
}

/// What a packet wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To sign somebody in.
    Access,
    /// To know whether we live (RFC 5997).
    Status,
}

/// What is remembered of the source of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// It has sent a right Message-Authenticator before, where the client's setting is `auto`.
    pub signs: bool,
    /// The secret that it last proved.
    pub secret: usize,
}

/// Lets `packet` in, or says why not.
///
/// # Errors
///
/// The reason to drop it: it is never answered.
pub fn admit(packet: &Packet<'_>, client: &Client, source: Source) -> Result<Admission, Reason> {
    let kind = match packet.code() {
        Code::ACCESS_REQUEST => Kind::Access,
        Code::STATUS_SERVER => Kind::Status,
        _ => return Err(Reason::UnexpectedCode),
    };
    if packet.has_message_authenticator() {
        // Every secret is tried, the newest first: a NAS that was not told yet still signs with the one before.
        let proved = client.secrets.iter().position(|secret| packet.message_authenticator(secret) == Proof::Valid);
        return match proved {
            Some(secret) => Ok(Admission { kind, secret, proved: true }),
            None => Err(Reason::BadMessageAuthenticator),
        };
    }
    let required = match client.require_message_authenticator {
        Require::Yes => true,
        Require::Auto => source.signs,
        Require::No => false,
    };
    // Status-Server and EAP without it are malformed whatever the setting (RFC 5997 §3, RFC 3579 §3.1): the parser refuses
    // them.
    if required {
        return Err(Reason::MissingMessageAuthenticator);
    }
    if client.limit_proxy_state && packet.first(attribute::PROXY_STATE).is_some() {
        return Err(Reason::ProxyStateUnprotected);
    }
    Ok(Admission { kind, secret: guess(packet, client, source), proved: false })
}

/// The secret under which the password is text; a wrong secret makes noise of it. Where that does not tell, the one that the
/// source last proved. There is one guess and one first-factor check, so that nobody gets two tries with one packet.
fn guess(packet: &Packet<'_>, client: &Client, source: Source) -> usize {
    let known = if source.secret < client.secrets.len() { source.secret } else { 0 };
    let Some(hidden) = packet.first(attribute::USER_PASSWORD).filter(|_| client.secrets.len() > 1) else {
        return known;
    };
    let readable = |secret: &SharedSecret| {
        let password = reveal_password(hidden, secret, packet.authenticator());
        std::str::from_utf8(password.expose()).is_ok_and(|text| !text.chars().any(char::is_control))
    };
    let mut text = client.secrets.iter().enumerate().filter(|(_, secret)| readable(secret)).map(|(at, _)| at);
    match (text.next(), text.next()) {
        (Some(only), None) => only,
        _ => known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::radius::{Attributes, encode_request, hide_password};
    use crate::secret::Secret;
    use std::sync::Arc;

    const AUTHENTICATOR: [u8; 16] = [7; 16];

    fn secret(text: &str) -> SharedSecret {
        SharedSecret::new(Secret::new(text.as_bytes().to_vec()))
    }

    fn client(require: Require, limit_proxy_state: bool) -> Client {
        Client {
            name: "vpn".into(),
            networks: vec![],
            secrets: vec![secret("the new secret"), secret("the old secret")],
            require_message_authenticator: require,
            limit_proxy_state,
            challenge: true,
            appended: None,
            answer_within: None,
            first_factor: Some(Arc::from("local")),
            attempt_group: "vpn".into(),
            accounting: true,
            max_sessions: None,
            dynamic_authorization: crate::config::DynamicAuthorization::default(),
        }
    }

    fn request(code: Code, by: &str, signed: bool, extra: &[(u8, &[u8])]) -> Vec<u8> {
        let mut attributes = Attributes::new();
        let hidden = hide_password("pässword".as_bytes(), &secret(by), &AUTHENTICATOR).unwrap();
        attributes.push(attribute::USER_PASSWORD, &hidden).unwrap();
        for (kind, value) in extra {
            attributes.push(*kind, value).unwrap();
        }
        encode_request(code, 1, AUTHENTICATOR, &attributes, &secret(by), signed).unwrap()
    }

    fn admitted(octets: &[u8], client: &Client, source: Source) -> Result<(usize, bool), Reason> {
        admit(&Packet::parse(octets).unwrap(), client, source).map(|admission| (admission.secret, admission.proved))
    }

    #[test]
    fn a_signed_packet_shows_its_secret() {
        let strict = client(Require::Yes, true);
        for (at, by) in [(0, "the new secret"), (1, "the old secret")] {
            let octets = request(Code::ACCESS_REQUEST, by, true, &[]);
            assert_eq!(admitted(&octets, &strict, Source::default()), Ok((at, true)));
        }
        let octets = request(Code::ACCESS_REQUEST, "another", true, &[]);
        assert_eq!(admitted(&octets, &strict, Source::default()), Err(Reason::BadMessageAuthenticator));
        let lax = client(Require::No, true);
        assert_eq!(admitted(&octets, &lax, Source::default()), Err(Reason::BadMessageAuthenticator), "wrong is wrong");
    }

    #[test]
    fn an_unsigned_packet_comes_in_only_where_the_client_may_send_one() {
        let octets = request(Code::ACCESS_REQUEST, "the new secret", false, &[]);
        let signs = Source { signs: true, secret: 0 };
        let missing = Err(Reason::MissingMessageAuthenticator);
        assert_eq!(admitted(&octets, &client(Require::Yes, true), Source::default()), missing);
        assert_eq!(admitted(&octets, &client(Require::Auto, true), Source::default()), Ok((0, false)));
        assert_eq!(admitted(&octets, &client(Require::Auto, true), signs), missing);
        assert_eq!(admitted(&octets, &client(Require::No, true), signs), Ok((0, false)));
    }

    #[test]
    fn proxy_state_needs_a_signature() {
        let lax = client(Require::No, true);
        let proxied = request(Code::ACCESS_REQUEST, "the new secret", false, &[(attribute::PROXY_STATE, b"x")]);
        assert_eq!(admitted(&proxied, &lax, Source::default()), Err(Reason::ProxyStateUnprotected));
        assert_eq!(admitted(&proxied, &client(Require::No, false), Source::default()), Ok((0, false)));
    }

    #[test]
    fn without_a_signature_the_readable_password_tells_the_secret() {
        let lax = client(Require::No, true);
        let old = request(Code::ACCESS_REQUEST, "the old secret", false, &[]);
        assert_eq!(admitted(&old, &lax, Source::default()), Ok((1, false)));
        let neither = request(Code::ACCESS_REQUEST, "another", false, &[]);
        assert_eq!(admitted(&neither, &lax, Source { signs: false, secret: 1 }), Ok((1, false)), "the last one proved");
        assert_eq!(
            admitted(&neither, &lax, Source { signs: false, secret: 9 }),
            Ok((0, false)),
            "one that was removed"
        );
    }

    #[test]
    fn fault_is_refused_where_proved() {
        let wrong = Malformed::UserPasswordLength { octets: 144 };
        let fault = Some(wrong);
        let admission = |kind, proved| Admission { kind, secret: 0, proved };
        assert_eq!(admission(Kind::Access, true).fault(None), Ok(None));
        assert_eq!(admission(Kind::Access, true).fault(fault), Ok(Some(Reason::PasswordLength)));
        assert_eq!(admission(Kind::Status, true).fault(fault), Ok(None));
        assert_eq!(admission(Kind::Access, false).fault(fault), Err(wrong));
    }

    #[test]
    fn other_codes_stay_out() {
        let octets = request(Code::COA_REQUEST, "the new secret", true, &[]);
        assert_eq!(admitted(&octets, &client(Require::Yes, true), Source::default()), Err(Reason::UnexpectedCode));
    }
}
