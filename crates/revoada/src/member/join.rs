//! Joining: a newcomer proves that whoever answers belongs to the ticket's cluster, then shows the secret.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper_util::rt::TokioIo;
use revoada_core::MemberId;
use revoada_core::chain::{Bundle, is_member_name, verify_bundle};
use revoada_core::command::MeshCommand;
use revoada_core::consensus::ProposeError;
use revoada_core::env::Clock;
use revoada_core::key::SecretKey;
use revoada_core::state::{MeshOutcome, MeshRefusal};
use revoada_core::ticket::{Ticket, secret_hash};
use revoada_mesh::{IncomingJoin, MeshStream};
use tonic::transport::Endpoint;
use tonic::{Request, Response, Status};

use super::{Member, Shared};
use crate::known::Known;
use crate::raft::network::{envelope, open};
use crate::rpc::{JoinPeer, PeerStream, pb};

/// Deadline of one address, proof and admission included.
const ADDRESS_DEADLINE: Duration = Duration::from_secs(12);

/// Deadline of the admission at the answering side.
const ADMIT_DEADLINE: Duration = Duration::from_secs(10);

/// Largest difference of clocks that is tolerated, as in the mesh.
const SKEW_MS_MAX: u64 = 5 * 60 * 1000;

/// The name a newcomer wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameWish {
    /// The name.
    pub name: String,
    /// Whether a person chose it: then another is never picked instead.
    pub is_explicit: bool,
}

/// What a newcomer brings.
#[derive(Debug, Clone)]
pub struct JoinIntent {
    /// The ticket.
    pub ticket: Ticket,
    /// The wanted name.
    pub name: NameWish,
    /// Wants to be a witness only.
    pub witness: bool,
    /// Software version.
    pub version: String,
}

/// What it got.
#[derive(Debug, Clone)]
pub struct Joined {
    /// The name it has now.
    pub name: String,
    /// The cluster.
    pub known: Known,
    /// Where the others are.
    pub peers: Vec<(MemberId, Vec<SocketAddr>)>,
}

/// Why a newcomer was not admitted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JoinError {
    /// Nobody answered.
    #[error("no member answers at {}: {last}", tried.join(", "))]
    NobodyAnswers {
        /// Addresses tried.
        tried: Vec<String>,
        /// The most telling failure.
        last: String,
    },
    /// Whoever answers is not of the ticket's cluster.
    #[error("{address} does not belong to the ticket's cluster {cluster}: {reason}")]
    WrongCluster {
        /// Who answered.
        address: String,
        /// The cluster that was expected, shortened.
        cluster: String,
        /// Why it was not believed.
        reason: String,
    },
    /// The cluster refused.
    #[error("the cluster refused: {reason}")]
    Refused {
        /// Its words.
        reason: String,
    },
    /// The ticket's time is over by this machine's own clock.
    #[error("the ticket expired {} s ago: make a new one with `engenho ticket`", late_ms / 1000)]
    Expired {
        /// How long ago.
        late_ms: u64,
    },
}

/// Opens one join stream; the transport's part, so that a simulation can bring its own.
#[async_trait::async_trait]
pub trait JoinDialer: Send + Sync {
    /// Connects to `address` as `key` and gives the key that answered.
    async fn dial(&self, address: &str, key: &SecretKey) -> Result<(MemberId, MeshStream), String>;
}

