//! First factor `file`: passwords from a users file, checked by the gateway itself.
//!
//! Nobody learns from the time of an answer who exists: every answer costs the dearest hash of the file, after the user's own where
//! that is cheaper; an unknown user takes the time of some user. That an account is disabled is said to those only who know its
//! password. Only where no password of the file is hashed is everybody answered at once; such files are for tests.

use super::hashing::{HashingPool, QueueFull};
use super::watched::{Reload, Watched};
use super::{Answer, FirstFactor};
use crate::{means, passwords};
use arc_swap::Guard;
use gateway_core::config;
use gateway_core::factor::chap::Chap;
use gateway_core::factor::mschap::{MsChap2, NoChange, NtHash};
use gateway_core::factor::users::{LONGEST, Password, User, Users, same};
use gateway_core::factor::{ChangeQuestion, FirstFactorAnswer, FirstFactorQuestion, NewPassword, Offer, Proved};
use gateway_core::identity::Rules;
use gateway_core::reason::Reason;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Checked = Answer<FirstFactorAnswer>;

/// One configured users file.
pub struct FileFactor {
    name: Arc<str>,
    path: PathBuf,
    rules: Rules,
    users: Arc<Watched<Users>>,
    pool: Arc<HashingPool>,
    /// Users may change their passwords, and a new one has at least so many characters.
    change: Option<usize>,
    /// Turn of whoever changes a password.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl FileFactor {
    /// Reads the users file.
    ///
    /// # Errors
    /// All faults of the file, each with path, line, user and remedy.
    pub fn load(
        name: Arc<str>,
        configured: &config::FileFactor,
        rules: Rules,
        pool: Arc<HashingPool>,
    ) -> Result<Self, Vec<String>> {
        let config::FileFactor { users_file: path, allowed, change_passwords: change } = configured.clone();
        let reads = rules.clone();
        let users = Arc::new(Watched::load(path.clone(), move |text| Users::parse(text, allowed, &reads))?);
        Ok(Self { name, path, rules, users, pool, change, turn: Arc::default() })
    }

