//! One process's live state: it makes and owns what stands below, and ends it in order.

pub mod status;

use crate::config::Frozen;
use crate::drive::{Engine, Level, Sink};
use crate::os::Address;
use crate::upkeep::Upkeep;
use crate::upkeep::resolve::{Lookup, Resolver};
use std::sync::Arc;

/// The gateway of one process. Made after the fork, shared by all threads.
#[derive(Debug)]
pub struct Gateway {
    engine: Arc<Engine>,
    upkeep: Option<Upkeep>,
    resolver: Option<Resolver>,
}

impl Gateway {
    /// A gateway of this configuration. Its warnings go to the log. Opens nothing yet.
    pub fn new(config: Arc<Frozen>, log: Option<Arc<Sink>>) -> Result<Self, String> {
        Self::with_lookup(config, log, Arc::new(Address::resolve))
    }

    /// One that looks names up in another way than the system's.
    pub fn with_lookup(
        config: Arc<Frozen>,
        log: Option<Arc<Sink>>,
        lookup: Arc<Lookup>,
    ) -> Result<Self, String> {
        let engine = Arc::new(Engine::new(config)?);
        engine.log.set(log);
        for warning in &engine.config.warnings {
            engine.log.write(Level::Warning, warning);
        }
        let upkeep = Some(Upkeep::new(&engine));
        let resolver = Some(Resolver::new(&engine, lookup));
        Ok(Self { engine, upkeep, resolver })
    }

    /// What exchanges run in.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.upkeep = None;
        self.resolver = None;
        for pool in self.engine.pools() {
            pool.close_idle(u64::MAX);
        }
        self.engine.log.set(None);
    }
}
