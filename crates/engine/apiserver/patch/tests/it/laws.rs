//! Laws of apply on generated Deployments.

use engenho_catalog::{Catalog, Schema};
use engenho_patch::managed::{FieldManager, Managers};
use engenho_patch::meta;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const NOW: &str = "2025-01-01T00:00:00Z";

fn manager() -> FieldManager<'static, Schema<'static>> {
    let schema = Catalog::builtin().schema("apps", "v1", "Deployment").unwrap();
    FieldManager::new(schema, "apps/v1", "Deployment")
}

/// A configuration whose labels, containers and variables start with `prefix`.
fn config(prefix: &'static str) -> impl Strategy<Value = Value> {
    let labels = prop::collection::btree_map("[a-c]", "[xy]", 0..3);
    let variables = prop::collection::btree_map("[A-C]", prop::option::of("[xy]"), 0..3);
    let container = (prop::option::of("[xy]"), variables);
    let containers = prop::collection::btree_map("[a-c]", container, 0..3);
    (labels, containers).prop_map(move |(labels, containers)| {
        let labels: Map<String, Value> = labels
            .into_iter()
            .map(|(name, value)| (format!("{prefix}{name}"), value.into()))
            .collect();
        let containers: Vec<Value> = containers
            .into_iter()
            .map(|(name, (image, variables))| {
                let variables: Vec<Value> = variables
                    .into_iter()
                    .map(|(name, value)| match value {
                        Some(value) => json!({"name": name, "value": value}),
                        None => json!({"name": name}),
                    })
                    .collect();
                let mut container = json!({"name": format!("{prefix}{name}"), "env": variables});
                if let Some(image) = image {
                    container["image"] = image.into();
                }
                container
            })
            .collect();
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "labels": labels},
            "spec": {"template": {"spec": {"containers": containers}}}})
    })
}

fn apply(live: Option<&Value>, config: &Value, who: &str) -> Value {
    let mut object = manager().apply(live, config, who, true, NOW).unwrap().object;
    meta::set_uid(&mut object, "u-1");
    object
}

/// The object with its containers in order of their names, for their order is that of the appliers, and without times,
/// which an apply that changes nothing leaves out.
fn ordered(mut object: Value) -> Value {
    let mut entries = meta::managed_fields(&object).cloned().unwrap_or_default();
    for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
        entry.remove("time");
    }
    entries.sort_by_key(|entry| entry["manager"].to_string());
    meta::set_managed_fields(&mut object, entries);
    if let Some(Value::Array(containers)) = object.pointer_mut("/spec/template/spec/containers") {
        containers.sort_by_key(|container| container["name"].to_string());
    }
    object
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn applying_again_changes_nothing(first in config(""), second in config("")) {
        let live = apply(Some(&apply(None, &first, "alice")), &second, "bob");
        let again = manager().apply(Some(&live), &second, "bob", false, "2026-01-01T00:00:00Z").unwrap();
        prop_assert!(!again.changed);
        prop_assert_eq!(again.object.to_string(), live.to_string());
    }

    #[test]
    fn disjoint_appliers_commute(one in config("p"), two in config("q")) {
        let left = apply(Some(&apply(None, &one, "alice")), &two, "bob");
        let right = apply(Some(&apply(None, &two, "bob")), &one, "alice");
        prop_assert_eq!(ordered(left), ordered(right));
    }

    #[test]
    fn an_applier_that_leaves_takes_its_fields_along(one in config("p"), two in config("q")) {
        let alone = apply(None, &one, "alice");
        let both = apply(Some(&alone), &two, "bob");
        let empty = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}});
        let after = apply(Some(&both), &empty, "bob");
        let spec = |object: &Value| object.pointer("/spec/template/spec/containers").cloned().unwrap_or(Value::Null);
        let labels = |object: &Value| meta::labels(object).cloned().unwrap_or_default();
        prop_assert_eq!(labels(&after), labels(&alone));
        if !spec(&alone).as_array().is_none_or(Vec::is_empty) {
            prop_assert_eq!(spec(&after), spec(&alone));
        }
    }

    #[test]
    fn every_field_of_a_new_object_has_one_updater(object in config("")) {
        let created = manager().update(None, object, "creator", NOW).unwrap();
        let managers = Managers::decode(meta::managed_fields(&created).map(Vec::as_slice).unwrap_or_default()).unwrap();
        prop_assert!(managers.entries.len() <= 1);
        prop_assert_eq!(managers.encode(), meta::managed_fields(&created).cloned().unwrap_or_default());
    }

    #[test]
    fn arbitrary_managed_fields_never_panic(
        fields in prop::collection::btree_map("(\\.|f:[a-z]{0,4}|k:\\{.{0,4}|v:.{0,3}|i:[0-9]{0,2})", Just(json!({})), 0..4),
        config in config(""),
    ) {
        let fields: Map<String, Value> = fields.into_iter().collect();
        let entry = json!({"manager": "x", "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": fields});
        let live = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "uid": "u", "managedFields": [entry]}});
        let _ = manager().apply(Some(&live), &config, "alice", true, NOW);
        let _ = manager().update(Some(&live), config, "alice", NOW);
    }
}
