//! A push or a call: packets wait for it, join it, give it up and come back for its outcome.

use super::super::*;
use super::world::*;
use crate::attempt::driver::{Driver, Effect as Drives, Input as Said, Load};
use crate::event::Ending;
use crate::factor::{Approval, PollAnswer};
use crate::radius::Attributes;

const COME_BACK: &str = "Approve the sign-in on your phone, then press Enter:";

/// A world whose second factor prompts, and the driver of its prompt.
struct Phone {
    world: World,
    driver: Option<Driver>,
    /// What the driver has for whoever waits.
    news: Option<News>,
}

impl Phone {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let world = World::with(REQUIRED, |config| {
            config.second_factors[0].kind = phone();
            change(config);
        });
        Self { world, driver: None, news: None }
    }

    /// The client `vpn` waits 25 s.
    fn impatient() -> Self {
        Self::new(|config| answer_within(config, 25))
    }

    /// A first leg up to where it waits.
    fn wait_for(&mut self, packet: &Packet) -> Run {
        let mut run = self.world.start(packet);
        self.world.until(&mut run, "Awaiting");
        if let Some(prompt) = self.world.driven.pop() {
            self.driver = Some(Driver::new(Box::new(prompt), self.world.now));
            self.say(Said::Start);
        }
        run
    }

    fn sign_in(&mut self) -> Run {
        let packet = self.world.packet(PASSWORD);
        self.wait_for(&packet)
    }

    /// The provider, or time, says something to the driver.
    fn say(&mut self, said: Said) {
        let mut inputs = vec![said];
        while let Some(input) = inputs.pop() {
            let driver = self.driver.as_mut().expect("a prompt is out");
            for effect in driver.step(input, Load { pending: 1, limit: 10 }, self.world.now) {
                match effect {
                    Drives::Begin(question) => self.world.asked.push(Asked::Begin { id: question.id }),
                    Drives::Apply(change) => {
                        inputs.push(Said::Applied(Ok(change.apply(&mut self.world.records, self.world.now))));
                    }
                    Drives::Offer(wanted) => self.news = Some(News::CodeWanted(wanted)),
                    Drives::End => self.news = Some(News::Look),
                    Drives::NotBegun(reason) => self.news = Some(News::NotBegun(reason)),
                    Drives::Poll(_) | Drives::WakeAt(_) | Drives::Emit(_) => {}
                }
            }
        }
    }

    fn approve(&mut self) {
        self.say(Said::Begun(BeginAnswer::Approved(Approval::User)));
    }

    /// The news reach a packet, which goes on to its end.
    fn hear(&mut self, mut run: Run) -> End {
        let news = self.news.clone().expect("there is news");
        self.world.feed(&mut run, Input::News(news));
        self.world.finish(run)
    }

    /// The packet's wait is over.
    fn give_up(&mut self, mut run: Run) -> End {
        self.world.now = run.wake.expect("it asked for a time");
        self.world.feed(&mut run, Input::Wake);
        self.world.finish(run)
    }

    /// A packet that brings a State back, from beginning to end or to where it waits.
    fn come_back(&mut self, packet: &Packet) -> Run {
        let mut run = self.world.start(packet);
        while run.open.is_some() && run.stage() != "Awaiting" {
            let open = run.open.take().unwrap();
            let input = self.world.input(open);
            self.world.feed(&mut run, input);
        }
        run
    }
}

fn answer_within(config: &mut Config, secs: u64) {
    for client in &mut config.clients {
        let old = Arc::get_mut(client).expect("nobody else has it");
        old.answer_within = Some(Duration::from_secs(secs));
    }
}

#[test]
fn an_approval_is_the_accept_of_the_packet_that_waits() {
    let mut phone = Phone::new(|_| {});
    let run = phone.sign_in();
    assert_eq!(run.wake, Some(phone.world.now.after(Duration::from_secs(95))), "as long as the prompt, and a little");
    phone.world.wait_secs(20);
    phone.approve();
    assert_eq!(phone.hear(run), accepted());
    let line = phone.world.last();
    assert_eq!((line.ending, line.prompted), (Ending::Accept, true));
    assert_eq!((line.second_factor_took, line.took), (Duration::from_secs(20), Duration::from_secs(20)));
    assert_eq!(phone.world.prompts(), 1);
}

