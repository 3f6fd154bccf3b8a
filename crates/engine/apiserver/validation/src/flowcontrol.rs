//! FlowSchema and PriorityLevelConfiguration.

use serde_json::{Value, json};

use crate::get::{flag, given, int, items, optional_int, same, text, texts};
use crate::gojson::{self, Shape};
use crate::labels::check;
use crate::names::{dns_label, dns_subdomain};
use crate::shared::Errors;
use crate::{FieldError, Path};

const PRECEDENCE_MAX: i64 = 10_000;
const QUEUES_MAX: i64 = 10_000_000;
/// Bits of a hash that queues are dealt by.
const HASH_BITS_MAX: i64 = 60;
const DISTINGUISHERS: [&str; 2] = ["ByNamespace", "ByUser"];
const VERBS: [&str; 9] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "proxy",
    "update",
    "watch",
];
const NAMED: Shape = Shape::Maybe(&Shape::Struct(&[("Name", "name", Shape::Text)]));
const DISTINGUISHER: Shape = Shape::Maybe(&Shape::Struct(&[("Type", "type", Shape::Text)]));
const SUBJECT: Shape = Shape::Struct(&[
    ("Kind", "kind", Shape::Text),
    ("User", "user", NAMED),
    ("Group", "group", NAMED),
    (
        "ServiceAccount",
        "serviceAccount",
        Shape::Maybe(&Shape::Struct(&[
            ("Namespace", "namespace", Shape::Text),
            ("Name", "name", Shape::Text),
        ])),
    ),
]);
const RESOURCE_RULE: Shape = Shape::Struct(&[
    ("Verbs", "verbs", Shape::Same),
    ("APIGroups", "apiGroups", Shape::Same),
    ("Resources", "resources", Shape::Same),
    ("ClusterScope", "clusterScope", Shape::Flag),
    ("Namespaces", "namespaces", Shape::Same),
]);
const OTHER_RULE: Shape = Shape::Struct(&[
    ("Verbs", "verbs", Shape::Same),
    ("NonResourceURLs", "nonResourceURLs", Shape::Same),
]);
const RULE: Shape = Shape::Struct(&[
    ("Subjects", "subjects", Shape::List(&SUBJECT)),
    ("ResourceRules", "resourceRules", Shape::List(&RESOURCE_RULE)),
    ("NonResourceRules", "nonResourceRules", Shape::List(&OTHER_RULE)),
]);
const SCHEMA_SPEC: Shape = Shape::Struct(&[
    (
        "PriorityLevelConfiguration",
        "priorityLevelConfiguration",
        Shape::Struct(&[("Name", "name", Shape::Text)]),
    ),
    ("MatchingPrecedence", "matchingPrecedence", Shape::Number),
    ("DistinguisherMethod", "distinguisherMethod", DISTINGUISHER),
    ("Rules", "rules", Shape::List(&RULE)),
]);
const QUEUING: Shape = Shape::Maybe(&Shape::Struct(&[
    ("Queues", "queues", Shape::Number),
    ("HandSize", "handSize", Shape::Number),
    ("QueueLengthLimit", "queueLengthLimit", Shape::Number),
]));
const LEVEL_SPEC: Shape = Shape::Struct(&[
    ("Type", "type", Shape::Text),
    (
        "Limited",
        "limited",
        Shape::Maybe(&Shape::Struct(&[
            ("NominalConcurrencyShares", "nominalConcurrencyShares", Shape::Number),
            (
                "LimitResponse",
                "limitResponse",
                Shape::Struct(&[("Type", "type", Shape::Text), ("Queuing", "queuing", QUEUING)]),
            ),
            ("LendablePercent", "lendablePercent", Shape::Same),
            ("BorrowingLimitPercent", "borrowingLimitPercent", Shape::Same),
        ])),
    ),
    (
        "Exempt",
        "exempt",
        Shape::Maybe(&Shape::Struct(&[
            ("NominalConcurrencyShares", "nominalConcurrencyShares", Shape::Same),
            ("LendablePercent", "lendablePercent", Shape::Same),
        ])),
    ),
]);

/// What is wrong with a FlowSchema.
pub(crate) fn create_schema(object: &Value) -> Errors {
    let spec = &object["spec"];
    let name = text(&object["metadata"]["name"]);
    let path = Path::Root.child("spec");
    let mut errors = schema_spec(spec, name, &path);
    if mandatory_schema(name).is_some_and(|fixed| !same(spec, &fixed)) {
        let detail = format!("spec of '{name}' must equal the fixed value");
        errors.push(gojson::invalid(path, &SCHEMA_SPEC, spec, &detail));
    }
    errors.extend(status(object));
    errors
}

