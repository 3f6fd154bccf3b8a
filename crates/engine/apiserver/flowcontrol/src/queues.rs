//! The requests of one level: fair queuing over shuffle-sharded queues, with seats.
//!
//! The method is upstream's "fair queuing for server requests": in a virtual world all queues that are not empty are
//! served at once, each at the same rate; here the request that ends first there is dispatched first.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::config::{Discipline, Queuing};
use crate::deal;
use crate::demand::{Integrator, Timed, TimedKind};
use crate::work::{SeatSeconds, WorkEstimate};

/// How long a request is thought to take before it is known.
const SERVICE_NS: f64 = 3_000_000.0;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// No seats, and this level has no queues.
    ConcurrencyLimit,
    /// No seats, and its queue is full.
    QueueFull,
    /// It waited too long, or its sender left.
    TimeOut,
}

impl Rejection {
    /// As metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConcurrencyLimit => "concurrency-limit",
            Self::QueueFull => "queue-full",
            Self::TimeOut => "time-out",
        }
    }
}

/// Whom a request belongs to and what it is about, for dumps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct About {
    pub distinguisher: String,
    pub user: String,
    pub verb: String,
    pub path: String,
    pub namespace: String,
    pub name: String,
    pub api_version: String,
    pub resource: String,
    pub subresource: String,
}

/// A request that arrives.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub id: u64,
    pub schema: Arc<str>,
    pub hash: u64,
    pub estimate: WorkEstimate,
    pub mutating: bool,
    pub about: About,
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub schema: Arc<str>,
    pub about: About,
    pub estimate: WorkEstimate,
    pub mutating: bool,
    pub arrived_ns: u64,
    pub started_ns: Option<u64>,
    pub queue: Option<u32>,
    arrival_r: SeatSeconds,
    total_work: SeatSeconds,
    final_work: SeatSeconds,
}

/// One queue. Those that nothing waits in and nothing is executed from do not exist.
#[derive(Debug, Clone, Default)]
pub(crate) struct Queue {
    pub waiting: VecDeque<u64>,
    pub executing: u64,
    pub seats_in_use: u64,
    pub next_dispatch_r: SeatSeconds,
    pub initial_seats_waiting: u64,
    pub seats_waiting: u64,
    pub work_waiting: SeatSeconds,
}

impl Queue {
    fn is_active(&self) -> bool {
        !self.waiting.is_empty() || self.executing > 0
    }
}

/// What becomes of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Executing,
    /// It waits behind others: so many are in its queue now.
    Waiting(usize),
    Rejected(Rejection),
}

/// What the end of a request means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// For how long it was executed, nanoseconds.
    pub executed_ns: u64,
    /// When its last seats become free, if that is later.
    pub releases_ns: Option<u64>,
}

/// Requests and seats of one flow schema in one level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SchemaGauges {
    /// Requests in queues.
    pub waiting: u64,
    /// Seats they will need.
    pub seats_waiting: u64,
    /// Requests that are executed.
    pub executing: u64,
    /// Seats in use.
    pub seats_in_use: u64,
}

/// Figures of a level's queues.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gauges {
    /// Progress meter of the virtual world, seat-seconds.
    pub current_r: f64,
    /// The same at the last dispatch.
    pub dispatch_r: f64,
    /// Where the last dispatched request began there.
    pub latest_s: f64,
    /// Earliest and latest beginning of the queues' next requests at the last dispatch.
    pub next_s: (f64, f64),
    /// The same, less what was being executed.
    pub next_discounted_s: (f64, f64),
    /// Times the next request found too few seats.
    pub no_accommodation: BTreeMap<Arc<str>, u64>,
}

#[derive(Debug, Clone)]
struct Lingering {
    schema: Arc<str>,
    seats: u64,
    queue: Option<u32>,
}

