//! ValidatingAdmissionPolicies: expressions that a request must fulfil.

mod attributes;
mod authorizer;
mod cache;
mod compiled;
mod evaluate;
mod matching;
mod params;

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;

use engenho_admission::Lookup;
use engenho_catalog::Resource;
use serde_json::{Value, json};

pub(crate) use attributes::{Attributes, Operation, options};
pub(super) use authorizer::Asked;
use cache::Hook;
pub(crate) use cache::Policies;
pub(super) use compiled::Expression;
use compiled::{Binding, Policy};
pub(super) use evaluate::conditions_hold;
use evaluate::{Annotation, Decision, Inputs, Outcome, evaluate};
use matching::matches;
pub(super) use matching::{Matched, by_rules, in_namespace, selects_object};

use super::lookup::Stored;
use crate::convert;
use crate::status::{Cause, GroupResource, Status};

/// Policies are not asked about themselves: one that refuses everything could never be taken back.
const EXEMPT: [&str; 4] = [
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
];
/// Longest value of an annotation of the audit log.
const ANNOTATION_BYTES_MAX: usize = 10 * 1024;

/// Why a request is refused.
struct Denied {
    message: String,
    reason: String,
}

impl Denied {
    fn new(policy: &Policy, binding: Option<&Binding>, message: &str, reason: &str) -> Self {
        let by = match binding {
            Some(binding) => format!(" with binding '{}'", binding.name),
            None => String::new(),
        };
        Self {
            message: format!(
                "ValidatingAdmissionPolicy '{}'{by} denied request: {message}",
                policy.name
            ),
            reason: reason.to_owned(),
        }
    }
}

/// Judges a request by the policies in force, and passes warnings on. All of them are evaluated; the first refusal
/// counts.
pub(crate) async fn check(attributes: &Attributes<'_>) -> Result<(), Status> {
    let context = attributes.context;
    let exempt =
        context.resource.group == "admissionregistration.k8s.io" && EXEMPT.contains(&&*context.resource.plural);
    if exempt || context.storage().is_replaying() {
        return Ok(());
    }
    let hooks = context.server.policies.current(&context.server.storage)?;
    if hooks.is_empty() {
        return Ok(());
    }
    let asked = Asked::new(context);
    let (notes, judged) = loop {
        let mut judge = Judge {
            attributes,
            asked: &asked,
            namespace: OnceCell::new(),
            denied: None,
            notes: Vec::new(),
        };
        let judged = hooks.iter().try_for_each(|hook| judge.hook(hook));
        let (notes, denied) = (judge.notes, judge.denied);
        if !asked.settle().await {
            break (notes, judged.map(|()| denied));
        }
    };
    for note in notes {
        match note {
            Note::Warning(text) => context.warn(text),
            Note::Annotation(key, value) => context.annotate(key, value),
        }
    }
    let Some(denied) = judged? else { return Ok(()) };
    let mut status = Status::forbidden(context.gr(), attributes.shown_name(), &denied.message);
    status.code = match denied.reason.as_str() {
        "Forbidden" => 403,
        "Unauthorized" => 401,
        "RequestEntityTooLarge" => 413,
        _ => 422,
    };
    status.reason = denied.reason;
    let cause = Cause {
        reason: String::new(),
        message: denied.message,
        field: String::new(),
    };
    Err(status.with_causes(vec![cause]))
}

/// What is said beside a judgement.
enum Note {
    /// To the client.
    Warning(String),
    /// To the audit log: key and value.
    Annotation(String, String),
}

/// One request before its policies.
struct Judge<'a> {
    attributes: &'a Attributes<'a>,
    asked: &'a Asked<'a>,
    namespace: OnceCell<Result<Value, Status>>,
    denied: Option<Denied>,
    notes: Vec<Note>,
}

