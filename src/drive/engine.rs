//! What all exchanges of a process share: the pools, the balancers' turns, spare working states
//! and the way to the log.

use super::log::{Level, Log};
use super::routes::{Route, Routes};
use super::scratch::Scratches;
use crate::balancer::{Balancer, Choice, Tried};
use crate::cgi::ParamRule;
use crate::config::{Frozen, RouteSettings};
use crate::connection::Connection;
use crate::os::clock;
use crate::os::socket::Stream;
use crate::os::{Address, SocketAddress, random};
use crate::pool::{Permit, Pool, PoolSettings};
use std::fmt;
use std::io;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// After a failure, addresses of a name that are older than this are looked up again.
const STALE_NAME: u64 = 1000;

/// A connection to an application: its socket and what goes over it.
#[derive(Debug)]
pub struct Link {
    /// The socket.
    pub stream: Stream,
    /// Ids, streams, the clean state.
    pub connection: Connection,
    /// When it was made, on the monotonic clock.
    pub born: Duration,
}

impl Link {
    /// A connection that was just made.
    pub fn new(stream: Stream, now: Duration) -> Self {
        Self { stream, connection: Connection::default(), born: now }
    }

    /// Whether the next exchange on it may be followed by another.
    pub fn may_keep(&self, settings: &PoolSettings, now: Duration) -> bool {
        settings.keeps_connections()
            && (settings.max_requests == 0 || self.connection.opened() + 1 < settings.max_requests)
            && (settings.max_age.is_zero() || now.saturating_sub(self.born) < settings.max_age)
    }

    /// Whether it has served its time, or may not be kept at all.
    pub fn is_worn(&self, settings: &PoolSettings, now: Duration) -> bool {
        settings.max_requests > 0 && self.connection.opened() >= settings.max_requests
            || !settings.max_age.is_zero() && now.saturating_sub(self.born) >= settings.max_age
            || !settings.keeps_connections()
    }
}

/// The turns of a balancer, and where its pools stand.
#[derive(Debug)]
struct Turns {
    balancer: Balancer,
    first: usize,
    /// How many of them take new clients.
    open: AtomicUsize,
}

/// Who keeps idle connections for itself, beside those that are laid aside in the pools.
pub trait KeepsIdle: Send + Sync {
    /// Hand over those for which others wait, soon. Called by any thread.
    fn hand_over(&self);
}

/// What all exchanges of a process share. Made after the fork.
pub struct Engine {
    /// Everything as configured.
    pub config: Arc<Frozen>,
    /// Working states.
    pub scratches: Scratches,
    /// The way to the host's log.
    pub log: Log,
    pools: Vec<Pool<Link>>,
    turns: Vec<Turns>,
    routes: Routes,
    on_idle: OnceLock<Box<dyn Fn() + Send + Sync>>,
    keepers: Mutex<Vec<Weak<dyn KeepsIdle>>>,
    has_idle: AtomicBool,
    retired: AtomicBool,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("pools", &self.pools).finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine of this configuration. Makes no socket and no thread, and looks no name up.
    pub fn new(config: Arc<Frozen>) -> Result<Self, String> {
        let mut pools = Vec::new();
        let mut turns = Vec::new();
        for balancer in &config.balancers {
            let members = &config.pools[balancer.pools.clone()];
            turns.push(Turns {
                balancer: Balancer::new(
                    &balancer.settings.method,
                    members.iter().map(|pool| (pool.address.as_str(), &pool.settings)),
                    random::bits(),
                )
                .map_err(|error| format!("balancer {}: {error}", balancer.name))?,
                first: pools.len(),
                open: AtomicUsize::new(members.iter().filter(|pool| !pool.settings.drain).count()),
            });
            let window = balancer.settings.restart_window;
            for member in members {
                let address: Address =
                    member.address.parse().map_err(|error| format!("{}: {error}", member.address))?;
                pools.push(Pool::new(address, member.settings.clone(), window));
            }
        }
        Ok(Self {
            routes: Routes::of(&config),
            config,
            scratches: Scratches::default(),
            log: Log::default(),
            pools,
            turns,
            on_idle: OnceLock::new(),
            keepers: Mutex::default(),
            has_idle: AtomicBool::new(false),
            retired: AtomicBool::new(false),
        })
    }

    /// Closes idle connections and keeps none from now on: the process is to end, and those of its
    /// successor need the application's workers.
    pub fn retire(&self) {
        self.retired.store(true, SeqCst);
        self.pools.iter().for_each(|pool| pool.close_idle(u64::MAX));
        self.want_idle();
    }

    /// Whether it keeps no connection any more.
    pub fn is_retired(&self) -> bool {
        self.retired.load(SeqCst)
    }

    /// Has `call` called when a connection has become idle after [`Self::forget_idle`].
    pub fn set_on_idle(&self, call: Box<dyn Fn() + Send + Sync>) {
        let _ = self.on_idle.set(call);
    }

    /// Has the next connection that becomes idle told again.
    pub fn forget_idle(&self) {
        self.has_idle.store(false, Relaxed);
    }

