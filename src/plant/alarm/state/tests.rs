use super::*;

const SECOND: u64 = 1_000_000_000;

enum Do {
    Level(u8, u16),
    Cause(bool),
    Person(Operation, Result<What, Refused>),
    Time,
}
use Do::{Cause, Level, Person, Time};

/// Active, acknowledged, confirmed, retain, suppressed, shelved.
fn flags(state: &State) -> String {
    let flag = |on, letter| if on { letter } else { '-' };
    [
        flag(state.is_active(), 'A'),
        flag(state.acknowledged, 'K'),
        flag(state.confirmed, 'C'),
        flag(state.retain(), 'R'),
        flag(state.suppressed, 'S'),
        flag(state.shelf != Shelf::Unshelved, 'H'),
        flag(state.enabled, 'E'),
    ]
    .into_iter()
    .collect()
}

/// Each step: at which second, what happens, what is so then.
fn check(name: &str, steps: Vec<(u64, Do, &str)>) {
    let mut state = State::default();
    let mut number = 0;
    for (at, (second, what, want)) in steps.into_iter().enumerate() {
        let now = second * SECOND;
        let mut changes = Vec::new();
        match what {
            Level(level, severity) => {
                changes.extend(state.transition(Transition { level, detail: 0, value: f64::NAN, severity, time: now }));
                changes.extend(state.spent(now));
            }
            Cause(caused) => changes.extend(state.suppress(caused, now, now)),
            Person(operation, expected) => {
                let before = state.clone();
                let result = state.operate(&operation, "anna", now);
                assert_eq!(result, expected, "{name} {at}");
                assert!(result.is_ok() || before == state, "{name} {at}: refused, but changed");
                changes.extend(result.ok());
            }
            Time => changes.extend(state.expire(now)),
        }
        for change in changes {
            number += 1;
            state.numbered(number, change);
        }
        assert_eq!(flags(&state), want, "{name} {at}");
    }
}

fn acknowledge(number: u64) -> Operation {
    Operation::Acknowledge { number, comment: None }
}

fn confirm(number: u64) -> Operation {
    Operation::Confirm { number, comment: None }
}

#[test]
fn acknowledged_and_confirmed() {
    // the table of OPC 10000-9, B.1.2
    check(
        "not to be confirmed",
        vec![
            (0, Person(acknowledge(1), Err(Refused::EventUnknown)), "-KC---E"),
            (1, Level(1, 500), "A-CR--E"),
            (2, Person(acknowledge(1), Ok(What::Acknowledged)), "AKCR--E"),
            (2, Person(acknowledge(1), Err(Refused::AlreadyAcknowledged)), "AKCR--E"),
            (2, Person(confirm(1), Err(Refused::AlreadyConfirmed)), "AKCR--E"),
            (3, Level(0, 0), "-KC---E"),
            (4, Level(1, 500), "A-CR--E"),
            (5, Level(0, 0), "--CR--E"),
            // that was told before it ended
            (6, Person(acknowledge(4), Err(Refused::EventUnknown)), "--CR--E"),
            (6, Person(acknowledge(99), Err(Refused::EventUnknown)), "--CR--E"),
            (6, Person(acknowledge(5), Ok(What::Acknowledged)), "-KC---E"),
        ],
    );
    check(
        "to be confirmed",
        vec![
            (1, Level(1, 900), "A-CR--E"),
            (2, Level(0, 0), "--CR--E"),
            (3, Person(acknowledge(2), Ok(What::Acknowledged)), "-K-R--E"),
            (4, Person(confirm(2), Ok(What::Confirmed)), "-KC---E"),
        ],
    );
    check(
        "to be confirmed, though it was less at the end",
        vec![
            (1, Level(8, 900), "A-CR--E"),
            (2, Level(4, 500), "A-CR--E"),
            (3, Level(0, 0), "--CR--E"),
            (4, Person(acknowledge(3), Ok(What::Acknowledged)), "-K-R--E"),
            (5, Person(confirm(3), Ok(What::Confirmed)), "-KC---E"),
            // the next one is another
            (6, Level(4, 500), "A-CR--E"),
            (7, Person(acknowledge(6), Ok(What::Acknowledged)), "AKCR--E"),
        ],
    );
    check(
        "one that came and went before counts until it is acknowledged",
        vec![
            (1, Level(8, 900), "A-CR--E"),
            (2, Level(0, 0), "--CR--E"),
            (3, Level(4, 500), "A-CR--E"),
            (4, Person(acknowledge(3), Ok(What::Acknowledged)), "AK-R--E"),
        ],
    );
    let said = Said { text: "seen".into(), locale: "en".into() };
    check(
        "a comment does not make an event stale",
        vec![
            (1, Level(1, 500), "A-CR--E"),
            (2, Person(Operation::Comment { number: 1, comment: Some(said) }, Ok(What::Commented)), "A-CR--E"),
            (3, Person(acknowledge(1), Ok(What::Acknowledged)), "AKCR--E"),
        ],
    );
    check(
        "what gets worse needs somebody again, what gets better does not",
        vec![
            (1, Level(4, 500), "A-CR--E"),
            (2, Person(acknowledge(1), Ok(What::Acknowledged)), "AKCR--E"),
            (3, Level(8, 700), "A-CR--E"),
            (4, Person(acknowledge(3), Ok(What::Acknowledged)), "AKCR--E"),
            (5, Level(4, 500), "AKCR--E"),
        ],
    );
    let long = Said { text: "x".repeat(MOST_COMMENT + 1), locale: String::new() };
    check(
        "a comment that is too long acknowledges nothing",
        vec![
            (1, Level(1, 500), "A-CR--E"),
            (
                2,
                Person(Operation::Acknowledge { number: 1, comment: Some(long) }, Err(Refused::CommentTooLong)),
                "A-CR--E",
            ),
        ],
    );
}

