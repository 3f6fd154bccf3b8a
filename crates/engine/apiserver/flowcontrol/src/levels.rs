//! All priority levels of a server: which requests go where, and who lends seats to whom.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::allocate::{Claim, allocate};
use crate::classify::Digest;
use crate::config::{
    CATCH_ALL, Discipline, EXEMPT, FlowSchema, NamedObject, PriorityLevel, mandatory_level, mandatory_schema,
};
use crate::demand::{Observed, Timed, TimedKind};
use crate::queues::{About, Admission, Arrival, Finished, QueueSet, Rejection};
use crate::work::WorkEstimate;

/// How often seats are lent anew, nanoseconds.
pub const ADJUSTMENT_PERIOD_NS: u64 = 10_000_000_000;

/// How much of a level's smoothed demand stays from one adjustment to the next: half of it is gone in five minutes.
const SMOOTHING: f64 = 0.977;
/// A request takes at most this part of its level's seats.
const SEATS_PART: f64 = 0.15;
/// Adjustments that are made up for after a pause; what came before has no weight any more.
const MADE_UP_MAX: u64 = 2_000;

/// What classification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classified {
    /// The schema's name.
    pub schema: Arc<str>,
    /// Its uid, empty if it is only imagined.
    pub schema_uid: Arc<str>,
    /// The level's name.
    pub level: Arc<str>,
    /// Its uid, empty if it is only imagined.
    pub level_uid: Arc<str>,
    /// Whether the level has no limit.
    pub exempt: bool,
    /// Most seats of one request, 0 for no bound of the level's own.
    pub seats_max: u64,
    /// What tells the request's flow from others of the schema.
    pub distinguisher: String,
    hash: u64,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// It goes on.
    Executing(u64),
    /// It waits, in a queue that is so long now.
    Waiting(u64, usize),
    /// It is refused.
    Rejected(Rejection),
}

/// What a level was given at the last adjustment, and why.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Adjusted {
    /// Most seats it could have used.
    pub high_watermark: u64,
    /// Seats it could have used on average.
    pub average: f64,
    /// Standard deviation of that.
    pub deviation: f64,
    /// The same, smoothed over several periods.
    pub smoothed: f64,
    /// What it was to get.
    pub target: f64,
}

/// One level.
#[derive(Debug)]
pub struct Level {
    /// What it was asked to be.
    pub config: PriorityLevel,
    pub(crate) queues: QueueSet,
    /// Whether it goes as soon as its last request is answered.
    pub quiescing: bool,
    /// Its part of the seats.
    pub nominal: u64,
    /// Seats that nobody else gets.
    pub lower: u64,
    /// Seats that it gets at most.
    pub upper: u64,
    /// Its seats at this moment.
    pub current: u64,
    /// Most seats of one request, 0 for no bound.
    pub seats_max: u64,
    /// Its demand.
    pub adjusted: Adjusted,
}

impl Level {
    fn new(now_ns: u64, config: PriorityLevel) -> Self {
        Self {
            queues: QueueSet::new(now_ns, config.discipline),
            config,
            quiescing: false,
            nominal: 0,
            lower: 0,
            upper: 0,
            current: 0,
            seats_max: 0,
            adjusted: Adjusted::default(),
        }
    }

    /// Figures of its queues.
    pub fn gauges(&self) -> &crate::queues::Gauges {
        &self.queues.gauges
    }

    /// Figures of its flow schemas.
    pub fn schemas(&self) -> impl Iterator<Item = (&str, crate::queues::SchemaGauges)> {
        self.queues.schemas.iter().map(|(name, gauges)| (&**name, *gauges))
    }

    /// Histograms over time: demand, seats in use, requests waiting, requests executing.
    pub fn timed(&self) -> [&Timed; 4] {
        let queues = &self.queues;
        [
            &queues.timed_demand,
            &queues.timed_seats,
            &queues.timed_waiting,
            &queues.timed_executing,
        ]
    }

    /// The least it gets at the next adjustment.
    fn least(&self) -> u64 {
        let wanted = self.adjusted.high_watermark;
        match self.config.discipline {
            Discipline::Exempt => self.lower.max(wanted),
            Discipline::Reject | Discipline::Queue(_) => self.lower.max(self.nominal.min(wanted)),
        }
    }