    /// The configured name of this first factor.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Has the password compared with `hash`, and then with `beside`, whose result says nothing.
    fn hash(
        &self,
        (client, password): (&Arc<str>, Secret),
        hash: &Arc<Secret>,
        beside: Option<&Arc<Secret>>,
        wrong: Reason,
        right: FirstFactorAnswer,
    ) -> Checked {
        let beside = beside.map(|hash| (self.pool.clone(), client.clone(), password.duplicate(), hash.clone()));
        match self.pool.try_verify(client, password, hash.clone()) {
            Ok(verified) => Checked::Later(Box::pin(async move {
                let verified = verified.await;
                if let Some((pool, client, password, hash)) = beside
                    && let Ok(waited) = pool.try_verify(&client, password, hash)
                {
                    let _ = waited.await;
                }
                match verified {
                    Ok(Ok(true)) => right,
                    Ok(Ok(false)) => refused(wrong),
                    Ok(Err(QueueFull)) => FirstFactorAnswer::Unavailable(Reason::PasswordQueueFull),
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

    fn users(&self) -> Option<Arc<Users>> {
        Some(Guard::into_inner(self.users.current()))
    }

    fn check(&self, question: FirstFactorQuestion, now: Timestamp) -> Checked {
        let users = self.users.current();
        let user = users.find(&question.user.canonical);
        match question.offer {
            Offer::Pap(password) => self.check_pap(&users, &question.user.canonical, (&question.client, password), now),
            Offer::Chap(proof) => Checked::Now(check_chap(user, &proof, now)),
            Offer::MsChap2(proof) => Checked::Now(self.check_mschap2(user, &proof, now)),
        }
    }

    fn change(&self, question: ChangeQuestion) -> Answer<Result<(), Reason>> {
        let new = question.password.new.duplicate();
        let Ok(hashed) = self.pool.try_hash(&question.client, new) else {
            return Answer::Now(Err(Reason::PasswordQueueFull));
        };
        let (path, rules, users, turn) = (self.path.clone(), self.rules.clone(), self.users.clone(), self.turn.clone());
        Answer::Later(Box::pin(async move {
            let hash = match hashed.await {
                Ok(hash) => hash.map_err(|QueueFull| Reason::PasswordQueueFull)?,
                Err(_) => return Err(Reason::PasswordNotChanged),
            };
            // The file is written by one at a time, which is worth one thread and not one for each.
            let turn = turn.lock_owned().await;
            let written = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                write(&path, &rules, &users, &question, hash)
            });
            written.await.unwrap_or(Err(Reason::PasswordNotChanged))
        }))
    }
}

/// Sets the new password in the file, and in what is known of it: it is in force before the user hears of it.
fn write(
    path: &Path,
    rules: &Rules,
    users: &Watched<Users>,
    question: &ChangeQuestion,
    hash: String,
) -> Result<(), Reason> {
    let user = &question.user.canonical;
    if let Err(error) = passwords::change(path, rules, user, &question.password, hash) {
        let lack = means::is_behind(error.as_ref());
        let reason = if lack { Reason::NodeExhausted } else { Reason::PasswordNotChanged };
        tracing::error!(
            user,
            first_factor = &*question.factor,
            error = format!("{error:#}"),
            reason_id = reason.id(),
            "{}",
            reason.cause()
        );
        return Err(reason);
    }
    users.reload_if_changed();
    Ok(())
}

impl FileFactor {
    fn check_pap(&self, users: &Users, name: &str, (client, password): (&Arc<str>, Secret), now: Timestamp) -> Checked {
        if password.is_empty() {
            return Checked::Now(FirstFactorAnswer::Refused(Reason::EmptyPassword));
        }
        let nobody = users.nobody();
        let Some(user) = users.find(name) else {
            let unknown = || refused(Reason::UnknownUser);
            // The work is the same as for a user; its result says nothing.
            std::hint::black_box(same(&Secret::new(vec![0; 16]), &password));
            let beside =
                nobody.filter(|_| users.decoy(name).is_some_and(|user| users.is_cheap(user.password.as_ref())));
            return match (users.decoy(name).and_then(|user| user.password.as_ref()), nobody) {
                (_, None) => Checked::Now(unknown()),
                (Some(Password::Hashed(hash)), _) => {
                    self.hash((client, password), hash, beside, Reason::UnknownUser, unknown())
                }
                (_, Some(hash)) => self.hash((client, password), hash, None, Reason::UnknownUser, unknown()),
            };
        };
        let right = match user.barred(now) {
            Some(reason) => refused(reason),
            None => FirstFactorAnswer::Proved(known(user)),
        };
        let same = match &user.password {
            Some(Password::Hashed(hash)) => {
                let beside = nobody.filter(|_| users.is_cheap(user.password.as_ref()));
                return self.hash((client, password), hash, beside, Reason::WrongPassword, right);
            }
            Some(Password::Plain(plain)) => same(plain, &password),
            None => user.nt_hash().is_some_and(|hash| NtHash::of(&password).is_some_and(|offered| hash == offered)),
        };
        let answer = || if same { right } else { refused(Reason::WrongPassword) };
        match nobody {
            None => Checked::Now(answer()),
            // Who is kept without a hash takes the time of the others.
            Some(hash) => match self.pool.try_verify(client, password, hash.clone()) {
                Ok(verified) => {
                    let answer = answer();
                    Checked::Later(Box::pin(async move {
                        match verified.await {
                            Ok(Err(QueueFull)) => FirstFactorAnswer::Unavailable(Reason::PasswordQueueFull),
                            _ => answer,
                        }
                    }))
                }
                Err(_) => Checked::Now(FirstFactorAnswer::Unavailable(Reason::PasswordQueueFull)),
            },
        }
    }

    fn check_mschap2(&self, user: Option<&User>, proof: &MsChap2, now: Timestamp) -> FirstFactorAnswer {
        let Some(user) = user else {
            // The work is the same as for a user; its result says nothing.
            std::hint::black_box(proof.proved(&NtHash::nobodys()));
            return refused(Reason::UnknownUser);
        };
        let Some(hash) = user.nt_hash() else { return refused(Reason::NoSecretForProtocol) };
        // Also where the packet changes the password: then it comes again, and what it wants was done.
        if let Some(session) = proof.proved(&hash) {
            return match user.barred(now) {
                Some(reason) => refused(reason),
                None => FirstFactorAnswer::Proved(Proved { session: Some(Arc::new(session)), ..known(user) }),
            };
        }
        if !proof.changes_password() {
            return refused(Reason::WrongPassword);
        }
        let (new, new_hash) = match proof.new_password(&hash) {
            Ok(new) => new,
            Err(NoChange::WrongPassword) => return refused(Reason::WrongPassword),
            Err(NoChange::Unreadable) => return refused(Reason::PasswordNotChanged),
        };
        // Who sends it knows the new password, too.
        let Some(session) = proof.proved(&new_hash) else { return refused(Reason::WrongPassword) };
        match user.barred(now) {
            None | Some(Reason::PasswordExpired) => {}
            Some(reason) => return refused(reason),
        }
        let characters = std::str::from_utf8(new.expose()).map_or(0, |text| text.chars().count());
        if self.change.is_none_or(|shortest| characters < shortest) || new.expose().len() > LONGEST || new_hash == hash
        {
            return refused(Reason::PasswordNotChanged);
        }
        let change = Some(NewPassword { old: hash, new });
        FirstFactorAnswer::Proved(Proved { session: Some(Arc::new(session)), change, ..known(user) })
    }
}

fn check_chap(user: Option<&User>, proof: &Chap, now: Timestamp) -> FirstFactorAnswer {
    let Some(user) = user else {
        std::hint::black_box(proof.proves(&Secret::new(vec![0; 16])));
        return refused(Reason::UnknownUser);
    };
    match (user.plain().map(|password| proof.proves(password)), user.barred(now)) {
        (None, _) => refused(Reason::NoSecretForProtocol),
        (Some(false), _) => refused(Reason::WrongPassword),
        (Some(true), Some(reason)) => refused(reason),
        (Some(true), None) => FirstFactorAnswer::Proved(known(user)),
    }
}

/// What the file says of a user.
fn known(user: &User) -> Proved {
    Proved {
        groups: user.groups.to_vec(),
        upn: user.upn.as_deref().map(str::to_owned),
        data: user.data.clone(),
        ..Proved::default()
    }
}

fn refused(reason: Reason) -> FirstFactorAnswer {
    FirstFactorAnswer::Refused(reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use gateway_core::factor::users::Allowed;
    use gateway_core::radius::{Attributes, Code, Packet, SharedSecret, attribute, encode_request};
    use md5::{Digest, Md5};
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

    fn configured(users_file: PathBuf) -> config::FileFactor {
        config::FileFactor { users_file, allowed: Allowed::ALL, change_passwords: Some(8) }
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
        let factor = FileFactor::load("staff".into(), &configured(path), rules(), Arc::new(pool.unwrap())).unwrap();
        Bench { dir, factor, hashed }
    }

    fn question(user: &str, password: &str) -> FirstFactorQuestion {
        FirstFactorQuestion {
            factor: "staff".into(),
            client: "vpn".into(),
            guess: None,
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
            let answer = answer(self.factor.check(question(user, password), clock::now()));
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
            ("test", "guess", Reason::WrongPassword, 1),
            ("alice", "", Reason::EmptyPassword, 0),
            ("mallory", "", Reason::EmptyPassword, 0),
        ] {
            assert_eq!(bench.ask(user, password), (refused(reason), cost), "{user} {password}");
        }
        assert_eq!(bench.ask("test", "plain"), (proved(&[], None), 1));
        assert_eq!(bench.factor.name().as_ref(), "staff");
    }

    /// What each answer had hashed, by what it costs.
    #[test]
    fn every_answer_costs_the_dearest_hash() {
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = seen.clone();
        let verify = move |_: &Secret, hash: &Secret| {
            let text = String::from_utf8(hash.expose().to_vec()).unwrap();
            log.lock().unwrap().push(text.split('$').nth(3).unwrap().to_owned());
            text.contains("c29tZXNhbHQ")
        };
        let pool = HashingPool::with(1, 8, Arc::new(verify)).unwrap();
        let dear = HASH.replace("m=256,t=2", "m=1024,t=4");
        let file = format!(
            "[[users]]\nname = \"cheap\"\npassword = \"{HASH}\"\n[[users]]\nname = \"dear\"\npassword = \"{dear}\"\n\
             [[users]]\nname = \"cheap-too\"\npassword = \"{HASH}\"\n\
             [[users]]\nname = \"plain\"\npassword_plain = \"password\"\n\
             [[users]]\nname = \"nt\"\nnt_hash = \"8846f7eaee8fb117ad06bdd830b7586c\"\n"
        );
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.toml");
        fs::write(&path, file).unwrap();
        let factor = FileFactor::load("staff".into(), &configured(path), rules(), Arc::new(pool)).unwrap();
        let cost = |user: &str, password: &str| {
            seen.lock().unwrap().clear();
            let answer = answer(factor.check(question(user, password), clock::now()));
            (matches!(answer, FirstFactorAnswer::Proved(_)), seen.lock().unwrap().clone())
        };
        let (low, high) = ("m=256,t=2,p=1", "m=1024,t=4,p=1");
        assert_eq!(cost("cheap", "password"), (true, vec![low.into(), high.into()]));
        assert_eq!(cost("dear", "password"), (true, vec![high.into()]));
        for (user, right) in [("plain", true), ("nt", true)] {
            assert_eq!(cost(user, "password"), (right, vec![high.into()]), "{user}");
            assert_eq!(cost(user, "guess"), (false, vec![high.into()]), "{user}");
        }
        // Unknown names look like the users there are, each always like the same.
        let mut kinds = std::collections::BTreeSet::new();
        for at in 0..64 {
            let name = format!("stranger-{at}");
            let (accepted, hashes) = cost(&name, "password");
            assert!(!accepted && hashes.last().unwrap() == high, "{name}: {hashes:?}");
            assert_eq!(cost(&name, "another").1, hashes, "{name}");
            kinds.insert(hashes);
        }
        assert_eq!(kinds.len(), 2, "{kinds:?}");
    }

    #[test]
    fn where_nothing_is_hashed_unknown_users_cost_no_hash_either() {
        let bench = bench("[[users]]\nname = \"test\"\npassword_plain = \"plain\"\n");
        assert_eq!(bench.ask("mallory", "plain"), (refused(Reason::UnknownUser), 0));
        assert_eq!(bench.ask("mallory", &"\0".repeat(16)), (refused(Reason::UnknownUser), 0));
    }

    /// Asks with a proof out of a packet with these attributes.
    fn ask_with(bench: &Bench, user: &str, attributes: &Attributes) -> FirstFactorAnswer {
        let shared = SharedSecret::new(Secret::new(b"secret".to_vec()));
        let octets = encode_request(Code::ACCESS_REQUEST, 1, [7; 16], attributes, &shared, true).unwrap();
        let packet = Packet::parse(&octets).unwrap();
        let offer = match Chap::read(&packet) {
            Some(proof) => Offer::Chap(Box::new(proof)),
            None => Offer::MsChap2(Box::new(MsChap2::read(&packet, user.as_bytes()).unwrap())),
        };
        answer(bench.factor.check(FirstFactorQuestion { offer, ..question(user, "") }, clock::now()))
    }

    /// Of `password`, as a client makes it.
    fn chap(password: &str) -> Attributes {
        let response = Md5::new().chain_update([1]).chain_update(password).chain_update([7; 16]).finalize();
        let mut attributes = Attributes::new();
        attributes.push(attribute::CHAP_PASSWORD, &[&[1][..], &response].concat()).unwrap();
        attributes
    }

    /// RFC 2759 §9.2: "User" with "clientPass".
    fn mschap2() -> Attributes {
        let octets = |text: &str| {
            let pairs = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap());
            pairs.collect::<Vec<_>>()
        };
        let (peer, response) = ("21402324255e262a28295f2b3a337c7e", "82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df");
        let mut attributes = Attributes::new();
        attributes.push_vendor(311, 11, &octets("5b5d7c7d7b3f2f3e3c2c602132262628")).unwrap();
        attributes.push_vendor(311, 25, &[&[0, 0][..], &octets(peer), &[0; 8], &octets(response)].concat()).unwrap();
        attributes
    }

    #[test]
    fn chap_needs_the_password_itself() {
        let bench = bench(&format!("{}locked = true\n", file().replace("\"test\"", "\"lisa\"")));
        let ask = |user, password| ask_with(&bench, user, &chap(password));
        assert_eq!(ask("lisa", "plain"), refused(Reason::UserLocked));
        assert_eq!(ask("lisa", "guess"), refused(Reason::WrongPassword), "only who knows it learns more");
        assert_eq!(ask("alice", "password"), refused(Reason::NoSecretForProtocol));
        assert_eq!(ask("mallory", "plain"), refused(Reason::UnknownUser));
        let bench = self::bench(&file());
        assert_eq!(ask_with(&bench, "test", &chap("plain")), proved(&[], None));
    }

    #[test]
    fn mschap_needs_the_password_or_its_nt_hash() {
        let hash = NtHash::of(&Secret::new(b"clientPass".to_vec())).unwrap().to_hex();
        let entries = [
            format!("password = \"{HASH}\"\nnt_hash = \"{}\"", *hash),
            format!("nt_hash = \"{}\"", *hash),
            "password_plain = \"clientPass\"".to_owned(),
        ];
        for entry in &entries {
            let user = |rest: &str| bench(&format!("[[users]]\nname = \"User\"\n{entry}\n{rest}"));
            let answer = ask_with(&user(""), "User", &mschap2());
            assert!(matches!(&answer, FirstFactorAnswer::Proved(proved) if proved.session.is_some()), "{answer:?}");
            let expired = user("password_expires = \"2020-01-01T00:00Z\"");
            assert_eq!(ask_with(&expired, "User", &mschap2()), refused(Reason::PasswordExpired));
        }
        let bench = bench(&file().replace("\"alice\"", "\"User\""));
        assert_eq!(ask_with(&bench, "User", &mschap2()), refused(Reason::NoSecretForProtocol));
        assert_eq!(ask_with(&bench, "test", &mschap2()), refused(Reason::WrongPassword));
        assert_eq!(ask_with(&bench, "mallory", &mschap2()), refused(Reason::UnknownUser));
    }

    #[test]
    fn a_password_is_checked_against_an_nt_hash_where_there_is_nothing_else() {
        let hash = NtHash::of(&Secret::new(b"password".to_vec())).unwrap().to_hex();
        let bench = bench(&format!("[[users]]\nname = \"alice\"\nnt_hash = \"{}\"\n", *hash));
        assert_eq!(bench.ask("alice", "password"), (proved(&[], None), 0));
        assert_eq!(bench.ask("alice", "Password"), (refused(Reason::WrongPassword), 0));
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
        let factor = FileFactor::load("staff".into(), &configured(path), rules(), pool).unwrap();
        let ask = || factor.check(question("alice", "password"), clock::now());
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
        let factor = FileFactor::load("staff".into(), &configured(path), rules(), pool).unwrap();
        let ask = |user, password| answer(factor.check(question(user, password), clock::now()));
        assert_eq!(ask("alice", "password"), proved(&["staff"], Some("a@cloud.example")));
        assert_eq!(ask("alice", "Password"), refused(Reason::WrongPassword));
        assert_eq!(ask("mallory", "password"), refused(Reason::UnknownUser));
    }
}
