//! `canvoy` as a process among other programs: its command line, real CAN tools, OPC UA clients, Prometheus.
//!
//! `cargo test` runs what needs nothing installed and says in one line what it left out; `./tests/run` (CANVOY_TESTS=full)
//! installs the tools and runs all, and then a missing tool is a failure, never a skip.

#[path = "../it/allocations.rs"]
mod allocations;
mod buses;
mod canvoy;
mod clock;
mod demo;
mod fleet;
mod garbage;
mod gateway;
mod harness;
mod hostile;
mod link;
mod opcua;
mod operate;
mod peer;
mod place;
mod prometheus;
mod reload;
mod restart;
mod smoke;
mod socketcan;
mod spare;
mod trust;
mod units;

use libtest_mimic::{Arguments, Trial};

/// What a test needs besides the `canvoy` binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: runs with plain `cargo test`.
    Nothing,
    /// Programs that tests/setup installs.
    Tools,
    /// Programs, and the interfaces vcan0, vcan1, vcan2 to itself: runs in the place `place` finds for it.
    Vcan,
    /// The same, and a clock of its own that it may set: runs in User Mode Linux on every computer.
    Clock,
}

/// A test: it fails by panicking.
#[derive(Clone, Copy)]
pub struct Test {
    pub name: &'static str,
    pub needs: Needs,
    pub run: fn(),
}

/// `tests![Needs: function, ...]` makes the table of a module's tests; a function left out is dead code, which clippy refuses.
#[macro_export]
macro_rules! tests {
    ($($needs:ident: $($function:ident),+;)+) => {
        pub const TESTS: &[$crate::Test] = &[$($($crate::Test {
            name: concat!(module_path!(), "::", stringify!($function)), needs: $crate::Needs::$needs, run: $function,
        }),+),+];
    };
}

fn main() {
    let tables = [
        buses::TESTS,
        clock::TESTS,
        demo::TESTS,
        fleet::TESTS,
        garbage::TESTS,
        gateway::TESTS,
        hostile::TESTS,
        link::TESTS,
        operate::TESTS,
        prometheus::TESTS,
        reload::TESTS,
        restart::TESTS,
        smoke::TESTS,
        socketcan::TESTS,
        spare::TESTS,
        trust::TESTS,
        units::TESTS,
    ];
    let all: Vec<Test> = [tables.concat(), opcua::TESTS.concat()].concat();
    if let Some(results) = std::env::var_os("CANVOY_PLACE_RESULTS") {
        return place::inside(&all, &std::env::args().skip(1).collect::<Vec<_>>(), results.as_ref());
    }
    let arguments = Arguments::from_args();
    let full = std::env::var("CANVOY_TESTS").is_ok_and(|value| value == "full");
    let (run, left): (Vec<Test>, Vec<Test>) = all.into_iter().partition(|test| full || test.needs == Needs::Nothing);
    if !left.is_empty() {
        println!(
            "not run here: {} tests that need CAN tools, OPC UA clients or Prometheus; ./tests/run installs these and runs all",
            left.len()
        );
    }
    let wanted = |needs: Needs| -> Vec<Test> {
        let all = run.iter().filter(|test| test.needs == needs && selected(&arguments, test.name));
        all.copied().collect()
    };
    let inside = [("run", wanted(Needs::Vcan)), ("uml-run", wanted(Needs::Clock))];
    let plain = run.iter().filter(|test| matches!(test.needs, Needs::Nothing | Needs::Tools));
    let mut trials: Vec<Trial> = plain.map(|test| trial(test.name, test.run)).collect();
    // Last, so that the others run while the places are busy.
    for (program, tests) in &inside {
        let place = place::Place::start(program, if arguments.list { &[] } else { tests });
        trials.extend(tests.iter().map(|test| {
            let (place, name) = (place.clone(), test.name);
            trial(name, move || place.report(name))
        }));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn trial(name: &str, run: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name.trim_start_matches("e2e::"), move || {
        run();
        Ok(())
    })
}

/// Whether the command line asks for this test: the rule of libtest-mimic, needed before the place is started.
fn selected(arguments: &Arguments, name: &str) -> bool {
    let name = name.trim_start_matches("e2e::");
    let hit = |filter: &String| if arguments.exact { name == filter } else { name.contains(filter.as_str()) };
    arguments.filter.as_ref().is_none_or(hit) && !arguments.skip.iter().any(hit)
}
