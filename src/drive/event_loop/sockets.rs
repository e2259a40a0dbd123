//! The sockets of one event loop: which of them the host watches, and who they belong to. An idle
//! connection stays watched: so an exchange on it costs no call to the host, and one that its
//! application closes is noticed at once.

use crate::drive::engine::Link;
use crate::pool::Permit;
use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::time::Duration;

/// A connection that waits for its next exchange.
#[derive(Debug)]
pub struct IdleLink {
    /// The pool, by its place among all.
    pub pool: usize,
    /// The connection.
    pub link: Box<Link>,
    /// Its permit.
    pub permit: Permit,
    since: Duration,
}

/// Whose a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The exchange at this place.
    Exchange(usize),
    /// The shared connection at this place.
    Shared(usize),
    /// Nobody's: it is idle.
    Idle,
}

#[derive(Debug)]
struct Place {
    generation: u32,
    fd: RawFd,
    interest: u32,
    owner: Owner,
    idle: Option<IdleLink>,
    taken: bool,
}

/// The sockets of one event loop, by handles that never mean another one.
#[derive(Debug, Default)]
pub struct Sockets {
    places: Vec<Place>,
    free: Vec<usize>,
    /// Of each pool, the one that came last at the back. A handle may be of the past.
    idle: Vec<VecDeque<u64>>,
}

fn index(handle: u64) -> Option<usize> {
    ((handle & 0xFFFF_FFFF) as usize).checked_sub(1)
}

impl Sockets {
    /// Takes up a socket of an exchange; not watched yet. Handles are never 0.
    pub fn add(&mut self, fd: RawFd, exchange: usize) -> u64 {
        let owner = Owner::Exchange(exchange);
        let place = Place { generation: 0, fd, interest: 0, owner, idle: None, taken: true };
        let index = match self.free.pop() {
            Some(index) => {
                let generation = self.places[index].generation;
                self.places[index] = Place { generation, ..place };
                index
            }
            None => {
                self.places.push(place);
                self.places.len() - 1
            }
        };
        u64::from(self.places[index].generation) << 32 | (index as u64 + 1)
    }

    fn place(&mut self, handle: u64) -> Option<&mut Place> {
        let place = self.places.get_mut(index(handle)?)?;
        (place.taken && u64::from(place.generation) == handle >> 32).then_some(place)
    }

    /// Whose it is.
    pub fn owner(&mut self, handle: u64) -> Option<Owner> {
        let place = self.place(handle)?;
        Some(if place.idle.is_some() { Owner::Idle } else { place.owner })
    }

    /// Gives it to another.
    pub fn set_owner(&mut self, handle: u64, owner: Owner) {
        if let Some(place) = self.place(handle) {
            place.owner = owner;
        }
    }

    /// Notes an interest. The descriptor, if the host has to be told.
    pub fn set_interest(&mut self, handle: u64, interest: u32) -> Option<RawFd> {
        let place = self.place(handle).filter(|place| place.interest != interest)?;
        place.interest = interest;
        Some(place.fd)
    }

    /// Notes an interest beside what there is already. The descriptor and the whole interest, if the host
    /// has to be told.
    pub fn add_interest(&mut self, handle: u64, interest: u32) -> Option<(RawFd, u32)> {
        let whole = self.place(handle)?.interest | interest;
        Some((self.set_interest(handle, whole)?, whole))
    }

    /// Forgets a socket; it is closed next. The descriptor, if the host watches it.
    pub fn remove(&mut self, handle: u64) -> Option<RawFd> {
        let place = self.place(handle)?;
        place.generation = place.generation.wrapping_add(1);
        place.taken = false;
        place.idle = None;
        let watched = (place.interest != 0).then_some(place.fd);
        self.free.extend(index(handle));
        watched
    }

    /// The connection of this socket is idle from now on.
    pub fn rest(&mut self, handle: u64, pool: usize, link: Box<Link>, permit: Permit, now: Duration) {
        if self.idle.len() <= pool {
            self.idle.resize_with(pool + 1, VecDeque::new);
        }
        let Some(place) = self.place(handle) else { return };
        place.idle = Some(IdleLink { pool, link, permit, since: now });
        self.idle[pool].push_back(handle);
    }

    /// How many handles of a pool's idle connections are held, those of the past included.
    pub fn resting(&self, pool: usize) -> usize {
        self.idle.get(pool).map_or(0, VecDeque::len)
    }

    /// Takes the connection of a pool that has been idle for the shortest time, for this exchange;
    /// not one that was so at `oldest`.
    pub fn reuse(&mut self, pool: usize, exchange: usize, oldest: Duration) -> Option<(u64, IdleLink)> {
        loop {
            let handle = *self.idle.get(pool)?.back()?;
            match self.place(handle) {
                Some(place) if place.idle.as_ref().is_some_and(|idle| idle.since <= oldest) => return None,
                Some(place) => {
                    place.owner = Owner::Exchange(exchange);
                    let idle = place.idle.take();
                    self.idle[pool].pop_back();
                    if let Some(idle) = idle {
                        return Some((handle, idle));
                    }
                }
                None => drop(self.idle[pool].pop_back()),
            }
        }
    }

    /// Takes a connection of a pool that has been idle since `since` or before, the oldest first. Its
    /// socket is to be removed.
    pub fn take_oldest(&mut self, pool: usize, since: Duration) -> Option<(u64, IdleLink)> {
        loop {
            let handle = *self.idle.get(pool)?.front()?;
            let place = self.place(handle);
            if place.as_ref().and_then(|place| place.idle.as_ref()).is_some_and(|idle| idle.since > since) {
                return None;
            }
            let idle = place.and_then(|place| place.idle.take());
            self.idle[pool].pop_front();
            if let Some(idle) = idle {
                return Some((handle, idle));
            }
        }
    }

    /// Takes an idle connection of which `condition` holds. Its socket is to be removed.
    pub fn take_idle(&mut self, handle: u64, condition: impl FnOnce(&Link) -> bool) -> Option<IdleLink> {
        let idle = self.place(handle)?.idle.take_if(|idle| condition(&idle.link))?;
        // Those of the past are not let grow without end.
        let (places, queue) = (&self.places, &mut self.idle[idle.pool]);
        if queue.len() > 2 * places.len() {
            queue.retain(|handle| {
                let place = index(*handle).and_then(|at| places.get(at));
                place.is_some_and(|place| place.idle.is_some() && u64::from(place.generation) == handle >> 32)
            });
        }
        Some(idle)
    }

    /// Since when the connection of a pool has been idle that has been so for the longest time.
    pub fn oldest(&mut self, pool: usize) -> Option<Duration> {
        loop {
            let handle = *self.idle.get(pool)?.front()?;
            match self.place(handle).and_then(|place| place.idle.as_ref()) {
                Some(idle) => return Some(idle.since),
                None => drop(self.idle[pool].pop_front()),
            }
        }
    }

    /// How many pools have had idle connections.
    pub fn pools(&self) -> usize {
        self.idle.len()
    }
}