/// The queues of one level.
#[derive(Debug)]
pub(crate) struct QueueSet {
    discipline: Discipline,
    limit: u64,
    pub queues: BTreeMap<u32, Queue>,
    pub requests: BTreeMap<u64, Request>,
    lingering: BTreeMap<(u64, u64), Lingering>,
    /// Waiting requests that may go on, to be told.
    ready: Vec<u64>,
    current_r: SeatSeconds,
    synced_ns: u64,
    robin: u32,
    enqueues: u64,
    pub waiting: u64,
    pub executing: u64,
    /// Of those waiting and executing: the mutating ones.
    pub mutating: (u64, u64),
    pub seats_in_use: u64,
    pub seats_waiting: u64,
    pub dispatched: u64,
    pub rejected: u64,
    pub cancelled: u64,
    pub schemas: BTreeMap<Arc<str>, SchemaGauges>,
    pub gauges: Gauges,
    pub demand: Integrator,
    pub timed_demand: Timed,
    pub timed_seats: Timed,
    pub timed_waiting: Timed,
    pub timed_executing: Timed,
}

impl QueueSet {
    pub fn new(now_ns: u64, discipline: Discipline) -> Self {
        let mut set = Self {
            discipline,
            limit: 0,
            queues: BTreeMap::new(),
            requests: BTreeMap::new(),
            lingering: BTreeMap::new(),
            ready: Vec::new(),
            current_r: SeatSeconds::default(),
            synced_ns: now_ns,
            robin: 0,
            enqueues: 0,
            waiting: 0,
            executing: 0,
            mutating: (0, 0),
            seats_in_use: 0,
            seats_waiting: 0,
            dispatched: 0,
            rejected: 0,
            cancelled: 0,
            schemas: BTreeMap::new(),
            gauges: Gauges::default(),
            demand: Integrator::new(now_ns),
            timed_demand: Timed::new(TimedKind::Demand, now_ns),
            timed_seats: Timed::new(TimedKind::Seats, now_ns),
            timed_waiting: Timed::new(TimedKind::Requests, now_ns),
            timed_executing: Timed::new(TimedKind::Requests, now_ns),
        };
        set.configure(now_ns, discipline);
        set
    }

    /// Sets what is done with requests over the limit. Queues that are no longer wanted empty by and by.
    pub fn configure(&mut self, now_ns: u64, discipline: Discipline) {
        self.advance(now_ns);
        self.discipline = discipline;
        let room = match discipline {
            Discipline::Queue(q) => u64::from(q.queues).saturating_mul(u64::from(q.queue_length_limit)),
            Discipline::Exempt | Discipline::Reject => 1,
        };
        self.timed_waiting.set_denominator(now_ns, room as f64);
        self.dispatch(now_ns);
    }

    /// Sets the seats; figures are told in parts of `denominator`.
    pub fn set_limit(&mut self, now_ns: u64, limit: u64, denominator: u64) {
        self.advance(now_ns);
        self.limit = limit;
        self.timed_executing.set_denominator(now_ns, denominator as f64);
        self.timed_seats.set_denominator(now_ns, denominator as f64);
        self.timed_demand.set_denominator(now_ns, denominator as f64);
        self.dispatch(now_ns);
    }

    pub fn is_idle(&self) -> bool {
        self.requests.is_empty()
    }

    /// When the next seats become free by themselves.
    pub fn next_release_ns(&self) -> Option<u64> {
        self.lingering.keys().next().map(|(at, _)| *at)
    }

