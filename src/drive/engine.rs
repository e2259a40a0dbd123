//! What all exchanges of a process share: the pools, the balancers' turns, spare working states
//! and the way to the log.

use super::log::{Level, Log};
use super::routes::{Route, Routes};
use super::scratch::Scratches;
use crate::balancer::key::number_of;
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
use std::ops::Range;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// Milliseconds after which a name is looked up again, at the earliest: after a failure, or without an
/// address.
const SHORTEST_LOOK: u64 = 1000;

/// A connection to an application: its socket and what goes over it.
#[derive(Debug)]
pub struct Link {
    /// The socket.
    pub stream: Stream,
    /// Ids, streams, the clean state.
    pub connection: Connection,
    /// When it was made, on the monotonic clock.
    pub born: Duration,
    /// To which of its pool's addresses it leads.
    pub generation: u32,
}

impl Link {
    /// A connection that was just made.
    pub fn new(stream: Stream, now: Duration, generation: u32) -> Self {
        Self { stream, connection: Connection::default(), born: now, generation }
    }

    /// Whether it leads where its pool is no more.
    pub fn is_astray(&self, pool: &Pool<Self>) -> bool {
        self.generation != pool.generation()
    }

    /// Whether the next exchange on it may be followed by another.
    pub fn may_keep(&self, settings: &PoolSettings, now: Duration) -> bool {
        settings.keeps_connections()
            && (settings.max_requests == 0 || self.connection.opened() + 1 < settings.max_requests)
            && (settings.max_age.is_zero() || now.saturating_sub(self.born) < settings.max_age)
    }

    /// Whether it has served its time, or may not be kept at all.
    pub fn is_worn(&self, pool: &Pool<Self>, now: Duration) -> bool {
        let settings = pool.settings();
        self.is_astray(pool)
            || pool.health().is_draining()
            || settings.max_requests > 0 && self.connection.opened() >= settings.max_requests
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
    names: Range<usize>,
}

/// A pool that is a name: the places that its addresses get.
#[derive(Debug)]
pub struct Name {
    /// The name.
    pub address: Address,
    balancer: usize,
    members: Range<u32>,
    interval: u64,
    /// When a request has it looked up again.
    due: AtomicU64,
    looked_at: AtomicU64,
    settling: Mutex<()>,
    /// What there is to say of it. A host's log need not be fit for a thread that the host doesn't know:
    /// the next request says it.
    news: Mutex<Option<(Level, String)>>,
    has_news: AtomicBool,
}

impl Name {
    fn tell(&self, level: Level, line: String) {
        *self.news.lock().unwrap_or_else(PoisonError::into_inner) = Some((level, line));
        self.has_news.store(true, SeqCst);
    }