    fn observe(&mut self, seen: Observed, periods: u64) {
        let stats = &mut self.adjusted;
        stats.high_watermark = seen.max.round() as u64;
        if seen.seconds <= 0.0 {
            return;
        }
        stats.average = seen.average;
        stats.deviation = seen.deviation;
        let envelope = seen.average + seen.deviation;
        let keep = SMOOTHING.powf(periods.max(1) as f64);
        stats.smoothed = envelope.max(keep * stats.smoothed + (1.0 - keep) * envelope);
    }
}

/// The levels and flow schemas of a server.
#[derive(Debug)]
pub struct Levels {
    /// Seats of the whole server.
    total: u64,
    schemas: Vec<Schema>,
    levels: BTreeMap<Arc<str>, Level>,
    /// What was configured last.
    configured: Vec<PriorityLevel>,
    nominal_sum: u64,
    adjusted_ns: u64,
    fair_fraction: f64,
    next_id: u64,
    /// Reading and mutating requests: waiting, then executing.
    read_write: [Timed; 4],
}

#[derive(Debug)]
struct Schema {
    config: FlowSchema,
    name: Arc<str>,
    uid: Arc<str>,
    level: Arc<str>,
}

impl Levels {
    /// The mandatory levels alone, for a server that serves `total` requests at once.
    pub fn new(now_ns: u64, total: u64) -> Self {
        let timed = || Timed::new(TimedKind::ReadWrite, now_ns);
        let mut levels = Self {
            total,
            schemas: Vec::new(),
            levels: BTreeMap::new(),
            configured: Vec::new(),
            nominal_sum: 0,
            adjusted_ns: now_ns,
            fair_fraction: 0.0,
            next_id: 0,
            read_write: [timed(), timed(), timed(), timed()],
        };
        levels.configure(now_ns, Vec::new(), Vec::new());
        levels
    }

