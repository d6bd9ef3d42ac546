//! Requests of a client that is logged in: every service, one after the other in one session.

#![no_main]

use std::sync::{Arc, LazyLock};

use canvoy::config::{self, LoadOptions, Sources};
use canvoy::plant::opcua::service::fuzz::Bench;

const PLANT: &str = r#"
[bus.line]
interface = "can0"
dbc = ["plant.dbc"]
node = "ME"
transmit = "all"
writable = "all"
"#;

const DBC: &str = r#"VERSION ""
BU_: ME ECU
BO_ 256 Oven: 8 ECU
 SG_ Temp : 0|16@1+ (0.1,-40) [-40|200] "degC" ME
 SG_ Mode : 16|4@1+ (1,0) [0|0] "" ME
 SG_ Door : 20|1@1+ (1,0) [0|0] "" ME
 SG_ Level : 32|32@1- (1,0) [0|0] "bottles" ME
BO_ 512 DriveCommand: 8 ME
 SG_ Setpoint : 0|16@1+ (0.5,0) [0|3000] "rpm" ECU
 SG_ Enable : 16|1@1+ (1,0) [0|0] "" ECU
BA_DEF_ BO_ "GenMsgCycleTime" INT 0 10000;
BA_DEF_DEF_ "GenMsgCycleTime" 0;
BA_ "GenMsgCycleTime" BO_ 256 100;
BA_ "GenMsgCycleTime" BO_ 512 10;
VAL_ 256 Mode 0 "Off" 1 "On" 2 "Fault" ;
VAL_ 256 Door 0 "Closed" 1 "Open" ;
SIG_VALTYPE_ 256 Level : 1;
"#;

static BENCH: LazyLock<Bench> = LazyLock::new(|| {
    let sources = Sources::embedded("plant.toml", PLANT, &[("plant.dbc", DBC.as_bytes())]);
    let plan = match config::load(&sources, LoadOptions::default()) {
        Ok(loaded) => loaded.plan,
        Err(mistakes) => panic!("{mistakes:?}"),
    };
    let folder = std::env::temp_dir().join(format!("canvoy-fuzz-{}", std::process::id()));
    Bench::new(Arc::new(plan), &folder).unwrap()
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| BENCH.requests(bytes));
