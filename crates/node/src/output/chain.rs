//! Blocks of the chain in words, in tables and in JSON.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use revoada_core::MemberId;
use revoada_core::chain::{Block, Bundle, Event, Seal};
use revoada_core::formation::{Formation, Spread};
use serde_json::{Value, json};

use super::text::{clean, rfc3339, table};

/// Names of members, as the chain itself has them.
#[derive(Debug, Default)]
pub struct ChainNames(BTreeMap<MemberId, String>);

impl ChainNames {
    /// All that were ever admitted.
    pub fn of(bundle: &Bundle) -> Self {
        let mut names = BTreeMap::from([(bundle.genesis.founder, clean(&bundle.genesis.founder_name))]);
        for block in &bundle.blocks {
            if let Event::Admit { member, name, .. } = &block.event {
                names.insert(*member, clean(name));
            }
        }
        Self(names)
    }

    /// The name, or the beginning of the id.
    pub fn name(&self, member: &MemberId) -> String {
        self.0.get(member).cloned().unwrap_or_else(|| member.short())
    }
}

/// An event in a few words.
pub fn event_words(event: &Event, names: &ChainNames) -> String {
    match event {
        Event::Admit { name, witness, .. } => {
            format!(
                "{} admitted{}",
                clean(name),
                if *witness { " as a witness" } else { "" }
            )
        }
        Event::Leave { member } => format!("{} left", names.name(member)),
        Event::Expel { member } => format!("{} expelled", names.name(member)),
        Event::Transition {
            member,
            from,
            to,
            replaces,
        } => {
            let replaces = replaces.map_or_else(String::new, |dead| format!(", replaces {}", names.name(&dead)));
            format!("{}: {from} -> {to}{replaces}", names.name(member))
        }
        Event::Formation { formation } => format!("formation: {}", formation_words(formation)),
        Event::Recover {
            epoch, survivor, keep, ..
        } => {
            let keep: Vec<_> = keep.iter().map(|member| names.name(member)).collect();
            format!(
                "recovered by {}: epoch {epoch} of {}",
                names.name(survivor),
                keep.join(", ")
            )
        }
    }
}

/// A formation as it was set.
pub fn formation_words(formation: &Formation) -> String {
    let number = |wanted: Option<u8>| wanted.map_or_else(|| "auto".to_owned(), |number| number.to_string());
    let spread = match formation.spread {
        Spread::None => "none",
        Spread::Zone => "zone",
    };
    format!(
        "voters {}, standbys {}, spread {spread}",
        number(formation.voters),
        number(formation.standbys)
    )
}

/// One line a block, genesis first.
pub fn log_table(bundle: &Bundle) -> String {
    let names = ChainNames::of(bundle);
    let genesis = vec![
        "0".to_owned(),
        rfc3339(bundle.genesis.created_ms),
        format!("founded by {}", clean(&bundle.genesis.founder_name)),
        "genesis".to_owned(),
        "-".to_owned(),
        "-".to_owned(),
    ];
    let mut rows = vec![genesis];
    rows.extend(bundle.blocks.iter().map(|block| {
        vec![
            block.index.to_string(),
            rfc3339(block.proposed_ms),
            event_words(&block.event, &names),
            clean(&block.reason),
            format!("{}/{}", block.term, block.log_index),
            match seal_of(bundle, block.index) {
                Some(seal) => format!("by {}", seal.signatures.len()),
                None => "no".to_owned(),
            },
        ]
    }));
    table(&["BLOCK", "TIME", "EVENT", "REASON", "TERM/LOG", "SEALED"], rows)
}

fn seal_of(bundle: &Bundle, index: u64) -> Option<&Seal> {
    bundle.seals.iter().find(|seal| seal.index == index)
}

