//! A running member: opens the data directory, joins or founds the cluster, and composes mesh, consensus and API.

pub mod addresses;
mod admin;
pub mod announce;
pub mod api;
mod authentication;
mod authorization;
pub mod certificates;
pub mod config;
mod data_dir;
pub mod front_proxy;
mod kubeconfig;
mod leader;
pub mod material;
mod metrics;
mod os;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use engenho_engine::apiserver::outbound::{Https, Outbound};
use engenho_engine::apiserver::{
    AuditLog, AuditPolicy, ClientRoots, Door, DoorDeps, DoorOptions, Observers, Rotation, VersionInfo,
};
use revoada::quic::{QuicJoinDialer, serve_joins};
use revoada::{
    Announcement, CallHandler, JoinIntent, Known, Member, MemberOptions, MemberTrust, NameWish, Start, Timing,
};
use revoada_core::chain::Genesis;
use revoada_core::env::{Clock, Entropy};
use revoada_core::policy::Policy;
use revoada_core::{Hash32, MemberId};
use revoada_log::{LogOptions, OsDisk};
use revoada_mesh::{AddressBook, DiscoveryConfig, Identity as MeshIdentity, Mesh, MeshConfig, QuicMesh};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::api::{Gate, Local, MeshApi, Stores};
use self::authentication::Authentication;
use self::authorization::Authorization;
use self::certificates::Certificates;
use self::config::{Mode, RunConfig};
use self::data_dir::{DataDir, refused};
use self::material::{Material, Vault};
use self::os::{OsClock, OsEntropy};
use crate::admin::api::{Failure, FailureKind};
use crate::output::progress::Progress;

/// Software version, told to peers.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The Kubernetes version that is served.
pub const KUBERNETES_VERSION: &str = "v1.34.5";

/// How long a member that was refused waits for the answer to its own leave.
const LEAVE_DEADLINE: Duration = Duration::from_secs(12);

/// How long the answer to a leave may take to reach its asker.
const ANSWER_GRACE: Duration = Duration::from_millis(300);

/// How often the addresses of peers are looked at, and written down when none is new.
const BOOK_LOOK: Duration = Duration::from_millis(500);
const BOOK_INTERVAL: Duration = Duration::from_secs(60);

/// How long stopping may take before what is left is abandoned.
const STOP_DEADLINE: Duration = Duration::from_secs(9);

/// Why a member ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// It left the cluster.
    Left,
}

