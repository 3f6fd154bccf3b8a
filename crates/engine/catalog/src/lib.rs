//! Generated table of every Kubernetes 1.34 kind, and the discovery and OpenAPI documents rendered from it.