#[test]
fn a_comment_stays_until_another_comes() {
    let said = |text: &str, locale: &str| Some(Said { text: text.into(), locale: locale.into() });
    let mut state = State::default();
    state.transition(Transition { level: 1, detail: 0, value: f64::NAN, severity: 500, time: 1 });
    state.numbered(1, What::Raised);
    for (comment, want) in [(said("seen", "en"), "seen"), (None, "seen"), (said("", "en"), ""), (None, "")] {
        assert_eq!(state.operate(&Operation::Comment { number: 1, comment }, "anna", 2), Ok(What::Commented));
        assert_eq!(state.comment.text, want);
    }
    assert_eq!(state.operate(&Operation::Acknowledge { number: 1, comment: None }, "bert", 3), Ok(What::Acknowledged));
    assert_eq!(state.comment.who, "anna");
}

#[test]
fn enabled_and_disabled() {
    check(
        "disabled",
        vec![
            (0, Person(Operation::Enable, Err(Refused::AlreadyEnabled)), "-KC---E"),
            (1, Level(1, 500), "A-CR--E"),
            (2, Person(Operation::Disable, Ok(What::Disabled)), "A-C----"),
            (2, Person(Operation::Disable, Err(Refused::AlreadyDisabled)), "A-C----"),
            (3, Person(acknowledge(1), Err(Refused::Disabled)), "A-C----"),
            (3, Person(Operation::OneShotShelve, Err(Refused::Disabled)), "A-C----"),
            (4, Person(Operation::Enable, Ok(What::Enabled)), "A-CR--E"),
            (5, Person(acknowledge(1), Err(Refused::EventUnknown)), "A-CR--E"),
            (5, Person(acknowledge(3), Ok(What::Acknowledged)), "AKCR--E"),
        ],
    );
    check(
        "what comes and goes while it is disabled needs nobody",
        vec![
            (1, Person(Operation::Disable, Ok(What::Disabled)), "-KC----"),
            (2, Level(1, 500), "AKC----"),
            (3, Level(0, 0), "-KC----"),
            (4, Person(Operation::Enable, Ok(What::Enabled)), "-KC---E"),
        ],
    );
}

#[test]
fn shelved() {
    check(
        "timed",
        vec![
            (1, Level(1, 500), "A-CR--E"),
            (1, Person(Operation::Unshelve, Err(Refused::NotShelved)), "A-CR--E"),
            (1, Person(Operation::TimedShelve(0), Err(Refused::ShelvingTime)), "A-CR--E"),
            (1, Person(Operation::TimedShelve(MOST_SHELVED + 1), Err(Refused::ShelvingTime)), "A-CR--E"),
            (2, Person(Operation::TimedShelve(10 * SECOND), Ok(What::Shelved)), "A-CR-HE"),
            (3, Person(Operation::TimedShelve(10 * SECOND), Err(Refused::AlreadyShelved)), "A-CR-HE"),
            (4, Level(0, 0), "--CR-HE"),
            (11, Time, "--CR-HE"),
            (12, Time, "--CR--E"),
        ],
    );
    check(
        "one shot",
        vec![
            (1, Person(Operation::OneShotShelve, Ok(What::Shelved)), "-KC--HE"),
            (2, Level(1, 500), "A-CR-HE"),
            (2, Person(Operation::OneShotShelve, Err(Refused::AlreadyShelved)), "A-CR-HE"),
            (3, Level(0, 0), "--CR--E"),
            (4, Person(Operation::OneShotShelve, Ok(What::Shelved)), "--CR-HE"),
            (5, Person(Operation::TimedShelve(SECOND), Ok(What::Shelved)), "--CR-HE"),
            (5, Person(Operation::Unshelve, Ok(What::Unshelved)), "--CR--E"),
        ],
    );
}

#[test]
fn a_consequence_needs_nobody_until_it_outlasts_its_cause() {
    check(
        "raised after its cause",
        vec![
            (1, Cause(true), "-KC-S-E"),
            (2, Level(1, 650), "AKCRS-E"),
            (3, Cause(false), "AKCRS-E"),
            (4, Level(0, 0), "-KC-S-E"),
            (6, Time, "-KC---E"),
        ],
    );
    check(
        "raised just before its cause",
        vec![(1, Level(1, 650), "A-CR--E"), (2, Cause(true), "AKCRS-E"), (3, Level(0, 0), "-KC-S-E")],
    );
    check("there long before", vec![(1, Level(1, 650), "A-CR--E"), (20, Cause(true), "A-CRS-E")]);
    check(
        "there when the cause has gone",
        vec![
            (1, Cause(true), "-KC-S-E"),
            (2, Level(1, 650), "AKCRS-E"),
            (3, Cause(false), "AKCRS-E"),
            (4, Cause(true), "AKCRS-E"),
            (8, Time, "AKCRS-E"),
            (9, Cause(false), "AKCRS-E"),
            (11, Time, "AKCRS-E"),
            (12, Time, "A-CR--E"),
        ],
    );
}
