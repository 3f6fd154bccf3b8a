//! Forwarded writes that can be sent again: the client gets the one true answer though a replica died on the way.
//!
//! A member without a replica sends each write with a block of its own request numbers ([`Attempt`]). When the replica
//! that it asked is gone, or does not know what became of its proposal, it sends the request to another one as the
//! next attempt. What makes that safe:
//!
//! 1. Each attempt has its own numbers (slots), used one after the other, and only by the one replica that got this
//!    attempt. It goes on to the next slot only when the log told it that the transaction in the last one wrote
//!    nothing: its compares did not hold. After one that wrote, or whose outcome it does not know, it proposes nothing
//!    more ([`Slots`]). So an attempt writes at most once, and what it did is told by the first of its slots that did
//!    not fail.
//! 2. Before anything else, attempt `n` settles the slots of the attempts before it
//!    ([`engenho_store::StoreClient::settle`]): in each of them it proposes a transaction without steps, until it meets
//!    one that wrote, or one that is void. Void means that the attempt has done nothing and never will: what it has in
//!    flight finds its slot taken, and by the first rule it then stops. It makes no difference who voided the slot,
//!    and a replica that is slow but alive is stopped like one that is dead.
//! 3. If an earlier attempt wrote, the answer is made from what it wrote, and the request is not evaluated again: a
//!    create would find its own object. Uid, generated name and times are those of the first attempt. The remembered
//!    answer gives the revision and, where only the first attempt chose the name, the key; the object is read at that
//!    revision. Of an object that was deleted, the verb runs over the state of one revision earlier, without writing.
//!    If the answer cannot be made (the revision is compacted, say), the client is told that the outcome is unknown,
//!    never that the request failed.
//! 4. If none wrote, the request is evaluated like a new one.
//!
//! This holds for every request that changes one object. A `deletecollection` writes several times: its first attempt
//! takes no numbers, and a further one is refused. The numbers are the origin's, and only itself can send them: the
//! origin is the authenticated peer, and the door strips the header from what comes from outside.

use std::sync::Arc;

use bytes::Bytes;
use engenho_store::{OpResult, PreparedTxn, Settled, StoreClient, TxnResponse, WriteError};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use parking_lot::Mutex;
use revoada_core::MemberId;
use revoada_core::command::RequestId;
use revoada_core::consensus::ProposeError;

use crate::body::Body;
use crate::context::Context;
use crate::pipeline;
use crate::request::RequestInfo;
use crate::server::Inner;
use crate::status::Status;
use crate::verbs::get::served;
use crate::{aggregate, scale, subresource};

/// Begins with [`crate::identity::PREFIX`], so that the door strips it.
const ATTEMPT: HeaderName = HeaderName::from_static("x-engenho-attempt");

/// On an answer whose sender does not know what became of the write.
const UNCLEAR: HeaderName = HeaderName::from_static("x-engenho-unclear");

/// Transactions that one attempt can propose: more than any verb tries after conflicts.
const SLOTS: u64 = 16;

/// One attempt at a forwarded write. In the extensions of a request that came over the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    first: RequestId,
    number: u64,
}

/// The header of an attempt is none of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} names no attempt at a forwarded request")]
pub struct MalformedAttempt {
    /// What it says.
    pub text: String,
}

impl Attempt {
    /// Most attempts at one request.
    pub const MAX: u64 = 4;

    /// How many request numbers all attempts at one request take together.
    pub const NUMBERS: u64 = Self::MAX * SLOTS;

    /// The first attempt. The sender has set [`Attempt::NUMBERS`] numbers aside, beginning with `first`.
    pub const fn first(first: RequestId) -> Self {
        Self { first, number: 1 }
    }

    /// The one after this, if there may be one.
    pub fn next(self) -> Option<Self> {
        let number = self.number + 1;
        (number <= Self::MAX).then_some(Self { number, ..self })
    }

    /// Writes it into the headers of a forwarded request.
    pub fn to_headers(&self, headers: &mut HeaderMap) {
        let text = format!("{}.{}.{}", self.first.boot, self.first.seq, self.number);
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(ATTEMPT, value);
        }
    }

    /// Takes it out of the headers of a request that `peer` sent over the mesh: the numbers are always the sender's own.
    pub fn from_headers(headers: &mut HeaderMap, peer: MemberId) -> Result<Option<Self>, MalformedAttempt> {
        let Some(value) = headers.remove(ATTEMPT) else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let mut parts = text.split('.').map(str::parse::<u64>);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(boot)), Some(Ok(seq)), Some(Ok(number)), None)
                if (1..=Self::MAX).contains(&number) && seq.checked_add(Self::NUMBERS).is_some() =>
            {
                let origin = peer;
                let first = RequestId { origin, boot, seq };
                Ok(Some(Self { first, number }))
            }
            _ => Err(MalformedAttempt { text }),
        }
    }

    fn slot(&self, slot: u64) -> RequestId {
        self.first.after((self.number - 1) * SLOTS + slot)
    }

    fn earlier(&self) -> impl Iterator<Item = Self> {
        let first = self.first;
        (1..self.number).map(move |number| Self { first, number })
    }
}

