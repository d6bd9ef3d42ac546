//! `canvoy link` on virtual interfaces: what a managed bus is set up by, and what is said where that can't be.

use std::path::Path;

use crate::harness::{LIMIT, Process, TempDir, poll, run};

crate::tests! {
    Vcan: a_managed_interface_is_set_up_whenever_it_appears, a_bit_rate_that_can_not_be_set_is_told;
}

const CANVOY: &str = env!("CARGO_BIN_EXE_canvoy");

/// `canvoy link` and `canvoy controller` for one bus on vcan1, which is down at first.
struct Pair {
    link: Process,
    controller: Process,
    folder: TempDir,
}

impl Pair {
    fn start(keys: &str) -> Pair {
        run("ip", &["link", "set", "vcan1", "down"]);
        let folder = TempDir::new();
        let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
        let [file, link, command] = ["plant.toml", "link", "command"].map(path);
        let toml = format!("[bus.a]\ninterface = \"vcan1\"\nmanaged = true\n{keys}\n[bus.b]\ninterface = \"vcan2\"\n");
        std::fs::write(&file, toml).expect("write the configuration");
        let controller = Process::start(CANVOY, &["controller", &file, "--socket", &command, "--link", &link]);
        // the controller is first, and asks again until it is there
        let link = Process::start(CANVOY, &["link", &file, "--socket", &link]);
        Pair { link, controller, folder }
    }

    /// Ends both; what `canvoy link` has logged.
    fn end(mut self) -> String {
        for process in [&mut self.controller, &mut self.link] {
            process.signal(libc::SIGTERM);
            assert_eq!(process.wait_end(), 0);
        }
        let log = self.link.errors();
        assert!(!self.folder.path().join("link").exists(), "the socket is left behind");
        run("ip", &["link", "set", "vcan1", "up"]);
        log
    }
}

/// The administrator's flag of an interface (IFF_UP).
fn is_up(interface: &str) -> bool {
    let text = std::fs::read_to_string(Path::new("/sys/class/net").join(interface).join("flags")).unwrap_or_default();
    u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).is_ok_and(|flags| flags & 1 == 1)
}

fn wait_up() {
    poll("vcan1 to be up", LIMIT, || is_up("vcan1").then_some(()));
}

fn a_managed_interface_is_set_up_whenever_it_appears() {
    let pair = Pair::start("");
    wait_up();
    // whoever takes it down means it
    run("ip", &["link", "set", "vcan1", "down"]);
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert!(!is_up("vcan1"), "set up against an administrator's will");
    // another one of that name is another one
    run("ip", &["link", "del", "vcan1"]);
    run("ip", &["link", "add", "vcan1", "type", "vcan"]);
    run("ip", &["link", "set", "vcan1", "mtu", "72"]);
    wait_up();
    let log = pair.end();
    assert_eq!(log.matches("done=\"up\"").count(), 2, "{log}");
    assert!(!log.contains("vcan2"), "{log}");
}

fn a_bit_rate_that_can_not_be_set_is_told() {
    let mut pair = Pair::start("bit_rate = 500000");
    let reason = "can't set the bit rate: the interface has no bit rate (virtual)";
    poll("the reason in both logs", LIMIT, || {
        (pair.link.errors().contains(reason) && pair.controller.errors().contains(reason)).then_some(())
    });
    assert!(!is_up("vcan1"));
    assert!(pair.link.ended().is_none() && pair.controller.ended().is_none());
    pair.end();
}