/// What is wrong with a FlowSchema that replaces another.
pub(crate) fn update_schema(new: &Value, _old: &Value) -> Errors {
    create_schema(new)
}

/// What is wrong with a status of either kind.
pub(crate) fn update_status(new: &Value, _old: &Value) -> Errors {
    status(new)
}

/// The specs that the schemas of the system have.
fn mandatory_schema(name: &str) -> Option<Value> {
    let group = |name: &str| json!({"kind": "Group", "group": {"name": name}});
    let (precedence, groups) = match name {
        "exempt" => (1, json!([group("system:masters")])),
        "catch-all" => (
            PRECEDENCE_MAX,
            json!([group("system:unauthenticated"), group("system:authenticated")]),
        ),
        _ => return None,
    };
    let all = json!(["*"]);
    let mut spec = json!({
        "priorityLevelConfiguration": {"name": name},
        "matchingPrecedence": precedence,
        "rules": [{
            "subjects": groups,
            "resourceRules": [{
                "verbs": all, "apiGroups": all, "resources": all, "clusterScope": true, "namespaces": all,
            }],
            "nonResourceRules": [{"verbs": all, "nonResourceURLs": all}],
        }],
    });
    if name == "catch-all" {
        spec["distinguisherMethod"] = json!({"type": "ByUser"});
    }
    Some(spec)
}

fn schema_spec(spec: &Value, name: &str, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let precedence = int(&spec["matchingPrecedence"]);
    let mut wrong = |detail: &str| {
        errors.push(FieldError::invalid(
            path.child("matchingPrecedence"),
            precedence,
            detail,
        ));
    };
    if precedence <= 0 {
        wrong("must be a positive value");
    }
    if precedence > PRECEDENCE_MAX {
        wrong(&format!("must not be greater than {PRECEDENCE_MAX}"));
    }
    if precedence == 1 && name != "exempt" {
        wrong("only the schema named 'exempt' may have matchingPrecedence 1");
    }
    let method = &spec["distinguisherMethod"];
    if given(method) && !DISTINGUISHERS.contains(&text(&method["type"])) {
        let at = path.child("distinguisherMethod");
        let list: Vec<String> = DISTINGUISHERS.iter().map(|kind| format!("{kind:?}")).collect();
        errors.push(FieldError {
            reason: "FieldValueNotSupported",
            field: at.child("type").into(),
            message: format!(
                "Unsupported value: {}: supported values: {}",
                gojson::text(&DISTINGUISHER, method),
                list.join(", ")
            ),
        });
    }
    let above = path.child("priorityLevelConfiguration");
    match text(&spec["priorityLevelConfiguration"]["name"]) {
        "" => errors.push(FieldError::required(
            above.child("name"),
            "must reference a priority level",
        )),
        level => errors.extend(check(dns_subdomain, level, &above.child("name"))),
    }
    let rules = path.child("rules");
    for (i, one) in items(&spec["rules"]).iter().enumerate() {
        errors.extend(rule(one, &rules.index(i)));
    }
    errors
}

fn rule(rule: &Value, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let subjects = path.child("subjects");
    if items(&rule["subjects"]).is_empty() {
        errors.push(FieldError::required(
            subjects,
            "subjects must contain at least one value",
        ));
    }
    for (i, one) in items(&rule["subjects"]).iter().enumerate() {
        errors.extend(subject(one, &subjects.index(i)));
    }
    let (of_resources, others) = (items(&rule["resourceRules"]), items(&rule["nonResourceRules"]));
    if of_resources.is_empty() && others.is_empty() {
        let detail = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.push(FieldError::required(path, detail));
    }
    let at = path.child("resourceRules");
    for (i, one) in of_resources.iter().enumerate() {
        errors.extend(resource_rule(one, &at.index(i)));
    }
    let at = path.child("nonResourceRules");
    for (i, one) in others.iter().enumerate() {
        errors.extend(other_rule(one, &at.index(i)));
    }
    errors
}

/// Kinds of subjects with the fields that describe them, in the order in which others are refused.
const SUBJECTS: [(&str, &str); 3] = [
    ("ServiceAccount", "serviceAccount"),
    ("User", "user"),
    ("Group", "group"),
];

