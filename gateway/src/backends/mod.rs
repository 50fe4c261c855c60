//! Who answers for the factors: one file per back end, two traits, and the named lists of the configuration.

pub mod entra;
pub mod file;
pub mod hashing;
pub mod oath;
pub mod outside;
pub mod watched;

use crate::telemetry::metrics::Metrics;
use entra::EntraBackEnd;
use file::FileFactor;
use gateway_core::config::{Config, FirstFactorKind, SecondFactorKind, Warning};
use gateway_core::exchange::{Input, Question};
use gateway_core::factor::users::Users;
use gateway_core::factor::{
    BeginAnswer, BeginQuestion, ChangeQuestion, CodeAnswer, CodeQuestion, Enrolment, FirstFactorAnswer,
    FirstFactorQuestion, PollAnswer, PollQuestion,
};
use gateway_core::identity::{Identity, Rules};
use gateway_core::reason::Reason;
use gateway_core::time::Timestamp;
use hashing::HashingPool;
use oath::OathFactor;
use outside::Outside;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use watched::Reload;

/// An answer that is there, or one that takes its time.
pub enum Answer<T> {
    /// It is there.
    Now(T),
    /// It takes its time. Dropping it gives the question up.
    Later(Pin<Box<dyn Future<Output = T> + Send>>),
}

impl<T: 'static> Answer<T> {
    fn map<U>(self, to: impl FnOnce(T) -> U + Send + 'static) -> Answer<U> {
        match self {
            Self::Now(answer) => Answer::Now(to(answer)),
            Self::Later(answer) => Answer::Later(Box::pin(async move { to(answer.await) })),
        }
    }
}

/// What checks passwords.
pub trait FirstFactor: Send + Sync {
    /// Checks one proof, or one round of it.
    fn check(&self, question: FirstFactorQuestion, now: Timestamp) -> Answer<FirstFactorAnswer>;

    /// Sets a new password, which was proved together with the old one.
    fn change(&self, question: ChangeQuestion) -> Answer<Result<(), Reason>>;

    /// Reads its file again if that changed; called once a second where blocking does no harm.
    fn reload_if_changed(&self) -> Reload;

    /// The users that it knows now, where it has a list of them.
    fn users(&self) -> Option<Arc<Users>> {
        None
    }
}

/// What asks for more than a password.
pub trait SecondFactor: Send + Sync {
    /// Whether the user has something to be asked for.
    fn enrolment(&self, user: &Identity) -> Answer<Enrolment>;

    /// Begins a prompt.
    fn begin(&self, question: &BeginQuestion) -> Answer<BeginAnswer>;

    /// Says what became of a prompt for which `begin` answered `Waiting`.
    fn poll(&self, question: &PollQuestion) -> Answer<PollAnswer>;

    /// Judges a code for which `begin` answered `CodeWanted`.
    fn check_code(&self, question: &CodeQuestion, now: Timestamp) -> Answer<CodeAnswer>;

    /// Reads its file again if that changed; called once a second where blocking does no harm.
    fn reload_if_changed(&self) -> Reload;
}

/// The back ends of one configuration, by name.
#[derive(Default)]
pub struct Backends {
    first: HashMap<Arc<str>, Box<dyn FirstFactor>>,
    second: HashMap<Arc<str>, Box<dyn SecondFactor>>,
    /// Those of `second` that outlive a reload which leaves them as they are: with their connections and their token.
    entra: HashMap<Arc<str>, EntraBackEnd>,
}

