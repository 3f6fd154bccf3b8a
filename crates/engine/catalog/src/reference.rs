//! Reference data for tests: documents of an upstream server, if they are on this machine.

use std::path::PathBuf;

use serde_json::Value;

/// A document, by its path below the reference folder. Says so and returns nothing if the folder isn't there: the tests
/// that compare with it then hold only the checks that need no reference.
pub(crate) fn json(path: &str) -> Option<Value> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/k8s-1.34");
    if !root.is_dir() {
        println!("not compared: {path} (no reference data at {})", root.display());
        return None;
    }
    let bytes = std::fs::read(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    Some(serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{path}: {error}")))
}
