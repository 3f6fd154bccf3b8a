//! Worlds and fault plans: what a simulated run consists of, made from a seed or written down as a named scenario.

pub mod plan;
