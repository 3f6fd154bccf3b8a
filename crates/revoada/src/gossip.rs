//! Membership hints: what members say of themselves, and who is heard of. Nothing is decided from it alone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chitchat::{ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, NodeState, spawn_chitchat};
use revoada_core::view::Liveness;
use revoada_core::{ClusterId, MemberId, Role};
use revoada_mesh::gossip::{GossipTransport, gossip_address};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

/// One round of gossip. A death is noticed after about eight missed heartbeats.
const INTERVAL: Duration = Duration::from_millis(250);

/// A member whose heartbeat has not moved for this long is suspected.
const SUSPECT_AFTER: Duration = Duration::from_millis(1_200);

/// A member that was never heard of counts as dead only this long after this member's own start.
const START_GRACE: Duration = Duration::from_secs(4);

/// Upper bound of one published value.
const VALUE_BYTES_MAX: usize = 16 * 1024;

const KEY_ANNOUNCEMENT: &str = "announcement";
const KEY_PULSE: &str = "pulse";

/// What a member says of itself and rarely changes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Announcement {
    /// Name.
    pub name: String,
    /// Where its mesh port can be reached.
    pub addresses: Vec<SocketAddr>,
    /// URL of its API endpoint; empty when it serves none.
    pub api: String,
    /// Failure domain.
    pub zone: String,
    /// Software version.
    pub version: String,
    /// For the layer above, opaque here.
    pub extra: String,
}

/// What changes often.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pulse {
    /// Index of its last applied entry; zero without a replica.
    pub applied: u64,
    /// The leader it follows.
    pub leader: Option<MemberId>,
    /// Term of that leader.
    pub term: u64,
    /// Whether its API endpoint answers.
    pub api_ready: bool,
    /// Whether its replica is open.
    pub replica: bool,
    /// Whether it can write its log.
    pub storage_ok: bool,
    /// Role it believes it has.
    pub role: Option<Role>,
    /// Height of the chain it holds.
    pub height: u64,
}

/// One member as gossip shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// Gossip's opinion, in milliseconds of [`Gossip::now_ms`].
    pub liveness: Liveness,
    /// When its heartbeat last moved, milliseconds of [`Gossip::now_ms`].
    pub heartbeat_ms: u64,
    /// What it says of itself.
    pub announcement: Announcement,
    /// What changes often.
    pub pulse: Pulse,
}

/// Everyone heard of, by key.
pub type Everyone = Arc<BTreeMap<MemberId, Heard>>;

/// Why gossip could not be started.
#[derive(Debug, thiserror::Error)]
#[error("gossip cannot start: {0}")]
pub struct GossipError(String);

struct Track {
    heartbeat: u64,
    moved_ms: u64,
    liveness: Liveness,
}

/// One incarnation of the gossip protocol.
struct Running {
    handle: ChitchatHandle,
    generation: u64,
}

/// The running gossip of this member.
pub struct Gossip {
    me: MemberId,
    cluster: ClusterId,
    running: tokio::sync::RwLock<Running>,
    transport: GossipTransport,
    started: Instant,
    tracks: parking_lot::Mutex<BTreeMap<MemberId, Track>>,
    everyone: watch::Sender<Everyone>,
    published: parking_lot::Mutex<(String, String)>,
}

impl Gossip {
    /// Starts to gossip with `members`. `generation` must grow with each start of this member.
    pub async fn start(
        me: MemberId,
        cluster: ClusterId,
        generation: u64,
        transport: GossipTransport,
        members: Vec<MemberId>,
    ) -> Result<Self, GossipError> {
        transport.set_members(members.iter().copied());
        let running = Running {
            handle: spawn(me, cluster, generation, &transport, &members).await?,
            generation,
        };
        Ok(Self {
            me,
            cluster,
            running: tokio::sync::RwLock::new(running),
            transport,
            started: Instant::now(),
            tracks: parking_lot::Mutex::default(),
            everyone: watch::Sender::new(Everyone::default()),
            published: parking_lot::Mutex::default(),
        })
    }

