//! Objects in the store: guarded writes, linearizable or stale reads, sealing on the way in and opening on the way out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engenho_catalog::Resource;
use engenho_store::{
    Compare, KeyRange, KeyValue, Op, OpResult, RangeRequest, RangeResponse, Settled, StoreClient, StoreError, Txn,
    TxnResponse, WriteError,
};
use revoada_core::MemberId;
use revoada_core::command::RequestId;
use revoada_core::consensus::ReadError;

use crate::object::{self, Encoded};
use crate::repeat::{SlotError, Slots};
use crate::seal::{MAGIC, SealPolicy};
use crate::status::Status;

/// For how long a read waits for a revision that isn't there yet (upstream's bound).
const FUTURE_REVISION_WAIT: Duration = Duration::from_secs(3);

/// Display name of a member.
pub type MemberName = Arc<dyn Fn(&MemberId) -> String + Send + Sync>;

/// An object as read: JSON of its storage version, revision in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The JSON.
    pub bytes: Bytes,
    /// Revision of its last write.
    pub revision: u64,
}

/// How much a read can be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freshness {
    /// As asked for.
    Fresh,
    /// From this replica, which may be behind: there is no quorum. The text says so.
    Stale(String),
    /// From this replica, which may be behind while others are not. The text says so.
    Unconfirmed(String),
}

/// What goes along with the write of an object, in one transaction with it: conditions, and changes of other keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Along {
    compares: Vec<Compare>,
    ops: Vec<Op>,
}

impl Along {
    /// A key must still be at a revision.
    pub fn guard(&mut self, key: String, revision: u64) {
        self.compares.push(Compare::mod_revision(key, revision));
    }

    /// A key that must not be there yet is written.
    pub fn create(&mut self, op: Op, key: String) {
        self.guard(key, 0);
        self.ops.push(op);
    }

    /// A key that must still be at a revision is written.
    pub fn replace(&mut self, op: Op, key: String, revision: u64) {
        self.guard(key, revision);
        self.ops.push(op);
    }

    /// A key that must still be at a revision is deleted.
    pub fn delete(&mut self, key: String, revision: u64) {
        self.guard(key.clone(), revision);
        self.ops.push(Op::delete(key));
    }

    /// Whether nothing goes along.
    pub fn is_empty(&self) -> bool {
        self.compares.is_empty() && self.ops.is_empty()
    }

    /// All of it by itself.
    pub fn into_txn(self) -> Txn {
        Txn {
            compares: self.compares,
            success: self.ops,
            failure: Vec::new(),
        }
    }

    /// Both together.
    pub fn and(&mut self, other: Self) {
        self.compares.extend(other.compares);
        self.ops.extend(other.ops);
    }
}

/// Why a write did nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteFailure {
    /// The key isn't as expected: what it is now, if it is.
    Conflict(Option<Stored>),
    /// A condition on another key doesn't hold.
    Guarded,
    /// Anything else.
    Status(Status),
}

/// In a request's extensions: its writes are refused unless they are committed in this term. For in-process callers
/// that act as the leader; a request from outside has no extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence(pub u64);

/// How the writes of a request are done.
#[derive(Clone)]
enum Writes {
    /// Each as a proposal of this member, with `Some` only in that term.
    Proposed(Option<u64>),
    /// In the slots of a forwarded request.
    InSlots(Arc<Slots>),
    /// Not at all: the one deletion was done at this revision, and what is read is as it was before.
    Replayed(u64),
}

/// The store as the verbs use it.
#[derive(Clone)]
pub struct Storage {
    client: StoreClient,
    seal: SealPolicy,
    timeout: Duration,
    member_name: MemberName,
    writes: Writes,
}

impl Storage {
    /// A view of `client` with a deadline for each trip to consensus.
    pub fn new(client: StoreClient, seal: SealPolicy, timeout: Duration, member_name: MemberName) -> Self {
        Self {
            client,
            seal,
            timeout,
            member_name,
            writes: Writes::Proposed(None),
        }
    }

