//! Where the exchanges of a loop stand, and the one timer that serves their deadlines.

use super::host::Control;
use super::{EventLoop, Key, Place, Slot};
use crate::drive::request::Request;
use crate::os::clock;
use std::rc::Rc;
use std::time::Duration;

/// Requests whose memory is kept, and how much each may have.
const SPARE_REQUESTS: usize = 64;
const SPARE_REQUEST_MAX: usize = 16 << 10;

impl EventLoop {
    pub(super) fn place(&self, control: &Rc<Control>) -> Key {
        let mut places = self.places.borrow_mut();
        let index = places.free.pop().unwrap_or_else(|| {
            places.slots.push(Place::default());
            places.slots.len() - 1
        });
        let place = &mut places.slots[index];
        place.generation = place.generation.wrapping_add(1);
        place.control = Some(Rc::clone(control));
        Key { index, generation: place.generation }
    }

    pub(super) fn take(&self, key: Key) -> Option<(Key, Box<Slot>)> {
        let generation = self.places.borrow().slots.get(key.index)?.generation;
        if generation != key.generation {
            return None;
        }
        self.take_if(key.index, |_| true)
    }

    pub(super) fn take_if(
        &self,
        index: usize,
        condition: impl FnOnce(&Slot) -> bool,
    ) -> Option<(Key, Box<Slot>)> {
        let mut places = self.places.borrow_mut();
        let place = places.slots.get_mut(index)?;
        if !condition(place.slot.as_ref()?) {
            return None;
        }
        let slot = place.slot.take()?;
        Some((Key { index, generation: place.generation }, slot))
    }

    /// The next exchange that was to be looked at by this time. Where its deadline has moved on, it is
    /// looked at again then.
    pub(super) fn next_due(&self, now: Duration) -> Option<usize> {
        let places = &mut *self.places.borrow_mut();
        places.deadlines.first().filter(|(at, _)| *at <= now)?;
        let (_, index) = places.deadlines.pop_first()?;
        let place = &mut places.slots[index];
        place.due = place.slot.as_ref().and_then(|slot| slot.deadline).filter(|at| *at > now);
        if let Some(at) = place.due {
            places.deadlines.insert((at, index));
        }
        Some(index)
    }

    pub(super) fn put_back(&self, key: Key, mut slot: Box<Slot>) {
        self.take_buffer(&mut slot);
        let mut borrowed = self.places.borrow_mut();
        let places = &mut *borrowed;
        let place = &mut places.slots[key.index];
        // Most deadlines are never reached: one that moves on leaves the order as it is.
        if let Some(at) = slot.deadline
            && place.due.is_none_or(|due| due > at)
        {
            if let Some(due) = place.due.replace(at) {
                places.deadlines.remove(&(due, key.index));
            }
            places.deadlines.insert((at, key.index));
        }
        place.slot = Some(slot);
        drop(borrowed);
        self.set_timer();
    }

    /// Takes the receive buffer of an exchange that has nothing in it.
    pub(super) fn take_buffer(&self, slot: &mut Slot) {
        if slot.inbound.is_empty() && !slot.lease.received.is_empty() {
            self.buffer.set(std::mem::take(&mut slot.lease.received));
        }
    }

    pub(super) fn forget(&self, key: Key, mut slot: Box<Slot>) {
        self.take_buffer(&mut slot);
        self.lay_by(std::mem::take(&mut slot.request));
        drop(slot);
        let mut borrowed = self.places.borrow_mut();
        let places = &mut *borrowed;
        let place = &mut places.slots[key.index];
        place.generation = place.generation.wrapping_add(1);
        place.control = None;
        if let Some(due) = place.due.take() {
            places.deadlines.remove(&(due, key.index));
        }
        places.free.push(key.index);
        drop(borrowed);
        self.set_timer();
    }

    fn lay_by(&self, mut request: Request) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_REQUESTS && request.memory() <= SPARE_REQUEST_MAX {
            request.clear();
            spare.push(request);
        }
    }

    pub(super) fn set_timer(&self) {
        let next = {
            let mut places = self.places.borrow_mut();
            let next = places.deadlines.first().map(|(at, _)| *at);
            let at_once = !self.in_turn.get() && self.shared.borrow().is_due();
            let at_once = at_once.then_some(Duration::ZERO);
            let next = [next, self.idle_due.get(), at_once].into_iter().flatten().min();
            // A timer that comes too early does no harm; one that is moved at each exchange does.
            let keeps = match (places.timer, next) {
                (Some(set), Some(next)) => set <= next,
                (None, None) => true,
                _ => false,
            };
            if keeps || next.is_none() {
                return;
            }
            places.timer = next;
            next
        };
        self.hooks.timer(next.map(|at| at.saturating_sub(clock::now())));
    }
}
