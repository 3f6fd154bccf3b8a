//! The error of a command: what happened, what to do, and the exit code.

use crate::admin::api::{Failure, FailureKind};

/// Why a command did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CommandError {
    /// Decides the exit code.
    pub kind: FailureKind,
    /// What happened, one line.
    pub message: String,
    /// What to do, one line.
    pub hint: String,
}

/// Words with which advice begins.
const ADVICE: [&str; 27] = [
    "add", "ask", "check", "choose", "copy", "correct", "free", "give", "install", "is", "keep", "let", "look", "make",
    "mend", "move", "pass", "remove", "repeat", "restore", "run", "see", "set", "start", "stop", "try", "use",
];

impl CommandError {
    /// An error of that kind.
    pub fn new(kind: FailureKind, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let line = |text: String| text.split(['\n', '\r']).map(str::trim).collect::<Vec<_>>().join(" ");
        Self {
            kind,
            message: line(message.into()),
            hint: line(hint.into()),
        }
    }

    /// It failed.
    pub fn failed(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(FailureKind::Failed, message, hint)
    }

    /// It was asked for in a wrong way.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(FailureKind::Usage, message, hint)
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            FailureKind::Failed => 1,
            FailureKind::Usage => 2,
            FailureKind::NoQuorum => 3,
            FailureKind::Refused => 4,
        }
    }

    /// Writes the two lines to standard error.
    pub fn report(&self) {
        use std::io::Write;
        // With nobody left to read standard error there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "error: {}\nhint: {}", self.message, self.hint);
    }

    /// From one text that may end in advice, as our errors do (`..: run this`, `..; do that`).
    fn from_text(kind: FailureKind, text: &str, causes: &str) -> Self {
        let (message, hint) = match split_advice(text) {
            Some((message, hint)) => (message, hint.to_owned()),
            None => (text, default_hint(kind).to_owned()),
        };
        Self::new(kind, format!("{message}{causes}"), hint)
    }
}

fn default_hint(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Failed => "`engenho doctor` checks this machine, the log of the member has more",
        FailureKind::Usage => "see `engenho --help`",
        FailureKind::NoQuorum => {
            "start the missing voters; if they are lost for good, run `engenho recover` on a survivor"
        }
        FailureKind::Refused => "`engenho status` shows what the cluster is now",
    }
}

/// Cuts `what happened: do this` where advice begins, at the first place that looks so.
fn split_advice(text: &str) -> Option<(&str, &str)> {
    let at = text.char_indices().find(|(at, c)| {
        let rest = &text[at + c.len_utf8()..];
        let word = rest.trim_start().split([' ', ',']).next().unwrap_or_default();
        let advises = ADVICE.contains(&word) || rest.trim_start().starts_with("`engenho ");
        matches!(c, ':' | ';') && rest.starts_with(' ') && advises
    })?;
    let (message, rest) = text.split_at(at.0);
    Some((message, rest[1..].trim_start()))
}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        Self::from_text(failure.kind, &failure.message, "")
    }
}

impl From<anyhow::Error> for CommandError {
    fn from(error: anyhow::Error) -> Self {
        if let Some(command) = error.downcast_ref::<CommandError>() {
            return command.clone();
        }
        let kind = error
            .chain()
            .find_map(|cause| cause.downcast_ref::<Failure>())
            .map_or(FailureKind::Failed, |failure| failure.kind);
        let top = error.to_string();
        let mut causes = String::new();
        let mut said = top.clone();
        for cause in error.chain().skip(1) {
            // Many errors name their source in their own text.
            let text = cause.to_string();
            if !said.contains(&text) {
                causes.push_str(": ");
                causes.push_str(&text);
                said.push_str(&text);
            }
        }
        Self::from_text(kind, &top, &causes)
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn advice_becomes_the_hint() {
        let failure = |message: &str| {
            let kind = FailureKind::Refused;
            let error = CommandError::from(Failure {
                kind,
                message: message.to_owned(),
            });
            (error.message, error.hint)
        };
        let pair = |message: &str, hint: &str| (message.to_owned(), hint.to_owned());
        assert_eq!(
            failure("the ticket expired 5 s ago: make a new one with `engenho ticket`"),
            pair("the ticket expired 5 s ago", "make a new one with `engenho ticket`")
        );
        assert_eq!(
            failure("the cluster has a quorum: nothing is lost; use `engenho expel` to remove a dead member"),
            pair(
                "the cluster has a quorum: nothing is lost",
                "use `engenho expel` to remove a dead member"
            )
        );
        assert_eq!(failure("no: é"), pair("no: é", default_hint(FailureKind::Refused)));
        assert_eq!(
            failure("no member is called \"x\": `engenho status` lists names and ids"),
            pair("no member is called \"x\"", "`engenho status` lists names and ids")
        );
        assert_eq!(failure("two\nlines").0, "two lines");
    }

    #[test]
    fn causes_go_with_what_happened() {
        let io = std::io::Error::other("no space");
        let error =
            anyhow::Error::new(io).context("the data directory /d cannot be made: choose another with --data-dir");
        let error = CommandError::from(error);
        assert_eq!(error.message, "the data directory /d cannot be made: no space");
        assert_eq!(error.hint, "choose another with --data-dir");
        assert_eq!(error.exit_code(), 1);
    }

    #[test]
    fn the_kind_survives_contexts() {
        for (kind, code) in [
            (FailureKind::Failed, 1),
            (FailureKind::Usage, 2),
            (FailureKind::NoQuorum, 3),
            (FailureKind::Refused, 4),
        ] {
            let failure = Failure {
                kind,
                message: "no".into(),
            };
            let error = Err::<(), _>(failure).context("starting").unwrap_err();
            let error = CommandError::from(error);
            assert_eq!((error.exit_code(), error.message.as_str()), (code, "starting: no"));
        }
    }
}
