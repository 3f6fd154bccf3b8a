//! Server-side apply and the bookkeeping of other writes on built-in kinds, with answers worked out by hand.

use engenho_catalog::{Catalog, Schema};
use engenho_patch::managed::{ApplyError, Conversion, FieldManager, FieldSet};
use engenho_patch::schema::TreeSchema;
use engenho_patch::{decode, meta};
use serde_json::{Value, json};

const DAY1: &str = "2025-01-01T00:00:00Z";
const DAY2: &str = "2025-01-02T00:00:00Z";

fn config_maps() -> FieldManager<'static, Schema<'static>> {
    let schema = Catalog::builtin().schema("", "v1", "ConfigMap").unwrap();
    FieldManager::new(schema, "v1", "ConfigMap")
}

fn services() -> FieldManager<'static, Schema<'static>> {
    let schema = Catalog::builtin().schema("", "v1", "Service").unwrap();
    FieldManager::new(schema, "v1", "Service")
}

fn config_map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web", "namespace": "shop"}, "data": data})
}

fn service(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec})
}

/// The object as stored: it has a uid from then on.
fn stored(mut object: Value) -> Value {
    meta::set_uid(&mut object, "u-1");
    object
}

fn apply(manager: &FieldManager<'_, Schema<'static>>, live: Option<&Value>, config: Value, who: &str) -> Value {
    stored(manager.apply(live, &config, who, false, DAY1).unwrap().object)
}

/// `who` owns what, as (manager, operation, fieldsV1).
fn entry<'a>(object: &'a Value, who: &str, operation: &str) -> Option<&'a Value> {
    let mut entries = meta::managed_fields(object)?.iter();
    entries.find(|entry| entry["manager"] == who && entry["operation"] == operation)
}

fn fields<'a>(object: &'a Value, who: &str, operation: &str) -> &'a Value {
    entry(object, who, operation).map_or(&Value::Null, |entry| &entry["fieldsV1"])
}

#[test]
fn two_appliers_share_an_object() {
    let manager = config_maps();
    let one = apply(&manager, None, config_map(json!({"a": "1"})), "alice");
    assert_eq!(fields(&one, "alice", "Apply"), &json!({"f:data": {"f:a": {}}}));
    assert_eq!(entry(&one, "alice", "Apply").unwrap()["time"], DAY1);

    let two = apply(&manager, Some(&one), config_map(json!({"b": "2"})), "bob");
    assert_eq!(two["data"], json!({"a": "1", "b": "2"}));

    // A field that its only applier leaves out goes; others stay.
    let three = apply(&manager, Some(&two), config_map(json!({})), "alice");
    assert_eq!(three["data"], json!({"b": "2"}));
    assert_eq!(fields(&three, "alice", "Apply"), &json!({"f:data": {}}));
    let four = apply(&manager, Some(&three), config_map(json!({"b": "2", "c": "3"})), "alice");
    let five = apply(&manager, Some(&four), config_map(json!({"c": "3"})), "alice");
    assert_eq!(five["data"], json!({"b": "2", "c": "3"}), "bob still owns b");
}

#[test]
fn the_last_field_takes_its_map_along() {
    let manager = config_maps();
    let one = apply(&manager, None, config_map(json!({"a": "1"})), "alice");
    let mut nothing = config_map(json!({}));
    nothing.as_object_mut().unwrap().remove("data");
    let two = apply(&manager, Some(&one), nothing, "alice");
    assert_eq!(two.get("data"), None);
    assert_eq!(meta::managed_fields(&two), None, "nobody owns anything");
}