    /// The levels, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Level)> {
        self.levels.iter().map(|(name, level)| (&**name, level))
    }

    /// Whether there is a level of that name.
    pub fn has(&self, level: &str) -> bool {
        self.levels.contains_key(level)
    }

    /// The multiple of their targets that levels got at the last adjustment.
    pub fn fair_fraction(&self) -> f64 {
        self.fair_fraction
    }

    /// Requests that wait and are executed, reading and mutating: in the order waiting read, waiting mutating,
    /// executing read, executing mutating.
    pub fn read_write(&self) -> &[Timed; 4] {
        &self.read_write
    }

    /// Requests that wait: reading, mutating.
    pub fn waiting(&self) -> (u64, u64) {
        let (mut all, mut mutating) = (0, 0);
        for level in self.levels.values() {
            all += level.queues.waiting;
            mutating += level.queues.mutating.0;
        }
        (all - mutating, mutating)
    }

    /// Requests that are executed: reading, mutating.
    pub fn executing(&self) -> (u64, u64) {
        let (mut all, mut mutating) = (0, 0);
        for level in self.levels.values() {
            all += level.queues.executing;
            mutating += level.queues.mutating.1;
        }
        (all - mutating, mutating)
    }

    /// Takes another configuration. Schemas of levels that are not there take nothing; levels that are gone stay until
    /// their last request is answered; the mandatory ones are imagined if they are missing.
    pub fn configure(&mut self, now_ns: u64, levels: Vec<PriorityLevel>, schemas: Vec<FlowSchema>) {
        self.configured.clone_from(&levels);
        let mut mandatory = Vec::new();
        for name in [EXEMPT, CATCH_ALL] {
            if !levels.iter().any(|level| level.name() == name)
                && let Some(level) = imagine(name, mandatory_level(name)).and_then(|o| PriorityLevel::parse(&o))
            {
                mandatory.push(level);
            }
        }
        let mut desired: BTreeMap<Arc<str>, PriorityLevel> = BTreeMap::new();
        for level in levels.into_iter().chain(mandatory) {
            desired.insert(level.name().into(), level);
        }
        self.take_schemas(schemas, &desired);
        self.levels.retain(|name, level| {
            level.quiescing = !desired.contains_key(name);
            !level.quiescing || !level.queues.is_idle()
        });
        for (name, config) in desired {
            match self.levels.get_mut(&name) {
                Some(level) => {
                    if level.config.discipline != config.discipline {
                        level.queues.configure(now_ns, config.discipline);
                    }
                    level.config = config;
                }
                None => drop(self.levels.insert(name, Level::new(now_ns, config))),
            }
        }
        let names: Vec<Arc<str>> = self.schemas.iter().map(|schema| schema.name.clone()).collect();
        for level in self.levels.values_mut() {
            level
                .queues
                .retain_schemas(|name| names.iter().any(|one| **one == *name));
        }
        self.divide(now_ns);
    }

    fn take_schemas(&mut self, mut schemas: Vec<FlowSchema>, levels: &BTreeMap<Arc<str>, PriorityLevel>) {
        schemas.retain(|schema| levels.contains_key(schema.level()));
        schemas.sort_by(|a, b| a.rank().cmp(&b.rank()));
        let imagined = |name: &str| {
            let missing = !schemas.iter().any(|schema| schema.name() == name);
            let object = missing.then(|| imagine(name, mandatory_schema(name))).flatten()?;
            FlowSchema::parse(&object)
        };
        let (first, last) = (imagined(EXEMPT), imagined(CATCH_ALL));
        let all = first.into_iter().chain(schemas).chain(last);
        self.schemas = all
            .map(|config| Schema {
                name: config.name().into(),
                uid: config.uid().into(),
                level: config.level().into(),
                config,
            })
            .collect();
    }

    /// Divides the server's seats by shares, and lends anew.
    fn divide(&mut self, now_ns: u64) {
        let shares: u64 = self.levels.values().map(|level| u64::from(level.config.shares)).sum();
        let (mut executing, mut waiting) = (0, 0_u64);
        for level in self.levels.values_mut() {
            let config = &level.config;
            let percent = |of: u64, percent: u32| (of as f64 * f64::from(percent) / 100.0).round() as u64;
            let nominal = (self.total * u64::from(config.shares)).div_ceil(shares.max(1));
            let lendable = percent(nominal, config.lendable_percent);
            let borrowed = match (config.discipline, config.borrowing_limit_percent) {
                (Discipline::Reject | Discipline::Queue(_), Some(limit)) => percent(nominal, limit),
                _ => self.total,
            };
            let is_new = level.upper == 0 && level.current == 0;
            (level.nominal, level.lower, level.upper) = (nominal, nominal - lendable, nominal + borrowed);
            executing += nominal;
            if let Discipline::Queue(queuing) = config.discipline {
                waiting += u64::from(queuing.queues) * u64::from(queuing.queue_length_limit);
                let part = (nominal as f64 * SEATS_PART).ceil() as u64;
                level.seats_max = part.min(nominal / u64::from(queuing.hand_size)).max(1);
            } else {
                level.seats_max = 0;
            }
            if is_new {
                level.current = nominal - lendable / 2;
            }
        }
        self.nominal_sum = executing;
        for (timed, limit) in self.read_write.iter_mut().zip([waiting, waiting, executing, executing]) {
            timed.set_denominator(now_ns, limit as f64);
        }
        self.lend(now_ns, 1);
    }

    /// Whether it is time to lend anew.
    pub fn adjusts_at_ns(&self) -> u64 {
        self.adjusted_ns.saturating_add(ADJUSTMENT_PERIOD_NS)
    }

    /// Lends anew if it is time.
    pub fn adjust(&mut self, now_ns: u64) {
        if now_ns >= self.adjusts_at_ns() {
            let periods = (now_ns - self.adjusted_ns) / ADJUSTMENT_PERIOD_NS;
            self.adjusted_ns = now_ns;
            self.lend(now_ns, periods.min(MADE_UP_MAX));
        }
    }

    /// Divides all seats by what levels could have used lately, within their bounds.
    fn lend(&mut self, now_ns: u64, periods: u64) {
        let mut remaining = self.nominal_sum as f64;
        let (mut lower_sum, mut least_sum) = (0.0, 0.0);
        let mut claims = Vec::with_capacity(self.levels.len());
        for level in self.levels.values_mut() {
            level.queues.advance(now_ns);
            let seen = level.queues.demand.take(now_ns);
            level.observe(seen, periods);
            let least = level.least();
            level.adjusted.target = (least as f64).max(level.adjusted.smoothed);
            if level.config.discipline == Discipline::Exempt {
                remaining -= least as f64;
                continue;
            }
            lower_sum += level.lower as f64;
            least_sum += least as f64;
            claims.push(Claim {
                target: level.adjusted.target,
                lower: least as f64,
                upper: level.upper as f64,
            });
        }
        // Exempt levels take what they need; only what they leave is divided.
        let divided = (remaining > least_sum)
            .then(|| allocate(self.nominal_sum as f64, &claims))
            .flatten();
        self.fair_fraction = divided.as_ref().map_or(0.0, |(_, fair)| *fair);
        let mut parts = divided.into_iter().flat_map(|(parts, _)| parts);
        let default_denominator = (self.total / 10).max(1);
        for level in self.levels.values_mut() {
            let (least, lower) = (level.least(), level.lower);
            let current = if level.config.discipline == Discipline::Exempt {
                least
            } else if remaining <= lower_sum {
                lower
            } else if remaining <= least_sum {
                let part = (remaining - lower_sum) / (least_sum - lower_sum);
                lower + ((least - lower) as f64 * part).round() as u64
            } else {
                parts.next().map_or(level.current, |part| part.round() as u64)
            };
            level.current = current;
            let denominator = if current > 0 { current } else { default_denominator };
            level.queues.set_limit(now_ns, current, denominator);
        }
    }

    /// Finds the schema and level of a request.
    pub fn classify(&self, digest: &Digest<'_>) -> Classified {
        let found = self.schemas.iter().find(|schema| schema.config.matches(digest));
        self.classified(found.or_else(|| self.schema(CATCH_ALL)), digest)
    }

    /// A request that is never limited, whoever sends it.
    pub fn classify_exempt(&self, digest: &Digest<'_>) -> Classified {
        self.classified(self.schema(EXEMPT), digest)
    }

    fn schema(&self, name: &str) -> Option<&Schema> {
        self.schemas.iter().find(|schema| &*schema.name == name)
    }

    fn classified(&self, schema: Option<&Schema>, digest: &Digest<'_>) -> Classified {
        // Both mandatory schemas and levels are always there, so that something is found.
        let level_name = schema.map_or_else(|| CATCH_ALL.into(), |schema| schema.level.clone());
        let level = self.levels.get(&level_name);
        let queued = level.is_some_and(|l| matches!(l.config.discipline, Discipline::Queue(q) if q.queues > 1));
        let distinguisher = match schema {
            Some(schema) if queued => schema.config.distinguisher(digest),
            _ => "",
        };
        Classified {
            hash: schema.map_or(0, |schema| schema.config.flow_hash(distinguisher)),
            distinguisher: distinguisher.to_owned(),
            schema: schema.map_or_else(|| CATCH_ALL.into(), |schema| schema.name.clone()),
            schema_uid: schema.map_or_else(|| "".into(), |schema| schema.uid.clone()),
            level_uid: level.map_or_else(|| "".into(), |level| level.config.uid().into()),
            exempt: level.is_none_or(|level| level.config.discipline == Discipline::Exempt),
            seats_max: level.map_or(0, |level| level.seats_max),
            level: level_name,
        }
    }

    /// Begins a request: it goes on, waits, or is refused.
    pub fn start(
        &mut self,
        now_ns: u64,
        classified: &Classified,
        digest: &Digest<'_>,
        estimate: WorkEstimate,
    ) -> Started {
        self.adjust(now_ns);
        let id = self.next_id;
        self.next_id += 1;
        let api_version = match digest.group {
            "" => digest.version.to_owned(),
            group => format!("{group}/{}", digest.version),
        };
        let arrival = Arrival {
            id,
            schema: classified.schema.clone(),
            hash: classified.hash,
            estimate,
            mutating: !matches!(digest.verb, "get" | "list" | "watch" | "proxy"),
            about: About {
                distinguisher: classified.distinguisher.clone(),
                user: digest.user.into(),
                verb: digest.verb.into(),
                path: digest.path.into(),
                namespace: digest.namespace.into(),
                name: digest.name.into(),
                api_version,
                resource: digest.resource.into(),
                subresource: digest.subresource.into(),
            },
        };
        let Some(level) = self.levels.get_mut(&classified.level) else {
            // The configuration changed since it was classified, and nothing of the level is left.
            return Started::Rejected(Rejection::ConcurrencyLimit);
        };
        let admission = level.queues.start(now_ns, arrival);
        self.note(now_ns);
        match admission {
            Admission::Executing => Started::Executing(id),
            Admission::Waiting(length) => Started::Waiting(id, length),
            Admission::Rejected(why) => Started::Rejected(why),
        }
    }

    /// Takes a waiting request away; says whether it was waiting still.
    pub fn cancel(&mut self, now_ns: u64, level: &str, id: u64) -> bool {
        let cancelled = self.levels.get_mut(level).is_some_and(|l| l.queues.cancel(now_ns, id));
        self.note(now_ns);
        self.reap(now_ns, level);
        cancelled
    }

    /// Ends a request that was executed.
    pub fn finish(&mut self, now_ns: u64, level: &str, id: u64) -> Option<Finished> {
        let finished = self.levels.get_mut(level)?.queues.finish(now_ns, id);
        self.note(now_ns);
        self.reap(now_ns, level);
        finished
    }

    /// Lets time pass: seats that were kept after an answer become free, and seats are lent anew when it is time.
    pub fn advance(&mut self, now_ns: u64) {
        self.adjust(now_ns);
        for level in self.levels.values_mut() {
            level.queues.advance(now_ns);
        }
        self.note(now_ns);
    }

    /// When seats become free by themselves in a level that requests wait in.
    pub fn releases_at_ns(&self) -> Option<u64> {
        let waited_for = self.levels.values().filter(|level| level.queues.waiting > 0);
        waited_for.filter_map(|level| level.queues.next_release_ns()).min()
    }

    /// The waiting requests that may go on since the last call.
    pub fn take_ready(&mut self) -> Vec<u64> {
        self.levels
            .values_mut()
            .flat_map(|level| level.queues.take_ready())
            .collect()
    }

    fn reap(&mut self, now_ns: u64, level: &str) {
        let over = |level: &Level| level.quiescing && level.queues.is_idle();
        if self.levels.get(level).is_some_and(over) {
            self.levels.remove(level);
            self.divide(now_ns);
        }
    }

    fn note(&mut self, now_ns: u64) {
        let mut all = [0_u64; 4];
        for level in self.levels.values() {
            let queues = &level.queues;
            all[0] += queues.waiting - queues.mutating.0;
            all[1] += queues.mutating.0;
            all[2] += queues.executing - queues.mutating.1;
            all[3] += queues.mutating.1;
        }
        for (timed, count) in self.read_write.iter_mut().zip(all) {
            timed.set(now_ns, count as f64);
        }
    }
}

