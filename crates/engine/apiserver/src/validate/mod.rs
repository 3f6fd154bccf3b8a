//! Validation that every kind shares; that of each built-in kind is a crate of its own.

pub mod meta;
