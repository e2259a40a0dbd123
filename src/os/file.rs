//! Files: the questions about scripts, the spool, and files that a host lends.
//!
//! No path is ever taken from the environment or the working directory: a host's threads share both.
#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::random;

/// Access for the owner only.
const PRIVATE: u32 = 0o600;

/// Names tried for a spool file before giving up.
const NAME_ATTEMPTS: u32 = 16;

/// The files of this machine, asked for by absolute path.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemFiles;

/// A path as std takes it; none for a relative one, which would depend on the working directory.
fn absolute(path: &[u8]) -> Option<&Path> {
    path.starts_with(b"/").then(|| Path::new(OsStr::from_bytes(path)))
}

impl SystemFiles {
    /// Whether a regular file stands there, symbolic links followed.
    pub fn is_regular_file(&self, path: &[u8]) -> bool {
        absolute(path).and_then(|path| fs::metadata(path).ok()).is_some_and(|found| found.is_file())
    }

    /// Whether a directory stands there, symbolic links followed.
    pub fn is_directory(&self, path: &[u8]) -> bool {
        absolute(path).and_then(|path| fs::metadata(path).ok()).is_some_and(|found| found.is_dir())
    }

    /// Puts the path without symbolic links into `out`; false, and `out` empty, if there is no such file.
    pub fn resolve(&self, path: &[u8], out: &mut Vec<u8>) -> bool {
        out.clear();
        let Some(resolved) = absolute(path).and_then(|path| fs::canonicalize(path).ok()) else {
            return false;
        };
        out.extend_from_slice(resolved.as_os_str().as_bytes());
        true
    }
}

/// A private file without a name, for a body that outgrows memory: gone with its descriptor, even
/// after a kill.
#[derive(Debug)]
pub struct SpoolFile {
    file: File,
    length: u64,
}

impl SpoolFile {
    /// A new, empty file in this directory.
    pub fn create(directory: &Path) -> io::Result<Self> {
        let file = Self::create_nameless(directory).or_else(|error| match error.raw_os_error() {
            // No O_TMPFILE: the file system says EOPNOTSUPP, an old kernel EISDIR, some say EINVAL.
            Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL) => Self::create_unlinked(directory),
            _ => Err(error),
        })?;
        Ok(Self { file, length: 0 })
    }

    #[cfg(target_os = "linux")]
    fn create_nameless(directory: &Path) -> io::Result<File> {
        // std opens every file with O_CLOEXEC. O_EXCL: nobody can give the file a name later.
        let flags = libc::O_TMPFILE | libc::O_EXCL;
        OpenOptions::new().read(true).write(true).mode(PRIVATE).custom_flags(flags).open(directory)
    }

    #[cfg(not(target_os = "linux"))]
    fn create_nameless(_directory: &Path) -> io::Result<File> {
        Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP))
    }

    fn create_unlinked(directory: &Path) -> io::Result<File> {
        let mut attempts = 0;
        loop {
            let path = directory.join(format!("fcgate-{:016x}", random::bits()));
            // create_new is O_EXCL: neither an existing file nor a planted link is ever opened.
            match OpenOptions::new().read(true).write(true).create_new(true).mode(PRIVATE).open(&path) {
                Ok(file) => {
                    fs::remove_file(&path)?;
                    return Ok(file);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempts < NAME_ATTEMPTS => {
                    attempts += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Appends all these bytes; after an error (a full disk) the length is as before.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.length)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Reads at an offset, as much as there is at once; 0 at the end.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let room = buffer.len().min(left);
        if room == 0 {
            return Ok(0);
        }
        uninterrupted(|| self.file.read_at(&mut buffer[..room], offset))
    }

    /// How many bytes it holds.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Empties the file and gives its space back.
    pub fn clear(&mut self) -> io::Result<()> {
        self.length = 0;
        self.file.set_len(0)
    }
}

/// A part of a file that the host has open: its own temporary file of a request body. Borrowed: it
/// is neither closed nor is its position moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSlice {
    fd: RawFd,
    offset: u64,
    length: u64,
}

impl FileSlice {
    /// The `length` bytes from `offset` of the file open as `fd`, which must stay open while this is
    /// used (a closed one gives an error, another one its bytes).
    pub fn new(fd: RawFd, offset: u64, length: u64) -> Self {
        Self { fd, offset, length }
    }

    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Reads at a position of the slice, never beyond it. 0 before its end means that the file is
    /// shorter than the host said.
    pub fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length.saturating_sub(position)).unwrap_or(usize::MAX);
        let room = buffer.len().min(left);
        if room == 0 {
            return Ok(0);
        }
        let offset = self
            .offset
            .checked_add(position)
            .and_then(|offset| libc::off_t::try_from(offset).ok())
            .ok_or(io::ErrorKind::InvalidInput)?;
        uninterrupted(|| {
            // SAFETY: the pointer and `room` lie within `buffer`; a wrong descriptor is an error.
            let got = unsafe { libc::pread(self.fd, buffer.as_mut_ptr().cast(), room, offset) };
            usize::try_from(got).map_err(|_| io::Error::last_os_error())
        })
    }

    /// The descriptor.
    pub fn fd(&self) -> RawFd {
        self.fd
    }
}

