//! Cluster certificate authority, serving and client certificates, kubeconfigs, sealing of secrets.
//!
//! - [`ClusterCa`]: the X.509 authority that Kubernetes clients trust; issues leaves and signs requests.
//! - [`rotate`]: when to renew, and holders that TLS servers read, so that a renewal needs no restart.
//! - [`kubeconfig`]: what clients are given.
//! - [`SecretSealer`]: encryption of values before they enter the log.

pub mod ca;
mod der;
pub mod kubeconfig;
pub mod leaf;
pub mod names;
pub mod private;
pub mod request;
pub mod rotate;
pub mod sealer;

pub use ca::{CaError, ClusterCa};
pub use kubeconfig::{Kubeconfig, KubeconfigError};
pub use leaf::{IssuedCertificate, LeafError};
pub use names::{ClientSubject, NameError, ServingNames, first_service_address};
pub use private::write_private;
pub use request::{CertificateRequest, RequestPolicy, SignedCertificate, Usage};
pub use rotate::{ServingCertificate, renewal_due, renewal_due_at_ms};
pub use sealer::{KeysError, SealerError, SealingKey, SealingKeys, SecretSealer};
