//! The target shape of the control plane.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// How replicas are spread over failure domains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
#[serde(rename_all = "lowercase")]
pub enum Spread {
    /// Zones are ignored.
    None,
    /// As evenly over zones as the members allow.
    #[default]
    Zone,
}

/// How many voters and standbys the cluster should have. `None` means: by the number of members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
pub struct Formation {
    /// Wanted voters, odd, 1 to 7.
    pub voters: Option<u8>,
    /// Wanted standbys, 0 to 7.
    pub standbys: Option<u8>,
    /// Spread over failure domains.
    pub spread: Spread,
}
