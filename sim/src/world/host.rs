//! One machine: the whole composition of a member as the binary makes it, without TLS, process and sockets.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use engenho_engine::apiserver::{
    ClientRoots, Door, DoorDeps, DoorOptions, Identity, Observers, TokenAuthenticator, TokenError, VersionInfo,
};
use engenho_engine::authn::Accepted;
use engenho_node::run::addresses::Own;
use engenho_node::run::api::{self, Gate, Local, MeshApi, Stores};
use engenho_node::run::certificates::{self, Certificates};
use engenho_node::run::material::{Material, Vault};
use engenho_node::run::{announce, serve_requests};
use parking_lot::Mutex;
use revoada::{
    Announcement, CallHandler, JoinIntent, Known, Member, MemberOptions, MemberTrust, NameWish, Start, Timing,
};
use revoada_core::chain::Genesis;
use revoada_core::env::{Clock, Entropy};
use revoada_core::formation::Formation;
use revoada_core::key::SecretKey;
use revoada_core::policy::Policy;
use revoada_core::ticket::Ticket;
use revoada_core::{Hash32, MemberId, Role};
use sim_check::record::{Final, Power, Refusal as TriedRefusal};
use sim_plan::plan::Machine;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use turmoil::net::TcpListener;

use super::disk::MachineDisk;
use super::fenced;
use super::mesh::{Neighbourhood, SimJoinDialer, SimMesh, SimMeshConfig};
use super::recorder::{Recorder, RecordingStores};
use super::{door, leases, observe};

/// Where API endpoints listen.
pub const API_PORT: u16 = 6443;
/// Where the mesh listens first.
const MESH_PORT: u16 = 7443;

const VERSION: &str = "0.1.0";

/// The token of the workload's clients.
pub const TOKEN: &str = "workload";

/// The authority and the sealing keys of every simulated cluster. Always the same ones: the authority's certificate is
/// in the log, and what is in the log is the same in each run of a seed.
const MATERIAL: &str = include_str!("material.json");
/// When simulated time begins: 2026-01-01.
pub const EPOCH_MS: u64 = 1_767_225_600_000;

/// What the runner asks of a machine.
#[derive(Debug, Clone)]
pub enum Order {
    /// Join with this ticket.
    Join(Box<Ticket>),
    /// Give a ticket to the runner.
    Ticket,
    /// Leave for good.
    Leave,
    /// Expel another.
    Expel(MemberId),
    /// Set the formation.
    Formation(u16, u16),
    /// Drain another of its role, or let it have one again.
    Hold(MemberId, bool),
    /// Hand leadership over.
    Transfer,
    /// Snapshot, and drop the log.
    Snapshot,
    /// Begin a new epoch.
    Recover,
    /// Stop in good order.
    Stop,
    /// Say how everything stands.
    Report,
}

/// What a machine shows the runner, which stands outside its runtime.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Its key, once it is a member.
    pub member: Option<MemberId>,
    /// Its role.
    pub role: Option<Role>,
    /// Whether it leads, and the term.
    pub leads: Option<u64>,
    /// Last applied entry, with a replica.
    pub applied: Option<u64>,
    /// Recovery epoch.
    pub epoch: u64,
    /// Who is in transition.
    pub in_transition: Option<MemberId>,
    /// Everyone's role.
    pub roles: Vec<(MemberId, Role)>,
    /// Why it takes no part.
    pub halted: Option<String>,
    /// Whether its endpoint finds somebody who serves.
    pub api: bool,
    /// Whether what is wanted of the cluster's shape is reached, as the leader's planner sees it.
    pub whole: bool,
    /// Chain: height and sealed blocks.
    pub chain: (u64, u64),
    /// Whether it ended for good (left, halted).
    pub ended: bool,
}

