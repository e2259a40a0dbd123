//! What one attempt holds of a pool: its place in the queue, its permit, its connection. Both
//! drives get and give back through here, so that no permit is ever lost.

use super::dial::Source;
use super::engine::{Engine, Link};
use super::scratch::Scratch;
use crate::balancer::Choice;
use crate::exchange::Exchange;
use crate::os::clock::milliseconds;
use crate::os::socket::Stream;
use crate::pool::{Checkout, Grant, Permit, Pool, Waiter};
use std::sync::Arc;
use std::time::Duration;

/// What an attempt got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got {
    /// A kept connection.
    Kept,
    /// The right to connect.
    Permit,
    /// A place on a connection that others use too.
    Shared,
    /// A place in a queue, or nothing.
    Nothing,
}

/// What a drive can do at once for an exchange of a pool that multiplexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// The exchange has a place on a shared connection.
    Joined,
    /// A connection to share is in the making.
    Soon,
    /// There is none.
    No,
}

/// Idle connections that a drive keeps for itself, beside those of the pools.
pub trait OwnIdle {
    /// Takes one of a pool, by the pool's place among all; if `quiet`, one on which nothing has come.
    fn take(&mut self, pool: usize, quiet: bool) -> Option<(Box<Link>, Permit)>;
    /// Hands all of a pool over to it. Whether there were any.
    fn surrender(&mut self, pool: usize) -> bool;
    /// Has an exchange share a connection of a pool that multiplexes, which is that member of its
    /// balancer.
    fn join(&mut self, pool: usize, member: u32, exchange: &mut Exchange) -> Join;
}

/// A drive that keeps none.
#[derive(Debug)]
pub struct NoneOwn;

impl OwnIdle for NoneOwn {
    fn take(&mut self, _: usize, _: bool) -> Option<(Box<Link>, Permit)> {
        None
    }

    fn surrender(&mut self, _: usize) -> bool {
        false
    }

    fn join(&mut self, _: usize, _: u32, _: &mut Exchange) -> Join {
        Join::No
    }
}

/// The holdings of one attempt.
#[derive(Debug)]
pub struct Attempt {
    /// The balancer.
    pub balancer: usize,
    /// The pool, by its place in the balancer.
    pub member: u32,
    /// The connection.
    pub link: Option<Box<Link>>,
    /// Where its connection is to come from, if the request says so: then it serves no other.
    pub source: Option<Source>,
    permit: Option<Permit>,
    waiter: Option<Arc<Waiter<Grant<Link>>>>,
    queued: bool,
    trial: bool,
    reuse: bool,
    /// When the pool got the exchange, until it answers.
    unanswered_since: Option<Duration>,
    /// To which of its pool's addresses it connects.
    generation: u32,
}

impl Attempt {
    /// Holds nothing yet.
    pub fn new(balancer: usize, source: Option<Source>) -> Self {
        Self {
            balancer,
            member: 0,
            link: None,
            source,
            permit: None,
            waiter: None,
            queued: false,
            trial: false,
            reuse: false,
            unanswered_since: None,
            generation: 0,
        }
    }