    /// Completes when the protocol's task has ended, for whatever reason: a peer's contradictory message can do it.
    pub async fn ended(&self) {
        let watcher = self.running.read().await.handle.termination_watcher();
        if let Err(error) = watcher.await {
            tracing::warn!(error = %format!("{error:#}"), "gossip ended");
        }
    }

    /// Starts the protocol again after it has ended, as a new incarnation of this member.
    pub async fn revive(&self, members: &[MemberId]) -> Result<(), GossipError> {
        let mut running = self.running.write().await;
        let generation = running.generation + 1;
        running.handle.abort();
        let handle = spawn(self.me, self.cluster, generation, &self.transport, members).await?;
        *running = Running { handle, generation };
        // The new incarnation has published nothing yet.
        *self.published.lock() = Default::default();
        Ok(())
    }

    /// Monotonic milliseconds since gossip started; the clock of all times here.
    pub fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Everyone heard of; changes when anything about anyone does.
    pub fn everyone(&self) -> watch::Receiver<Everyone> {
        self.everyone.subscribe()
    }

    /// Admitted members changed: gossip with these, and forget others.
    pub async fn set_members(&self, members: &[MemberId]) {
        self.transport.set_members(members.iter().copied());
        let running = self.running.read().await;
        for id in members.iter().filter(|id| **id != self.me) {
            // Only fails when gossip has ended, which its owner notices by itself.
            let _ = running.handle.gossip(gossip_address(*id));
        }
    }

    /// Publishes what this member says of itself.
    pub async fn publish(&self, announcement: &Announcement, pulse: &Pulse) {
        let fresh = (encode(announcement), encode(pulse));
        let (announce, beat) = {
            let mut published = self.published.lock();
            let changed = (published.0 != fresh.0, published.1 != fresh.1);
            *published = fresh.clone();
            changed
        };
        if announce || beat {
            let running = self.running.read().await;
            running
                .handle
                .with_chitchat(|chitchat| {
                    let state = chitchat.self_node_state();
                    if announce {
                        state.set(KEY_ANNOUNCEMENT, &fresh.0);
                    }
                    if beat {
                        state.set(KEY_PULSE, &fresh.1);
                    }
                })
                .await;
        }
    }

    /// Looks at the failure detector and publishes a new picture if anything changed. `members` are the admitted ones.
    pub async fn refresh(&self, members: &[MemberId]) {
        let now_ms = self.now_ms();
        let in_grace = self.started.elapsed() < START_GRACE;
        let seen = self
            .running
            .read()
            .await
            .handle
            .with_chitchat(|chitchat| newest_states(chitchat))
            .await;
        let mut tracks = self.tracks.lock();
        tracks.retain(|id, _| members.contains(id));
        let mut everyone = BTreeMap::new();
        for id in members {
            let mine = *id == self.me;
            let state = seen.get(id);
            let heartbeat = state.map_or(0, |state| state.heartbeat);
            let track = tracks.entry(*id).or_insert(Track {
                heartbeat: 0,
                moved_ms: now_ms,
                liveness: Liveness::Unknown,
            });
            if heartbeat != track.heartbeat || mine {
                track.heartbeat = heartbeat;
                track.moved_ms = now_ms;
            }
            let stale = now_ms.saturating_sub(track.moved_ms) > SUSPECT_AFTER.as_millis() as u64;
            let word = match state {
                _ if mine => Word::Alive,
                Some(state) if state.live && !stale => Word::Alive,
                Some(state) if state.live => Word::Suspect,
                // A detector that has not yet seen two heartbeats calls a starting member dead.
                _ if in_grace || (!stale && heartbeat > 0) => Word::Unknown,
                _ => Word::Dead,
            };
            track.liveness = turn(track.liveness, word, now_ms);
            let (announcement, pulse) = state.map_or_else(Default::default, |state| {
                (state.announcement.clone(), state.pulse.clone())
            });
            everyone.insert(
                *id,
                Heard {
                    liveness: track.liveness,
                    heartbeat_ms: track.moved_ms,
                    announcement,
                    pulse,
                },
            );
        }
        drop(tracks);
        self.everyone.send_if_modified(|current| {
            let changed = !same_but_heartbeats(current, &everyone);
            *current = Arc::new(everyone);
            changed
        });
    }

