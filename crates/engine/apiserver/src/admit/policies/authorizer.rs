//! The server's authorizer, as expressions ask it.

use engenho_cel::{Authorizer, Decision, Question, Target};

use crate::authorizer::{Attributes, Identity};
use crate::context::Context;

/// Asks on behalf of a request.
pub(in crate::admit) struct Asked<'a>(pub &'a Context);

impl Authorizer for Asked<'_> {
    fn authorize(&self, question: &Question<'_>) -> Decision {
        let identity = match question.identity {
            engenho_cel::Identity::Requester => self.0.identity.clone(),
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
        let decision = self.0.server.deps.authorizer.authorize(&attributes);
        Decision {
            allowed: decision.allowed(),
            reason: decision.reason,
            error: None,
        }
    }
}
