//! What each variable of a condition says in each state, in tables.

use std::sync::Arc;

use super::*;
use crate::config::{self, LoadOptions, Sources};
use crate::plant::alarm::state::Comment;
use crate::plant::opcua::nodeset;
use crate::plant::opcua::scene::Scene;

const DBC: &str = "BU_: ME ECU\nBO_ 256 Oven: 8 ECU\n SG_ Temp : 0|16@1+ (1,0) [0|1000] \"degC\" ME\n SG_ Door : 16|1@1+ (1,0) [0|1] \"\" ME\n\
                   BA_DEF_ BO_ \"GenMsgCycleTime\" INT 0 10000;\nBA_DEF_DEF_ \"GenMsgCycleTime\" 0;\nBA_ \"GenMsgCycleTime\" BO_ 256 100;\n";
const CONFIGURATION: &str = r#"
[bus.line]
virtual = true
dbc = ["a.dbc"]
node = "ME"

[alarm.hot]
tag = "line.Oven.Temp"
hi = 200
hihi = 300
hysteresis = 2
on_delay_ms = 500
off_delay_ms = 1500
severity = { hi = 600, hihi = 900 }

[alarm.warm]
tag = "line.Oven.Temp"
lo = 10
hi = 200
exclusive = false

[alarm.door]
when = "line.Oven.Door == 1"
severity = 300
"#;
/// Nanoseconds: a moment in 2026.
const MOMENT: u64 = 1_790_000_000_000_000_000;

fn scene() -> Scene {
    let sources = Sources::embedded("plant.toml", CONFIGURATION, &[("a.dbc", DBC.as_bytes())]);
    let loaded = config::load(&sources, LoadOptions::default()).map_err(|mistakes| format!("{mistakes:?}")).unwrap();
    nodeset::scene(Arc::new(loaded.plan), Default::default()).unwrap()
}

/// A value in short.
fn text(value: Option<Variant>) -> String {
    match value {
        None => "nothing".into(),
        Some(Variant::LocalizedText(words)) => words.text.to_string(),
        Some(Variant::String(words)) => words.to_string(),
        Some(Variant::NodeId(id)) if id.is_null() => "null".into(),
        Some(Variant::NodeId(id)) => id.to_string(),
        Some(Variant::Boolean(on)) => on.to_string(),
        Some(Variant::UInt16(number)) => number.to_string(),
        Some(Variant::Double(number)) => number.to_string(),
        Some(Variant::StatusCode(status)) => status.to_string(),
        Some(Variant::DateTime(time)) if time.is_null() => "never".into(),
        Some(Variant::DateTime(time)) => (time.as_chrono().timestamp() - (MOMENT / 1_000_000_000) as i64).to_string(),
        Some(other) => format!("{other:?}"),
    }
}

fn at(seconds: u64) -> u64 {
    MOMENT + seconds * 1_000_000_000
}

/// `alarm path => what it says` a line.
fn check(name: &str, change: impl Fn(&mut State), alive: bool, lines: &str) {
    let scene = scene();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (what, want) = line.split_once(" => ").unwrap();
        let (key, path) = what.split_once(' ').unwrap();
        let alarm = scene.space.alarms.find(key).unwrap_or_else(|| panic!("{key}"));
        let mut state = State::default();
        change(&mut state);
        let condition = Condition::new(&scene.space, alarm, state, alive).unwrap();
        assert_eq!(text(condition.field(path)), want, "{name}: {what}");
    }
}

#[test]
fn what_the_configuration_says() {
    check(
        "at rest",
        |_| {},
        true,
        "alarm:hot HighLimit => 200
         alarm:hot HighHighLimit => 300
         alarm:hot LowLimit => nothing
         alarm:hot HighDeadband => 2
         alarm:hot SeverityHigh => 600
         alarm:hot SeverityHighHigh => 900
         alarm:hot OnDelay => 500
         alarm:hot OffDelay => 1500
         alarm:hot InputNode => ns=2;s=line.Oven.Temp
         alarm:hot SourceNode => ns=2;s=line.Oven.Temp
         alarm:hot ConditionName => hot
         alarm:hot ConditionClassName => ProcessConditionClassType
         alarm:hot EventType => i=9482
         alarm:hot MaxTimeShelved => 86400000
         alarm:warm EventType => i=9906
         alarm:warm LowLimit => 10
         alarm:door EventType => i=10637
         alarm:door HighLimit => nothing
         alarm:door OnDelay => 0
         late:line.Oven EventType => i=11753
         late:line.Oven ConditionName => late
         late:line.Oven ConditionClassName => SystemConditionClassType
         late:line.Oven OnDelay => nothing
         late:line.Oven SourceNode => ns=2;s=line.Oven
         late:line.Oven Severity => 650
         late:line.Oven Retain => false
         late:line.Oven Time => never",
    );
}

