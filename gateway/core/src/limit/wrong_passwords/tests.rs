use super::*;

fn rules() -> Rules {
    Rules {
        place: 5,
        user: 20,
        station: 50,
        source: 1_000,
        window: Duration::from_secs(3_600),
        first_pause: Duration::from_secs(2),
        longest_pause: Duration::from_secs(300),
        kept: 5_000,
        known: 1_000,
    }
}

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(1_800_000_000 + secs)
}

fn guess(user: &str, station: &str) -> Guess {
    Guess {
        user: user.into(),
        group: "vpn".into(),
        station: Some(station.as_bytes().into()),
        source: [192, 0, 2, 10].into(),
    }
}

/// One password after another from second to second; those that were looked at.
fn attack(limits: &mut WrongPasswords, seconds: std::ops::Range<u64>, guess: impl Fn(u64) -> Guess) -> Vec<u64> {
    let mut judged = Vec::new();
    for second in seconds {
        let guess = guess(second);
        if limits.admits(&guess, &rules(), at(second)).is_ok() {
            limits.failed(&guess, &rules(), at(second));
            judged.push(second);
        }
    }
    judged
}

fn is_paused(limits: &WrongPasswords, guess: &Guess, now: Timestamp) -> bool {
    limits.admits(guess, &rules(), now).is_err()
}

#[test]
fn pauses_grow_from_seconds_to_minutes() {
    let mut limits = WrongPasswords::default();
    let judged = attack(&mut limits, 0..1_200, |_| guess("alice", "s"));
    assert_eq!(judged, [0, 1, 2, 3, 4, 6, 10, 18, 34, 66, 130, 258, 514, 814, 1_114]);
}

#[test]
fn pause_says_where_and_how_long() {
    let mut limits = WrongPasswords::default();
    let alice = guess("alice", "s");
    for _ in 0..4 {
        assert_eq!(limits.failed(&alice, &rules(), at(0)), None);
    }
    let pause = limits.failed(&alice, &rules(), at(0)).unwrap();
    assert_eq!((pause.scope.limit(), pause.failures, pause.until), ("wrong_passwords", 5, at(2)));
    assert_eq!(limits.admits(&alice, &rules(), at(1)), Err(Barred::Paused(pause.clone())));
    assert_eq!(limits.paused(&rules(), at(1), 10), (vec![pause], 0));
    assert_eq!(limits.paused(&rules(), at(2), 10), (vec![], 0));
}

#[test]
fn failures_are_forgotten_evenly() {
    let mut limits = WrongPasswords::default();
    let alice = guess("alice", "s");
    for _ in 0..5 {
        limits.failed(&alice, &rules(), at(0));
    }
    assert!(limits.failed(&alice, &rules(), at(3)).is_some());
    let mut later = WrongPasswords::default();
    for _ in 0..5 {
        later.failed(&alice, &rules(), at(0));
    }
    assert_eq!(later.failed(&alice, &rules(), at(1_500)), None, "two of them are forgotten");
}

#[test]
fn right_password_clears_its_place() {
    let mut limits = WrongPasswords::default();
    let alice = guess("alice", "s");
    for _ in 0..4 {
        limits.failed(&alice, &rules(), at(0));
    }
    limits.proved(&alice, &rules(), at(1));
    for _ in 0..4 {
        assert_eq!(limits.failed(&alice, &rules(), at(2)), None);
    }
}

#[test]
fn stranger_does_not_lock_the_owner_out() {
    let mut limits = WrongPasswords::default();
    let (owner, fresh) = (guess("alice", "laptop"), guess("alice", "phone"));
    limits.proved(&owner, &rules(), at(0));
    let few = attack(&mut limits, 1..1_000, |_| guess("alice", "stranger"));
    assert!(few.len() < 15, "{}", few.len());
    assert!(!is_paused(&limits, &owner, at(1_000)), "a known station");
    assert!(!is_paused(&limits, &fresh, at(1_000)), "a station without failures");
    let elsewhere = Guess { group: "other".into(), ..guess("alice", "stranger") };
    assert!(!is_paused(&limits, &elsewhere, at(1_000)), "another group of clients");
}

