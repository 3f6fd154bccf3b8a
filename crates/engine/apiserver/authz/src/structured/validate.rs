//! Whether a configuration makes sense, in upstream's words; what does is compiled.

use engenho_validation::names;
use engenho_validation::scalars::timing::parse_duration;
use serde_json::json;

use super::conditions::{Compiler, MatchConditions};
use super::{
    AUTHORIZERS_MAX, AuthorizerConfig, AuthorizerDocument, AuthorizerKind, CONDITIONS_MAX, ConfigError, Document,
    FailurePolicy, ReviewVersion, Surroundings, WebhookConfig, WebhookDocument,
};

/// The types of authorizers, in the order of their names.
const TYPES: [&str; 6] = ["ABAC", "AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook"];
const SECOND_NS: i128 = 1_000_000_000;
/// Longest that one review may take.
const TIMEOUT_NS_MAX: i128 = 30 * SECOND_NS;
/// For how long an answer that allows is kept, if nothing else is said.
const AUTHORIZED_NS: i128 = 5 * 60 * SECOND_NS;
/// For how long another one is kept, if nothing else is said.
const UNAUTHORIZED_NS: i128 = 30 * SECOND_NS;

/// Collects findings.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn invalid(&mut self, field: &str, value: &str, detail: &str) {
        self.0.push(format!("{field}: Invalid value: {value:?}: {detail}"));
    }

    fn required(&mut self, field: &str, detail: &str) {
        let colon = if detail.is_empty() { "" } else { ": " };
        self.0.push(format!("{field}: Required value{colon}{detail}"));
    }

    fn duplicate(&mut self, field: &str, value: &str) {
        self.0.push(format!("{field}: Duplicate value: {value:?}"));
    }

    fn unsupported(&mut self, field: &str, shown: &str, supported: &[&str]) {
        let supported: Vec<String> = supported.iter().map(|one| format!("{one:?}")).collect();
        let supported = supported.join(", ");
        self.0.push(format!(
            "{field}: Unsupported value: {shown}: supported values: {supported}"
        ));
    }
}

/// Compiles a document, or tells all that is wrong with it.
pub(super) fn compile(
    document: &Document,
    surroundings: Surroundings<'_>,
) -> Result<Vec<AuthorizerConfig>, ConfigError> {
    let mut findings = Findings::default();
    let all = document.authorizers.as_deref().unwrap_or_default();
    if all.is_empty() {
        findings.required("authorizers", "at least one authorization mode must be defined");
    }
    if all.len() > AUTHORIZERS_MAX {
        findings.0.push(format!(
            "authorizers: Too many: {}: must have at most {AUTHORIZERS_MAX} items",
            all.len()
        ));
        return Err(ConfigError::Invalid { errors: findings.0 });
    }
    let compiler = Compiler::new();
    let (mut types, mut seen): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut webhooks = Vec::new();
    for (at, one) in all.iter().enumerate() {
        let field = format!("authorizers[{at}]");
        let kind = one.kind.as_str();
        webhooks.push(None);
        if kind.is_empty() {
            findings.required(&format!("{field}.type"), "");
            continue;
        }
        if !TYPES.contains(&kind) {
            findings.unsupported(&format!("{field}.type"), &format!("{kind:?}"), &TYPES);
            continue;
        }
        if types.contains(&kind) && kind != "Webhook" {
            findings.duplicate(&format!("{field}.type"), kind);
            continue;
        }
        types.push(kind);
        name(&one.name, &format!("{field}.name"), &seen, &mut findings);
        seen.push(&one.name);
        match (&one.webhook, kind == "Webhook") {
            (None, true) => findings.required(&format!("{field}.webhook"), "required when type=Webhook"),
            (Some(_), false) => findings.invalid(
                &format!("{field}.webhook"),
                "non-null",
                "may only be specified when type=Webhook",
            ),
            (Some(document), true) => {
                let compiled = webhook(document, &field, &compiler, surroundings, &mut findings);
                webhooks[at] = compiled;
            }
            (None, false) => {}
        }
    }
    if !findings.0.is_empty() {
        return Err(ConfigError::Invalid { errors: findings.0 });
    }
    all.iter().zip(webhooks).map(authorizer).collect()
}

