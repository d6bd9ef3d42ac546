//! The units under systemd/: systemd finds nothing to complain about in them, rates what they leave open as little, and starts no
//! controller because of another unit.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::canvoy::CANVOY;
use crate::harness::{ROOT, TempDir};

crate::tests! {
    Nothing: nothing_but_a_person_or_the_boot_starts_the_controller;
    Tools: systemd_reads_them_without_a_word, little_is_left_open;
}

/// Highest exposure, of 0 to 10; `canvoy-link` has a capability.
const MOST: &[(&str, f64)] = &[("canvoy.service", 1.5), ("canvoy-plant.service", 1.5), ("canvoy-link.service", 1.5)];

fn units(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder of units").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "service")).collect()
}

/// What `systemd-analyze` says: standard output and standard error.
fn analyze(arguments: &[&str], units: &[PathBuf], folder: &Path) -> (String, String) {
    let mut path = folder.as_os_str().to_owned();
    // and the units of this machine
    path.push(":");
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .args(units)
        .env("SYSTEMD_UNIT_PATH", path)
        .env("SYSTEMD_COLORS", "0")
        .output()
        .expect("systemd-analyze");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(output.stdout), text(output.stderr))
}

fn systemd_reads_them_without_a_word() {
    let folder = TempDir::new();
    let shipped = units(&Path::new(ROOT).join("systemd"));
    assert_eq!(shipped.len(), MOST.len(), "{shipped:?}");
    for path in shipped {
        let text = std::fs::read_to_string(&path).expect("a unit");
        // it asks for the programs too
        let text = text.replace("/usr/bin/canvoy ", &format!("{CANVOY} "));
        std::fs::write(folder.path().join(path.file_name().expect("a name")), text).expect("a copy");
    }
    let drop_ins = "canvoy.service.d";
    std::fs::create_dir(folder.path().join(drop_ins)).expect("a folder");
    for entry in std::fs::read_dir(Path::new(ROOT).join("systemd").join(drop_ins)).expect("drop-ins") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), folder.path().join(drop_ins).join(entry.file_name())).expect("a copy");
    }
    let (output, complaints) = analyze(&["verify"], &units(folder.path()), folder.path());
    assert_eq!((output.as_str(), complaints.as_str()), ("", ""));
}

fn little_is_left_open() {
    let folder = Path::new(ROOT).join("systemd");
    for (name, most) in MOST {
        let (output, _) = analyze(&["security", "--offline=yes"], &[folder.join(name)], &folder);
        let exposure =
            output.lines().find_map(|line| line.split_once(&format!("level for {name}: "))?.1.split(' ').next());
        let exposure: f64 = exposure.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{output}"));
        assert!(exposure <= *most, "{name}: {exposure}, at most {most}\n{output}");
    }
}

/// A plant side that comes back, or a link, must not start a machine that somebody has stopped: both are ordered, nothing more.
fn nothing_but_a_person_or_the_boot_starts_the_controller() {
    // systemd.unit(5): whatever pulls in another unit
    const PULLS: &[&str] = &["Wants", "Requires", "Requisite", "BindsTo", "Upholds", "OnFailure", "OnSuccess", "Also"];
    for path in units(&Path::new(ROOT).join("systemd")) {
        let text = std::fs::read_to_string(&path).expect("a unit");
        let assignments = || text.lines().filter_map(|line| line.split_once('='));
        let pulled: Vec<_> = assignments().filter(|(key, to)| PULLS.contains(key) && to.contains("canvoy")).collect();
        assert_eq!(pulled, [], "{}", path.display());
        assert!(assignments().any(|assignment| assignment == ("WantedBy", "multi-user.target")), "{}", path.display());
    }
}
