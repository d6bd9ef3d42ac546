//! The tools of the other tests themselves: without them a failure elsewhere would say nothing about Canvoy.

use crate::harness::{Process, run};

crate::tests! {
    Vcan: candump_sees_what_cansend_sent;
}

fn candump_sees_what_cansend_sent() {
    let mut candump = Process::start("candump", &["-L", "vcan0,123:7FF"]);
    let frame = "vcan0 123#DEADBEEF";
    // candump does not say when it listens: send until it has seen one
    candump.wait_output("a frame", |output| {
        run("cansend", &["vcan0", "123#DEADBEEF"]);
        output.contains(frame).then_some(())
    });
    candump.signal(libc::SIGTERM);
    candump.wait_end();
    assert!(candump.output().lines().all(|line| line.ends_with(frame)), "{}", candump.output());
}
