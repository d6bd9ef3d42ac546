//! The metrics page in the hands of Prometheus' own tools: its checker, and a server that scrapes it.

use std::process::{Command, Stdio};

use crate::canvoy::{Canvoy, get};
use crate::harness::{LIMIT, Process, ROOT, TempDir, free_port, poll};

crate::tests! {
    Tools: promtool_has_nothing_to_say, a_server_scrapes_it;
}

fn simulated() -> Canvoy {
    let (line, cell) = (format!("{ROOT}/dbc/line.dbc"), format!("{ROOT}/dbc/cell.dbc"));
    let bus = |name: &str, dbc: &str| {
        format!("[bus.{name}]\ninterface = \"{name}0\"\ndbc = [\"{dbc}\"]\nnode = \"Canvoy\"\ntransmit = \"all\"\n")
    };
    Canvoy::run(&[bus("line", &line), bus("cell", &cell)].concat(), &[], &["--simulate"])
}

fn tool(name: &str) -> String {
    format!("{ROOT}/.testenv/prometheus/usr/bin/{name}")
}

fn promtool_has_nothing_to_say() {
    let canvoy = simulated();
    // all kinds of series: values, reasons why there are none, counters, the histogram
    let page = poll("values on the page", LIMIT, || {
        let page = canvoy.metrics();
        (page.contains("\ncan_signal_value{") && page.contains("\ncanvoy_timer_lateness_seconds_bucket"))
            .then_some(page)
    });
    let mut command = Command::new(tool("promtool"));
    command.args(["check", "metrics"]).stdin(Stdio::piped());
    let mut promtool = Process::spawn(command);
    promtool.write(page.as_bytes());
    promtool.close_input();
    let code = promtool.wait_end();
    assert_eq!((code, promtool.output(), promtool.errors()), (0, String::new(), String::new()));
}

fn a_server_scrapes_it() {
    let canvoy = simulated();
    let folder = TempDir::new();
    let config = format!(
        "global: {{ scrape_interval: 1s }}\nscrape_configs:\n  - job_name: canvoy\n    static_configs: [ {{ targets: ['{}'] }} ]\n",
        canvoy.http
    );
    std::fs::write(folder.path().join("prometheus.yml"), config).expect("write its configuration");
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new(tool("prometheus"));
    command
        .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
        .arg(format!("--web.listen-address={address}"));
    command.current_dir(folder.path()).stdin(Stdio::null());
    let _server = Process::spawn(command);
    for query in ["up", "count(can_signal_value)>20", "can_bus_state{state=\"active\",bus=\"line\"}"] {
        poll(&format!("an answer to {query}"), LIMIT, || {
            let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let (_, body) = get(&address, &format!("/api/v1/query?query={encoded}"))?;
            let answer: serde_json::Value = serde_json::from_str(&body).ok()?;
            let value = answer["data"]["result"][0]["value"][1].as_str()?.parse::<f64>().ok()?;
            (value >= 1.0).then_some(())
        });
    }
}
