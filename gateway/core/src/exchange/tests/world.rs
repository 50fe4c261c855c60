//! A small edge: it performs all effects of one input before it feeds the next, on one set of records, with scripted
//! factors and an invented clock. Whatever holds for every exchange is asserted here, so that every test checks it: one
//! question at a time, one end, one line in the log, no secret in what can be printed, and nothing in a challenge but State
//! and text.

use super::super::*;
use crate::attempt::record::PacketDigest;
use crate::attempt::records::Records;
use crate::config::{Raw, Report, SecondFactorKind, SecretSource, Surroundings};
use crate::entropy::Counting;
use crate::event::Finished;
use crate::factor::oath::{self, Algorithm, Token};
use crate::factor::{ChangeQuestion, CodeWanted, NeedMore, Offer, Proved, TokenId, mschap};
use crate::radius::{Code, attribute};
use crate::secret::Secret;
use std::collections::VecDeque;
use std::path::Path;

/// What opens the first door, for every user that exists.
pub(super) const PASSWORD: &str = "correct horse";
/// Everybody needs a code.
pub(super) const REQUIRED: &str =
    "[[policies]]\nname = 'everybody'\nreply = { Class = 'staff', Session-Timeout = '3600' }\n";
/// Only those who are enrolled need one.
pub(super) const IF_ENROLLED: &str = "[[policies]]\nname = 'everybody'\nsecond_factor = 'if_enrolled'\nclients = ['vpn']\n\
                                      reply = { Class = 'staff', Session-Timeout = '3600' }\n";
/// Nobody needs one.
pub(super) const OFF: &str = "[[policies]]\nname = 'everybody'\nsecond_factor = 'off'\nclients = ['vpn']\n\
                              reply = { Class = 'staff', Session-Timeout = '3600' }\n";
/// Class = staff, Session-Timeout = 3600.
pub(super) const REPLY: [u8; 13] = [25, 7, b's', b't', b'a', b'f', b'f', 27, 6, 0, 0, 0x0e, 0x10];

const SECTIONS: &str = "
    state_dir = 'state'
    [identity]
    default_realm = 'corp.example'
    domains = { CORP = 'corp.example' }
    [[clients]]
    name = 'vpn'
    addresses = ['192.0.2.10']
    secret_file = 'secret-of-vpn'
    [[clients]]
    name = 'twin'
    addresses = ['192.0.2.11']
    secret_file = 'secret-of-twin'
    attempt_group = 'vpn'
    [[clients]]
    name = 'mute'
    addresses = ['192.0.2.12']
    secret_file = 'secret-of-mute'
    attempt_group = 'vpn'
    challenge = false
    [[clients]]
    name = 'bare'
    addresses = ['192.0.2.13']
    secret_file = 'secret-of-bare'
    attempt_group = 'vpn'
    first_factor = 'none'
    [[clients]]
    name = 'line'
    addresses = ['192.0.2.15']
    secret_file = 'secret-of-line'
    attempt_group = 'vpn'
    challenge = false
    appended_code = 'after'
    [[clients]]
    name = 'other'
    addresses = ['192.0.2.14']
    secret_file = 'secret-of-other'
    [[first_factor]]
    name = 'staff'
    kind = 'file'
    users_file = 'users'
    [[second_factor]]
    name = 'code'
    kind = 'oath'
    tokens_file = 'tokens'
";

/// The file's name is its content.
struct Names;

impl SecretSource for Names {
    fn file(&self, path: &Path) -> Result<Secret, String> {
        Ok(Secret::new(path.file_name().unwrap().to_str().unwrap().as_bytes().to_vec()))
    }

    fn env(&self, name: &str) -> Result<Secret, String> {
        Err(format!("{name} is not set"))
    }
}

fn config(policies: &str) -> Config {
    let raw: Raw = toml::from_str(&format!("{SECTIONS}\n{policies}")).unwrap();
    let around = Surroundings {
        folder: Path::new("/etc/orthrus"),
        host_name: "node-1",
        secrets: &Names,
        now: Timestamp::default(),
    };
    raw.check(&around, Report::default()).unwrap_or_else(|(faults, _)| panic!("{faults}")).0
}

