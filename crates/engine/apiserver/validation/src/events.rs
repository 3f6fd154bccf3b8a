//! Event of `events.k8s.io`: upstream's one kind of events, with the stricter rules of this group.

use serde_json::Value;

use crate::get::{given, int, same, text};
use crate::gojson::{self, Shape};
use crate::labels::check;
use crate::names::{dns_subdomain, qualified};
use crate::shared::Errors;
use crate::{FieldError, Path};

const NAME_BYTES_MAX: usize = 128;
const NOTE_BYTES_MAX: usize = 1024;
const REFERENCE: Shape = Shape::Struct(&[
    ("Kind", "kind", Shape::Text),
    ("Namespace", "namespace", Shape::Text),
    ("Name", "name", Shape::Text),
    ("UID", "uid", Shape::Text),
    ("APIVersion", "apiVersion", Shape::Text),
    ("ResourceVersion", "resourceVersion", Shape::Text),
    ("FieldPath", "fieldPath", Shape::Text),
]);
const MAYBE_REFERENCE: Shape = Shape::Maybe(&REFERENCE);
const SOURCE: Shape = Shape::Struct(&[("Component", "component", Shape::Text), ("Host", "host", Shape::Text)]);
/// What may not change: its path, its field in this group, how it prints; in upstream's order.
const FIXED: [(&str, &str, Shape); 14] = [
    ("involvedObject", "regarding", REFERENCE),
    ("reason", "reason", Shape::Text),
    ("message", "note", Shape::Text),
    ("source", "deprecatedSource", SOURCE),
    ("firstTimestamp", "deprecatedFirstTimestamp", Shape::Same),
    ("lastTimestamp", "deprecatedLastTimestamp", Shape::Same),
    ("count", "deprecatedCount", Shape::Number),
    ("reason", "reason", Shape::Text),
    ("type", "type", Shape::Text),
    ("eventTime", "eventTime", Shape::Same),
    ("action", "action", Shape::Text),
    ("related", "related", MAYBE_REFERENCE),
    ("reportingController", "reportingController", Shape::Text),
    ("reportingInstance", "reportingInstance", Shape::Text),
];

/// What is wrong with a new Event.
pub(crate) fn create(object: &Value) -> Errors {
    let mut errors = legacy(object);
    errors.extend(series(&object["series"]));
    if !given(&object["eventTime"]) {
        errors.push(FieldError::required("eventTime", ""));
    }
    let kind = text(&object["type"]);
    if !["Normal", "Warning"].contains(&kind) {
        errors.push(FieldError::invalid("type", "", &format!("has invalid value: {kind}")));
    }
    let source = &object["deprecatedSource"];
    let unset = [
        ("firstTimestamp", given(&object["deprecatedFirstTimestamp"])),
        ("lastTimestamp", given(&object["deprecatedLastTimestamp"])),
        ("count", int(&object["deprecatedCount"]) != 0),
        (
            "source",
            ["component", "host"].iter().any(|key| !text(&source[*key]).is_empty()),
        ),
    ];
    let set = unset.into_iter().filter(|(_, set)| *set);
    errors.extend(set.map(|(field, _)| FieldError::invalid(field, "", "needs to be unset")));
    errors
}

/// What is wrong with an Event that replaces another: only its series goes on.
pub(crate) fn update(new: &Value, old: &Value) -> Errors {
    let mut errors = legacy(new);
    if !same(&new["series"], &old["series"]) {
        errors.extend(series(&new["series"]));
    }
    for (field, key, shape) in FIXED {
        let zero = |value: &Value| value.as_i64() == Some(0) || value.is_null();
        let unchanged = same(&new[key], &old[key]) || (zero(&new[key]) && zero(&old[key]));
        if !unchanged {
            errors.push(gojson::invalid(field, &shape, &new[key], "field is immutable"));
        }
    }
    errors
}

fn series(series: &Value) -> Errors {
    let mut errors = Errors::new();
    if given(series) {
        if int(&series["count"]) < 2 {
            errors.push(FieldError::invalid("series.count", "", "should be at least 2"));
        }
        if !given(&series["lastObservedTime"]) {
            errors.push(FieldError::required("series.lastObservedTime", ""));
        }
    }
    errors
}

/// The rules that both groups of events share.
fn legacy(object: &Value) -> Errors {
    let mut errors = Errors::new();
    let namespace = text(&object["metadata"]["namespace"]);
    let involved = text(&object["regarding"]["namespace"]);
    let is_new = given(&object["eventTime"]);
    let fits = match (is_new, involved) {
        (false, "") => matches!(namespace, "" | "default"),
        (false, involved) => involved == namespace,
        (true, "") => matches!(namespace, "default" | "kube-system"),
        (true, _) => true,
    };
    if !fits {
        let detail = "does not match event.namespace";
        errors.push(FieldError::invalid("involvedObject.namespace", involved, detail));
    }
    if is_new {
        let root = Path::Root;
        let controller = text(&object["reportingController"]);
        if controller.is_empty() {
            errors.push(FieldError::required("reportingController", ""));
        }
        errors.extend(check(qualified, controller, &root.child("reportingController")));
        let limited = [
            ("reportingInstance", "reportingInstance", NAME_BYTES_MAX, true),
            ("action", "action", NAME_BYTES_MAX, true),
            ("reason", "reason", NAME_BYTES_MAX, true),
            ("message", "note", NOTE_BYTES_MAX, false),
        ];
        for (field, key, max, required) in limited {
            let value = text(&object[key]);
            if required && value.is_empty() {
                errors.push(FieldError::required(field, ""));
            }
            if value.len() > max {
                let detail = format!("can have at most {max} characters");
                errors.push(FieldError::invalid(field, "", &detail));
            }
        }
    }
    errors.extend(check(dns_subdomain, namespace, &Path::Root.child("namespace")));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event() -> Value {
        json!({
            "metadata": {"namespace": "n"},
            "eventTime": "2020-01-01T00:00:00.000000Z",
            "regarding": {"namespace": "n"},
            "reportingController": "c",
            "reportingInstance": "i",
            "action": "a",
            "reason": "r",
            "type": "Normal",
        })
    }

    #[test]
    fn events_say_who_did_what() {
        assert!(create(&event()).is_empty());
        let empty = json!({"metadata": {"namespace": "n"}});
        let fields: Vec<String> = create(&empty).into_iter().map(|e| e.field).collect();
        assert_eq!(fields, ["involvedObject.namespace", "eventTime", "type"]);
    }

    #[test]
    fn only_the_series_goes_on() {
        let mut new = event();
        new["series"] = json!({"count": 2, "lastObservedTime": "2020-01-01T00:00:00.000000Z"});
        assert!(update(&new, &event()).is_empty());
        new["note"] = json!("x");
        assert_eq!(update(&new, &event())[0].field, "message");
    }
}
