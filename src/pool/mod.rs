//! A pool: one FastCGI application as a target. Its permits, queue, health and idle connections.
//!
//! A pool knows nothing of connections but that they exist: `C` is what a drive lays aside. Every
//! connection goes with a [`Permit`], also while it is idle, so that `max_connections` bounds what
//! the application really sees. A connection or permit that comes free goes to the oldest waiter
//! before anything else; only without one to the idle stack or back to the account.

pub mod counters;
pub mod health;
pub mod idle;
pub mod permits;
pub mod queue;
pub mod settings;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::os::clock::milliseconds;
use crate::os::{Address, SocketAddress, random};

pub use counters::Counters;
pub use health::{Admit, Health};
pub use idle::IdleStack;
pub use permits::{Permit, Permits};
pub use queue::{Queue, QueueFull, Waiter};
pub use settings::{KeepConn, PoolSettings};

/// What comes on top of the connect timeout before a trial without an outcome is over.
const TRIAL_GRACE: Duration = Duration::from_secs(1);

/// What an exchange that asked for a connection gets.
#[derive(Debug)]
pub enum Checkout<C> {
    /// A kept connection.
    Kept(Box<C>, Permit),
    /// The right to make one.
    Connect(Permit),
    /// Neither: it has to wait.
    Wait,
}

/// What a waiter is granted.
#[derive(Debug)]
pub enum Grant<C> {
    /// A kept connection. Who wants a fresh one drops it and connects with its permit.
    Kept(Box<C>, Permit),
    /// The right to make one.
    Connect(Permit),
}

/// One FastCGI application as a target.
#[derive(Debug)]
pub struct Pool<C> {
    address: Address,
    settings: PoolSettings,
    /// Where it is reached; none for a place that no address of its name has.
    target: Mutex<Option<SocketAddress>>,
    /// Counts the addresses that it had.
    generation: AtomicU32,
    permits: Permits,
    queue: Queue<Grant<C>>,
    idle: IdleStack<C>,
    health: Health,
    counters: Counters,
    idle_timeout: u64,
    idle_elsewhere: AtomicU32,
    multiplex_refused: AtomicBool,
}

impl<C> Pool<C> {
    /// A pool in use by nobody, taken to be up. One of a name is a place for an address of it, and has none
    /// yet.
    pub fn new(address: Address, settings: PoolSettings, restart_window: Duration) -> Self {
        let target = address.literal();
        let lease = milliseconds(settings.connect_timeout.saturating_add(TRIAL_GRACE));
        let kept = if settings.keeps_connections() { settings.max_idle } else { 0 };
        // More can never be idle at once than there are.
        let kept = if settings.max_connections > 0 { kept.min(settings.max_connections) } else { kept };
        let health = Health::new(milliseconds(restart_window), lease, random::bits())
            .with_times(milliseconds(settings.slow_start), milliseconds(settings.disable_time));
        health.set_draining(settings.drain);
        if target.is_none() {
            health.leave();
        }
        Self {
            target: Mutex::new(target),
            generation: AtomicU32::new(0),
            permits: Permits::new(settings.max_connections),
            queue: Queue::new(settings.queue_length as usize),
            idle: IdleStack::new(kept),
            health,
            counters: Counters::default(),
            idle_timeout: milliseconds(settings.idle_timeout),
            idle_elsewhere: AtomicU32::new(0),
            multiplex_refused: AtomicBool::new(false),
            address,
            settings,
        }
    }

    /// A connection or the right to make one, unless others wait or the limit is reached.
    ///
    /// Without `allow_reuse` the connection will be a fresh one; at the limit an idle one is closed
    /// for it. One that has been idle for too long is closed instead of reused.
    pub fn checkout(&self, now: u64, allow_reuse: bool) -> Checkout<C> {
        if self.has_waiters() {
            return Checkout::Wait;
        }
        if allow_reuse && let Some((connection, since)) = self.idle.pop() {
            if now.saturating_sub(since) >= self.idle_timeout {
                return Checkout::Connect(Permit::of_idle());
            }
            self.counters.reuses.add(1);
            return Checkout::Kept(connection, Permit::of_idle());
        }
        if let Some(permit) = self.permits.take() {
            return Checkout::Connect(permit);
        }
        match self.idle.pop() {
            Some(_) => Checkout::Connect(Permit::of_idle()),
            None => Checkout::Wait,
        }
    }

    /// Lays a connection aside in the clean state: for the oldest waiter, else as idle. It is closed
    /// if as many as may be are idle.
    pub fn checkin(&self, connection: Box<C>, permit: Permit, now: u64) {
        let (connection, permit) = match self.queue.hand_over(Grant::Kept(connection, permit)) {
            Ok(()) => return self.counters.reuses.add(1),
            Err(Grant::Kept(connection, permit)) => (connection, permit),
            Err(Grant::Connect(permit)) => return self.discard(permit),
        };
        match self.idle.push(connection, now) {
            Ok(()) => {
                permit.rest();
                self.serve_waiters();
            }
            Err(connection) => {
                drop(connection);
                self.discard(permit);
            }
        }
    }