    /// Chooses a pool and takes from it what can be had: a connection, a permit, or a place in its
    /// queue. The exchange is told.
    pub fn acquire(
        &mut self,
        engine: &Engine,
        exchange: &mut Exchange,
        now: Duration,
        reuse: bool,
        own: &mut dyn OwnIdle,
        make_waiter: impl FnOnce() -> Arc<Waiter<Grant<Link>>>,
    ) -> Got {
        let reuse = reuse && self.source.is_none();
        self.reuse = reuse;
        engine.look_at_names(self.balancer, now);
        let mut first_busy = None;
        let mut passed_over = None;
        loop {
            let tried = passed_over.as_ref().unwrap_or(exchange.tried());
            let choice = engine.choose(self.balancer, tried, exchange.key(), now);
            let (member, trial) = match (choice, first_busy) {
                (Choice::Pool(member), None) => (member, false),
                (Choice::Trial(member), None) => (member, true),
                (Choice::Pool(member), Some(busy)) if member != busy && !tried.contains(member) => {
                    (member, false)
                }
                (Choice::Trial(member), Some(_)) => {
                    engine.pool(self.balancer, member).health().on_abandoned_trial(milliseconds(now));
                    break;
                }
                (Choice::NotBefore(at), None) => {
                    exchange.handle_no_pool(now, (at != u64::MAX).then(|| Duration::from_millis(at)));
                    return Got::Nothing;
                }
                _ => break,
            };
            let pool = engine.pool(self.balancer, member);
            let place = engine.place(self.balancer, member);
            if !trial && self.may_share(pool) {
                match own.join(place, member, exchange) {
                    Join::No => {}
                    Join::Soon => {
                        self.member = member;
                        exchange.handle_queued(now, member, pool.settings().queue_timeout);
                        return Got::Nothing;
                    }
                    Join::Joined => {
                        self.begin(engine, member, now);
                        pool.counters().reuses.add(1);
                        return Got::Shared;
                    }
                }
            }
            let reuse = reuse && !trial;
            if reuse
                && !pool.has_waiters()
                && let Some((link, permit)) = own.take(place, !exchange.is_idempotent())
            {
                pool.counters().reuses.add(1);
                return self.take(engine, exchange, now, member, Grant::Kept(link, permit));
            }
            let mut checkout = pool.checkout(milliseconds(now), reuse);
            if matches!(checkout, Checkout::Wait) && own.surrender(place) {
                checkout = pool.checkout(milliseconds(now), reuse);
            }
            let grant = match checkout {
                Checkout::Kept(link, permit) => Grant::Kept(link, permit),
                Checkout::Connect(permit) => Grant::Connect(permit),
                Checkout::Wait => {
                    if trial {
                        pool.health().on_abandoned_trial(milliseconds(now));
                    }
                    first_busy.get_or_insert(member);
                    // A session is where its data is.
                    if engine.balancer(self.balancer).is_bound(member, exchange.key()) {
                        break;
                    }
                    passed_over.get_or_insert_with(|| exchange.tried().clone()).insert(member);
                    continue;
                }
            };
            self.trial = trial;
            return self.take(engine, exchange, now, member, grant);
        }
        let member = first_busy.unwrap_or(0);
        let pool = engine.pool(self.balancer, member);
        let waiter = Arc::clone(self.waiter.get_or_insert_with(make_waiter));
        if pool.enqueue(&waiter).is_err() {
            exchange.handle_queue_full(now, member);
            return Got::Nothing;
        }
        self.member = member;
        self.queued = true;
        if pool.idle_elsewhere() > 0 {
            engine.want_idle();
        }
        exchange.handle_queued(now, member, pool.settings().queue_timeout);
        self.take_grant(engine, exchange, now)
    }

    /// Whether it may share a connection of this pool.
    pub fn may_share(&self, pool: &Pool<Link>) -> bool {
        self.source.is_none() && pool.multiplexes()
    }

    /// Takes what the queue granted, if it did.
    pub fn take_grant(&mut self, engine: &Engine, exchange: &mut Exchange, now: Duration) -> Got {
        match self.waiter.as_ref().filter(|_| self.queued).and_then(|waiter| waiter.take()) {
            Some(grant) => {
                self.queued = false;
                self.take(engine, exchange, now, self.member, grant)
            }
            None => Got::Nothing,
        }
    }

    fn take(
        &mut self,
        engine: &Engine,
        exchange: &mut Exchange,
        now: Duration,
        member: u32,
        grant: Grant<Link>,
    ) -> Got {
        self.begin(engine, member, now);
        let pool = engine.pool(self.balancer, member);
        match grant {
            // A repeated attempt is looked after by the retry rule; what may not be repeated must
            // not meet a connection that was closed meanwhile.
            Grant::Kept(mut link, permit)
                if self.reuse
                    && !link.is_astray(pool)
                    && (exchange.is_idempotent() || link.stream.is_quiet()) =>
            {
                let keep = link.may_keep(pool.settings(), now);
                exchange.handle_kept(now, member, &mut link.connection, keep);
                self.link = Some(link);
                self.permit = Some(permit);
                Got::Kept
            }
            Grant::Kept(_, permit) | Grant::Connect(permit) => {
                self.generation = pool.generation();
                self.permit = Some(permit);
                exchange.handle_permit(now, member, pool.settings().connect_timeout);
                Got::Permit
            }
        }
    }

