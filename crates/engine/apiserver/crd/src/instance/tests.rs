//! Instances of a definition of our own, and what is said of them.

use std::ops::ControlFlow;

use serde_json::{Value, json};

use super::rules::walk;
use super::{Found, create, update, update_status};
use crate::Definition;

fn definition(properties: Value) -> Definition {
    let names = json!({"plural": "kettles", "singular": "kettle", "kind": "Kettle", "listKind": "KettleList"});
    let schema = json!({"type": "object", "properties": properties});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.cups", "statusReplicasPath": ".status.cups",
            "labelSelectorPath": ".status.sel"}}});
    let crd = json!({"metadata": {"name": "kettles.kitchen.example.org"},
        "spec": {"group": "kitchen.example.org", "scope": "Namespaced", "names": names, "versions": [version]},
        "status": {"acceptedNames": names}});
    Definition::compile(&crd).unwrap()
}

fn kettle(spec: Value) -> Value {
    json!({"apiVersion": "kitchen.example.org/v1", "kind": "Kettle", "metadata": {"name": "k"}, "spec": spec})
}

fn shown(found: Found) -> Vec<String> {
    found
        .errors
        .into_iter()
        .map(|error| format!("{}: {}", error.field, error.message))
        .collect()
}

fn created(property: Value, value: Value) -> Vec<String> {
    let definition = definition(json!({"spec": {"type": "object", "properties": {"x": property}}}));
    shown(create(
        &definition,
        &definition.versions[0],
        &kettle(json!({"x": value})),
    ))
}

#[test]
fn values_fulfil_their_schema() {
    let object = json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}});
    for (schema, value, wrong) in [
        (
            json!({"type": "integer", "minimum": 2}),
            json!(1),
            "spec.x: Invalid value: 1: spec.x in body should be greater than or equal to 2",
        ),
        (
            json!({"type": "integer", "minimum": 2, "exclusiveMinimum": true}),
            json!(2),
            "spec.x: Invalid value: 2: spec.x in body should be greater than 2",
        ),
        (
            json!({"type": "number", "maximum": 2.5}),
            json!(2.75),
            "spec.x: Invalid value: 2.75: spec.x in body should be less than or equal to 2.5",
        ),
        (
            json!({"type": "number", "maximum": 2, "exclusiveMaximum": true}),
            json!(2),
            "spec.x: Invalid value: 2: spec.x in body should be less than 2",
        ),
        (
            json!({"type": "number", "multipleOf": 0.5}),
            json!(1.3),
            "spec.x: Invalid value: 1.3: spec.x in body should be a multiple of 0.5",
        ),
        (
            json!({"type": "number", "multipleOf": 0.5}),
            json!(1),
            "spec.x: Invalid value: 0: factor MultipleOf declared for spec.x must be positive: 0",
        ),
        (
            json!({"type": "integer", "multipleOf": 4}),
            json!(6),
            "spec.x: Invalid value: 6: spec.x in body should be a multiple of 4",
        ),
        (
            json!({"type": "integer"}),
            json!("x"),
            "spec.x: Invalid value: \"string\": spec.x in body must be of type integer: \"string\"",
        ),
        (
            json!({"type": "integer"}),
            json!(1.5),
            "spec.x: Invalid value: \"number\": spec.x in body must be of type integer: \"number\"",
        ),
        (
            json!({"type": "string"}),
            Value::Null,
            "spec.x: Invalid value: \"null\": spec.x in body must be of type string: \"null\"",
        ),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            "spec.x: Invalid value: \"boolean\": spec.x in body must be of type integer,string: \"boolean\"",
        ),
        (
            json!({"type": "string", "enum": ["a", "b"]}),
            json!("c"),
            "spec.x: Unsupported value: \"c\": supported values: \"a\", \"b\"",
        ),
        (
            json!({"type": "integer", "enum": [1, 2]}),
            json!(3),
            "spec.x: Unsupported value: 3: supported values: \"1\", \"2\"",
        ),
        (
            json!({"type": "string", "pattern": "^a$"}),
            json!("b"),
            "spec.x: Invalid value: \"b\": spec.x in body should match '^a$'",
        ),
        (
            json!({"type": "string", "maxLength": 1}),
            json!("ab"),
            "spec.x: Too long: may not be more than 1 byte",
        ),
        (
            json!({"type": "string", "minLength": 2, "pattern": "^b"}),
            json!("a"),
            "spec.x: Invalid value: \"a\": spec.x in body should be at least 2 chars long",
        ),
        (
            json!({"type": "string", "format": "date-time"}),
            json!("soon"),
            "spec.x: Invalid value: \"soon\": spec.x in body must be of type date-time: \"soon\"",
        ),
        (
            json!({"type": "array", "maxItems": 1, "items": {"type": "integer"}}),
            json!([1, 2]),
            "spec.x: Too many: 2: must have at most 1 item",
        ),
        (
            json!({"type": "array", "minItems": 1, "items": {"type": "integer"}}),
            json!([]),
            "spec.x: Invalid value: 0: spec.x in body should have at least 1 items",
        ),
        (
            json!({"type": "array", "items": object}),
            json!([{"b": 1}]),
            "spec.x[0].a: Required value",
        ),
        (object.clone(), json!({}), "spec.x.a: Required value"),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            json!({"k": 1}),
            "spec.x.k: Invalid value: \"integer\": spec.x.k in body must be of type string: \"integer\"",
        ),
        (
            json!({"type": "object", "maxProperties": 1, "additionalProperties": {"type": "string"}}),
            json!({"k": "", "l": ""}),
            "spec.x: Too many: 2: must have at most 1 item",
        ),
        (
            json!({"type": "object", "minProperties": 1, "additionalProperties": {"type": "string"}}),
            json!({}),
            "spec.x: Invalid value: 0: spec.x in body should have at least 1 properties",
        ),
        (
            json!({"type": "object", "additionalProperties": false}),
            json!({"k": 1}),
            "spec.x: Invalid value: \"k\": spec.x.k in body is a forbidden property",
        ),
        (
            json!({"type": "integer", "not": {"minimum": 5}}),
            json!(6),
            "<nil>: Invalid value: \"\": \"spec.x\" must not validate the schema (not)",
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}),
            json!(["a", "b", "a", "a"]),
            "spec.x[2]: Duplicate value: \"a\"",
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object", "properties": {"k": {"type": "string"}}}}),
            json!([{"k": "a"}, {"k": "a"}]),
            "spec.x[1]: Duplicate value: {\"k\":\"a\"}",
        ),
        (
            json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}),
            json!({"apiVersion": "v1"}),
            "spec.x.kind: Required value",
        ),
        (
            json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}),
            json!({"apiVersion": "v1", "kind": ""}),
            "spec.x.kind: Invalid value: \"\": must not be empty",
        ),
    ] {
        assert_eq!(created(schema.clone(), value.clone()), [wrong], "{schema} {value}");
    }
    for (schema, value) in [
        (json!({"type": "integer"}), json!(2.0)),
        (json!({"type": "number"}), json!(2)),
        (json!({"type": "string", "nullable": true}), Value::Null),
        (json!({"x-kubernetes-int-or-string": true}), json!("5%")),
        (json!({"type": "string", "format": "unheard-of"}), json!("x")),
        (json!({"type": "integer", "format": "int32"}), json!(1_i64 << 40)),
        (json!({"type": "number", "multipleOf": 0.5}), json!(1.5)),
        (json!({"type": "string", "maxLength": 2}), json!("äö")),
    ] {
        assert_eq!(created(schema.clone(), value.clone()), [""; 0], "{schema} {value}");
    }
}

