//! The Kubernetes API over HTTP: one pipeline, one file per verb.
