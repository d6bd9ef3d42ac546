//! `canvoy tags FILE`: all tags of a plant as a table, JSON or CSV, or what OPC UA serves of it as a NodeSet.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;

use super::check::decimal;
use super::milliseconds;
use super::{EXIT_CONFIG, print, print_diagnostics};
use crate::config::{self, Files, LoadOptions};
use crate::dbc::codec::Kind;
use crate::diagnostic::Severity;
use crate::plan::{Direction, Plan, Transmission};
use crate::plant::opcua::{import, nodeset};

/// List all tags of a configuration
///
/// A tag is one signal of one message on one bus, BUS.MESSAGE.SIGNAL. Sorted by bus and message; the signals of a
/// message in the order of the DBC file.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  canvoy tags canvoy.toml | less -S
  canvoy tags --csv canvoy.toml > tags.csv
  canvoy tags --nodeset canvoy.toml > plant.NodeSet2.xml
  canvoy tags --json canvoy.toml | jq -r '.[] | select(.writable) | .tag'")]
pub struct Args {
    /// The configuration file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The variables of this machine, in place of the file that FILE names as machine_file
    #[arg(long, value_name = "FILE")]
    pub machine: Option<PathBuf>,
    /// A JSON array, one object for each tag, with value tables
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Comma-separated values with a header line (RFC 4180), with all that an import into a SCADA system needs: NodeIds, types,
    /// ranges, units, access
    #[arg(long)]
    pub csv: bool,
    /// What OPC UA serves of the plant as a NodeSet2 file (XML); it needs the NodeSet of DI, and that of Machinery where
    /// [opcua.machine] is configured
    #[arg(long, conflicts_with_all = ["csv", "json"])]
    pub nodeset: bool,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let files = Files { config: args.file, machine: args.machine };
    let loaded = match files.read().and_then(|sources| config::load(&sources, LoadOptions::default())) {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            // warnings are the business of `check`
            let errors: Vec<_> = mistakes.into_iter().filter(|mistake| mistake.severity == Severity::Error).collect();
            print_diagnostics(&errors);
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    if args.nodeset {
        let scene = nodeset::scene(Arc::new(loaded.plan), loaded.settings.opcua.identity())?;
        print(&nodeset::write(&scene))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows: Vec<Row> = (0..loaded.plan.tags.len()).map(|tag| row(&loaded.plan, tag)).collect();
    if args.json || args.csv {
        let scene = nodeset::scene(Arc::new(loaded.plan), loaded.settings.opcua.identity())?;
        for (row, variable) in rows.iter_mut().zip(import::variables(&scene)) {
            row.opcua = Some(variable);
        }
    }
    let text = if args.json {
        let mut text = serde_json::to_string_pretty(&rows)?;
        text.push('\n');
        text
    } else if args.csv {
        csv(&rows)
    } else {
        table(&rows)
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// One tag as it is listed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    pub tag: String,
    pub bus: String,
    pub message: String,
    pub signal: String,
    /// Hexadecimal, as candump writes it.
    pub id: String,
    pub extended: bool,
    /// J1939 parameter group number.
    pub pgn: Option<u32>,
    /// `received` or `sent`.
    pub direction: &'static str,
    pub unit: String,
    pub min: Option<f64>,
    pub max: Option<f64>,
    /// `u`, `i` or `f` and the number of bits.
    pub r#type: String,
    /// Sent: what is in force; received: what the DBC file says.
    pub cycle_ms: Option<f64>,
    /// Received: after so long it is late.
    pub deadline_ms: Option<f64>,
    pub writable: bool,
    /// Name for people, from an overlay table.
    pub alias: Option<String>,
    /// Where in the plant, from an overlay table.
    pub area: Option<String>,
    /// Type of the device, where one DBC file describes several alike.
    pub device_type: Option<String>,
    /// Which of them.
    pub device: Option<String>,
    pub comment: Option<String>,
    /// By locale, from an overlay table.
    pub descriptions: BTreeMap<String, String>,
    /// The nodes that send the message, in the DBC file.
    pub senders: Vec<String>,
    /// Value = number in the frame × factor + offset.
    pub factor: f64,
    pub offset: f64,
    /// What its bits can hold, whatever the range; `None` of a float.
    pub instrument_low: Option<f64>,
    pub instrument_high: Option<f64>,
    /// Sent: the value at start, and the one in fallback.
    pub start: Option<f64>,
    pub fallback: Option<f64>,
    /// The value table.
    pub values: Vec<NamedValue>,
    /// How OPC UA has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opcua: Option<import::Variable>,
}

/// One entry of a value table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NamedValue {
    /// Decimal: JSON numbers are too small for 64 bits.
    pub raw: String,
    pub label: String,
}

/// What is to be said about a tag.
pub fn row(plan: &Plan, tag: usize) -> Row {
    let signal = plan.signal(tag);
    let planned = &plan.messages[plan.tags[tag].message];
    let message = &planned.message;
    let (direction, cycle, deadline) = match &planned.direction {
        Direction::Input(reception) => (
            "received",
            message.cycle_time.map(|cycle| cycle.as_nanos() as u64),
            reception.deadlines.get(signal.group).copied().flatten(),
        ),
        Direction::Output(transmission) => ("sent", transmission.period, None),
    };
    let instance = planned.instance.and_then(|instance| plan.instances.get(instance));
    let overlay = plan.tag_overlays.get(&tag);
    let sent = |of: fn(&Transmission) -> &[u8]| match &planned.direction {
        Direction::Output(transmission) => signal
            .codec
            .raw(of(transmission))
            .map(|raw| signal.codec.engineering(raw))
            .filter(|value| value.is_finite()),
        Direction::Input(_) => None,
    };
    let limits = matches!(signal.codec.kind, Kind::Unsigned | Kind::Signed).then(|| signal.codec.engineering_limits());
    let letter = match signal.codec.kind {
        Kind::Unsigned => 'u',
        Kind::Signed => 'i',
        Kind::F32 | Kind::F64 => 'f',
    };
    Row {
        tag: plan.tag_name(tag, None),
        bus: plan.buses[planned.bus].name.clone(),
        message: message.name.clone(),
        signal: signal.name.clone(),
        id: message.id.to_string(),
        extended: message.id.is_extended(),
        pgn: message.pgn,
        direction,
        unit: signal.unit.clone(),
        min: signal.range.map(|(min, _)| min),
        max: signal.range.map(|(_, max)| max),
        r#type: format!("{letter}{}", signal.codec.size),
        cycle_ms: cycle.map(milliseconds),
        deadline_ms: deadline.map(milliseconds),
        writable: plan.tags[tag].writable,
        alias: plan.alias(tag).map(str::to_owned),
        area: plan.area(tag).map(str::to_owned),
        device_type: instance.map(|instance| instance.device.clone()),
        device: instance.map(|instance| instance.name.clone()),
        comment: signal.comment.clone(),
        descriptions: overlay.map(|overlay| overlay.descriptions.iter().cloned().collect()).unwrap_or_default(),
        senders: message.senders.clone(),
        factor: signal.codec.factor,
        offset: signal.codec.offset,
        instrument_low: limits.map(|(low, _)| low),
        instrument_high: limits.map(|(_, high)| high),
        start: sent(|transmission| &transmission.start),
        fallback: sent(|transmission| &transmission.fallback),
        values: signal
            .value_table
            .iter()
            .map(|(raw, label)| NamedValue { raw: raw.to_string(), label: label.clone() })
            .collect(),
        opcua: None,
    }
}

/// Columns of the table, and the first of a CSV file.
const HEADER: [&str; 13] = [
    "tag",
    "id",
    "direction",
    "type",
    "min",
    "max",
    "unit",
    "cycle_ms",
    "deadline_ms",
    "writable",
    "alias",
    "area",
    "comment",
];

/// Further columns of a CSV file; new ones come at the end.
const MORE: [&str; 26] = [
    "node_id",
    "node_id_uri",
    "browse_path",
    "variable_type",
    "data_type",
    "access",
    "unit_code",
    "unit_id",
    "eu_low",
    "eu_high",
    "instrument_low",
    "instrument_high",
    "start",
    "fallback",
    "factor",
    "offset",
    "values",
    "description",
    "bus",
    "message",
    "signal",
    "sender",
    "id_format",
    "pgn",
    "device",
    "device_type",
];

/// The cells under [`MORE`].
fn more(row: &Row) -> [String; 26] {
    let number = |number: Option<f64>| number.map(decimal).unwrap_or_default();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let nothing = import::Variable::default();
    let opcua = row.opcua.as_ref().unwrap_or(&nothing);
    // what parts the words is marked inside of one
    let word = |value: &NamedValue| format!("{}={}", value.raw, value.label.replace('\\', "\\\\").replace('|', "\\|"));
    [
        text(&opcua.node_id),
        text(&opcua.node_id_uri),
        text(&opcua.browse_path),
        opcua.variable_type.clone(),
        opcua.data_type.clone(),
        opcua.access.to_owned(),
        text(&opcua.unit_code),
        opcua.unit_id.map(|id| id.to_string()).unwrap_or_default(),
        number(opcua.eu_low),
        number(opcua.eu_high),
        number(row.instrument_low),
        number(row.instrument_high),
        number(row.start),
        number(row.fallback),
        decimal(row.factor),
        decimal(row.offset),
        row.values.iter().map(word).collect::<Vec<_>>().join("|"),
        text(&opcua.description),
        row.bus.clone(),
        row.message.clone(),
        row.signal.clone(),
        row.senders.join(" "),
        if row.extended { "extended" } else { "standard" }.to_owned(),
        row.pgn.map(|pgn| pgn.to_string()).unwrap_or_default(),
        text(&row.device),
        text(&row.device_type),
    ]
}

/// The cells under [`HEADER`].
fn cells(row: &Row) -> [String; 13] {
    let number = |number: Option<f64>| number.map(decimal).unwrap_or_default();
    [
        row.tag.clone(),
        row.id.clone(),
        row.direction.to_owned(),
        row.r#type.clone(),
        number(row.min),
        number(row.max),
        row.unit.clone(),
        number(row.cycle_ms),
        number(row.deadline_ms),
        if row.writable { "yes" } else { "no" }.to_owned(),
        row.alias.clone().unwrap_or_default(),
        row.area.clone().unwrap_or_default(),
        row.comment.clone().unwrap_or_default(),
    ]
}

/// RFC 4180: CRLF, and quotes where a cell needs them.
pub fn csv(rows: &[Row]) -> String {
    let quoted = |cell: String| {
        if cell.contains([',', '"', '\r', '\n']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
    };
    let mut text = format!("{},{}\r\n", HEADER.join(","), MORE.join(","));
    for row in rows {
        let cells: Vec<String> = cells(row).into_iter().chain(more(row)).map(quoted).collect();
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    text
}

/// Columns of equal width; comments on one line, and shortened. Without the columns of overlay tables where there are none.
pub fn table(rows: &[Row]) -> String {
    const COMMENT: usize = 60;
    let mut lines = vec![HEADER.map(|name| name.to_uppercase())];
    lines.extend(rows.iter().map(|row| {
        let mut cells = cells(row);
        for cell in &mut cells {
            let words = cell.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
            *cell = words.collect::<Vec<_>>().join(" ");
        }
        if let Some(comment) = cells.last_mut().filter(|comment| comment.chars().count() > COMMENT) {
            *comment = comment.chars().take(COMMENT - 1).chain(['…']).collect();
        }
        cells
    }));
    let mut text = String::new();
    let widths: Vec<usize> = (0..HEADER.len())
        .map(|at| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or_default())
        .collect();
    let overlaid = |at: usize| lines.iter().skip(1).any(|line| !line[at].is_empty());
    let shown: Vec<usize> =
        (0..HEADER.len()).filter(|at| !["alias", "area"].contains(&HEADER[*at]) || overlaid(*at)).collect();
    for line in &lines {
        let cells = shown.iter().map(|at| (&line[*at], widths[*at]));
        let padded: Vec<String> = cells.map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}