    /// Stops gossiping.
    pub async fn stop(&self) {
        let running = self.running.read().await;
        // Already ended is as good as told to.
        let _ = running.handle.initiate_shutdown();
        running.handle.abort();
    }
}

async fn spawn(
    me: MemberId,
    cluster: ClusterId,
    generation: u64,
    transport: &GossipTransport,
    members: &[MemberId],
) -> Result<ChitchatHandle, GossipError> {
    let address = gossip_address(me);
    let others = members.iter().filter(|id| **id != me);
    let config = ChitchatConfig {
        chitchat_id: ChitchatId::new(me.to_string(), generation, address),
        cluster_id: cluster.to_string(),
        gossip_interval: INTERVAL,
        listen_addr: address,
        seed_nodes: others.map(|id| gossip_address(*id).to_string()).collect(),
        failure_detector_config: FailureDetectorConfig::new(
            8.0,
            200,
            Duration::from_secs(3),
            Duration::from_millis(400),
            Duration::from_secs(3600),
        ),
        marked_for_deletion_grace_period: Duration::from_secs(3600),
        catchup_callback: None,
        extra_liveness_predicate: None,
    };
    spawn_chitchat(config, Vec::new(), transport)
        .await
        .map_err(|error| GossipError(format!("{error:#}")))
}

#[derive(Clone, Copy)]
enum Word {
    Alive,
    Suspect,
    Dead,
    Unknown,
}

fn turn(before: Liveness, word: Word, now_ms: u64) -> Liveness {
    match (word, before) {
        (Word::Alive, Liveness::Alive { .. })
        | (Word::Suspect, Liveness::Suspect { .. })
        | (Word::Dead, Liveness::Dead { .. }) => before,
        // A late heartbeat is no interruption of life: only a death is.
        (Word::Unknown, Liveness::Alive { .. } | Liveness::Suspect { .. } | Liveness::Dead { .. }) => before,
        (Word::Alive, _) => Liveness::Alive { since_ms: now_ms },
        (Word::Suspect, _) => Liveness::Suspect { since_ms: now_ms },
        (Word::Dead, _) => Liveness::Dead { since_ms: now_ms },
        (Word::Unknown, Liveness::Unknown) => Liveness::Unknown,
    }
}

fn same_but_heartbeats(a: &BTreeMap<MemberId, Heard>, b: &BTreeMap<MemberId, Heard>) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|((id_a, a), (id_b, b))| {
            id_a == id_b && a.liveness == b.liveness && a.pulse == b.pulse && a.announcement == b.announcement
        })
}

struct Seen {
    generation: u64,
    live: bool,
    heartbeat: u64,
    announcement: Announcement,
    pulse: Pulse,
}

/// The state of each member's newest incarnation.
fn newest_states(chitchat: &chitchat::Chitchat) -> BTreeMap<MemberId, Seen> {
    let live: std::collections::BTreeSet<_> = chitchat.live_nodes().cloned().collect();
    let mut newest: BTreeMap<MemberId, Seen> = BTreeMap::new();
    for (id, state) in chitchat.node_states() {
        let Ok(member) = id.node_id.parse::<MemberId>() else {
            continue;
        };
        if newest
            .get(&member)
            .is_some_and(|seen| seen.generation > id.generation_id)
        {
            continue;
        }
        newest.insert(
            member,
            Seen {
                generation: id.generation_id,
                live: live.contains(id),
                heartbeat: state.heartbeat().into(),
                announcement: value(state, KEY_ANNOUNCEMENT),
                pulse: value(state, KEY_PULSE),
            },
        );
    }
    newest
}

fn encode<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain data has a JSON form")
}

/// A peer's value; whatever cannot be read counts as not said.
fn value<T: serde::de::DeserializeOwned + Default>(state: &NodeState, key: &str) -> T {
    state
        .get(key)
        .filter(|text| text.len() <= VALUE_BYTES_MAX)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}
