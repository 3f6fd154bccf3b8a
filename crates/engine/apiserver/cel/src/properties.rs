//! No expression and no object makes anything here panic.

use proptest::prelude::*;
use serde_json::Value as Json;

use crate::{Bindings, Budget, Environment, compile, fuzz, type_of_schema};

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        "[a-c0-9:T./-]{0,8}".prop_map(Json::from),
        Just(Json::from("object")),
        Just(Json::from("string")),
        Just(Json::from("integer")),
        Just(Json::from("array")),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let key = prop_oneof![
            "[a-c]",
            Just("type".to_owned()),
            Just("properties".to_owned()),
            Just("items".to_owned()),
            Just("format".to_owned()),
            Just("additionalProperties".to_owned()),
            Just("x-kubernetes-list-type".to_owned()),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map(key, inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// Expressions that mostly are of the language.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("object".to_owned()),
        Just("object.a".to_owned()),
        Just("oldObject.b".to_owned()),
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| format!("{number}u")),
        any::<f64>().prop_map(|number| format!("double('{number}')")),
        "'[a-c%.0-9Kidsf:/-]{0,6}'".prop_map(|text| format!("dyn({text})")),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
    ];
    let operator = prop::sample::select(vec!["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "in", "&&", "||"]);
    let unary = prop::sample::select(vec![
        "size",
        "int",
        "uint",
        "double",
        "string",
        "bytes",
        "duration",
        "timestamp",
        "type",
        "quantity",
        "semver",
        "ip",
        "cidr",
        "url",
        "isIP",
        "bool",
        "dyn",
        "optional.of",
        "format.named",
        "strings.quote",
        "!",
        "-",
    ]);
    let member = prop::sample::select(vec![
        "sum",
        "min",
        "max",
        "isSorted",
        "trim",
        "lowerAscii",
        "join",
        "getHours",
        "getFullYear",
        "masked",
        "family",
        "asInteger",
        "asApproximateFloat",
        "getQuery",
        "hasValue",
        "value",
        "major",
        "size",
        "sign",
    ]);
    let second = prop::sample::select(vec![
        "indexOf",
        "lastIndexOf",
        "charAt",
        "substring",
        "split",
        "find",
        "findAll",
        "matches",
        "format",
        "add",
        "sub",
        "compareTo",
        "containsIP",
        "orValue",
        "startsWith",
        "getHours",
        "join",
        "replace",
    ]);
    let walk = prop::sample::select(vec!["all", "exists", "exists_one", "map", "filter"]);
    leaf.prop_recursive(5, 40, 3, move |inner| {
        prop_oneof![
            (inner.clone(), operator.clone(), inner.clone()).prop_map(|(a, op, b)| format!("dyn({a}) {op} dyn({b})")),
            (unary.clone(), inner.clone()).prop_map(|(name, of)| format!("{name}(dyn({of}))")),
            (inner.clone(), member.clone()).prop_map(|(of, name)| format!("dyn({of}).{name}()")),
            (inner.clone(), second.clone(), inner.clone())
                .prop_map(|(of, name, to)| format!("dyn({of}).{name}(dyn({to}))")),
            (inner.clone(), walk.clone(), inner.clone())
                .prop_map(|(of, name, to)| format!("dyn({of}).{name}(x, dyn({to}))")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("dyn({a}) ? dyn({b}) : dyn({c})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("dyn({a})[dyn({b})]")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[dyn({a}), dyn({b})]")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("{{dyn({a}): dyn({b})}}")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
        fuzz(text.as_bytes());
    }

    #[test]
    fn any_bytes(data in prop::collection::vec(any::<u8>(), 0..80)) {
        fuzz(&data);
    }

    #[test]
    fn letters_of_the_language(text in "[-a-c0-9().,\\[\\]{}?:!&|+*/%<>= '\"\\\\rb\n]{0,40}") {
        fuzz(text.as_bytes());
    }

    #[test]
    fn any_object(expression in expression(), object in json()) {
        if let Ok(program) = compile(&expression, &Environment::admission_policy(false, false)) {
            let bindings = Bindings::new().with("object", &object).with("oldObject", &object);
            let _ = program.evaluate(&bindings, &mut Budget::per_call()).map(|value| value.to_json());
        }
    }

    #[test]
    fn any_schema(schema in json(), object in json()) {
        let _ = type_of_schema(&schema, true, "self");
        let environment = Environment::new().with("self", crate::Type::Dyn);
        for expression in ["self == self", "self.a.b", "self + self", "self.all(x, x == self.a)", "string(self.a)"] {
            let program = compile(expression, &environment).unwrap();
            let bindings = Bindings::new().with_schema("self", &object, &schema);
            let _ = program.evaluate(&bindings, &mut Budget::per_call());
        }
    }
}