#[test]
fn alternatives_tell_the_closest() {
    let one = json!({"type": "string", "oneOf": [{"pattern": "^a"}, {"pattern": "b$"}]});
    assert_eq!(created(one.clone(), json!("ax")), [""; 0]);
    assert_eq!(
        created(one.clone(), json!("ab")),
        [
            "<nil>: Invalid value: \"\": \"spec.x\" must validate one and only one schema (oneOf). Found 2 valid alternatives"
        ]
    );
    assert_eq!(
        created(one, json!("x")),
        [
            "<nil>: Invalid value: \"\": \"spec.x\" must validate one and only one schema (oneOf). Found none valid",
            "spec.x: Invalid value: \"x\": spec.x in body should match '^a'",
        ]
    );
    let any = json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}]});
    assert_eq!(
        created(any, json!({})),
        [
            "<nil>: Invalid value: \"\": \"spec.x\" must validate at least one schema (anyOf)",
            "spec.x.a: Required value",
        ]
    );
    let all = json!({"type": "integer", "allOf": [{"minimum": 1}, {"maximum": 3}]});
    assert_eq!(
        created(all, json!(5)),
        [
            "spec.x: Invalid value: 5: spec.x in body should be less than or equal to 3",
            "<nil>: Invalid value: \"\": \"spec.x\" must validate all the schemas (allOf)",
        ]
    );
}