fn authorizer(
    (document, webhook): (&AuthorizerDocument, Option<WebhookConfig>),
) -> Result<AuthorizerConfig, ConfigError> {
    let expected = document.kind.to_ascii_lowercase();
    if document.kind != "Webhook" && document.name != expected {
        return Err(ConfigError::Name {
            expected,
            kind: document.kind.clone(),
            found: document.name.clone(),
        });
    }
    let kind = match (document.kind.as_str(), webhook) {
        ("Node", _) => AuthorizerKind::Node,
        ("RBAC", _) => AuthorizerKind::Rbac,
        ("AlwaysAllow", _) => AuthorizerKind::AlwaysAllow,
        ("AlwaysDeny", _) => AuthorizerKind::AlwaysDeny,
        (_, Some(webhook)) => AuthorizerKind::Webhook(Box::new(webhook)),
        (_, None) if document.webhook.is_none() => return Err(ConfigError::Abac),
        (_, None) => {
            return Err(ConfigError::InCluster {
                name: document.name.clone(),
            });
        }
    };
    Ok(AuthorizerConfig {
        name: document.name.clone(),
        kind,
    })
}

fn name(name: &str, field: &str, seen: &[&str], findings: &mut Findings) {
    if name.is_empty() {
        return findings.required(field, "");
    }
    if seen.contains(&name) {
        return findings.duplicate(field, name);
    }
    let wrong = names::dns_subdomain(name);
    if !wrong.is_empty() {
        let detail = format!("authorizer name is invalid: {}", wrong.join(", "));
        findings.invalid(field, name, &detail);
    }
}

/// `None` if it is wrong, or cannot be reached by this server.
fn webhook(
    document: &WebhookDocument,
    field: &str,
    compiler: &Compiler,
    surroundings: Surroundings<'_>,
    findings: &mut Findings,
) -> Option<WebhookConfig> {
    let at = |name: &str| format!("{field}.{name}");
    let timeout = span(document.timeout.as_deref(), 0, &at("timeout"), findings);
    if timeout == 0 {
        findings.required(&at("timeout"), "");
    } else if !(0..=TIMEOUT_NS_MAX).contains(&timeout) {
        findings.invalid(&at("timeout"), &go_duration(timeout), "must be > 0s and <= 30s");
    }
    let mut ttl = |value: &Option<String>, default: i128, name: &str| {
        let found = span(value.as_deref(), default, &at(name), findings);
        if found < 0 {
            findings.invalid(&at(name), &go_duration(found), "must be > 0s");
        }
        found
    };
    let authorized = ttl(&document.authorized_ttl, AUTHORIZED_NS, "authorizedTTL");
    let unauthorized = ttl(&document.unauthorized_ttl, UNAUTHORIZED_NS, "unauthorizedTTL");

    let version = match document.subject_access_review_version.as_str() {
        "v1beta1" => ReviewVersion::V1beta1,
        "v1" => ReviewVersion::V1,
        "" => {
            findings.required(&at("subjectAccessReviewVersion"), "");
            ReviewVersion::V1
        }
        other => {
            findings.unsupported(
                &at("subjectAccessReviewVersion"),
                &format!("{other:?}"),
                &["v1", "v1beta1"],
            );
            ReviewVersion::V1
        }
    };
    let conditions = document.match_conditions.as_deref().unwrap_or_default();
    match document.match_condition_subject_access_review_version.as_str() {
        "v1" => {}
        "" if conditions.is_empty() => {}
        "" => findings.required(
            &at("matchConditionSubjectAccessReviewVersion"),
            "required if match conditions are specified",
        ),
        other => {
            let field = at("matchConditionSubjectAccessReviewVersion");
            findings.unsupported(&field, &format!("{other:?}"), &["v1"]);
        }
    }
    let failure_policy = match document.failure_policy.as_str() {
        "NoOpinion" => FailurePolicy::NoOpinion,
        "Deny" => FailurePolicy::Deny,
        "" => {
            findings.required(&at("failurePolicy"), "");
            FailurePolicy::Deny
        }
        other => {
            findings.unsupported(&at("failurePolicy"), &format!("{other:?}"), &["NoOpinion", "Deny"]);
            FailurePolicy::Deny
        }
    };
    let kubeconfig = connection(document, &at("connectionInfo"), surroundings, findings);
    let conditions = compile_conditions(conditions, &at("matchConditions"), compiler, findings);
    let kept_ms = |span: i128, keeps: Option<bool>| if keeps == Some(false) { 0 } else { milliseconds(span) };
    Some(WebhookConfig {
        authorized_ms: kept_ms(authorized, document.cache_authorized_requests),
        unauthorized_ms: kept_ms(unauthorized, document.cache_unauthorized_requests),
        timeout_ms: milliseconds(timeout).max(1),
        version,
        failure_policy,
        kubeconfig: kubeconfig?,
        conditions,
    })
}

