//! The store as its users see it, against a naive model.

mod model;
mod restart;
mod watching;
