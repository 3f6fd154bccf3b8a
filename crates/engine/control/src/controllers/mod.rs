//! The controllers, one folder each.

mod active;
mod apiservices;
mod authentication;
mod bootstrap;
mod clusterroles;
mod compaction;
mod definitions;
mod events;
mod flowcontrol;
mod leases;
mod namespaces;
mod nodes;
mod protection;
mod quota;
mod rootca;
mod serviceaccounts;
mod tokens;

pub(crate) use apiservices::ApiServices;
pub(crate) use authentication::Authentication;
pub(crate) use bootstrap::Bootstrap;
pub(crate) use clusterroles::ClusterRoles;
pub(crate) use compaction::Compaction;
pub(crate) use definitions::Definitions;
pub(crate) use events::Events;
pub(crate) use flowcontrol::FlowControl;
pub(crate) use leases::Leases;
pub(crate) use namespaces::Namespaces;
pub(crate) use nodes::Nodes;
pub(crate) use protection::Protection;
pub(crate) use quota::Quotas;
pub(crate) use rootca::RootCa;
pub(crate) use serviceaccounts::ServiceAccounts;
pub(crate) use tokens::Tokens;
