//! Revisioned key-value state machine with watch, after etcd's model.
