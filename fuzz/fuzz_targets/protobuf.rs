//! Objects in Kubernetes' protobuf form: what is decoded can be encoded again.
#![no_main]

use engenho_protobuf::{decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(object) = decode(bytes, None) {
        let _ = encode(&object);
    }
});
