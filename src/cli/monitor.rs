//! `canvoy monitor`: every frame that a running controller receives and sends, as candump's log lines.

use std::fmt::Write as _;
use std::io::{BufWriter, Write};
use std::process::ExitCode;
use std::time::Duration;

use super::operate::Door;
use crate::plan::Plan;
use crate::service::client::Client;
use crate::service::exit::{Failure, USAGE};
use crate::store::clock;
use crate::store::ring::{Entry, Next};

/// Show every frame that the controller receives and sends
///
/// Lines as of candump -L, with R for received and T for sent, from the controller's memory: no CAN socket is opened and nothing on
/// a bus changes, and it works on simulated buses too. The bus has the name that the configuration gives it. Frames that
/// this program was too slow to see are counted on standard error; the controller never waits for it. Ends with the controller.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  canvoy monitor
  canvoy monitor --bus line | canvoy decode --dbc dbc/line.dbc --single-line
  canvoy monitor > machine.log")]
pub struct Args {
    /// Only this bus; may be given several times
    #[arg(long, value_name = "BUS")]
    bus: Vec<String>,
    #[command(flatten)]
    door: Door,
}

/// Between two looks, where there is nothing new.
const REST: Duration = Duration::from_millis(5);

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::open(args.door.socket)?;
    let plan = &client.plan;
    if let Some(unknown) = args.bus.iter().find(|name| plan.buses.iter().all(|bus| bus.name != **name)) {
        let known: Vec<&str> = plan.buses.iter().map(|bus| bus.name.as_str()).collect();
        return Err(Failure::new(USAGE, format!("no bus \"{unknown}\"; there are: {}", known.join(", "))).into());
    }
    let shown: Vec<bool> = plan.buses.iter().map(|bus| args.bus.is_empty() || args.bus.contains(&bus.name)).collect();
    let mut output = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    let mut position = client.reader.follow();
    let mut line = String::new();
    let mut print = |entry: &Entry, output: &mut dyn Write| {
        line.clear();
        write_line(&mut line, plan, entry);
        output.write_all(line.as_bytes())
    };
    loop {
        let written = match client.reader.next(&mut position) {
            Next::Entry(entry) if shown.get(entry.bus) == Some(&true) => print(&entry, &mut output),
            Next::Entry(_) => Ok(()),
            Next::Lost(frames) => writeln!(std::io::stderr(), "{frames} frames were not seen: this end was too slow"),
            Next::Empty if client.reader.stale(clock::monotonic()) => break,
            Next::Empty => output.flush().map(|()| std::thread::sleep(REST)),
        };
        match written {
            // who has seen enough (`| head`) is no error
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                drop(output.into_parts());
                return Ok(ExitCode::SUCCESS);
            }
            other => other?,
        }
    }
    output.flush()?;
    writeln!(std::io::stderr(), "the controller ended")?;
    Ok(ExitCode::SUCCESS)
}

/// `(1790000000.123456) line 1F4#1122 R`, as can-utils write and read it.
fn write_line(line: &mut String, plan: &Plan, entry: &Entry) {
    let Entry { bus, frame, time, sent } = entry;
    let name = plan.buses.get(*bus).map_or("?", |bus| bus.name.as_str());
    let microseconds = time / 1000;
    // writing into a String can't fail
    let _ = write!(line, "({}.{:06}) {name} {}", microseconds / 1_000_000, microseconds % 1_000_000, frame.id);
    line.push('#');
    if frame.fd {
        let _ = write!(line, "#{:X}", u8::from(frame.bit_rate_switch) | u8::from(frame.error_state) << 1);
    }
    if frame.remote {
        let _ = write!(line, "R{}", frame.len());
    }
    for byte in frame.payload() {
        let _ = write!(line, "{byte:02X}");
    }
    line.push_str(if *sent { " T\n" } else { " R\n" });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::can::{Frame, FrameId};
    use crate::candump;
    use crate::plan::Bus;

    #[test]
    fn lines_are_candumps() {
        let plan = Plan { buses: vec![Bus { name: "line".into(), ..Bus::default() }], ..Plan::default() };
        let standard = FrameId::standard(0x1F4).unwrap();
        let mut fd = Frame::fd(FrameId::extended(0x18FE_F100).unwrap(), &[7; 12]).unwrap();
        fd.bit_rate_switch = true;
        for (frame, sent, want) in [
            (Frame::classic(standard, &[0x11, 0x22]).unwrap(), false, "1F4#1122 R"),
            (Frame::classic(standard, &[]).unwrap(), true, "1F4# T"),
            (Frame::remote(standard, 3).unwrap(), false, "1F4#R3 R"),
            (fd, true, "18FEF100##1070707070707070707070707 T"),
        ] {
            let mut line = String::new();
            write_line(&mut line, &plan, &Entry { bus: 0, frame, time: 1_790_000_000_123_456_789, sent });
            assert_eq!(line, format!("(1790000000.123456) line {want}\n"));
            let read = candump::parse(line.trim_end()).unwrap().unwrap();
            let content = match frame.remote {
                true => candump::Content::Remote { id: frame.id },
                false => candump::Content::Data {
                    id: frame.id,
                    fd: frame.fd.then_some(u8::from(frame.bit_rate_switch)),
                    payload: candump::Payload::new(frame.payload()).unwrap(),
                },
            };
            assert_eq!((read.bus, read.content), ("line", content), "{line}");
        }
    }
}
