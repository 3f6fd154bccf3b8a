//! Field selectors: `metadata.name`, `metadata.namespace`, and what each kind adds.

use std::borrow::Cow;

use engenho_crd::Version;
use serde_json::{Value, json};

/// Why a field selector is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldSelectorError {
    /// It cannot be parsed.
    #[error("invalid selector: '{selector}'; can't understand '{term}'")]
    Malformed {
        /// The whole selector.
        selector: String,
        /// The term.
        term: String,
    },
    /// The kind has no such selectable field.
    #[error("{message}")]
    Unsupported {
        /// Upstream's text, which differs by kind.
        message: String,
    },
}

/// One term.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    field: String,
    value: String,
    equal: bool,
}

/// Terms that must all hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

/// Fields that a kind lets select by, beside name and namespace, and how it words a refusal.
struct Fields<'a> {
    names: Vec<&'a str>,
    refusal: Refusal,
}

enum Refusal {
    Known,
    Label,
    LabelFor(&'static str),
    LabelForKind(&'static str),
}

fn fields_of(group: &str, resource: &str) -> Fields<'static> {
    let of = |names: &[&'static str], refusal| Fields {
        names: names.to_vec(),
        refusal,
    };
    match (group, resource) {
        ("", "pods") => of(
            &[
                "spec.nodeName",
                "spec.restartPolicy",
                "spec.schedulerName",
                "spec.serviceAccountName",
                "spec.hostNetwork",
                "status.phase",
                "status.podIP",
                "status.podIPs",
                "status.nominatedNodeName",
            ],
            Refusal::Label,
        ),
        ("", "nodes") => of(&["spec.unschedulable"], Refusal::Label),
        ("", "namespaces") => of(&["status.phase"], Refusal::Label),
        ("", "replicationcontrollers") => of(&["status.replicas"], Refusal::Label),
        ("", "secrets") => of(&["type"], Refusal::Label),
        ("", "services") => of(&["spec.clusterIP", "spec.type"], Refusal::Label),
        ("", "events") => of(
            &[
                "involvedObject.kind",
                "involvedObject.namespace",
                "involvedObject.name",
                "involvedObject.uid",
                "involvedObject.apiVersion",
                "involvedObject.resourceVersion",
                "involvedObject.fieldPath",
                "reason",
                "reportingComponent",
                "source",
                "type",
            ],
            Refusal::Label,
        ),
        ("events.k8s.io", "events") => of(
            &[
                "reason",
                "regarding.kind",
                "regarding.namespace",
                "regarding.name",
                "regarding.uid",
                "regarding.apiVersion",
                "regarding.resourceVersion",
                "regarding.fieldPath",
                "reportingController",
                "type",
            ],
            Refusal::Label,
        ),
        ("batch", "jobs") => of(&["status.successful"], Refusal::LabelFor("Job")),
        ("certificates.k8s.io", "certificatesigningrequests") => of(&["spec.signerName"], Refusal::Label),
        ("resource.k8s.io", "resourceslices") => of(
            &["spec.nodeName", "spec.driver"],
            Refusal::LabelForKind("ResourceSlice"),
        ),
        _ => of(&[], Refusal::Known),
    }
}

impl FieldSelector {
    /// Parses a selector for the objects of one resource.
    pub fn parse(text: &str, group: &str, version: &str, resource: &str) -> Result<Self, FieldSelectorError> {
        Self::parse_of(text, &fields_of(group, resource), group, version)
    }

    /// Parses a selector for the instances of a custom resource.
    pub fn parse_custom(text: &str, custom: &Version) -> Result<Self, FieldSelectorError> {
        let fields = Fields {
            names: custom.selectable.iter().map(|(name, _)| name.as_str()).collect(),
            refusal: Refusal::Label,
        };
        Self::parse_of(text, &fields, "", "")
    }