    fn begin(&mut self, engine: &Engine, member: u32, now: Duration) {
        self.member = member;
        self.unanswered_since = Some(now);
        engine.note_begin(self.balancer, member);
    }

    /// The response head is complete: how long it took counts for the pool, and a client that is to come
    /// back here is told so.
    pub fn answered(&mut self, engine: &Engine, scratch: &mut Scratch, now: Duration) {
        let balancer = engine.balancer(self.balancer);
        if let Some(since) = self.unanswered_since.take() {
            // The time that a client takes for its body is not the pool's.
            let sent = scratch.exchange.times().sent.filter(|_| scratch.exchange.outgoing.body_offered() > 0);
            let took = now.saturating_sub(sent.unwrap_or(since));
            balancer.note_answer(self.member, took, milliseconds(now));
        }
        let secure =
            || scratch.environment.param(b"HTTPS").is_some_and(|value| value.eq_ignore_ascii_case(b"on"));
        if balancer.is_sticky()
            && let Some(cookie) = balancer.set_cookie(self.member, scratch.exchange.key(), secure())
        {
            scratch.exchange.response.head.append(b"Set-Cookie", cookie.as_bytes());
        }
    }

    /// The socket is connected.
    pub fn connected(&mut self, engine: &Engine, exchange: &mut Exchange, now: Duration, stream: Stream) {
        let pool = engine.pool(self.balancer, self.member);
        pool.health().on_success(milliseconds(now));
        pool.counters().connects.add(1);
        self.trial = false;
        let mut link = Box::new(Link::new(stream, now, self.generation));
        let keep = self.source.is_none() && link.may_keep(pool.settings(), now);
        exchange.handle_connected(now, &mut link.connection, keep);
        self.link = Some(link);
    }

    /// The pool could not be reached.
    pub fn note_unreachable(&mut self, engine: &Engine, now: Duration) {
        engine.pool(self.balancer, self.member).health().on_failure(milliseconds(now));
        engine.doubt(self.balancer, self.member);
        self.trial = false;
    }

    /// Lays the connection aside if it is clean.
    pub fn keep(&mut self, engine: &Engine, now: Duration) {
        if let Some((link, permit)) = self.take_clean(engine) {
            engine.check_in(engine.pool(self.balancer, self.member), link, permit, now);
        }
    }

    /// The connection with its permit, for others to share.
    pub fn take_link(&mut self) -> Option<(Box<Link>, Permit)> {
        Some((self.link.take()?, self.permit.take()?))
    }

    /// The connection with its permit if it is clean and may serve others.
    pub fn take_clean(&mut self, engine: &Engine) -> Option<(Box<Link>, Permit)> {
        self.link.as_ref().filter(|link| self.source.is_none() && link.connection.is_clean())?;
        let (link, permit) = (self.link.take()?, self.permit.take()?);
        engine.note_end(self.balancer, self.member);
        Some((link, permit))
    }

    /// Gives back whatever is held; a connection is closed.
    pub fn release(&mut self, engine: &Engine, now: Duration) {
        if let Some(since) = self.unanswered_since.take() {
            let took = now.saturating_sub(since);
            engine.balancer(self.balancer).note_no_answer(self.member, took, milliseconds(now));
        }
        if !self.queued && self.permit.is_none() {
            return;
        }
        let pool = engine.pool(self.balancer, self.member);
        if std::mem::take(&mut self.queued)
            && let Some(grant) = self.waiter.as_ref().and_then(|waiter| pool.cancel(waiter))
        {
            pool.give_back(grant, milliseconds(now));
        }
        self.link = None;
        if std::mem::take(&mut self.trial) {
            pool.health().on_abandoned_trial(milliseconds(now));
        }
        if let Some(permit) = self.permit.take() {
            engine.note_end(self.balancer, self.member);
            pool.discard(permit);
        }
    }
}
