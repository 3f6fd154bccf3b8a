//! Meshes with real sockets on loopback.

mod discovery;
mod gossip;
mod join;
mod links;
mod refusals;
mod support;
