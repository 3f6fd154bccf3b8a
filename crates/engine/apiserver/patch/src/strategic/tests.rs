use super::*;
use crate::schema::TreeSchema;
use crate::testing::{json_object, json_value};
use proptest::prelude::*;
use serde_json::json;

fn schema() -> TreeSchema {
    TreeSchema::from_structural(&json!({"type": "object", "properties": {
        "name": {"type": "string"},
        "finalizers": {"type": "array", "items": {"type": "string"}, "x-kubernetes-patch-strategy": "merge"},
        "args": {"type": "array", "items": {"type": "string"}},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "replaced": {"type": "object", "additionalProperties": {"type": "string"}, "x-kubernetes-patch-strategy": "replace"},
        "strategy": {"type": "object", "x-kubernetes-patch-strategy": "retainKeys", "properties": {
            "type": {"type": "string"}, "rollingUpdate": {"type": "object", "properties": {"max": {"type": "integer"}}}}},
        "containers": {"type": "array", "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "name",
            "items": {"type": "object", "properties": {
                "name": {"type": "string"}, "image": {"type": "string"},
                "env": {"type": "array", "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "name",
                    "items": {"type": "object", "properties": {"name": {"type": "string"}, "value": {"type": "string"}}}}}}},
    }}))
    .unwrap()
}

fn patched(original: Value, patch: Value) -> Value {
    apply(original, patch, &schema()).unwrap()
}

fn refused(original: Value, patch: Value) -> PatchError {
    apply(original, patch, &schema()).unwrap_err()
}

#[test]
fn lists_of_objects_merge_by_key() {
    let original = json!({"containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b", "image": "1"}]});
    let patch = json!({"containers": [{"name": "b", "image": "2"}, {"name": "c", "image": "3"},
        {"name": "a", "env": [{"name": "Y", "value": "2"}]}]});
    let expected = json!({"containers": [{"name": "b", "image": "2"}, {"name": "c", "image": "3"},
        {"name": "a", "image": "1", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]}]});
    assert_eq!(patched(original, patch), expected);
}

#[test]
fn items_only_the_server_has_keep_their_place() {
    let original = json!({"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]});
    let patch = json!({"containers": [{"name": "b", "image": "2"}]});
    let expected = json!({"containers": [{"name": "a"}, {"name": "b", "image": "2"}, {"name": "c"}]});
    assert_eq!(patched(original, patch), expected);
}

#[test]
fn directives_on_items() {
    let original = json!({"containers": [{"name": "a"}, {"name": "b"}]});
    let delete = json!({"containers": [{"name": "a", "$patch": "delete"}]});
    assert_eq!(
        patched(original.clone(), delete),
        json!({"containers": [{"name": "b"}]})
    );
    let replace = json!({"containers": [{"$patch": "replace"}, {"name": "c"}]});
    assert_eq!(
        patched(original.clone(), replace),
        json!({"containers": [{"name": "c"}]})
    );
    let merge = json!({"containers": [{"name": "a", "$patch": "merge"}]});
    assert_eq!(refused(original.clone(), merge), PatchError::MergeDirectiveInList);
    let unknown = json!({"containers": [{"name": "a", "$patch": "sing"}]});
    assert_eq!(
        refused(original.clone(), unknown).to_string(),
        "unknown patch type: sing in map: map[$patch:sing name:a]"
    );
    let keyless = json!({"containers": [{"image": "x"}]});
    let error = refused(original, keyless);
    assert_eq!(
        error.to_string(),
        "map: map[image:x] does not contain declared merge key: name"
    );
    assert_eq!(error.http_status(), 500);
}

#[test]
fn directives_on_maps() {
    let original = json!({"labels": {"a": "1", "b": "2"}});
    assert_eq!(
        patched(original.clone(), json!({"labels": {"$patch": "replace", "c": "3"}})),
        json!({"labels": {"c": "3"}})
    );
    assert_eq!(
        patched(original.clone(), json!({"labels": {"$patch": "delete"}})),
        json!({"labels": {}})
    );
    assert_eq!(
        patched(original.clone(), json!({"labels": {"a": null, "zz": null}})),
        json!({"labels": {"b": "2"}})
    );
    assert!(matches!(
        refused(original, json!({"labels": {"$patch": "x"}})),
        PatchError::UnknownDirective { .. }
    ));
    assert_eq!(
        patched(json!({}), json!({"labels": {"$patch": "delete", "x": "y"}})),
        json!({})
    );
    assert_eq!(
        patched(json!({}), json!({"labels": {"x": null, "y": "z"}})),
        json!({"labels": {"y": "z"}})
    );
    assert_eq!(
        patched(json!({"replaced": {"a": "1"}}), json!({"replaced": {"b": "2"}})),
        json!({"replaced": {"b": "2"}})
    );
}

#[test]
fn primitive_lists() {
    let original = json!({"finalizers": ["a", "b"], "args": ["1", "2"]});
    let patch = json!({"finalizers": ["c", "a"], "args": ["3"]});
    assert_eq!(
        patched(original.clone(), patch),
        json!({"finalizers": ["c", "a", "b"], "args": ["3"]})
    );
    let patch = json!({"$deleteFromPrimitiveList/finalizers": ["a", "zz"]});
    assert_eq!(
        patched(original.clone(), patch),
        json!({"finalizers": ["b"], "args": ["1", "2"]})
    );
    let patch = json!({"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["n"],
        "$setElementOrder/finalizers": ["b", "n"]});
    assert_eq!(patched(original.clone(), patch)["finalizers"], json!(["b", "n"]));
    let patch = json!({"$deleteFromPrimitiveList": ["a"]});
    assert_eq!(refused(original.clone(), patch), PatchError::PrimitiveListFormat);
    let patch = json!({"finalizers": [1]});
    assert!(matches!(
        refused(original.clone(), patch),
        PatchError::MixedTypes { .. }
    ));
    let patch = json!({"finalizers": [[]]});
    assert_eq!(refused(original, patch), PatchError::ListOfLists);
}

#[test]
fn element_order() {
    let original = json!({"containers": [{"name": "a"}, {"name": "b"}, {"name": "x"}]});
    let patch = json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "n"}, {"name": "a"}],
        "containers": [{"name": "n", "image": "i"}]});
    let expected = json!({"containers": [{"name": "b"}, {"name": "n", "image": "i"}, {"name": "a"}, {"name": "x"}]});
    assert_eq!(patched(original.clone(), patch), expected);
    let patch = json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "q", "image": "q"}]});
    let error = refused(original.clone(), patch);
    let text = "The order in patch list:\n[map[image:q name:q]]\n doesn't match $setElementOrder list:\n[map[name:b] map[name:a]]\n";
    assert_eq!((error.to_string().as_str(), error.http_status()), (text, 500));
    let patch = json!({"$setElementOrder/containers": "x"});
    assert!(matches!(
        refused(original.clone(), patch),
        PatchError::BadArgument { .. }
    ));
    let patch = json!({"$setElementOrder": []});
    assert_eq!(refused(original, patch), PatchError::SetElementOrderFormat);
    let added = json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
        "containers": [{"name": "b"}, {"name": "a"}, {"name": "gone", "$patch": "delete"}]});
    assert_eq!(
        patched(json!({}), added),
        json!({"containers": [{"name": "b"}, {"name": "a"}]})
    );
}