/// Takes the mark off an answer of a replica that does not know what became of its write, and says whether it was there.
pub fn take_unclear(headers: &mut HeaderMap) -> bool {
    headers.remove(UNCLEAR).is_some()
}

/// What became of the transaction in the newest slot of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Newest {
    /// There was none, or it wrote nothing: the next slot may be used.
    Over,
    /// It was proposed.
    InDoubt,
    /// The attempt has done what it could: no further slot is used.
    Last,
}

/// The slots of one attempt, while a replica works on it.
#[derive(Debug)]
pub struct Slots {
    attempt: Attempt,
    state: Mutex<(u64, Newest)>,
}

/// Why a transaction in a slot has no answer.
#[derive(Debug)]
pub(crate) enum SlotError {
    /// As of any proposal.
    Write(WriteError),
    /// The transactions in all slots failed; nothing was written.
    Exhausted,
    /// An earlier transaction of the attempt was done, or nobody knows; this one was not proposed.
    Closed,
    /// A later attempt voided the slot: the transaction was not and will not be applied.
    Overtaken,
}

impl Slots {
    pub(crate) fn new(attempt: Attempt) -> Self {
        Self {
            attempt,
            state: Mutex::new((0, Newest::Over)),
        }
    }

    /// Proposes a transaction in the next slot. Dropped midway it leaves the slot in doubt.
    pub(crate) async fn propose(
        &self,
        client: &StoreClient,
        txn: PreparedTxn,
        deadline: std::time::Duration,
    ) -> Result<TxnResponse, SlotError> {
        let slot = {
            let mut state = self.state.lock();
            let (slot, newest) = *state;
            if newest != Newest::Over {
                return Err(SlotError::Closed);
            }
            if slot >= SLOTS {
                return Err(SlotError::Exhausted);
            }
            *state = (slot + 1, Newest::InDoubt);
            slot
        };
        let answer = client.txn_as(self.attempt.slot(slot), txn, deadline).await;
        let newest = match &answer {
            Ok(Some(txn)) if !txn.succeeded => Newest::Over,
            Err(WriteError::Store(_)) => Newest::Over,
            Ok(_) => Newest::Last,
            Err(WriteError::Propose(ProposeError::Unknown { .. })) => Newest::InDoubt,
            // Refused for a reason that another replica would give as well.
            Err(_) => Newest::Last,
        };
        self.state.lock().1 = newest;
        match answer {
            Ok(Some(txn)) => Ok(txn),
            Ok(None) => Err(SlotError::Overtaken),
            Err(error) => Err(SlotError::Write(error)),
        }
    }

    fn is_in_doubt(&self) -> bool {
        self.state.lock().1 == Newest::InDoubt
    }
}

/// What an earlier attempt wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Applied {
    /// The revision of the write.
    pub revision: u64,
    /// Whether it was a deletion.
    pub deleted: bool,
    /// The key, if it was a creation.
    pub key: Option<Bytes>,
}

impl Applied {
    fn of(txn: &TxnResponse) -> Self {
        let key = txn.results.iter().find_map(|result| match result {
            OpResult::Range(range) => range.kvs.first().map(|kv| kv.key.clone()),
            _ => None,
        });
        Self {
            revision: txn.revision,
            deleted: matches!(txn.results.first(), Some(OpResult::DeleteRange { .. })),
            key,
        }
    }
}

/// How a request goes its way.
#[derive(Clone)]
pub(crate) enum Course {
    /// It was not forwarded, or cannot be repeated.
    Plain,
    /// Its transactions go into these slots.
    Slots(Arc<Slots>),
    /// It was done: only the answer is missing.
    Applied(Arc<Applied>),
    /// It cannot be repeated, and an earlier attempt may have done something.
    HalfDone,
}

