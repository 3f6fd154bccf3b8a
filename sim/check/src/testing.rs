//! Records of a small cluster that behaves, for tests to spoil.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use revoada_core::chain::{Genesis, Seal, sign_seal};
use revoada_core::command::MeshCommand;
use revoada_core::consensus::LogPosition;
use revoada_core::formation::Formation;
use revoada_core::key::SecretKey;
use revoada_core::role::Role;
use revoada_core::state::{MeshOutcome, MeshState};
use revoada_core::transition::{Phase, TransitionSpec};
use revoada_core::view::RaftView;
use revoada_core::{Hash32, MemberId};

use crate::record::*;

/// Wall clock at the start.
const UNIX_MS: u64 = 1_800_000_000_000;
/// How long the peace at the end lasts.
const PEACE_MS: u64 = 60_000;

pub(crate) fn key(machine: u16) -> SecretKey {
    SecretKey::from_bytes(&[machine as u8 + 1; 32])
}

pub(crate) fn id(machine: u16) -> MemberId {
    key(machine).member_id()
}

/// Exactly this invariant must be broken.
pub(crate) fn assert_only(record: &Record, name: &str) {
    let broken = crate::check_all(record);
    let names: Vec<_> = broken.iter().map(|broken| broken.invariant).collect();
    assert_eq!(names, [name], "{broken:#?}");
}

impl Record {
    /// A moment after the end.
    pub(crate) fn next(&mut self) -> Stamp {
        self.ended.order += 1;
        self.ended
    }
}

/// A cluster without a network: whoever is a replica applies everything at once.
#[derive(Clone)]
pub(crate) struct World {
    pub record: Record,
    /// Whether blocks are sealed.
    pub sealing: bool,
    now: Stamp,
    mesh: MeshState,
    raft: RaftView,
    machines: BTreeSet<u16>,
    leader: u16,
    term: u64,
    index: u64,
    revision: u64,
    kv: BTreeMap<String, (String, u64)>,
    log: BTreeMap<u64, (u64, Digest)>,
    epoch: u64,
}

impl World {
    /// Machine 0 alone.
    pub fn founded() -> Self {
        let mut world = Self {
            record: Record::default(),
            sealing: true,
            now: Stamp::default(),
            mesh: MeshState::default(),
            raft: RaftView {
                voters: [id(0)].into(),
                ..RaftView::default()
            },
            machines: [0].into(),
            leader: 0,
            term: 0,
            index: 0,
            revision: 1,
            kv: BTreeMap::new(),
            log: BTreeMap::new(),
            epoch: 1,
        };
        world.elect(0);
        let genesis = Genesis {
            founder: id(0),
            founder_name: "m0".into(),
            created_ms: UNIX_MS,
            salt: Hash32([7; 32]),
        };
        world.mesh(MeshCommand::Found { genesis });
        world
    }

    pub fn tick(&mut self) -> Stamp {
        self.now.order += 1;
        self.now.at_ms += 1;
        self.now
    }

    pub fn pass_ms(&mut self, ms: u64) {
        self.now.at_ms += ms;
    }

    pub fn state(&self) -> MeshState {
        self.mesh.clone()
    }

    fn replicas(&self) -> Vec<u16> {
        let is_replica = |machine: &&u16| self.raft.contains(&id(**machine));
        let others = self.machines.iter().filter(is_replica).copied();
        // The leader knows first.
        [self.leader]
            .into_iter()
            .chain(others.filter(|machine| *machine != self.leader))
            .collect()
    }

    fn note(&mut self, machine: u16, leads: bool) {
        let at = self.tick();
        self.record.raft.push(RaftNote {
            at,
            machine,
            incarnation: 1,
            epoch: self.epoch,
            term: self.term,
            leads,
        });
    }

    /// Everyone goes to the next term, and this one leads.
    pub fn elect(&mut self, machine: u16) {
        self.term += 1;
        for other in self.replicas().into_iter().filter(|other| *other != machine) {
            self.note(other, false);
        }
        self.leader = machine;
        self.note(machine, true);
        let at = self.tick();
        self.record.leading.push(Leading {
            at,
            machine,
            member: id(machine),
            epoch: self.epoch,
            term: self.term,
            applied: self.index,
        });
        self.entry("blank", Vec::new(), None);
    }

    fn entry(&mut self, text: &str, changes: Vec<Change>, fence: Option<u64>) {
        self.index += 1;
        let payload = *blake3::hash(format!("{} {} {text} {changes:?}", self.index, self.term).as_bytes()).as_bytes();
        self.log.insert(self.index, (self.term, payload));
        for machine in self.replicas() {
            let at = self.tick();
            self.record.applied.push(Applied {
                at,
                machine,
                incarnation: 1,
                epoch: self.epoch,
                index: self.index,
                term: self.term,
                payload,
                response: payload,
                revision: self.revision,
                changes: changes.clone(),
                fence,
            });
        }
    }

