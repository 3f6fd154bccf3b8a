//! A command that is decoded is encoded as something that decodes to it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use revoada_core::command::Command;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(command) = Command::decode(bytes)
        && let Ok(encoded) = command.encode()
    {
        assert_eq!(Command::decode(&encoded), Ok(command));
    }
});
