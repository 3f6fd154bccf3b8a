//! The local socket: how commands on this machine speak with the member that runs here.
//!
//! HTTP/1.1 with JSON over the Unix socket `DATA_DIR/engenho.sock` (mode 0600, in a directory of mode 0700). Only the
//! owner of the process and root are answered.

pub mod api;
mod client;
mod server;
mod socket;
mod wire;

pub use client::Client;
pub use server::serve;
pub use socket::is_answered;

#[cfg(test)]
mod tests;
