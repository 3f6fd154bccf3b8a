//! Seals: the leader collects other members' signatures under new blocks and writes them down.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use revoada_core::chain::{Seal, Signature, seal_quorum, sign_seal};
use revoada_core::command::MeshCommand;
use revoada_core::{Hash32, MemberId};

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
pub(super) fn start(shared: &Arc<Shared>, picture: &Known) {
    let waiting: Vec<(u64, Hash32)> = picture.chain().unsealed().take(ROUND_MAX).collect();
    if waiting.is_empty() || std::mem::replace(&mut *shared.sealing.lock(), true) {
        return;
    }
    let shared = Arc::clone(shared);
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        let complete = tokio::select! {
            complete = round(&shared, waiting) => complete,
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

/// True when every block got its seal.
async fn round(shared: &Arc<Shared>, blocks: Vec<(u64, Hash32)>) -> bool {
    let known = shared.trust.known();
    let admitted: Vec<MemberId> = known.chain().admitted().keys().copied().collect();
    let wanted = seal_quorum(admitted.len());
    let mut signatures: Vec<Vec<Signature>> = blocks
        .iter()
        .map(|(index, hash)| vec![sign_seal(&shared.options.key, shared.cluster, *index, *hash)])
        .collect();
    let mut asked: FuturesUnordered<_> = admitted
        .iter()
        .filter(|id| **id != shared.me && !shared.is_dead(id))
        .map(|id| ask(shared, *id, &blocks))
        .collect();
    while signatures.iter().any(|collected| collected.len() < wanted) {
        let Some((peer, answer)) = asked.next().await else {
            break;
        };
        let Some(answer) = answer else { continue };
        for ((collected, (index, hash)), raw) in signatures.iter_mut().zip(&blocks).zip(answer) {
            let Ok(signature) = <[u8; 64]>::try_from(raw.as_ref()) else {
                continue;
            };
            let signature = Signature {
                member: peer,
                signature,
            };
            match revoada_core::chain::verify_signature(&signature, shared.cluster, *index, *hash) {
                Ok(()) => collected.push(signature),
                Err(error) => tracing::warn!(peer = %peer.short(), block = index, %error, "a peer's seal is not valid"),
            }
        }
    }
    let mut complete = true;
    for (&(index, hash), collected) in blocks.iter().zip(signatures) {
        // Members admitted after the block cannot seal it, so more may be needed than were counted.
        let seal = Seal::assemble(index, hash, collected);
        if known.chain().check_seal(&seal).is_err() {
            complete = false;
            continue;
        }
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