    fn parse_of(text: &str, fields: &Fields<'_>, group: &str, version: &str) -> Result<Self, FieldSelectorError> {
        let mut terms = Vec::new();
        for term in split_terms(text).into_iter().filter(|t| !t.is_empty()) {
            let malformed = || FieldSelectorError::Malformed {
                selector: text.into(),
                term: term.into(),
            };
            let (field, value, equal) = split_term(term).ok_or_else(malformed)?;
            let value = unescape(value).ok_or_else(malformed)?;
            let common = matches!(field, "metadata.name" | "metadata.namespace");
            if !common && !fields.names.contains(&field) {
                let message = match fields.refusal {
                    Refusal::Known => format!(
                        "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                    ),
                    Refusal::Label => format!("field label not supported: {field}"),
                    Refusal::LabelFor(kind) => format!("field label {field:?} not supported for {kind}"),
                    Refusal::LabelForKind(kind) => {
                        format!("field label not supported for {group}/{version}, Kind={kind}: {field}")
                    }
                };
                return Err(FieldSelectorError::Unsupported { message });
            }
            terms.push(Term {
                field: field.into(),
                value,
                equal,
            });
        }
        Ok(Self { terms })
    }

    /// Whether everything matches.
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// The one name that can match, if the selector says so.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.terms
            .iter()
            .find(|t| t.equal && t.field == field)
            .map(|t| t.value.as_str())
    }

    /// Whether an object matches.
    pub fn matches(&self, object: &Value) -> bool {
        self.terms
            .iter()
            .all(|t| (field_value(object, &t.field) == t.value) == t.equal)
    }
}

/// The terms of a field selector as FieldSelectorRequirements, whatever they select by, in upstream's order; `None` if it
/// cannot be read.
pub fn field_requirements(text: &str) -> Option<Vec<Value>> {
    let mut terms = split_terms(text);
    terms.sort_unstable();
    let terms = terms.into_iter().filter(|term| !term.is_empty());
    terms
        .map(|term| {
            let (field, value, equal) = split_term(term)?;
            let operator = if equal { "In" } else { "NotIn" };
            Some(json!({"key": field, "operator": operator, "values": [unescape(value)?]}))
        })
        .collect()
}

/// The value of a selectable field as text; upstream gives `false` for an absent boolean and `0` for a number.
fn field_value<'a>(object: &'a Value, field: &str) -> Cow<'a, str> {
    let found = match field {
        "source" => {
            let source = &object["source"]["component"];
            if source.as_str().is_none_or(str::is_empty) {
                &object["reportingComponent"]
            } else {
                source
            }
        }
        "status.successful" => &object["status"]["succeeded"],
        // The stored form of events.k8s.io is core/v1.
        _ if object.get("involvedObject").is_some() && field.starts_with("regarding.") => {
            &object["involvedObject"][&field["regarding.".len()..]]
        }
        "reportingController" => &object["reportingComponent"],
        _ => field.split('.').fold(object, |at, part| &at[part]),
    };
    match found {
        Value::String(text) => Cow::Borrowed(text),
        Value::Bool(b) => Cow::Borrowed(if *b { "true" } else { "false" }),
        Value::Number(n) => Cow::Owned(n.to_string()),
        _ => Cow::Borrowed(match field {
            "spec.unschedulable" | "spec.hostNetwork" => "false",
            "status.successful" | "status.replicas" => "0",
            _ => "",
        }),
    }
}

fn split_terms(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                out.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    out.push(&text[start..]);
    out
}

fn split_term(term: &str) -> Option<(&str, &str, bool)> {
    let at = term.find(['=', '!'])?;
    let (field, rest) = term.split_at(at);
    for (op, equal) in [("!=", false), ("==", true), ("=", true)] {
        if let Some(value) = rest.strip_prefix(op) {
            return Some((field, value, equal));
        }
    }
    None
}

fn unescape(value: &str) -> Option<String> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next()? {
                c @ ('\\' | ',' | '=') => out.push(c),
                _ => return None,
            },
            ',' | '=' => return None,
            c => out.push(c),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_select_as_upstream() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"restartPolicy": "Always"}});
        let matches = |s: &str| {
            FieldSelector::parse(s, "", "v1", "pods")
                .map(|f| f.matches(&pod))
                .map_err(|e| e.to_string())
        };
        assert_eq!(
            matches("metadata.name=p,spec.nodeName=,spec.hostNetwork=false"),
            Ok(true)
        );
        assert_eq!(matches("spec.restartPolicy!=Always"), Ok(false));
        assert_eq!(
            matches("spec.nope=1"),
            Err("field label not supported: spec.nope".into())
        );
        assert_eq!(matches("x"), Err("invalid selector: 'x'; can't understand 'x'".into()));
        let other = FieldSelector::parse("spec.x=1", "apps", "v1", "deployments").map_err(|e| e.to_string());
        assert_eq!(
            other,
            Err("\"spec.x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"".into())
        );
    }
}