/// Joins the ticket's cluster through the first of its addresses that answers rightly.
pub async fn join(
    dialer: &dyn JoinDialer,
    key: &SecretKey,
    intent: &JoinIntent,
    clock: &dyn Clock,
) -> Result<Joined, JoinError> {
    let now_ms = clock.unix_ms();
    if now_ms > intent.ticket.expires_ms.saturating_add(SKEW_MS_MAX) {
        return Err(JoinError::Expired {
            late_ms: now_ms - intent.ticket.expires_ms,
        });
    }
    // All at once, because a ticket outlives its issuer; only one is shown the secret at a time.
    let turn = tokio::sync::Mutex::new(());
    let mut attempts: FuturesUnordered<_> = intent
        .ticket
        .addresses
        .iter()
        .map(|address| {
            let turn = &turn;
            async move {
                match tokio::time::timeout(ADDRESS_DEADLINE, attempt(dialer, key, intent, address, turn, now_ms)).await
                {
                    Ok(result) => result,
                    Err(_) => Err(JoinError::NobodyAnswers {
                        tried: vec![address.clone()],
                        last: "no answer in time".into(),
                    }),
                }
            }
        })
        .collect();
    let mut last = None;
    while let Some(result) = attempts.next().await {
        match result {
            Ok(joined) => return Ok(joined),
            Err(error @ JoinError::Refused { .. }) => return Err(error),
            // A wrong cluster says more than a dead address.
            Err(error @ JoinError::WrongCluster { .. }) => last = Some(error),
            Err(error) => last = last.or(Some(error)),
        }
    }
    Err(match last {
        Some(JoinError::NobodyAnswers { last, .. }) => JoinError::NobodyAnswers {
            tried: intent.ticket.addresses.clone(),
            last,
        },
        Some(error) => error,
        None => JoinError::NobodyAnswers {
            tried: Vec::new(),
            last: "the ticket holds no address".into(),
        },
    })
}

async fn attempt(
    dialer: &dyn JoinDialer,
    key: &SecretKey,
    intent: &JoinIntent,
    address: &str,
    turn: &tokio::sync::Mutex<()>,
    now_ms: u64,
) -> Result<Joined, JoinError> {
    let silent = |last: String| JoinError::NobodyAnswers {
        tried: vec![address.to_owned()],
        last,
    };
    let (server, stream) = dialer.dial(address, key).await.map_err(silent)?;
    let mut client = client_over(stream).await.map_err(|error| silent(error.to_string()))?;
    if server != intent.ticket.issuer {
        prove(&mut client, server, intent, address).await?;
    }
    let _turn = turn.lock().await;
    let request = pb::JoinRequest {
        secret: bytes::Bytes::copy_from_slice(&intent.ticket.secret),
        name: intent.name.name.clone(),
        name_is_explicit: intent.name.is_explicit,
        witness: intent.witness || intent.ticket.witness,
        version: intent.version.clone(),
        unix_ms: now_ms,
    };
    let reply = client
        .join(request)
        .await
        .map_err(|status| silent(status.message().to_owned()))?
        .into_inner();
    match reply.result {
        Some(pb::join_reply::Result::Joined(joined)) => accept(joined, intent, address),
        Some(pb::join_reply::Result::Refused(failure)) if failure.outcome_unknown => Err(silent(failure.message)),
        Some(pb::join_reply::Result::Refused(failure)) => Err(JoinError::Refused {
            reason: failure.message,
        }),
        None => Err(silent("an empty answer".into())),
    }
}

type JoinClient = pb::join_client::JoinClient<tonic::transport::Channel>;

async fn client_over(stream: MeshStream) -> Result<JoinClient, tonic::transport::Error> {
    let stream = parking_lot::Mutex::new(Some(stream));
    let connector = tower::service_fn(move |_: tonic::transport::Uri| {
        let stream = stream.lock().take();
        async move {
            stream
                .map(TokioIo::new)
                .ok_or_else(|| std::io::Error::other("the join stream ended"))
        }
    });
    let channel = Endpoint::from_static("http://join.mesh")
        .connect_with_connector(connector)
        .await?;
    Ok(JoinClient::new(channel).max_decoding_message_size(crate::rpc::MESSAGE_BYTES_MAX))
}