    /// Takes back the permit of a connection that was closed, or never made.
    pub fn discard(&self, permit: Permit) {
        match self.queue.hand_over(Grant::Connect(permit)) {
            Ok(()) => {}
            Err(Grant::Connect(permit) | Grant::Kept(_, permit)) => {
                self.permits.give_back(permit);
                self.serve_waiters();
            }
        }
    }

    /// Takes back a grant that is not wanted any more.
    pub fn give_back(&self, grant: Grant<C>, now: u64) {
        match grant {
            Grant::Kept(connection, permit) => self.checkin(connection, permit, now),
            Grant::Connect(permit) => self.discard(permit),
        }
    }

    /// Begins to wait. The grant may be there when this returns: look with [`Waiter::take`].
    pub fn enqueue(&self, waiter: &Arc<Waiter<Grant<C>>>) -> Result<(), QueueFull> {
        self.queue.enqueue(waiter, || self.supply())
    }

    /// Ends a wait. A grant that came before it is returned, to be used or given back.
    pub fn cancel(&self, waiter: &Arc<Waiter<Grant<C>>>) -> Option<Grant<C>> {
        self.queue.cancel(waiter)
    }

    /// After something was made available: see to those who came to wait meanwhile.
    fn serve_waiters(&self) {
        if !self.queue.is_empty() {
            self.queue.serve(|| self.supply());
        }
    }

    fn supply(&self) -> Option<Grant<C>> {
        if let Some((connection, _)) = self.idle.pop() {
            return Some(Grant::Kept(connection, Permit::of_idle()));
        }
        self.permits.take().map(Grant::Connect)
    }

    /// Closes what has been idle for too long.
    pub fn expire_idle(&self, now: u64) {
        self.close_idle((now + 1).saturating_sub(self.idle_timeout));
    }

    /// Closes whatever has been idle since before this time; `u64::MAX`: everything.
    pub fn close_idle(&self, before: u64) {
        self.idle.take_expired(before, &mut |connection| {
            drop(connection);
            self.discard(Permit::of_idle());
        });
    }

    /// Where it is reached.
    pub fn target(&self) -> Option<SocketAddress> {
        self.lock_target().clone()
    }

    /// Gives the place to an address, or to none. Connections to another one are not used again.
    pub fn settle(&self, target: Option<SocketAddress>, now: u64, others: bool) {
        let mut own = self.lock_target();
        self.generation.fetch_add(1, SeqCst);
        match target {
            Some(_) => self.health.enter(now, others),
            None => self.health.leave(),
        }
        *own = target;
        drop(own);
        self.close_idle(u64::MAX);
    }

    /// A number that is another one for each address that it had.
    pub fn generation(&self) -> u32 {
        self.generation.load(SeqCst)
    }

    fn lock_target(&self) -> MutexGuard<'_, Option<SocketAddress>> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address as configured.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The settings.
    pub fn settings(&self) -> &PoolSettings {
        &self.settings
    }

    /// Has it take no new clients, or take them again; connections that are idle are closed.
    pub fn drain(&self, drain: bool) {
        self.health.set_draining(drain);
        if drain {
            self.close_idle(u64::MAX);
        }
    }

    /// Whether new clients come here.
    pub fn takes_clients(&self) -> bool {
        !self.health.is_draining() && !self.health.is_absent()
    }

    /// The health.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The counters.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many connections hold a permit, idle ones included; 0 without a limit.
    pub fn permits_used(&self) -> u32 {
        self.permits.used()
    }

    /// How many connections are idle, wherever they are kept.
    pub fn idle(&self) -> usize {
        self.idle.len() + self.idle_elsewhere() as usize
    }

    /// How many connections with permits of this pool are idle but not laid aside here.
    pub fn idle_elsewhere(&self) -> u32 {
        self.idle_elsewhere.load(SeqCst)
    }

    /// One more is idle elsewhere. Look at [`has_waiters`](Self::has_waiters) next: who began to wait
    /// before this has not seen it.
    pub fn rest_elsewhere(&self) {
        self.idle_elsewhere.fetch_add(1, SeqCst);
    }

    /// One that was idle elsewhere is not any more.
    pub fn wake_elsewhere(&self) {
        self.idle_elsewhere.fetch_sub(1, SeqCst);
    }

    /// Whether several exchanges may share a connection: so it is set, and the application has not
    /// refused it.
    pub fn multiplexes(&self) -> bool {
        self.settings.multiplex && !self.multiplex_refused.load(Relaxed)
    }