/// A machine's state outside of its process.
pub struct Cell {
    pub number: u16,
    pub plan: Machine,
    pub disk: MachineDisk,
    pub dir: PathBuf,
    pub port: AtomicU16,
    pub skew_ms: AtomicI64,
    pub boots: AtomicU64,
    pub keys: AtomicU32,
    pub incarnations: Arc<AtomicU32>,
    pub orders: Mutex<VecDeque<Order>>,
    pub ordered: Notify,
    pub view: Mutex<View>,
    pub running: Mutex<bool>,
    pub ticket: Mutex<Option<Ticket>>,
    pub report: Mutex<Option<Final>>,
    /// Set once it was told to go for good: it does not start by itself again.
    pub gone: Mutex<bool>,
    pub leases: bool,
    /// Life of its endpoint's certificate.
    pub certificate_life: Duration,
    /// Whether it was told to be expelled: it doesn't join by itself.
    pub expelled: AtomicBool,
    /// Index of the last entry that its store applied, or of the snapshot that it restored.
    pub applied: Arc<AtomicU64>,
    /// Whether it writes all the time while it leads.
    pub restless: AtomicBool,
    /// Machines to which streams must not live on.
    pub cut: Mutex<Vec<u16>>,
}

impl Cell {
    pub fn new(number: u16, plan: Machine, root: &Path, leases: bool, certificate_life: Duration) -> Self {
        Self {
            number,
            disk: MachineDisk::new(u64::from(plan.sync_ms)),
            skew_ms: AtomicI64::new(0),
            plan,
            dir: root.join(format!("m{number}")),
            port: AtomicU16::new(MESH_PORT),
            boots: AtomicU64::new(0),
            keys: AtomicU32::new(0),
            incarnations: Arc::default(),
            orders: Mutex::default(),
            ordered: Notify::new(),
            view: Mutex::default(),
            running: Mutex::new(false),
            ticket: Mutex::new(None),
            report: Mutex::new(None),
            gone: Mutex::new(false),
            leases,
            certificate_life,
            expelled: AtomicBool::new(false),
            applied: Arc::default(),
            restless: AtomicBool::new(false),
            cut: Mutex::default(),
        }
    }

    pub fn name(&self) -> String {
        format!("m{}", self.number)
    }

    pub fn order(&self, order: Order) {
        self.orders.lock().push_back(order);
        self.ordered.notify_one();
    }

    async fn next_order(&self) -> Order {
        loop {
            let notified = self.ordered.notified();
            if let Some(order) = self.orders.lock().pop_front() {
                return order;
            }
            notified.await;
        }
    }

    /// A machine that left or was expelled may come back as another member: with another key and a new disk.
    fn key(&self) -> SecretKey {
        let mut seed = [0; 32];
        seed[0] = 1 + self.number as u8;
        seed[1] = self.keys.load(Ordering::Relaxed) as u8;
        SecretKey::from_bytes(&seed)
    }

    /// Becomes a machine that never was a member.
    pub fn renew(&self) {
        self.keys.fetch_add(1, Ordering::Relaxed);
        self.disk.crash(sim_plan::plan::DiskFate::Lost, 0);
        *self.gone.lock() = false;
        *self.view.lock() = View::default();
    }

    fn member_dir(&self) -> PathBuf {
        PathBuf::from(format!("/k{}", self.keys.load(Ordering::Relaxed)))
    }
}

struct SimClock {
    cell: Arc<Cell>,
}

impl Clock for SimClock {
    fn unix_ms(&self) -> u64 {
        let now = EPOCH_MS + turmoil::sim_elapsed().map_or(0, |elapsed| elapsed.as_millis() as u64);
        now.saturating_add_signed(self.cell.skew_ms.load(Ordering::Relaxed))
    }
}

/// Deterministic: the process's random source is seeded.
struct SimEntropy;

impl Entropy for SimEntropy {
    fn fill(&self, out: &mut [u8]) {
        getrandom::fill(out).expect("the simulated source never fails");
    }
}

struct Calls {
    member: std::sync::OnceLock<Member>,
    vault: Arc<Vault>,
}