fn subject(subject: &Value, path: &Path<'_>) -> Errors {
    let kind = text(&subject["kind"]);
    let Some((_, field)) = SUBJECTS.iter().find(|(known, _)| *known == kind) else {
        let kinds = ["Group", "ServiceAccount", "User"];
        return vec![FieldError::not_supported(path.child("kind"), kind, &kinds)];
    };
    let mut errors = Errors::new();
    let at = path.child(field);
    if given(&subject[*field]) {
        let name = text(&subject[*field]["name"]);
        if name.is_empty() {
            errors.push(FieldError::required(at.child("name"), ""));
        } else if kind == "ServiceAccount" && name != "*" {
            errors.extend(check(dns_subdomain, name, &at.child("name")));
        }
        if kind == "ServiceAccount" {
            match text(&subject[*field]["namespace"]) {
                "" => {
                    let detail = "must specify namespace for service account";
                    errors.push(FieldError::required(at.child("namespace"), detail));
                }
                namespace => errors.extend(check(dns_label, namespace, &at.child("namespace"))),
            }
        }
    } else {
        let detail = format!("{field} is required when subject kind is '{kind}'");
        errors.push(FieldError::required(at, &detail));
    }
    for (other_kind, other) in SUBJECTS {
        if other_kind != kind && given(&subject[other]) {
            let detail = format!("{other} is forbidden when subject kind is not '{other_kind}'");
            errors.push(FieldError::forbidden(path.child(other), &detail));
        }
    }
    errors
}

/// A list with something in it, where `*` stands alone; `None` when its items are to be looked at.
fn wildcard_list(list: &Value, required: Option<&str>, others: &str, path: &Path<'_>) -> Option<Errors> {
    if items(list).is_empty() {
        let missing = required.map(|detail| FieldError::required(path, detail));
        return Some(missing.into_iter().collect());
    }
    if !texts(list).any(|item| item == "*") {
        return None;
    }
    let detail = format!("if '*' is present, must not specify other {others}");
    let alone = items(list).len() == 1;
    Some(
        (!alone)
            .then(|| FieldError::invalid(path, list.clone(), &detail))
            .into_iter()
            .collect(),
    )
}

fn verbs(rule: &Value, path: &Path<'_>) -> Errors {
    let at = path.child("verbs");
    let list = &rule["verbs"];
    let required = Some("verbs must contain at least one value");
    wildcard_list(list, required, "verbs", &at).unwrap_or_else(|| match texts(list).all(|verb| VERBS.contains(&verb)) {
        true => Errors::new(),
        false => vec![FieldError::not_supported(at, list.clone(), &VERBS)],
    })
}

fn resource_rule(rule: &Value, path: &Path<'_>) -> Errors {
    let mut errors = verbs(rule, path);
    for (key, required, others) in [
        (
            "apiGroups",
            "resource rules must supply at least one api group",
            "api groups",
        ),
        (
            "resources",
            "resource rules must supply at least one resource",
            "resources",
        ),
    ] {
        let at = path.child(key);
        errors.extend(wildcard_list(&rule[key], Some(required), others, &at).unwrap_or_default());
    }
    let at = path.child("namespaces");
    let required = "resource rules that are not cluster scoped must supply at least one namespace";
    let required = (!flag(&rule["clusterScope"])).then_some(required);
    match wildcard_list(&rule["namespaces"], required, "namespaces", &at) {
        Some(found) => errors.extend(found),
        None => {
            for (i, namespace) in texts(&rule["namespaces"]).enumerate() {
                for wrong in dns_label(namespace) {
                    let detail = format!("each member of this list must be '*' or a DNS-1123 label; {wrong}");
                    errors.push(FieldError::invalid(at.index(i), namespace, &detail));
                }
            }
        }
    }
    errors
}

fn other_rule(rule: &Value, path: &Path<'_>) -> Errors {
    let mut errors = verbs(rule, path);
    let at = path.child("nonResourceURLs");
    let list = &rule["nonResourceURLs"];
    let required = Some("nonResourceURLs must contain at least one value");
    match wildcard_list(list, required, "non-resource URLs", &at) {
        Some(found) => errors.extend(found),
        None => {
            for (i, url) in texts(list).enumerate() {
                let fault = url_fault(url);
                errors.extend(fault.map(|detail| FieldError::invalid(at.index(i), url, detail)));
            }
        }
    }
    errors
}

