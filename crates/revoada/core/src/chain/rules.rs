//! Which events may follow which state.

use crate::formation::Formation;
use crate::id::{ClusterId, Hash32, MemberId};
use crate::key::{self, SecretKey};
use crate::role::Role;

use super::block::{Block, Event};
use super::error::ChainError;
use super::state::{AdmittedMember, ChainState, Standing};

/// The longest reason a block may give, in bytes.
pub const REASON_BYTES_MAX: usize = 1024;

/// The most members a cluster can have.
pub const MEMBERS_MAX: usize = 5000;

/// The most voters, and the most standbys, a formation can ask for.
const FORMATION_MAX: u8 = 7;

const RECOVER_CONTEXT: &str = "engenho 2026 chain recover v1";

/// Whether a text can be a member's name: a DNS label (RFC 1123) in lower case.
pub fn is_member_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

pub(super) fn check_name(name: &str) -> Result<(), ChainError> {
    if is_member_name(name) {
        Ok(())
    } else {
        Err(ChainError::BadName {
            name: name.chars().take(80).collect(),
        })
    }
}

/// The reason as a block may carry it: no control characters, at most [`REASON_BYTES_MAX`] bytes.
pub(super) fn clean_reason(reason: &str) -> String {
    let mut clean: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    clean.truncate(clean.floor_char_boundary(REASON_BYTES_MAX));
    clean
}

/// What the survivor of a lost majority signs: cluster, new epoch, height and head before the recovery, and the
/// members it keeps (ascending), in Borsh.
pub fn recover_message(cluster: ClusterId, epoch: u64, height: u64, head: Hash32, keep: &[MemberId]) -> Vec<u8> {
    borsh::to_vec(&(cluster, epoch, height, head, keep)).expect("encoding to memory cannot fail")
}

/// The event by which the owner of `key` goes on alone from `state`, keeping `keep` and itself admitted.
pub fn sign_recover(key: &SecretKey, state: &ChainState, keep: impl IntoIterator<Item = MemberId>) -> Event {
    let survivor = key.member_id();
    let mut keep: Vec<_> = keep.into_iter().chain([survivor]).collect();
    keep.sort();
    keep.dedup();
    let epoch = state.epoch() + 1;
    let message = recover_message(state.cluster(), epoch, state.height(), state.head(), &keep);
    Event::Recover {
        epoch,
        survivor,
        keep,
        signature: key.sign(RECOVER_CONTEXT, &message),
    }
}

pub(super) fn check_event(state: &ChainState, event: &Event) -> Result<(), ChainError> {
    match event {
        Event::Admit { member, name, .. } => check_admit(state, member, name),
        Event::Leave { member } => {
            admitted(state, member)?;
            check_voter_left(state, member)
        }
        // Also one that left may be refused from now on.
        Event::Expel { member } => match state.standing(member) {
            Standing::Admitted(_) => check_voter_left(state, member),
            Standing::Left => Ok(()),
            standing => Err(ChainError::NotAdmitted {
                member: *member,
                standing,
            }),
        },
        Event::Transition {
            member,
            from,
            to,
            replaces,
        } => check_transition(state, member, *from, *to, replaces.as_ref()),
        Event::Formation { formation } => check_formation(formation),
        Event::Recover {
            epoch,
            survivor,
            keep,
            signature,
        } => {
            if *epoch != state.epoch() + 1 {
                let index = state.height() + 1;
                return Err(ChainError::WrongEpoch {
                    index,
                    want: state.epoch() + 1,
                    got: *epoch,
                });
            }
            admitted(state, survivor)?;
            keep.iter().try_for_each(|member| admitted(state, member).map(|_| ()))?;
            check_recover_signature(
                state.cluster(),
                *epoch,
                state.height(),
                state.head(),
                survivor,
                keep,
                signature,
            )
        }
    }
}

