//! The way to the host's log.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Level {
    /// A request failed.
    Error = 1,
    /// Something is wrong, but no request failed by it.
    Warning = 2,
    /// Worth knowing; also what applications write to STDERR.
    Notice = 3,
}

/// Takes log lines; called from any thread that uses the gateway.
pub type Sink = dyn Fn(Level, &str) + Send + Sync;

/// The host's log, if it has one. Lines come without a newline.
#[derive(Default)]
pub struct Log(RwLock<Option<Arc<Sink>>>);

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log")
    }
}

impl Log {
    /// Sets where lines go, or that they go nowhere.
    pub fn set(&self, sink: Option<Arc<Sink>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = sink;
    }

    /// Writes a line. The sink is called without a lock held, so that it may use the gateway.
    pub fn write(&self, level: Level, line: &str) {
        let sink = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(sink) = sink {
            sink(level, line);
        }
    }
}

/// Takes the lines about one exchange.
pub trait Lines {
    /// Writes a line.
    fn write(&self, level: Level, line: &str);
}

impl Lines for Log {
    fn write(&self, level: Level, line: &str) {
        Self::write(self, level, line);
    }
}
