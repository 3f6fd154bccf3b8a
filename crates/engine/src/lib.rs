//! Facade of the Kubernetes runtime: the crates that the binary composes, under one name each.

pub use engenho_apiserver as apiserver;
pub use engenho_authn as authn;
pub use engenho_authz as authz;
pub use engenho_catalog as catalog;
pub use engenho_control as control;
pub use engenho_patch as patch;
pub use engenho_pki as pki;
pub use engenho_store as store;