/// Runs the member until `stop`, until it has left the cluster, or until it may not go on.
pub async fn run(config: RunConfig, progress: Arc<dyn Progress>, stop: CancellationToken) -> Result<Ended> {
    let started = Instant::now();
    let data_dir = DataDir::open(&config.data_dir)?;
    let key = data_dir.key()?;
    let me = key.member_id();
    let boot = data_dir.next_boot(OsClock.unix_ms())?;
    let api_listener = bind_api(config.api).await?;
    let api_address = api_listener.local_addr().context("the API listener has no address")?;
    let member_file = data_dir.join("member.bin");
    let stored = MemberTrust::load(&OsDisk, &member_file).context("this member's own file cannot be read")?;
    let vault = Arc::new(Vault::open(data_dir.path())?);
    let beginning = begin(&config, &key, stored, &vault, progress.as_ref()).await?;

    let name = beginning.name;
    let witness = beginning
        .known
        .chain()
        .member(&me)
        .is_some_and(|admitted| admitted.witness);
    let trust = Arc::new(MemberTrust::new(
        me,
        Arc::new(OsDisk),
        &member_file,
        beginning.known,
        VERSION,
        &name,
    ));
    let book_path = data_dir.join("peers.json");
    let mut mesh_config = MeshConfig::new(
        MeshIdentity::from_secret(key.expose_bytes()),
        config.mesh,
        Arc::clone(&trust) as Arc<dyn revoada_mesh::Trust>,
        Arc::new(OsClock),
        boot,
    );
    mesh_config.address_book = read_book(&book_path);
    mesh_config.discovery = config.discovery.then(|| DiscoveryConfig {
        loopback_only: config.mesh.ip().is_loopback(),
        ..DiscoveryConfig::default()
    });
    let mesh = Arc::new(QuicMesh::bind(mesh_config)?);
    let own = addresses::find(&config, mesh.local_addr(), api_address)?;
    for (peer, known) in beginning.peers {
        mesh.update_addresses(peer, known);
    }
    for address in &config.peers {
        for peer in revoada_mesh::Trust::members(trust.as_ref()) {
            mesh.add_address(peer, *address, revoada_mesh::AddressSource::Given);
        }
    }

    let api_url = format!("https://{}", SocketAddr::new(own.api_host, api_address.port()));
    let announcement = Announcement {
        name: name.clone(),
        addresses: own.mesh.clone(),
        api: if witness { String::new() } else { api_url.clone() },
        zone: config.zone.clone(),
        version: VERSION.to_owned(),
        extra: serde_json::to_string(&announce::Extra::find(&config, &own))?,
    };
    let stores = Arc::new(Stores::default());
    let calls = Arc::new(Calls {
        member: OnceLock::new(),
        vault: Arc::clone(&vault),
    });
    let hook = Arc::clone(&mesh);
    let options = MemberOptions {
        key,
        dir: config.data_dir.clone(),
        announcement,
        timing: Timing::default(),
        policy: Policy::default(),
        disk: Arc::new(OsDisk),
        log: LogOptions::default(),
        clock: Arc::new(OsClock),
        entropy: Arc::new(OsEntropy),
        application: Arc::clone(&stores) as Arc<dyn revoada::ApplicationFactory>,
        calls: Arc::clone(&calls) as Arc<dyn CallHandler>,
        trust_changed: Arc::new(move || hook.trust_changed()),
    };
    progress.step("starting consensus");
    let member = Member::start(
        options,
        beginning.start,
        Arc::clone(&mesh) as Arc<dyn Mesh>,
        trust,
        boot,
    )
    .await?;
    // Set once, here.
    let _ = calls.member.set(member.clone());
    serve_joins(&member, Arc::clone(&mesh), VERSION);

    let result = serve(Serving {
        config: &config,
        progress,
        started,
        member: &member,
        mesh: &mesh,
        own,
        vault,
        stores,
        api_listener,
        api_url,
        name: &name,
        data_dir: &data_dir,
        stop,
    })
    .await;
    let book = mesh.address_book().to_json();
    if let Err(error) = revoada_log::write_file(&OsDisk, &book_path, book.as_bytes()) {
        tracing::warn!(%error, "the addresses of peers cannot be remembered");
    }
    let stopping = async {
        member.shutdown().await;
        mesh.shutdown().await;
    };
    if tokio::time::timeout(STOP_DEADLINE, stopping).await.is_err() {
        tracing::warn!("stopping took too long; what was acknowledged is on disk");
    }
    result
}

/// What a member begins with.
struct Beginning {
    name: String,
    known: Known,
    start: Start,
    peers: Vec<(MemberId, Vec<SocketAddr>)>,
}

