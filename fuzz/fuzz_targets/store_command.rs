//! Commands of the store, as they stand in the log.
#![no_main]

use engenho_store::StoreCommand;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(command) = StoreCommand::decode(bytes) {
        let _ = command.validate(1024);
        if let Ok(encoded) = command.encode() {
            assert!(StoreCommand::decode(&encoded).is_ok());
        }
    }
});