/// A second factor that prompts a person.
pub(super) fn phone() -> SecondFactorKind {
    let entra = "
        [[second_factor]]
        name = 'phone'
        kind = 'entra'
        [second_factor.entra]
        tenant_id = '3f2b1c0d-5a49-4e8e-9d7c-6b5a49382716'
        certificates = [{ certificate_file = 'certificate', key_file = 'key' }]
    ";
    let policy = "[[policies]]\nname = 'everybody'\nsecond_factor_name = 'phone'\n";
    config(&format!("{entra}{policy}")).second_factors.pop().unwrap().kind
}

/// How an exchange ended, as the NAS sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With these attributes, encoded.
    Accept(Vec<u8>),
    /// The same, with what MS-CHAPv2 adds at the edge.
    AcceptWithSession(Vec<u8>),
    /// With this text.
    Reject(String),
    /// With this MS-CHAP-Error, and the same text as any reject.
    MsChapError(String),
    /// With this State and text.
    Challenge(Vec<u8>, String),
    /// Nothing was sent, and the packet counts as new.
    Silence,
    /// Nothing was sent, nor will be.
    Discarded,
}

pub(super) fn accepted() -> End {
    End::Accept(REPLY.to_vec())
}

pub(super) fn refused() -> End {
    End::Reject("Sign-in refused.".into())
}

impl End {
    /// The State of a challenge.
    #[track_caller]
    pub(super) fn state(self) -> Vec<u8> {
        let Self::Challenge(state, _) = self else { panic!("not a challenge but {self:?}") };
        state
    }

    fn of(verdict: &Verdict) -> Self {
        let all = |kind| {
            let found = verdict.attributes().iter().filter(move |attribute| attribute.kind == kind);
            found.map(|attribute| attribute.value.to_vec()).collect::<Vec<_>>()
        };
        let count = verdict.attributes().iter().count();
        let texts = all(attribute::REPLY_MESSAGE);
        let text = String::from_utf8(texts.concat()).unwrap();
        match verdict.code() {
            Code::ACCESS_ACCEPT if verdict.session().is_some() => {
                Self::AcceptWithSession(verdict.attributes().as_bytes().to_vec())
            }
            Code::ACCESS_ACCEPT => Self::Accept(verdict.attributes().as_bytes().to_vec()),
            Code::ACCESS_REJECT if count > texts.len() => {
                let error = verdict.attributes().vendor(311, 2).next().expect("nothing else stands in a reject");
                assert_eq!((count, error[0]), (texts.len() + 1, 0), "the identifier is the request's");
                Self::MsChapError(String::from_utf8(error[1..].to_vec()).unwrap())
            }
            Code::ACCESS_REJECT => {
                assert_eq!(count, texts.len(), "RFC 2865 §5.44: a reject carries text and nothing else of ours");
                Self::Reject(text)
            }
            Code::ACCESS_CHALLENGE => {
                let [state] = all(attribute::STATE).try_into().unwrap();
                assert_eq!(count, texts.len() + 1, "a challenge carries State and text and nothing else");
                Self::Challenge(state, text)
            }
            other => panic!("{other:?} is no reply"),
        }
    }
}

/// One packet. A clone is the same packet again.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) client: &'static str,
    pub(super) user: Vec<u8>,
    pub(super) password: Option<String>,
    /// It speaks MS-CHAPv2 instead.
    pub(super) ms_chap: bool,
    pub(super) state: Option<Vec<u8>>,
    pub(super) station: Option<&'static [u8]>,
    pub(super) port: Option<u32>,
    pub(super) marks: Box<[u8]>,
    pub(super) signed: bool,
    pub(super) digest: u8,
}

impl Packet {
    pub(super) fn at(self, client: &'static str) -> Self {
        Self { client, ..self }
    }

    pub(super) fn by(self, user: &str) -> Self {
        Self { user: user.into(), ..self }
    }

    pub(super) fn on_station(self, station: Option<&'static [u8]>) -> Self {
        Self { station, ..self }
    }
}

/// A question that the edge has not answered yet.
#[derive(Debug)]
pub(super) enum Open {
    Ask(Question),
    Apply(Box<Transition>),
}

