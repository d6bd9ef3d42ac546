//! What a person does at the machine: arm, disarm, force, release, Local and Remote, restart a bus, switch a route.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::print;
use crate::command::{Action, MAX_FORCE_SECONDS, Value};
use crate::dbc::codec::Kind;
use crate::dbc::{Raw, Signal};
use crate::plan::{Direction, MessageIndex, Plan, TagIndex};
use crate::service::client::Client;
use crate::service::exit::{Failure, UNAVAILABLE, USAGE};

/// Which controller is meant.
#[derive(Clone, Debug, clap::Args)]
pub struct Door {
    /// Command socket of the controller [default: /run/canvoy/command, else that of the only `canvoy run` of this user]
    #[arg(long, value_name = "PATH", env = "CANVOY_SOCKET", hide_env_values = true)]
    pub socket: Option<PathBuf>,
}

/// Let the outputs leave their fallback values
///
/// After a start (where the configuration says so), a crash, bus-off, or when something that an output needs was not good, its
/// fallback value is sent until somebody arms again. Refused while a cause lasts; the answer names it.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  canvoy status && canvoy arm")]
pub struct ArmArgs {
    #[command(flatten)]
    door: Door,
}

/// Take every output to its fallback value
///
/// Not an emergency stop: those are wired. The values are sent within a cycle.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  canvoy disarm")]
pub struct DisarmArgs {
    #[command(flatten)]
    door: Door,
}

/// Take one message, or all of them, to the fallback values by hand
///
/// The machine stays armed: the others go on. It ends with `canvoy reset`, with `canvoy arm`, and with a restart of the controller
/// where the machine arms itself at the start. Not an emergency stop: those are wired.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  canvoy fallback line.DriveCommand\n  canvoy fallback --all")]
pub struct FallbackArgs {
    #[command(flatten)]
    what: Outputs,
    #[command(flatten)]
    door: Door,
}

/// End the fallback of one message, or of all
///
/// Only of a machine that is armed, and refused while a cause lasts; the answer names it. What was written before is forgotten.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  canvoy reset line.DriveCommand\n  canvoy reset --all")]
pub struct ResetArgs {
    #[command(flatten)]
    what: Outputs,
    #[command(flatten)]
    door: Door,
}

/// Which outputs are meant.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Outputs {
    /// BUS.MESSAGE
    #[arg(value_name = "MESSAGE")]
    message: Option<String>,
    /// Every message that is sent
    #[arg(long)]
    all: bool,
}

/// Local: the plant may only disarm, release and take outputs to fallback
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Example:\n  canvoy local      # while somebody works at the machine\n  canvoy remote     # the plant may write, arm and force again"
)]
pub struct LocalArgs {
    #[command(flatten)]
    door: Door,
}

/// Remote: the plant may write, arm and force again
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  canvoy remote")]
pub struct RemoteArgs {
    #[command(flatten)]
    door: Door,
}

/// Hold a signal at a value for a time
///
/// Works on inputs and outputs that `forcible` lists. Shown as "forced by an operator" everywhere; it ends by itself, with
/// `canvoy release`, and with the controller.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  canvoy force line.OvenStatus.ZoneTemperature 85.5 --for 10m
  canvoy force line.DriveCommand.Enable Off --for 30s
  canvoy release line.DriveCommand.Enable")]
pub struct ForceArgs {
    /// BUS.MESSAGE.SIGNAL
    #[arg(value_name = "TAG")]
    tag: String,
    /// In the signal's unit, or a word of its value table
    #[arg(value_name = "VALUE", allow_negative_numbers = true)]
    value: String,
    /// How long: 30s, 10m, 2h; at most a day
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    time: Duration,
    #[command(flatten)]
    door: Door,
}

/// End a force, or all
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  canvoy release line.DriveCommand.Enable\n  canvoy release --all")]
pub struct ReleaseArgs {
    /// BUS.MESSAGE.SIGNAL
    #[arg(value_name = "TAG", required_unless_present = "all", conflicts_with = "all")]
    tag: Option<String>,
    /// Every force
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    door: Door,
}

/// Restart a bus that is off
///
/// By the driver, through the canvoy-link helper where it is set up. The outputs of the bus stay at their fallback values until
/// armed.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  canvoy restart line")]
pub struct RestartArgs {
    /// The name in [bus.NAME]
    #[arg(value_name = "BUS")]
    bus: String,
    #[command(flatten)]
    door: Door,
}