/// Another member than the issuer must show a chain that begins with the ticket's genesis and admits its key.
async fn prove(client: &mut JoinClient, server: MemberId, intent: &JoinIntent, address: &str) -> Result<(), JoinError> {
    let wrong = |reason: String| JoinError::WrongCluster {
        address: address.to_owned(),
        cluster: intent.ticket.cluster.short(),
        reason,
    };
    let proof = client
        .prove(pb::ProveRequest {})
        .await
        .map_err(|status| wrong(status.message().to_owned()))?
        .into_inner();
    let bundle = Bundle::from_json(&proof.bundle_json).map_err(|error| wrong(error.to_string()))?;
    let verified = verify_bundle(&bundle, Some(intent.ticket.cluster)).map_err(|error| wrong(error.to_string()))?;
    if !verified.state.standing(&server).is_admitted() {
        return Err(wrong(format!(
            "its chain does not admit the key {} that answered",
            server.short()
        )));
    }
    Ok(())
}

fn accept(joined: pb::Joined, intent: &JoinIntent, address: &str) -> Result<Joined, JoinError> {
    let wrong = |reason: String| JoinError::WrongCluster {
        address: address.to_owned(),
        cluster: intent.ticket.cluster.short(),
        reason,
    };
    let picture = joined
        .known
        .ok_or_else(|| wrong("it did not say what the cluster is".into()))?;
    let known: Known = open("picture of the cluster", &picture).map_err(|error| wrong(error.to_string()))?;
    if known.chain().cluster() != intent.ticket.cluster {
        return Err(wrong(format!(
            "it is a member of cluster {}",
            known.chain().cluster().short()
        )));
    }
    let peers = joined
        .peers
        .into_iter()
        .filter_map(|peer| {
            let id = super::propose::member_id(&peer.member)?;
            Some((
                id,
                peer.addresses
                    .iter()
                    .filter_map(|address| address.parse().ok())
                    .collect(),
            ))
        })
        .collect();
    Ok(Joined {
        name: joined.name,
        known,
        peers,
    })
}

/// The answering side, served to newcomers only.
pub struct JoinService {
    shared: Arc<Shared>,
    version: String,
}

impl Member {
    /// The service that newcomers may call.
    pub fn join_service(&self, version: &str) -> JoinService {
        JoinService {
            shared: Arc::clone(&self.shared),
            version: version.to_owned(),
        }
    }

    /// Serves newcomers' streams, as `accept` gives them, until this member stops or there are no more.
    pub fn serve_joins<F>(&self, version: &str, accept: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Option<IncomingJoin>> + Send,
    {
        let stop = self.shared.stop.clone();
        let streams = crate::rpc::spawn_join_server(self.join_service(version), stop.clone(), &self.shared.tasks);
        self.spawn(async move {
            loop {
                let incoming = tokio::select! {
                    incoming = accept() => incoming,
                    () = stop.cancelled() => return,
                };
                let Some(incoming) = incoming else { return };
                let peer = JoinPeer {
                    member: incoming.peer,
                    remote: incoming.remote,
                };
                if streams.send(PeerStream::new(incoming.stream, peer)).await.is_err() {
                    return;
                }
            }
        });
    }
}

#[tonic::async_trait]
impl pb::join_server::Join for JoinService {
    async fn prove(&self, _: Request<pb::ProveRequest>) -> Result<Response<pb::ProveReply>, Status> {
        let bundle = Member {
            shared: Arc::clone(&self.shared),
        }
        .bundle();
        let json = bundle.to_json().map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(pb::ProveReply {
            bundle_json: json.into(),
        }))
    }

    async fn join(&self, request: Request<pb::JoinRequest>) -> Result<Response<pb::JoinReply>, Status> {
        let peer = *request
            .extensions()
            .get::<JoinPeer>()
            .ok_or_else(|| Status::unauthenticated("no key"))?;
        let result = match self.admit(peer, request.into_inner()).await {
            Ok(joined) => pb::join_reply::Result::Joined(joined),
            Err(failure) => pb::join_reply::Result::Refused(failure),
        };
        Ok(Response::new(pb::JoinReply { result: Some(result) }))
    }
}

fn refused(message: impl Into<String>) -> pb::Failure {
    pb::Failure {
        message: message.into(),
        outcome_unknown: false,
    }
}

