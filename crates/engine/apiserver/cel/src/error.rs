//! Why an expression cannot be used, and why it gave no value.

use std::sync::Arc;

use crate::types::Type;

/// Something wrong at a place of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Counted from one; zero if it is of the expression as a whole.
    pub line: usize,
    /// Counted in characters, from zero.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// Longest line that is shown with an issue.
const LINE_SHOWN_BYTES_MAX: usize = 16_384;

impl Issue {
    /// The issue with the line it is in and a mark below it, as clients of Kubernetes see it.
    pub fn display(&self, source: &str) -> String {
        if self.line == 0 {
            return format!("ERROR: <input>:-1:0: {}", self.message);
        }
        let mut text = format!("ERROR: <input>:{}:{}: {}", self.line, self.column + 1, self.message);
        let Some(line) = source.split('\n').nth(self.line - 1) else {
            return text;
        };
        if line.len() > LINE_SHOWN_BYTES_MAX {
            return text;
        }
        let line = line.replace('\t', " ");
        text.push_str("\n | ");
        text.push_str(&line);
        text.push_str("\n | ");
        let mut letters = line.chars();
        for letter in letters.by_ref().take(self.column) {
            text.push(if letter.len_utf8() > 1 { '\u{ff0e}' } else { '.' });
        }
        text.push(match letters.next() {
            Some(letter) if letter.len_utf8() > 1 => '\u{ff3e}',
            _ => '^',
        });
        text
    }
}

/// Why an expression cannot be used. Written as admission policies say it; [`CompileError::issues`] is the part that
/// is the same for all users of expressions.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CompileError {
    /// It is not of the language, or its types do not fit.
    #[error("compilation failed: {text}")]
    Invalid {
        /// The issues, each with its line.
        text: String,
        /// The same one by one, in the order of their places.
        issues: Vec<Issue>,
    },
    /// It gives something else than is wanted here.
    #[error("must evaluate to {} but got {}", wanted_text(wanted), found.declared())]
    ResultType {
        /// What would do.
        wanted: Vec<Type>,
        /// What it gives.
        found: Type,
    },
}

fn wanted_text(wanted: &[Type]) -> String {
    match wanted {
        [one] => one.declared(),
        several => {
            let names: Vec<String> = several.iter().map(Type::declared).collect();
            format!("one of [{}]", names.join(" "))
        }
    }
}

impl CompileError {
    pub(crate) fn of_issues(mut issues: Vec<Issue>, source: &str) -> Self {
        const SHOWN_MAX: usize = 100;
        issues.sort_by_key(|issue| (issue.line, issue.column));
        let more = issues.len().saturating_sub(SHOWN_MAX);
        issues.truncate(SHOWN_MAX);
        let mut lines: Vec<String> = issues.iter().map(|issue| issue.display(source)).collect();
        if more > 0 {
            lines.push(format!("{more} more errors were truncated"));
        }
        Self::Invalid {
            text: lines.join("\n"),
            issues,
        }
    }

    /// The issues with their lines, without the words that introduce them; none if only the result does not fit.
    pub fn issues(&self) -> Option<&str> {
        match self {
            Self::Invalid { text, .. } => Some(text),
            Self::ResultType { .. } => None,
        }
    }
}

/// Why an expression gave no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// The expression has no value for what it was given, such as `no such key: x`.
    #[error("{0}")]
    Failed(Arc<str>),
    /// One expression did more than a single one may.
    #[error("operation cancelled: actual cost limit exceeded")]
    CostLimit,
    /// All expressions of a call together did more than they may.
    #[error("validation failed due to running out of cost budget, no further validation rules will be run")]
    BudgetExhausted,
}

impl EvalError {
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::Failed(Arc::from(message.into()))
    }

    pub(crate) fn no_overload() -> Self {
        Self::failed("no such overload")
    }

    /// Whether another operand may make up for it, as `false && x` does for any `x`.
    pub(crate) fn can_be_absorbed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_below_the_place() {
        let issue = Issue {
            line: 2,
            column: 3,
            message: "bad".into(),
        };
        assert_eq!(
            issue.display("a &&\n'é'\tb"),
            "ERROR: <input>:2:4: bad\n | 'é' b\n | .\u{ff0e}.^"
        );
    }
}
