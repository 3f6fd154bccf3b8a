//! The controllers against a real API server and a consensus of one.

mod api_services;
mod flow_control;
mod namespaces;
mod nodes;
mod protection;
mod quotas;
mod root_ca;
mod service_accounts;
mod terms;
mod tokens;
mod world;