    /// The same, with writes that only the term of `fence` takes.
    pub fn fenced(&self, fence: Fence) -> Self {
        self.writing(Writes::Proposed(Some(fence.0)))
    }

    /// The same, with writes in the slots of a forwarded request.
    pub(crate) fn in_slots(&self, slots: Arc<Slots>) -> Self {
        self.writing(Writes::InSlots(slots))
    }

    /// As it was before `revision`, which deleted something. A verb that runs on it does the same and writes nothing.
    pub(crate) fn replaying(&self, revision: u64) -> Self {
        self.writing(Writes::Replayed(revision))
    }

    /// Whether a verb only finds out on it what it has answered.
    pub(crate) fn is_replaying(&self) -> bool {
        matches!(self.writes, Writes::Replayed(_))
    }

    fn writing(&self, writes: Writes) -> Self {
        Self { writes, ..self.clone() }
    }

    /// What became of an id of a forwarded request, for good.
    pub(crate) async fn settle(&self, request: RequestId) -> Result<Settled, WriteError> {
        self.client.settle(request, self.timeout).await
    }

    /// Waits until this replica has applied a revision that is known to be committed.
    pub(crate) async fn wait_for(&self, revision: u64) -> bool {
        self.client.store.wait_revision(revision, self.timeout).await
    }

    /// A key as the write of `revision` left it, if this replica can still tell.
    pub(crate) fn written_at(&self, key: &Bytes, revision: u64) -> Result<Option<KeyValue>, Status> {
        let written = match self.client.store.get(key) {
            Some(newest) if newest.mod_revision == revision => Some(newest),
            _ => self.at(key.clone(), revision)?,
        };
        Ok(written.filter(|kv| kv.mod_revision == revision))
    }

    fn at(&self, key: Bytes, revision: u64) -> Result<Option<KeyValue>, Status> {
        let request = RangeRequest::new(KeyRange::key(key)).at(revision);
        let found = self.range(&request).map_err(|e| Status::unavailable(&e.to_string()))?;
        Ok(found.kvs.into_iter().next())
    }

    /// The store client below.
    pub fn client(&self) -> &StoreClient {
        &self.client
    }

    /// Whether objects of the resource are sealed.
    pub fn is_sealed(&self, resource: &Resource) -> bool {
        let plural = &*resource.plural;
        let qualified = || format!("{plural}.{}", resource.group);
        self.seal
            .resources
            .iter()
            .any(|r| r == plural && resource.group.is_empty() || *r == qualified())
    }

    /// The 503 of a failed read index.
    pub fn read_status(&self, error: &ReadError) -> Status {
        Status::read(error, |id| (self.member_name)(id))
    }

    /// Waits until this replica is as fresh as a read at `revision` needs (`None`: linearizable, 0: anything).
    /// Without a quorum the read goes on, stale.
    /// [`Freshness::Unconfirmed`] is for the caller to judge.
    pub async fn prepare_read(&self, revision: Option<u64>) -> Result<Freshness, Status> {
        match revision {
            Some(0) => {
                let status = self.client.consensus.status();
                Ok(if status.quorum {
                    Freshness::Fresh
                } else {
                    let names = status
                        .missing
                        .iter()
                        .map(|id| (self.member_name)(id))
                        .collect::<Vec<_>>();
                    Freshness::Stale(stale_text(&names))
                })
            }
            Some(revision) => {
                if self.client.store.wait_revision(revision, FUTURE_REVISION_WAIT).await {
                    Ok(Freshness::Fresh)
                } else {
                    Err(Status::too_large_revision(revision, self.client.store.revision()))
                }
            }
            None => match self.linearize().await {
                Ok(()) => Ok(Freshness::Fresh),
                Err(ReadError::NoQuorum { missing, .. }) => {
                    let names = missing.iter().map(|id| (self.member_name)(id)).collect::<Vec<_>>();
                    Ok(Freshness::Stale(stale_text(&names)))
                }
                Err(ReadError::Timeout { .. }) => Ok(Freshness::Unconfirmed(
                    "stale read: this replica may be behind the others".into(),
                )),
            },
        }
    }

