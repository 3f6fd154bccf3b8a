//! Distribution layer: Raft, gossip, transitions and attestation over real sockets, disks and clocks.
