//! A private directory for sockets and files, and a free port.

use std::fs;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The longest path that fits `sun_path` of every system, its NUL included.
pub const SUN_PATH: usize = 104;
/// What is left for a file's name below a directory of ours.
const NAME_ROOM: usize = 40;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A directory of mode 0711, so that an application under another user reaches the files it is
/// told of and lists none; removed with all that is in it when dropped.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Makes a fresh directory. Where `TMPDIR` is too long for a socket's path, `/tmp` it is.
    pub fn new() -> Self {
        let temp = std::env::temp_dir();
        let base = if temp.as_os_str().len() + NAME_ROOM * 2 <= SUN_PATH { temp } else { "/tmp".into() };
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = base.join(format!("fcgate-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => {
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o711)).expect("chmod");
                    return Self { path };
                }
                // Left over by an earlier process of the same id that was killed.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("no directory {}: {error}", path.display()),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file that everyone can read, and the directories above it; returns its path.
    pub fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        let mut made = self.path.clone();
        for part in path.strip_prefix(&self.path).into_iter().flat_map(|p| p.parent()).flatten() {
            made.push(part);
            if fs::create_dir(&made).is_ok() {
                fs::set_permissions(&made, fs::Permissions::from_mode(0o755)).expect("chmod");
            }
        }
        fs::write(&path, content).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
        path
    }
}

impl Default for Directory {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Below what the kernel gives to outgoing connections: one of those could take a port whose listener is
/// away for a moment, or connect to itself.
const PORTS: std::ops::Range<u32> = 10_000..32_000;

/// A port of 127.0.0.1 that nobody listened on a moment ago, another one with each call. Another process
/// may take it, so use it only for servers that can't be told to take port 0, and those that listen again.
pub fn free_port() -> u16 {
    static NEXT_PORT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number =
            std::process::id().wrapping_mul(131).wrapping_add(NEXT_PORT.fetch_add(1, Ordering::Relaxed));
        let port = (PORTS.start + number % (PORTS.end - PORTS.start)) as u16;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            // A child that was forked just now, and does not run its program yet, listens too.
            // SAFETY: a plain call on a socket that is ours.
            unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR) };
            return port;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_private_short_and_removed() {
        let directory = Directory::new();
        let path = directory.path().to_owned();
        assert_ne!(path, Directory::new().path());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o711);
        assert!(directory.join("a".repeat(NAME_ROOM)).as_os_str().len() < SUN_PATH);
        let file = directory.write("sub/index.php", "<?php");
        assert_eq!(fs::read(&file).unwrap(), b"<?php");
        assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o755);
        drop(directory);
        assert!(!path.exists());
    }

    #[test]
    fn a_free_port_can_be_bound() {
        TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    }
}
