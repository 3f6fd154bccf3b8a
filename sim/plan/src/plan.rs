//! The plan of one run: machines, network, workload, and what happens when. Data only; the simulation carries it out.

/// Everything about one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Seed of all randomness inside the run.
    pub seed: u64,
    /// Name of the scenario, or `random`.
    pub name: String,
    /// Machines; number 0 founds the cluster.
    pub machines: Vec<Machine>,
    /// The formation that is set once the cluster stands; `None` for the default one.
    pub formation: Option<(u16, u16)>,
    /// Network when nothing is broken.
    pub network: Network,
    /// What clients do.
    pub workload: Workload,
    /// What happens, by time, milliseconds after the cluster stands.
    pub steps: Vec<Step>,
    /// When all faults end: crashed machines start, partitions heal, disks work (milliseconds after it stands).
    pub calm_ms: u64,
    /// How long the cluster may take to be whole after that.
    pub heal_ms: u64,
    /// Life of the certificates of endpoints, seconds.
    pub certificate_life_s: u32,
    /// No fault lasts long enough to keep a certificate from being renewed.
    pub certificates_last: bool,
}

/// One machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Failure domain; empty for none.
    pub zone: String,
    /// Whether it joins as a witness.
    pub witness: bool,
    /// Whether it joins at the start (otherwise by a [`Action::Join`]).
    pub at_start: bool,
    /// How far its wall clock is off, milliseconds.
    pub skew_ms: i64,
    /// Latency of its disk's sync, milliseconds.
    pub sync_ms: u16,
}

/// Latency and loss of every link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Shortest delay of a message, milliseconds.
    pub latency_min_ms: u16,
    /// Longest.
    pub latency_max_ms: u16,
    /// Share of lost messages, in a thousand.
    pub loss_permille: u16,
}

/// What clients do, all the time until the faults end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    /// Clients that read and write, one call at a time each.
    pub clients: u16,
    /// Keys they fight over.
    pub keys: u16,
    /// Clients that watch.
    pub watchers: u16,
    /// Clients that list.
    pub listers: u16,
    /// Holders of store leases.
    pub leases: u16,
    /// Mean pause between two calls of a client, milliseconds.
    pub pause_ms: u16,
    /// Share of reads among the calls, in a hundred.
    pub reads_percent: u8,
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// When, milliseconds after the cluster stands.
    pub at_ms: u64,
    /// What.
    pub action: Action,
}

/// Whom an action concerns, found out when it happens. Nothing happens if there is no such machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// This machine.
    Machine(u16),
    /// Whichever leads.
    Leader,
    /// The n-th voter (modulo their number, by machine) that isn't the leader.
    Follower(u16),
    /// The n-th standby.
    Standby(u16),
    /// The n-th worker.
    Worker(u16),
    /// Whoever is in transition.
    InTransition,
}

/// What becomes of the disk in a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFate {
    /// The process dies, the machine doesn't: everything written is there.
    Kept,
    /// Power cut: what wasn't synced is lost.
    Lost,
    /// Power cut: of what wasn't synced any part may be there.
    Torn,
}

/// What can be wrong with a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    /// Writes fail: EIO.
    Eio,
    /// Writes fail: ENOSPC.
    Full,
    /// A sync takes this much longer, milliseconds.
    Slow(u16),
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The machine's process ends at once.
    Crash {
        /// Whose.
        target: Target,
        /// What its disk keeps.
        disk: DiskFate,
    },
    /// Several at once.
    CrashMany {
        /// Whose.
        targets: Vec<Target>,
        /// What their disks keep.
        disk: DiskFate,
    },
    /// It starts again.
    Start {
        /// Who; all that are down if `None`.
        target: Option<Target>,
    },
    /// It is stopped in good order (SIGTERM) and starts again after this time.
    Restart {
        /// Who.
        target: Target,
        /// Milliseconds until it starts again.
        down_ms: u32,
    },
    /// It is stopped in good order, and starts again at another address.
    Readdress {
        /// Who; all at once if `None`.
        target: Option<Target>,
    },
    /// Only machines of the same group reach one another.
    Partition {
        /// Groups; a machine in none of them is alone.
        groups: Vec<Vec<u16>>,
    },
    /// The leader alone on one side.
    IsolateLeader,
    /// Messages from one to the other are lost, not the other way round.
    OneWay {
        /// From.
        from: Target,
        /// To.
        to: Target,
    },
    /// Messages between the two are kept back until the next heal, then delivered.
    Hold {
        /// One.
        a: Target,
        /// The other.
        b: Target,
    },
    /// Ends partitions, one-way cuts and holds.
    Heal,
    /// Changes loss and latency of every link until the next one.
    Weather {
        /// How it is.
        network: Network,
    },
    /// Its disk misbehaves until it is mended.
    Disk {
        /// Whose.
        target: Target,
        /// How.
        fault: DiskFault,
    },
    /// All disks work again.
    DiskHeal,
    /// Its wall clock jumps by this much.
    ClockJump {
        /// Whose.
        target: Target,
        /// Milliseconds.
        by_ms: i64,
    },
    /// A machine that isn't a member joins with a fresh ticket.
    Join {
        /// Which.
        machine: u16,
    },
    /// All machines that aren't members yet join at once.
    JoinAll,
    /// It leaves for good.
    Leave {
        /// Who.
        target: Target,
    },
    /// It is expelled by the others.
    Expel {
        /// Who.
        target: Target,
    },
    /// An expelled or fenced machine starts with its old key and data; the run notes whether it is refused.
    Return {
        /// Which.
        machine: u16,
    },
    /// Sets the formation.
    Formation {
        /// Voters.
        voters: u16,
        /// Standbys.
        standbys: u16,
    },
    /// It is drained of its role.
    Drain {
        /// Who.
        target: Target,
    },
    /// It may have roles again.
    Undrain {
        /// Who.
        target: Target,
    },
    /// The leader hands over.
    Transfer,
    /// It takes a snapshot now and purges its log.
    Snapshot {
        /// Who.
        target: Target,
    },
    /// It makes itself the only voter of a new epoch.
    Recover {
        /// Which.
        machine: u16,
    },
}