/// An exchange under way.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) exchange: Option<Exchange>,
    pub(super) open: Option<Open>,
    pub(super) end: Option<End>,
    pub(super) wake: Option<Timestamp>,
}

impl Run {
    /// The name of its stage.
    pub(super) fn stage(&self) -> String {
        let text = format!("{:?}", self.exchange.as_ref().unwrap().stage);
        text.split([' ', '(']).next().unwrap().to_owned()
    }
}

/// What a back end was asked, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    First { session: Option<Vec<u8>> },
    Enrolment,
    Begin { id: AttemptId },
    Code { session: Vec<u8> },
    Change { new: Vec<u8> },
}

pub(super) struct World {
    pub(super) records: Records,
    pub(super) setting: Arc<Setting>,
    pub(super) entropy: Counting,
    pub(super) now: Timestamp,
    /// What the first factor says instead of looking at the password.
    pub(super) first: VecDeque<FirstFactorAnswer>,
    pub(super) enrolment: Enrolment,
    /// What the second factor says instead of asking for a code.
    pub(super) begin: VecDeque<BeginAnswer>,
    /// What it says instead of looking at the code.
    pub(super) code: VecDeque<CodeAnswer>,
    /// What becomes of a new password.
    pub(super) change: Result<(), Reason>,
    pub(super) asked: Vec<Asked>,
    pub(super) events: Vec<Event>,
    /// Prompts that were to be driven.
    pub(super) driven: Vec<Prompt>,
    /// Epochs of prompts that packets joined.
    pub(super) joined: Vec<u64>,
    /// Epochs of prompts whose code was asked for.
    pub(super) answered: Vec<u64>,
    token: Token,
    packets: u8,
    secrets: Vec<String>,
}

impl World {
    pub(super) fn new(policies: &str) -> Self {
        Self::with(policies, |_| {})
    }

    /// `change` makes what no checked configuration can be.
    pub(super) fn with(policies: &str, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(policies);
        change(&mut config);
        let keyring = Keyring::new(&Secret::new(b"the cluster key".to_vec()));
        let owner = Owner { node: "node-1".into(), incarnation: 7 };
        Self {
            records: Records::default(),
            setting: Arc::new(Setting::new(Arc::new(config), keyring, owner)),
            entropy: Counting(1),
            now: Timestamp::from_secs(1_800_000_000),
            first: VecDeque::new(),
            enrolment: Enrolment::Enrolled,
            begin: VecDeque::new(),
            code: VecDeque::new(),
            change: Ok(()),
            asked: Vec::new(),
            events: Vec::new(),
            driven: Vec::new(),
            joined: Vec::new(),
            answered: Vec::new(),
            token: Token {
                id: TokenId([9; 16]),
                kind: oath::Kind::Totp { period: 30 },
                algorithm: Algorithm::Sha1,
                digits: 6,
                secret: Secret::new(b"12345678901234567890".to_vec()),
                enrolled: Timestamp::default(),
                label: String::new(),
            },
            packets: 0,
            secrets: vec![PASSWORD.into()],
        }
    }

    pub(super) fn wait(&mut self, span: Duration) {
        self.now = self.now.after(span);
    }

    pub(super) fn wait_secs(&mut self, secs: u64) {
        self.wait(Duration::from_secs(secs));
    }

    /// The code that the user's token shows.
    pub(super) fn shown(&self) -> String {
        format!("{:06}", self.token.code(self.now.as_secs() / 30).unwrap())
    }

    /// Alice's password by way of `vpn`, from her laptop.
    pub(super) fn packet(&mut self, password: &str) -> Packet {
        self.packets += 1;
        Packet {
            client: "vpn",
            user: b"alice".to_vec(),
            password: Some(password.into()),
            ms_chap: false,
            state: None,
            station: Some(b"laptop"),
            port: None,
            marks: Box::default(),
            signed: true,
            digest: self.packets,
        }
    }

    /// Alice's answer to a challenge.
    pub(super) fn reply(&mut self, state: &[u8], code: &str) -> Packet {
        self.secrets.push(code.into());
        Packet { state: Some(state.to_vec()), ..self.packet(code) }
    }