#[test]
fn active_and_seen_by_nobody() {
    let raised = |state: &mut State| {
        state.level = 4;
        (state.severity, state.last_severity) = (600, 300);
        (state.acknowledged, state.confirmed) = (false, true);
        (state.times.last, state.times.active, state.times.severity) = (at(5), at(4), at(3));
    };
    check(
        "raised",
        raised,
        true,
        "alarm:hot Severity => 600
         alarm:hot LastSeverity => 300
         alarm:hot LastSeverity/SourceTimestamp => 3
         alarm:hot Retain => true
         alarm:hot Time => 5
         alarm:hot ActiveState => Active
         alarm:hot ActiveState/Id => true
         alarm:hot ActiveState/TransitionTime => 4
         alarm:hot ActiveState/EffectiveDisplayName => Active/High
         alarm:hot AckedState/Id => false
         alarm:hot ConfirmedState/Id => true
         alarm:hot LimitState/CurrentState => High
         alarm:hot LimitState/CurrentState/Id => i=9331
         alarm:hot EnabledState/EffectiveDisplayName => Active, unacknowledged
         alarm:hot Quality => Good
         alarm:hot ShelvingState/CurrentState => Unshelved
         alarm:hot ShelvingState/CurrentState/Id => i=2930
         alarm:hot ShelvingState/UnshelveTime => 0
         alarm:warm HighState/Id => true
         alarm:warm LowState/Id => false
         alarm:warm HighHighState/Id => nothing
         alarm:warm LimitState/CurrentState => nothing",
    );
    check("the machine is not seen", raised, false, "alarm:hot Quality => BadNoCommunication");
}

#[test]
fn what_people_and_causes_did() {
    let comment = |state: &mut State| {
        state.comment = Comment { text: "seen".into(), locale: "en".into(), who: "anna".into(), time: at(7) };
        state.confirmed = false;
        (state.shelf, state.times.shelved) = (Shelf::Timed(u64::MAX), at(9));
    };
    check(
        "shelved for a time",
        comment,
        true,
        "alarm:hot Comment => seen
         alarm:hot Comment/SourceTimestamp => 7
         alarm:hot ClientUserId => anna
         alarm:hot ConfirmedState => Unconfirmed
         alarm:hot Retain => true
         alarm:hot ShelvingState/CurrentState => Timed Shelved
         alarm:hot ShelvingState/CurrentState/Id => i=2932
         alarm:hot ShelvingState/LastTransition/TransitionTime => 9
         alarm:hot SuppressedOrShelved => true
         alarm:hot EnabledState/EffectiveDisplayName => Shelved",
    );
    check(
        "shelved once",
        |state| state.shelf = Shelf::OneShot(at(0)),
        true,
        "alarm:hot ShelvingState/CurrentState/Id => i=2933
         alarm:hot SuppressedState/Id => false",
    );
    let consequence = |state: &mut State| {
        state.level = 1;
        (state.suppressed, state.times.suppressed) = (true, at(8));
    };
    check(
        "a consequence",
        consequence,
        true,
        "late:line.Oven SuppressedState => Suppressed
         late:line.Oven SuppressedState/Id => true
         late:line.Oven SuppressedState/TransitionTime => 8
         late:line.Oven SuppressedOrShelved => true
         late:line.Oven EnabledState/EffectiveDisplayName => Suppressed",
    );
}

#[test]
fn what_is_disabled_says_nothing_of_its_state() {
    let disabled = |state: &mut State| {
        state.level = 4;
        (state.enabled, state.times.enabled) = (false, at(2));
    };
    check(
        "disabled",
        disabled,
        true,
        "alarm:hot EnabledState => Disabled
         alarm:hot EnabledState/Id => false
         alarm:hot EnabledState/TransitionTime => 2
         alarm:hot EnabledState/EffectiveDisplayName => Disabled
         alarm:hot Retain => false
         alarm:hot HighLimit => 200
         alarm:hot ConditionName => hot
         alarm:hot AckedState/Id => BadConditionDisabled
         alarm:hot ConfirmedState => BadConditionDisabled
         alarm:hot ActiveState/Id => BadConditionDisabled
         alarm:hot SuppressedOrShelved => BadConditionDisabled
         alarm:hot ShelvingState/CurrentState => BadConditionDisabled
         alarm:hot LimitState/CurrentState => BadConditionDisabled
         alarm:hot Quality => BadConditionDisabled
         alarm:hot LastSeverity => BadConditionDisabled
         alarm:warm HighState/Id => BadConditionDisabled",
    );
}

#[test]
fn an_event_id_is_of_one_change_of_one_alarm() {
    let id = event_id("late:m.A", 7);
    assert_eq!(number_of("late:m.A", &id), Some(7));
    assert_eq!(number_of("late:m.B", &id), None);
    for wrong in [&[][..], &id[..15], &[0; 16], &[id.as_slice(), &[0]].concat()] {
        assert_eq!(number_of("late:m.A", wrong), None, "{wrong:?}");
    }
}