impl JoinService {
    async fn admit(&self, peer: JoinPeer, request: pb::JoinRequest) -> Result<pb::Joined, pb::Failure> {
        let secret: [u8; 32] = request
            .secret
            .as_ref()
            .try_into()
            .map_err(|_| refused("the ticket's secret has the wrong size"))?;
        let now_ms = self.shared.unix_ms();
        let skew_ms = now_ms.abs_diff(request.unix_ms);
        if skew_ms > SKEW_MS_MAX {
            let way = if request.unix_ms > now_ms { "ahead of" } else { "behind" };
            return Err(refused(format!(
                "this machine's clock is {} s {way} the cluster's: set it right (for example with NTP) and join again",
                skew_ms / 1000
            )));
        }
        if !is_member_name(&request.name) {
            return Err(refused(format!(
                "{:?} is not a DNS label: choose another with --name",
                request.name
            )));
        }
        if major_minor(&request.version) != major_minor(&self.version) {
            return Err(refused(format!(
                "this machine runs engenho {}, the cluster runs {}: use the same version",
                request.version, self.version
            )));
        }
        let mut name = request.name.clone();
        for attempt in 2..=100 {
            let command = MeshCommand::Admit {
                member: peer.member,
                name: name.clone(),
                witness: request.witness,
                secret_hash: secret_hash(&secret),
            };
            match self.shared.propose_mesh(command, ADMIT_DEADLINE).await {
                Ok(MeshOutcome::Admitted { name, .. }) => return self.welcome(peer, name).await,
                Ok(MeshOutcome::Refused(MeshRefusal::NameTaken { .. })) if !request.name_is_explicit => {
                    let suffix = format!("-{attempt}");
                    let stem: String = request.name.chars().take(63 - suffix.len()).collect();
                    name = stem + &suffix;
                }
                Ok(MeshOutcome::Refused(MeshRefusal::AdmittedAs { name: known })) if known != name => name = known,
                Ok(MeshOutcome::Refused(refusal)) => return Err(refused(refusal.to_string())),
                Ok(other) => return Err(refused(format!("{other:?}"))),
                Err(error @ ProposeError::NoQuorum { .. }) => return Err(refused(error.to_string())),
                Err(error) => {
                    return Err(pb::Failure {
                        message: error.to_string(),
                        outcome_unknown: true,
                    });
                }
            }
        }
        Err(refused("a hundred names like it are taken: choose one with --name"))
    }

    /// The newcomer's first picture must show itself admitted.
    async fn welcome(&self, peer: JoinPeer, name: String) -> Result<pb::Joined, pb::Failure> {
        let mut watch = self.shared.trust.watch();
        let admitted = watch.wait_for(|known| known.chain().standing(&peer.member).is_admitted());
        let known = match tokio::time::timeout(Duration::from_secs(5), admitted).await {
            Ok(Ok(known)) => Arc::clone(&known),
            _ => {
                return Err(pb::Failure {
                    message: "admitted, but this member has not seen it yet: try again".into(),
                    outcome_unknown: true,
                });
            }
        };
        tracing::info!(member = %peer.member.short(), %name, remote = %peer.remote, "a member joined");
        let everyone = self.shared.gossip.everyone().borrow().clone();
        let mut peers: Vec<pb::PeerAddresses> = everyone
            .iter()
            .filter(|(id, heard)| **id != self.shared.me && !heard.announcement.addresses.is_empty())
            .map(|(id, heard)| wire_peer(id, &heard.announcement.addresses))
            .collect();
        peers.push(wire_peer(&self.shared.me, &self.shared.addresses()));
        Ok(pb::Joined {
            name,
            known: Some(envelope(&*known)),
            peers,
        })
    }
}

fn wire_peer(id: &MemberId, addresses: &[SocketAddr]) -> pb::PeerAddresses {
    pb::PeerAddresses {
        member: bytes::Bytes::copy_from_slice(id.as_bytes()),
        addresses: addresses.iter().map(ToString::to_string).collect(),
    }
}

fn major_minor(version: &str) -> Option<(&str, &str)> {
    let mut parts = version.split('.');
    Some((parts.next()?, parts.next()?))
}
