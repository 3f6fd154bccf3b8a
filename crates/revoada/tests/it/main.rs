//! Members over real QUIC on loopback, with a small replicated list in place of the engine.

mod cluster;
mod harness;
