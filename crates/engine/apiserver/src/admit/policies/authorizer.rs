//! The server's authorizer, as expressions ask it.
//!
//! An expression cannot wait. What the server knows it is told at once; where somebody else has to be asked, the evaluation
//! is given up, the question is asked, and everything is evaluated again with the answer. An expression may cost so much
//! only, and a question costs a lot: few are asked.

use engenho_cel::{Authorizer, Decision, Question, Target};
use parking_lot::Mutex;

use crate::authorizer::{Attributes, Identity};
use crate::context::Context;

/// Asks on behalf of a request. What was answered once stays so for the request.
pub(in crate::admit) struct Asked<'a> {
    context: &'a Context,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    answers: Vec<(Attributes, Decision)>,
    /// What somebody else has to be asked.
    open: Option<Attributes>,
}

impl<'a> Asked<'a> {
    pub fn new(context: &'a Context) -> Self {
        Self {
            context,
            state: Mutex::default(),
        }
    }

    /// Asks what is open. Whether something was: what was evaluated counts for nothing then.
    pub async fn settle(&self) -> bool {
        let Some(open) = self.state.lock().open.take() else {
            return false;
        };
        let decision = self.context.server.deps.authorizer.authorize(&open).await;
        self.state.lock().answers.push((open, told(decision)));
        true
    }
}

fn told(decision: crate::authorizer::Decision) -> Decision {
    Decision {
        allowed: decision.allowed(),
        reason: decision.reason,
        error: decision.error,
    }
}
impl Authorizer for Asked<'_> {
    fn authorize(&self, question: &Question<'_>) -> Decision {
        let identity = match question.identity {
            engenho_cel::Identity::Requester => self.context.identity.clone(),
            engenho_cel::Identity::ServiceAccount { namespace, name } => Identity {
                user: format!("system:serviceaccount:{namespace}:{name}"),
                groups: vec![
                    "system:serviceaccounts".to_owned(),
                    format!("system:serviceaccounts:{namespace}"),
                ],
                ..Identity::default()
            },
        };
        let asked = Attributes {
            identity,
            verb: question.verb.to_owned(),
            ..Attributes::default()
        };
        let attributes = match question.target {
            Target::Path(path) => Attributes {
                path: path.to_owned(),
                ..asked
            },
            Target::Resource(check) => Attributes {
                resource_request: true,
                group: check.group.clone(),
                version: "*".to_owned(),
                resource: check.resource.clone(),
                subresource: check.subresource.clone(),
                namespace: check.namespace.clone(),
                name: check.name.clone(),
                field_selector: check.field_selector.clone(),
                label_selector: check.label_selector.clone(),
                ..asked
            },
        };
        let mut state = self.state.lock();
        if let Some((_, answer)) = state.answers.iter().find(|(asked, _)| *asked == attributes) {
            return answer.clone();
        }
        if state.open.is_none() {
            match self.context.server.deps.authorizer.decide(&attributes) {
                Some(decision) => {
                    let answer = told(decision);
                    state.answers.push((attributes, answer.clone()));
                    return answer;
                }
                None => state.open = Some(attributes),
            }
        }
        Decision {
            allowed: false,
            reason: String::new(),
            error: Some("it was not asked yet".to_owned()),
        }
    }
}