#[async_trait]
impl CallHandler for Calls {
    async fn call(&self, peer: MemberId, method: &str, payload: bytes::Bytes) -> Result<bytes::Bytes, String> {
        let member = self.member.get().ok_or("starting")?;
        match method {
            certificates::METHOD_SIGN => certificates::answer_sign(&self.vault, member, peer, &payload),
            _ => self.vault.answer(member, peer, method),
        }
        .map(Into::into)
    }
}

struct Tokens;

#[async_trait]
impl TokenAuthenticator for Tokens {
    async fn authenticate(&self, token: &str, _: &[String]) -> Result<Accepted, TokenError> {
        if token == TOKEN {
            let identity = Identity {
                user: "workload".into(),
                groups: vec!["system:masters".into()],
                ..Identity::default()
            };
            return Ok(Accepted {
                identity,
                ..Accepted::default()
            });
        }
        Err(TokenError::Unknown)
    }
}

#[derive(Debug)]
struct NoCertificates;

impl rustls::server::ResolvesServerCert for NoCertificates {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }
}

/// How the process ended.
enum Ended {
    Stopped,
    Left,
    Halted,
}

/// The machine's software, from its start until it ends.
pub async fn software(
    cell: Arc<Cell>,
    recorder: Recorder,
    neighbourhood: Neighbourhood,
    loss: Arc<AtomicU64>,
) -> turmoil::Result {
    *cell.running.lock() = true;
    let result = run(&cell, &recorder, &neighbourhood, loss).await;
    *cell.running.lock() = false;
    let at = recorder.stamp();
    recorder.add(|record| {
        record.power.push(Power {
            at,
            machine: cell.number,
            up: false,
        });
    });
    let mut view = cell.view.lock();
    match result {
        Ok(Ended::Stopped) => recorder.trace(at, format_args!("m{} stopped", cell.number)),
        Ok(Ended::Left) => {
            view.ended = true;
            recorder.trace(at, format_args!("m{} left", cell.number));
        }
        Ok(Ended::Halted) => {
            view.ended = true;
            recorder.trace(
                at,
                format_args!("m{} halted: {}", cell.number, view.halted.clone().unwrap_or_default()),
            );
        }
        Err(error) => {
            view.ended = true;
            view.halted = Some(format!("{error:#}"));
            recorder.trace(at, format_args!("m{} failed: {error:#}", cell.number));
        }
    }
    Ok(())
}