fn imagine(name: &str, spec: Option<Value>) -> Option<Value> {
    Some(json!({"metadata": {"name": name}, "spec": spec?}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(name: &str, shares: u32, lendable: u32, response: Value) -> PriorityLevel {
        let limited = json!({
            "nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response,
        });
        PriorityLevel::parse(&json!({
            "metadata": {"name": name, "uid": format!("uid-{name}")},
            "spec": {"type": "Limited", "limited": limited},
        }))
        .expect("a level")
    }

    fn queue() -> Value {
        json!({"type": "Queue", "queuing": {"queues": 8, "handSize": 2, "queueLengthLimit": 90}})
    }

    fn schema(name: &str, level: &str, precedence: u32, user: &str) -> FlowSchema {
        FlowSchema::parse(&json!({
            "metadata": {"name": name, "uid": format!("uid-{name}")},
            "spec": {
                "priorityLevelConfiguration": {"name": level},
                "matchingPrecedence": precedence,
                "distinguisherMethod": {"type": "ByUser"},
                "rules": [{
                    "subjects": [{"kind": "User", "user": {"name": user}}],
                    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                }],
            },
        }))
        .expect("a schema")
    }

    fn digest(user: &str) -> Digest<'_> {
        Digest {
            user,
            verb: "get",
            path: "/x",
            ..Digest::default()
        }
    }

    #[test]
    fn the_lowest_precedence_wins_and_dangling_schemas_take_nothing() {
        let mut levels = Levels::new(0, 100);
        assert_eq!(&*levels.classify(&digest("a")).level, CATCH_ALL);
        let schemas = vec![
            schema("late", "l", 500, "*"),
            schema("early", "l", 400, "a"),
            schema("also", "l", 400, "a"),
            schema("dangling", "none", 1, "a"),
        ];
        levels.configure(0, vec![level("l", 10, 0, queue())], schemas);
        let found = levels.classify(&digest("a"));
        assert_eq!(
            (&*found.schema, &*found.schema_uid, &*found.level_uid),
            ("also", "uid-also", "uid-l")
        );
        assert_eq!(found.distinguisher, "a");
        assert_eq!(&*levels.classify(&digest("b")).schema, "late");
        let masters = ["system:masters".to_owned()];
        let found = levels.classify(&Digest {
            groups: &masters,
            ..digest("m")
        });
        assert_eq!((&*found.schema, found.exempt), (EXEMPT, true));
    }

    #[test]
    fn seats_are_divided_by_shares() {
        let mut levels = Levels::new(0, 600);
        let all = vec![level("a", 40, 50, queue()), level("b", 15, 0, queue())];
        levels.configure(0, all, Vec::new());
        let of = |name: &str| {
            levels
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, l)| (l.nominal, l.lower, l.upper))
        };
        // Shares are 40 + 15 + 5 of catch-all + 0 of exempt.
        assert_eq!(of("a"), Some((400, 200, 1000)));
        assert_eq!(of("b"), Some((150, 150, 750)));
        assert_eq!(of(CATCH_ALL), Some((50, 50, 650)));
        assert_eq!(of(EXEMPT), Some((0, 0, 600)));
    }

    #[test]
    fn idle_levels_lend_and_get_back() {
        let mut levels = Levels::new(0, 100);
        let all = vec![level("a", 45, 80, queue()), level("b", 50, 80, queue())];
        levels.configure(0, all, vec![schema("s", "a", 1, "*")]);
        let found = levels.classify(&digest("u"));
        let mut now = 0;
        for _ in 0..100 {
            levels.start(now, &found, &digest("u"), WorkEstimate::ONE);
        }
        for _ in 0..3 {
            now += ADJUSTMENT_PERIOD_NS;
            levels.advance(now);
        }
        let current =
            |levels: &Levels, name: &str| levels.iter().find(|(n, _)| *n == name).map_or(0, |(_, l)| l.current);
        assert!(current(&levels, "a") > 60, "{}", current(&levels, "a"));
        assert!(current(&levels, "b") < 30, "{}", current(&levels, "b"));
        // Its own seats are its own again at the next adjustment after it wants them.
        levels.configure(now, levels.configured.clone(), vec![schema("s", "b", 1, "*")]);
        let found = levels.classify(&digest("u"));
        for _ in 0..60 {
            levels.start(now, &found, &digest("u"), WorkEstimate::ONE);
        }
        levels.advance(now + ADJUSTMENT_PERIOD_NS);
        assert!(current(&levels, "b") >= 40, "{}", current(&levels, "b"));
    }

    #[test]
    fn a_level_that_is_deleted_serves_its_last_requests() {
        let mut levels = Levels::new(0, 10);
        levels.configure(0, vec![level("l", 10, 0, queue())], vec![schema("s", "l", 1, "*")]);
        let found = levels.classify(&digest("u"));
        let Started::Executing(id) = levels.start(0, &found, &digest("u"), WorkEstimate::ONE) else {
            panic!("a seat is free");
        };
        levels.configure(5, Vec::new(), Vec::new());
        assert!(levels.iter().any(|(name, level)| name == "l" && level.quiescing));
        assert_eq!(&*levels.classify(&digest("u")).level, CATCH_ALL);
        assert!(levels.finish(9, "l", id).is_some());
        assert!(!levels.has("l"));
        assert_eq!(levels.finish(9, "l", id), None);
    }

    #[test]
    fn levels_without_queues_refuse() {
        let mut levels = Levels::new(0, 2);
        levels.configure(
            0,
            vec![level("l", 95, 0, json!({"type": "Reject"}))],
            vec![schema("s", "l", 1, "*")],
        );
        let found = levels.classify(&digest("u"));
        let mut start = || levels.start(0, &found, &digest("u"), WorkEstimate::ONE);
        assert!(matches!(start(), Started::Executing(_)));
        assert!(matches!(start(), Started::Executing(_)));
        assert_eq!(start(), Started::Rejected(Rejection::ConcurrencyLimit));
    }
}