/// Disk reads are short: one that a signal interrupts is simply made again.
fn uninterrupted(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

impl AsRawFd for SpoolFile {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;
    use std::path::PathBuf;

    /// A directory of this test's own, removed at its end.
    struct Directory(PathBuf);

    impl Directory {
        fn new() -> Self {
            let path = std::env::temp_dir().join(format!("fcgate-test-{:016x}", random::bits()));
            fs::create_dir(&path).unwrap();
            Self(fs::canonicalize(path).unwrap())
        }

        fn path(&self, name: &str) -> Vec<u8> {
            self.0.join(name).into_os_string().into_encoded_bytes()
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// X9: a script is a regular file where the mapping led, through links too; nothing else is.
    #[test]
    fn only_regular_files_are_scripts() {
        let directory = Directory::new();
        fs::write(directory.0.join("a.php"), "x").unwrap();
        std::os::unix::fs::symlink("a.php", directory.0.join("link.php")).unwrap();
        std::os::unix::fs::symlink("none", directory.0.join("dangling.php")).unwrap();
        let files = SystemFiles;
        assert!(files.is_regular_file(&directory.path("a.php")));
        assert!(files.is_regular_file(&directory.path("link.php")));
        assert!(!files.is_regular_file(&directory.path("dangling.php")));
        assert!(!files.is_regular_file(&directory.path("")));
        assert!(!files.is_regular_file(&directory.path("a.php/x")));
        assert!(!files.is_regular_file(b"/dev/null"));
        assert!(!files.is_regular_file(b"Cargo.toml"));
        assert!(!files.is_regular_file(b"/a\0b"));
        assert!(!files.is_regular_file(b""));
        assert!(files.is_directory(&directory.path("")));
        assert!(!files.is_directory(&directory.path("a.php")));
        assert!(!files.is_directory(b"."));
    }

    /// X10: a deploy by symlink resolves to the directory it points to.
    #[test]
    fn links_are_resolved() {
        let directory = Directory::new();
        fs::create_dir(directory.0.join("release-1")).unwrap();
        fs::write(directory.0.join("release-1/a.php"), "x").unwrap();
        std::os::unix::fs::symlink("release-1", directory.0.join("current")).unwrap();
        let mut out = b"old".to_vec();
        assert!(SystemFiles.resolve(&directory.path("current/a.php"), &mut out));
        assert_eq!(out, directory.path("release-1/a.php"));
        assert!(!SystemFiles.resolve(&directory.path("current/b.php"), &mut out));
        assert!(out.is_empty());
        assert!(!SystemFiles.resolve(b"src", &mut out));
    }

    /// X11: a spool file has no name, is its owner's alone, and gives back what was appended.
    #[test]
    fn spool_files_are_private_and_nameless() {
        let directory = Directory::new();
        for file in [
            SpoolFile::create(&directory.0),
            SpoolFile::create_unlinked(&directory.0).map(|file| SpoolFile { file, length: 0 }),
        ] {
            let mut file = file.unwrap();
            assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 0);
            assert_eq!(file.file.metadata().unwrap().mode() & 0o777, PRIVATE);
            // SAFETY: F_GETFD takes no pointer.
            let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFD) };
            assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
            file.append(b"hello ").unwrap();
            file.append(b"world").unwrap();
            assert_eq!(file.len(), 11);
            let mut buffer = [0; 32];
            assert_eq!(file.read_at(0, &mut buffer).unwrap(), 11);
            assert_eq!(&buffer[..11], b"hello world");
            assert_eq!(file.read_at(6, &mut buffer[..3]).unwrap(), 3);
            assert_eq!(&buffer[..3], b"wor");
            assert_eq!(file.read_at(11, &mut buffer).unwrap(), 0);
            assert_eq!(file.read_at(u64::MAX, &mut buffer).unwrap(), 0);
            file.clear().unwrap();
            assert!(file.is_empty());
            assert_eq!(file.read_at(0, &mut buffer).unwrap(), 0);
        }
    }

    /// F14: a disk that is full is an error that names itself, and nothing of the append remains.
    #[test]
    fn full_disk_is_surfaced() {
        let full = OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
        let mut file = SpoolFile { file: full, length: 0 };
        assert_eq!(file.append(b"x").unwrap_err().raw_os_error(), Some(libc::ENOSPC));
        assert!(file.is_empty());
        assert!(SpoolFile::create(Path::new("/nonexistent")).is_err());
    }

    /// E9: of a lent file exactly the slice is read, and a file that is too short shows.
    #[test]
    fn slices_of_lent_files_are_exact() {
        let directory = Directory::new();
        let mut file = SpoolFile::create(&directory.0).unwrap();
        file.append(b"0123456789").unwrap();
        let mut buffer = [0; 32];
        for offset in 0..=10u64 {
            for length in 0..=10 - offset {
                let slice = FileSlice::new(file.as_raw_fd(), offset, length);
                let got = slice.read_at(0, &mut buffer).unwrap();
                assert_eq!(&buffer[..got], &b"0123456789"[offset as usize..(offset + length) as usize]);
                assert_eq!(slice.read_at(length, &mut buffer).unwrap(), 0);
            }
        }
        let beyond = FileSlice::new(file.as_raw_fd(), 8, 5);
        assert_eq!(beyond.read_at(0, &mut buffer).unwrap(), 2);
        assert_eq!(beyond.read_at(2, &mut buffer).unwrap(), 0);
        assert!(FileSlice::new(file.as_raw_fd(), u64::MAX, 9).read_at(0, &mut buffer).is_err());
        assert!(FileSlice::new(-1, 0, 9).read_at(0, &mut buffer).is_err());
    }
}
