//! Definitions as a whole.

use serde_json::{Value, json};

use super::*;

fn definition(schema: Value) -> Value {
    let names = json!({"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": names,
            "versions": [version],
            "conversion": {"strategy": "None"},
        },
    })
}

fn with_property(property: Value) -> Value {
    definition(json!({"type": "object", "properties": {"a": property}}))
}

fn messages(object: &Value) -> Vec<String> {
    create(object)
        .iter()
        .map(|e| format!("{}: {}", e.field, e.message))
        .collect()
}

#[test]
fn a_plain_one_is_valid() {
    let object = definition(json!({"type": "object"}));
    assert_eq!(create(&object), []);
    assert_eq!(update(&object, &object), []);
}

#[test]
fn schemas_are_structural() {
    let at = "spec.validation.openAPIV3Schema.properties[a]";
    for (property, expected) in [
        (
            json!({}),
            format!("{at}.type: Required value: must not be empty for specified object fields"),
        ),
        (
            json!({"$ref": "x"}),
            format!("{at}.$ref: Forbidden: $ref is not supported"),
        ),
        (
            json!({"type": "array"}),
            format!("{at}.items: Required value: must be specified"),
        ),
        (
            json!({"type": "integer", "default": "x"}),
            format!("{at}.default: Invalid value: \"string\":  in body must be of type integer: \"string\""),
        ),
        (
            json!({"type": "object", "default": {"z": 1}, "properties": {"y": {"type": "string"}}}),
            format!("{at}.default: Invalid value: {{\"z\":1}}: must not have unknown fields"),
        ),
        (
            json!({"type": "string", "pattern": "["}),
            format!(
                "{at}.pattern: Invalid value: \"[\": must be a valid regular expression, but isn't: error parsing regexp: missing closing ]: `[`"
            ),
        ),
    ] {
        assert_eq!(messages(&with_property(property)), [expected]);
    }
}

#[test]
fn what_is_validated_is_defined() {
    let schema = json!({"type": "object", "anyOf": [{"properties": {"q": {"type": "string"}}}]});
    assert_eq!(
        messages(&definition(schema)),
        [
            "spec.validation.openAPIV3Schema.anyOf[0].properties[q].type: Forbidden: must be empty to be structural",
            "spec.validation.openAPIV3Schema.properties[q]: Required value: because it is defined in spec.validation.openAPIV3Schema.anyOf[0].properties[q]",
        ]
    );
}

#[test]
fn versions_print_as_upstream_has_them() {
    let mut object = definition(json!({"type": "object"}));
    object["spec"]["versions"][0]["storage"] = json!(false);
    assert_eq!(
        messages(&object),
        [
            r#"spec.versions: Invalid value: [{"Name":"v1","Served":true,"Storage":false,"Deprecated":false,"DeprecationWarning":null,"Schema":null,"Subresources":null,"AdditionalPrinterColumns":null,"SelectableFields":null}]: must have exactly one version marked as storage version"#,
            "status.storedVersions: Invalid value: null: must have at least one stored version",
        ]
    );
}

#[test]
fn groups_of_the_community_are_approved() {
    let mut object = definition(json!({"type": "object"}));
    object["metadata"]["name"] = json!("widgets.x.k8s.io");
    object["spec"]["group"] = json!("x.k8s.io");
    assert_eq!(create(&object)[0].field, format!("metadata.annotations[{APPROVAL}]"));
    object["metadata"]["annotations"] = json!({APPROVAL: "https://example.com/1"});
    assert_eq!(create(&object), []);
    object["metadata"]["annotations"] = json!({APPROVAL: "x"});
    assert_eq!(create(&object).len(), 1);
}

#[test]
fn stored_versions_stay() {
    let object = definition(json!({"type": "object"}));
    let mut new = object.clone();
    new["status"] = json!({"storedVersions": ["v0", "v1"]});
    assert_eq!(update(&new, &object)[0].field, "status.storedVersions[0]");
}

#[test]
fn established_ones_keep_kind_and_scope() {
    let mut old = definition(json!({"type": "object"}));
    old["status"] = json!({"conditions": [{"type": "Established", "status": "True"}], "storedVersions": ["v1"]});
    let mut new = old.clone();
    new["spec"]["scope"] = json!("Cluster");
    assert_eq!(
        update(&new, &old)[0].message,
        "Invalid value: \"Cluster\": field is immutable"
    );
}

#[test]
fn deep_schemas_are_no_danger() {
    let mut schema = json!({"type": "object"});
    for i in 0..300 {
        let key = ["properties", "items", "allOf", "not", "additionalProperties"][i % 5];
        let inner = match key {
            "properties" => json!({"a": schema}),
            "allOf" => json!([schema]),
            _ => schema,
        };
        schema = json!({"type": "object"});
        schema[key] = inner;
    }
    let object = definition(schema);
    let _ = (create(&object).len(), update(&object, &object).len());
}

/// A rule as errors print it.
fn printed(rule: &str, rest: &str) -> String {
    let rule = crate::html_safe(&Value::from(rule).to_string());
    let given = format!(
        r#"{{"Rule":{rule},"Message":"","MessageExpression":"","Reason":null,"FieldPath":"","OptionalOldSelf":null}}"#
    );
    format!("Invalid value: {given}: {rest}")
}