async fn begin(
    config: &RunConfig,
    key: &revoada_core::key::SecretKey,
    stored: Option<(Known, Option<String>)>,
    vault: &Vault,
    progress: &dyn Progress,
) -> Result<Beginning> {
    let me = key.member_id();
    if let Some((known, fenced)) = stored {
        if let Some(reason) = fenced {
            return Err(refused(reason));
        }
        if let Mode::Join { ticket, .. } = &config.mode
            && ticket.cluster != known.chain().cluster()
        {
            return Err(refused(format!(
                "the data directory {} belongs to cluster {}, the ticket is for cluster {}: choose another with --data-dir",
                config.data_dir.display(),
                known.chain().cluster().short(),
                ticket.cluster.short()
            )));
        }
        let standing = known.chain().standing(&me);
        let Some(admitted) = known.chain().member(&me) else {
            return Err(refused(format!(
                "this member is {standing} in cluster {}: move the data directory aside and join with a new ticket",
                known.chain().cluster().short()
            )));
        };
        progress.step(&format!(
            "continuing as {} in cluster {}",
            admitted.name,
            known.chain().cluster().short()
        ));
        return Ok(Beginning {
            name: admitted.name.clone(),
            start: Start::Continue(known.clone()),
            known,
            peers: Vec::new(),
        });
    }
    match &config.mode {
        Mode::Up => {
            let mut salt = [0; 32];
            OsEntropy.fill(&mut salt);
            let genesis = Genesis {
                founder: me,
                founder_name: config.name.clone(),
                created_ms: OsClock.unix_ms(),
                salt: Hash32(salt),
            };
            let cluster = genesis.cluster_id();
            progress.step(&format!("founding cluster {}", cluster.short()));
            if vault.material().is_none() {
                vault.keep(Material::generate(
                    &cluster.short(),
                    &config.service_cidr,
                    &config.pod_cidr,
                )?)?;
            }
            let known = Known::founding(&genesis)
                .map_err(|reason| anyhow::anyhow!("the cluster cannot be founded: {reason}"))?;
            Ok(Beginning {
                name: config.name.clone(),
                known,
                start: Start::Found(genesis),
                peers: Vec::new(),
            })
        }
        Mode::Join { ticket, witness } => {
            progress.step(&format!(
                "joining cluster {} through {}",
                ticket.cluster.short(),
                ticket.addresses.join(", ")
            ));
            let intent = JoinIntent {
                ticket: ticket.clone(),
                name: NameWish {
                    name: config.name.clone(),
                    is_explicit: config.name_is_explicit,
                },
                witness: *witness,
                version: VERSION.to_owned(),
            };
            let joined = revoada::join(&QuicJoinDialer, key, &intent, &OsClock)
                .await
                .map_err(|error| {
                    let kind = match &error {
                        revoada::JoinError::NobodyAnswers { .. } => FailureKind::Failed,
                        _ => FailureKind::Refused,
                    };
                    Failure {
                        kind,
                        message: error.to_string(),
                    }
                })?;
            progress.step(&format!("admitted as {}", joined.name));
            Ok(Beginning {
                name: joined.name,
                known: joined.known.clone(),
                start: Start::Continue(joined.known),
                peers: joined.peers,
            })
        }
    }
}

struct Serving<'a> {
    config: &'a RunConfig,
    progress: Arc<dyn Progress>,
    started: Instant,
    member: &'a Member,
    mesh: &'a Arc<QuicMesh>,
    own: addresses::Own,
    vault: Arc<Vault>,
    stores: Arc<Stores>,
    api_listener: TcpListener,
    api_url: String,
    name: &'a str,
    data_dir: &'a DataDir,
    stop: CancellationToken,
}

/// Starts what serves requests, until `stop`: the server of the member's own replica (with `shared`; a witness has
/// none), the answers to what others forward, and the controllers while it leads.
pub fn serve_requests(
    member: &Member,
    stores: &Arc<Stores>,
    vault: &Arc<Vault>,
    shared: Option<api::Shared>,
    stop: &CancellationToken,
) -> Arc<Local> {
    let local = Arc::new(Local::default());
    if let Some(shared) = shared {
        member.spawn(api::run_local(
            member.clone(),
            Arc::clone(stores),
            Arc::clone(vault),
            Arc::clone(&local),
            shared,
            stop.clone(),
        ));
    }
    member.spawn(api::serve_forwarded(member.clone(), Arc::clone(&local), stop.clone()));
    member.spawn(leader::run(
        member.clone(),
        Arc::clone(&local),
        Arc::clone(stores),
        Arc::clone(vault),
        stop.clone(),
    ));
    local
}