    // ---- Roles ----

    pub fn mesh(&mut self, command: MeshCommand) -> MeshOutcome {
        let is_seal = matches!(command, MeshCommand::Seal { .. });
        let at = LogPosition {
            index: self.index + 1,
            term: self.term,
        };
        let unix_ms = UNIX_MS + self.now.at_ms;
        let outcome = self.mesh.apply(at, unix_ms, id(self.leader), &command).into_result();
        let outcome = outcome.expect("the world asks for what is right");
        self.entry(command.kind(), Vec::new(), None);
        self.picture();
        let chain = self.mesh.chain().unwrap();
        if self.sealing && !is_seal && chain.sealed_height() < chain.height() {
            let (height, head, cluster) = (chain.height(), chain.head(), chain.cluster());
            let keys = self.machines.iter().map(|machine| key(*machine));
            let admitted = keys.filter(|key| chain.member(&key.member_id()).is_some());
            let parts: Vec<_> = admitted.map(|key| sign_seal(&key, cluster, height, head)).collect();
            let seal = Seal::assemble(height, head, parts);
            self.mesh(MeshCommand::Seal { seal });
        }
        outcome
    }

    fn picture(&mut self) {
        let state = Arc::new(self.mesh.clone());
        let replicas = self.replicas();
        for machine in self.machines.clone() {
            if !self.mesh.standing(&id(machine)).is_admitted() {
                continue;
            }
            let at = self.tick();
            self.record.pictures.push(Picture {
                at,
                machine,
                replica: replicas.contains(&machine),
                state: Arc::clone(&state),
                raft: self.raft.clone(),
            });
        }
    }

    pub fn join(&mut self, machine: u16) {
        let secret_hash = Hash32([9; 32]);
        self.mesh(MeshCommand::IssueTicket {
            secret_hash,
            expires_ms: UNIX_MS + self.now.at_ms + 60_000,
            uses: 1,
            witness: false,
        });
        self.machines.insert(machine);
        self.record.members.insert(id(machine), machine);
        self.mesh(MeshCommand::Admit {
            member: id(machine),
            name: format!("m{machine}"),
            witness: false,
            secret_hash,
        });
        self.mesh(MeshCommand::RevokeTickets);
        let at = self.tick();
        self.record.served.push(Served {
            at,
            machine: 0,
            peer: id(machine),
        });
    }

    pub fn formation(&mut self, voters: u8, standbys: u8) {
        let formation = Formation {
            voters: Some(voters),
            standbys: Some(standbys),
            ..Formation::default()
        };
        self.mesh(MeshCommand::SetFormation { formation });
    }

    pub fn lift_hold(&mut self, machine: u16) {
        self.mesh(MeshCommand::Hold {
            member: id(machine),
            hold: None,
        });
    }

    pub fn begin(&mut self, machine: u16, from: Role, to: Role) {
        let spec = TransitionSpec {
            member: id(machine),
            from,
            to,
            replaces: None,
            reason: "the test wants it".into(),
        };
        self.mesh(MeshCommand::BeginTransition { spec });
    }

    pub fn advance(&mut self, phase: Phase) {
        let transition = self.mesh.in_flight().map(|transition| transition.id).unwrap();
        self.mesh(MeshCommand::AdvanceTransition { id: transition, phase });
    }

    fn configure(&mut self, raft: RaftView) {
        self.entry("configuration", Vec::new(), None);
        let before = std::mem::replace(&mut self.raft, raft);
        let came: Vec<_> = self
            .machines
            .iter()
            .filter(|m| self.raft.contains(&id(**m)) && !before.contains(&id(**m)))
            .collect();
        let came: Vec<u16> = came.into_iter().copied().collect();
        for machine in came {
            let at = self.tick();
            // It comes back at another time as another opening, so it may restore the same again.
            self.record.restored.push(Restored {
                at,
                machine,
                incarnation: 1,
                epoch: self.epoch,
                index: self.index,
                revision: self.revision,
            });
        }
        self.picture();
    }

