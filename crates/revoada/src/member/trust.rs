//! Who may connect, answered from the newest picture of the cluster; kept in a file across restarts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use revoada_core::MemberId;
use revoada_core::chain::{Block, Event, Standing as ChainStanding, verify_recovery};
use revoada_log::Disk;
use revoada_mesh::{LocalHello, Standing, Trust};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::known::Known;
use crate::raft::codec;

/// Upper bound of the member's own file: it holds the whole replicated state of the mesh.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// What became of a claim of a newer epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EpochClaim {
    /// Nothing of the kind.
    None,
    /// The cluster was recovered and this member was kept: it follows.
    Kept {
        /// The newer epoch.
        epoch: u64,
    },
    /// The cluster was recovered without this member.
    Fenced {
        /// The newer epoch.
        epoch: u64,
        /// Who recovered it.
        survivor: MemberId,
    },
}

/// What is written to the member's own file.
#[derive(Serialize, Deserialize)]
struct Stored {
    known: Known,
    recovery: Option<Block>,
    fenced: Option<Block>,
}

/// Why the file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TrustFileError {
    /// Disk.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// The newest picture, and everything that follows from it at the door.
pub struct MemberTrust {
    me: MemberId,
    disk: Arc<dyn Disk>,
    path: PathBuf,
    known: watch::Sender<Arc<Known>>,
    hello: Mutex<LocalHello>,
    recovery: Mutex<Option<Block>>,
    fenced: Mutex<Option<Block>>,
    /// Held while the file is written.
    saving: Mutex<()>,
    adopted_epoch: Mutex<u64>,
    claim: watch::Sender<EpochClaim>,
    changed: tokio::sync::Notify,
}

impl MemberTrust {
    /// Starts from a picture; `path` is where newer ones are kept.
    pub fn new(me: MemberId, disk: Arc<dyn Disk>, path: &Path, known: Known, version: &str, name: &str) -> Self {
        let hello = LocalHello {
            cluster: known.chain().cluster(),
            epoch: known.version().epoch,
            name: name.to_owned(),
            version: version.to_owned(),
            addresses: Vec::new(),
        };
        let recovery = last_recovery(&known);
        Self {
            me,
            disk,
            path: path.to_path_buf(),
            adopted_epoch: Mutex::new(known.version().epoch),
            known: watch::Sender::new(Arc::new(known)),
            hello: Mutex::new(hello),
            recovery: Mutex::new(recovery),
            fenced: Mutex::new(None),
            saving: Mutex::new(()),
            claim: watch::Sender::new(EpochClaim::None),
            changed: tokio::sync::Notify::new(),
        }
    }

    /// Reads what [`MemberTrust::accept`] wrote: the picture, and why this member was fenced, if it was.
    pub fn load(disk: &dyn Disk, path: &Path) -> Result<Option<(Known, Option<String>)>, TrustFileError> {
        let io = |source| TrustFileError::Io {
            path: path.to_path_buf(),
            source,
        };
        let Some(raw) = revoada_log::read_file(disk, path, FILE_BYTES_MAX).map_err(io)? else {
            return Ok(None);
        };
        let stored: Stored = codec::decode("member file", &raw).map_err(|error| io(error.into()))?;
        let fenced = stored.fenced.as_ref().map(fenced_text);
        Ok(Some((stored.known, fenced)))
    }