#[test]
fn type_and_scale_are_checked() {
    let definition = definition(json!({}));
    let version = &definition.versions[0];
    let mut object = kettle(json!({"cups": -1}));
    object["status"] = json!({"cups": "x", "sel": 1});
    assert_eq!(
        shown(create(&definition, version, &object)),
        [
            ".spec.cups: Invalid value: -1: should be a non-negative integer",
            ".status.cups: Invalid value: 0: .status.cups accessor error: x is of the type string, expected int64",
            ".status.sel: Invalid value: \"\": .status.sel accessor error: 1 is of the type int64, expected string",
        ]
    );
    object["kind"] = "Pot".into();
    assert_eq!(
        shown(create(&definition, version, &object)),
        ["kind: Invalid value: \"Pot\": must be Kettle"]
    );
}

#[test]
fn what_has_not_changed_may_stay() {
    let list = |kind: &str| {
        json!({"type": "array", "x-kubernetes-list-type": kind, "x-kubernetes-list-map-keys": ["k"], "items": {
            "type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer", "maximum": 3}}}})
    };
    let definition = definition(json!({"spec": {"type": "object", "properties": {
        "a": {"type": "integer", "maximum": 3}, "b": {"type": "integer", "maximum": 3},
        "map": list("map"), "atomic": list("atomic"),
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "all": {"type": "integer", "allOf": [{"maximum": 3}]},
    }}}));
    let version = &definition.versions[0];
    let updated = |new: Value, old: Value| shown(update(&definition, version, &kettle(new), &kettle(old)));
    assert_eq!(updated(json!({"a": 9, "b": 1}), json!({"a": 9})), [""; 0]);
    assert_eq!(updated(json!({"all": 9, "b": 1}), json!({"all": 9})), [""; 0]);
    assert_eq!(updated(json!({"a": 8}), json!({"a": 9})).len(), 1);
    assert_eq!(updated(json!({"a": 9}), json!({})).len(), 1);
    let (x, y) = (json!({"k": "x", "v": 9}), json!({"k": "y", "v": 1}));
    assert_eq!(updated(json!({"map": [y, x]}), json!({"map": [x]})), [""; 0]);
    assert_eq!(updated(json!({"atomic": [y, x]}), json!({"atomic": [x]})).len(), 1);
    assert_eq!(updated(json!({"atomic": [x], "b": 1}), json!({"atomic": [x]})), [""; 0]);
    assert_eq!(
        updated(json!({"set": ["a", "a", "b"]}), json!({"set": ["a", "a"]})),
        [""; 0]
    );
    assert_eq!(updated(json!({"set": ["a", "a"]}), json!({"set": ["a"]})).len(), 1);
}

#[test]
fn a_status_is_checked_alone() {
    let definition = definition(json!({
        "spec": {"type": "object", "properties": {"a": {"type": "integer"}}},
        "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
    }));
    let version = &definition.versions[0];
    let (mut new, old) = (kettle(json!({"a": "not looked at"})), kettle(json!({})));
    new["status"] = json!({"phase": 5});
    assert_eq!(
        shown(update_status(&definition, version, &new, &old)),
        ["status.phase: Invalid value: \"integer\": phase in body must be of type string: \"integer\""]
    );
    new["status"] = json!("x");
    assert_eq!(
        shown(update_status(&definition, version, &new, &old)),
        [
            "status: Invalid value: \"string\":  in body must be of type object: \"string\"",
            ".status.cups: Invalid value: 0: .status.cups accessor error: x is of the type string, expected map[string]interface{}",
            ".status.sel: Invalid value: \"\": .status.sel accessor error: x is of the type string, expected map[string]interface{}",
        ]
    );
}