/// Switch a route on or off
///
/// A route that the storm detector has switched off stays off until this.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  canvoy route drive on")]
pub struct RouteArgs {
    /// The name in [route.NAME]; both ways of one that goes both ways
    #[arg(value_name = "ROUTE")]
    route: String,
    #[arg(value_enum)]
    switch: Switch,
    #[command(flatten)]
    door: Door,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    On,
    Off,
}

pub fn arm(args: ArmArgs) -> anyhow::Result<ExitCode> {
    simple(args.door, Action::Arm, "armed\n")
}

pub fn disarm(args: DisarmArgs) -> anyhow::Result<ExitCode> {
    simple(args.door, Action::Disarm, "disarmed: every output has its fallback value\n")
}

pub fn fallback(args: FallbackArgs) -> anyhow::Result<ExitCode> {
    outputs(
        args.door,
        args.what,
        Action::Fallback,
        "taken to its fallback values",
        "every output has its fallback value",
    )
}

pub fn reset(args: ResetArgs) -> anyhow::Result<ExitCode> {
    outputs(args.door, args.what, Action::ResetFallback, "out of fallback", "every output is out of fallback")
}

fn outputs(
    door: Door,
    what: Outputs,
    action: fn(Option<MessageIndex>) -> Action,
    one: &str,
    all: &str,
) -> anyhow::Result<ExitCode> {
    let mut client = Client::open(door.socket)?;
    ask(&mut client, |plan| Ok(action(what.message.as_deref().map(|name| find_message(plan, name)).transpose()?)))?;
    print(&what.message.map_or_else(|| format!("{all}\n"), |name| format!("{name} is {one}\n")))?;
    Ok(ExitCode::SUCCESS)
}

pub fn local(args: LocalArgs) -> anyhow::Result<ExitCode> {
    simple(args.door, Action::Remote(false), "Local: the plant may only disarm, release and take outputs to fallback\n")
}

pub fn remote(args: RemoteArgs) -> anyhow::Result<ExitCode> {
    simple(args.door, Action::Remote(true), "Remote: the plant may write, arm and force\n")
}

pub fn force(args: ForceArgs) -> anyhow::Result<ExitCode> {
    let mut client = Client::open(args.door.socket)?;
    let seconds = args.time.as_secs_f64();
    ask(&mut client, |plan| {
        let tag = find_tag(plan, &args.tag)?;
        Ok(Action::Force { tag, value: value(plan.signal(tag), &args.value)?, seconds })
    })?;
    print(&format!("{} is forced to {} for {seconds} s\n", args.tag, args.value))?;
    Ok(ExitCode::SUCCESS)
}

pub fn release(args: ReleaseArgs) -> anyhow::Result<ExitCode> {
    let mut client = Client::open(args.door.socket)?;
    ask(&mut client, |plan| Ok(Action::Release(args.tag.as_deref().map(|tag| find_tag(plan, tag)).transpose()?)))?;
    print(&format!("{} released\n", args.tag.as_deref().unwrap_or("all forces")))?;
    Ok(ExitCode::SUCCESS)
}

pub fn restart(args: RestartArgs) -> anyhow::Result<ExitCode> {
    let mut client = Client::open(args.door.socket)?;
    ask(&mut client, |plan| {
        let names: Vec<&str> = plan.buses.iter().map(|bus| bus.name.as_str()).collect();
        let bus = names.iter().position(|name| *name == args.bus);
        Ok(Action::Restart(bus.ok_or_else(|| unknown("bus", &args.bus, &names))?))
    })?;
    print(&format!("restart of bus {} asked for\n", args.bus))?;
    Ok(ExitCode::SUCCESS)
}

