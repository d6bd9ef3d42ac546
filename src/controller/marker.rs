//! A file beside the command socket that is there while a controller runs: one that is found at the start says that the
//! last controller did not end in order.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The file of this controller.
pub struct Marker {
    path: PathBuf,
    /// The last controller has left its own behind: it crashed or was killed.
    pub unclean: bool,
}

impl Marker {
    /// Puts the file down. Only for the controller that has the socket, before it sends anything.
    pub fn put(socket: &Path) -> io::Result<Marker> {
        let mut path = socket.as_os_str().to_owned();
        path.push(".running");
        let path = PathBuf::from(path);
        let unclean = match File::options().write(true).create_new(true).open(&path) {
            Ok(_) => false,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => true,
            Err(error) => return Err(error),
        };
        Ok(Marker { path, unclean })
    }

    /// Takes it away: everything has ended in order, and nothing is sent any more.
    pub fn take_away(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            // the service manager may have been faster with the folder
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_out_of_order_is_seen_until_one_in_order() {
        let folder = std::env::temp_dir().join(format!("canvoy-marker-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let socket = folder.join("command");
        // each: what the start finds, and whether that controller ends in order
        for (unclean, in_order) in [(false, true), (false, false), (true, false), (true, true), (false, true)] {
            let marker = Marker::put(&socket).unwrap();
            assert_eq!(marker.unclean, unclean);
            if in_order {
                marker.take_away().unwrap();
            }
        }
        fs::remove_dir_all(&folder).unwrap();
        assert!(Marker::put(&socket).is_err());
    }
}
