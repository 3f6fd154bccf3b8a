//! What commands print: errors, tables, progress.

mod chain;
mod error;
pub mod progress;
mod status;
mod text;

pub use chain::{ChainNames, block_view, formation_words, log_table, show_block, show_genesis};
pub use error::CommandError;
pub use status::{changes, status_json, status_table};
pub use text::{bytes, clean, duration, plural, print, rfc3339, table};

#[cfg(test)]
pub use chain::tests::bundle as example_bundle;
#[cfg(test)]
pub use status::tests::status as example_status;
