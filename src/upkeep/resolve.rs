//! Names that lead to applications, looked up beside the requests and never by them.
//!
//! The system's resolver blocks for as long as it likes. Each look is a thread of its own that nobody
//! waits for: what it finds after its gateway is gone, it forgets.

use crate::drive::Engine;
use crate::os::clock;
use crate::os::thread::spawn_quiet;
use crate::os::{Address, SocketAddress};
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, PoisonError};

/// Looks an address up; blocks.
pub type Lookup = dyn Fn(&Address) -> io::Result<Vec<SocketAddress>> + Send + Sync;

/// Looks up the names of one engine until it is dropped.
#[derive(Debug)]
pub struct Resolver {
    /// Whether what is found is still wanted. Held while it is used, so that nothing is after the drop.
    open: Arc<Mutex<bool>>,
}

impl Resolver {
    /// Takes up the names of an engine, and looks each of them up.
    pub fn new(engine: &Arc<Engine>, lookup: Arc<Lookup>) -> Self {
        let open = Arc::new(Mutex::new(true));
        let busy: Arc<[AtomicBool]> = engine.names().iter().map(|_| AtomicBool::new(false)).collect();
        let (weak, is_open) = (Arc::downgrade(engine), Arc::clone(&open));
        engine.set_on_due_name(Box::new(move |name| {
            let (weak, lookup) = (weak.clone(), Arc::clone(&lookup));
            let (busy, is_open) = (Arc::clone(&busy), Arc::clone(&is_open));
            if busy[name].swap(true, SeqCst) {
                return;
            }
            let Some(address) = weak.upgrade().map(|engine| engine.names()[name].address.clone()) else {
                return;
            };
            let done = Arc::clone(&busy);
            let look = move || {
                let found = lookup(&address);
                let open = is_open.lock().unwrap_or_else(PoisonError::into_inner);
                if *open && let Some(engine) = weak.upgrade() {
                    engine.settle(name, found, clock::now());
                }
                busy[name].store(false, SeqCst);
            };
            // Without a thread the next request that finds it due tries again.
            if spawn_quiet("fcgate-name", look).is_err() {
                done[name].store(false, SeqCst);
            }
        }));
        let now = clock::now();
        (0..engine.config.balancers.len()).for_each(|balancer| engine.look_at_names(balancer, now));
        Self { open }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }
}
