//! Validation that every kind shares; per-kind validation slots in beside it.

pub mod immutable;
pub mod meta;
pub mod names;
