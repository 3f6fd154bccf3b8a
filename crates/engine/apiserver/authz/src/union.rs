//! What several authorizers say together.

use crate::attributes::{Decision, Verdict};
use crate::review::RuleReview;

/// Joins decisions in the order in which authorizers are asked (upstream's union authorizer).
#[derive(Debug, Default)]
pub struct Union {
    reasons: Vec<String>,
    errors: Vec<String>,
}

impl Union {
    /// Takes what the next authorizer says. One that allows or denies has the last word, and alone.
    pub fn add(&mut self, decision: Decision) -> Option<Decision> {
        if decision.verdict != Verdict::NoOpinion {
            return Some(decision);
        }
        if !decision.reason.is_empty() {
            self.reasons.push(decision.reason);
        }
        self.errors.extend(decision.error);
        None
    }

    /// What is left when nobody had the last word.
    pub fn finish(self) -> Decision {
        let decision = Decision::no_opinion(self.reasons.join("\n"));
        match aggregate_errors(&self.errors) {
            Some(error) => decision.with_error(error),
            None => decision,
        }
    }
}

/// Joins the rules that authorizers give.
#[derive(Debug, Default)]
pub struct RulesUnion {
    review: RuleReview,
    errors: Vec<String>,
}

impl RulesUnion {
    /// Takes the rules of the next authorizer, and what went wrong when it looked for them.
    pub fn add(&mut self, review: RuleReview, errors: impl IntoIterator<Item = String>) {
        self.review.resource_rules.extend(review.resource_rules);
        self.review.non_resource_rules.extend(review.non_resource_rules);
        self.review.incomplete |= review.incomplete;
        self.errors.extend(errors);
    }

    /// An authorizer whose rules cannot be listed.
    pub fn unknown(&mut self, why: &str) {
        self.review.incomplete = true;
        self.errors.push(why.to_owned());
    }

    /// All rules.
    pub fn finish(mut self) -> RuleReview {
        self.review.evaluation_error = aggregate_errors(&self.errors);
        self.review
    }
}

/// Several errors in one text, as upstream aggregates them: one stands alone, repetitions are dropped.
pub fn aggregate_errors(errors: &[String]) -> Option<String> {
    let mut texts: Vec<&str> = Vec::new();
    for error in errors {
        if !texts.contains(&error.as_str()) {
            texts.push(error);
        }
    }
    match texts.as_slice() {
        [] => None,
        [one] => Some((*one).to_owned()),
        _ => Some(format!("[{}]", texts.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_decides_has_the_last_word() {
        let mut union = Union::default();
        assert_eq!(union.add(Decision::no_opinion("first").with_error("broken")), None);
        assert_eq!(union.add(Decision::deny("no")), Some(Decision::deny("no")));
        assert_eq!(union.add(Decision::no_opinion("")), None);
        assert_eq!(union.add(Decision::no_opinion("last").with_error("broken")), None);
        assert_eq!(union.finish(), Decision::no_opinion("first\nlast").with_error("broken"));
        assert_eq!(Union::default().finish(), Decision::no_opinion(""));
    }

    #[test]
    fn rules_and_errors_are_joined() {
        let mut union = RulesUnion::default();
        union.add(RuleReview::default(), ["a".to_owned(), "b".to_owned()]);
        union.unknown("c");
        union.unknown("a");
        let review = union.finish();
        assert!(review.incomplete);
        assert_eq!(review.evaluation_error.as_deref(), Some("[a, b, c]"));
    }
}