/// Serves until told to stop, left, or halted.
async fn serve(serving: Serving<'_>) -> Result<Ended> {
    let Serving {
        config,
        progress,
        started,
        member,
        mesh,
        own,
        vault,
        stores,
        api_listener,
        api_url,
        name,
        data_dir,
        stop,
    } = serving;
    let version = version_info();
    let outbound: Arc<dyn Outbound> = Arc::new(Https::new());
    let authentication = Authentication::read(config, &outbound)?;
    let observers = observe(config, data_dir)?;
    let authorization = Authorization::read(config, name, &outbound)?;
    let ending = member.stop_token().child_token();
    let _guard = ending.clone().drop_guard();
    let witness = member
        .known()
        .chain()
        .member(&member.id())
        .is_some_and(|admitted| admitted.witness);
    let shared = api::Shared {
        version,
        tokens: Arc::clone(&authentication.tokens),
        further_tokens: authentication.further,
        authorizers: Arc::clone(&authorization.chain),
        outbound: Some(outbound),
        observers: observers.clone(),
    };
    let local = serve_requests(member, &stores, &vault, (!witness).then_some(shared), &ending);
    member.spawn(authorization.follow(ending.clone()));
    member.spawn(remember_peers(
        Arc::clone(mesh),
        data_dir.join("peers.json"),
        ending.clone(),
    ));

    let lifetime = Duration::from_secs(config.certificate_lifetime_s);
    let certificates = Arc::new(Certificates::new(
        Arc::clone(&vault),
        own,
        name,
        lifetime,
        data_dir.join("admin.kubeconfig"),
        &api_url,
    ));
    let leaving = Arc::new(admin::Leaving::default());
    let admin: Arc<dyn crate::admin::api::AdminApi> = Arc::new(admin::Local {
        member: member.clone(),
        stores: Arc::clone(&stores),
        certificates: Arc::clone(&certificates),
        leave: Arc::clone(&leaving),
    });
    let admin_socket = crate::admin::serve(&config.data_dir, admin, ending.clone()).await?;
    member.spawn(admin_socket);
    if let Some(address) = config.metrics {
        match metrics::bind(address).await {
            Ok(listener) => member.spawn(metrics::serve(
                listener,
                member.clone(),
                Arc::clone(&stores),
                Arc::clone(&certificates),
                ending.clone(),
            )),
            // Several members on one machine share the default port: the first has it.
            Err(error) => tracing::warn!(error = %format!("{error:#}"), "metrics are off"),
        }
    }

    let mut halted = member.watch_halted();
    if witness {
        drop(api_listener);
        progress.ready("a witness, which votes and serves no API", started.elapsed());
        return tokio::select! {
            () = stop.cancelled() => Ok(Ended::Stopped),
            () = leaving.left() => Ok(Ended::Left),
            reason = halt(&mut halted) => ended_by(reason, &leaving).await,
        };
    }
    let opened = async {
        progress.step("waiting for the cluster's authority");
        let info = vault.fetch_info(member).await?;
        progress.step("getting a serving certificate");
        let holder = certificates.first_serving(member).await?;
        Some((info, holder))
    };
    let opened = tokio::select! {
        opened = opened => opened,
        () = stop.cancelled() => return Ok(Ended::Stopped),
        reason = halt(&mut halted) => return ended_by(reason, &leaving).await,
    };
    let Some((info, holder)) = opened else {
        return Ok(Ended::Stopped);
    };
    let authority = pem_to_der(&info.authority_certificate_pem)?;
    let gate = Arc::new(Gate::new(Arc::clone(&local), Arc::new(MeshApi::new(member.clone()))));
    let door = Door::new(
        DoorDeps {
            certificates: holder,
            client_roots: Arc::new(ClientRoots::new([authority.as_slice()])?),
            front_proxy: authentication.front_proxy,
            tokens: authentication.tokens,
            router: Arc::clone(&gate) as Arc<dyn engenho_engine::apiserver::Router>,
            clock: Arc::new(OsClock),
            observers: observers.clone(),
        },
        DoorOptions {
            anonymous: authentication.anonymous,
            drain_timeout: Duration::from_secs(3),
            ..DoorOptions::default()
        },
    )?;
    let door_stop = ending.clone();
    let door_task = tokio::spawn(async move { door.serve(api_listener, door_stop).await });

    progress.step("waiting for the API to answer");
    let ready = async {
        let admin_due_ms = loop {
            match certificates.write_admin(member).await {
                Ok(due_ms) => break due_ms,
                Err(error) => tracing::debug!(error = %format!("{error:#}"), "no administrator's certificate yet"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        while !gate.is_open() || !local.server().as_ref().is_none_or(api::is_bootstrapped) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        admin_due_ms
    };
    let ended = tokio::select! {
        admin_due_ms = ready => {
            member.set_api_ready(true);
            progress.ready(&api_url, started.elapsed());
            member.spawn(Arc::clone(&certificates).run(member.clone(), admin_due_ms, ending.clone()));
            member.spawn(follow_readiness(member.clone(), gate, ending.clone()));
            tokio::select! {
                () = stop.cancelled() => Ok(Ended::Stopped),
                () = leaving.left() => Ok(Ended::Left),
                reason = halt(&mut halted) => ended_by(reason, &leaving).await,
            }
        }
        () = stop.cancelled() => Ok(Ended::Stopped),
        () = leaving.left() => Ok(Ended::Left),
        reason = halt(&mut halted) => ended_by(reason, &leaving).await,
    };
    if matches!(ended, Ok(Ended::Left)) {
        // Whoever asked for it is still to be answered.
        tokio::time::sleep(ANSWER_GRACE).await;
    }
    member.set_api_ready(false);
    // Handing leadership over first: requests under way are answered by the next leader.
    if let Err(error) = member.hand_over_leadership(Duration::from_secs(1)).await {
        tracing::info!(%error, "leadership was not handed over");
    }
    ending.cancel();
    if tokio::time::timeout(Duration::from_secs(4), door_task).await.is_err() {
        tracing::info!("API connections did not end in time");
    }
    if let Some(audit) = observers.audit.clone() {
        // What was recorded is written before the process ends; a disk that hangs does not keep it from ending.
        let closing = tokio::task::spawn_blocking(move || audit.close());
        if tokio::time::timeout(Duration::from_secs(2), closing).await.is_err() {
            tracing::warn!("the audit log could not be written to its end in time");
        }
    }
    ended
}

/// A halt is an error, unless it is how the member learns that its own leave is through.
async fn ended_by(reason: String, leaving: &admin::Leaving) -> Result<Ended> {
    if leaving.is_under_way() && tokio::time::timeout(LEAVE_DEADLINE, leaving.left()).await.is_ok() {
        return Ok(Ended::Left);
    }
    Err(refused(reason))
}

async fn halt(halted: &mut tokio::sync::watch::Receiver<Option<String>>) -> String {
    match halted.wait_for(Option::is_some).await {
        Ok(reason) => reason.clone().unwrap_or_default(),
        Err(_) => std::future::pending().await,
    }
}

/// Tells the cluster whether this member's endpoint finds somebody who serves.
async fn follow_readiness(member: Member, gate: Arc<Gate>, stop: CancellationToken) {
    let mut ready = true;
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(300)) => {}
            () = stop.cancelled() => return,
        }
        let now = gate.is_open();
        if now != ready {
            member.set_api_ready(now);
            ready = now;
        }
    }
}