#[test]
fn the_accept_is_the_same_as_after_a_code_and_without_a_second_factor() {
    let mut phone = Phone::new(|_| {});
    let run = phone.sign_in();
    phone.approve();
    let mut code = World::new(REQUIRED);
    let state = code.challenged();
    let shown = code.shown();
    let accept = phone.hear(run);
    assert_eq!(accept, code.answer(&state, &shown));
    assert_eq!(accept, World::new(OFF).sign_in(PASSWORD));
}

#[test]
fn a_refusal_is_a_reject_with_its_reason() {
    for (answer, reason) in [
        (BeginAnswer::Denied(Reason::NotEnrolled), Reason::NotEnrolled),
        (BeginAnswer::Unavailable(Reason::SecondFactorUnavailable), Reason::SecondFactorUnavailable),
    ] {
        let mut phone = Phone::new(|_| {});
        let run = phone.sign_in();
        phone.say(Said::Begun(answer));
        assert_eq!(phone.hear(run), refused());
        assert_eq!(phone.world.reason(), Some(reason));
    }
}

#[test]
fn exhausted_node_prompts_at_the_next_try() {
    let mut phone = Phone::new(|_| {});
    let run = phone.sign_in();
    phone.say(Said::Begun(BeginAnswer::Unavailable(Reason::NodeExhausted)));
    assert_eq!(phone.hear(run), End::Silence, "the same packet counts as new");
    assert_eq!(phone.world.reason(), Some(Reason::NodeExhausted));
    let run = phone.sign_in();
    phone.approve();
    assert_eq!(phone.hear(run), accepted());
    assert_eq!(phone.world.prompts(), 2, "the first reached nobody");
}

#[test]
fn a_repeat_joins_and_the_packet_before_is_discarded_for_good() {
    let mut phone = Phone::new(|_| {});
    let mut first = phone.sign_in();
    phone.world.wait_secs(10);
    let second = phone.sign_in();
    assert_eq!((&phone.world.joined, phone.world.prompts()), (&vec![1], 1));
    phone.world.feed(&mut first, Input::News(News::Superseded));
    assert_eq!(first.end, Some(End::Discarded));
    phone.approve();
    assert_eq!(phone.hear(second), accepted());
    let [superseded, accept] = phone.world.finished().try_into().unwrap();
    assert_eq!((superseded.reason, superseded.took), (Some(Reason::Superseded), Duration::from_secs(10)));
    assert_eq!((accept.id, accept.since_begun), (superseded.id, Duration::from_secs(10)));
}

#[test]
fn a_packet_that_was_superseded_gets_nothing_even_if_nobody_told_it() {
    let mut phone = Phone::new(|_| {});
    let first = phone.sign_in();
    let second = phone.sign_in();
    phone.approve();
    assert_eq!(phone.hear(first), End::Discarded);
    assert_eq!(phone.hear(second), accepted());
}

#[test]
fn a_repeat_with_a_wrong_password_joins_nothing() {
    let mut phone = Phone::new(|_| {});
    let run = phone.sign_in();
    assert_eq!(phone.world.sign_in("wrong"), refused());
    phone.approve();
    assert_eq!(phone.hear(run), accepted());
}

#[test]
fn each_packet_has_its_own_attributes() {
    let mut phone = Phone::new(|_| {});
    phone.sign_in();
    let mut other = Phone::new(|config| config.policies[0].reply = Attributes::new().into());
    std::mem::swap(&mut phone.world.setting, &mut other.world.setting);
    let second = phone.sign_in();
    phone.approve();
    assert_eq!(phone.hear(second), End::Accept(vec![]));
}

#[test]
fn another_session_of_the_user_is_refused_while_the_prompt_is_out() {
    let mut phone = Phone::new(|_| {});
    phone.sign_in();
    let elsewhere = phone.world.packet(PASSWORD).on_station(Some(b"phone"));
    assert_eq!(phone.world.send(&elsewhere), refused());
    assert_eq!(phone.world.reason(), Some(Reason::PromptPending));
    let nowhere = phone.world.packet(PASSWORD).by("bob").on_station(None);
    phone.wait_for(&nowhere);
    let again = Packet { digest: 200, ..nowhere };
    assert_eq!(phone.world.send(&again), End::Silence);
    assert_eq!((phone.world.reason(), phone.world.prompts()), (Some(Reason::RepeatWhilePending), 2));
}

