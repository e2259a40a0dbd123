//! The idle connections of a loop.

use super::shared::Seat;
use super::sockets::IdleLink;
use super::{EventLoop, READABLE};
use crate::drive::attempt::{Join, OwnIdle};
use crate::drive::engine::Link;
use crate::exchange::Exchange;
use crate::os::clock;
use crate::pool::Permit;
use std::os::fd::AsRawFd;
use std::time::Duration;

impl EventLoop {
    /// Keeps a connection for the next exchange, here if nobody waits for it.
    pub(super) fn keep(
        &self,
        socket: Option<u64>,
        place: usize,
        link: Box<Link>,
        permit: Permit,
        now: Duration,
    ) {
        let pool = &self.engine.pools()[place];
        let has_room = self.sockets.borrow().resting(place) < pool.settings().max_idle as usize;
        let is_free = has_room && !pool.has_waiters() && !self.engine.is_retired();
        if link.is_worn(pool, now) || !is_free {
            socket.into_iter().for_each(|socket| self.unwatch(socket));
            return self.engine.check_in(pool, link, permit, now);
        }
        let fd = link.stream.as_raw_fd();
        let mut sockets = self.sockets.borrow_mut();
        let socket = socket.unwrap_or_else(|| sockets.add(fd, 0));
        sockets.rest(socket, place, link, permit, now);
        drop(sockets);
        pool.rest_elsewhere();
        self.watch(socket, READABLE);
        if pool.has_waiters() {
            self.surrender(place, now);
        } else if self.idle_due.get().is_none() {
            self.idle_due.set(Some(now.saturating_add(pool.settings().idle_timeout)));
            self.set_timer();
        }
    }

    /// Lays the idle connections of a pool aside in it, where others find them. Whether there were any.
    pub(super) fn surrender(&self, place: usize, now: Duration) -> bool {
        let pool = &self.engine.pools()[place];
        let mut any = false;
        loop {
            let taken = self.sockets.borrow_mut().take_oldest(place, Duration::MAX);
            let Some((handle, idle)) = taken else { return any };
            any = true;
            pool.wake_elsewhere();
            self.unwatch(handle);
            self.engine.check_in(pool, idle.link, idle.permit, now);
        }
    }

    /// Gives up what others wait for; all, when none is to be kept any more.
    pub(super) fn hand_over(&self) {
        let now = clock::now();
        let all = self.engine.is_retired();
        for (place, _) in self.engine.pools().iter().enumerate().filter(|(_, pool)| all || pool.has_waiters())
        {
            self.surrender(place, now);
        }
    }

    /// Takes each connection that has been idle for so long.
    pub(super) fn each_idle(&self, now: Duration, take: impl Fn(u64, IdleLink)) {
        let pools = self.sockets.borrow().pools();
        for place in 0..pools {
            let since = now.saturating_sub(self.engine.pools()[place].settings().idle_timeout);
            loop {
                let taken = self.sockets.borrow_mut().take_oldest(place, since);
                let Some((handle, idle)) = taken else { break };
                take(handle, idle);
            }
        }
    }

    /// Closes what has been idle for too long.
    pub(super) fn expire_idle(&self, now: Duration) {
        self.each_idle(now, |handle, idle| self.close_idle(handle, idle));
        let mut sockets = self.sockets.borrow_mut();
        let due = (0..sockets.pools()).filter_map(|place| {
            Some(sockets.oldest(place)?.saturating_add(self.engine.pools()[place].settings().idle_timeout))
        });
        let due = due.min();
        self.idle_due.set(due);
    }

    /// Something came on an idle connection: whatever it is ends it.
    pub(super) fn look_at_idle(&self, handle: u64) {
        let idle = self.sockets.borrow_mut().take_idle(handle, |link| !link.stream.is_quiet());
        if let Some(idle) = idle {
            self.close_idle(handle, idle);
        }
    }

    pub(super) fn close_idle(&self, handle: u64, idle: IdleLink) {
        let pool = &self.engine.pools()[idle.pool];
        self.unwatch(handle);
        drop(idle.link);
        pool.wake_elsewhere();
        pool.discard(idle.permit);
    }
}

/// The idle connections of a loop, as an exchange of it looks for one.
pub(super) struct Idle<'a> {
    pub own: &'a EventLoop,
    pub exchange: usize,
    pub now: Duration,
    /// The handle of the one that was taken.
    pub socket: Option<u64>,
    /// Where the exchange stands on a shared connection.
    pub seat: Option<Seat>,
}

impl OwnIdle for Idle<'_> {
    fn take(&mut self, pool: usize, quiet: bool) -> Option<(Box<Link>, Permit)> {
        let engine = &self.own.engine;
        let oldest = self.now.checked_sub(engine.pools()[pool].settings().idle_timeout);
        loop {
            let taken = self.own.sockets.borrow_mut().reuse(pool, self.exchange, oldest.unwrap_or_default());
            let (handle, idle) = taken?;
            let astray = idle.link.is_astray(&engine.pools()[pool]);
            if astray || quiet && !idle.link.stream.is_quiet() {
                self.own.close_idle(handle, idle);
                continue;
            }
            engine.pools()[pool].wake_elsewhere();
            self.socket = Some(handle);
            return Some((idle.link, idle.permit));
        }
    }

    fn surrender(&mut self, pool: usize) -> bool {
        self.own.surrender(pool, self.now)
    }

    fn join(&mut self, pool: usize, member: u32, exchange: &mut Exchange) -> Join {
        let (join, seat) = self.own.join(pool, member, self.exchange, exchange, self.now);
        self.seat = seat;
        join
    }
}
