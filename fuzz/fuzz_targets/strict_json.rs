//! Bodies of requests: strict JSON that reports what is given twice.
#![no_main]

use engenho_patch::decode::{json, json_untyped};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let typed = json(bytes);
    let untyped = json_untyped(bytes);
    assert_eq!(typed.is_ok(), untyped.is_ok());
});