#[test]
fn a_nas_that_gives_up_is_asked_to_come_back() {
    let mut phone = Phone::impatient();
    let run = phone.sign_in();
    let End::Challenge(state, text) = phone.give_up(run) else { panic!("no challenge") };
    assert_eq!(text, COME_BACK);
    assert_eq!(phone.world.last().took, Duration::from_secs(25));
    // The user presses Enter before the tap: another round.
    let back = phone.world.reply(&state, "");
    let run = phone.come_back(&back);
    let End::Challenge(next, _) = phone.give_up(run) else { panic!("no challenge") };
    assert_ne!(next, state);
    let stale = phone.world.reply(&state, "");
    assert_eq!((phone.world.send(&stale), phone.world.reason()), (refused(), Some(Reason::StateSpent)));
    // The tap at 70 s, while the next packet waits.
    let back = phone.world.reply(&next, "");
    let run = phone.come_back(&back);
    phone.world.wait_secs(20);
    phone.approve();
    assert_eq!(phone.hear(run), accepted());
    assert_eq!(phone.world.last().since_begun, Duration::from_secs(70));
    assert_eq!(phone.world.prompts(), 1);
    let replayed = phone.world.reply(&next, "");
    assert_eq!((phone.world.send(&replayed), phone.world.reason()), (refused(), Some(Reason::StateSpent)));
}

#[test]
fn an_outcome_that_was_there_before_the_user_came_back_is_collected_at_once() {
    for approved in [true, false] {
        let mut phone = Phone::impatient();
        let run = phone.sign_in();
        let state = phone.give_up(run).state();
        match approved {
            true => phone.approve(),
            false => phone.say(Said::Begun(BeginAnswer::Denied(Reason::NotEnrolled))),
        }
        let back = phone.world.reply(&state, "tapped");
        assert_eq!(phone.world.send(&back), if approved { accepted() } else { refused() });
        assert_eq!(phone.world.reason(), (!approved).then_some(Reason::NotEnrolled));
    }
}

#[test]
fn an_approval_at_the_very_moment_is_an_accept_and_no_challenge() {
    let mut phone = Phone::impatient();
    let mut run = phone.sign_in();
    phone.world.now = run.wake.unwrap();
    phone.approve();
    // The timer was first, the store knows better.
    phone.world.feed(&mut run, Input::Wake);
    phone.world.feed(&mut run, Input::News(News::Look));
    assert_eq!(phone.world.finish(run), accepted());
    assert!(phone.world.records.challenges.is_empty());
}

#[test]
fn who_comes_back_must_come_from_the_same_client_user_and_station() {
    let mut phone = Phone::impatient();
    let run = phone.sign_in();
    let state = phone.give_up(run).state();
    phone.approve();
    let back = phone.world.reply(&state, "ok");
    for (packet, reason) in [
        (back.clone().at("twin"), Reason::StateOtherClient),
        (back.clone().by("bob"), Reason::StateOtherUser),
        (back.clone().on_station(Some(b"phone")), Reason::StateOtherStation),
        (Packet { signed: false, password: None, ..back.clone() }, Reason::CollectUnproved),
        (Packet { signed: false, password: Some("\u{1}noise".into()), ..back.clone() }, Reason::CollectUnproved),
    ] {
        assert_eq!((phone.world.send(&packet), phone.world.reason()), (refused(), Some(reason)));
    }
    assert_eq!(phone.world.send(&Packet { signed: false, password: Some(String::new()), ..back }), accepted());
}

#[test]
fn who_comes_back_may_leave_the_station_out() {
    let mut phone = Phone::impatient();
    let run = phone.sign_in();
    let state = phone.give_up(run).state();
    phone.approve();
    let back = phone.world.reply(&state, "ok").on_station(None);
    assert_eq!(phone.world.send(&back), accepted());
}

#[test]
fn a_nas_that_cannot_ask_hears_nothing_and_its_repeat_collects() {
    let mut phone = Phone::impatient();
    let packet = phone.world.packet(PASSWORD).at("mute");
    let run = phone.wait_for(&packet);
    assert_eq!(phone.give_up(run), End::Silence);
    assert_eq!(phone.world.reason(), Some(Reason::NasPatienceOver));
    phone.approve();
    let again = phone.world.packet(PASSWORD).at("mute");
    assert_eq!(phone.world.send(&again), accepted());
    phone.world.wait_secs(11);
    let third = phone.world.packet(PASSWORD).at("mute");
    let run = phone.wait_for(&third);
    assert_eq!((run.end, phone.world.prompts()), (None, 2), "collected once; from then on a sign-in is a new one");
}

