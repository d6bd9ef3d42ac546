//! Lines to a descriptor, without ever waiting for its reader.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::sync::{Arc, Mutex};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use tracing_subscriber::fmt::MakeWriter;

/// As much as a pipe takes in one piece or not at all (PIPE_BUF, pipe(7)).
const PIECE: usize = 4096;

/// How it is written to.
#[derive(Debug)]
enum Way {
    /// A file, which has no reader; or a descriptor that was opened for us alone and does not block.
    Plain(File),
    /// MSG_DONTWAIT: what blocks and what does not belongs to all who share a socket.
    Socket(OwnedFd),
    /// A pipe of another user, which can't be opened again: asked for room before each piece.
    Asked(File),
    /// There is no standard error.
    Nowhere,
}

impl Way {
    /// To the same thing as `descriptor`.
    fn to(descriptor: OwnedFd) -> io::Result<Way> {
        let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
        let file = File::from(descriptor);
        let kind = file.metadata()?.file_type();
        Ok(if kind.is_socket() {
            Way::Socket(file.into())
        } else if kind.is_fifo() || kind.is_char_device() {
            // a description of its own: the flag must not change for others who write there
            let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
            OpenOptions::new().write(true).custom_flags(flags).open(path).map_or(Way::Asked(file), Way::Plain)
        } else {
            Way::Plain(file)
        })
    }

    /// Writes what there is room for.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Way::Plain(file) => file.write(bytes),
            Way::Socket(socket) => {
                Ok(send(socket.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?)
            }
            Way::Asked(file) => {
                let mut asked = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
                poll(&mut asked, PollTimeout::ZERO)?;
                if !asked[0].any().unwrap_or(true) {
                    return Err(ErrorKind::WouldBlock.into());
                }
                file.write(&bytes[..bytes.len().min(PIECE)])
            }
            Way::Nowhere => Err(ErrorKind::BrokenPipe.into()),
        }
    }
}

/// Where lines go.
struct Outlet {
    way: Way,
    /// The end of a line of which the beginning is written.
    rest: Vec<u8>,
    /// Lines dropped since the last that was written.
    lost: u64,
    /// The line that says so.
    lost_line: Box<dyn Fn(u64) -> String + Send>,
}

impl Outlet {
    fn put(&mut self, line: &[u8]) {
        let rest = std::mem::take(&mut self.rest);
        self.write(rest);
        if self.rest.is_empty() && self.lost > 0 && self.begin((self.lost_line)(self.lost).into_bytes()) {
            self.lost = 0;
        }
        if !(self.rest.is_empty() && self.lost == 0 && self.begin(line.to_vec())) {
            self.lost += 1;
        }
    }

    /// Whether a line could be begun; what is missing of it is written by the next.
    fn begin(&mut self, line: Vec<u8>) -> bool {
        let length = line.len();
        self.write(line);
        if self.rest.len() < length {
            return true;
        }
        self.rest.clear();
        false
    }

    /// What can't be written at once becomes the rest.
    fn write(&mut self, mut bytes: Vec<u8>) {
        let mut written = 0;
        while written < bytes.len() {
            match self.way.write(&bytes[written..]) {
                Ok(length @ 1..) => written += length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // no room, or nobody there
                Ok(0) | Err(_) => break,
            }
        }
        self.rest = bytes.split_off(written);
    }
}

/// An outlet for all threads.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Outlet>>);

impl Shared {
    /// `lost_line`: the line for a number of lines that are missing.
    pub fn standard_error(lost_line: impl Fn(u64) -> String + Send + 'static) -> Shared {
        let error = io::stderr();
        let way = error.as_fd().try_clone_to_owned().and_then(Way::to).unwrap_or(Way::Nowhere);
        Shared::new(way, lost_line)
    }

    fn new(way: Way, lost_line: impl Fn(u64) -> String + Send + 'static) -> Shared {
        let lost_line = Box::new(lost_line);
        Shared(Arc::new(Mutex::new(Outlet { way, rest: Vec::new(), lost: 0, lost_line })))
    }
}

impl Write for Shared {
    /// A whole line. It is written, or counted as lost; there is no error to tell.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Shared {
    type Writer = Shared;

    fn make_writer(&self) -> Shared {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// Far more than any pipe or socket holds.
    const LINES: u64 = 20_000;

    /// Writes to `way` while nobody reads, then while somebody does: what is read says what is missing.
    fn check(way: Way, mut reader: impl Read + AsFd) {
        let mut outlet = Shared::new(way, |lost| format!("lost {lost}\n"));
        let line = |number: u64| format!("line {number} {}\n", "x".repeat(number as usize % 300));
        for number in 0..LINES {
            // a test that hangs here is one that fails
            outlet.write_all(line(number).as_bytes()).unwrap();
        }
        let mut text = String::new();
        let read = |reader: &mut dyn Read, text: &mut String| {
            let mut buffer = vec![0; 1 << 20];
            let length = reader.read(&mut buffer).unwrap();
            text.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        };
        // makes room, bit by bit
        let mut number = LINES;
        while !text.ends_with("the last one\n") {
            assert!(number < 2 * LINES, "it does not come through: {}", &text[text.len().saturating_sub(300)..]);
            outlet.write_all(format!("line {number}\nthe last one\n").as_bytes()).unwrap();
            number += 1;
            read(&mut reader, &mut text);
        }
        // every line is there, or counted where it is missing
        let mut expected = 0;
        for found in text.lines().filter(|found| *found != "the last one") {
            match found.strip_prefix("lost ") {
                Some(count) => expected += count.parse::<u64>().unwrap(),
                None => {
                    assert_eq!(found.split(' ').nth(1), Some(expected.to_string().as_str()));
                    assert!(expected >= LINES || format!("{found}\n") == line(expected), "whole: {found}");
                    expected += 1;
                }
            }
        }
        assert_eq!(expected, number);
        assert!(text.contains("lost "), "nothing was lost");
    }

    #[test]
    fn a_reader_that_stands_still_holds_up_nobody() {
        let (reader, writer) = io::pipe().unwrap();
        let way = Way::to(writer.as_fd().try_clone_to_owned().unwrap()).unwrap();
        assert!(matches!(way, Way::Plain(_)));
        check(way, reader);
        // the flag is ours alone
        let flags = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_GETFL).unwrap();
        assert_eq!(flags & libc::O_NONBLOCK, 0);
        let (reader, writer) = io::pipe().unwrap();
        check(Way::Asked(File::from(OwnedFd::from(writer))), reader);
        let (reader, writer) = UnixStream::pair().unwrap();
        check(Way::to(writer.into()).unwrap(), reader);
    }

    #[test]
    fn nobody_is_there() {
        let (reader, writer) = io::pipe().unwrap();
        let mut outlet = Shared::new(Way::to(writer.into()).unwrap(), |lost| format!("lost {lost}\n"));
        drop(reader);
        outlet.write_all(b"one\n").unwrap();
        Shared::new(Way::Nowhere, |lost| lost.to_string()).write_all(b"one\n").unwrap();
        let state = outlet.0.lock().unwrap();
        assert_eq!((state.lost, state.rest.len()), (1, 0));
    }
}