impl Backends {
    /// Loads every back end that `config` names. Those of `old` that are configured just as before are kept.
    ///
    /// # Errors
    ///
    /// Every fault of every file, each with path and remedy.
    pub fn load(
        config: &Config,
        pool: &Arc<HashingPool>,
        outside: &Outside,
        metrics: &Arc<Metrics>,
        old: Option<&Self>,
    ) -> Result<Self, Vec<String>> {
        let rules = Rules::from(&config.identity);
        let mut faults = Vec::new();
        let mut backends = Self::default();
        for factor in &config.first_factors {
            let FirstFactorKind::File(file) = &factor.kind;
            match FileFactor::load(factor.name.clone(), file, rules.clone(), pool.clone()) {
                Ok(loaded) => backends.add_first(factor.name.clone(), Box::new(loaded)),
                Err(more) => faults.extend(more),
            }
        }
        for factor in &config.second_factors {
            let name = factor.name.clone();
            match &factor.kind {
                SecondFactorKind::Oath(oath) => {
                    let path = oath.tokens_file.clone();
                    match OathFactor::load(name.clone(), path, rules.clone(), oath.window, oath.look_ahead) {
                        Ok(loaded) => backends.add_second(name, Box::new(loaded)),
                        Err(more) => faults.extend(more),
                    }
                }
                SecondFactorKind::Entra(entra) => {
                    let same = old.and_then(|old| old.entra.get(&name)).filter(|old| old.factor() == entra);
                    let loaded = match same {
                        Some(same) => Ok(same.clone()),
                        None => EntraBackEnd::load(
                            name.clone(),
                            config.cluster.node_id.clone(),
                            entra.clone(),
                            outside,
                            metrics,
                        ),
                    };
                    match loaded {
                        Ok(loaded) => {
                            backends.entra.insert(name.clone(), loaded.clone());
                            backends.add_second(name, Box::new(loaded));
                        }
                        Err(more) => faults.extend(more),
                    }
                }
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let gone = old.into_iter().flat_map(|old| &old.entra).filter(|(name, _)| !backends.entra.contains_key(*name));
        gone.for_each(|(_, entra)| entra.retire());
        Ok(backends)
    }

    /// The certificates that this node shows to clouds.
    pub fn certificates(&self, node: &str) -> Vec<cluster::Certificate> {
        self.entra.values().flat_map(|entra| entra.registered(node)).collect()
    }

    /// What works and should not stay so.
    pub fn warnings(&self) -> Vec<Warning> {
        self.entra.values().flat_map(EntraBackEnd::warnings).collect()
    }

    /// Adds a first factor under its name.
    pub fn add_first(&mut self, name: Arc<str>, factor: Box<dyn FirstFactor>) {
        self.first.insert(name, factor);
    }

    /// Adds a second factor under its name.
    pub fn add_second(&mut self, name: Arc<str>, factor: Box<dyn SecondFactor>) {
        self.second.insert(name, factor);
    }

    /// Asks a question of the core; the answer is what its exchange is fed.
    pub fn ask(&self, question: Question, now: Timestamp) -> Answer<Input> {
        // The configuration's check makes sure that every name is there; what is not there proves nothing.
        match question {
            Question::FirstFactor(question) => match self.first.get(&question.factor) {
                Some(factor) => factor.check(question, now),
                None => Answer::Now(FirstFactorAnswer::Unavailable(Reason::FirstFactorUnavailable)),
            }
            .map(Input::FirstFactor),
            Question::Enrolment { factor, user } => match self.second.get(&factor) {
                Some(factor) => factor.enrolment(&user),
                None => Answer::Now(Enrolment::Unavailable(Reason::SecondFactorUnavailable)),
            }
            .map(Input::Enrolment),
            Question::Begin(question) => self.begin(&question).map(Input::Begun),
            Question::Code(question) => match self.second.get(&question.factor) {
                Some(factor) => factor.check_code(&question, now),
                None => Answer::Now(CodeAnswer::Unavailable(Reason::SecondFactorUnavailable)),
            }
            .map(Input::Code),
            Question::Change(question) => match self.first.get(&question.factor) {
                Some(factor) => factor.change(question),
                None => Answer::Now(Err(Reason::PasswordNotChanged)),
            }
            .map(Input::Changed),
        }
    }

    /// Begins a prompt.
    pub fn begin(&self, question: &BeginQuestion) -> Answer<BeginAnswer> {
        match self.second.get(&question.factor) {
            Some(factor) => factor.begin(question),
            None => Answer::Now(BeginAnswer::Unavailable(Reason::SecondFactorUnavailable)),
        }
    }

    /// Asks what became of a prompt.
    pub fn poll(&self, question: &PollQuestion) -> Answer<PollAnswer> {
        match self.second.get(&question.factor) {
            Some(factor) => factor.poll(question),
            None => Answer::Now(PollAnswer::Unavailable(Reason::SecondFactorUnavailable)),
        }
    }

    /// The lists of users that are in force, by factor.
    pub fn users(&self) -> Vec<(Arc<str>, Arc<Users>)> {
        self.first.iter().filter_map(|(name, factor)| Some((name.clone(), factor.users()?))).collect()
    }

    /// Reads again what changed, and says what came of it, by factor.
    pub fn reload_if_changed(&self) -> Vec<(Arc<str>, Reload)> {
        let first = self.first.iter().map(|(name, factor)| (name.clone(), factor.reload_if_changed()));
        let second = self.second.iter().map(|(name, factor)| (name.clone(), factor.reload_if_changed()));
        first.chain(second).collect()
    }
}
