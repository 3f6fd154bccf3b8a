//! Where a development cluster keeps its data, and which ports it gets.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::output::CommandError;

/// A directory with one data directory a member.
pub struct Place {
    path: PathBuf,
    temporary: bool,
}

impl Place {
    /// The given directory, or a new temporary one that [`Place::close`] removes unless it is to be kept.
    pub fn open(given: Option<&Path>, keep: bool) -> Result<Self, CommandError> {
        let failed = |path: &Path, error: &io::Error| {
            CommandError::failed(
                format!("{} cannot be made: {error}", path.display()),
                "choose another with --dir",
            )
        };
        if let Some(given) = given {
            let path = std::path::absolute(given).map_err(|error| failed(given, &error))?;
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(|error| failed(&path, &error))?;
            return Ok(Self { path, temporary: false });
        }
        let base = std::env::temp_dir();
        for attempt in 0..100 {
            let path = base.join(format!("engenho-dev-{}-{attempt}", std::process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path, temporary: !keep }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&path, &error)),
            }
        }
        Err(failed(&base, &io::ErrorKind::AlreadyExists.into()))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it if it is temporary. All members must have ended.
    pub fn close(self) {
        if self.temporary
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the temporary directory stays");
        }
    }
}

/// One member's addresses, all on loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// API (TCP).
    pub api: SocketAddr,
    /// Mesh (UDP).
    pub mesh: SocketAddr,
    /// Metrics (TCP).
    pub metrics: SocketAddr,
}

/// Ports that are free now, from `base` on, three a member.
pub fn free_ports(members: usize, base: u16) -> Result<Vec<Ports>, CommandError> {
    let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut found = Vec::with_capacity(members);
    let mut candidate = base;
    while found.len() < members {
        let Some(next) = candidate.checked_add(3) else {
            return Err(CommandError::failed(
                format!("too few ports from {base} on are free"),
                "choose a lower --base-port, or fewer --nodes",
            ));
        };
        let ports = Ports {
            api: at(candidate),
            mesh: at(candidate + 1),
            metrics: at(candidate + 2),
        };
        let free = TcpListener::bind(ports.api).is_ok()
            && UdpSocket::bind(ports.mesh).is_ok()
            && TcpListener::bind(ports.metrics).is_ok();
        if free {
            found.push(ports);
        }
        candidate = next;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_ports_are_passed_over() {
        let (taken, port) = loop {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            if (1024..60_000).contains(&port) {
                break (listener, port);
            }
        };
        let ports = free_ports(3, port).unwrap();
        assert_eq!(ports.len(), 3);
        assert!(ports.iter().all(|ports| ports.api.port() > port));
        drop(taken);
        assert!(free_ports(3, 65_530).is_err());
    }

    #[test]
    fn temporary_places_go_away() {
        let place = Place::open(None, false).unwrap();
        let path = place.path().to_path_buf();
        assert!(path.is_dir());
        place.close();
        assert!(!path.exists());
        let dir = tempfile::tempdir().unwrap();
        let place = Place::open(Some(&dir.path().join("a")), false).unwrap();
        let path = place.path().to_path_buf();
        place.close();
        assert!(path.is_dir(), "what a person named stays");
    }
}