#[test]
fn rules_are_asked_for_each_value() {
    let rules = json!([{"rule": "false"}]);
    let definition = definition(json!({"spec": {"type": "object", "x-kubernetes-validations": rules,
    "allOf": [{"properties": {"n": {"x-kubernetes-validations": rules}}}],
    "properties": {
        "n": {"type": "integer"},
        "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "x-kubernetes-validations": rules, "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}},
        "list": {"type": "array", "items": {"type": "string", "x-kubernetes-validations": rules}},
        "free": {"type": "object", "additionalProperties": {"type": "string", "x-kubernetes-validations": rules}},
    }}}));
    let version = &definition.versions[0];
    let schema = version.schema.as_ref().unwrap();
    let new = kettle(json!({"n": 1, "map": [{"k": "b", "v": 2}, {"k": "a"}], "list": ["x", "y"], "free": {"q": "z"}}));
    let old = kettle(json!({"n": 1, "map": [{"k": "a"}], "list": ["x"], "free": {"q": "z"}}));
    let mut asked = Vec::new();
    walk(schema, &new, Some(&old), &mut |_, call| {
        asked.push((call.path.to_string(), call.old.is_some(), call.unchanged));
        ControlFlow::Continue(())
    });
    let expected = [
        ("spec", true, false),
        ("spec.n", true, false),
        ("spec.free[q]", true, true),
        ("spec.list[0]", false, false),
        ("spec.list[1]", false, false),
        ("spec.map[0]", false, false),
        ("spec.map[1]", true, true),
    ];
    assert_eq!(asked, expected.map(|(path, old, same)| (path.to_owned(), old, same)));
    let mut asked = Vec::new();
    walk(schema, &new, None, &mut |_, call| {
        asked.push((call.old.is_some(), call.unchanged));
        if asked.len() < 2 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    assert_eq!(asked, [(false, false); 2]);
    assert_eq!(
        shown(create(&definition, version, &kettle(json!({"n": "x"}))))[1],
        "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"
    );
}

#[test]
fn rules_are_told_of() {
    let definition = definition(json!({"spec": {"type": "object",
        "x-kubernetes-validations": [
            {"rule": "self.low <= self.high", "message": " low first "},
            {"rule": "self.high < 10", "messageExpression": "'at most ' + string(9)", "reason": "FieldValueForbidden", "fieldPath": ".high"},
            {"rule": "self.high >= oldSelf.high", "message": "only up"},
            {"rule": "!oldSelf.hasValue() || self.low == oldSelf.value().low", "optionalOldSelf": true, "message": "low stays"},
            {"rule": "self.gone == 1"},
            {"rule": "self.either + 1 == 2"},
        ],
        "properties": {"low": {"type": "integer"}, "high": {"type": "integer"}, "gone": {"type": "integer"},
            "either": {"x-kubernetes-int-or-string": true},
            "names": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string", "x-kubernetes-validations": [{"rule": "self.startsWith('n')", "reason": "FieldValueDuplicate"}]}}}}}));
    let version = &definition.versions[0];
    let with = |low: i64, high: i64| kettle(json!({"low": low, "high": high, "gone": 1, "either": 1, "names": ["x"]}));
    assert_eq!(
        shown(create(&definition, version, &with(11, 10))),
        [
            "spec: Invalid value: \"object\": low first",
            "spec.high: Forbidden: at most 9",
            "spec.names[0]: Duplicate value: \"string\"",
        ]
    );
    let mut bad = with(1, 2);
    bad["spec"]["gone"].take();
    bad["spec"]["either"] = json!("x");
    bad["spec"].as_object_mut().unwrap().remove("gone");
    assert_eq!(
        shown(create(&definition, version, &bad))[..2],
        [
            "spec: Invalid value: \"object\": no such key: gone evaluating rule: self.gone == 1",
            "spec: Invalid value: \"object\": 'no such overload': call arguments did not match a supported operator, function or macro signature for rule: self.either + 1 == 2",
        ]
    );
    let found = update(&definition, version, &with(2, 3), &with(1, 5));
    assert_eq!(
        shown(found),
        [
            "spec: Invalid value: \"object\": only up",
            "spec: Invalid value: \"object\": low stays",
        ]
    );
    // What was wrong before is only warned of, as far as it has not changed.
    let mut new = with(11, 10);
    new["metadata"]["labels"] = json!({"a": "b"});
    let found = update(&definition, version, &new, &with(11, 10));
    assert_eq!(found.errors, []);
    assert_eq!(
        found.warnings,
        [
            "spec: Invalid value: \"object\": low first",
            "spec.high: Forbidden: at most 9",
            "spec.names[0]: Duplicate value: \"string\"",
        ]
    );
}

#[test]
fn rules_cost() {
    let expensive = "self.all(a, self.all(b, self.all(c, a + b + c != 'x')))";
    let definition = definition(json!({"spec": {"type": "object", "properties": {
        "l": {"type": "array", "items": {"type": "string"}, "x-kubernetes-validations": [{"rule": expensive}, {"rule": "true"}]},
        "m": {"type": "array", "items": {"type": "array", "items": {"type": "string"}, "x-kubernetes-validations": [{"rule": "self.all(a, self.all(b, a + b != 'x'))"}]}},
    }}}));
    let version = &definition.versions[0];
    let list = |length: usize| -> Vec<String> { (0..length).map(|i| format!("n{i}")).collect() };
    let found = shown(create(&definition, version, &kettle(json!({"l": list(100)}))));
    assert_eq!(
        found,
        [format!(
            "spec.l: Invalid value: \"array\": 'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: {expensive}"
        )]
    );
    let lists: Vec<Vec<String>> = (0..60).map(|_| list(200)).collect();
    let found = shown(create(&definition, version, &kettle(json!({"m": lists}))));
    assert_eq!(found.len(), 1);
    assert!(found[0].ends_with(
        "Invalid value: \"array\": validation failed due to running out of cost budget, no further validation rules will be run"
    ));
}
