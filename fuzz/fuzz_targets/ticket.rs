//! Whatever is read as a ticket is written again as the same ticket.
#![no_main]

use libfuzzer_sys::fuzz_target;
use revoada_core::ticket::Ticket;

fuzz_target!(|text: &str| {
    if let Ok(ticket) = text.parse::<Ticket>() {
        let again = ticket.encode().and_then(|text| text.parse::<Ticket>());
        assert!(again.as_ref() == Ok(&ticket));
    }
});