    fn take_news(&self) -> Option<(Level, String)> {
        if !self.has_news.load(Relaxed) || !self.has_news.swap(false, SeqCst) {
            return None;
        }
        self.news.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
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
    names: Vec<Name>,
    on_due_name: OnceLock<Box<dyn Fn(usize) + Send + Sync>>,
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
        let mut names = Vec::new();
        for balancer in &config.balancers {
            let members = &config.pools[balancer.pools.clone()];
            let (first, first_name) = (pools.len(), names.len());
            let window = balancer.settings.restart_window;
            for member in members {
                let address: Address =
                    member.address.parse().map_err(|error| format!("{}: {error}", member.address))?;
                if address.literal().is_none() {
                    let place = (pools.len() - first) as u32;
                    names.push(Name {
                        address: address.clone(),
                        balancer: turns.len(),
                        members: place..place + member.places() as u32,
                        interval: clock::milliseconds(member.settings.resolve_interval),
                        due: AtomicU64::new(0),
                        looked_at: AtomicU64::new(0),
                        settling: Mutex::new(()),
                        news: Mutex::new(None),
                        has_news: AtomicBool::new(false),
                    });
                }
                for _ in 0..member.places() {
                    pools.push(Pool::new(address.clone(), member.settings.clone(), window));
                }
            }
            let each = members
                .iter()
                .flat_map(|pool| std::iter::repeat_n((pool.address.as_str(), &pool.settings), pool.places()));
            turns.push(Turns {
                balancer: Balancer::new(&balancer.settings.method, each, random::bits())
                    .map_err(|error| format!("balancer {}: {error}", balancer.name))?,
                open: AtomicUsize::new(pools[first..].iter().filter(|pool| pool.takes_clients()).count()),
                first,
                names: first_name..names.len(),
            });
        }
        Ok(Self {
            routes: Routes::of(&config),
            config,
            scratches: Scratches::default(),
            log: Log::default(),
            pools,
            turns,
            names,
            on_due_name: OnceLock::new(),
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
        let took = pool.takes_clients();
        pool.drain(drain);
        self.count_open(self.balancer_of(place), took, pool.takes_clients());
        true
    }

    /// The balancer of the pool at a place among all.
    pub fn balancer_of(&self, place: usize) -> usize {
        self.turns.partition_point(|turns| turns.first <= place).saturating_sub(1)
    }

    // Names.

    /// The pools that are names.
    pub fn names(&self) -> &[Name] {
        &self.names
    }

    /// Has `call` called with the place of a name that is to be looked up: without waiting for it.
    pub fn set_on_due_name(&self, call: Box<dyn Fn(usize) + Send + Sync>) {
        let _ = self.on_due_name.set(call);
    }

    /// A request comes to a balancer: names that are due are looked up again, beside it, and what was
    /// found before is told.
    pub fn look_at_names(&self, balancer: usize, now: Duration) {
        let now = clock::milliseconds(now);
        for place in self.turns[balancer].names.clone() {
            let name = &self.names[place];
            if let Some((level, line)) = name.take_news() {
                self.log.write(level, &line);
            }
            let due = name.due.load(Relaxed);
            if now >= due
                && name.due.compare_exchange(due, now + name.interval, Relaxed, Relaxed).is_ok()
                && let Some(call) = self.on_due_name.get()
            {
                name.looked_at.store(now, Relaxed);
                call(place);
            }
        }
    }

    /// A pool could not be reached: if it is of a name, that may lead elsewhere by now.
    pub fn doubt(&self, balancer: usize, member: u32) {
        let names = &self.names[self.turns[balancer].names.clone()];
        if let Some(name) = names.iter().find(|name| name.members.contains(&member)) {
            name.due.fetch_min(name.looked_at.load(Relaxed) + SHORTEST_LOOK, Relaxed);
        }
    }

    /// A name was looked up: new addresses get a place, those that are gone lose theirs. While none is
    /// known, it is looked up again soon.
    pub fn settle(&self, name: usize, found: io::Result<Vec<SocketAddress>>, now: Duration) {
        let name = &self.names[name];
        let _settling = name.settling.lock().unwrap_or_else(PoisonError::into_inner);
        let places = || name.members.clone().map(|member| (member, self.pool(name.balancer, member)));
        let now = clock::milliseconds(now);
        let had_any = places().any(|(_, pool)| pool.target().is_some());
        let mut found = match found {
            Ok(found) => found,
            Err(error) => {
                let rest =
                    if had_any { "the addresses that are known stay in use" } else { "no address is known" };
                let line = format!(
                    "balancer {}, pool {}: the name can't be looked up: {error}; {rest}",
                    self.balancer_name(name.balancer),
                    name.address
                );
                name.tell(Level::Warning, line);
                name.due.fetch_min(now + SHORTEST_LOOK, Relaxed);
                return;
            }
        };
        // More than there are places for: those that have one keep it, in whatever order they come.
        let own: Vec<_> = places().filter_map(|(_, pool)| pool.target()).collect();
        found.sort_by_key(|address| !own.contains(address));
        found.truncate(name.members.len());
        let mut changed = false;
        for (_, pool) in places() {
            match pool.target() {
                Some(own) if found.contains(&own) => found.retain(|other| *other != own),
                Some(_) => {
                    changed = true;
                    self.settle_pool(name.balancer, pool, None, now, true);
                }
                None => {}
            }
        }
        for address in found {
            // By the address, so that a key leads to the same one in every process.
            let wish = number_of(address.to_string().as_bytes()) as usize % name.members.len();
            let free = places()
                .cycle()
                .skip(wish)
                .take(name.members.len())
                .find(|(_, pool)| pool.target().is_none());
            let Some((member, pool)) = free else { break };
            changed = true;
            self.balancer(name.balancer).forget(member);
            self.settle_pool(name.balancer, pool, Some(address), now, had_any);
        }
        if changed {
            let now: Vec<String> =
                places().filter_map(|(_, pool)| pool.target()).map(|address| address.to_string()).collect();
            let line = format!(
                "balancer {}, pool {}: the name leads to {}",
                self.balancer_name(name.balancer),
                name.address,
                now.join(", ")
            );
            name.tell(Level::Notice, line);
        }
    }

    fn settle_pool(
        &self,
        balancer: usize,
        pool: &Pool<Link>,
        target: Option<SocketAddress>,
        now: u64,
        others: bool,
    ) {
        let took = pool.takes_clients();
        pool.settle(target, now, others);
        self.count_open(balancer, took, pool.takes_clients());
    }

    fn count_open(&self, balancer: usize, before: bool, after: bool) {
        let open = &self.turns[balancer].open;
        match (before, after) {
            (false, true) => drop(open.fetch_add(1, Relaxed)),
            (true, false) => drop(open.fetch_sub(1, Relaxed)),
            _ => {}
        }
    }

    /// Lays a clean connection aside, or closes it where it may not be kept.
    pub fn check_in(&self, pool: &Pool<Link>, link: Box<Link>, permit: Permit, now: Duration) {
        if link.is_worn(pool, now) || self.is_retired() {
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