fn url_fault(url: &str) -> Option<&'static str> {
    match url {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !url.starts_with('/') => Some("must start with slash"),
        _ if url.contains(' ') => Some("must not contain white-space"),
        _ if url.contains("//") => Some("must not contain double slash"),
        _ if url.matches('*').count() > 1 || (url.contains('*') && !url.ends_with("/*")) => {
            Some("wildcard can only do suffix matching")
        }
        _ => None,
    }
}

fn status(object: &Value) -> Errors {
    let mut errors = Errors::new();
    let above = Path::Root.child("status");
    let path = above.child("conditions");
    let mut seen = std::collections::BTreeSet::new();
    for (i, condition) in items(&object["status"]["conditions"]).iter().enumerate() {
        let at = path.index(i);
        let kind = text(&condition["type"]);
        if !seen.insert(kind) {
            errors.push(FieldError::duplicate(at.child("type"), kind));
        }
        if kind.is_empty() {
            errors.push(FieldError::required(at.child("type"), "must not be empty"));
        }
    }
    errors
}

/// What is wrong with a PriorityLevelConfiguration.
pub(crate) fn create_level(object: &Value) -> Errors {
    let spec = &object["spec"];
    let name = text(&object["metadata"]["name"]);
    let path = Path::Root.child("spec");
    let mut errors = level_spec(spec, name, &path);
    let detail = match name {
        // What is exempt may still be given shares.
        "exempt" if text(&spec["type"]) != "Exempt" || given(&spec["limited"]) => {
            Some("spec of 'exempt' except the 'spec.exempt' field must equal the fixed value")
        }
        "catch-all" if !same(spec, &mandatory_level()) => Some("spec of 'catch-all' must equal the fixed value"),
        _ => None,
    };
    if let Some(detail) = detail {
        errors.push(gojson::invalid(path, &LEVEL_SPEC, spec, detail));
    }
    errors.extend(status(object));
    errors
}

/// What is wrong with a PriorityLevelConfiguration that replaces another.
pub(crate) fn update_level(new: &Value, _old: &Value) -> Errors {
    create_level(new)
}

