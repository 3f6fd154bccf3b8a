//! Validation of objects of built-in kinds: pure functions over JSON, one module a group of kinds. Paths, reasons, texts
//! and their order are those of Kubernetes 1.34, so that the Status bodies match.

mod field;

pub use field::{FieldError, Path};
