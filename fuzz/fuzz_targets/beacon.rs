//! Beacons come from anybody on the network segment.
#![no_main]

use libfuzzer_sys::fuzz_target;
use revoada_core::ClusterId;
use revoada_mesh::beacon::Beacon;

fuzz_target!(|input: (u64, &[u8])| {
    let (now_ms, datagram) = input;
    if let Ok(beacon) = Beacon::decode(datagram, ClusterId([7; 32]), now_ms) {
        let _ = beacon.verify();
    }
});
