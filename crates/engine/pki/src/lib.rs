//! Cluster certificate authority, serving and client certificates, kubeconfigs, sealing of secrets.
