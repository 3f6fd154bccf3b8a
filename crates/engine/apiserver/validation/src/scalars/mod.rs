//! Values that have a syntax of their own: quantities, percentages, addresses, ports, paths, names of keys and variables.

pub mod addresses;
pub mod formats;
pub mod json_syntax;
pub mod paths;
pub mod signers;
pub mod timing;
