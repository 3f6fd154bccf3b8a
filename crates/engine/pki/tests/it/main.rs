//! Certificates, kubeconfigs and sealing, used as the binary uses them.

mod certificates;
mod kubeconfigs;
mod rotation;
mod sealing;