    /// The application does not multiplex, whatever the settings say. Whether that is news.
    pub fn refuse_multiplex(&self) -> bool {
        !self.multiplex_refused.swap(true, Relaxed)
    }

    /// Whether anyone waits for a connection.
    pub fn has_waiters(&self) -> bool {
        self.permits.is_limited() && !self.queue.is_empty()
    }

    /// How many exchanges wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_utils::sync::Parker;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::SeqCst;

    fn pool<C>(max_connections: u32) -> Pool<C> {
        let settings = PoolSettings { max_connections, ..PoolSettings::default() };
        Pool::new("unix:/run/app.sock".parse().unwrap(), settings, Duration::from_secs(5))
    }

    fn connect<C>(pool: &Pool<C>) -> Permit {
        match pool.checkout(0, true) {
            Checkout::Connect(permit) => permit,
            Checkout::Kept(..) => panic!("kept"),
            Checkout::Wait => panic!("wait"),
        }
    }

    fn waits<C>(pool: &Pool<C>) -> bool {
        matches!(pool.checkout(0, true), Checkout::Wait)
    }

    /// F10: at most max_connections at once, idle ones included, then a newcomer waits.
    #[test]
    fn limit_counts_idle_connections() {
        let pool = pool(2);
        let (first, second) = (connect(&pool), connect(&pool));
        assert!(waits(&pool));
        pool.checkin(Box::new('a'), first, 0);
        assert_eq!((pool.permits_used(), pool.idle()), (2, 1));
        let Checkout::Kept(connection, first) = pool.checkout(0, true) else { panic!() };
        assert_eq!(*connection, 'a');
        assert!(waits(&pool));
        pool.discard(first);
        pool.discard(second);
        assert_eq!(pool.permits_used(), 0);
        assert_eq!(pool.counters().reuses.get(), 1);
    }

    /// F12: a request that must not be sent on a reused connection closes an idle one for its own,
    /// but only where there is no permit left.
    #[test]
    fn fresh_connection_gives_up_an_idle_one_at_the_limit() {
        let pool = pool(2);
        let permit = connect(&pool);
        pool.checkin(Box::new('a'), permit, 0);
        let Checkout::Connect(second) = pool.checkout(0, false) else { panic!() };
        assert_eq!((pool.permits_used(), pool.idle()), (2, 1));
        let Checkout::Connect(first) = pool.checkout(0, false) else { panic!() };
        assert_eq!((pool.permits_used(), pool.idle()), (2, 0));
        assert!(matches!(pool.checkout(0, false), Checkout::Wait));
        pool.discard(first);
        pool.discard(second);
    }

    /// F12: what was idle for longer than idle_timeout is never reused, expired or not.
    #[test]
    fn too_long_idle_is_not_reused() {
        let pool = pool(2);
        let timeout = 10_000;
        for expire in [false, true] {
            let permit = connect(&pool);
            pool.checkin(Box::new('a'), permit, 5);
            pool.expire_idle(5 + timeout - 1);
            assert_eq!(pool.idle(), 1);
            if expire {
                pool.expire_idle(5 + timeout);
                assert_eq!((pool.idle(), pool.permits_used()), (0, 0));
            }
            let Checkout::Connect(permit) = pool.checkout(5 + timeout, true) else { panic!() };
            assert_eq!((pool.idle(), pool.permits_used()), (0, 1));
            pool.discard(permit);
        }
    }

    /// F10: a connection or permit that comes free goes to the waiter, and nobody overtakes it.
    #[test]
    fn waiters_come_before_newcomers() {
        let pool = pool(1);
        let parker = Parker::new();
        let waiter = Waiter::thread(parker.unparker().clone());
        let permit = connect(&pool);
        pool.enqueue(&waiter).unwrap();
        pool.checkin(Box::new('a'), permit, 0);
        parker.park();
        assert!(waits(&pool));
        let Some(Grant::Kept(connection, permit)) = waiter.take() else { panic!() };
        assert_eq!(*connection, 'a');
        pool.enqueue(&waiter).unwrap();
        assert!(waits(&pool));
        pool.discard(permit);
        parker.park();
        let Some(Grant::Connect(permit)) = pool.cancel(&waiter) else { panic!() };
        pool.give_back(Grant::Connect(permit), 0);
        assert_eq!((pool.permits_used(), pool.waiting()), (0, 0));
    }

    /// F10: what is idle or free when a waiter comes to the queue is its own at once.
    #[test]
    fn enqueueing_finds_what_came_free_before() {
        let pool = pool(1);
        let waiter = Waiter::notify(Box::new(|| {}));
        pool.enqueue(&waiter).unwrap();
        let Some(Grant::Connect(permit)) = waiter.take() else { panic!() };
        pool.checkin(Box::new('a'), permit, 0);
        pool.enqueue(&waiter).unwrap();
        let Some(Grant::Kept(_, permit)) = waiter.take() else { panic!() };
        pool.discard(permit);
    }

