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