#[test]
fn retained_keys() {
    let original = json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"max": 1}}});
    let patch = json!({"strategy": {"$retainKeys": ["type"], "type": "Recreate"}});
    assert_eq!(
        patched(original.clone(), patch),
        json!({"strategy": {"type": "Recreate"}})
    );
    let patch = json!({"strategy": {"$retainKeys": ["rollingUpdate"], "type": "Recreate"}});
    assert_eq!(refused(original.clone(), patch), PatchError::RetainKeysFormat);
    let patch = json!({"strategy": {"$retainKeys": "type", "type": "Recreate"}});
    assert_eq!(refused(original, patch).http_status(), 400);
}

#[test]
fn unknown_fields_are_taken_but_not_merged() {
    assert_eq!(patched(json!({}), json!({"zz": {"a": 1}})), json!({"zz": {"a": 1}}));
    assert!(matches!(
        refused(json!({"zz": {}}), json!({"zz": {"a": 1}})),
        PatchError::UnknownField { .. }
    ));
}

#[test]
fn a_change_of_type_replaces() {
    assert_eq!(
        patched(json!({"labels": {"a": "b"}}), json!({"labels": 5})),
        json!({"labels": 5})
    );
}

/// Objects that fit the schema, so that only merging is under test.
fn object() -> impl Strategy<Value = Value> {
    let item = ("[a-d]", prop::option::of("[xy]"));
    let list = prop::collection::btree_map("[a-d]", item, 0..4).prop_map(|items| {
        let items = items.into_iter().map(|(name, (_, image))| match image {
            Some(image) => json!({"name": name, "image": image}),
            None => json!({"name": name}),
        });
        Value::Array(items.collect())
    });
    (list, prop::collection::btree_set("[a-d]", 0..4)).prop_map(|(containers, finalizers)| {
        let finalizers: Vec<_> = finalizers.into_iter().collect();
        json!({"containers": containers, "finalizers": finalizers})
    })
}

proptest! {
    #[test]
    fn patching_with_itself_changes_nothing(original in object()) {
        prop_assert_eq!(patched(original.clone(), original.clone()), original);
    }

    #[test]
    fn patching_twice_changes_nothing_more(original in object(), patch in object()) {
        let once = patched(original, patch.clone());
        prop_assert_eq!(patched(once.clone(), patch), once);
    }

    #[test]
    fn arbitrary_patches_never_panic(original in json_value(), patch in json_object(), name in "(containers|finalizers|strategy)",
        directive in "(\\$patch|\\$retainKeys|\\$setElementOrder/containers|\\$deleteFromPrimitiveList/finalizers)", value in json_value()) {
        let patch = json!({name.clone(): [value.clone(), patch.clone(), {"name": "a", "$patch": "delete"}], directive: value});
        let _ = apply(json!({name: [original]}), patch, &schema());
    }
}
