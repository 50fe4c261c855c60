//! First factor `file`: passwords from a users file, checked by the gateway itself.
//!
//! Nobody learns from the time of an answer who exists: an unknown user costs the hash that most users cost, a disabled one
//! the user's own, and that an account is disabled is said to those only who know its password. A user whose password is not
//! hashed is answered at once; such passwords are for tests.

use super::hashing::HashingPool;
use super::watched::{Reload, Watched};
use super::{Answer, FirstFactor};
use gateway_core::factor::users::{Password, Users, same};
use gateway_core::factor::{FirstFactorAnswer, FirstFactorQuestion, Offer, Proved};
use gateway_core::identity::Rules;
use gateway_core::reason::Reason;
use gateway_core::secret::Secret;
use std::path::PathBuf;
use std::sync::Arc;

type Checked = Answer<FirstFactorAnswer>;

/// One configured users file.
pub struct FileFactor {
    name: Arc<str>,
    users: Watched<Users>,
    pool: Arc<HashingPool>,
}

impl FileFactor {
    /// Reads the users file. `allow_plain`: it may hold passwords that are not hashed.
    ///
    /// # Errors
    /// All faults of the file, each with path, line, user and remedy.
    pub fn load(
        name: Arc<str>,
        path: PathBuf,
        allow_plain: bool,
        rules: Rules,
        pool: Arc<HashingPool>,
    ) -> Result<Self, Vec<String>> {
        let users = Watched::load(path, move |text| Users::parse(text, allow_plain, &rules))?;
        Ok(Self { name, users, pool })
    }

    /// The configured name of this first factor.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn hash(&self, password: Secret, hash: &Arc<Secret>, wrong: Reason, right: FirstFactorAnswer) -> Checked {
        match self.pool.try_verify(password, hash.clone()) {
            Ok(verified) => Checked::Later(Box::pin(async move {
                match verified.await {
                    Ok(true) => right,
                    Ok(false) => refused(wrong),
                    Err(_) => FirstFactorAnswer::Unavailable(Reason::FirstFactorUnavailable),
                }
            })),
            Err(_) => Checked::Now(FirstFactorAnswer::Unavailable(Reason::PasswordQueueFull)),
        }
    }
}

impl FirstFactor for FileFactor {
    fn reload_if_changed(&self) -> Reload {
        self.users.reload_if_changed()
    }

    fn check(&self, question: FirstFactorQuestion) -> Checked {
        let Offer::Pap(password) = question.offer;
        if password.is_empty() {
            return Checked::Now(FirstFactorAnswer::Refused(Reason::EmptyPassword));
        }
        let users = self.users.current();
        let Some(user) = users.find(&question.user.canonical) else {
            return match users.nobody() {
                Some(hash) => self.hash(password, hash, Reason::UnknownUser, refused(Reason::UnknownUser)),
                None => {
                    // The work is the same as for a user; its result says nothing.
                    std::hint::black_box(same(&Secret::new(vec![0; 16]), &password));
                    Checked::Now(refused(Reason::UnknownUser))
                }
            };
        };
        let right = if user.disabled {
            refused(Reason::UserDisabled)
        } else {
            FirstFactorAnswer::Proved(Proved {
                groups: user.groups.to_vec(),
                upn: user.upn.as_deref().map(str::to_owned),
                data: user.data.clone(),
            })
        };
        match &user.password {
            Password::Hashed(hash) => self.hash(password, hash, Reason::WrongPassword, right),
            Password::Plain(plain) if same(plain, &password) => Checked::Now(right),
            Password::Plain(_) => Checked::Now(refused(Reason::WrongPassword)),
        }
    }
}

