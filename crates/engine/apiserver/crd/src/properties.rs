//! Nothing that is JSON makes any of this panic.

use engenho_catalog::resource::Published;
use engenho_catalog::schema::Dialect;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::conditions::{self, Claimed, Deletion};
use crate::{Definition, instance, publish, strategy, table};

const KEYS: [&str; 30] = [
    "type",
    "properties",
    "items",
    "additionalProperties",
    "default",
    "enum",
    "required",
    "anyOf",
    "oneOf",
    "allOf",
    "not",
    "pattern",
    "format",
    "minimum",
    "multipleOf",
    "maxItems",
    "nullable",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-validations",
    "metadata",
    "spec",
    "status",
    "apiVersion",
    "kind",
    "labels",
    "k",
];

fn anything() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just("object"),
        Just("array"),
        Just("string"),
        Just("integer"),
        Just("number"),
        Just("map"),
        Just("set"),
        Just("date-time"),
        Just("^a+$"),
        Just("k"),
        Just(".spec.k"),
        Just("é"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-3_i64..4).prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 5, |inner| {
        let key = prop::sample::select(KEYS.to_vec());
        let map = prop::collection::vec((key, inner.clone()), 0..5);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            map.prop_map(|entries| entries
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect::<Map<_, _>>()
                .into()),
        ]
    })
}

fn definition(schema: &Value) -> Value {
    json!({
        "metadata": {"name": "as.g"},
        "spec": {"group": "g", "scope": "Namespaced", "names": {"plural": "as", "singular": "a", "kind": "A", "listKind": "AList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.k", "statusReplicasPath": ".status.k"}},
                "additionalPrinterColumns": [{"name": "a", "type": "string", "jsonPath": ".spec"}],
                "selectableFields": [{"jsonPath": ".spec.k"}]}]},
        "status": {"acceptedNames": {"plural": "as", "singular": "a", "kind": "A", "listKind": "AList"},
            "conditions": [{"type": "Established", "status": "True"}]},
    })
}

proptest! {
    #[test]
    fn any_schema_and_any_object(schema in anything(), spec in anything(), other in anything()) {
        let crd = definition(&schema);
        let compiled = Definition::compile(&crd).unwrap();
        let _ = compiled.resources();
        let version = compiled.version("v1").unwrap();
        let mut new = json!({"apiVersion": "g/v1", "kind": "A", "metadata": {"name": "x"}, "spec": spec.clone(), "status": other.clone()});
        let old = json!({"apiVersion": "g/v1", "kind": "A", "metadata": {"name": "x"}, "spec": other.clone(), "status": spec});
        if version.decode(&mut new, false).is_ok() {
            version.default(&mut new);
        }
        let _ = instance::create(&compiled, version, &new);
        let _ = instance::update(&compiled, version, &new, &old);
        let _ = instance::update_status(&compiled, version, &new, &old);
        let _ = table::cells(&version.columns, &new, &|_| None);
        let _ = version.selected("spec.k", &new);
        let scale = version.scale.as_ref().unwrap();
        if let Ok((view, set)) = scale.view(&new) {
            let _ = scale.put(&mut new.clone(), &view, set);
        }
        let shown = publish::Publication::new(&crd["spec"], &crd["spec"]["versions"][0]);
        let _ = shown.render(Dialect::V2);
        strategy::prepare_create(version, &mut new.clone());
        strategy::prepare_update(version, &mut new.clone(), &old);
        strategy::prepare_status(&mut new, &old);
        compiled.read(version, &mut new);
        compiled.write(&mut new);
    }

    #[test]
    fn any_definition_and_any_instance(mut crd in anything(), object in anything()) {
        let claimed = Claimed::of("", [&crd, &object]);
        let _ = conditions::settle(&crd, &claimed, "now");
        let _ = conditions::mark_deleted(&crd, "now");
        let _ = conditions::finalize(&crd, &Deletion::Completed, "now");
        conditions::keep_storage_version(&mut crd);
        let compiled = Definition::compile(&definition(&crd)).unwrap();
        let version = compiled.version("v1").unwrap();
        let mut read = object.clone();
        let _ = version.decode(&mut read, true);
        compiled.read(version, &mut read);
        let _ = instance::create(&compiled, version, &object);
        let _ = instance::update(&compiled, version, &object, &crd);
        let _ = table::cells(&version.columns, &object, &|_| None);
        let _ = Definition::compile(&crd);
    }

    #[test]
    fn defaulting_and_pruning_twice_change_nothing_more(schema in anything(), spec in anything()) {
        let compiled = Definition::compile(&definition(&schema)).unwrap();
        let version = compiled.version("v1").unwrap();
        let mut once = json!({"apiVersion": "g/v1", "kind": "A", "metadata": {"name": "x"}, "spec": spec});
        if version.decode(&mut once, false).is_ok() {
            let mut twice = once.clone();
            prop_assert_eq!(version.decode(&mut twice, false), Ok(Vec::new()));
            prop_assert_eq!(once, twice);
        }
    }
}
