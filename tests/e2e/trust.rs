//! Certificates of OPC UA clients: refused until somebody moves them, then let in without a restart.

use serde_json::json;

use crate::canvoy::Canvoy;
use crate::harness::{LIMIT, poll};
use crate::peer::Peer;

crate::tests! {
    Tools: a_client_is_let_in_once_its_certificate_is_moved;
}

fn a_client_is_let_in_once_its_certificate_is_moved() {
    let bus = "[bus.m]\nvirtual = true\ndbc = [\"machine.dbc\"]\nnode = \"Canvoy\"\n";
    let canvoy = Canvoy::run_with("", bus, &[("machine.dbc", include_str!("machine.dbc"))], &[]);
    for mut peer in [Peer::asyncua(), Peer::node_opcua()] {
        let connect = json!({"do": "connect", "url": canvoy.opcua, "user": canvoy.user, "password": canvoy.password});
        assert!(peer.try_ask(&connect).is_err(), "a certificate that nobody has trusted");
        // the log says where, at most once a second
        let file = poll("the refused certificate", LIMIT, || {
            let log = canvoy.process.errors();
            let line = log.lines().rfind(|line| line.contains("certificate not trusted"))?;
            let logged = line.split("file=").nth(1)?.trim_start_matches('"');
            let folder = std::path::Path::new(logged.split(".der").next()?).parent()?;
            Some(std::fs::read_dir(folder).ok()?.next()?.ok()?.path())
        });
        assert!(file.starts_with(canvoy.folder.path()), "{}", file.display());
        let trusted = file.with_file_name("../trusted").join(file.file_name().expect("a name"));
        std::fs::rename(&file, &trusted).expect("move it to ../trusted");
        peer.ask(connect);
        peer.ask(json!({"do": "disconnect"}));
    }
}
