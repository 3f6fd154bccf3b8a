//! Kinds of `storage.k8s.io`.

pub(crate) mod attachment;
pub(crate) mod class;
pub(crate) mod csi;