    /// A whole transition.
    pub fn change(&mut self, machine: u16, from: Role, to: Role) {
        self.begin(machine, from, to);
        let member = id(machine);
        if to > from {
            self.advance(Phase::Learning);
            let mut raft = self.raft.clone();
            if raft.learners.insert(member) {
                self.configure(raft);
            }
        }
        if from.votes() != to.votes() {
            self.advance(Phase::Joint);
            let mut raft = self.raft.clone();
            raft.outgoing = Some(raft.voters.clone());
            raft.learners.remove(&member);
            if to.votes() {
                raft.voters.insert(member);
            } else {
                raft.voters.remove(&member);
            }
            self.configure(raft.clone());
            raft.outgoing = None;
            if to == Role::Standby {
                raft.learners.insert(member);
            }
            self.configure(raft);
        } else if to == Role::Worker {
            let mut raft = self.raft.clone();
            raft.learners.remove(&member);
            self.configure(raft);
        }
        self.advance(Phase::Committed);
    }

    pub fn expel(&mut self, machine: u16) {
        self.mesh(MeshCommand::Expel {
            member: id(machine),
            reason: "lost".into(),
        });
    }

    pub fn fault(&mut self, kind: &'static str, machines: &[u16]) {
        let at = self.tick();
        self.record.faults.push(FaultNote {
            at,
            kind,
            what: format!("{kind} {machines:?}"),
            machines: machines.to_vec(),
        });
    }

    /// The survivor goes on alone in a new epoch, with these machines; the old replicas are cut off.
    pub fn recover(&mut self, survivor: u16, keep: &[u16]) {
        self.fault(RECOVER, &[survivor]);
        self.leader = survivor;
        self.raft = RaftView {
            voters: [id(survivor)].into(),
            ..RaftView::default()
        };
        self.machines.retain(|machine| keep.contains(machine));
        self.elect(survivor);
        let chain = self.mesh.chain().unwrap();
        let event = revoada_core::chain::sign_recover(&key(survivor), chain, keep.iter().map(|m| id(*m)));
        let revoada_core::chain::Event::Recover {
            epoch,
            survivor,
            keep,
            signature,
        } = event
        else {
            panic!("no recovery was signed")
        };
        self.mesh(MeshCommand::Recover {
            epoch,
            survivor,
            keep,
            signature,
        });
        self.epoch = epoch;
        self.note(self.leader, true);
    }

    // ---- Data ----

    /// Commits changes of one revision.
    pub fn commit(&mut self, changes: Vec<(&str, Option<&str>)>) {
        self.commit_fenced(changes, None);
    }

    pub fn commit_fenced(&mut self, changes: Vec<(&str, Option<&str>)>, fence: Option<u64>) {
        self.revision += 1;
        let revision = self.revision;
        let changes: Vec<Change> = changes
            .into_iter()
            .map(|(key, value)| Change {
                key: key.to_owned(),
                value: value.map(str::to_owned),
                revision,
            })
            .collect();
        self.entry("store", changes.clone(), fence);
        for change in changes {
            let before = match &change.value {
                Some(value) => self.kv.insert(change.key.clone(), (value.clone(), revision)),
                None => self.kv.remove(&change.key),
            };
            let key = change.key;
            let what = match (change.value, before) {
                (Some(value), None) => SeenKind::Added {
                    key: key.clone(),
                    value,
                },
                (Some(value), Some(_)) => SeenKind::Modified {
                    key: key.clone(),
                    value,
                },
                (None, _) => SeenKind::Deleted { key: key.clone() },
            };
            let at = self.tick();
            for watch in &mut self.record.watches {
                if watch.end == WatchEnd::Open && key.starts_with(&watch.prefix) {
                    let what = what.clone();
                    watch.seen.push(Seen { at, revision, what });
                }
            }
        }
    }

    fn call(&mut self, key: &str, call: Call, change: Option<&str>) {
        let invoked = self.tick();
        self.commit(vec![(key, change)]);
        let outcome = Outcome::Written {
            revision: self.revision,
        };
        self.answer(key, call, invoked, outcome);
    }

    fn answer(&mut self, key: &str, call: Call, invoked: Stamp, outcome: Outcome) {
        let returned = Some(self.tick());
        self.record.ops.push(Op {
            client: 1,
            machine: self.leader,
            key: key.to_owned(),
            call,
            invoked,
            returned,
            outcome,
        });
    }

    pub fn create(&mut self, key: &str, value: &str) {
        let call = Call::Create {
            value: value.to_owned(),
        };
        self.call(key, call, Some(value));
    }

    pub fn update(&mut self, key: &str, value: &str) {
        let expected = self.kv.get(key).map(|(_, revision)| *revision);
        let value_ = value.to_owned();
        self.call(
            key,
            Call::Update {
                value: value_,
                expected,
            },
            Some(value),
        );
    }

    pub fn delete(&mut self, key: &str) {
        self.call(key, Call::Delete { expected: None }, None);
    }

    pub fn get(&mut self, key: &str) {
        let invoked = self.tick();
        let outcome = match self.kv.get(key).cloned() {
            Some((value, revision)) => Outcome::Found { value, revision },
            None => Outcome::Absent,
        };
        self.answer(key, Call::Get, invoked, outcome);
    }