/// Checks a recovery from afar: `block` claims that the cluster of `state` went on in a newer epoch, from a place
/// that `state` may not have reached or may have passed differently. The claim holds if a member that `state`
/// holds for admitted signed it. This is how a member that was away learns whether it was kept or fenced.
pub fn verify_recovery(block: &Block, state: &ChainState) -> Result<(), ChainError> {
    let Event::Recover {
        epoch,
        survivor,
        keep,
        signature,
    } = &block.event
    else {
        return Err(ChainError::NotRecovery { index: block.index });
    };
    if *epoch <= state.epoch() || block.epoch != *epoch {
        let want = state.epoch() + 1;
        return Err(ChainError::WrongEpoch {
            index: block.index,
            want,
            got: block.epoch,
        });
    }
    admitted(state, survivor)?;
    let height = block.index.saturating_sub(1);
    check_recover_signature(state.cluster(), *epoch, height, block.prev, survivor, keep, signature)
}

fn check_recover_signature(
    cluster: ClusterId,
    epoch: u64,
    height: u64,
    head: Hash32,
    survivor: &MemberId,
    keep: &[MemberId],
    signature: &[u8; 64],
) -> Result<(), ChainError> {
    if !keep.is_sorted_by(|a, b| a < b) || keep.binary_search(survivor).is_err() {
        return Err(ChainError::BadKeep { survivor: *survivor });
    }
    let message = recover_message(cluster, epoch, height, head, keep);
    key::verify(*survivor, RECOVER_CONTEXT, &message, signature).map_err(ChainError::RecoverSignature)
}

fn admitted<'a>(state: &'a ChainState, member: &MemberId) -> Result<&'a AdmittedMember, ChainError> {
    let missing = || ChainError::NotAdmitted {
        member: *member,
        standing: state.standing(member),
    };
    state.member(member).ok_or_else(missing)
}

fn check_admit(state: &ChainState, member: &MemberId, name: &str) -> Result<(), ChainError> {
    check_name(name)?;
    match state.standing(member) {
        Standing::Unknown | Standing::Left => {}
        standing => {
            return Err(ChainError::NotAdmissible {
                member: *member,
                standing,
            });
        }
    }
    if let Some((owner, _)) = state.member_by_name(name) {
        return Err(ChainError::NameTaken {
            name: name.to_owned(),
            member: *owner,
        });
    }
    if state.admitted().len() >= MEMBERS_MAX {
        return Err(ChainError::TooManyMembers);
    }
    Ok(())
}

fn check_voter_left(state: &ChainState, without: &MemberId) -> Result<(), ChainError> {
    match state.voters().any(|voter| voter != *without) {
        true => Ok(()),
        false => Err(ChainError::LastVoter { member: *without }),
    }
}

fn check_transition(
    state: &ChainState,
    member: &MemberId,
    from: Role,
    to: Role,
    replaces: Option<&MemberId>,
) -> Result<(), ChainError> {
    let current = admitted(state, member)?;
    if current.role != from {
        return Err(ChainError::WrongRole {
            member: *member,
            recorded: current.role,
            claimed: from,
        });
    }
    if from == to {
        return Err(ChainError::NoChange {
            member: *member,
            role: to,
        });
    }
    if to.votes() && (to == Role::Witness) != current.witness {
        return Err(ChainError::WitnessRole {
            member: *member,
            role: to,
            witness: current.witness,
        });
    }
    if let Some(replaced) = replaces {
        let votes = admitted(state, replaced)?.role.votes();
        if !votes || !to.votes() || replaced == member {
            return Err(ChainError::BadReplacement {
                member: *member,
                role: to,
                replaced: *replaced,
            });
        }
    }
    if to.votes() {
        Ok(())
    } else {
        check_voter_left(state, member)
    }
}

fn check_formation(formation: &Formation) -> Result<(), ChainError> {
    let voters = formation.voters.is_none_or(|n| n % 2 == 1 && n <= FORMATION_MAX);
    let standbys = formation.standbys.is_none_or(|n| n <= FORMATION_MAX);
    if voters && standbys {
        Ok(())
    } else {
        Err(ChainError::BadFormation)
    }
}
