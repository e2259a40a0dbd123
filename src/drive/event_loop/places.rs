//! Where the exchanges of a loop stand, and the one timer that serves their deadlines.

use super::host::Control;
use super::{EventLoop, Key, Place, Slot};
use crate::os::clock;
use std::rc::Rc;
use std::time::Duration;

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
        let key = Key { index, generation: place.generation };
        if let Some(at) = slot.deadline {
            places.deadlines.remove(&(at, index));
        }
        Some((key, slot))
    }

    pub(super) fn put_back(&self, key: Key, mut slot: Box<Slot>) {
        self.take_buffer(&mut slot);
        let mut places = self.places.borrow_mut();
        if let Some(at) = slot.deadline {
            places.deadlines.insert((at, key.index));
        }
        places.slots[key.index].slot = Some(slot);
        drop(places);
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
        drop(slot);
        let mut places = self.places.borrow_mut();
        let place = &mut places.slots[key.index];
        place.generation = place.generation.wrapping_add(1);
        place.control = None;
        places.free.push(key.index);
        drop(places);
        self.set_timer();
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
