//! Seals: the leader collects other members' signatures under new blocks and writes them down.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use revoada_core::chain::{Seal, Signature, seal_quorum, sign_seal};
use revoada_core::command::MeshCommand;
use revoada_core::{ClusterId, Hash32, MemberId};

use super::Shared;
use crate::known::Known;
use crate::rpc::{call, pb};

/// Blocks sealed in one round.
const ROUND_MAX: usize = 64;

/// Deadline of one member's signature.
const SIGN_DEADLINE: Duration = Duration::from_secs(3);

/// Pause after a round that brought too few signatures.
const PAUSE: Duration = Duration::from_secs(2);

/// Starts a round for the blocks that wait for a seal, unless one is under way.
pub(super) fn start(shared: &Arc<Shared>, picture: &Arc<Known>) {
    let waiting: Vec<(u64, Hash32)> = picture.chain().unsealed().take(ROUND_MAX).collect();
    if waiting.is_empty() || std::mem::replace(&mut *shared.sealing.lock(), true) {
        return;
    }
    let (shared, picture) = (Arc::clone(shared), Arc::clone(picture));
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        let complete = tokio::select! {
            complete = round(&shared, &picture, waiting) => complete,
            () = shared.stop.cancelled() => false,
        };
        if !complete {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = shared.stop.cancelled() => {}
            }
        }
        *shared.sealing.lock() = false;
    });
}

/// One block on its way to a seal. Only members that were admitted when it was made may sign it.
struct Collecting {
    index: u64,
    hash: Hash32,
    sealers: Vec<MemberId>,
    signatures: Vec<Signature>,
}

impl Collecting {
    fn complete(&self) -> bool {
        #[cfg(feature = "mutations")]
        if sim_mutation::is("seal-unverified") {
            return true;
        }
        self.signatures.len() >= seal_quorum(self.sealers.len())
    }

    fn add(&mut self, cluster: ClusterId, signature: Signature) {
        if self.complete() || !self.sealers.contains(&signature.member) {
            return;
        }
        match revoada_core::chain::verify_signature(&signature, cluster, self.index, self.hash) {
            Ok(()) => self.signatures.push(signature),
            Err(error) => {
                tracing::warn!(peer = %signature.member.short(), block = self.index, %error, "a peer's seal is not valid");
            }
        }
    }
}

/// True when every block got its seal.
async fn round(shared: &Arc<Shared>, picture: &Known, blocks: Vec<(u64, Hash32)>) -> bool {
    let chain = picture.chain();
    let key = &shared.options.key;
    let mut collecting: Vec<Collecting> = blocks
        .iter()
        .map(|(index, hash)| {
            let sealers = chain.sealers(*index).map(<[MemberId]>::to_vec).unwrap_or_default();
            let mut block = Collecting {
                index: *index,
                hash: *hash,
                sealers,
                signatures: Vec::new(),
            };
            block.add(shared.cluster, sign_seal(key, shared.cluster, *index, *hash));
            block
        })
        .collect();
    let peers = picture.members();
    let mut asked: FuturesUnordered<_> = peers
        .iter()
        .filter(|id| **id != shared.me && !shared.is_dead(id))
        .map(|id| ask(shared, *id, &blocks))
        .collect();
    while collecting.iter().any(|block| !block.complete()) {
        let Some((peer, answer)) = asked.next().await else {
            break;
        };
        for (block, raw) in collecting.iter_mut().zip(answer.unwrap_or_default()) {
            if let Ok(signature) = <[u8; 64]>::try_from(raw.as_ref()) {
                block.add(
                    shared.cluster,
                    Signature {
                        member: peer,
                        signature,
                    },
                );
            }
        }
    }
    let mut complete = true;
    for block in collecting {
        let (index, wanted) = (block.index, seal_quorum(block.sealers.len()));
        if !block.complete() {
            tracing::debug!(
                block = index,
                signatures = block.signatures.len(),
                wanted,
                "a block cannot be sealed yet"
            );
            complete = false;
            continue;
        }
        let seal = Seal::assemble(index, block.hash, block.signatures);
        if let Err(error) = shared
            .propose_mesh(MeshCommand::Seal { seal }, Duration::from_secs(5))
            .await
        {
            tracing::debug!(block = index, %error, "a seal could not be written down");
            complete = false;
        }
    }
    complete
}

async fn ask(shared: &Shared, peer: MemberId, blocks: &[(u64, Hash32)]) -> (MemberId, Option<Vec<Bytes>>) {
    let targets = blocks
        .iter()
        .map(|(index, hash)| pb::SealTarget {
            index: *index,
            hash: Bytes::copy_from_slice(hash.as_bytes()),
        })
        .collect();
    let mut client = shared.rpc.peer(peer);
    let reply = call(peer, SIGN_DEADLINE, client.sign_seals(pb::SignSealsRequest { targets })).await;
    (peer, reply.ok().map(|reply| reply.signatures))
}

impl Shared {
    /// This member's signature under a block, if it holds that very block; else nothing.
    pub(crate) fn sign_block(&self, index: u64, hash: &[u8]) -> Bytes {
        let known = self.trust.known();
        let at = index.checked_sub(1).and_then(|at| usize::try_from(at).ok());
        let mine = at
            .and_then(|at| known.state().blocks().get(at))
            .map(|block| block.hash());
        match mine {
            Some(mine) if mine.as_bytes().as_slice() == hash => {
                Bytes::copy_from_slice(&sign_seal(&self.options.key, self.cluster, index, mine).signature)
            }
            Some(mine) => {
                tracing::error!(block = index, mine = %mine.short(), "asked to sign another block than the one held here");
                Bytes::new()
            }
            None => Bytes::new(),
        }
    }
}
