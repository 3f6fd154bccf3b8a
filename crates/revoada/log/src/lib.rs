//! Durable segmented log with group commit, and the disk trait it is written against.