async fn bind_api(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => "it is taken by another process: choose another with --api ADDR:PORT",
            std::io::ErrorKind::PermissionDenied => "no permission: choose a port above 1023 with --api ADDR:PORT",
            std::io::ErrorKind::AddrNotAvailable => {
                "this machine has no such address: choose one of its own with --api ADDR:PORT"
            }
            _ => "choose another with --api ADDR:PORT",
        };
        Failure {
            kind: FailureKind::Failed,
            message: format!("the API cannot listen on TCP {address}: {hint}"),
        }
        .into()
    })
}

fn read_book(path: &std::path::Path) -> AddressBook {
    let Ok(raw) = std::fs::read(path) else {
        return AddressBook::default();
    };
    AddressBook::from_json(&raw).unwrap_or_else(|error| {
        // Only hints: the peers are found by beacon or by being called.
        tracing::warn!(path = %path.display(), %error, "the remembered addresses of peers are unreadable");
        AddressBook::default()
    })
}

/// Keeps the addresses of peers in a file: at once when one is new, else now and then.
async fn remember_peers(mesh: Arc<QuicMesh>, path: std::path::PathBuf, stop: CancellationToken) {
    let mut last = Vec::new();
    let mut written_at = Instant::now();
    loop {
        tokio::select! {
            () = tokio::time::sleep(BOOK_LOOK) => {}
            () = stop.cancelled() => return,
        }
        let book = mesh.address_book();
        let mut addresses: Vec<_> = book
            .members()
            .flat_map(|member| {
                book.candidates(member)
                    .into_iter()
                    .map(move |address| (member, address))
            })
            .collect();
        addresses.sort();
        if addresses == last && written_at.elapsed() < BOOK_INTERVAL {
            continue;
        }
        let (path, content) = (path.clone(), book.to_json());
        let written =
            tokio::task::spawn_blocking(move || revoada_log::write_file(&OsDisk, &path, content.as_bytes())).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "the addresses of peers cannot be remembered");
        }
        last = addresses;
        written_at = Instant::now();
    }
}