    /// Password and more in one line, at a client that cannot ask.
    pub(super) fn line(&mut self, beside: &str) -> End {
        self.secrets.push(beside.into());
        let packet = self.packet(&format!("{PASSWORD},{beside}")).at("line");
        self.send(&packet)
    }

    pub(super) fn sign_in(&mut self, password: &str) -> End {
        let packet = self.packet(password);
        self.send(&packet)
    }

    pub(super) fn answer(&mut self, state: &[u8], code: &str) -> End {
        let packet = self.reply(state, code);
        self.send(&packet)
    }

    /// The State of a code challenge after a right password.
    #[track_caller]
    pub(super) fn challenged(&mut self) -> Vec<u8> {
        self.sign_in(PASSWORD).state()
    }

    /// One packet from beginning to end.
    pub(super) fn send(&mut self, packet: &Packet) -> End {
        let run = self.start(packet);
        self.finish(run)
    }

    /// Nothing was fed yet.
    pub(super) fn open(&mut self, packet: &Packet) -> Run {
        let setting = self.setting.clone();
        let client = setting.config.clients.iter().find(|client| &*client.name == packet.client).unwrap().clone();
        let request = Request {
            source: std::net::SocketAddr::new(client.networks[0].addr(), 1024),
            client,
            digest: PacketDigest([packet.digest; 16]),
            user_name: packet.user.clone(),
            offer: match &packet.password {
                _ if packet.ms_chap => Some(Offer::MsChap2(Box::new(mschap::tests::example()))),
                Some(text) => Some(Offer::Pap(Secret::new(text.as_bytes().to_vec()))),
                None => None,
            },
            state: packet.state.clone(),
            station: packet.station.map(Into::into),
            port: packet.port,
            marks: packet.marks.clone(),
            attributes: None,
            sessions: 0,
            locked: false,
            proxy_state: 0,
            signed: packet.signed,
            refusal: None,
            synthetic: false,
            received: self.now,
            thread: 3,
        };
        let exchange = Exchange::new(request, setting, &mut self.entropy);
        Run { exchange: Some(exchange), open: None, end: None, wake: None }
    }

    pub(super) fn start(&mut self, packet: &Packet) -> Run {
        let mut run = self.open(packet);
        self.feed(&mut run, Input::Start);
        run
    }

    /// Answers whatever is open until the exchange has come to `stage`.
    #[track_caller]
    pub(super) fn until(&mut self, run: &mut Run, stage: &str) {
        while run.stage() != stage {
            let open = run.open.take().unwrap_or_else(|| panic!("it ended before {stage}"));
            let input = self.input(open);
            self.feed(run, input);
        }
    }

    pub(super) fn finish(&mut self, mut run: Run) -> End {
        self.until(&mut run, "Over");
        run.end.unwrap()
    }

    /// Feeds one input that fits, and performs its effects.
    #[track_caller]
    pub(super) fn feed(&mut self, run: &mut Run, input: Input) {
        self.try_feed(run, input).unwrap();
    }

    pub(super) fn try_feed(&mut self, run: &mut Run, input: Input) -> Result<(), Unexpected> {
        let mut exchange = run.exchange.take().unwrap();
        let effects = exchange.step(input, self.now, &mut self.entropy)?;
        assert!(run.end.is_none() || effects.is_empty(), "it spoke after its end");
        for effect in effects {
            self.assert_no_secret(&format!("{effect:?}"));
            match effect {
                Effect::Ask(question) => assert!(run.open.replace(Open::Ask(question)).is_none(), "two questions"),
                Effect::Apply(change) => assert!(run.open.replace(Open::Apply(change)).is_none(), "two questions"),
                Effect::Leave(transition) => drop(transition.apply(&mut self.records, self.now)),
                Effect::Reply(verdict) => assert!(run.end.replace(End::of(&verdict)).is_none(), "two ends"),
                Effect::Silence => assert!(run.end.replace(End::Silence).is_none(), "two ends"),
                Effect::Discard => assert!(run.end.replace(End::Discarded).is_none(), "two ends"),
                Effect::Drive(prompt) => self.driven.push(*prompt),
                Effect::Join { epoch, .. } => self.joined.push(epoch),
                Effect::Answered { epoch, .. } => self.answered.push(epoch),
                Effect::WakeAt(at) => run.wake = Some(at),
                Effect::Emit(event) => {
                    assert_eq!(run.end.is_some(), matches!(event, Event::Finished(_)), "the end comes last: {event:?}");
                    self.events.push(event);
                }
            }
        }
        assert_eq!(exchange.is_over(), run.end.is_some());
        self.assert_no_secret(&format!("{exchange:?}"));
        run.exchange = Some(exchange);
        Ok(())
    }