/// Settles what earlier attempts did.
pub(crate) async fn begin(server: &Inner, info: &RequestInfo, attempt: Attempt) -> Result<Course, Status> {
    // What a server elsewhere did leaves no trace in this store.
    let is_ours = aggregate::remote(server, &info.path)?.is_none();
    let is_write = matches!(&*info.verb, "create" | "update" | "patch" | "delete");
    let is_repeatable = info.resource_request && is_write && is_ours;
    if !is_repeatable {
        return match attempt.number {
            1 => Ok(Course::Plain),
            _ => Ok(Course::HalfDone),
        };
    }
    for earlier in attempt.earlier() {
        for slot in 0..SLOTS {
            match server.storage.settle(earlier.slot(slot)).await {
                Ok(Settled::Void) => break,
                Ok(Settled::Failed) => {}
                Ok(Settled::Done(txn)) => return Ok(Course::Applied(Arc::new(Applied::of(&txn)))),
                Err(error) => return Err(Status::outcome_unknown(&error.to_string())),
            }
        }
    }
    Ok(Course::Slots(Arc::new(Slots::new(attempt))))
}

/// Sees to it that an answer claims nothing about the write that is not known.
pub(crate) fn finish(course: &Result<Course, Status>, response: &mut Response<Body>) {
    let mark = HeaderValue::from_static("1");
    let failed = !response.status().is_success();
    match course {
        Ok(Course::Slots(slots)) if failed && slots.is_in_doubt() => {
            response.headers_mut().insert(UNCLEAR, mark);
        }
        Ok(Course::Applied(applied)) if failed => {
            let text = format!(
                "it was done at revision {}, but the answer to it is lost (now: {})",
                applied.revision,
                response.status()
            );
            *response = Status::outcome_unknown(&text).into_response();
            response.headers_mut().insert(UNCLEAR, mark);
        }
        Err(_) => {
            response.headers_mut().insert(UNCLEAR, mark);
        }
        Ok(_) => {}
    }
}

/// Answers a request that an earlier attempt has done.
pub(crate) async fn answer(context: &Context, applied: &Applied) -> Result<Response<Body>, Status> {
    let (info, storage) = (&context.info, context.storage());
    if !storage.wait_for(applied.revision).await {
        return Err(Status::unavailable("this replica is behind"));
    }
    if !context.resource.is_stored() || matches!(&*info.subresource, "binding" | "eviction") {
        return Ok(subresource::done(context));
    }
    if applied.deleted {
        return pipeline::verb(context).await;
    }
    let own_key;
    let key = match &applied.key {
        Some(key) => key,
        None => {
            own_key = Bytes::from(context.key(&info.path_name));
            &own_key
        }
    };
    let written = storage
        .written_at(key, applied.revision)?
        .ok_or_else(|| Status::unavailable("this replica cannot read the object as it was written"))?;
    let object = served(context, &storage.open(&written)?.bytes).await?;
    if info.subresource == "scale" {
        return Ok(context.plain(StatusCode::OK, &scale::of(context, &object)));
    }
    let code = if written.create_revision == written.mod_revision {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    context.object(code, &object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt() -> Attempt {
        Attempt::first(RequestId {
            origin: MemberId([3; 32]),
            boot: 7,
            seq: 65,
        })
    }

    #[test]
    fn no_two_attempts_share_a_number() {
        let mut seen = std::collections::BTreeSet::new();
        let mut last = Some(attempt());
        while let Some(attempt) = last {
            for slot in 0..SLOTS {
                assert!(seen.insert(attempt.slot(slot).seq));
            }
            last = attempt.next();
        }
        assert_eq!(seen.len() as u64, Attempt::NUMBERS);
        assert_eq!(seen.first(), Some(&65));
        assert_eq!(seen.last(), Some(&(64 + Attempt::NUMBERS)));
    }

    #[test]
    fn an_attempt_is_always_its_senders_own() {
        let second = attempt().next().unwrap();
        let mut headers = HeaderMap::new();
        second.to_headers(&mut headers);
        let read = Attempt::from_headers(&mut headers.clone(), MemberId([3; 32]));
        assert_eq!(read, Ok(Some(second)));
        let other = Attempt::from_headers(&mut headers, MemberId([4; 32])).unwrap().unwrap();
        assert_eq!(other.first.origin, MemberId([4; 32]));
        assert!(headers.is_empty());
        assert_eq!(Attempt::from_headers(&mut headers, MemberId([4; 32])), Ok(None));
        let max = u64::MAX;
        for text in [
            "",
            "1.2",
            "1.2.0",
            "1.2.5",
            "1.2.3.4",
            "-1.2.3",
            &format!("1.{max}.1"),
            "a.b.c",
        ] {
            headers.insert(ATTEMPT, HeaderValue::from_str(text).unwrap());
            assert!(
                Attempt::from_headers(&mut headers, MemberId([4; 32])).is_err(),
                "{text}"
            );
        }
        second.to_headers(&mut headers);
        crate::identity::strip_headers(&mut headers);
        assert!(headers.is_empty());
    }
}
