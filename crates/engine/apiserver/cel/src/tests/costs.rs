//! What expressions cost, and what they may cost, to the unit.

use serde_json::{Value as Json, json};

use crate::{Bindings, Budget, Environment, compile};

/// What rules cost for an object, as the tests of upstream have it.
#[test]
fn costs_of_rules() {
    let text = json!({"type": "string"});
    let keyed = json!({"type": "array", "items": {"type": "object", "properties": {"k": text, "v": text, "v2": text}}});
    let schema = json!({"type": "object", "properties": {
        "n": {"type": "integer"}, "m": {"type": "integer"}, "x": {"type": "number"}, "text": text,
        "ints": {"type": "array", "items": {"type": "integer"}},
        "map": {"type": "object", "additionalProperties": {"type": "integer"}},
        "span": {"type": "string", "format": "duration"},
        "keyed": keyed,
    }});
    let object = json!({"n": 5, "m": 5, "x": 1.5, "text": "Rook takes 👑", "ints": [1, 2, 3], "map": {"b": 1, "d": 2},
        "span": "1h", "keyed": [{"k": "a1", "v": "b1"}, {"k": "a2", "v": "b2"}, {"k": "a3", "v": "b3", "v2": "z"}]});
    for (rule, cost) in [
        ("self.n == self.m", 5),
        ("type(self.n) == int", 4),
        ("self.n + 1 == 7 + 1", 5),
        ("double(self.n) < self.x", 6),
        ("double(5) < 10.0", 1),
        ("self.text.startsWith('Rook')", 4),
        ("!self.text.startsWith('knight')", 5),
        ("self.text.matches('^[^0-9]*$')", 8),
        ("size(self.text) == 12", 4),
        ("self.text.charAt(3) == 'k'", 4),
        ("self.text.indexOf('o') == 1", 4),
        ("self.text.replace(' ', 'x') == 'Rookxtakesx👑'", 7),
        ("self.text.split(' ') == ['Rook', 'takes', '👑']", 6),
        ("self.text.substring(4, 10).trim() == 'takes'", 6),
        ("self.text in ['a', 'b']", 2),
        ("self.span == duration('1h2m') + duration('3s4ms')", 4),
        ("1 in self.ints", 5),
        ("self.ints[0] in self.ints", 8),
        ("self.ints + self.ints == [1, 2, 3, 1, 2, 3]", 6),
        ("self.map == {'b': 1, 'd': 2}", 3),
        ("!('a' in self.map)", 4),
        ("!has(self.map.a)", 3),
        ("has(self.map.b)", 2),
        ("self.map.all(k, self.map[k] > 0)", 17),
        ("self.map.exists_one(k, self.map[k] == 2)", 14),
        ("!self.map.exists_one(k, self.map[k] > 0)", 17),
        ("size(self.map.filter(k, self.map[k] > 1)) == 1", 26),
        ("has(self.keyed[0].v)", 3),
        ("self.keyed.all(m, m.k.startsWith('a'))", 21),
        ("self.keyed.all(m, !has(m.v2) || m.v2 == 'z')", 21),
        ("self.keyed.exists(m, m.k.endsWith('1'))", 13),
        ("!self.keyed.exists(m, m.v == 'x')", 25),
        ("self.keyed.map(m, m.v).exists(v, v == 'b1')", 55),
    ] {
        let environment = Environment::validation_rule(&schema, false, false).unwrap();
        let program = compile(rule, &environment).unwrap();
        let mut budget = Budget::per_call();
        let bindings = Bindings::new().with_schema("self", &object, &schema);
        program.evaluate(&bindings, &mut budget).unwrap();
        assert_eq!(Budget::per_call().remaining - budget.remaining, cost, "{rule}");
    }
}

fn of(name: &str, most: Option<u64>) -> Json {
    let mut schema = match name {
        "int-or-string" => json!({"x-kubernetes-int-or-string": true}),
        "duration" | "date" | "date-time" => json!({"type": "string", "format": name}),
        other => json!({"type": other}),
    };
    if name == "string" {
        schema["maxLength"] = most.map_or(Json::Null, Json::from);
    }
    schema
}

/// A list, a map or text, with a bound and without.
fn bounded(kind: &str, items: &str, most: Option<u64>) -> Json {
    let limit = most.map_or(Json::Null, Json::from);
    match kind {
        "list" => json!({"type": "array", "items": of(items, None), "maxItems": limit}),
        "bounded list" => json!({"type": "array", "items": of(items, most), "maxItems": limit}),
        "map" => json!({"type": "object", "additionalProperties": of(items, None), "maxProperties": limit}),
        _ => of("string", most),
    }
}

/// What rules may cost, without bounds in the schema and with them, as the tests of upstream have it.
#[test]
fn estimates_of_rules() {
    for (kind, items, rule, unbounded, most, with_bounds) in [
        ("list", "number", "self.all(x, true)", 4_718_591, 10, 32),
        ("list", "string", "self.all(x, true)", 3_145_727, 20, 62),
        ("list", "boolean", "self.all(x, true)", 1_887_437, 5, 17),
        ("map", "number", "self.all(x, true)", 1_348_169, 10, 32),
        ("map", "string", "self.all(x, true)", 1_179_647, 3, 11),
        ("text", "", "self.contains('test')", 314_574, 10, 5),
        ("text", "", "self.startsWith('test')", 2, 15, 2),
        ("text", "", "size(self + \"hello\") > size(\"hello\")", 314_578, 4, 7),
        ("list", "number", "self[1] == 0.0", 2, 5_000, 2),
        ("list", "string", "self[1] == self[1]", 314_577, 8, 314_577),
        ("list", "number", "self.all(x, self.all(y, true))", u64::MAX, 10, 352),
        (
            "list",
            "number",
            "self.all(x, self.all(y, self.all(z, true)))",
            u64::MAX,
            10,
            3_552,
        ),
        ("text", "", "self.matches(\"x\")", 314_574, 50, 22),
        ("text", "", "self.matches(\"\")", 1, 100, 1),
        ("text", "", "self == 'x'", 2, 0, 1),
        ("list", "int-or-string", "self[0] == 5", 3, 10, 3),
        ("list", "duration", "self.all(x, true)", 2_359_295, 5, 17),
        ("list", "duration", "self[0].getHours() == 2", 4, 525, 4),
        ("list", "date", "self.all(x, true)", 725_936, 15, 47),
        ("list", "date-time", "self.all(x, true)", 428_963, 25, 77),
        ("map", "int-or-string", "self.all(x, true)", 1_348_169, 15, 47),
        ("text", "", "self.find('[0-9]+') == ''", 629_147, 10, 11),
        (
            "bounded list",
            "string",
            "self.join(' ') == 'aa bb'",
            329_853_068_905,
            10,
            43,
        ),
    ] {
        let cost = |most: Option<u64>| {
            let schema = bounded(kind, items, most);
            let environment = Environment::validation_rule(&schema, false, false).unwrap();
            compile(rule, &environment).unwrap().max_cost(&schema)
        };
        if unbounded == u64::MAX {
            assert!(cost(None) > 10_000_000, "{rule}");
        } else {
            assert_eq!(cost(None), unbounded, "{kind} of {items}: {rule}");
        }
        assert_eq!(cost(Some(most)), with_bounds, "{kind} of {items}, {most}: {rule}");
    }
}
