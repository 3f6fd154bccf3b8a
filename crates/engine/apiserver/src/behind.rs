//! Reads that a replica cannot vouch for are handed on.
//!
//! A replica that hears its cluster but cannot catch up with it (it is just being taken out, say, and nobody told it
//! yet) must not answer a read that asks for the newest state, though there is a quorum. It gives the request back with
//! [`BEHIND`], and whoever holds the request asks the next replica. When no other replica knows more, the first is
//! asked once more with [`TAKE_STALE`], and answers from what it has, marked as stale.

use http::{HeaderMap, HeaderName, HeaderValue};

/// On an answer that is none: this replica may be behind. Begins with [`crate::identity::PREFIX`].
const BEHIND: HeaderName = HeaderName::from_static("x-engenho-behind");

/// On a request that takes what there is. Begins with [`crate::identity::PREFIX`], so that the door strips it.
const TAKE_STALE: HeaderName = HeaderName::from_static("x-engenho-take-stale");

/// Marks an answer as none.
pub(crate) fn mark(headers: &mut HeaderMap) {
    headers.insert(BEHIND, HeaderValue::from_static("1"));
}

/// Takes the mark off an answer, and says whether it was there.
pub fn take_behind(headers: &mut HeaderMap) -> bool {
    headers.remove(BEHIND).is_some()
}

/// Makes a request one that takes what the replica has.
pub fn take_stale(headers: &mut HeaderMap) {
    headers.insert(TAKE_STALE, HeaderValue::from_static("1"));
}

/// Whether a request takes what the replica has.
pub(crate) fn takes_stale(headers: &HeaderMap) -> bool {
    headers.contains_key(TAKE_STALE)
}