    /// F10: without a limit nobody waits, nothing is counted, and max_idle bounds what is kept.
    #[test]
    fn without_a_limit_nobody_waits_and_nothing_is_counted() {
        let settings = PoolSettings { keep_conn: KeepConn::On, max_idle: 1, ..PoolSettings::default() };
        let pool = Pool::new("localhost:9000".parse().unwrap(), settings, Duration::ZERO);
        let held: Vec<_> = (0..10).map(|_| connect(&pool)).collect();
        for permit in held {
            pool.checkin(Box::new('a'), permit, 0);
        }
        assert_eq!((pool.idle(), pool.permits_used()), (1, 0));
        pool.close_idle(u64::MAX);
        assert_eq!(pool.idle(), 0);
    }

    /// F13: the place of a name's address is absent without one, and idle connections end with it.
    #[test]
    fn place_of_a_name() {
        assert!(pool::<()>(0).target().is_some() && !pool::<()>(0).health().is_absent());
        let settings = PoolSettings { max_connections: 2, ..PoolSettings::default() };
        let named = Pool::new("app.example:9000".parse().unwrap(), settings, Duration::ZERO);
        assert!(named.target().is_none() && named.health().is_absent());
        let address = |text: &str| text.parse::<Address>().unwrap().literal();
        named.settle(address("10.0.0.1:9000"), 5, false);
        assert!(named.target() == address("10.0.0.1:9000") && !named.health().is_absent());
        let generation = named.generation();
        let permit = connect(&named);
        named.checkin(Box::new('a'), permit, 5);
        named.health().on_failure(5);
        named.settle(address("10.0.0.2:9000"), 6, true);
        assert!(named.idle() == 0 && named.permits_used() == 0 && named.generation() != generation);
        assert!(named.health().is_up());
        named.settle(None, 7, true);
        assert!(named.health().is_absent() && named.target().is_none());
    }

    /// F15: with many threads the limit holds, every waiter is served, and nothing is left over.
    #[test]
    fn threads_share_few_connections_without_loss() {
        const THREADS: usize = 6;
        const LIMIT: u32 = 2;
        const ROUNDS: usize = 10_000;
        struct Connection<'a>(&'a AtomicUsize);
        impl<'a> Connection<'a> {
            fn new(open: &'a AtomicUsize) -> Box<Self> {
                assert!(open.fetch_add(1, SeqCst) < LIMIT as usize);
                Box::new(Self(open))
            }
        }
        impl Drop for Connection<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, SeqCst);
            }
        }
        let open = AtomicUsize::new(0);
        let start = Barrier::new(THREADS);
        let waits = AtomicUsize::new(0);
        let pool = pool::<Connection<'_>>(LIMIT);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (pool, open, start, waits) = (&pool, &open, &start, &waits);
                scope.spawn(move || {
                    start.wait();
                    let parker = Parker::new();
                    let waiter = Waiter::thread(parker.unparker().clone());
                    for round in 0..ROUNDS {
                        let now = round as u64;
                        let grant = match pool.checkout(now, round % 5 != 0) {
                            Checkout::Kept(connection, permit) => Grant::Kept(connection, permit),
                            Checkout::Connect(permit) => Grant::Connect(permit),
                            Checkout::Wait => {
                                waits.fetch_add(1, SeqCst);
                                pool.enqueue(&waiter).unwrap();
                                if (round + thread) % 7 == 0 {
                                    if let Some(grant) = pool.cancel(&waiter) {
                                        pool.give_back(grant, now);
                                    }
                                    continue;
                                }
                                loop {
                                    if let Some(grant) = waiter.take() {
                                        break grant;
                                    }
                                    parker.park();
                                }
                            }
                        };
                        let (connection, permit) = match grant {
                            Grant::Kept(connection, permit) => (connection, permit),
                            Grant::Connect(permit) => (Connection::new(open), permit),
                        };
                        // Others run while this one holds its connection, and so have to wait.
                        std::thread::yield_now();
                        match (round + thread) % 3 {
                            0 => {
                                drop(connection);
                                pool.discard(permit);
                            }
                            _ => pool.checkin(connection, permit, now),
                        }
                        if round % 64 == thread {
                            pool.close_idle(now.saturating_sub(3));
                        }
                    }
                });
            }
        });
        assert!(waits.into_inner() > 0);
        assert_eq!(pool.waiting(), 0);
        pool.close_idle(u64::MAX);
        assert_eq!((pool.idle(), pool.permits_used(), open.load(SeqCst)), (0, 0, 0));
    }
}