#[test]
fn many_stations_share_a_budget() {
    let mut limits = WrongPasswords::default();
    let owner = guess("alice", "laptop");
    limits.proved(&owner, &rules(), at(0));
    let judged = attack(&mut limits, 1..86_400, |second| guess("alice", &format!("s{second}")));
    assert!((20..=520).contains(&judged.len()), "{} in a day", judged.len());
    for second in [1_000, 40_000, 86_400] {
        assert!(!is_paused(&limits, &owner, at(second)));
    }
    assert!(!is_paused(&limits, &guess("bob", "laptop"), at(86_400)), "nor anybody else");
}

#[test]
fn many_users_share_a_station() {
    let mut limits = WrongPasswords::default();
    let known = guess("alice", "office");
    limits.proved(&known, &rules(), at(0));
    let judged = attack(&mut limits, 1..3_600, |second| guess(&format!("u{second}"), "office"));
    assert!((50..=170).contains(&judged.len()), "{} in an hour", judged.len());
    assert!(!is_paused(&limits, &known, at(3_600)));
}

#[test]
fn spraying_meets_the_source() {
    let mut limits = WrongPasswords::default();
    let known = guess("alice", "laptop");
    limits.proved(&known, &rules(), at(0));
    let mut judged = 0;
    for number in 0..36_000_u64 {
        let guess = guess(&format!("u{number}"), &format!("s{number}"));
        let now = at(number / 10);
        if limits.admits(&guess, &rules(), now).is_ok() {
            limits.failed(&guess, &rules(), now);
            judged += 1;
        }
    }
    assert!((1_000..=2_100).contains(&judged), "{judged} in an hour");
    assert!(!is_paused(&limits, &known, at(3_600)));
    let elsewhere = Guess { source: [192, 0, 2, 11].into(), group: "other".into(), ..guess("bob", "laptop") };
    assert!(!is_paused(&limits, &elsewhere, at(3_600)), "another NAS");
}

#[test]
fn parallel_guesses_count_as_wrong() {
    let mut limits = WrongPasswords::default();
    let alice = guess("alice", "s");
    let reserved: Vec<_> = (0..100).filter_map(|_| limits.reserve(&alice, &rules(), at(0)).ok()).collect();
    assert_eq!(reserved.len(), 5);
    assert_eq!(limits.reserve(&alice, &rules(), at(0)), Err(Barred::Busy));
    for reserved in &reserved {
        limits.release(reserved);
        limits.failed(reserved.guess(), &rules(), at(0));
    }
    assert!(matches!(limits.admits(&alice, &rules(), at(0)), Err(Barred::Paused(_))));
    let one = limits.reserve(&alice, &rules(), at(2)).unwrap();
    assert!(matches!(limits.reserve(&alice, &rules(), at(2)), Err(Barred::Paused(_))), "one between two pauses");
    limits.release(&one);
    assert!(limits.admits(&alice, &rules(), at(2)).is_ok(), "it was not judged");
}

#[test]
fn released_places_leave_nothing() {
    let mut limits = WrongPasswords::default();
    let reserved = limits.reserve(&guess("alice", "s"), &rules(), at(0)).unwrap();
    assert_eq!(limits.len(), 4);
    limits.release(&reserved);
    limits.release(&reserved);
    assert!(limits.is_empty());
}

#[test]
fn zero_switches_a_scope_off() {
    let off = Rules { place: 0, user: 0, station: 0, source: 0, ..rules() };
    let mut limits = WrongPasswords::default();
    for _ in 0..1_000 {
        assert_eq!(limits.failed(&guess("alice", "s"), &off, at(0)), None);
        assert_eq!(limits.admits(&guess("alice", "s"), &off, at(0)), Ok(()));
    }
    assert!(limits.is_empty());
}

#[test]
fn table_is_bounded_and_fair() {
    let small = Rules { kept: 200, source: 0, station: 0, ..rules() };
    let mut limits = WrongPasswords::default();
    let quiet = Guess { group: "quiet".into(), ..guess("bob", "s") };
    let victim = guess("alice", "s");
    for _ in 0..5 {
        limits.failed(&quiet, &small, at(0));
        limits.failed(&victim, &small, at(0));
    }
    for number in 0..10_000_u64 {
        limits.failed(&guess(&format!("u{number}"), "x"), &small, at(0));
    }
    assert!(limits.len() <= 200 && limits.take_evicted() > 9_000, "{}", limits.len());
    for guess in [&quiet, &victim] {
        assert!(limits.admits(guess, &small, at(1)).is_err(), "{guess:?} is not washed out");
    }
}

