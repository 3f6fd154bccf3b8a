//! Consensus: the pinned library's types stay inside this module.

pub mod codec;
pub mod leadership;
pub mod log_store;
pub mod machine;
pub mod network;
pub mod replica;
pub mod service;
pub mod types;