/// The path of the kubeconfig.
fn connection(
    document: &WebhookDocument,
    field: &str,
    surroundings: Surroundings<'_>,
    findings: &mut Findings,
) -> Option<String> {
    let connection = &document.connection_info;
    let file_field = format!("{field}.kubeConfigFile");
    let file = connection.kube_config_file.as_deref();
    match connection.kind.as_str() {
        "" => findings.required(&format!("{field}.type"), ""),
        "InClusterConfig" => {
            if let Some(file) = file {
                findings.invalid(&file_field, file, "can only be set when type=KubeConfigFile");
            }
        }
        "KubeConfigFile" => match file {
            None | Some("") => findings.required(&file_field, ""),
            Some(file) if !file.starts_with('/') => {
                findings.invalid(&file_field, file, "must be an absolute path");
            }
            Some(file) => match (surroundings.check_file)(file) {
                Some(wrong) => findings.invalid(&file_field, file, &wrong),
                None => return Some(file.to_owned()),
            },
        },
        other => {
            // In the order of the fields of Go's structure.
            let shown = format!(r#"{{"Type":{},"KubeConfigFile":{}}}"#, json!(other), json!(file));
            let supported = ["InClusterConfig", "KubeConfigFile"];
            findings.unsupported(&format!("{field}.type"), &shown, &supported);
        }
    }
    None
}

fn compile_conditions(
    documents: &[super::ConditionDocument],
    field: &str,
    compiler: &Compiler,
    findings: &mut Findings,
) -> MatchConditions {
    let mut conditions = MatchConditions::default();
    if documents.len() > CONDITIONS_MAX {
        findings.0.push(format!(
            "{field}: Too many: {}: must have at most {CONDITIONS_MAX} items",
            documents.len()
        ));
        return conditions;
    }
    let mut seen: Vec<&str> = Vec::new();
    for (at, document) in documents.iter().enumerate() {
        let field = format!("{field}[{at}].expression");
        let expression = document.expression.as_str();
        if expression.trim().is_empty() {
            findings.required(&field, "");
        } else if seen.contains(&expression) {
            findings.duplicate(&field, expression);
        } else {
            seen.push(expression);
            if let Err(error) = compiler.add(&mut conditions, expression) {
                findings.invalid(&field, expression, &error);
            }
        }
    }
    conditions
}

/// A span of time, nanoseconds. As upstream, none and an empty one are what is assumed.
fn span(text: Option<&str>, default: i128, field: &str, findings: &mut Findings) -> i128 {
    let Some(text) = text else { return default };
    match parse_duration(text) {
        Some(0) => default,
        Some(span) => span,
        None => {
            findings.invalid(field, text, &format!("time: invalid duration {text:?}"));
            // Nothing more is said of it.
            SECOND_NS
        }
    }
}

fn milliseconds(span_ns: i128) -> u64 {
    u64::try_from(span_ns / 1_000_000).unwrap_or_default()
}

/// A span of time as Go writes it.
fn go_duration(span_ns: i128) -> String {
    let sign = if span_ns < 0 { "-" } else { "" };
    let ns = span_ns.unsigned_abs();
    let second = SECOND_NS.unsigned_abs();
    let decimal = |value: u128, unit: u128| {
        let fraction = format!("{:0width$}", value % unit, width = unit.ilog10() as usize);
        let fraction = fraction.trim_end_matches('0');
        let whole = value / unit;
        if fraction.is_empty() || unit == 1 {
            whole.to_string()
        } else {
            format!("{whole}.{fraction}")
        }
    };
    if ns == 0 {
        return "0s".to_owned();
    }
    if ns < second {
        let (unit, name) = match ns {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            _ => (1_000_000, "ms"),
        };
        return format!("{sign}{}{name}", decimal(ns, unit));
    }
    let (hours, minutes) = (ns / (3600 * second), ns / (60 * second) % 60);
    let mut out = sign.to_owned();
    if hours > 0 {
        out.push_str(&format!("{hours}h"));
    }
    if hours > 0 || minutes > 0 {
        out.push_str(&format!("{minutes}m"));
    }
    out.push_str(&format!("{}s", decimal(ns % (60 * second), second)));
    out
}

#[cfg(test)]
mod tests {
    use super::go_duration;

    #[test]
    fn spans_are_written_as_go_writes_them() {
        for (ns, text) in [
            (0, "0s"),
            (31_000_000_000, "31s"),
            (90_500_000_000, "1m30.5s"),
            (3_600_000_000_000, "1h0m0s"),
            (-5_000_000_000, "-5s"),
            (1_500_000, "1.5ms"),
            (42, "42ns"),
        ] {
            assert_eq!(go_duration(ns), text);
        }
    }
}