    /// The newest picture.
    pub fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.borrow())
    }

    /// Follows the picture.
    pub fn watch(&self) -> watch::Receiver<Arc<Known>> {
        self.known.subscribe()
    }

    /// Follows claims of a newer epoch.
    pub fn watch_claim(&self) -> watch::Receiver<EpochClaim> {
        self.claim.subscribe()
    }

    /// The epoch this member follows; its picture may be older for a moment.
    pub fn epoch(&self) -> u64 {
        *self.adopted_epoch.lock()
    }

    /// Where this member can be reached, for its greeting.
    pub fn set_addresses(&self, addresses: Vec<std::net::SocketAddr>) {
        self.hello.lock().addresses = addresses;
    }

    /// Takes a picture if it is newer; true when it was. A picture of a newer epoch must hold a valid recovery.
    pub fn accept(&self, known: Arc<Known>) -> bool {
        let current = self.known();
        if known.version() <= current.version() || known.chain().cluster() != current.chain().cluster() {
            return false;
        }
        let newer_epoch = known.version().epoch > current.version().epoch;
        let recovery = last_recovery(&known);
        if newer_epoch {
            let valid = recovery
                .as_ref()
                .is_some_and(|block| verify_recovery(block, current.chain()).is_ok());
            if !valid {
                tracing::warn!(
                    epoch = known.version().epoch,
                    "a picture of a newer epoch has no valid recovery: refused"
                );
                return false;
            }
            if !known.chain().standing(&self.me).is_admitted() {
                let block = recovery.expect("checked above");
                self.fence(block);
                return false;
            }
        }
        if recovery.is_some() {
            *self.recovery.lock() = recovery;
        }
        {
            let mut epoch = self.adopted_epoch.lock();
            *epoch = (*epoch).max(known.version().epoch);
            self.hello.lock().epoch = *epoch;
        }
        self.known.send_replace(known);
        self.changed.notify_waiters();
        true
    }

    /// Completes after the next accepted picture.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Writes the picture to the member's file, atomically; once fenced, with the proof of it.
    pub fn save(&self) -> Result<(), TrustFileError> {
        let _saving = self.saving.lock();
        let stored = Stored {
            known: (*self.known()).clone(),
            recovery: self.recovery.lock().clone(),
            fenced: self.fenced.lock().clone(),
        };
        revoada_log::write_file(&*self.disk, &self.path, &codec::encode(&stored)).map_err(|source| TrustFileError::Io {
            path: self.path.clone(),
            source,
        })
    }

    fn fence(&self, block: Block) {
        let Event::Recover { epoch, survivor, .. } = &block.event else {
            return;
        };
        #[cfg(feature = "mutations")]
        if sim_mutation::is("no-fence") {
            return;
        }
        let claim = EpochClaim::Fenced {
            epoch: *epoch,
            survivor: *survivor,
        };
        tracing::error!("{}", fenced_text(&block));
        *self.fenced.lock() = Some(block);
        if let Err(error) = self.save() {
            tracing::error!(%error, "the fence cannot be written down");
        }
        self.claim.send_replace(claim);
    }
}

/// What a fenced member is told.
fn fenced_text(block: &Block) -> String {
    let Event::Recover { epoch, survivor, .. } = &block.event else {
        return "this member is fenced".into();
    };
    format!(
        "this member is fenced: the cluster went on as epoch {epoch} without it, recovered by {} at block {}; \
         to bring this machine back, move its data directory aside and join with a new ticket",
        survivor.short(),
        block.index,
    )
}

fn last_recovery(known: &Known) -> Option<Block> {
    known
        .state()
        .blocks()
        .iter()
        .rev()
        .find(|block| matches!(block.event, Event::Recover { .. }))
        .cloned()
}

impl Trust for MemberTrust {
    fn standing(&self, peer: MemberId) -> Standing {
        match self.known.borrow().chain().standing(&peer) {
            ChainStanding::Admitted { .. } => Standing::Admitted,
            ChainStanding::Left => Standing::Left,
            #[cfg(feature = "mutations")]
            ChainStanding::Expelled if sim_mutation::is("serve-expelled") => Standing::Admitted,
            ChainStanding::Expelled => Standing::Expelled,
            ChainStanding::Fenced { .. } => Standing::Fenced,
            _ => Standing::Unknown,
        }
    }

    fn members(&self) -> Vec<MemberId> {
        self.known.borrow().chain().admitted().keys().copied().collect()
    }

    fn hello(&self) -> LocalHello {
        self.hello.lock().clone()
    }

    fn evidence(&self) -> Bytes {
        self.recovery.lock().as_ref().map_or_else(Bytes::new, codec::encode)
    }

    fn on_evidence(&self, peer: MemberId, epoch: u64, evidence: Bytes) {
        let block: Block = match codec::decode("proof of a newer epoch", &evidence) {
            Ok(block) => block,
            Err(error) => return tracing::warn!(peer = %peer.short(), %error, "a claim of a newer epoch has no proof"),
        };
        let known = self.known();
        let Event::Recover {
            epoch: proved, keep, ..
        } = &block.event
        else {
            return;
        };
        if *proved != epoch || *proved <= *self.adopted_epoch.lock() {
            return;
        }
        if let Err(error) = verify_recovery(&block, known.chain()) {
            return tracing::warn!(peer = %peer.short(), %error, "a claim of a newer epoch is not valid");
        }
        if keep.contains(&self.me) {
            tracing::warn!(
                epoch,
                "the cluster was recovered; this member follows into the new epoch"
            );
            *self.adopted_epoch.lock() = epoch;
            self.hello.lock().epoch = epoch;
            self.claim.send_replace(EpochClaim::Kept { epoch });
        } else {
            self.fence(block);
        }
    }

    fn on_unknown(&self, peer: MemberId) {
        tracing::debug!(peer = %peer.short(), "a key that is not admitted here knocked");
        self.changed.notify_waiters();
    }
}