fn mandatory_level() -> Value {
    let limited = json!({"nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}, "lendablePercent": 0});
    json!({"type": "Limited", "limited": limited})
}

fn level_spec(spec: &Value, name: &str, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let kind = text(&spec["type"]);
    if (name == "exempt") != (kind == "Exempt") {
        let detail = "type must be 'Exempt' if and only if name is 'exempt'";
        errors.push(FieldError::invalid(path.child("type"), kind, detail));
    }
    let (limited, exempt) = (&spec["limited"], &spec["exempt"]);
    match kind {
        "Exempt" => {
            if given(limited) {
                let detail = "must be nil if the type is not Limited";
                errors.push(FieldError::forbidden(path.child("limited"), detail));
            }
            let at = path.child("exempt");
            errors.extend(shares(exempt, &at));
            errors.extend(lendable(exempt, &at));
        }
        "Limited" => {
            if given(exempt) {
                let detail = "must be nil if the type is Limited";
                errors.push(FieldError::forbidden(path.child("exempt"), detail));
            }
            let at = path.child("limited");
            if given(limited) {
                errors.extend(limits(limited, &at));
            } else {
                errors.push(FieldError::required(at, "must not be empty when type is Limited"));
            }
        }
        other => {
            let kinds = ["Exempt", "Limited"];
            errors.push(FieldError::not_supported(path.child("type"), other, &kinds));
        }
    }
    errors
}

fn shares(level: &Value, path: &Path<'_>) -> Errors {
    let key = "nominalConcurrencyShares";
    match optional_int(&level[key]) {
        Some(shares) if shares < 0 => {
            let detail = "must be a non-negative integer";
            vec![FieldError::invalid(path.child(key), shares, detail)]
        }
        _ => Errors::new(),
    }
}

fn lendable(level: &Value, path: &Path<'_>) -> Errors {
    match optional_int(&level["lendablePercent"]) {
        Some(percent) if !(0..=100).contains(&percent) => {
            let detail = "must be between 0 and 100, inclusive";
            vec![FieldError::invalid(path.child("lendablePercent"), percent, detail)]
        }
        _ => Errors::new(),
    }
}

fn limits(limited: &Value, path: &Path<'_>) -> Errors {
    let mut errors = shares(limited, path);
    errors.extend(limit_response(&limited["limitResponse"], &path.child("limitResponse")));
    errors.extend(lendable(limited, path));
    if let Some(percent) = optional_int(&limited["borrowingLimitPercent"])
        && percent < 0
    {
        let detail = "if specified, must be a non-negative integer";
        errors.push(FieldError::invalid(
            path.child("borrowingLimitPercent"),
            percent,
            detail,
        ));
    }
    errors
}

fn limit_response(response: &Value, path: &Path<'_>) -> Errors {
    let at = path.child("queuing");
    let queues = given(&response["queuing"]);
    match text(&response["type"]) {
        "Reject" if queues => {
            let detail = "must be nil if limited.limitResponse.type is not Limited";
            vec![FieldError::forbidden(at, detail)]
        }
        "Reject" => Errors::new(),
        "Queue" if queues => queuing(&response["queuing"], &at),
        "Queue" => {
            let detail = "must not be empty if limited.limitResponse.type is Limited";
            vec![FieldError::required(at, detail)]
        }
        other => vec![FieldError::not_supported(
            path.child("type"),
            other,
            &["Queue", "Reject"],
        )],
    }
}

fn queuing(queuing: &Value, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let (limit, queues, hand) = (
        int(&queuing["queueLengthLimit"]),
        int(&queuing["queues"]),
        int(&queuing["handSize"]),
    );
    let mut wrong = |key: &str, value: i64, detail: &str| {
        errors.push(FieldError::invalid(path.child(key), value, detail));
    };
    if limit <= 0 {
        wrong("queueLengthLimit", limit, "must be positive");
    }
    if queues <= 0 {
        wrong("queues", queues, "must be positive");
    } else if queues > QUEUES_MAX {
        wrong("queues", queues, &format!("must not be greater than {QUEUES_MAX}"));
    }
    if hand <= 0 {
        wrong("handSize", hand, "must be positive");
    } else if hand > queues {
        wrong(
            "handSize",
            hand,
            &format!("should not be greater than queues ({queues})"),
        );
    } else if ((queues as f64).log2() * hand as f64).ceil() as i64 > HASH_BITS_MAX {
        let detail = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS_MAX}"
        );
        wrong("handSize", hand, &detail);
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_of_the_system_are_fixed() {
        for name in ["exempt", "catch-all"] {
            let mut schema = json!({"metadata": {"name": name}, "spec": mandatory_schema(name).unwrap()});
            assert!(create_schema(&schema).is_empty(), "{name}");
            schema["spec"]["rules"] = json!([]);
            assert!(create_schema(&schema)[0].message.contains("must equal the fixed value"));
        }
    }

    #[test]
    fn a_schema_names_its_level_and_method() {
        let schema = json!({"spec": {"matchingPrecedence": 1, "distinguisherMethod": {"type": "X"}}});
        let errors = create_schema(&schema);
        assert_eq!(
            errors[1].message,
            r#"Unsupported value: {"Type":"X"}: supported values: "ByNamespace", "ByUser""#
        );
        assert_eq!(errors[2].field, "spec.priorityLevelConfiguration.name");
    }

    #[test]
    fn subjects_are_of_one_kind() {
        let path = Path::Root.child("s");
        assert!(subject(&json!({"kind": "User", "user": {"name": "*"}}), &path).is_empty());
        assert_eq!(subject(&json!({"kind": "User", "group": {}}), &path).len(), 2);
        assert_eq!(
            subject(&json!({"kind": "ServiceAccount", "serviceAccount": {}}), &path).len(),
            2
        );
    }

    #[test]
    fn levels() {
        let level = |name: &str, spec: Value| create_level(&json!({"metadata": {"name": name}, "spec": spec}));
        assert!(level("catch-all", mandatory_level()).is_empty());
        assert!(level("exempt", json!({"type": "Exempt", "exempt": {"lendablePercent": 5}})).is_empty());
        assert_eq!(level("a", json!({"type": "Exempt"})).len(), 1);
        let queuing = json!({"queues": 64, "handSize": 20, "queueLengthLimit": 1});
        let limited = json!({"limitResponse": {"type": "Queue", "queuing": queuing}});
        assert_eq!(level("a", json!({"type": "Limited", "limited": limited})).len(), 1);
    }

    #[test]
    fn urls() {
        for (url, fine) in [
            ("/", true),
            ("/a/*", true),
            ("/a*", false),
            ("a", false),
            ("//", false),
            ("", false),
        ] {
            assert_eq!(url_fault(url).is_none(), fine, "{url}");
        }
    }
}