async fn run(
    cell: &Arc<Cell>,
    recorder: &Recorder,
    neighbourhood: &Neighbourhood,
    loss: Arc<AtomicU64>,
) -> anyhow::Result<Ended> {
    let boot = cell.boots.fetch_add(1, Ordering::Relaxed) + 1;
    let key = cell.key();
    let me = key.member_id();
    let ip = turmoil::lookup(cell.name());
    let port = cell.port.load(Ordering::Relaxed);
    let disk = cell.disk.current();
    let dir = cell.member_dir();
    let secrets = cell.dir.join(format!("k{}", cell.keys.load(Ordering::Relaxed)));
    std::fs::create_dir_all(&secrets)?;
    let clock: Arc<dyn Clock> = Arc::new(SimClock { cell: Arc::clone(cell) });
    let vault = Arc::new(Vault::open(&secrets)?);
    let file = dir.join("member.bin");
    let stored = MemberTrust::load(&disk, &file)?;
    let (known, start, peers) = match stored {
        Some((_, Some(fenced))) => {
            cell.view.lock().halted = Some(fenced);
            return Ok(Ended::Halted);
        }
        Some((known, None)) => {
            let standing = known.chain().standing(&me);
            if !standing.is_admitted() {
                cell.view.lock().halted = Some(format!("this member is {standing}"));
                return Ok(Ended::Halted);
            }
            (known.clone(), Start::Continue(known), Vec::new())
        }
        None if cell.number == 0 && cell.keys.load(Ordering::Relaxed) == 0 => {
            let genesis = Genesis {
                founder: me,
                founder_name: cell.name(),
                created_ms: clock.unix_ms(),
                salt: Hash32([7; 32]),
            };
            if vault.material().is_none() {
                vault.keep(serde_json::from_str::<Material>(MATERIAL)?)?;
            }
            let known = Known::founding(&genesis).map_err(anyhow::Error::msg)?;
            (known, Start::Found(genesis), Vec::new())
        }
        None => {
            let joined = loop {
                let ticket = match cell.next_order().await {
                    Order::Join(ticket) => *ticket,
                    Order::Stop => return Ok(Ended::Stopped),
                    _ => continue,
                };
                let intent = JoinIntent {
                    ticket,
                    name: NameWish {
                        name: cell.name(),
                        is_explicit: false,
                    },
                    witness: cell.plan.witness,
                    version: VERSION.into(),
                };
                match revoada::join(&SimJoinDialer, &key, &intent, &*clock).await {
                    Ok(joined) => break joined,
                    Err(error) => {
                        let at = recorder.stamp();
                        recorder.trace(at, format_args!("m{} cannot join: {error}", cell.number));
                        let again = !matches!(error, revoada::JoinError::Refused { .. });
                        tokio::time::sleep(Duration::from_millis(500)).await;
                        if again {
                            // As an operator, or a service manager, would.
                            cell.order(Order::Join(Box::new(intent.ticket)));
                        }
                    }
                }
            };
            let at = recorder.stamp();
            recorder.trace(at, format_args!("m{} joined as {}", cell.number, me.short()));
            (joined.known.clone(), Start::Continue(joined.known), joined.peers)
        }
    };
    recorder.add(|record| {
        record.members.insert(me, cell.number);
    });
    let witness = known.chain().member(&me).is_some_and(|admitted| admitted.witness);
    let name = known
        .chain()
        .member(&me)
        .map_or_else(|| cell.name(), |admitted| admitted.name.clone());
    let trust = Arc::new(MemberTrust::new(me, disk.arc(), &file, known, VERSION, &name));
    let mesh = SimMesh::bind(SimMeshConfig {
        me,
        machine: cell.number,
        boot,
        ip,
        port,
        trust: Arc::clone(&trust) as Arc<dyn revoada_mesh::Trust>,
        clock: Arc::clone(&clock),
        recorder: recorder.clone(),
        neighbourhood: Arc::clone(neighbourhood),
        loss,
        cell: Arc::clone(cell),
    })
    .await?;
    for (peer, addresses) in peers {
        revoada_mesh::Mesh::update_addresses(mesh.as_ref(), peer, addresses);
    }
    let stores = Arc::new(Stores::without_history());
    let calls = Arc::new(Calls {
        member: std::sync::OnceLock::new(),
        vault: Arc::clone(&vault),
    });
    let hook = Arc::clone(&mesh);
    let options = MemberOptions {
        key,
        dir,
        announcement: Announcement {
            name: name.clone(),
            addresses: vec![mesh.local_addr()],
            api: format!("https://{}", SocketAddr::new(ip, API_PORT)),
            zone: cell.plan.zone.clone(),
            version: VERSION.into(),
            extra: serde_json::to_string(&announce::Extra::default())?,
        },
        timing: Timing::default(),
        policy: Policy::default(),
        disk: disk.arc(),
        log: cell.disk.log_options(),
        clock: Arc::clone(&clock),
        entropy: Arc::new(SimEntropy),
        application: Arc::new(RecordingStores {
            stores: Arc::clone(&stores),
            recorder: recorder.clone(),
            machine: cell.number,
            incarnations: Arc::clone(&cell.incarnations),
            applied: Arc::clone(&cell.applied),
        }),
        calls: Arc::clone(&calls) as Arc<dyn CallHandler>,
        trust_changed: Arc::new(move || hook.trust_changed()),
    };
    let mesh_dyn = Arc::clone(&mesh) as Arc<dyn revoada_mesh::Mesh>;
    let member = Member::start(options, start, mesh_dyn, trust, boot).await?;
    // Set once, here.
    let _ = calls.member.set(member.clone());
    let joins = Arc::clone(&mesh);
    member.serve_joins(VERSION, move || {
        let mesh = Arc::clone(&joins);
        async move { mesh.join_accept().await }
    });
    let api = format!("https://{}", SocketAddr::new(ip, API_PORT));
    let own = Own {
        mesh: vec![mesh.local_addr()],
        ips: vec![ip],
        hosts: Vec::new(),
        api_host: ip,
    };
    let kubeconfig = secrets.join("admin.kubeconfig");
    let certificates = Certificates::new(Arc::clone(&vault), own, &name, cell.certificate_life, kubeconfig, &api);
    let result = serve(
        cell,
        recorder,
        &member,
        stores,
        vault,
        witness,
        clock,
        Arc::new(certificates),
    )
    .await;
    let stopping = tokio::time::timeout(Duration::from_secs(9), member.shutdown()).await;
    if stopping.is_err() {
        let at = recorder.stamp();
        recorder.trace(at, format_args!("m{} took too long to stop", cell.number));
    }
    mesh.shutdown();
    result
}

