use engenho_cel::{Environment, compile};
use serde_json::{Value, json};
fn ty(t: &str) -> Value {
    match t {
        "int-or-string" => json!({"x-kubernetes-int-or-string": true}),
        "duration" | "date" | "date-time" => json!({"type":"string","format":t}),
        t => json!({"type": t}),
    }
}
fn arr(t: Value) -> impl Fn(Option<u64>) -> Value { move |m| { let mut s = json!({"type":"array","items":t}); if let Some(m)=m { s["maxItems"]=m.into(); } s } }
fn map(t: Value) -> impl Fn(Option<u64>) -> Value { move |m| { let mut s = json!({"type":"object","additionalProperties":t}); if let Some(m)=m { s["maxProperties"]=m.into(); } s } }
fn st(m: Option<u64>) -> Value { let mut s = json!({"type":"string"}); if let Some(m)=m { s["maxLength"]=m.into(); } s }
fn objarr(m: Option<u64>) -> Value { arr(json!({"type":"object","required":["required"],"properties":{"required":{"type":"string"}}}))(m) }
#[test]
fn costs() {
    let x: Vec<(Box<dyn Fn(Option<u64>) -> Value>, &str, u64, u64, u64)> = vec![
        (Box::new(arr(ty("number"))), "self.all(x, true)", 4718591, 10, 32),
        (Box::new(arr(ty("string"))), "self.all(x, true)", 3145727, 20, 62),
        (Box::new(arr(ty("boolean"))), "self.all(x, true)", 1887437, 5, 17),
        (Box::new(arr(json!({"type":"array","items":{"type":"number"}}))), "self.all(x, true)", 3145727, 100, 302),
        (Box::new(map(ty("number"))), "self.all(x, true)", 1348169, 10, 32),
        (Box::new(map(ty("number"))), "has(self.x)", 0, 100, 0),
        (Box::new(map(ty("string"))), "self.all(x, true)", 1179647, 3, 11),
        (Box::new(map(ty("boolean"))), "self.all(x, true)", 943718, 100, 302),
        (Box::new(st), "self.contains('test')", 314574, 10, 5),
        (Box::new(st), "self.startsWith('test')", 2, 15, 2),
        (Box::new(st), "size(self + \"hello\") > size(\"hello\")", 314578, 4, 7),
        (Box::new(arr(ty("number"))), "self[1] == 0.0", 2, 5000, 2),
        (Box::new(arr(ty("string"))), "self[1] == self[1]", 314577, 8, 314577),
        (Box::new(arr(ty("number"))), "self.all(x, self.all(y, true))", 0, 10, 352),
        (Box::new(arr(ty("number"))), "self.all(x, self.all(y, self.all(z, true)))", 0, 10, 3552),
        (Box::new(st), "self.matches(\"x\")", 314574, 50, 22),
        (Box::new(st), "\"\".matches(\"(((((((((())))))))))[0-9]\")", 7, 10, 7),
        (Box::new(st), "self.matches(\"\")", 1, 100, 1),
        (Box::new(|m| { let mut s = json!({"type":"object","additionalProperties": st(m)}); if let Some(m)=m { s["maxProperties"]=m.into(); } s }), "self.all(x, x.contains(self[x]))", 2752507, 10, 72),
        (Box::new(map(ty("number"))), "self[\"x\"] == 0.0", 2, 0, 2),
        (Box::new(st), "self == \"x\"", 2, 0, 1),
        (Box::new(|m| { let mut s = st(m); s["format"]="byte".into(); s }), "self == b\"x\"", 2, 0, 1),
        (Box::new(arr(ty("number"))), "self.all(x, x == 0.0)", 6291454, 3*1024*2048, 25165826),
        (Box::new(arr(ty("int-or-string"))), "self.all(x, true)", 4718591, 10, 32),
        (Box::new(arr(ty("int-or-string"))), "self[0] == 5", 3, 10, 3),
        (Box::new(arr(ty("boolean"))), "self[0] == false", 2, 25, 2),
        (Box::new(objarr), "self[0] == null", 2, 422, 2),
        (Box::new(arr(json!({"type":"array","items":{"type":"number"}}))), "self[0][0] == -1.0", 3, 51, 3),
        (Box::new(arr(json!({"type":"object","additionalProperties":{"type":"number"}}))), "self.all(x, x.y == 25.2)", 6291452, 12, 74),
        (Box::new(arr(json!({"type":"object","additionalProperties":{"type":"number"}}))), "self[0].x > 2.0", 4, 3000, 4),
        (Box::new(arr(ty("duration"))), "self.all(x, true)", 2359295, 5, 17),
        (Box::new(arr(ty("duration"))), "self[0].getHours() == 2", 4, 525, 4),
        (Box::new(arr(ty("date"))), "self.all(x, true)", 725936, 15, 47),
        (Box::new(arr(ty("date-time"))), "self.all(x, true)", 428963, 25, 77),
        (Box::new(map(ty("int-or-string"))), "self.all(x, true)", 1348169, 15, 47),
        (Box::new(map(ty("duration"))), "self.all(x, true)", 1048577, 5, 17),
        (Box::new(map(ty("date"))), "self.all(x, true)", 524288, 10, 32),
        (Box::new(map(ty("date-time"))), "self.all(x, true)", 349526, 25, 77),
        (Box::new(st), "self.find('[0-9]+') == ''", 629147, 10, 11),
        (Box::new(|m| arr(st(m))(m)), "self.join(' ') == 'aa bb'", 329853068905, 10, 43),
        (Box::new(|m| arr(st(m))(m)), "self.isSorted() == true", 329854432052, 10, 52),
        (Box::new(|m| json!({"type":"object","properties":{"str":st(m),"before":{"type":"string","maxLength":2},"after":{"type":"string","maxLength":4}}})), "self.str.replace(self.before, self.after) == 'does not matter'", 629154, 4, 12),
        (Box::new(|m| json!({"type":"object","properties":{"str":st(m),"separator":st(m)}})), "self.str.split(self.separator) == []", 629160, 10, 22),
        (Box::new(st), "self.lowerAscii() == 'lower!'", 314575, 10, 6),
        (Box::new(map(ty("integer"))), "oldSelf.size() == self.size()", 5, 10, 5),
        (Box::new(map(ty("date-time"))), "self[\"a\"] == self[\"b\"]", 8, 7, 8),
        (Box::new(map(ty("duration"))), "self[\"c\"] == self[\"d\"]", 8, 42, 8),
        (Box::new(|m| { let mut s = st(m); s["enum"]=json!(["A","B","C","LongValue"]); s }), "self.contains('A')", 2, 1000, 401),
        (Box::new(|m| { let mut s = ty("int-or-string"); if let Some(m)=m { s["maxLength"]=m.into(); } s }), "isQuantity(self)", 314574, 20, 9),
    ];
    let mut bad = 0;
    for (schema, rule, calc, max, set) in x {
        for (s, want) in [(schema(None), calc), (schema(Some(max)), set)] {
            if want == 0 && !rule.contains("has") { continue }
            let env = Environment::validation_rule(&s, false, false).unwrap();
            let got = compile(rule, &env).unwrap().max_cost(&s);
            if got != want { bad += 1; println!("{rule} on {s}: got {got} want {want}"); }
        }
    }
    assert_eq!(bad, 0);
}