fn pem_to_der(pem: &str) -> Result<Vec<u8>> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let der = CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| anyhow::anyhow!("the cluster's authority is malformed: {error}"))?;
    Ok(der.to_vec())
}

fn version_info() -> VersionInfo {
    VersionInfo::new(
        format!("{KUBERNETES_VERSION}+engenho{VERSION}"),
        option_env!("ENGENHO_COMMIT").unwrap_or("unknown").to_owned(),
        "clean",
        option_env!("ENGENHO_BUILD_DATE")
            .unwrap_or("1970-01-01T00:00:00Z")
            .to_owned(),
        concat!("rustc ", env!("CARGO_PKG_RUST_VERSION")).to_owned(),
    )
}

/// Calls of other members' layer above.
struct Calls {
    member: OnceLock<Member>,
    vault: Arc<Vault>,
}

#[async_trait::async_trait]
impl CallHandler for Calls {
    async fn call(&self, peer: MemberId, method: &str, payload: Bytes) -> Result<Bytes, String> {
        let member = self.member.get().ok_or("this member is still starting")?;
        let answer = match method {
            material::METHOD_MATERIAL | material::METHOD_INFO => self.vault.answer(member, peer, method)?,
            certificates::METHOD_SIGN => certificates::answer_sign(&self.vault, member, peer, &payload)?,
            _ => {
                return Err(format!(
                    "this member knows no call {method:?}: it runs engenho {VERSION}"
                ));
            }
        };
        Ok(Bytes::from(answer))
    }
}

/// Figures, and the audit log if there is a policy for it.
fn observe(config: &RunConfig, data_dir: &DataDir) -> Result<Observers> {
    let Some(path) = &config.audit_policy else {
        return Ok(Observers::default());
    };
    let text =
        std::fs::read_to_string(path).with_context(|| format!("the audit policy {} cannot be read", path.display()))?;
    let policy = AuditPolicy::parse(&text).with_context(|| format!("the audit policy {}", path.display()))?;
    Ok(Observers {
        audit: Some(AuditLog::open(policy, &data_dir.join("audit"), Rotation::default())?),
        ..Observers::default()
    })
}
