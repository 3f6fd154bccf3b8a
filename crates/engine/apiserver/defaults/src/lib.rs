//! Defaults of objects of built-in kinds that a schema cannot express: pure functions over JSON, one module a group of
//! kinds (Kubernetes 1.34).
