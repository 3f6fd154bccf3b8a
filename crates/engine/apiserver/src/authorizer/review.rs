//! The spec of a SubjectAccessReview: of a request, and the request that one describes.

use engenho_authz::{Attributes, Identity};
use serde_json::{Map, Value, json};

use crate::selector::{LabelSelector, field_requirements};

/// What a webhook is told of a request: the spec of a SubjectAccessReview of version v1. Empty fields are left out.
pub(crate) fn spec(attributes: &Attributes) -> Value {
    let who = &attributes.identity;
    let mut spec = Map::new();
    if attributes.resource_request {
        let mut resource = texts([
            ("namespace", &attributes.namespace),
            ("verb", &attributes.verb),
            ("group", &attributes.group),
            ("version", &attributes.version),
            ("resource", &attributes.resource),
            ("subresource", &attributes.subresource),
            ("name", &attributes.name),
        ]);
        // What cannot be read of a selector only makes it narrower than what is asked about.
        let fields = field_requirements(&attributes.field_selector).unwrap_or_default();
        let labels = LabelSelector::parse(&attributes.label_selector).unwrap_or_default();
        for (key, requirements) in [("fieldSelector", fields), ("labelSelector", labels.requirements())] {
            if !requirements.is_empty() {
                resource.insert(key.to_owned(), json!({ "requirements": requirements }));
            }
        }
        spec.insert("resourceAttributes".to_owned(), resource.into());
    } else {
        let path = texts([("path", &attributes.path), ("verb", &attributes.verb)]);
        spec.insert("nonResourceAttributes".to_owned(), path.into());
    }
    spec.extend(texts([("user", &who.user)]));
    if !who.groups.is_empty() {
        spec.insert("groups".to_owned(), json!(who.groups));
    }
    if !who.extra.is_empty() {
        spec.insert("extra".to_owned(), json!(who.extra));
    }
    spec.extend(texts([("uid", &who.uid)]));
    spec.into()
}

fn texts<const N: usize>(fields: [(&str, &String); N]) -> Map<String, Value> {
    let there = fields.into_iter().filter(|(_, text)| !text.is_empty());
    there
        .map(|(key, text)| (key.to_owned(), text.as_str().into()))
        .collect()
}

/// The request that the spec of a review describes.
pub(crate) fn read_attributes(spec: &Value, identity: Identity) -> Attributes {
    if let Some(path) = spec.get("nonResourceAttributes") {
        let text = |key: &str| path[key].as_str().unwrap_or_default().to_owned();
        return Attributes {
            identity,
            verb: text("verb"),
            path: text("path"),
            ..Attributes::default()
        };
    }
    let resource = &spec["resourceAttributes"];
    let text = |key: &str| resource[key].as_str().unwrap_or_default().to_owned();
    Attributes {
        identity,
        verb: text("verb"),
        resource_request: true,
        group: text("group"),
        version: text("version"),
        resource: text("resource"),
        subresource: text("subresource"),
        namespace: text("namespace"),
        name: text("name"),
        path: String::new(),
        field_selector: selector(&resource["fieldSelector"], field_term),
        label_selector: selector(&resource["labelSelector"], label_term),
    }
}

/// A selector as text. Requirements that cannot be understood are left out, as upstream does: fewer of them ask for more.
fn selector(selector: &Value, term: fn(&str, &str, &[&str]) -> Option<String>) -> String {
    if let Some(raw) = selector["rawSelector"].as_str().filter(|raw| !raw.is_empty()) {
        return raw.to_owned();
    }
    let requirements = selector["requirements"].as_array().into_iter().flatten();
    let terms = requirements.filter_map(|requirement| {
        let text = |key: &str| requirement[key].as_str().unwrap_or_default();
        let values = requirement["values"].as_array().into_iter().flatten();
        let values: Vec<&str> = values.filter_map(Value::as_str).collect();
        term(text("key"), text("operator"), &values)
    });
    terms.collect::<Vec<_>>().join(",")
}

fn field_term(key: &str, operator: &str, values: &[&str]) -> Option<String> {
    let [value] = values else { return None };
    let value = value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
    match operator {
        "In" => Some(format!("{key}={value}")),
        "NotIn" => Some(format!("{key}!={value}")),
        _ => None,
    }
}

fn label_term(key: &str, operator: &str, values: &[&str]) -> Option<String> {
    let term = match (operator, values) {
        ("In", [_, ..]) => format!("{key} in ({})", values.join(",")),
        ("NotIn", [_, ..]) => format!("{key} notin ({})", values.join(",")),
        ("Exists", []) => key.to_owned(),
        ("DoesNotExist", []) => format!("!{key}"),
        _ => return None,
    };
    // One that is wrong must not spoil the others.
    LabelSelector::parse(&term).is_ok().then_some(term)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_and_its_review_say_the_same() {
        let spec_of = json!({
            "user": "jane", "groups": ["dev"], "extra": {"team": ["blue"]}, "uid": "7",
            "resourceAttributes": {
                "namespace": "ns", "verb": "list", "version": "v1", "resource": "pods",
                "fieldSelector": {"requirements": [
                    {"key": "spec.nodeName", "operator": "In", "values": ["n1"]},
                    {"key": "status.phase", "operator": "NotIn", "values": ["a,b"]},
                ]},
                "labelSelector": {"requirements": [
                    {"key": "app", "operator": "In", "values": ["a", "b"]},
                    {"key": "old", "operator": "DoesNotExist"},
                    {"key": "tier", "operator": "Exists"},
                    {"key": "zone", "operator": "NotIn", "values": ["z"]},
                ]},
            },
        });
        let who = Identity {
            user: "jane".into(),
            uid: "7".into(),
            groups: vec!["dev".into()],
            extra: [("team".to_owned(), vec!["blue".to_owned()])].into(),
        };
        let attributes = read_attributes(&spec_of, who);
        assert_eq!(attributes.field_selector, "spec.nodeName=n1,status.phase!=a\\,b");
        assert_eq!(attributes.label_selector, "app in (a,b),!old,tier,zone notin (z)");
        assert_eq!(spec(&attributes), spec_of);
        let path = json!({"user": "jane", "nonResourceAttributes": {"path": "/x", "verb": "get"}});
        let jane = Identity {
            user: "jane".into(),
            ..Identity::default()
        };
        assert_eq!(spec(&read_attributes(&path, jane)), path);
    }

    #[test]
    fn what_cannot_be_understood_of_a_selector_is_left_out() {
        let spec_of = json!({"resourceAttributes": {
            "fieldSelector": {"requirements": [
                {"key": "a", "operator": "Exists"}, {"key": "b", "operator": "In", "values": ["1", "2"]},
            ]},
            "labelSelector": {"requirements": [
                {"key": "???", "operator": "Exists"}, {"key": "b", "operator": "In"}, {"key": "c", "operator": "Exists"},
            ]},
        }});
        let attributes = read_attributes(&spec_of, Identity::default());
        assert_eq!(
            (attributes.field_selector.as_str(), attributes.label_selector.as_str()),
            ("", "c")
        );
        let raw = json!({"resourceAttributes": {"fieldSelector": {"rawSelector": "a=b"}}});
        assert_eq!(read_attributes(&raw, Identity::default()).field_selector, "a=b");
        let broken = Attributes {
            resource_request: true,
            field_selector: "x".into(),
            label_selector: "===".into(),
            ..Attributes::default()
        };
        assert_eq!(spec(&broken), json!({"resourceAttributes": {}}));
    }
}
