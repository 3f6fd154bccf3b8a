//! Probes and lifecycle hooks.

use serde_json::Value;

use crate::Path;
use crate::errors::Errors;
use crate::get::{given, int, items, optional_int, text};
use crate::scalars::formats::{http_header_name, port_name, port_number};

/// A port by number or by name.
pub(crate) fn port(port: &Value, path: &Path, errors: &mut Errors) {
    match port {
        Value::String(name) => errors.check(port_name, name, path),
        _ => errors.all(port_number(int(port)), int(port), path),
    }
}

/// Probes of a container: those named here may succeed at once only, the readiness probe may not set a grace period.
pub(super) fn all(container: &Value, grace: Option<i64>, path: &Path, errors: &mut Errors) {
    for kind in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = &container[kind];
        if !given(probe) {
            continue;
        }
        let path = path.child(kind);
        common(probe, grace, &path, errors);
        let period = &probe["terminationGracePeriodSeconds"];
        if kind == "readinessProbe" {
            if given(period) {
                let field = path.child("terminationGracePeriodSeconds");
                errors.invalid(field, period.clone(), "must not be set for readinessProbes");
            }
        } else if int(&probe["successThreshold"]) != 1 {
            errors.invalid(
                path.child("successThreshold"),
                int(&probe["successThreshold"]),
                "must be 1",
            );
        }
    }
}

fn common(probe: &Value, grace: Option<i64>, path: &Path, errors: &mut Errors) {
    const NUMBERS: [&str; 5] = [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ];
    handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], grace, path, errors);
    errors.none_negative(probe, &NUMBERS, path);
    if let Some(period) = optional_int(&probe["terminationGracePeriodSeconds"]).filter(|p| *p <= 0) {
        let field = path.child("terminationGracePeriodSeconds");
        errors.invalid(field, period, "must be greater than 0");
    }
}

/// Hooks of a container.
pub(super) fn lifecycle(lifecycle: &Value, grace: Option<i64>, path: &Path, errors: &mut Errors) {
    for hook in ["postStart", "preStop"] {
        if given(&lifecycle[hook]) {
            let kinds = ["exec", "httpGet", "tcpSocket", "sleep"];
            handler(&lifecycle[hook], &kinds, grace, &path.child(hook), errors);
        }
    }
}

fn handler(handler: &Value, kinds: &[&str], grace: Option<i64>, path: &Path, errors: &mut Errors) {
    let mut handlers = 0;
    for kind in kinds {
        let action = &handler[*kind];
        if !given(action) {
            continue;
        }
        let path = path.child(kind);
        if handlers > 0 {
            errors.forbidden(path, "may not specify more than 1 handler type");
            continue;
        }
        handlers += 1;
        match *kind {
            "exec" if items(&action["command"]).is_empty() => errors.required(path.child("command"), ""),
            "exec" => {}
            "httpGet" => http_get(action, &path, errors),
            "sleep" => sleep(action, grace, &path, errors),
            _ => port(&action["port"], &path.child("port"), errors),
        }
    }
    if handlers == 0 {
        errors.required(path, "must specify a handler type");
    }
}

fn http_get(action: &Value, path: &Path, errors: &mut Errors) {
    if text(&action["path"]).is_empty() {
        errors.required(path.child("path"), "");
    }
    port(&action["port"], &path.child("port"), errors);
    errors.one_of(text(&action["scheme"]), &["HTTP", "HTTPS"], &path.child("scheme"));
    for header in items(&action["httpHeaders"]) {
        errors.check(http_header_name, text(&header["name"]), &path.child("httpHeaders"));
    }
}

fn sleep(action: &Value, grace: Option<i64>, path: &Path, errors: &mut Errors) {
    let seconds = int(&action["seconds"]);
    let Some(grace) = grace.filter(|grace| seconds < 0 || seconds > *grace) else {
        return;
    };
    let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
    errors.invalid(path, seconds, &detail);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_probe_needs_one_handler() {
        let path = Path::Root.child("c");
        let container = json!({"livenessProbe": {"successThreshold": 2, "exec": {}, "grpc": {"port": 1}}});
        let fields: Vec<String> = Errors::of(|e| all(&container, None, &path, e))
            .into_iter()
            .map(|e| e.field)
            .collect();
        let expected = [
            "c.livenessProbe.exec.command",
            "c.livenessProbe.grpc",
            "c.livenessProbe.successThreshold",
        ];
        assert_eq!(fields, expected);
    }
}
