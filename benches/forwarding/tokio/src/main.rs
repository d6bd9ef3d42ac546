//! The tokio peer: forwards frames by identifier between interfaces with `tokio` (current thread) and `socketcan`.
//!
//! forward-tokio PRIORITY FROM TO ID [FROM TO ID]...     ID: hexadecimal, 11 bits. PRIORITY: of SCHED_FIFO, 0 for none.

use std::collections::HashMap;
use std::rc::Rc;

use socketcan::tokio::CanSocket;
use socketcan::{EmbeddedFrame, Id};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some(priority), routes) = (arguments.first(), arguments.get(1..).unwrap_or_default()) else {
        return Err("forward-tokio PRIORITY FROM TO ID [FROM TO ID]...".into());
    };
    real_time(priority.parse()?)?;
    let mut sockets: HashMap<&str, Rc<CanSocket>> = HashMap::new();
    let mut routed: HashMap<&str, HashMap<u16, Rc<CanSocket>>> = HashMap::new();
    for route in routes.chunks_exact(3) {
        for name in &route[..2] {
            if !sockets.contains_key(name.as_str()) {
                sockets.insert(name, Rc::new(CanSocket::open(name)?));
            }
        }
        let id = u16::from_str_radix(&route[2], 16)?;
        routed.entry(&route[0]).or_default().insert(id, sockets[route[1].as_str()].clone());
    }
    let local = tokio::task::LocalSet::new();
    for (from, targets) in routed {
        let socket = sockets[from].clone();
        local.spawn_local(async move {
            while let Ok(frame) = socket.read_frame().await {
                let Id::Standard(id) = frame.id() else { continue };
                if let Some(target) = targets.get(&id.as_raw())
                    && let Err(error) = target.write_frame(frame).await
                {
                    eprintln!("send: {error}");
                }
            }
        });
    }
    local.await;
    Ok(())
}

/// SCHED_FIFO for the one thread, where a priority is given.
fn real_time(priority: i32) -> Result<(), std::io::Error> {
    if priority == 0 {
        return Ok(());
    }
    let parameter = libc::sched_param { sched_priority: priority };
    // SAFETY: the structure is valid during the call; 0 is the calling thread.
    if unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &parameter) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}
