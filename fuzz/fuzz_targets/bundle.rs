//! A bundle is read and verified, or refused; never more than that.
#![no_main]

use libfuzzer_sys::fuzz_target;
use revoada_core::chain::{Bundle, verify_bundle};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(bundle) = Bundle::from_json(bytes) {
        let _ = verify_bundle(&bundle, None);
    }
});
