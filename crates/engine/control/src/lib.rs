//! Controllers that run on the leader.
