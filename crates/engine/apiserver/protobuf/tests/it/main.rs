//! The codec against Kubernetes' own vectors, and against bytes that nobody wrote.

mod arbitrary;
mod forms;
mod vectors;
