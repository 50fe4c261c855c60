//! A person's authenticator: the codes of one token, and its entry in a tokens file.

use gateway_core::factor::TokenId;
use gateway_core::factor::base32;
use gateway_core::factor::oath::{Algorithm, Kind, Token};
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Long ago: a token that was enrolled then may have been used by anybody since.
const ENROLLED: u64 = 1_700_000_000;

/// One token of one user, with six digits and SHA-1 as every app has them.
pub struct SoftToken {
    user: String,
    token: Token,
}

impl SoftToken {
    /// A time-based token with steps of 30 seconds.
    pub fn totp(user: &str) -> Self {
        Self::new(user, Kind::Totp { period: 30 }, ENROLLED)
    }

    /// A counter-based token.
    pub fn hotp(user: &str) -> Self {
        Self::new(user, Kind::Hotp { counter: 0 }, ENROLLED)
    }

    /// The same person's token, enrolled at another time.
    #[must_use]
    pub fn enrolled(self, seconds: u64) -> Self {
        Self::new(&self.user, self.token.kind, seconds)
    }

    fn new(user: &str, kind: Kind, enrolled: u64) -> Self {
        // A secret of its own for each user, and the same one in each run.
        let secret: Vec<u8> = user.bytes().cycle().zip(1_u8..=20).map(|(octet, place)| octet ^ place).collect();
        let token = Token {
            id: TokenId([0; 16]),
            kind,
            algorithm: Algorithm::Sha1,
            digits: 6,
            secret: Secret::new(secret),
            enrolled: Timestamp::from_secs(enrolled),
            label: String::new(),
        };
        Self { user: user.to_owned(), token }
    }

    /// The user.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The secret in base32, as a tokens file and `oathtool --base32` take it.
    pub fn secret(&self) -> String {
        base32::encode(self.token.secret.expose()).to_string()
    }

    /// The code of one counter or time step.
    pub fn code(&self, factor: u64) -> String {
        format!("{:06}", self.token.code(factor).expect("the secret is a good key"))
    }

    /// The time-based code of now.
    pub fn code_now(&self) -> String {
        self.code(now().as_secs() / 30)
    }

    /// A code that is none of this token's near `factor`.
    pub fn wrong_code(&self, factor: u64) -> String {
        let right: Vec<String> = (factor.saturating_sub(20)..factor + 40).map(|factor| self.code(factor)).collect();
        (0..).map(|number| format!("{number:06}")).find(|code| !right.contains(code)).expect("a million is enough")
    }

    /// The entry in a tokens file.
    pub fn entry(&self) -> String {
        let kind = match self.token.kind {
            Kind::Totp { .. } => "totp",
            Kind::Hotp { .. } => "hotp",
        };
        format!(
            "[[tokens]]\nuser = \"{}\"\nkind = \"{kind}\"\nsecret = \"{}\"\nenrolled = {}\n",
            self.user,
            self.secret(),
            self.token.enrolled.as_secs()
        )
    }
}

/// The time since the Unix epoch.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_rfc_4226() {
        let mut token = SoftToken::hotp("alice");
        token.token.secret = Secret::new(b"12345678901234567890".to_vec());
        assert_eq!([token.code(0), token.code(1), token.code(9)], ["755224", "287082", "520489"]);
        assert_eq!(token.secret(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert!((0..30).all(|factor| token.code(factor) != token.wrong_code(0)));
    }
}