    /// Returns once everything committed before the call is visible here.
    pub async fn linearize(&self) -> Result<(), ReadError> {
        self.client.linearizable(self.timeout).await.map(drop)
    }

    /// The newest version of an object on this replica.
    pub fn get(&self, key: &str) -> Result<Option<Stored>, Status> {
        let found = match self.writes {
            Writes::Replayed(revision) => {
                self.at(Bytes::copy_from_slice(key.as_bytes()), revision.saturating_sub(1))?
            }
            Writes::Proposed(_) | Writes::InSlots(_) => self.client.store.get(key.as_bytes()),
        };
        found.map(|kv| self.open(&kv)).transpose()
    }

    /// Revision of the newest version of a key on this replica.
    pub fn revision_of(&self, key: &str) -> Option<u64> {
        self.client.store.get(key.as_bytes()).map(|kv| kv.mod_revision)
    }

    /// Reads a range on this replica.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, StoreError> {
        self.client.store.range(request)
    }

    /// All keys that begin with `prefix`.
    pub fn list(&self, prefix: &str) -> Result<RangeResponse, Status> {
        let request = RangeRequest::new(KeyRange::prefix(prefix.to_owned()));
        self.range(&request).map_err(|e| Status::internal(&e))
    }

    /// The object in a stored value.
    pub fn open(&self, kv: &KeyValue) -> Result<Stored, Status> {
        let bytes = self.open_value(&kv.key, &kv.value, kv.mod_revision)?;
        Ok(Stored {
            bytes,
            revision: kv.mod_revision,
        })
    }

    /// The JSON in a stored value: the value itself, or what was sealed in it.
    pub fn open_value(&self, key: &[u8], value: &Bytes, revision: u64) -> Result<Bytes, Status> {
        let Some(rest) = value.strip_prefix(MAGIC) else {
            return Ok(value.clone());
        };
        let Some((offset, sealed)) = rest.split_at_checked(4) else {
            return Err(Status::internal("a sealed value is cut short"));
        };
        let offset = u32::from_le_bytes(offset.try_into().unwrap_or_default());
        let plain = self.seal.sealer.open(key, sealed).map_err(Status::internal)?;
        Ok(object::splice(&plain, offset, revision))
    }

    /// The operation that writes an object.
    pub fn put(&self, resource: &Resource, key: &str, encoded: &Encoded) -> Result<Op, Status> {
        if !self.is_sealed(resource) {
            return Ok(Op::put_spliced(key.to_owned(), encoded.bytes.clone(), encoded.splice));
        }
        let sealed = self
            .seal
            .sealer
            .seal(key.as_bytes(), &encoded.bytes)
            .map_err(Status::internal)?;
        let mut value = Vec::with_capacity(MAGIC.len() + 4 + sealed.len());
        value.extend_from_slice(MAGIC);
        value.extend_from_slice(&encoded.splice.to_le_bytes());
        value.extend_from_slice(&sealed);
        Ok(Op::put(key.to_owned(), value))
    }

    /// Writes an object whose key must be at revision `expected` (0: absent), and gives the new revision.
    pub async fn write(
        &self,
        resource: &Resource,
        key: &str,
        encoded: &Encoded,
        expected: u64,
        along: Along,
    ) -> Result<u64, WriteFailure> {
        let mut ops = vec![self.put(resource, key, encoded).map_err(WriteFailure::Status)?];
        if expected == 0 && matches!(self.writes, Writes::InSlots(_)) {
            // A generated name is nowhere but in the answer.
            ops.push(Op::Range(RangeRequest {
                keys_only: true,
                ..RangeRequest::new(KeyRange::key(key.to_owned()))
            }));
        }
        self.change(key, ops, expected, along).await
    }

    /// Deletes an object whose key must be at revision `expected`.
    pub async fn delete(&self, key: &str, expected: u64, along: Along) -> Result<u64, WriteFailure> {
        if let Writes::Replayed(revision) = self.writes {
            return Ok(revision);
        }
        self.change(key, vec![Op::delete(key.to_owned())], expected, along)
            .await
    }

    /// The operations that write several new objects at once, and the conditions under which they may.
    pub fn create_ops(&self, items: &[(&Resource, String, Encoded)]) -> Result<(Vec<Compare>, Vec<Op>), Status> {
        let compares = items.iter().map(|(_, key, _)| Compare::absent(key.clone())).collect();
        let ops = items
            .iter()
            .map(|(resource, key, encoded)| self.put(resource, key, encoded));
        Ok((compares, ops.collect::<Result<_, _>>()?))
    }

    /// Runs a transaction; says whether its conditions held.
    pub async fn txn(&self, txn: Txn, fence: Option<u64>) -> Result<bool, Status> {
        self.client
            .txn(txn, fence, self.timeout)
            .await
            .map(|r| r.succeeded)
            .map_err(|e| self.write_status(e))
    }

    async fn change(&self, key: &str, mut ops: Vec<Op>, expected: u64, along: Along) -> Result<u64, WriteFailure> {
        let mut compares = vec![Compare::mod_revision(key.to_owned(), expected)];
        compares.extend(along.compares);
        ops.extend(along.ops);
        let txn = Txn {
            compares,
            success: ops,
            failure: vec![Op::get(key.to_owned())],
        };
        let response = self.commit(txn).await.map_err(WriteFailure::Status)?;
        if response.succeeded {
            return Ok(response.revision);
        }
        let current = response.results.into_iter().find_map(|result| match result {
            OpResult::Range(range) => range.kvs.into_iter().next(),
            _ => None,
        });
        match current {
            Some(kv) if kv.mod_revision == expected => Err(WriteFailure::Guarded),
            None if expected == 0 => Err(WriteFailure::Guarded),
            Some(kv) => Err(WriteFailure::Conflict(Some(
                self.open(&kv).map_err(WriteFailure::Status)?,
            ))),
            None => Err(WriteFailure::Conflict(None)),
        }
    }

    async fn commit(&self, txn: Txn) -> Result<TxnResponse, Status> {
        let (client, timeout) = (&self.client, self.timeout);
        let slots = match &self.writes {
            Writes::Proposed(fence) => {
                let response = client.txn(txn, *fence, timeout).await;
                return response.map_err(|e| self.write_status(e));
            }
            Writes::InSlots(slots) => slots,
            Writes::Replayed(_) => return Err(Status::unavailable("what was done cannot be told any more")),
        };
        // Before a slot is used: what is refused here was never proposed.
        let txn = client.prepare(txn).map_err(|e| self.write_status(e.into()))?;
        slots.propose(client, txn, timeout).await.map_err(|error| match error {
            SlotError::Write(error) => self.write_status(error),
            SlotError::Exhausted => Status::unavailable("the object changes too often"),
            SlotError::Closed => Status::outcome_unknown("an earlier step of it was not answered"),
            SlotError::Overtaken => Status::outcome_unknown("another member has taken the request over"),
        })
    }

    fn write_status(&self, error: WriteError) -> Status {
        match error {
            WriteError::Propose(error) => Status::propose(&error, |id| (self.member_name)(id)),
            WriteError::Store(error @ StoreError::TooLarge { .. }) => Status::entry_too_large(&error.to_string()),
            error => Status::internal(error),
        }
    }
}

fn stale_text(missing: &[String]) -> String {
    let who = if missing.is_empty() {
        String::new()
    } else {
        format!(", missing voters: {}", missing.join(", "))
    };
    format!("stale read: no quorum{who}; this replica may be behind")
}
