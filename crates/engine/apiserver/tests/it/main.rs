//! The API in process: requests through the service over a store of one replica.

mod aggregation;
mod auditing;
mod authorizing;
mod conversion;
mod custom;
mod door;
mod failures;
mod fairness;
mod harness;
mod identity_providers;
mod objects;
mod outbound;
mod policies;
mod protobuf;
mod reading;
mod repeating;
mod services;
mod tls_server;
mod tokens;
mod watching;
mod webhooks;
mod yaml;
mod zeros;
