//! Integration tests: patches and managed fields with the schemas of built-in kinds.

mod apply;
mod golden;
mod laws;
