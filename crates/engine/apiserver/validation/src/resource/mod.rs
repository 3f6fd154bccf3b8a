//! Kinds of `resource.k8s.io`. Whether selectors compile is not looked at here.

pub(crate) mod claims;
pub(crate) mod classes;
mod common;
mod shapes;
pub(crate) mod slices;
mod status;
