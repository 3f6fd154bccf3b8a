//! Kinds of `networking.k8s.io`.

pub(crate) mod addresses;
pub(crate) mod ingress;
pub(crate) mod ingress_class;
pub(crate) mod policy;
