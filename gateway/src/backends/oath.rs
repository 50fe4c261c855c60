//! Second factor `oath`: codes of local TOTP and HOTP tokens from a tokens file. The arithmetic, and what counts as used, is
//! in [`gateway_core::factor::oath`].

use super::watched::{Reload, Watched};
use super::{Answer, SecondFactor};
use gateway_core::factor::oath::{LARGEST_LOOK_AHEAD, LARGEST_WINDOW, check};
use gateway_core::factor::tokens::Tokens;
use gateway_core::factor::{
    BeginAnswer, BeginQuestion, CodeAnswer, CodeQuestion, CodeWanted, Enrolment, PollAnswer, PollQuestion,
};
use gateway_core::identity::{Identity, Rules};
use gateway_core::reason::Reason;
use gateway_core::time::Timestamp;
use std::path::PathBuf;
use std::str;
use std::sync::Arc;

/// One configured tokens file.
pub struct OathFactor {
    name: Arc<str>,
    tokens: Watched<Tokens>,
    window: u32,
    look_ahead: u32,
}

impl OathFactor {
    /// Reads the tokens file. `window`: time steps that a clock may be off, either way; `look_ahead`: unused codes that a
    /// HOTP token may be ahead.
    ///
    /// # Errors
    /// All faults, each with path, line, user and remedy.
    pub fn load(
        name: Arc<str>,
        path: PathBuf,
        rules: Rules,
        window: u32,
        look_ahead: u32,
    ) -> Result<Self, Vec<String>> {
        if window > LARGEST_WINDOW || look_ahead > LARGEST_LOOK_AHEAD {
            return Err(vec![format!(
                "second factor {name:?}: window may be {LARGEST_WINDOW} at most and look_ahead {LARGEST_LOOK_AHEAD}: \
                 every code more is one that a guess may hit"
            )]);
        }
        let tokens = Watched::load(path, move |text| Tokens::parse(text, &rules))?;
        Ok(Self { name, tokens, window, look_ahead })
    }

    /// The configured name of this second factor.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }
}

impl OathFactor {
    fn has_token(&self, user: &Identity) -> bool {
        !self.tokens.current().of(&user.canonical).is_empty()
    }
}

impl SecondFactor for OathFactor {
    fn reload_if_changed(&self) -> Reload {
        self.tokens.reload_if_changed()
    }

    fn enrolment(&self, user: &Identity) -> Answer<Enrolment> {
        Answer::Now(if self.has_token(user) { Enrolment::Enrolled } else { Enrolment::NotEnrolled })
    }

    /// Nothing happens but that a code is wanted.
    fn begin(&self, question: &BeginQuestion) -> Answer<BeginAnswer> {
        // The tokens may have gone since the question of enrolment.
        Answer::Now(if self.has_token(&question.user) {
            BeginAnswer::CodeWanted(CodeWanted::default())
        } else {
            BeginAnswer::Denied(Reason::NotEnrolled)
        })
    }

    /// A token prompts nobody, so there is nothing to wait for.
    fn poll(&self, _question: &PollQuestion) -> Answer<PollAnswer> {
        Answer::Now(PollAnswer::Denied(Reason::Unexpected))
    }

