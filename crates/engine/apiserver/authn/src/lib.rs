//! Bearer tokens: the keys and claims of service accounts, bootstrap tokens, and what they prove.
//!
//! Nothing here reads a clock, a file or a socket: the time and the objects that a token is bound to come from the
//! caller. Only keys and signatures take random bytes, from the operating system.
//!
//! - [`TokenKeys`]: the key that signs tokens of service accounts, and those that verify them.
//! - [`Issuer`]: issues tokens of service accounts and says whose one is.
//! - [`bootstrap`]: tokens of machines that join.
//! - [`structured`]: tokens of identity providers, by an AuthenticationConfiguration.

pub mod bootstrap;
mod jose;
mod keys;
pub mod legacy;
mod objects;
#[cfg(test)]
mod properties;
pub mod service_account;
pub mod structured;
mod verdict;

pub use keys::{KeysError, TokenKeys};
pub use objects::{Objects, data, encode};
pub use service_account::{Grant, Issuer, Reference};
pub use verdict::{Accepted, Rejected, common_audiences};

/// Longest token that is looked at, bytes. A longer one is nobody's.
pub const TOKEN_BYTES_MAX: usize = 64 * 1024;
