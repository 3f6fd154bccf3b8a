//! A checkpoint that is accepted has one spelling: the one it came in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use revoada_core::chain::Checkpoint;

fuzz_target!(|text: &str| {
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(checkpoint.to_string(), text);
    }
});