    /// Takes up somebody who keeps idle connections for itself, for as long as it lives.
    pub fn add_keeper(&self, keeper: Weak<dyn KeepsIdle>) {
        let mut keepers = self.keepers.lock().unwrap_or_else(PoisonError::into_inner);
        keepers.retain(|keeper| keeper.strong_count() > 0);
        keepers.push(keeper);
    }

    /// Has all who keep idle connections for themselves hand over those for which others wait.
    pub fn want_idle(&self) {
        let keepers = self.keepers.lock().unwrap_or_else(PoisonError::into_inner);
        keepers.iter().filter_map(Weak::upgrade).for_each(|keeper| keeper.hand_over());
    }

    /// The pools, all balancers' one after another.
    pub fn pools(&self) -> &[Pool<Link>] {
        &self.pools
    }

    /// A pool of a balancer, by its place in it.
    pub fn pool(&self, balancer: usize, member: u32) -> &Pool<Link> {
        &self.pools[self.place(balancer, member)]
    }

    /// The place of a pool of a balancer among all.
    pub fn place(&self, balancer: usize, member: u32) -> usize {
        self.turns[balancer].first + member as usize
    }

    /// How many pools of a balancer take new clients.
    pub fn pool_count(&self, balancer: usize) -> usize {
        self.turns[balancer].open.load(Relaxed)
    }

    /// The route at this place, unless it leads to no balancer.
    pub fn route(&self, index: usize) -> Option<Route> {
        Some(Route { index, balancer: self.config.routes.get(index)?.balancer? })
    }

    /// Adds a route to a balancer, for good. Fails when there are too many.
    pub fn add_route(&self, settings: RouteSettings, balancer: usize) -> Result<Route, String> {
        self.routes.add(settings, balancer)
    }

    /// The settings of a route.
    pub fn settings(&self, route: Route) -> &RouteSettings {
        self.routes.settings(route).unwrap_or_else(|| &self.config.routes[route.index].settings)
    }

    /// The params of a route that stand in files, as they are now.
    pub fn file_params(&self, route: Route, now: Duration) -> Option<Arc<Vec<ParamRule>>> {
        self.routes.files(route).map(|files| files.current(now, &self.log))
    }

    /// The pool of a balancer to try next, for a request that goes by this key.
    pub fn choose(&self, balancer: usize, tried: &Tried, key: Option<u64>, now: Duration) -> Choice {
        let health = |member| self.pool(balancer, member).health();
        self.turns[balancer].balancer.choose(tried, key, clock::milliseconds(now), health)
    }

    /// The choice among the pools of a balancer.
    pub fn balancer(&self, balancer: usize) -> &Balancer {
        &self.turns[balancer].balancer
    }

    /// An exchange goes to a pool.
    pub fn note_begin(&self, balancer: usize, member: u32) {
        self.pool(balancer, member).counters().requests.add(1);
        self.balancer(balancer).note_begin(member);
    }

    /// It left the pool.
    pub fn note_end(&self, balancer: usize, member: u32) {
        self.pool(balancer, member).counters().ended.add(1);
        self.balancer(balancer).note_end(member);
    }

    /// Has a pool, by its place among all, take no new clients, or take them again. What is under way
    /// there goes on.
    pub fn drain(&self, place: usize, drain: bool) -> bool {
        let Some(pool) = self.pools.get(place) else { return false };
        if pool.drain(drain) != drain
            && let Some(turns) = self.turns.iter().rev().find(|turns| turns.first <= place)
        {
            if drain {
                turns.open.fetch_sub(1, Relaxed)
            } else {
                turns.open.fetch_add(1, Relaxed)
            };
        }
        true
    }

    /// The addresses of a pool. A name is looked up when it was not yet, or long enough ago that
    /// a failure may come from it; that blocks.
    pub fn addresses(&self, pool: &Pool<Link>, now: Duration) -> io::Result<Arc<[SocketAddress]>> {
        let now = clock::milliseconds(now);
        let oldest = if pool.health().is_up() { u64::MAX } else { STALE_NAME };
        match pool.addresses(now, oldest) {
            Some(addresses) => Ok(addresses),
            None => pool.resolve(now).or_else(|error| pool.addresses(now, u64::MAX).ok_or(error)),
        }
    }

    /// Lays a clean connection aside, or closes it where it may not be kept.
    pub fn check_in(&self, pool: &Pool<Link>, link: Box<Link>, permit: Permit, now: Duration) {
        if link.is_worn(pool.settings(), now) || self.is_retired() || pool.health().is_draining() {
            drop(link);
            return pool.discard(permit);
        }
        pool.checkin(link, permit, clock::milliseconds(now));
        // Another thread may have retired it since the look.
        if self.is_retired() {
            pool.close_idle(u64::MAX);
        }
        // The upkeep is told once, not for each connection: waking its thread costs more than the
        // exchange itself.
        if !self.has_idle.load(Relaxed)
            && !self.has_idle.swap(true, Relaxed)
            && let Some(call) = self.on_idle.get()
        {
            call();
        }
    }

    /// The name of a balancer.
    pub fn balancer_name(&self, balancer: usize) -> &str {
        &self.config.balancers[balancer].name
    }

    /// Writes an error line.
    pub fn log_error(&self, line: &str) {
        self.log.write(Level::Error, line);
    }
}