pub fn route(args: RouteArgs) -> anyhow::Result<ExitCode> {
    let mut client = Client::open(args.door.socket)?;
    let names: Vec<String> = client.plan.routes.iter().map(|route| route.name.clone()).collect();
    let back = format!("{} (back)", args.route);
    let meant: Vec<&String> = names.iter().filter(|name| **name == args.route || **name == back).collect();
    if meant.is_empty() {
        return Err(unknown("route", &args.route, &names.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    for name in meant {
        ask(&mut client, |plan| {
            let route = plan.routes.iter().position(|route| route.name == *name);
            let route = route.ok_or_else(|| unknown("route", name, &[]))?;
            Ok(Action::Route { route, on: args.switch == Switch::On })
        })?;
    }
    print(&format!("route {} is {}\n", args.route, if args.switch == Switch::On { "on" } else { "off" }))?;
    Ok(ExitCode::SUCCESS)
}

fn simple(door: Door, action: Action, done: &str) -> anyhow::Result<ExitCode> {
    let mut client = Client::open(door.socket)?;
    ask(&mut client, |_| Ok(action.clone()))?;
    print(done)?;
    Ok(ExitCode::SUCCESS)
}

/// A refusal is an error with its reason.
fn ask(client: &mut Client, make: impl Fn(&Plan) -> anyhow::Result<Action>) -> anyhow::Result<()> {
    let answer = client.command_by(make)?;
    Ok(answer.map_err(|refusal| Failure::new(UNAVAILABLE, format!("refused: {refusal}")))?)
}

fn unknown(what: &str, name: &str, known: &[&str]) -> anyhow::Error {
    let known = if known.is_empty() { "there is none".to_owned() } else { format!("there are: {}", known.join(", ")) };
    Failure::new(USAGE, format!("no {what} \"{name}\"; {known}")).into()
}

/// By `BUS.MESSAGE.SIGNAL`, case as in the DBC.
fn find_tag(plan: &Plan, name: &str) -> anyhow::Result<TagIndex> {
    let found = (0..plan.tags.len()).find(|tag| plan.tag_name(*tag, None) == name);
    let remedy = "`canvoy tags FILE` lists them";
    Ok(found
        .ok_or_else(|| Failure::new(USAGE, format!("no signal \"{name}\"; it is BUS.MESSAGE.SIGNAL, and {remedy}")))?)
}

/// By `BUS.MESSAGE`, of those that are sent.
fn find_message(plan: &Plan, name: &str) -> anyhow::Result<MessageIndex> {
    let sent = |message: &usize| matches!(plan.messages[*message].direction, Direction::Output(_));
    let outputs: Vec<MessageIndex> = (0..plan.messages.len()).filter(sent).collect();
    let names: Vec<String> = outputs.iter().map(|message| plan.message_name(*message, None)).collect();
    let found = names.iter().position(|known| known == name).and_then(|at| outputs.get(at).copied());
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    found.ok_or_else(|| unknown("message that is sent", name, &names))
}

/// A number in the signal's unit, or a word of its value table.
fn value(signal: &Signal, text: &str) -> anyhow::Result<Value> {
    if let Ok(number) = text.parse::<f64>() {
        return Ok(Value::Engineering(number));
    }
    let labelled = signal.value_table.iter().find(|(_, word)| word.eq_ignore_ascii_case(text));
    let raw = labelled.and_then(|(key, _)| match signal.codec.kind {
        Kind::Unsigned | Kind::Signed => Raw::from_i128(signal.codec.kind, *key),
        Kind::F32 | Kind::F64 => None,
    });
    let words: Vec<&str> = signal.value_table.iter().map(|(_, word)| word.as_str()).collect();
    let known = if words.is_empty() { "a number".into() } else { format!("a number or one of: {}", words.join(", ")) };
    Ok(raw.map(Value::Raw).ok_or_else(|| Failure::new(USAGE, format!("{} takes {known}", signal.name)))?)
}

/// `30s`, `10m`, `2h`.
fn duration(text: &str) -> Result<Duration, String> {
    let takes = || format!("{text:?} is no time: write 30s, 10m or 2h, from 1s to 24h");
    let (number, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
    let unit = match unit {
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(takes()),
    };
    let seconds = number.parse::<f64>().map_err(|_| takes())? * unit;
    // written so that NaN is refused too
    if !(1.0..=MAX_FORCE_SECONDS).contains(&seconds) {
        return Err(takes());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, seconds) in [("30s", Some(30)), ("10m", Some(600)), ("1.5h", Some(5400)), ("24h", Some(86_400))] {
            assert_eq!(duration(text).ok().map(|time| time.as_secs()), seconds, "{text}");
        }
        for text in ["", "10", "s", "0s", "25h", "-1s", "NaNs", "1d", "1 0s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