    /// The waiting requests that may go on since the last call.
    pub fn take_ready(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.ready)
    }

    /// Takes or refuses an arrival.
    pub fn start(&mut self, now_ns: u64, arrival: Arrival) -> Admission {
        self.advance(now_ns);
        let id = arrival.id;
        let queuing = match self.discipline {
            Discipline::Queue(queuing) => queuing,
            Discipline::Exempt | Discipline::Reject => {
                if !self.has_room(arrival.estimate.max_seats()) {
                    self.rejected += 1;
                    return Admission::Rejected(Rejection::ConcurrencyLimit);
                }
                self.admit(now_ns, arrival, None);
                self.execute(now_ns, id);
                return Admission::Executing;
            }
        };
        let at = self.pick_queue(&queuing, arrival.hash);
        let length = self.queues.get(&at).map_or(0, |queue| queue.waiting.len());
        if self.seats_in_use >= self.limit && length >= queuing.queue_length_limit as usize {
            self.rejected += 1;
            return Admission::Rejected(Rejection::QueueFull);
        }
        self.admit(now_ns, arrival, Some(at));
        self.enqueue(now_ns, id, at);
        let length = self.queues.get(&at).map_or(0, |queue| queue.waiting.len());
        self.dispatch(now_ns);
        match self.ready.iter().position(|ready| *ready == id) {
            Some(position) => {
                self.ready.swap_remove(position);
                Admission::Executing
            }
            None => Admission::Waiting(length),
        }
    }

    fn admit(&mut self, now_ns: u64, arrival: Arrival, queue: Option<u32>) {
        let estimate = arrival.estimate;
        let final_work = SeatSeconds::of(estimate.final_seats as f64, estimate.additional_latency_ns as f64);
        let request = Request {
            schema: arrival.schema,
            about: arrival.about,
            estimate,
            mutating: arrival.mutating,
            arrived_ns: now_ns,
            started_ns: None,
            queue,
            arrival_r: self.current_r,
            total_work: SeatSeconds::of(estimate.initial_seats as f64, SERVICE_NS) + final_work,
            final_work,
        };
        self.requests.insert(arrival.id, request);
    }

    fn pick_queue(&mut self, queuing: &Queuing, hash: u64) -> u32 {
        let hand = deal::hand(hash, queuing.queues, queuing.hand_size);
        // From another card each time, so that flows whose hands overlap do not all prefer the same queue.
        let offset = (self.enqueues % hand.len() as u64) as usize;
        self.enqueues = self.enqueues.wrapping_add(1);
        let work = |card: &u32| self.queues.get(card).map_or(SeatSeconds::default(), |q| q.work_waiting);
        let (before, from) = hand.split_at(offset);
        let cards = from.iter().chain(before);
        cards.min_by_key(|card| work(card)).copied().unwrap_or_default()
    }

    fn enqueue(&mut self, now_ns: u64, id: u64, at: u32) {
        let Some(request) = self.requests.get(&id) else { return };
        let queue = self.queues.entry(at).or_default();
        if !queue.is_active() {
            queue.next_dispatch_r = self.current_r;
        }
        queue.waiting.push_back(id);
        queue.initial_seats_waiting += request.estimate.initial_seats;
        queue.seats_waiting += request.estimate.max_seats();
        queue.work_waiting = queue.work_waiting + request.total_work;
        self.waiting += 1;
        self.mutating.0 += u64::from(request.mutating);
        self.seats_waiting += request.estimate.max_seats();
        let gauges = self.schemas.entry(request.schema.clone()).or_default();
        gauges.waiting += 1;
        gauges.seats_waiting += request.estimate.max_seats();
        self.bound_next(at);
        self.note(now_ns);
    }

    /// Takes a request out of its queue.
    fn dequeue(&mut self, now_ns: u64, id: u64) {
        let Some(request) = self.requests.get(&id) else { return };
        let Some(at) = request.queue else { return };
        let Some(queue) = self.queues.get_mut(&at) else { return };
        let Some(position) = queue.waiting.iter().position(|waiting| *waiting == id) else {
            return;
        };
        queue.waiting.remove(position);
        queue.initial_seats_waiting -= request.estimate.initial_seats;
        queue.seats_waiting -= request.estimate.max_seats();
        queue.work_waiting = queue.work_waiting - request.total_work;
        self.waiting -= 1;
        self.mutating.0 -= u64::from(request.mutating);
        self.seats_waiting -= request.estimate.max_seats();
        let gauges = self.schemas.entry(request.schema.clone()).or_default();
        gauges.waiting -= 1;
        gauges.seats_waiting -= request.estimate.max_seats();
        self.note(now_ns);
    }

    /// Dispatches while there are seats.
    fn dispatch(&mut self, now_ns: u64) {
        while self.waiting > 0 && self.seats_in_use < self.limit {
            let Some((at, id)) = self.find_next() else { return };
            self.dequeue(now_ns, id);
            let limit = self.limit;
            let Some(request) = self.requests.get_mut(&id) else {
                return;
            };
            // What comes after the answer is reshaped to fit: the same work on fewer seats, for longer.
            if request.estimate.final_seats > limit {
                request.estimate.final_seats = limit;
                request.estimate.additional_latency_ns = request.final_work.per_seat_ns(limit);
            }
            let work = request.total_work;
            self.execute(now_ns, id);
            if let Some(queue) = self.queues.get_mut(&at) {
                queue.next_dispatch_r = queue.next_dispatch_r + work;
            }
            self.bound_next(at);
            self.ready.push(id);
        }
    }

    /// The queue whose oldest request ends first in the virtual world, and that request, if there are seats for it.
    fn find_next(&mut self) -> Option<(u32, u64)> {
        let start = self.robin.wrapping_add(1);
        let order = self.queues.range(start..).chain(self.queues.range(..start));
        let mut best: Option<(SeatSeconds, u32, u64, SeatSeconds)> = None;
        let (mut s, mut discounted) = ((f64::MAX, f64::MIN), (f64::MAX, f64::MIN));
        for (at, queue) in order {
            let Some(id) = queue.waiting.front() else { continue };
            let Some(request) = self.requests.get(id) else { continue };
            let begin = queue.next_dispatch_r;
            let end = begin + request.total_work;
            let less = begin - SeatSeconds::of(queue.seats_in_use as f64, SERVICE_NS);
            s = (s.0.min(begin.to_f64()), s.1.max(begin.to_f64()));
            discounted = (discounted.0.min(less.to_f64()), discounted.1.max(less.to_f64()));
            if best.is_none_or(|(least, ..)| end < least) {
                best = Some((end, *at, *id, begin));
            }
        }
        let (_, at, id, begin) = best?;
        let request = self.requests.get(&id)?;
        if !self.has_room(request.estimate.max_seats()) {
            // Nobody overtakes it: the seats that become free are kept until they suffice.
            *self.gauges.no_accommodation.entry(request.schema.clone()).or_default() += 1;
            return None;
        }
        self.robin = at;
        self.gauges.dispatch_r = self.current_r.to_f64();
        self.gauges.latest_s = begin.to_f64();
        self.gauges.next_s = s;
        self.gauges.next_discounted_s = discounted;
        Some((at, id))
    }

    fn has_room(&self, seats: u64) -> bool {
        if self.discipline == Discipline::Exempt {
            return true;
        }
        // One that is wider than all there is goes alone.
        if seats > self.limit {
            return self.executing == 0;
        }
        self.seats_in_use + seats <= self.limit
    }

    fn execute(&mut self, now_ns: u64, id: u64) {
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        request.started_ns = Some(now_ns);
        let seats = request.estimate.max_seats();
        self.executing += 1;
        self.mutating.1 += u64::from(request.mutating);
        self.seats_in_use += seats;
        self.dispatched += 1;
        if let Some(queue) = request.queue.and_then(|at| self.queues.get_mut(&at)) {
            queue.executing += 1;
            queue.seats_in_use += seats;
        }
        let gauges = self.schemas.entry(request.schema.clone()).or_default();
        gauges.executing += 1;
        gauges.seats_in_use += seats;
        self.note(now_ns);
    }

    /// Takes a waiting request away. Says whether it was waiting.
    pub fn cancel(&mut self, now_ns: u64, id: u64) -> bool {
        self.advance(now_ns);
        let Some(request) = self.requests.get(&id).filter(|r| r.started_ns.is_none()) else {
            return false;
        };
        let queue = request.queue;
        self.dequeue(now_ns, id);
        self.requests.remove(&id);
        self.rejected += 1;
        self.cancelled += 1;
        if let Some(at) = queue {
            self.bound_next(at);
            self.drop_if_unused(at);
        }
        self.dispatch(now_ns);
        true
    }

    /// Ends the execution of a request; `None` if it was not executed.
    pub fn finish(&mut self, now_ns: u64, id: u64) -> Option<Finished> {
        self.advance(now_ns);
        let started_ns = self.requests.get(&id)?.started_ns?;
        let request = self.requests.remove(&id)?;
        let executed_ns = now_ns.saturating_sub(started_ns);
        self.executing -= 1;
        self.mutating.1 -= u64::from(request.mutating);
        self.schemas.entry(request.schema.clone()).or_default().executing -= 1;
        if let Some(at) = request.queue
            && let Some(queue) = self.queues.get_mut(&at)
        {
            queue.executing -= 1;
            // It took more or less than it was thought to.
            let guess = SeatSeconds::of(request.estimate.initial_seats as f64, SERVICE_NS - executed_ns as f64);
            queue.next_dispatch_r = queue.next_dispatch_r - guess;
            self.bound_next(at);
        }
        let lingering = Lingering {
            schema: request.schema,
            seats: request.estimate.max_seats(),
            queue: request.queue,
        };
        let latency_ns = request.estimate.additional_latency_ns;
        let releases_ns = (latency_ns > 0).then(|| now_ns.saturating_add(latency_ns));
        match releases_ns {
            Some(at) => drop(self.lingering.insert((at, id), lingering)),
            None => self.release(now_ns, &lingering),
        }
        self.note(now_ns);
        self.dispatch(now_ns);
        Some(Finished {
            executed_ns,
            releases_ns,
        })
    }

    fn release(&mut self, now_ns: u64, lingering: &Lingering) {
        self.seats_in_use -= lingering.seats;
        self.schemas.entry(lingering.schema.clone()).or_default().seats_in_use -= lingering.seats;
        if let Some(at) = lingering.queue {
            if let Some(queue) = self.queues.get_mut(&at) {
                queue.seats_in_use -= lingering.seats;
            }
            self.drop_if_unused(at);
        }
        self.note(now_ns);
    }

    /// Lets time pass: the virtual world goes on, seats that were kept become free.
    pub fn advance(&mut self, now_ns: u64) {
        while let Some((&(at, id), _)) = self.lingering.first_key_value() {
            if at > now_ns {
                break;
            }
            self.sync(at);
            if let Some(lingering) = self.lingering.remove(&(at, id)) {
                self.release(at.max(self.synced_ns), &lingering);
            }
            self.dispatch(at.max(self.synced_ns));
        }
        self.sync(now_ns);
    }

    fn sync(&mut self, now_ns: u64) {
        let passed_ns = now_ns.saturating_sub(self.synced_ns);
        self.synced_ns = self.synced_ns.max(now_ns);
        let active = self.queues.values().filter(|queue| queue.is_active()).count();
        if active == 0 || passed_ns == 0 {
            return;
        }
        let wanted: u64 = self.queues.values().map(|q| q.seats_in_use + q.seats_waiting).sum();
        let rate = wanted.min(self.limit) as f64 / active as f64;
        self.current_r = self.current_r + SeatSeconds::of(rate, passed_ns as f64);
        self.gauges.current_r = self.current_r.to_f64();
    }

    /// In the virtual world nothing is dispatched before it arrived: a queue that never uses all it may have does not
    /// save it up.
    fn bound_next(&mut self, at: u32) {
        let Some(queue) = self.queues.get_mut(&at) else { return };
        if let Some(oldest) = queue.waiting.front().and_then(|id| self.requests.get(id)) {
            queue.next_dispatch_r = queue.next_dispatch_r.max(oldest.arrival_r);
        }
    }

    fn drop_if_unused(&mut self, at: u32) {
        if self
            .queues
            .get(&at)
            .is_some_and(|q| !q.is_active() && q.seats_in_use == 0)
        {
            self.queues.remove(&at);
        }
    }

    fn note(&mut self, now_ns: u64) {
        let demand = (self.seats_in_use + self.seats_waiting) as f64;
        self.demand.set(now_ns, demand);
        self.timed_demand.set(now_ns, demand);
        self.timed_seats.set(now_ns, self.seats_in_use as f64);
        self.timed_waiting.set(now_ns, self.waiting as f64);
        self.timed_executing.set(now_ns, self.executing as f64);
    }

    /// Forgets the figures of schemas that are no more.
    pub fn retain_schemas(&mut self, keep: impl Fn(&str) -> bool) {
        self.schemas
            .retain(|name, gauges| keep(name) || *gauges != SchemaGauges::default());
        self.gauges.no_accommodation.retain(|name, _| keep(name));
    }
}
