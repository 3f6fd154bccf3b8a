//! Events, of both groups.

use serde_json::Value;

use crate::errors::Errors;
use crate::get::{given, int, same, text};
use crate::names::{dns_subdomain, qualified};
use crate::{FieldError, Path};

const NAME_LENGTH_MAX: usize = 128;
const NOTE_LENGTH_MAX: usize = 1024;

/// Fields by their names in both groups: that of the old one and upstream's messages, that of the new one.
const RENAMED: [(&str, &str); 6] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// A field of an event of either group.
fn field<'a>(event: &'a Value, name: &'a str) -> &'a Value {
    let given_name = &event[name];
    match RENAMED.iter().find(|(old, _)| *old == name) {
        Some((_, new)) if given_name.is_null() => &event[*new],
        _ if name == "reportingComponent" && given_name.is_null() => &event["reportingController"],
        _ => given_name,
    }
}

fn namespaces(event: &Value, errors: &mut Errors) {
    let own = text(&event["metadata"]["namespace"]);
    let involved = text(&field(event, "involvedObject")["namespace"]);
    let agree = match (given(&event["eventTime"]), involved) {
        (true, "") => ["default", "kube-system"].contains(&own),
        (true, _) => true,
        (false, "") => own.is_empty() || own == "default",
        (false, involved) => own == involved,
    };
    if !agree {
        let path = Path::Root.child("involvedObject");
        errors.invalid(path.child("namespace"), involved, "does not match event.namespace");
    }
}

fn whole(event: &Value, errors: &mut Errors) {
    namespaces(event, errors);
    if given(&event["eventTime"]) {
        let controller = text(field(event, "reportingComponent"));
        let path = Path::Root.child("reportingController");
        if controller.is_empty() {
            errors.required(&path, "");
        }
        errors.check(qualified, controller, &path);
        for (name, max) in [
            ("reportingInstance", NAME_LENGTH_MAX),
            ("action", NAME_LENGTH_MAX),
            ("reason", NAME_LENGTH_MAX),
            ("message", NOTE_LENGTH_MAX),
        ] {
            let value = text(field(event, name));
            if value.is_empty() && name != "message" {
                errors.required(name, "");
            }
            if value.len() > max {
                errors.invalid(name, "", &format!("can have at most {max} characters"));
            }
        }
    }
    let namespace = text(&event["metadata"]["namespace"]);
    errors.check(dns_subdomain, namespace, &Path::Root.child("namespace"));
}

/// A new event of the core group.
pub(crate) fn create(event: &Value) -> Vec<FieldError> {
    Errors::of(|errors| whole(event, errors))
}

/// An event of the core group that replaces another one.
pub(crate) fn update(new: &Value, _old: &Value) -> Vec<FieldError> {
    create(new)
}

fn series(event: &Value, errors: &mut Errors) {
    let series = &event["series"];
    if !given(series) {
        return;
    }
    if int(&series["count"]) < 2 {
        errors.invalid("series.count", "", "should be at least 2");
    }
    if !given(&series["lastObservedTime"]) {
        errors.required("series.lastObservedTime", "");
    }
}

/// A new event of the group of its own.
pub(crate) fn create_strict(event: &Value) -> Vec<FieldError> {
    Errors::of(|errors| {
        whole(event, errors);
        series(event, errors);
        if !given(&event["eventTime"]) {
            errors.required("eventTime", "");
        }
        let kind = text(&event["type"]);
        if !["Normal", "Warning"].contains(&kind) {
            errors.invalid("type", "", &format!("has invalid value: {kind}"));
        }
        let unset = "needs to be unset";
        for name in ["firstTimestamp", "lastTimestamp"] {
            if given(field(event, name)) {
                errors.invalid(name, "", unset);
            }
        }
        if int(field(event, "count")) != 0 {
            errors.invalid("count", "", unset);
        }
        let source = field(event, "source");
        if !text(&source["component"]).is_empty() || !text(&source["host"]).is_empty() {
            errors.invalid("source", "", unset);
        }
    })
}

/// An event of the group of its own that replaces another one: only its series may change.
pub(crate) fn update_strict(new: &Value, old: &Value) -> Vec<FieldError> {
    const KEPT: [(&str, &str); 13] = [
        ("involvedObject", "ObjectReference"),
        ("reason", ""),
        ("message", ""),
        ("source", "EventSource"),
        ("firstTimestamp", ""),
        ("lastTimestamp", ""),
        ("count", ""),
        ("reason", ""),
        ("type", ""),
        ("eventTime", ""),
        ("action", ""),
        ("related", "ObjectReference"),
        ("reportingController", ""),
    ];
    Errors::of(|errors| {
        whole(new, errors);
        if !same(&new["series"], &old["series"]) {
            series(new, errors);
        }
        for (name, shape) in KEPT.into_iter().chain([("reportingInstance", "")]) {
            let (now, before) = (field(new, name), field(old, name));
            if same(now, before) {
                continue;
            }
            match shape {
                "" => errors.invalid(name, now.clone(), "field is immutable"),
                shape => {
                    let printed = crate::shapes::compact(shape, now);
                    errors.push(FieldError::invalid_printed(name, &printed, "field is immutable"));
                }
            }
        }
    })
}