async fn serve(
    cell: &Arc<Cell>,
    recorder: &Recorder,
    member: &Member,
    stores: Arc<Stores>,
    vault: Arc<Vault>,
    witness: bool,
    clock: Arc<dyn Clock>,
    certificates: Arc<Certificates>,
) -> anyhow::Result<Ended> {
    let ending = member.stop_token().child_token();
    let _guard = ending.clone().drop_guard();
    let shared = api::Shared {
        version: VersionInfo::new("v1.34.0".into(), String::new(), "clean", String::new(), String::new()),
        tokens: Arc::new(Tokens),
        further_tokens: Vec::new(),
        authorizers: Arc::default(),
        outbound: None,
        observers: Observers::default(),
    };
    let local = serve_requests(member, &stores, &vault, (!witness).then_some(shared), &ending);
    if !witness {
        let shown = Arc::clone(&certificates);
        member.spawn(observe::certificates(
            cell.number,
            recorder.clone(),
            shown,
            ending.clone(),
        ));
        let (member, vault, ending) = (member.clone(), Arc::clone(&vault), ending.clone());
        member.clone().spawn(async move {
            if vault.fetch_info(&member).await.is_some() && certificates.first_serving(&member).await.is_some() {
                certificates.run(member, 0, ending).await;
            }
        });
    }
    let gate = Arc::new(Gate::new(Arc::clone(&local), Arc::new(MeshApi::new(member.clone()))));
    member.spawn(observe::follow(
        Arc::clone(cell),
        recorder.clone(),
        member.clone(),
        Arc::clone(&gate),
        ending.clone(),
    ));
    if !witness {
        let door = Door::new(
            DoorDeps {
                certificates: Arc::new(NoCertificates),
                client_roots: Arc::new(ClientRoots::new(std::iter::empty::<&[u8]>())?),
                front_proxy: None,
                tokens: Arc::new(Tokens),
                router: Arc::clone(&gate) as Arc<dyn engenho_engine::apiserver::Router>,
                clock,
                observers: Observers::default(),
            },
            DoorOptions::default(),
        )?;
        let listener = TcpListener::bind(SocketAddr::new(std::net::Ipv4Addr::UNSPECIFIED.into(), API_PORT)).await?;
        member.spawn(door::answer(listener, door, ending.clone()));
        member.spawn(follow_readiness(
            member.clone(),
            Arc::clone(&gate),
            Arc::clone(&local),
            ending.clone(),
        ));
    }
    member.spawn(fenced::write(
        Arc::clone(cell),
        member.clone(),
        Arc::clone(&stores),
        ending.clone(),
    ));
    if cell.leases {
        member.spawn(leases::hold(
            Arc::clone(cell),
            recorder.clone(),
            member.clone(),
            Arc::clone(&stores),
            ending.clone(),
        ));
    }
    let mut halted = member.watch_halted();
    let left = Arc::new(Notify::new());
    loop {
        let order = tokio::select! {
            order = cell.next_order() => order,
            () = left.notified() => return Ok(Ended::Left),
            reason = halted.wait_for(Option::is_some) => {
                let reason = reason.ok().and_then(|reason| reason.clone()).unwrap_or_default();
                cell.view.lock().halted = Some(reason);
                return Ok(Ended::Halted);
            }
        };
        match order {
            Order::Stop => {
                if let Err(error) = member.hand_over_leadership(Duration::from_secs(1)).await {
                    let at = recorder.stamp();
                    recorder.trace(at, format_args!("m{} hands nothing over: {error}", cell.number));
                }
                return Ok(Ended::Stopped);
            }
            Order::Leave => {
                let (member, cell, recorder) = (member.clone(), Arc::clone(cell), recorder.clone());
                let left = Arc::clone(&left);
                tokio::spawn(async move {
                    let done = member.leave().await;
                    let at = recorder.stamp();
                    recorder.trace(at, format_args!("m{} leave: {}", cell.number, said(&done)));
                    if done.is_ok() {
                        left.notify_one();
                    }
                });
            }
            Order::Report => {
                let report = observe::report(cell, member, &stores, &gate).await;
                *cell.report.lock() = Some(report);
            }
            other => {
                // Each takes its time, and may outlive the run.
                let (member, cell, recorder) = (member.clone(), Arc::clone(cell), recorder.clone());
                tokio::spawn(async move { obey(&cell, &recorder, &member, other).await });
            }
        }
    }
}