    /// Checks a code against all tokens of the user of that canonical name. `Right` counts only once its use is recorded.
    fn check_code(&self, question: &CodeQuestion, now: Timestamp) -> Answer<CodeAnswer> {
        let CodeQuestion { user, code, used, .. } = question;
        let tokens = self.tokens.current();
        let tokens = tokens.of(&user.canonical);
        if tokens.is_empty() {
            // They were removed while the prompt was pending.
            return Answer::Now(CodeAnswer::Wrong(Reason::NotEnrolled));
        }
        Answer::Now(match str::from_utf8(code.expose()) {
            Ok(code) => check(tokens, code, used, self.window, self.look_ahead, now),
            Err(_) => CodeAnswer::Wrong(Reason::WrongCode),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_core::attempt::record::AttemptId;
    use gateway_core::factor::{Terms, UsedCodes};
    use gateway_core::secret::Secret;
    use std::fs;

    const FILE: &str = "[[tokens]]\nuser = \"alice\"\nkind = \"totp\"\nsecret = \"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\"\n\
                        digits = 8\nenrolled = 0\n";

    fn secret(code: &str) -> Secret {
        Secret::new(code.as_bytes().to_vec())
    }

    fn now<T>(answer: Answer<T>) -> T {
        match answer {
            Answer::Now(answer) => answer,
            Answer::Later(_) => panic!("tokens in memory are judged at once"),
        }
    }

    fn identity(name: &str) -> Identity {
        Rules::default().read(name.as_bytes()).unwrap()
    }

    fn beginning(name: &str) -> BeginQuestion {
        let (user, terms) = (Arc::new(identity(name)), Terms::default());
        BeginQuestion { factor: "codes".into(), user, id: AttemptId([1; 16]), terms, deadline: Timestamp::default() }
    }

    fn answer(name: &str, code: &Secret, used: &UsedCodes) -> CodeQuestion {
        let (user, code, used) = (Arc::new(identity(name)), Secret::new(code.expose().to_vec()), used.clone());
        CodeQuestion { factor: "codes".into(), user, id: AttemptId([1; 16]), session: vec![], code, used }
    }

    #[test]
    fn a_prompt_from_begin_to_code() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.toml");
        fs::write(&path, FILE).unwrap();
        let factor = OathFactor::load("codes".into(), path.clone(), Rules::default(), 1, 10).unwrap();
        assert_eq!(
            (now(factor.enrolment(&identity("alice"))), now(factor.enrolment(&identity("bob")))),
            (Enrolment::Enrolled, Enrolment::NotEnrolled)
        );
        assert_eq!(now(factor.begin(&beginning("alice"))), BeginAnswer::CodeWanted(CodeWanted::default()));
        assert_eq!(now(factor.begin(&beginning("bob"))), BeginAnswer::Denied(Reason::NotEnrolled));
        // RFC 6238 appendix B.
        let minute = Timestamp::from_secs(59);
        let check = |user, code: &Secret, used: &UsedCodes| now(factor.check_code(&answer(user, code, used), minute));
        let CodeAnswer::Right(Some(use_)) = check("alice", &secret("9428 7082"), &UsedCodes::default()) else {
            panic!("the code is right")
        };
        let used = UsedCodes { next: vec![(use_.token, use_.factor + 1)], ..UsedCodes::default() };
        assert_eq!(check("alice", &secret("94287082"), &used), CodeAnswer::Wrong(Reason::CodeReplayed));
        for wrong in [secret("94287083"), secret(""), Secret::new(vec![0xff; 8])] {
            assert_eq!(check("alice", &wrong, &UsedCodes::default()), CodeAnswer::Wrong(Reason::WrongCode));
        }
        assert_eq!(check("bob", &secret("94287082"), &UsedCodes::default()), CodeAnswer::Wrong(Reason::NotEnrolled));

        fs::rename(&path, dir.path().join("old")).unwrap();
        assert!(matches!(factor.reload_if_changed(), Reload::Faulty(_)));
        assert_eq!(now(factor.enrolment(&identity("alice"))), Enrolment::Enrolled);
        fs::write(&path, FILE.replace("alice", "bob")).unwrap();
        assert_eq!(factor.reload_if_changed(), Reload::Reloaded);
        assert_eq!(
            (now(factor.enrolment(&identity("alice"))), now(factor.enrolment(&identity("bob")))),
            (Enrolment::NotEnrolled, Enrolment::Enrolled)
        );
        assert_eq!(factor.name().as_ref(), "codes");
    }

    #[test]
    fn faults_are_reported_at_the_start() {
        let load = |window, look_ahead| {
            OathFactor::load("codes".into(), "/nonexistent".into(), Rules::default(), window, look_ahead).err().unwrap()
        };
        assert!(load(11, 10)[0].contains("window may be 10"));
        assert!(load(1, 101)[0].contains("look_ahead 100"));
        assert!(load(1, 10)[0].contains("/nonexistent: the file cannot be read"));
    }
}
