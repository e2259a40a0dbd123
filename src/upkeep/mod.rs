//! What has to be done while no request asks for it: closing connections that have been idle for too
//! long. One thread a process, started when the first connection becomes idle, and asleep without a
//! timer while none is.

pub mod resolve;

use crate::drive::Engine;
use crate::os::clock;
use crate::os::thread::spawn_quiet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// The shortest time between two looks.
const SHORTEST: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
struct State {
    has_idle: bool,
    stop: bool,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The upkeep of one engine. Its thread is joined when this is dropped.
#[derive(Debug)]
pub struct Upkeep {
    shared: Arc<Shared>,
}

impl Upkeep {
    /// Takes up the upkeep of an engine. Starts no thread yet.
    pub fn new(engine: &Arc<Engine>) -> Self {
        let shared = Arc::<Shared>::default();
        let (own, weak) = (Arc::downgrade(&shared), Arc::downgrade(engine));
        engine.set_on_idle(Box::new(move || {
            if let Some(shared) = own.upgrade() {
                wake(&shared, &weak);
            }
        }));
        Self { shared }
    }
}

fn wake(shared: &Arc<Shared>, engine: &Weak<Engine>) {
    let mut state = shared.lock();
    state.has_idle = true;
    if state.thread.is_none() && !state.stop {
        let (own, engine) = (Arc::clone(shared), Weak::clone(engine));
        // Without a thread connections stay idle for longer; the next idle one tries again.
        state.thread = spawn_quiet("fcgate-upkeep", move || run(&own, &engine)).ok();
    }
    drop(state);
    shared.changed.notify_one();
}

fn run(shared: &Shared, engine: &Weak<Engine>) {
    loop {
        let mut state = shared.lock();
        while !state.has_idle && !state.stop {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.stop {
            return;
        }
        let Some(step) = engine.upgrade().map(|engine| step(&engine)) else { return };
        let (state, _) = shared
            .changed
            .wait_timeout_while(state, step, |state| !state.stop)
            .unwrap_or_else(PoisonError::into_inner);
        if state.stop {
            return;
        }
        drop(state);
        let Some(engine) = engine.upgrade() else { return };
        let now = clock::milliseconds(clock::now());
        // Before the look: a connection that becomes idle meanwhile says so again.
        shared.lock().has_idle = false;
        engine.forget_idle();
        let mut left = false;
        for pool in engine.pools() {
            pool.expire_idle(now);
            left |= pool.idle() > pool.idle_elsewhere() as usize;
        }
        if left {
            shared.lock().has_idle = true;
        }
    }
}

/// How long until the next look: half of the shortest idle timeout.
fn step(engine: &Engine) -> Duration {
    let pools = engine.pools().iter().filter(|pool| pool.settings().keeps_connections());
    let shortest = pools.map(|pool| pool.settings().idle_timeout).min().unwrap_or(Duration::ZERO);
    (shortest / 2).max(SHORTEST)
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        let thread = {
            let mut state = self.shared.lock();
            state.stop = true;
            state.thread.take()
        };
        self.shared.changed.notify_one();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}