    fn assert_no_secret(&self, text: &str) {
        for secret in &self.secrets {
            let octets = format!("{:?}", secret.as_bytes());
            assert!(!text.contains(&format!("\"{secret}\"")), "{secret} in {text}");
            assert!(!text.contains(octets.trim_matches(['[', ']'])) || secret.is_empty(), "{secret} in {text}");
        }
    }

    /// What the edge feeds for what it was asked.
    pub(super) fn input(&mut self, open: Open) -> Input {
        match open {
            Open::Apply(transition) => Input::Applied(Ok(transition.apply(&mut self.records, self.now))),
            Open::Ask(Question::FirstFactor(FirstFactorQuestion { user, offer, session, .. })) => {
                self.asked.push(Asked::First { session });
                Input::FirstFactor(self.first.pop_front().unwrap_or_else(|| {
                    let Offer::Pap(secret) = offer else { panic!("what proves this is in `first`") };
                    if !["alice", "bob"].contains(&user.user.as_str()) {
                        FirstFactorAnswer::Refused(Reason::UnknownUser)
                    } else if secret.expose() != PASSWORD.as_bytes() {
                        FirstFactorAnswer::Refused(Reason::WrongPassword)
                    } else {
                        FirstFactorAnswer::Proved(Proved { groups: vec!["Staff".into()], ..Proved::default() })
                    }
                }))
            }
            Open::Ask(Question::Enrolment { factor, .. }) => {
                assert_eq!(&*factor, "code");
                self.asked.push(Asked::Enrolment);
                Input::Enrolment(self.enrolment)
            }
            Open::Ask(Question::Change(ChangeQuestion { password, .. })) => {
                self.asked.push(Asked::Change { new: password.new.expose().to_vec() });
                Input::Changed(self.change)
            }
            Open::Ask(Question::Begin(BeginQuestion { id, .. })) => {
                self.asked.push(Asked::Begin { id });
                let wanted = || BeginAnswer::CodeWanted(CodeWanted { session: b"asked".to_vec(), prompt: None });
                Input::Begun(self.begin.pop_front().unwrap_or_else(wanted))
            }
            Open::Ask(Question::Code(CodeQuestion { session, code, used, .. })) => {
                self.asked.push(Asked::Code { session });
                Input::Code(self.code.pop_front().unwrap_or_else(|| {
                    let code = std::str::from_utf8(code.expose()).unwrap();
                    oath::check(std::slice::from_ref(&self.token), code, &used, 1, 1, self.now)
                }))
            }
        }
    }

    /// How many prompts went out.
    pub(super) fn prompts(&self) -> usize {
        self.asked.iter().filter(|asked| matches!(asked, Asked::Begin { .. })).count()
    }

    /// The lines of the log.
    pub(super) fn finished(&self) -> Vec<&Finished> {
        let lines = self.events.iter();
        lines.filter_map(|event| if let Event::Finished(finished) = event { Some(&**finished) } else { None }).collect()
    }

    /// The last line of the log.
    pub(super) fn last(&self) -> &Finished {
        self.finished().last().unwrap()
    }

    /// Why the last exchange ended as it did.
    pub(super) fn reason(&self) -> Option<Reason> {
        self.last().reason
    }
}

/// Another round, please.
pub(super) fn need_more(session: &[u8], message: &str) -> FirstFactorAnswer {
    FirstFactorAnswer::NeedMore(NeedMore { session: session.to_vec(), message: message.into() })
}

pub(super) fn proved() -> FirstFactorAnswer {
    FirstFactorAnswer::Proved(Proved::default())
}
