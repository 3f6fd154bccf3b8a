//! The API in process: requests through the service over a store of one replica.

mod auditing;
mod custom;
mod door;
mod failures;
mod fairness;
mod harness;
mod objects;
mod policies;
mod protobuf;
mod reading;
mod repeating;
mod services;
mod watching;
