//! The routes of an engine: those of the configuration, and those that a host combines while it runs.
//!
//! A host whose sections overlap as each request has it (Apache's) can't name all its routes
//! beforehand. What it combines is added here once and stays, in places that never move, so that a
//! request finds its route's settings without a lock.

use super::param_files::ParamFiles;
use crate::config::{Frozen, RouteSettings};
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

/// Routes in one block of added ones.
const BLOCK: usize = 64;
/// Blocks of added routes.
const BLOCKS: usize = 64;

/// A route that leads to a balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its place among the routes.
    pub index: usize,
    /// Its balancer's place.
    pub balancer: usize,
}

#[derive(Debug)]
struct Added {
    settings: RouteSettings,
    files: Option<ParamFiles>,
}

type Block = [OnceLock<Added>; BLOCK];

/// All routes of an engine.
#[derive(Debug)]
pub(super) struct Routes {
    configured: Vec<Option<ParamFiles>>,
    blocks: [OnceLock<Box<Block>>; BLOCKS],
    added: AtomicUsize,
}

impl Routes {
    /// The routes of a configuration.
    pub fn of(config: &Frozen) -> Self {
        Self {
            configured: config.routes.iter().map(|route| ParamFiles::of(&route.settings)).collect(),
            blocks: [const { OnceLock::new() }; BLOCKS],
            added: AtomicUsize::new(0),
        }
    }

    /// Adds a route. Fails when there are too many.
    pub fn add(&self, settings: RouteSettings, balancer: usize) -> Result<Route, String> {
        let at = self.added.fetch_add(1, Relaxed);
        let Some(block) = self.blocks.get(at / BLOCK) else {
            self.added.fetch_sub(1, Relaxed);
            return Err(format!("more than {} combinations of settings are in use", BLOCK * BLOCKS));
        };
        let block = block.get_or_init(|| Box::new([const { OnceLock::new() }; BLOCK]));
        let files = ParamFiles::of(&settings);
        let _ = block[at % BLOCK].set(Added { settings, files });
        Ok(Route { index: self.configured.len() + at, balancer })
    }

    fn added(&self, index: usize) -> Option<&Added> {
        let at = index.checked_sub(self.configured.len())?;
        self.blocks.get(at / BLOCK)?.get()?[at % BLOCK].get()
    }

    /// The settings of a route that was added; none for one of the configuration.
    pub fn settings(&self, route: Route) -> Option<&RouteSettings> {
        self.added(route.index).map(|added| &added.settings)
    }

    /// The files of params that a route names.
    pub fn files(&self, route: Route) -> Option<&ParamFiles> {
        match self.configured.get(route.index) {
            Some(files) => files.as_ref(),
            None => self.added(route.index)?.files.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::time::Duration;

    /// Added routes stand beside the configured ones and keep their places; there is an end to them.
    #[test]
    fn added_routes_keep_their_places() {
        let frozen = Config::from_line("unix:/run/a.sock").unwrap().freeze().unwrap();
        let routes = Routes::of(&frozen);
        let add = |seconds: usize| {
            let head_timeout = Duration::from_secs(seconds as u64);
            routes.add(RouteSettings { head_timeout, ..RouteSettings::default() }, 0)
        };
        let added: Vec<Route> = (0..BLOCK * BLOCKS).map(|at| add(at).unwrap()).collect();
        assert!(add(0).unwrap_err().contains("4096 combinations"));
        assert!(add(0).is_err());
        for (seconds, route) in added.into_iter().enumerate() {
            assert_eq!(route.index, seconds + 1);
            assert_eq!(routes.settings(route).unwrap().head_timeout.as_secs(), seconds as u64);
        }
        assert!(routes.settings(Route { index: 0, balancer: 0 }).is_none());
        assert!(routes.files(Route { index: 0, balancer: 0 }).is_none());
    }
}
