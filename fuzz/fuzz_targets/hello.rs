//! The frames with which members greet each other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use revoada_mesh::wire::{decode_hello, decode_verdict};

fuzz_target!(|frame: &[u8]| {
    let _ = decode_hello(frame);
    let _ = decode_verdict(frame);
});