#[test]
fn conflicts_name_manager_and_path() {
    let manager = config_maps();
    let one = apply(&manager, None, config_map(json!({"a": "1", "b": "2"})), "alice");
    let error = manager
        .apply(Some(&one), &config_map(json!({"a": "x"})), "bob", false, DAY1)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"alice\": .data.a"
    );
    assert_eq!(error.http_status(), 409);
    let error = manager
        .apply(Some(&one), &config_map(json!({"a": "x", "b": "x"})), "bob", false, DAY1)
        .unwrap_err();
    let text = "Apply failed with 2 conflicts: conflicts with \"alice\":\n- .data.a\n- .data.b";
    assert_eq!(error.to_string(), text);
    let ApplyError::Conflicts(conflicts) = error else {
        panic!("no conflicts")
    };
    let causes: Vec<_> = conflicts
        .iter()
        .map(|conflict| (conflict.cause(), conflict.path.to_string()))
        .collect();
    assert_eq!(causes[0], ("conflict with \"alice\"".to_owned(), ".data.a".to_owned()));

    // Forced, the field changes hands.
    let forced = manager
        .apply(Some(&one), &config_map(json!({"a": "x"})), "bob", true, DAY2)
        .unwrap();
    assert!(forced.changed);
    assert_eq!(
        fields(&forced.object, "alice", "Apply"),
        &json!({"f:data": {"f:b": {}}})
    );
    assert_eq!(fields(&forced.object, "bob", "Apply"), &json!({"f:data": {"f:a": {}}}));
    // Agreeing is no conflict: the field is shared.
    let shared = manager
        .apply(Some(&one), &config_map(json!({"a": "1"})), "bob", false, DAY2)
        .unwrap();
    assert!(!shared.changed);
    assert_eq!(entry(&shared.object, "bob", "Apply").unwrap().get("time"), None);
}

#[test]
fn updates_take_over_what_they_change() {
    let manager = config_maps();
    let created = manager
        .update(None, config_map(json!({"a": "1", "b": "2"})), "creator", DAY1)
        .unwrap();
    assert_eq!(
        fields(&created, "creator", "Update"),
        &json!({"f:data": {".": {}, "f:a": {}, "f:b": {}}})
    );
    let created = stored(created);

    let mut changed = created.clone();
    changed["data"] = json!({"a": "x", "c": "3"});
    let updated = manager.update(Some(&created), changed, "editor", DAY2).unwrap();
    assert_eq!(
        fields(&updated, "editor", "Update"),
        &json!({"f:data": {"f:a": {}, "f:c": {}}})
    );
    assert_eq!(fields(&updated, "creator", "Update"), &json!({"f:data": {}}));
    assert_eq!(entry(&updated, "creator", "Update").unwrap()["time"], DAY1);

    let error = manager
        .apply(Some(&updated), &config_map(json!({"a": "y"})), "alice", false, DAY2)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"editor\" using v1: .data.a"
    );

    // Writing the same again changes neither owners nor times.
    let again = manager
        .update(Some(&updated), updated.clone(), "other", "2025-01-03T00:00:00Z")
        .unwrap();
    assert_eq!(again, updated);
}

#[test]
fn clients_may_reset_managed_fields() {
    let manager = config_maps();
    let created = stored(
        manager
            .update(None, config_map(json!({"a": "1"})), "creator", DAY1)
            .unwrap(),
    );
    for reset in [json!([]), json!([{}])] {
        let mut new = created.clone();
        new["metadata"]["managedFields"] = reset;
        let updated = manager.update(Some(&created), new, "creator", DAY2).unwrap();
        assert_eq!(meta::managed_fields(&updated), None);
        // From then on nobody is tracked, until somebody applies.
        let mut changed = updated.clone();
        changed["data"]["a"] = json!("2");
        let changed = manager.update(Some(&updated), changed, "editor", DAY2).unwrap();
        assert_eq!(meta::managed_fields(&changed), None);
        let error = manager
            .apply(Some(&changed), &config_map(json!({"a": "3"})), "alice", false, DAY2)
            .unwrap_err();
        let text = "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.a";
        assert_eq!(error.to_string(), text);
    }
    // What can't be read is not taken.
    let mut new = created.clone();
    new["metadata"]["managedFields"] = json!([{"manager": "x", "operation": "Update", "apiVersion": "v1"}]);
    let updated = manager.update(Some(&created), new, "creator", DAY2).unwrap();
    assert_eq!(meta::managed_fields(&updated), meta::managed_fields(&created));
}