/// All of a block, with its hash and signatures.
pub fn block_view(bundle: &Bundle, block: &Block, names: &ChainNames) -> Value {
    let seal = seal_of(bundle, block.index);
    let signatures: Vec<Value> = seal
        .into_iter()
        .flat_map(|seal| &seal.signatures)
        .map(|part| {
            json!({
                "member": part.member,
                "name": names.name(&part.member),
                "signature": HEXLOWER.encode(&part.signature),
            })
        })
        .collect();
    json!({
        "index": block.index,
        "hash": block.hash(),
        "prev": block.prev,
        "event": block.event,
        "words": event_words(&block.event, names),
        "reason": block.reason,
        "epoch": block.epoch,
        "term": block.term,
        "logIndex": block.log_index,
        "proposedAt": rfc3339(block.proposed_ms),
        "proposedMs": block.proposed_ms,
        "sealed": seal.is_some(),
        "signatures": signatures,
    })
}

/// All of a block, a line a field.
pub fn show_block(bundle: &Bundle, block: &Block) -> String {
    let names = ChainNames::of(bundle);
    let mut lines = vec![
        field("Block", &block.index.to_string()),
        field("Hash", &block.hash().to_string()),
        field("Previous", &block.prev.to_string()),
        field("Event", &event_words(&block.event, &names)),
    ];
    let members: Vec<MemberId> = match &block.event {
        Event::Admit { member, .. } | Event::Leave { member } | Event::Expel { member } => vec![*member],
        Event::Transition { member, replaces, .. } => std::iter::once(*member).chain(*replaces).collect(),
        Event::Formation { .. } => vec![],
        Event::Recover { keep, .. } => keep.clone(),
    };
    lines.extend(
        members
            .iter()
            .map(|id| field("Member", &format!("{id} ({})", names.name(id)))),
    );
    if let Event::Recover { signature, .. } = &block.event {
        lines.push(field("Survivor's", &HEXLOWER.encode(signature)));
    }
    lines.extend([
        field("Reason", &clean(&block.reason)),
        field("Epoch", &block.epoch.to_string()),
        field("Term", &block.term.to_string()),
        field("Log index", &block.log_index.to_string()),
        field("Proposed", &rfc3339(block.proposed_ms)),
    ]);
    match seal_of(bundle, block.index) {
        None => lines.push(field("Sealed", "no")),
        Some(seal) => {
            lines.push(field("Sealed", &format!("by {}", seal.signatures.len())));
            lines.extend(seal.signatures.iter().map(|part| {
                let name = names.name(&part.member);
                field(
                    "Signature",
                    &format!("{name} {} {}", part.member.short(), HEXLOWER.encode(&part.signature)),
                )
            }));
        }
    }
    lines.join("\n")
}

/// Genesis, a line a field.
pub fn show_genesis(bundle: &Bundle) -> String {
    let genesis = &bundle.genesis;
    [
        field("Block", "0, genesis"),
        field("Cluster", &genesis.cluster_id().to_string()),
        field(
            "Founder",
            &format!("{} ({})", genesis.founder, clean(&genesis.founder_name)),
        ),
        field("Created", &rfc3339(genesis.created_ms)),
        field("Salt", &genesis.salt.to_string()),
    ]
    .join("\n")
}

fn field(name: &str, value: &str) -> String {
    format!("{name:<12}{value}")
}

#[cfg(test)]
pub mod tests {
    use revoada_core::chain::{ChainState, Checkpoint, Genesis, sign_recover, sign_seal};
    use revoada_core::key::SecretKey;
    use revoada_core::{Hash32, Role};

    use super::*;