#[test]
fn known_places_are_bounded_per_user() {
    let mut limits = WrongPasswords::default();
    let bob = guess("bob", "laptop");
    limits.proved(&bob, &rules(), at(0));
    for number in 0..10_000_u64 {
        limits.proved(&guess("mallory", &format!("s{number}")), &rules(), at(number));
    }
    attack(&mut limits, 10_000..20_000, |second| guess("bob", &format!("s{second}")));
    assert!(!is_paused(&limits, &bob, at(20_000)));
}

#[test]
fn old_failures_are_swept() {
    let mut limits = WrongPasswords::default();
    limits.failed(&guess("alice", "s"), &rules(), at(0));
    limits.sweep(at(10));
    assert!(!limits.is_empty());
    limits.sweep(at(3_600));
    assert!(limits.is_empty());
}

#[test]
fn lift_ends_pauses() {
    let paused = || {
        let mut limits = WrongPasswords::default();
        for _ in 0..25 {
            limits.failed(&guess("alice", "s"), &rules(), at(0));
            limits.failed(&Guess { group: "other".into(), ..guess("bob", "t") }, &rules(), at(0));
        }
        limits
    };
    let bob = Guess { group: "other".into(), ..guess("bob", "t") };
    let look = |lift| {
        let mut limits = paused();
        assert!(limits.lift(lift) > 0);
        [is_paused(&limits, &guess("alice", "s"), at(1)), is_paused(&limits, &bob, at(1))]
    };
    assert_eq!(look(Lift::User("alice".into())), [false, true]);
    assert_eq!(look(Lift::All), [false, false]);
    let mut limits = paused();
    assert_eq!(limits.lift(Lift::User("carol".into())), 0);
    assert_eq!(limits.lift(Lift::Group("vpn".into())), 3, "place, station and address");
    assert_eq!(limits.lift(Lift::Source([192, 0, 2, 10].into())), 0, "the address was lifted");
}

/// The store passes everything on, twice.
fn tell(from: &mut WrongPasswords, to: &mut WrongPasswords, second: u64) {
    let batches = from.to_tell(usize::MAX).to_vec();
    for batch in batches.iter().chain(&batches) {
        to.hear(7, batch.clone(), &rules(), at(second));
    }
    from.told(batches.last().map_or(0, |batch| batch.number));
}

/// What one node counts the other one does too, known stations and lifted pauses included.
#[test]
fn nodes_count_together() {
    let (mut one, mut other) = (WrongPasswords::new(true), WrongPasswords::new(true));
    let owner = guess("alice", "laptop");
    other.proved(&owner, &rules(), at(0));
    attack(&mut one, 1..600, |second| guess("alice", &format!("s{second}")));
    tell(&mut one, &mut other, 600);
    let stranger = guess("alice", "new");
    assert!(is_paused(&one, &stranger, at(600)) && is_paused(&other, &stranger, at(600)));
    assert!(is_paused(&one, &owner, at(600)) && !is_paused(&other, &owner, at(600)));
    tell(&mut other, &mut one, 601);
    assert!(!is_paused(&one, &owner, at(601)), "it has heard where the owner is known");
    assert!(one.to_tell(1).is_empty() && other.to_tell(1).is_empty(), "nothing is said twice");
    assert!(one.lift(Lift::All) > 0);
    tell(&mut one, &mut other, 602);
    assert!(!is_paused(&other, &stranger, at(602)));
}

#[test]
fn reports_that_wait_are_bounded() {
    let mut limits = WrongPasswords::new(true);
    for _ in 0..MOST_UNTOLD + 10 {
        limits.failed(&guess("alice", "s"), &rules(), at(0));
    }
    assert_eq!(limits.take_lost(), 10);
    let told = limits.to_tell(2).to_vec();
    assert_eq!(told.iter().map(|batch| (batch.number, batch.reports.len())).collect::<Vec<_>>(), [(1, 64), (2, 64)]);
    assert_eq!(limits.to_tell(2), told, "until the store has them");
    limits.told(1);
    assert_eq!(limits.to_tell(2).iter().map(|batch| batch.number).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn clock_set_back_does_not_lock() {
    let mut limits = WrongPasswords::default();
    let alice = guess("alice", "s");
    for _ in 0..5 {
        limits.failed(&alice, &rules(), at(1_000_000));
    }
    assert!(is_paused(&limits, &alice, at(0)));
    let Err(Barred::Paused(pause)) = limits.admits(&alice, &rules(), at(0)) else { panic!("it pauses") };
    assert!(pause.until <= at(300));
}
