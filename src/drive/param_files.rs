//! Params of a route that stand in files: one of `NAME value` lines, and a directory with one file
//! a name. Read again when they change: looked at, at most twice a second, by the request that comes
//! then, so that no thread is needed for it. What can't be read leaves the last good ones in force.

use super::log::{Level, Log};
use crate::cgi::{ParamRule, param_file};
use crate::config::RouteSettings;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError};
use std::time::Duration;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// The largest file that is read.
const FILE_MAX: u64 = 1 << 20;

/// What tells whether a file is the same as before.
type Stamp = Vec<(PathBuf, u64, i64, i64, u64)>;

#[derive(Debug, Default)]
struct Looked {
    at: Option<Duration>,
    stamp: Stamp,
}

/// The files of one route, and what they said last.
#[derive(Debug)]
pub struct ParamFiles {
    file: Option<PathBuf>,
    directory: Option<PathBuf>,
    looked: Mutex<Looked>,
    rules: RwLock<Arc<Vec<ParamRule>>>,
}

impl ParamFiles {
    /// The files that a route names, if it does.
    pub fn of(settings: &RouteSettings) -> Option<Self> {
        let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
        let (file, directory) = (path(&settings.params_file), path(&settings.params_directory));
        (file.is_some() || directory.is_some()).then(|| Self {
            file,
            directory,
            looked: Mutex::default(),
            rules: RwLock::default(),
        })
    }

    /// The params as they are now, or were half a second ago.
    pub fn current(&self, now: Duration, log: &Log) -> Arc<Vec<ParamRule>> {
        let looked = match self.looked.try_lock() {
            Ok(looked) => Some(looked),
            // Another request is looking; only the first ever has to wait for it.
            Err(TryLockError::WouldBlock) if !self.read_rules().is_empty() => None,
            Err(TryLockError::WouldBlock) => Some(self.looked.lock().unwrap_or_else(PoisonError::into_inner)),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        };
        if let Some(mut looked) = looked
            && looked.at.is_none_or(|at| now.saturating_sub(at) >= LOOK)
        {
            looked.at = Some(now);
            self.look(&mut looked, log);
        }
        self.read_rules()
    }

    fn read_rules(&self) -> Arc<Vec<ParamRule>> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn look(&self, looked: &mut Looked, log: &Log) {
        let stamp = match self.stamp() {
            Ok(stamp) if stamp == looked.stamp => return,
            Ok(stamp) => stamp,
            Err(_) => Stamp::new(),
        };
        match self.read() {
            Ok(rules) => {
                *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
                looked.stamp = stamp;
            }
            Err(error) => {
                if looked.stamp != stamp || stamp.is_empty() {
                    log.write(Level::Warning, &format!("params: {error}; what was read last stays in force"));
                }
                looked.stamp = stamp;
            }
        }
    }

    fn stamp(&self) -> io::Result<Stamp> {
        let mut stamp = Stamp::new();
        for path in self.file.iter().cloned().chain(self.entries()?) {
            let meta = fs::metadata(&path)?;
            stamp.push((path, meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len()));
        }
        Ok(stamp)
    }

    /// The files of the directory, in order; names that begin with a dot are Kubernetes' own.
    fn entries(&self) -> io::Result<Vec<PathBuf>> {
        let Some(directory) = &self.directory else { return Ok(Vec::new()) };
        let mut paths = Vec::new();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
            if !hidden && fs::metadata(&path)?.is_file() {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }

    fn read(&self) -> Result<Vec<ParamRule>, String> {
        let mut rules = Vec::new();
        if let Some(file) = &self.file {
            let text =
                String::from_utf8(read(file)?).map_err(|_| format!("{} is not UTF-8", file.display()))?;
            rules = param_file::parse(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        let entries = self.entries().map_err(|error| {
            format!("{}: {error}", self.directory.as_deref().unwrap_or(Path::new("")).display())
        })?;
        for path in entries {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let rule = param_file::from_entry(&name, &read(&path)?)
                .map_err(|error| format!("{}: {error}", path.display()))?;
            rules.push(rule);
        }
        Ok(rules)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let told = |error: io::Error| format!("{}: {error}", path.display());
    if fs::metadata(path).map_err(told)?.len() > FILE_MAX {
        return Err(format!("{} is larger than {FILE_MAX} bytes", path.display()));
    }
    fs::read(path).map_err(told)
}