    /// A cluster of two with four blocks, of which the third has no seal of its own.
    pub fn bundle() -> Bundle {
        let keys = [1, 2].map(|n| SecretKey::from_bytes(&[n; 32]));
        let ids = [0, 1].map(|n: usize| keys[n].member_id());
        let genesis = Genesis {
            founder: ids[0],
            founder_name: "n1".into(),
            created_ms: 1_760_000_000_000,
            salt: Hash32([7; 32]),
        };
        let mut state = ChainState::genesis(genesis.clone()).unwrap();
        let (mut blocks, mut seals) = (Vec::new(), Vec::new());
        for n in 1..=4 {
            let (event, reason) = match n {
                1 => (
                    Event::Admit {
                        member: ids[1],
                        name: "n2".into(),
                        witness: false,
                    },
                    "ticket",
                ),
                2 => {
                    let (from, to) = (Role::Worker, Role::Standby);
                    (
                        Event::Transition {
                            member: ids[1],
                            from,
                            to,
                            replaces: None,
                        },
                        "a spare replica",
                    )
                }
                3 => {
                    let formation = Formation {
                        voters: Some(1),
                        ..Formation::default()
                    };
                    (Event::Formation { formation }, "asked for")
                }
                _ => (sign_recover(&keys[0], &state, [ids[1]]), "majority lost"),
            };
            let block = state.next_block(event, reason, 2, 10 * n, 1_760_000_000_000 + n * 1_000);
            state.extend(&block).unwrap();
            if n != 3 {
                let parts = keys.iter().map(|key| sign_seal(key, state.cluster(), n, block.hash()));
                let seal = Seal::assemble(n, block.hash(), parts);
                state.seal(&seal).unwrap();
                seals.push(seal);
            }
            blocks.push(block);
        }
        let mut checkpoint = Checkpoint::new(&state);
        checkpoint.sign(&keys[0]).unwrap();
        Bundle::new(genesis, blocks, seals, checkpoint.to_string())
    }

    #[test]
    fn the_log() {
        let want = "\
BLOCK  TIME                  EVENT                                               REASON           TERM/LOG  SEALED
0      2025-10-09T08:53:20Z  founded by n1                                       genesis          -         -
1      2025-10-09T08:53:21Z  n2 admitted                                         ticket           2/10      by 2
2      2025-10-09T08:53:22Z  n2: worker -> standby                               a spare replica  2/20      by 2
3      2025-10-09T08:53:23Z  formation: voters 1, standbys auto, spread zone     asked for        2/30      no
4      2025-10-09T08:53:24Z  recovered by n1: epoch 2 of n2, n1                  majority lost    2/40      by 2";
        let text = log_table(&bundle());
        let words = |text: &str| {
            text.lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect::<Vec<_>>()
        };
        let (mut got, want) = (words(&text), words(want));
        // The kept members stand in the order of their keys.
        got[5] = got[5].replace("n1, n2", "n2, n1");
        assert_eq!(got, want);
    }

    #[test]
    fn one_block() {
        let bundle = bundle();
        let names = ChainNames::of(&bundle);
        let view = block_view(&bundle, &bundle.blocks[1], &names);
        assert_eq!(view["event"]["type"], json!("transition"));
        assert_eq!(view["proposedAt"], json!("2025-10-09T08:53:22Z"));
        assert_eq!(view["hash"], json!(bundle.blocks[1].hash()));
        assert_eq!(view["signatures"].as_array().unwrap().len(), 2);
        assert_eq!(block_view(&bundle, &bundle.blocks[2], &names)["sealed"], json!(false));
        let text = show_block(&bundle, &bundle.blocks[1]);
        assert!(text.contains("Event       n2: worker -> standby\n"), "{text}");
        assert_eq!(text.matches("Signature   ").count(), 2);
        assert!(show_block(&bundle, &bundle.blocks[3]).contains("Survivor's  "));
        assert!(show_genesis(&bundle).contains(&bundle.genesis.cluster_id().to_string()));
    }

    #[test]
    fn hostile_names_cannot_drive_the_terminal() {
        let mut bundle = bundle();
        bundle.genesis.founder_name = "\u{1b}[2J".into();
        bundle.blocks[0].reason = "a\nb".into();
        assert!(!log_table(&bundle).contains('\u{1b}'));
        assert_eq!(log_table(&bundle).lines().count(), 6);
    }
}
