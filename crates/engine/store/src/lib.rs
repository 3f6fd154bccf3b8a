//! Revisioned key-value state machine with watch, after etcd's model.
//!
//! Every transaction that writes takes exactly one new revision. Current values live in memory once, as
//! [`bytes::Bytes`]; versions within the compaction window are in a local history on disk that is never
//! waited for: the Raft log is the truth. [`Store`] is the replicated state machine
//! ([`revoada_core::consensus::Application`]) and its read side; [`StoreClient`] writes through consensus.

mod client;
mod command;
mod compaction;
mod history;
mod image;
mod lease;
mod model;
mod response;
mod ring;
mod state;
mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod txn;
mod watch;

pub use client::{PreparedTxn, Settled, StoreClient, WriteError};
pub use command::{Compare, CompareResult, CompareTarget, DecodeError, Op, StoreCommand, Txn, splice_revision};
pub use compaction::{COMPACTION_WINDOW, RevisionSample, RevisionSamples, plan_compaction};
pub use lease::{LeaseClock, LeaseInfo};
pub use model::{Event, EventKind, KeyRange, KeyValue, Previous, RangeRequest, RangeResponse};
pub use response::{OpResult, StoreError, StoreResponse, TxnResponse};
pub use ring::registry_prefix;
pub use store::{HashKv, Store, StoreOptions, StoreStats};
pub use watch::{WatchBatch, WatchError, Watcher};
