//! Real `engenho` processes on loopback: what a user relies on, end to end.
//!
//! One test at a time: a cluster of nine on two cores needs them for itself. docs/TESTING.md says which promise is
//! checked where.

mod bad_input;
mod clock;
mod five;
mod forwarding;
mod kubectl;
mod nine;
mod one;
mod support;
mod three;
mod tickets;
mod verbs;
mod witness;
