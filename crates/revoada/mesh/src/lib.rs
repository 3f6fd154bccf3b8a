//! Authenticated peer mesh: QUIC with raw public keys, typed streams, gossip transport, discovery of peers.
