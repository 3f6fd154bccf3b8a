//! What a simulated run of whole members observed, and the invariants it is held against.
//!
//! Nothing here runs anything: a [`Record`](record::Record) goes in, the first broken invariant comes out.

pub mod record;
