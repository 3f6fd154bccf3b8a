//! What becomes of objects of built-in kinds that are decoded into typed structures and encoded again: some fields with
//! their type's zero value are left out, others are always there.
//!
//! [`decoded`] is for what clients send, [`encoded`] for what they are shown, [`stored`] for what the storage form
//! cannot tell apart. Each changes nothing the second time.

use engenho_catalog::schema::Zero;
use serde_json::Value;

use crate::defaults::fill_structure;
use crate::schema::{Additional, SchemaNode, SchemaType};

/// Lists for which empty is not the same as absent until they are validated: definition and field.
const EMPTY_MATTERS: [(&str, &str); 1] = [("io.k8s.api.autoscaling.v2.HPAScalingRules", "policies")];

/// Removes what a typed structure cannot hold apart from nothing: nulls, and zero values of fields that are left out
/// when they have one. Values of types that hold any JSON stay as they are.
pub fn decoded<S: SchemaNode>(value: &mut Value, schema: &S) {
    match value {
        Value::Object(object) if schema.has_properties() => {
            object.retain(|name, value| {
                let Some(property) = schema.property(name) else {
                    return true;
                };
                if value.is_object() && is_schema_or_other(&property) {
                    decoded(value, schema);
                } else {
                    decoded(value, &property);
                }
                match value {
                    Value::Null => false,
                    value => property.zero() != Zero::Omitted || !is_zero(value) || empty_matters(schema, name),
                }
            });
        }
        Value::Object(object) => {
            if let Additional::Schema(values) = schema.additional_properties() {
                for value in object.values_mut() {
                    if value.is_null() {
                        *value = zero_value(&values);
                    }
                    decoded(value, &values);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.items() {
                list.iter_mut().for_each(|value| decoded(value, &items));
            }
        }
        _ => {}
    }
}

/// Adds what is always written: structures, zero values that are not left out, and nulls.
pub fn encoded<S: SchemaNode>(value: &mut Value, schema: &S) {
    fill_structure(value, schema);
}

/// Makes empty lists and maps null where absent ones are: the storage form knows no difference.
pub fn stored<S: SchemaNode>(value: &mut Value, schema: &S) {
    match value {
        Value::Object(object) if schema.has_properties() => {
            for (name, value) in object.iter_mut() {
                if let Some(property) = schema.property(name) {
                    if property.zero() == Zero::Null && is_empty_collection(value, &property) {
                        *value = Value::Null;
                    }
                    stored(value, &property);
                }
            }
        }
        Value::Object(object) => {
            if let Additional::Schema(values) = schema.additional_properties() {
                object.values_mut().for_each(|value| stored(value, &values));
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.items() {
                list.iter_mut().for_each(|value| stored(value, &items));
            }
        }
        _ => {}
    }
}

/// Whether a value is its type's zero value, or an empty list or map.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// An empty list, or an empty map with free keys.
fn is_empty_collection<S: SchemaNode>(value: &Value, schema: &S) -> bool {
    match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty() && matches!(schema.additional_properties(), Additional::Schema(_)),
        _ => false,
    }
}

/// Whether a field of the schema of a custom resource is such a schema again, or something else in its place: OpenAPI
/// does not tell of what.
fn is_schema_or_other<S: SchemaNode>(schema: &S) -> bool {
    let suffixes = [".JSONSchemaPropsOrArray", ".JSONSchemaPropsOrBool"];
    let name = schema.definition_name();
    name.is_some_and(|name| suffixes.iter().any(|suffix| name.ends_with(suffix)))
}

fn empty_matters<S: SchemaNode>(schema: &S, field: &str) -> bool {
    EMPTY_MATTERS
        .iter()
        .any(|(definition, name)| *name == field && schema.definition_name().is_some_and(|have| have == *definition))
}

/// What a value of a map is when it is null.
fn zero_value<S: SchemaNode>(schema: &S) -> Value {
    if schema.definition_name().is_some_and(|name| name.ends_with(".Quantity")) {
        return "0".into();
    }
    match schema.schema_type() {
        SchemaType::String => "".into(),
        SchemaType::Integer | SchemaType::Number | SchemaType::IntOrString => 0.into(),
        SchemaType::Boolean => false.into(),
        SchemaType::Object if schema.has_properties() => Value::Object(serde_json::Map::new()),
        SchemaType::Object | SchemaType::Array | SchemaType::Any => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engenho_catalog::{Catalog, Schema};
    use proptest::prelude::*;
    use serde_json::json;

    fn schema(group: &str, version: &str, kind: &str) -> Schema<'static> {
        Catalog::builtin().schema(group, version, kind).unwrap()
    }

    fn read(group: &str, version: &str, kind: &str, mut value: Value) -> Value {
        decoded(&mut value, &schema(group, version, kind));
        value
    }

    #[test]
    fn zero_values_of_optional_fields_mean_nothing() {
        let container = json!({
            "name": "", "image": "", "tty": false, "args": [], "env": [{"name": "E", "value": ""}],
            "ports": [{"containerPort": 0, "hostPort": 0, "name": "", "protocol": ""}],
            "livenessProbe": {"initialDelaySeconds": 0, "httpGet": {"port": 0, "path": ""}},
            "resources": {"limits": {}, "requests": {"cpu": "0"}}, "securityContext": {"privileged": false},
        });
        let pod = json!({
            "metadata": {"name": "", "labels": {}, "annotations": {"a": ""}},
            "spec": {"containers": [container], "automountServiceAccountToken": false, "hostNetwork": false,
                "volumes": [{"name": "v", "emptyDir": {}, "configMap": {"name": "", "optional": false}}]},
        });
        let expected = json!({
            "metadata": {"annotations": {"a": ""}},
            "spec": {
                "containers": [{
                    "name": "", "env": [{"name": "E"}], "ports": [{"containerPort": 0}],
                    "livenessProbe": {"httpGet": {"port": 0}}, "resources": {"requests": {"cpu": "0"}},
                    "securityContext": {"privileged": false},
                }],
                "automountServiceAccountToken": false,
                "volumes": [{"name": "v", "emptyDir": {}, "configMap": {"optional": false}}],
            },
        });
        assert_eq!(read("", "v1", "Pod", pod), expected);
    }

    #[test]
    fn nulls_are_absent_or_zero() {
        let object = json!({"data": {"a": null, "b": "x"}, "binaryData": null, "immutable": null});
        let expected = json!({"data": {"a": "", "b": "x"}});
        assert_eq!(read("", "v1", "ConfigMap", object), expected);
        let revision = json!({"data": {"a": null, "b": {}, "c": ""}, "revision": 0});
        assert_eq!(read("apps", "v1", "ControllerRevision", revision.clone()), revision);
    }

    #[test]
    fn schemas_of_items_are_read_as_schemas() {
        let nested = json!({"type": "object", "nullable": false, "default": null, "enum": [null], "properties": {}});
        let schema = json!({"type": "array", "items": nested, "additionalProperties": false});
        let version = |schema: Value| json!({"spec": {"versions": [{"schema": {"openAPIV3Schema": schema}}]}});
        let expected =
            json!({"type": "array", "items": {"type": "object", "enum": [null]}, "additionalProperties": false});
        let kind = ("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
        assert_eq!(read(kind.0, kind.1, kind.2, version(schema)), version(expected));
    }

    #[test]
    fn empty_lists_that_are_always_written_stay_until_stored() {
        let schema = schema("rbac.authorization.k8s.io", "v1", "Role");
        let mut role = json!({"rules": []});
        decoded(&mut role, &schema);
        encoded(&mut role, &schema);
        assert_eq!(role, json!({"metadata": {}, "rules": []}));
        stored(&mut role, &schema);
        assert_eq!(role, json!({"metadata": {}, "rules": null}));
    }

    #[test]
    fn an_autoscaler_may_have_no_policies_until_it_is_refused() {
        let spec = |policies: Value| json!({"spec": {"behavior": {"scaleUp": {"policies": policies}}}});
        let kind = ("autoscaling", "v2", "HorizontalPodAutoscaler");
        assert_eq!(read(kind.0, kind.1, kind.2, spec(json!([]))), spec(json!([])));
    }

    #[test]
    fn what_is_always_written_is_added() {
        let mut event = json!({"reportingInstance": "i"});
        encoded(&mut event, &schema("", "v1", "Event"));
        let expected = json!({
            "metadata": {}, "involvedObject": {}, "source": {}, "eventTime": null, "firstTimestamp": null,
            "lastTimestamp": null, "reportingComponent": "", "reportingInstance": "i",
        });
        assert_eq!(event, expected);
        let mut pod = json!({"metadata": {}, "spec": {"containers": [{"name": "c"}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        encoded(&mut pod, &schema("", "v1", "Pod"));
        let condition = json!({"type": "Ready", "status": "True", "lastProbeTime": null, "lastTransitionTime": null});
        assert_eq!(pod["status"]["conditions"], json!([condition]));
        assert_eq!(pod["spec"], json!({"containers": [{"name": "c", "resources": {}}]}));
    }

    fn pod_like() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0_i64..2).prop_map(Value::from),
            prop::sample::select(&["", "x"][..]).prop_map(Value::from),
        ];
        const NAMES: [&str; 12] = [
            "metadata",
            "labels",
            "spec",
            "status",
            "conditions",
            "containers",
            "env",
            "name",
            "template",
            "limits",
            "resources",
            "hostNetwork",
        ];
        leaf.prop_recursive(6, 64, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map(prop::sample::select(&NAMES[..]), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().map(|(name, of)| (name.to_owned(), of)).collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_second_time_changes_nothing(value in pod_like()) {
            for (group, kind) in [("", "Pod"), ("apps", "Deployment")] {
                let schema = schema(group, "v1", kind);
                for step in [decoded, encoded, stored] {
                    let mut once = value.clone();
                    step(&mut once, &schema);
                    let mut twice = once.clone();
                    step(&mut twice, &schema);
                    prop_assert_eq!(&once, &twice);
                }
            }
        }
    }
}
