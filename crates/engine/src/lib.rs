//! Facade of the Kubernetes runtime.
