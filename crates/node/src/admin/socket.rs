//! Where the local socket is, and how to reach it when its path is longer than an address can be.
//!
//! A Unix socket address holds 107 bytes of path. The socket is always `DATA_DIR/engenho.sock`; where that is too long
//! both sides open the directory and name the socket through `/proc/self/fd/N`, so no second place needs to be agreed.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The socket's name in the data directory.
pub const SOCKET_NAME: &str = "engenho.sock";

/// The most bytes of path in a `sockaddr_un`, the final NUL excepted.
const PATH_BYTES_MAX: usize = 107;

/// A path short enough for an address; valid while it lives.
pub struct ShortPath {
    path: PathBuf,
    _directory: Option<File>,
}

impl ShortPath {
    /// `directory/name`, or a shorter name of the same file.
    pub fn new(directory: &Path, name: &str) -> io::Result<Self> {
        let path = directory.join(name);
        if path.as_os_str().len() <= PATH_BYTES_MAX {
            return Ok(Self { path, _directory: None });
        }
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let directory = File::options()
            .read(true)
            .custom_flags(flags.bits() as i32)
            .open(directory)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
        Ok(Self {
            path,
            _directory: Some(directory),
        })
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether somebody listens on `data_dir`'s socket.
pub fn is_answered(data_dir: &Path) -> bool {
    let connect = || std::os::unix::net::UnixStream::connect(ShortPath::new(data_dir, SOCKET_NAME)?.path());
    connect().is_ok()
}
