//! `canvoy monitor`: every frame that a running controller receives and sends, as candump's log lines.

use std::fmt::Write as _;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::process::ExitCode;
use std::time::Duration;

use super::operate::Door;
use crate::service::client::{Client, Rested};
use crate::service::exit::{Failure, USAGE};
use crate::store::clock;
use crate::store::ring::{Entry, Next};

/// Show every frame that the controller receives and sends
///
/// Lines as of candump -L, with R for received and T for sent, from the controller's memory: no CAN socket is opened and nothing on
/// a bus changes, and it works on simulated buses too. The bus has the name that the configuration gives it. Frames that
/// this program was too slow to see are counted on standard error; the controller never waits for it. It goes on
/// over a reload of the configuration, and ends with the controller.
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
    let mut client = Client::open(args.door.socket)?;
    let buses = &client.plan.buses;
    if let Some(unknown) = args.bus.iter().find(|name| buses.iter().all(|bus| bus.name != **name)) {
        let known: Vec<&str> = buses.iter().map(|bus| bus.name.as_str()).collect();
        return Err(Failure::new(USAGE, format!("no bus \"{unknown}\"; there are: {}", known.join(", "))).into());
    }
    let mut output = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    match follow(&mut client, &args.bus, &mut output) {
        // who has seen enough (`| head`) is no error
        Err(error) if error.downcast_ref().is_some_and(|e: &io::Error| e.kind() == ErrorKind::BrokenPipe) => {
            drop(output.into_parts());
        }
        other => other?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Until the controller ends. `only`: names of buses; empty: all.
fn follow(client: &mut Client, only: &[String], output: &mut dyn Write) -> anyhow::Result<()> {
    let mut position = client.reader.follow();
    let mut line = String::new();
    // what was last heard of the controller; acted upon once all that it published before is read
    let mut heard = Rested::Quiet;
    loop {
        match client.reader.next(&mut position) {
            Next::Entry(entry) => {
                let name = client.plan.buses.get(entry.bus).map_or("?", |bus| bus.name.as_str());
                if only.is_empty() || only.iter().any(|bus| bus == name) {
                    line.clear();
                    write_line(&mut line, name, &entry);
                    output.write_all(line.as_bytes())?;
                }
            }
            Next::Lost(frames) => writeln!(io::stderr(), "{frames} frames were not seen: this end was too slow")?,
            Next::Empty => match heard {
                Rested::Quiet => {
                    output.flush()?;
                    heard = match client.rest(REST) {
                        Rested::Quiet if client.reader.stale(clock::monotonic()) => Rested::Ended,
                        other => other,
                    };
                }
                Rested::Reloaded => {
                    // frames are numbered on from one store to the next: the position is right there too
                    client.renew()?;
                    heard = Rested::Quiet;
                    let buses: Vec<&str> = client.plan.buses.iter().map(|bus| bus.name.as_str()).collect();
                    let (hash, buses) = (client.plan.short_hash(), buses.join(", "));
                    writeln!(io::stderr(), "another configuration is in force: {hash}, buses {buses}")?;
                }
                Rested::Ended => break,
            },
        }
    }
    output.flush()?;
    writeln!(io::stderr(), "the controller ended")?;
    Ok(())
}

/// `(1790000000.123456) line 1F4#1122 R`, as can-utils write and read it.
fn write_line(line: &mut String, name: &str, entry: &Entry) {
    let Entry { frame, time, sent, .. } = entry;
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
    use crate::service::tests::{Fake, PUBLISHED, toml};
    use crate::store::layout::Word;

    #[test]
    fn lines_are_candumps() {
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
            write_line(&mut line, "line", &Entry { bus: 0, frame, time: 1_790_000_000_123_456_789, sent });
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

    #[test]
    fn no_frame_is_lost_over_a_reload() {
        let mut fake = Fake::new("monitor");
        let socket = fake.socket.clone();
        let (seen, done) = std::sync::mpsc::channel();
        let watching = std::thread::spawn(move || {
            let mut client = Client::open(Some(socket)).unwrap();
            seen.send(()).unwrap();
            let mut output = Vec::new();
            follow(&mut client, &[], &mut output).unwrap();
            String::from_utf8(output).unwrap()
        });
        let frame = |number: u8| Frame::classic(FrameId::standard(0x100).unwrap(), &[number]).unwrap();
        let (_, mut old) = fake.hand_over(&toml(&["line"]), PUBLISHED);
        done.recv().unwrap();
        // it begins to follow a moment later
        std::thread::sleep(Duration::from_millis(300));
        for number in 0..100 {
            old.publish(0, &frame(number), 1, false);
        }
        // bus 0 is another one now; some frames are there before anybody can know of the new store
        let (_, mut new) = fake.hand_over_filled(&toml(&["cell", "line"]), PUBLISHED + 100, |new| {
            (100..150).for_each(|number| new.publish(usize::from(number % 2), &frame(number), 1, false));
        });
        (150..200).for_each(|number| new.publish(usize::from(number % 2), &frame(number), 1, false));
        std::thread::sleep(Duration::from_millis(300));
        new.set(Word::Heartbeat, 1);
        let output = watching.join().unwrap();
        let want = |number: u8| {
            let bus = if number < 100 || number % 2 == 1 { "line" } else { "cell" };
            format!("(0.000000) {bus} 100#{number:02X} R")
        };
        assert_eq!(output.lines().collect::<Vec<_>>(), (0..200).map(want).collect::<Vec<_>>());
    }
}
