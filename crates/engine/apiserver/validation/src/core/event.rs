//! Events of the core group.

use serde_json::Value;

use crate::errors::Errors;
use crate::get::{given, text};
use crate::names::{dns_subdomain, qualified};
use crate::{FieldError, Path};

const NAME_LENGTH_MAX: usize = 128;
const NOTE_LENGTH_MAX: usize = 1024;

fn namespaces(event: &Value, errors: &mut Errors) {
    let own = text(&event["metadata"]["namespace"]);
    let involved = text(&event["involvedObject"]["namespace"]);
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
        let controller = text(&event["reportingComponent"]);
        let path = Path::Root.child("reportingController");
        if controller.is_empty() {
            errors.required(path, "");
        }
        errors.check(qualified, controller, &path);
        for (name, max) in [
            ("reportingInstance", NAME_LENGTH_MAX),
            ("action", NAME_LENGTH_MAX),
            ("reason", NAME_LENGTH_MAX),
            ("message", NOTE_LENGTH_MAX),
        ] {
            let value = text(&event[name]);
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