#[test]
fn a_code_that_is_wanted_goes_to_whoever_waits() {
    let mut phone = Phone::impatient();
    let run = phone.sign_in();
    let state = phone.give_up(run).state();
    let wanted = CodeWanted { session: b"sms".to_vec(), prompt: Some("SMS code:".into()) };
    phone.say(Said::Begun(BeginAnswer::CodeWanted(wanted)));
    let back = phone.world.reply(&state, "");
    let run = phone.come_back(&back);
    let End::Challenge(code_state, text) = phone.hear(run) else { panic!("no challenge") };
    assert_eq!((text.as_str(), &phone.world.answered), ("SMS code:", &vec![1]));
    phone.world.code.push_back(CodeAnswer::Right(None));
    let answer = phone.world.reply(&code_state, "123456");
    assert_eq!(phone.world.send(&answer), accepted());
    assert_eq!(phone.world.asked.last(), Some(&Asked::Code { session: b"sms".to_vec() }));
    assert!(!phone.world.last().prompted);
}

#[test]
fn a_code_whose_session_is_over_ends_the_attempt() {
    let mut phone = Phone::new(|_| {});
    let run = phone.sign_in();
    phone.say(Said::Begun(BeginAnswer::CodeWanted(CodeWanted::default())));
    let state = phone.hear(run).state();
    phone.world.code.push_back(CodeAnswer::Ended(Reason::WrongCode));
    let answer = phone.world.reply(&state, "123456");
    assert_eq!((phone.world.send(&answer), phone.world.reason()), (refused(), Some(Reason::WrongCode)));
}

#[test]
fn a_client_that_shows_no_questions_is_not_asked_for_a_code() {
    let mut phone = Phone::new(|_| {});
    let packet = phone.world.packet(PASSWORD).at("mute");
    let run = phone.wait_for(&packet);
    phone.say(Said::Begun(BeginAnswer::CodeWanted(CodeWanted::default())));
    assert_eq!(phone.hear(run), refused());
    assert_eq!(phone.world.reason(), Some(Reason::ChallengeImpossible));
}

#[test]
fn a_prompt_that_nobody_drives_is_a_clear_refusal() {
    let mut phone = Phone::new(|_| {});
    let run = phone.sign_in();
    phone.news = Some(News::Look);
    assert_eq!(phone.hear(run), refused());
    assert_eq!(phone.world.reason(), Some(Reason::PromptLost));
    phone.world.wait_secs(11);
    phone.sign_in();
    assert_eq!(phone.world.prompts(), 2, "and the next sign-in is a new one");
}

#[test]
fn a_claim_that_took_too_long_prompts_nobody_and_is_given_back() {
    let mut phone = Phone::new(|_| {});
    let packet = phone.world.packet(PASSWORD);
    let mut run = phone.world.start(&packet);
    phone.world.until(&mut run, "Claiming");
    phone.world.wait(Duration::from_millis(1_001));
    assert_eq!(phone.world.finish(run), End::Silence);
    assert_eq!((phone.world.reason(), phone.world.driven.len()), (Some(Reason::ClaimTooOld), 0));
    assert!(phone.world.records.attempts.is_empty());
}

#[test]
fn polled_prompts_end_the_same_way() {
    let mut phone = Phone::new(|_| {});
    let run = phone.sign_in();
    phone.say(Said::Begun(BeginAnswer::Waiting { session: b"s".as_slice().into() }));
    phone.world.wait_secs(2);
    phone.say(Said::Wake);
    phone.say(Said::Polled(PollAnswer::Approved));
    assert_eq!(phone.hear(run), accepted());
}

#[test]
fn whoever_waits_past_the_end_looks_once_more() {
    let mut phone = Phone::new(|_| {});
    let run = phone.sign_in();
    phone.world.wait_secs(90);
    phone.say(Said::Wake);
    assert_eq!(phone.give_up(run), refused(), "the news were lost, the store has the outcome");
    assert_eq!(phone.world.reason(), Some(Reason::PromptUnanswered));
}