fn formation(voters: u16, standbys: u16) -> Result<Formation, std::num::TryFromIntError> {
    Ok(Formation {
        voters: Some(voters.try_into()?),
        standbys: Some(standbys.try_into()?),
        ..Formation::default()
    })
}

fn said<T, E: std::fmt::Display>(result: &Result<T, E>) -> String {
    match result {
        Ok(_) => "done".into(),
        Err(error) => error.to_string(),
    }
}

async fn obey(cell: &Cell, recorder: &Recorder, member: &Member, order: Order) {
    let what = format!("{order:?}");
    let answer = match order {
        Order::Ticket => {
            let expires = EPOCH_MS + recorder.now_ms() + 3_600_000;
            let ticket = member.issue_ticket(expires, 20, false).await;
            let answer = said(&ticket);
            *cell.ticket.lock() = ticket.ok();
            answer
        }
        Order::Expel(id) => said(&member.expel(id, "told to").await),
        Order::Formation(voters, standbys) => match formation(voters, standbys) {
            Ok(formation) => said(&member.set_formation(formation).await),
            Err(error) => error.to_string(),
        },
        Order::Hold(id, true) => said(&member.hold(id, Some(revoada_core::command::Hold::Drained)).await),
        Order::Hold(id, false) => said(&member.hold(id, None).await),
        Order::Transfer => said(&member.hand_over_leadership(Duration::from_secs(2)).await),
        Order::Snapshot => said(&member.compact_log().await),
        Order::Recover => said(&member.recover(false).await),
        Order::Join(_) => "is a member already".into(),
        Order::Leave | Order::Report | Order::Stop => return,
    };
    let at = recorder.stamp();
    let what: String = what.chars().take(60).collect();
    recorder.trace(at, format_args!("m{} {what}: {answer}", cell.number));
}

async fn follow_readiness(member: Member, gate: Arc<Gate>, local: Arc<Local>, stop: CancellationToken) {
    loop {
        let ready = gate.is_open() && local.server().as_ref().is_none_or(api::is_bootstrapped);
        member.set_api_ready(ready);
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(300)) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Notes that a member that must not take part tried to, and what came of it.
pub fn note_refusal(recorder: &Recorder, at_ms: u64, machine: u16, refused: bool, told: String) {
    let at = recorder.stamp_at(at_ms);
    recorder.trace(
        at,
        format_args!(
            "m{machine} returned: {} ({told})",
            if refused { "refused" } else { "NOT refused" }
        ),
    );
    recorder.add(|record| {
        record.refusals.push(TriedRefusal {
            at,
            machine,
            refused,
            told,
        });
    });
}