    pub fn list(&mut self, prefix: &str) {
        let (invoked, returned) = (self.tick(), self.tick());
        let items = self.kv.iter().filter(|(key, _)| key.starts_with(prefix));
        self.record.lists.push(List {
            client: 2,
            machine: self.leader,
            prefix: prefix.to_owned(),
            invoked,
            returned,
            revision: self.revision,
            items: items.map(|(key, item)| (key.clone(), item.clone())).collect(),
        });
    }

    pub fn watch(&mut self, prefix: &str) {
        let opened = self.tick();
        self.record.watches.push(Watch {
            client: 3,
            machine: self.leader,
            prefix: prefix.to_owned(),
            from: self.revision,
            opened,
            seen: Vec::new(),
            end: WatchEnd::Open,
        });
    }

    // ---- The end ----

    /// Peace, and how everything stands after it.
    pub fn finish(mut self) -> Record {
        self.record.calm = self.tick();
        self.pass_ms(PEACE_MS);
        let ended = self.tick();
        self.record.ended = ended;
        let replicas = self.replicas();
        let state = Arc::new(self.mesh.clone());
        let store = *blake3::hash(format!("{:?}", self.kv).as_bytes()).as_bytes();
        for machine in self.machines.clone() {
            if !self.mesh.standing(&id(machine)).is_admitted() {
                continue;
            }
            let is_replica = replicas.contains(&machine);
            self.record.finals.push(Final {
                machine,
                member: Some(id(machine)),
                running: true,
                halted: None,
                applied: is_replica.then_some(self.index),
                store: is_replica.then_some((store, self.revision)),
                epoch: self.epoch,
                state: Some(Arc::clone(&state)),
                raft: Some(self.raft.clone()),
                api: true,
            });
            if is_replica {
                self.record.logs.push(LogImage {
                    at: ended,
                    machine,
                    epoch: self.epoch,
                    purged: 0,
                    entries: self.log.clone(),
                });
            }
        }
        self.record
    }

    /// Without a look at how everything stands.
    pub fn finish_as_is(mut self) -> Record {
        self.record.ended = self.tick();
        self.record
    }
}

/// A bit of everything.
pub(crate) fn good() -> Record {
    let mut world = World::founded();
    for machine in [1, 2] {
        world.join(machine);
        world.change(machine, Role::Worker, Role::Voter);
    }
    world.join(3);
    world.watch("/w/");
    world.create("/w/a", "a1");
    world.create("/w/b", "b1");
    world.get("/w/a");
    world.list("/w/");
    let granted = (world.tick(), Some(world.tick()));
    world.pass_ms(4_000);
    let kept = vec![(world.tick(), Some(world.tick()))];
    world.fault("partition", &[0]);
    world.expel(3);
    world.elect(1);
    world.commit_fenced(vec![("/other/lease", Some(""))], Some(2));
    world.update("/w/a", "a2");
    world.delete("/w/b");
    world.get("/w/b");
    world.list("/w/");
    world.pass_ms(10_500);
    let ended = Some(world.tick());
    world.record.leases.push(LeaseRecord {
        id: 7,
        ttl_ms: 10_000,
        granted,
        kept,
        revoked: None,
        ended,
    });
    world.get("/w/a");
    world.finish()
}

#[test]
fn the_good_record_is_good() {
    let record = good();
    assert_eq!(crate::check_all(&record), []);
    assert_eq!(crate::check_all(&Record::default()), []);
    assert!(!record.restored.is_empty() && !record.logs.is_empty());
}

/// A recovery gives up what only the old majority had; and that is all it may do.
#[test]
fn a_recovery_is_good() {
    let mut world = World::founded();
    for machine in [1, 2] {
        world.join(machine);
        world.change(machine, Role::Worker, Role::Voter);
    }
    world.create("/w/a", "a1");
    // Machine 2 is cut off; the others go on for a while.
    let cut_off = world.clone();
    world.update("/w/a", "given up");
    world.get("/w/a");
    let given_up = world.record.clone();
    let skip = cut_off.record.applied.len();
    let mut other = cut_off;
    other.now = world.now;
    other.record.ops = given_up.ops.clone();
    let majority = given_up.applied[skip..].iter().filter(|applied| applied.machine != 2);
    other.record.applied.extend(majority.cloned());
    other.recover(2, &[2]);
    other.update("/w/a", "kept");
    other.get("/w/a");
    let record = other.finish();
    assert!(crate::facts::Facts::new(&record).abandoned_since().is_some());
    assert_eq!(crate::check_all(&record), []);
}