fn refused(reason: Reason) -> FirstFactorAnswer {
    FirstFactorAnswer::Refused(reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use tempfile::TempDir;

    // Of "password", from the test vectors of the reference implementation.
    const HASH: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

    struct Bench {
        dir: TempDir,
        factor: FileFactor,
        hashed: Arc<AtomicUsize>,
    }

    fn rules() -> Rules {
        Rules { default_realm: Some("corp.example".into()), ..Rules::default() }
    }

    /// Counts hashes; "password" is right for the hash above, as it is in truth.
    fn bench(text: &str) -> Bench {
        let hashed = Arc::new(AtomicUsize::new(0));
        let count = hashed.clone();
        let pool = HashingPool::with(
            1,
            8,
            Arc::new(move |password: &Secret, hash: &Secret| {
                count.fetch_add(1, Ordering::SeqCst);
                assert_ne!(password.expose(), b"panic", "planted");
                password.expose() == b"password" && hash.expose() == HASH.as_bytes()
            }),
        );
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.toml");
        fs::write(&path, text).unwrap();
        let factor = FileFactor::load("staff".into(), path, true, rules(), Arc::new(pool.unwrap())).unwrap();
        Bench { dir, factor, hashed }
    }

    fn question(user: &str, password: &str) -> FirstFactorQuestion {
        FirstFactorQuestion {
            factor: "staff".into(),
            user: Arc::new(rules().read(user.as_bytes()).unwrap()),
            offer: Offer::Pap(Secret::new(password.as_bytes().to_vec())),
            session: None,
        }
    }

    fn answer(checked: Checked) -> FirstFactorAnswer {
        match checked {
            Checked::Now(answer) => answer,
            Checked::Later(answer) => tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(answer),
        }
    }

    impl Bench {
        /// The answer, and how many hashes it cost.
        fn ask(&self, user: &str, password: &str) -> (FirstFactorAnswer, usize) {
            let before = self.hashed.load(Ordering::SeqCst);
            let answer = answer(self.factor.check(question(user, password)));
            (answer, self.hashed.load(Ordering::SeqCst) - before)
        }
    }

    fn proved(groups: &[&str], upn: Option<&str>) -> FirstFactorAnswer {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        FirstFactorAnswer::Proved(Proved { groups, upn: upn.map(str::to_owned), ..Proved::default() })
    }

    fn file() -> String {
        format!(
            "[[users]]\nname = \"alice\"\npassword = \"{HASH}\"\ngroups = [\"staff\"]\nupn = \"a@cloud.example\"\n\
             [[users]]\nname = \"dora\"\npassword = \"{HASH}\"\ndisabled = true\n\
             [[users]]\nname = \"test\"\npassword_plain = \"plain\"\n"
        )
    }

    #[test]
    fn answers_and_what_they_cost() {
        let bench = bench(&file());
        assert_eq!(bench.ask("Alice@CORP.example", "password"), (proved(&["staff"], Some("a@cloud.example")), 1));
        for (user, password, reason, cost) in [
            ("alice", "Password", Reason::WrongPassword, 1),
            ("mallory", "password", Reason::UnknownUser, 1),
            ("alice@other.example", "password", Reason::UnknownUser, 1),
            ("dora", "password", Reason::UserDisabled, 1),
            ("dora", "guess", Reason::WrongPassword, 1),
            ("test", "guess", Reason::WrongPassword, 0),
            ("alice", "", Reason::EmptyPassword, 0),
            ("mallory", "", Reason::EmptyPassword, 0),
        ] {
            assert_eq!(bench.ask(user, password), (refused(reason), cost), "{user} {password}");
        }
        assert_eq!(bench.ask("test", "plain"), (proved(&[], None), 0));
        assert_eq!(bench.factor.name().as_ref(), "staff");
    }

    #[test]
    fn where_nothing_is_hashed_unknown_users_cost_no_hash_either() {
        let bench = bench("[[users]]\nname = \"test\"\npassword_plain = \"plain\"\n");
        assert_eq!(bench.ask("mallory", "plain"), (refused(Reason::UnknownUser), 0));
        assert_eq!(bench.ask("mallory", &"\0".repeat(16)), (refused(Reason::UnknownUser), 0));
    }

    #[test]
    fn a_check_that_fails_proves_nothing() {
        let bench = bench(&file());
        let unknown = FirstFactorAnswer::Unavailable(Reason::FirstFactorUnavailable);
        assert_eq!(bench.ask("alice", "panic"), (unknown, 1));
        assert_eq!(bench.ask("alice", "password").0, proved(&["staff"], Some("a@cloud.example")));
    }

    #[test]
    fn a_full_queue_is_said_at_once() {
        let (release, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let wait = move |_: &Secret, _: &Secret| gate.lock().unwrap().recv().is_ok();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.toml");
        fs::write(&path, file()).unwrap();
        let pool = Arc::new(HashingPool::with(1, 1, Arc::new(wait)).unwrap());
        let factor = FileFactor::load("staff".into(), path, true, rules(), pool).unwrap();
        let ask = || factor.check(question("alice", "password"));
        // One at work at most and one in the queue: of three, one finds no room.
        let checks = [ask(), ask(), ask()];
        let full = FirstFactorAnswer::Unavailable(Reason::PasswordQueueFull);
        assert!(checks.iter().any(|checked| matches!(checked, Checked::Now(answer) if *answer == full)));
        release.send(()).unwrap();
        release.send(()).unwrap();
        assert!(checks.into_iter().map(answer).any(|answer| answer == proved(&["staff"], Some("a@cloud.example"))));
    }

    #[test]
    fn a_wrong_file_keeps_serving_the_old_users() {
        let bench = bench(&file());
        let path = bench.dir.path().join("users.toml");
        let replace = |text: &str| {
            let new = path.with_extension("new");
            fs::write(&new, text).unwrap();
            fs::rename(new, &path).unwrap();
        };
        replace("[[users]]\nname = \"alice\"\npasword = \"\"\n");
        let Reload::Faulty(faults) = bench.factor.reload_if_changed() else { panic!("the file is faulty") };
        assert!(faults[0].contains("users.toml: line 1, user \"alice\": unknown field"), "{faults:?}");
        assert_eq!(bench.ask("alice", "password").0, proved(&["staff"], Some("a@cloud.example")));
        replace(&file().replace("alice", "alina"));
        assert_eq!(bench.factor.reload_if_changed(), Reload::Reloaded);
        assert_eq!(bench.ask("alice", "password").0, refused(Reason::UnknownUser));
        assert_eq!(bench.ask("alina", "password").0, proved(&["staff"], Some("a@cloud.example")));
    }

    #[test]
    fn real_hashes_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.toml");
        fs::write(&path, file()).unwrap();
        let pool = Arc::new(HashingPool::new(1, 4).unwrap());
        let factor = FileFactor::load("staff".into(), path, true, rules(), pool).unwrap();
        let ask = |user, password| answer(factor.check(question(user, password)));
        assert_eq!(ask("alice", "password"), proved(&["staff"], Some("a@cloud.example")));
        assert_eq!(ask("alice", "Password"), refused(Reason::WrongPassword));
        assert_eq!(ask("mallory", "password"), refused(Reason::UnknownUser));
    }
}
