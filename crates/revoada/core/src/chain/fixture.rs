//! Test data: a small cluster that writes its chain.

use crate::formation::{Formation, Spread};
use crate::id::{Hash32, MemberId};
use crate::key::SecretKey;
use crate::role::Role;

use super::{
    Block, Bundle, ChainError, ChainState, Checkpoint, Event, Genesis, Seal, seal_quorum, sign_recover, sign_seal,
};

pub(crate) struct Fixture {
    pub keys: Vec<SecretKey>,
    pub state: ChainState,
    pub blocks: Vec<Block>,
    pub seals: Vec<Seal>,
}

pub(crate) fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32])
}

impl Fixture {
    /// A cluster founded by key 0 of eight.
    pub fn new() -> Self {
        let keys: Vec<_> = (1..=8).map(key).collect();
        let genesis = Genesis {
            founder: keys[0].member_id(),
            founder_name: "m0".into(),
            created_ms: 1_760_000_000_000,
            salt: Hash32([0x5a; 32]),
        };
        let state = ChainState::genesis(genesis).unwrap();
        Self {
            keys,
            state,
            blocks: Vec::new(),
            seals: Vec::new(),
        }
    }

    pub fn id(&self, n: usize) -> MemberId {
        self.keys[n].member_id()
    }

    pub fn admit(&self, n: usize) -> Event {
        Event::Admit {
            member: self.id(n),
            name: format!("m{n}"),
            witness: n == 7,
        }
    }

    pub fn transition(&self, n: usize, from: Role, to: Role, replaces: Option<usize>) -> Event {
        Event::Transition {
            member: self.id(n),
            from,
            to,
            replaces: replaces.map(|n| self.id(n)),
        }
    }

    pub fn try_push(&mut self, event: Event) -> Result<(), ChainError> {
        let at = self.state.height() + 1;
        let block = self
            .state
            .next_block(event, "because \"é\"", 2, 10 * at, 1_760_000_000_000 + at);
        let before = self.state.clone();
        let result = self.state.extend(&block);
        match &result {
            Ok(()) => self.blocks.push(block),
            Err(_) => assert_eq!(self.state, before, "a refused block leaves no trace"),
        }
        result
    }

    pub fn push(&mut self, event: Event) {
        self.try_push(event).unwrap();
    }

    pub fn seal_of(&self, index: u64) -> Seal {
        let hash = self.blocks[index as usize - 1].hash();
        let sealers = self.state.sealers(index).unwrap();
        let signers = self.keys.iter().filter(|key| sealers.contains(&key.member_id()));
        let parts = signers.map(|key| sign_seal(key, self.state.cluster(), index, hash));
        Seal::assemble(index, hash, parts.take(seal_quorum(sealers.len())))
    }

    /// Appends a block and seals it.
    pub fn push_sealed(&mut self, event: Event) {
        self.push(event);
        let seal = self.seal_of(self.state.height());
        self.state.seal(&seal).unwrap();
        self.seals.push(seal);
    }

    /// Nine sealed blocks with every kind of event.
    pub fn nine() -> Self {
        let mut f = Self::new();
        f.push_sealed(f.admit(1));
        f.push_sealed(f.admit(2));
        f.push_sealed(f.transition(1, Role::Worker, Role::Voter, None));
        f.push_sealed(f.admit(3));
        f.push_sealed(Event::Formation {
            formation: Formation {
                voters: Some(3),
                standbys: None,
                spread: Spread::Zone,
            },
        });
        f.push_sealed(f.transition(2, Role::Worker, Role::Voter, Some(1)));
        f.push_sealed(Event::Leave { member: f.id(1) });
        f.push_sealed(sign_recover(&f.keys[2], &f.state, [f.id(3)]));
        f.push_sealed(Event::Expel { member: f.id(3) });
        f
    }

    pub fn bundle(&self) -> Bundle {
        let mut checkpoint = Checkpoint::new(&self.state);
        let admitted = self
            .keys
            .iter()
            .filter(|key| self.state.member(&key.member_id()).is_some());
        for key in admitted {
            checkpoint.sign(key).unwrap();
            checkpoint.cosign(key, 1_760_000_123).unwrap();
        }
        let genesis = self.state.genesis_block().clone();
        Bundle::new(genesis, self.blocks.clone(), self.seals.clone(), checkpoint.to_string())
    }
}
