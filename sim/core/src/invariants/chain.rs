//! The chain is the same on all replicas and verifies from genesis.
//!
//! State machine safety (Raft, Ongaro and Ousterhout 2014, figure 3): no two replicas apply different entries at
//! one index; so no two may make different blocks.

use revoada_core::Hash32;
use revoada_core::chain::ChainState;
use revoada_core::model::Model;
use revoada_core::state::MeshState;

use super::Broken;

const NAME: &str = "the chain is identical on all replicas and verifies";

/// The hash of every block seen so far, by index.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    heads: Vec<Hash32>,
}

impl Chain {
    pub(super) fn check(&mut self, model: &Model) -> Result<(), Broken> {
        for (id, node) in &model.nodes {
            let Some(chain) = node.replica.as_ref().and_then(MeshState::chain) else {
                continue;
            };
            // Of a member that is cut off only what it had is known, and that is checked when it was made.
            if !model.raft.config.contains(id) {
                continue;
            }
            let height = chain.height() as usize;
            if height == 0 {
                continue;
            }
            let state = node.replica.iter().flat_map(|state| state.blocks());
            let from = self.heads.len();
            for block in state.skip(from) {
                self.heads.push(block.hash());
            }
            if self.heads.get(height - 1) != Some(&chain.head()) {
                return Err(Broken::new(NAME, format!("{} has another block {height}", node.name)));
            }
        }
        Ok(())
    }

    /// A recovery goes on from what its survivor had.
    pub(super) fn recovered(&mut self, model: &Model) {
        if let Some(state) = model.state() {
            self.heads = state.blocks().iter().map(|block| block.hash()).collect();
        }
    }
}

/// In peace all replicas have the same state, byte for byte.
pub fn replicas_are_equal(model: &Model) -> Result<(), Broken> {
    let mut first: Option<(&str, Vec<u8>)> = None;
    for (id, node) in &model.nodes {
        let Some(state) = node.replica.as_ref().filter(|_| model.raft.config.contains(id)) else {
            continue;
        };
        let encoded = encode(state).map_err(|error| Broken::new(NAME, error))?;
        match &first {
            Some((name, other)) if *other != encoded => {
                return Err(Broken::new(NAME, format!("{name} and {} differ", node.name)));
            }
            Some(_) => {}
            None => first = Some((&node.name, encoded)),
        }
    }
    Ok(())
}

/// The leader's blocks and seals lead from genesis to its state.
pub fn verifies(model: &Model) -> Result<(), Broken> {
    let Some(state) = model.state() else {
        return Err(Broken::new(NAME, "there is no replica"));
    };
    let Some(chain) = state.chain() else {
        return Err(Broken::new(NAME, "there is no chain"));
    };
    let broken = |what: String| Broken::new(NAME, what);
    let mut replayed = ChainState::genesis(chain.genesis_block().clone()).map_err(|error| broken(error.to_string()))?;
    for block in state.blocks() {
        replayed
            .extend(block)
            .map_err(|error| broken(format!("block {}: {error}", block.index)))?;
        if let Some(seal) = state.seals().get(&block.index) {
            replayed
                .seal(seal)
                .map_err(|error| broken(format!("seal {}: {error}", block.index)))?;
        }
    }
    if replayed.head() != chain.head() || replayed.admitted() != chain.admitted() {
        return Err(broken("replaying the blocks leads elsewhere".to_owned()));
    }
    if model.sealing && chain.sealed_height() != chain.height() {
        return Err(broken(format!(
            "sealed up to {} of {}",
            chain.sealed_height(),
            chain.height()
        )));
    }
    Ok(())
}

fn encode(state: &MeshState) -> Result<Vec<u8>, String> {
    let bytes = state.encode().map_err(|error| error.to_string())?;
    // What is restored from a snapshot is what was written.
    let restored = MeshState::decode(&bytes).map_err(|error| error.to_string())?;
    if restored != *state {
        return Err("a snapshot differs from its state".to_owned());
    }
    Ok(bytes.to_vec())
}