#[test]
fn list_items_are_told_apart_by_keys_with_their_defaults() {
    let manager = services();
    let one = apply(
        &manager,
        None,
        service(json!({"ports": [{"port": 53}], "selector": {"app": "web"}})),
        "alice",
    );
    let expected = json!({"f:spec": {"f:ports": {"k:{\"port\":53,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}, "f:selector": {}}});
    assert_eq!(fields(&one, "alice", "Apply"), &expected);
    let mut live = one.clone();
    live["spec"]["ports"][0]["protocol"] = json!("TCP");
    let two = apply(
        &manager,
        Some(&live),
        service(json!({"ports": [{"port": 53, "protocol": "UDP"}]})),
        "bob",
    );
    assert_eq!(
        two["spec"]["ports"],
        json!([{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}])
    );
    // An atomic map has one owner.
    let error = manager.apply(
        Some(&two),
        &service(json!({"selector": {"app": "web", "x": "y"}})),
        "bob",
        false,
        DAY1,
    );
    assert_eq!(
        error.unwrap_err().to_string(),
        "Apply failed with 1 conflict: conflict with \"alice\": .spec.selector"
    );
    // Leaving the list out takes only the own item.
    let three = apply(
        &manager,
        Some(&two),
        service(json!({"selector": {"app": "web"}})),
        "alice",
    );
    assert_eq!(three["spec"]["ports"], json!([{"port": 53, "protocol": "UDP"}]));
}

#[test]
fn order_follows_the_applier() {
    let manager = services();
    let port = |name: &str, port: u16| json!({"name": name, "port": port, "protocol": "TCP"});
    let names = |object: &Value| -> Vec<String> {
        let ports = object["spec"]["ports"].as_array().unwrap();
        ports
            .iter()
            .map(|port| port["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let one = apply(
        &manager,
        None,
        service(json!({"ports": [port("a", 1), port("b", 2), port("c", 3)]})),
        "alice",
    );
    let two = apply(&manager, Some(&one), service(json!({"ports": [port("x", 9)]})), "bob");
    assert_eq!(names(&two), ["a", "b", "c", "x"]);
    let three = apply(
        &manager,
        Some(&two),
        service(json!({"ports": [port("c", 3), port("a", 1), port("n", 8)]})),
        "alice",
    );
    // x stands behind c as it did; a comes where alice has it.
    assert_eq!(names(&three), ["c", "x", "a", "n"]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let manager = services();
    let refused = |config: Value| manager.apply(None, &config, "alice", false, DAY1).unwrap_err();
    let error = refused(service(json!({"ports": [{"port": 1}, {"port": 1}]})));
    let text = "failed to create typed patch object (/web; /v1, Kind=Service): \
        .spec.ports: duplicate entries for key [port=1,protocol=\"TCP\"]";
    assert_eq!((error.to_string().as_str(), error.http_status()), (text, 500));
    let error = refused(service(json!({"nonsense": 1})));
    assert!(
        error
            .to_string()
            .ends_with(".spec.nonsense: field not declared in schema"),
        "{error}"
    );
    let error = refused(config_map(json!({})));
    assert_eq!(
        (error.to_string().as_str(), error.http_status()),
        ("invalid object type: /v1, Kind=ConfigMap", 400)
    );
    let mut config = service(json!({}));
    config["metadata"]["managedFields"] = json!([]);
    assert_eq!(refused(config), ApplyError::ManagedFieldsGiven);
    let live = json!({"metadata": {"uid": "u", "managedFields": [{"operation": "x"}]}});
    let error = manager
        .apply(Some(&live), &service(json!({})), "alice", false, DAY1)
        .unwrap_err();
    assert!(matches!(error, ApplyError::ManagedFields(_)));
}

#[test]
fn an_endpoint_owns_nothing_of_what_it_resets() {
    let status = FieldSet::of_fields(&[&["status"]]);
    let spec = FieldSet::of_fields(&[&["spec"]]);
    let main = services().reset_fields(&status);
    let config = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"type": "ClusterIP"}, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
    let one = apply(&main, None, config.clone(), "alice");
    assert_eq!(fields(&one, "alice", "Apply"), &json!({"f:spec": {"f:type": {}}}));
    let status = services().reset_fields(&spec).subresource("status");
    let two = stored(status.apply(Some(&one), &config, "lb", false, DAY1).unwrap().object);
    let entry = entry(&two, "lb", "Apply").unwrap();
    assert_eq!(entry["subresource"], "status");
    assert_eq!(
        entry["fieldsV1"],
        json!({"f:status": {"f:loadBalancer": {"f:ingress": {}}}})
    );
}

#[test]
fn kubectl_takes_over_from_client_side_apply() {
    let manager = config_maps();
    let last = config_map(json!({"a": "1", "b": "2"}));
    let mut object = last.clone();
    meta::set_annotation(&mut object, meta::LAST_APPLIED_ANNOTATION, &last.to_string());
    let created = stored(manager.update(None, object, "kubectl-client-side-apply", DAY1).unwrap());

    let config = config_map(json!({"a": "x", "b": "2"}));
    let error = manager
        .apply(Some(&created), &config, "alice", false, DAY2)
        .unwrap_err();
    assert!(matches!(error, ApplyError::Conflicts(_)), "other managers don't");
    let applied = manager.apply(Some(&created), &config, "kubectl", false, DAY2).unwrap();
    assert_eq!(applied.object["data"]["a"], "x");
    let annotation = meta::annotation(&applied.object, meta::LAST_APPLIED_ANNOTATION).unwrap();
    assert_eq!(annotation, format!("{}\n", meta::go_json(&config)));

    // A field changed since isn't kubectl's to take.
    let created = stored(created);
    let mut changed = created.clone();
    changed["data"]["a"] = json!("y");
    let changed = manager.update(Some(&created), changed, "editor", DAY2).unwrap();
    let error = manager
        .apply(Some(&changed), &config, "kubectl", false, DAY2)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"editor\" using v1: .data.a"
    );
}

#[test]
fn custom_resources_start_from_nothing() {
    let schema = TreeSchema::from_structural(&json!({"type": "object", "properties": {
        "apiVersion": {"type": "string"}, "kind": {"type": "string"},
        "metadata": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "spec": {"type": "object", "default": {}, "properties": {"size": {"type": "integer"}, "list": {"type": "array",
            "x-kubernetes-list-type": "set", "items": {"type": "string"}}}}}}))
    .unwrap();
    let manager = FieldManager::new(schema, "example.com/v1", "Widget").custom_resource();
    let object = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"},
        "spec": {"size": 1, "list": ["a", "b"]}});
    let created = manager.update(None, object.clone(), "m", DAY1).unwrap();
    let expected = json!({"f:spec": {".": {}, "f:list": {".": {}, "v:\"a\"": {}, "v:\"b\"": {}}, "f:size": {}}});
    assert_eq!(fields(&created, "m", "Update"), &expected);
    // Schemaless: lists are atomic, maps granular.
    let free = TreeSchema::from_structural(&json!({"type": "object",
        "x-kubernetes-preserve-unknown-fields": true}))
    .unwrap();
    let manager = FieldManager::new(free, "example.com/v1", "Widget").custom_resource();
    let applied = manager.apply(None, &object, "m", false, DAY1).unwrap();
    let expected = json!({"f:spec": {".": {}, "f:list": {}, "f:size": {}}});
    assert_eq!(fields(&applied.object, "m", "Apply"), &expected);
}

#[test]
fn typed_decoding_reports_in_document_order() {
    let schema = Catalog::builtin().schema("", "v1", "ConfigMap").unwrap();
    let text = br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","bogus":1},"Data":{},"data":{"k":"1","k":"2"},"data":{"z":"1"}}"#;
    let decoded = decode::json_typed(text, &schema).unwrap();
    let expected = [
        "unknown field \"metadata.bogus\"",
        "unknown field \"Data\"",
        "duplicate field \"data.k\"",
        "duplicate field \"data\"",
    ];
    assert_eq!(decoded.strict_errors, expected);
    assert_eq!(decoded.value["data"], json!({"k": "2", "z": "1"}));
}

/// A kind whose field was renamed between versions.
struct Renamed;

fn widget_schema(field: &str) -> TreeSchema {
    TreeSchema::from_structural(&json!({"type": "object", "properties": {
        "apiVersion": {"type": "string"}, "kind": {"type": "string"},
        "metadata": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "spec": {"type": "object", "properties": {field: {"type": "integer"}, "note": {"type": "string"}}}}}))
    .unwrap()
}

impl Conversion<TreeSchema> for Renamed {
    fn convert(&self, object: &Value, from: &str, to: &str) -> Option<(Value, TreeSchema)> {
        let field = |version: &str| match version {
            "example.com/v1" => Some("size"),
            "example.com/v2" => Some("count"),
            _ => None,
        };
        let (from, field_to) = (field(from)?, field(to)?);
        let mut object = object.clone();
        object["apiVersion"] = to.into();
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
            && let Some(value) = spec.remove(from)
        {
            spec.insert(field_to.to_owned(), value);
        }
        Some((object, widget_schema(field_to)))
    }
}

#[test]
fn managers_of_other_versions_are_compared_in_their_version() {
    let widget = |version: &str, spec: Value| json!({"apiVersion": version, "kind": "Widget", "metadata": {"name": "w"}, "spec": spec});
    let (v1, v2) = ("example.com/v1", "example.com/v2");
    let old = FieldManager::new(widget_schema("size"), v1, "Widget")
        .custom_resource()
        .conversion(&Renamed);
    let new = FieldManager::new(widget_schema("count"), v2, "Widget")
        .custom_resource()
        .conversion(&Renamed);
    let one = stored(
        old.apply(None, &widget(v1, json!({"size": 1, "note": "a"})), "alice", false, DAY1)
            .unwrap()
            .object,
    );
    let (live, _) = Renamed.convert(&one, v1, v2).unwrap();

    let error = new
        .apply(Some(&live), &widget(v2, json!({"count": 2})), "bob", false, DAY1)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"alice\": .spec.size"
    );
    // Applying in the new version what was applied in the old one, but the count: it goes.
    let two = new
        .apply(Some(&live), &widget(v2, json!({"note": "a"})), "alice", false, DAY2)
        .unwrap()
        .object;
    assert_eq!(two["spec"], json!({"note": "a"}));
    assert_eq!(fields(&two, "alice", "Apply"), &json!({"f:spec": {"f:note": {}}}));
    assert_eq!(entry(&two, "alice", "Apply").unwrap()["apiVersion"], v2);
    // Another manager's field in the old version stays its own.
    let shared = old
        .apply(Some(&one), &widget(v1, json!({"size": 1})), "bob", false, DAY1)
        .unwrap()
        .object;
    let (shared, _) = Renamed.convert(&stored(shared), v1, v2).unwrap();
    let three = new
        .apply(Some(&shared), &widget(v2, json!({})), "alice", false, DAY2)
        .unwrap()
        .object;
    assert_eq!(three["spec"], json!({"count": 1}));
    // Entries of versions that are gone are dropped.
    let mut gone = shared.clone();
    for entry in gone["metadata"]["managedFields"].as_array_mut().unwrap() {
        entry["apiVersion"] = json!("example.com/v0");
    }
    let four = new
        .apply(Some(&gone), &widget(v2, json!({"count": 5})), "carl", false, DAY2)
        .unwrap()
        .object;
    assert_eq!(meta::managed_fields(&four).map(Vec::len), Some(1));
}