impl Judge<'_> {
    fn deny(&mut self, policy: &Policy, binding: Option<&Binding>, message: &str, reason: &str) {
        if self.denied.is_none() {
            self.denied = Some(Denied::new(policy, binding, message, reason));
        }
    }

    /// A policy or binding that cannot be used.
    fn misconfigured(&mut self, policy: &Policy, binding: Option<&Binding>, error: &str) {
        if policy.fails {
            let what = if binding.is_some() { "binding" } else { "policy" };
            let message = format!("failed to configure {what}: {error}");
            self.deny(policy, binding, &message, "Invalid");
        }
    }

    /// The Namespace of the request, as it is stored.
    fn namespace(&self) -> &Result<Value, Status> {
        self.namespace.get_or_init(|| {
            let name = self.attributes.namespace();
            let found = Stored(self.attributes.context).get("", "namespaces", "", name)?;
            found.ok_or_else(|| {
                let namespaces = GroupResource {
                    group: "",
                    resource: "namespaces",
                };
                Status::not_found(namespaces, name)
            })
        })
    }

    fn hook(&mut self, hook: &Hook) -> Result<(), Status> {
        let attributes = self.attributes;
        let context = attributes.context;
        let policy = &*hook.policy;
        let namespace = || self.namespace().clone().map_err(|status| status.message);
        let matched = match matches(&policy.constraints, attributes, &namespace) {
            Ok(Some(matched)) => matched,
            Ok(None) => return Ok(()),
            Err(error) => {
                self.misconfigured(policy, None, &error);
                return Ok(());
            }
        };
        let kind = policy.param_kind.as_ref();
        let params_of = kind.and_then(|of| context.catalog.kind(&of.group, &of.version, &of.kind));
        if let (Some(of), None) = (kind, params_of) {
            let error = format!(
                "failed to find resource referenced by paramKind: '{}/{}, Kind={}'",
                of.group, of.version, of.kind
            );
            self.misconfigured(policy, None, &error);
            return Ok(());
        }
        let seen = Seen::new(attributes, &matched);
        let mut annotations: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for binding in &hook.bindings {
            let namespace = || self.namespace().clone().map_err(|status| status.message);
            let bound = match &binding.resources {
                Some(resources) => matches(resources, attributes, &namespace).map(|matched| matched.is_some()),
                None => Ok(true),
            };
            let collected = match bound {
                Ok(true) => params::collect(params_of.map(|of| &**of), binding, attributes),
                Ok(false) => continue,
                Err(error) => Err(error),
            };
            let params = match collected {
                Ok(params) => params,
                Err(error) => {
                    self.misconfigured(policy, Some(binding), &error);
                    continue;
                }
            };
            for params in &params {
                let outcome = self.evaluate(policy, &seen, params)?;
                self.heed(policy, binding, outcome, &mut annotations);
            }
        }
        for (key, values) in annotations {
            let key = format!("{}/{key}", policy.name);
            self.notes.push(Note::Annotation(key, values.join(", ")));
        }
        Ok(())
    }

    fn evaluate(&self, policy: &Policy, seen: &Seen<'_>, params: &Value) -> Result<Outcome, Status> {
        let attributes = self.attributes;
        let inside = !attributes.is_namespace() && !attributes.namespace().is_empty();
        let namespace = match inside.then(|| self.namespace()) {
            Some(Ok(namespace)) => namespace,
            Some(Err(status)) => return Err(status.clone()),
            None => &Value::Null,
        };
        let inputs = Inputs {
            object: &seen.object,
            old: &seen.old,
            request: &seen.request,
            namespace,
            params,
            authorizer: self.asked,
            check: attributes.check(),
        };
        Ok(evaluate(policy, &inputs))
    }

    /// Does with the outcome what the binding says.
    fn heed(
        &mut self,
        policy: &Policy,
        binding: &Binding,
        outcome: Outcome,
        annotations: &mut BTreeMap<String, Vec<String>>,
    ) {
        for (i, decision) in outcome.decisions.into_iter().enumerate() {
            let Decision::Deny { message, reason } = decision else {
                continue;
            };
            for action in &binding.actions {
                match action.as_str() {
                    "Deny" => self.deny(policy, Some(binding), &message, &reason),
                    "Warn" => self.notes.push(Note::Warning(format!(
                        "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {message}",
                        policy.name, binding.name
                    ))),
                    "Audit" => {
                        let failure = json!([{
                            "message": message,
                            "policy": policy.name,
                            "binding": binding.name,
                            "expressionIndex": i,
                            "validationActions": binding.actions,
                        }]);
                        let key = "validation.policy.admission.k8s.io/validation_failure";
                        self.notes.push(Note::Annotation(key.to_owned(), failure.to_string()));
                    }
                    _ => {}
                }
            }
        }
        for annotation in outcome.annotations {
            match annotation {
                Annotation::Failed(message) => self.deny(policy, Some(binding), &message, "Invalid"),
                Annotation::Publish { key, mut value } => {
                    value.truncate(value.floor_char_boundary(ANNOTATION_BYTES_MAX));
                    let values = annotations.entry(key).or_default();
                    if !values.contains(&value) {
                        values.push(value);
                    }
                }
            }
        }
    }
}

/// The objects and the request in the version that a policy names.
struct Seen<'a> {
    object: Cow<'a, Value>,
    old: Cow<'a, Value>,
    request: Value,
}

impl<'a> Seen<'a> {
    fn new(attributes: &Attributes<'a>, matched: &Matched<'_>) -> Self {
        let own = attributes.kind().name == attributes.context.resource.kind.as_ref();
        let version = matched.version.filter(|_| own);
        let seen = |object: &'a Value| match version {
            Some(version) if object.is_object() => Cow::Owned(in_version(attributes, version, object)),
            _ => Cow::Borrowed(object),
        };
        Self {
            object: seen(attributes.object),
            old: seen(attributes.old),
            request: attributes.request(&matched.resource, &matched.kind),
        }
    }
}

fn in_version(attributes: &Attributes<'_>, version: &Resource, object: &Value) -> Value {
    let stored = convert::to_storage(&attributes.context.resource, object.clone());
    let mut converted = convert::from_storage(version, stored);
    converted["apiVersion"] = version.api_version().into();
    converted
}
