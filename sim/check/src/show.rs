//! Observations as people read them.

use std::fmt::{self, Display};

use crate::record::{Call, Op, Outcome, Seen, SeenKind, Stamp};

impl Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} s", self.at_ms / 1000, self.at_ms % 1000)
    }
}

impl Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let at = |expected: &Option<u64>| expected.map(|r| format!(" at {r}")).unwrap_or_default();
        write!(
            f,
            "client {} at machine {}, {} .. ",
            self.client, self.machine, self.invoked
        )?;
        match self.returned {
            Some(returned) => write!(f, "{returned}: ")?,
            None => f.write_str("?: ")?,
        }
        match &self.call {
            Call::Create { value } => write!(f, "create {key} = {value}")?,
            Call::Update { value, expected } => write!(f, "update {key}{} = {value}", at(expected))?,
            Call::Delete { expected } => write!(f, "delete {key}{}", at(expected))?,
            Call::Get => write!(f, "get {key}")?,
        }
        match &self.outcome {
            Outcome::Written { revision: 0 } => f.write_str(" -> done"),
            Outcome::Written { revision } => write!(f, " -> done, revision {revision}"),
            Outcome::Found { value, revision } => write!(f, " -> {value}, revision {revision}"),
            Outcome::Absent => f.write_str(" -> not found"),
            Outcome::Exists => f.write_str(" -> exists already"),
            Outcome::Conflict => f.write_str(" -> conflict"),
            Outcome::Refused { code } => write!(f, " -> refused ({code})"),
            Outcome::Unknown => f.write_str(" -> unknown"),
        }
    }
}

impl Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            SeenKind::Added { key, value } => write!(f, "ADDED {key} = {value}")?,
            SeenKind::Modified { key, value } => write!(f, "MODIFIED {key} = {value}")?,
            SeenKind::Deleted { key } => write!(f, "DELETED {key}")?,
            SeenKind::Bookmark => f.write_str("BOOKMARK")?,
        }
        write!(f, " at revision {}", self.revision)
    }
}
