//! The controllers against a real API server and a consensus of one.

mod namespaces;
mod nodes;
mod quotas;
mod root_ca;
mod service_accounts;
mod terms;
mod world;