#[test]
fn rules_compile() {
    let with = |rules: Value| {
        let integer = json!({"type": "integer"});
        messages(&definition(json!({"type": "object", "properties": {"spec": {
            "type": "object", "x-kubernetes-validations": rules,
            "properties": {"n": integer, "l": {"type": "array", "maxItems": 3, "items": integer}},
        }}})))
    };
    let at = "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations";
    assert!(with(json!([{"rule": "self.n > 1"}, {"rule": "self.l.all(x, x > self.n)", "messageExpression": "self.n > 0 ? 'n is large' : 'n is small'"}])).is_empty());
    assert_eq!(
        with(json!([{"rule": "true"}, {"rule": "self.m < 1"}])),
        [format!(
            "{at}[1].rule: {}",
            printed(
                "self.m < 1",
                "compilation failed: ERROR: <input>:1:5: undefined field 'm'\n | self.m < 1\n | ....^"
            )
        )]
    );
    assert_eq!(
        with(json!([{"rule": "self.n"}])),
        [format!(
            "{at}[0].rule: {}",
            printed("self.n", "cel expression must evaluate to a bool")
        )]
    );
    let found =
        with(json!([{"rule": "true", "messageExpression": "self.n"}, {"rule": "true", "messageExpression": "x"}]));
    assert!(found[0].starts_with(&format!(
        "{at}[0].messageExpression: Invalid value: {{\"Rule\":\"true\""
    )));
    assert!(found[0].ends_with(": messageExpression must evaluate to a string"));
    assert!(
        found[1].contains(": messageExpression compilation failed: ERROR: <input>:1:1: undeclared reference to 'x'")
    );
    assert_eq!(
        with(json!([{"rule": "true", "optionalOldSelf": true}])),
        [format!(
            "{at}[0].optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule"
        )]
    );
    // What cannot be told from other old values has none.
    let items = json!({"type": "object", "properties": {"l": {"type": "array", "maxItems": 2, "items":
        {"type": "string", "maxLength": 5, "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}}}});
    let at = "spec.validation.openAPIV3Schema.properties[l]";
    assert_eq!(
        messages(&definition(items)),
        [format!(
            "{at}.items.x-kubernetes-validations[0].rule: Invalid value: \"self == oldSelf\": oldSelf cannot be used on the uncorrelatable portion of the schema within {at}"
        )]
    );
}

#[test]
fn rules_are_not_looked_at_in_a_faulty_schema() {
    let object = definition(
        json!({"type": "object", "x-kubernetes-validations": [{"rule": "nonsense("}],
        "properties": {"a": {"type": "string", "uniqueItems": true}}}),
    );
    assert_eq!(
        messages(&object),
        [
            "spec.validation.openAPIV3Schema.properties[a].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        ]
    );
}

#[test]
fn rules_must_not_cost_too_much() {
    const HINT: &str = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)";
    let quadratic = json!({"type": "array", "items": {"type": "string"},
        "x-kubernetes-validations": [{"rule": "self.all(a, self.all(b, a + b != 'x'))"}]});
    let expensive = definition(json!({"type": "object", "properties": {"l": quadratic}}));
    let at = "spec.validation.openAPIV3Schema";
    let rule = format!("{at}.properties[l].x-kubernetes-validations[0].rule");
    assert_eq!(
        messages(&expensive),
        [
            format!("{rule}: Forbidden: estimated rule cost exceeds budget by factor of more than 100x {HINT}"),
            format!(
                "{rule}: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
            ),
            format!(
                "{at}: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x {HINT}"
            ),
        ]
    );
    // One expression of a schema that stays as it is may cost what it did.
    let linear = definition(
        json!({"type": "object", "properties": {"l": {"type": "array", "items": {"type": "string"},
        "x-kubernetes-validations": [{"rule": "self.all(a, a + a + a != 'x')"}]}}}),
    );
    assert!(messages(&linear)[0].contains("estimated rule cost exceeds budget by factor of"));
    let renewed: Vec<String> = update(&linear, &linear).into_iter().map(|e| e.message).collect();
    assert!(
        renewed
            .iter()
            .all(|message| !message.contains("estimated rule cost exceeds")),
        "{renewed:?}"
    );
}

#[test]
fn defaults_hold_to_rules() {
    let with = |default: Value, rule: Value| {
        messages(&with_property(
            json!({"type": "object", "default": default, "x-kubernetes-validations": [rule],
            "properties": {"n": {"type": "integer"}}}),
        ))
    };
    let positive = json!({"rule": "self.n > 0", "message": "positive"});
    assert!(with(json!({"n": 1}), positive.clone()).is_empty());
    let at = "spec.validation.openAPIV3Schema.properties[a].default";
    assert_eq!(
        with(json!({"n": 0}), positive),
        [format!("{at}: Invalid value: \"object\": positive")]
    );
    let appears = json!({"rule": "oldSelf.hasValue()", "optionalOldSelf": true, "message": "was there"});
    assert_eq!(
        with(json!({"n": 0}), appears),
        [format!("{at}: Invalid value: \"object\": was there")]
    );
}
