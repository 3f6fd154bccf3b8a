//! What is refused before it is evaluated, with what words, and the types of what is not.

use serde_json::json;

use crate::{Environment, Type, compile};

fn policy(expression: &str) -> String {
    match compile(expression, &Environment::admission_policy(false, true)) {
        Ok(program) => format!("ok {}", program.result_type()),
        Err(why) => why.to_string(),
    }
}

#[test]
fn what_is_not_of_the_language() {
    for (expression, wanted) in [
        (
            "object.",
            "compilation failed: ERROR: <input>:1:8: Syntax error: no viable alternative at input '.'\n | object.\n | .......^",
        ),
        (
            "1 +",
            "compilation failed: ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | 1 +\n | ...^",
        ),
        (
            "a.b.c > 1",
            "compilation failed: ERROR: <input>:1:1: undeclared reference to 'a' (in container '')\n | a.b.c > 1\n | ^",
        ),
        (
            "object.spec ==\n  foo && bar()",
            "compilation failed: ERROR: <input>:2:3: undeclared reference to 'foo' (in container '')\n |   foo && bar()\n | ..^\nERROR: <input>:2:13: undeclared reference to 'bar' (in container '')\n |   foo && bar()\n | ............^",
        ),
        (
            "1 + 'a'",
            "compilation failed: ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, string)'\n | 1 + 'a'\n | ..^",
        ),
        (
            "'a'.startsWith(1)",
            "compilation failed: ERROR: <input>:1:15: found no matching overload for 'startsWith' applied to 'string.(int)'\n | 'a'.startsWith(1)\n | ..............^",
        ),
        (
            "'é' + 1",
            "compilation failed: ERROR: <input>:1:5: found no matching overload for '_+_' applied to '(string, int)'\n | 'é' + 1\n | .\u{ff0e}..^",
        ),
        (
            "[1, 'a']",
            "compilation failed: ERROR: <input>:1:5: expected type 'int' but found 'string'\n | [1, 'a']\n | ....^",
        ),
        (
            "has(object)",
            "compilation failed: ERROR: <input>:1:5: invalid argument to has() macro\n | has(object)\n | ....^",
        ),
        (
            "request.nope == 'x'",
            "compilation failed: ERROR: <input>:1:8: undefined field 'nope'\n | request.nope == 'x'\n | .......^",
        ),
        (
            "1.all(x, true)",
            "compilation failed: ERROR: <input>:1:1: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)\n | 1.all(x, true)\n | ^",
        ),
        (
            "'x'.matches('(')",
            "compilation failed: ERROR: <input>:1:13: invalid matches argument\n | 'x'.matches('(')\n | ............^",
        ),
        (
            "params.x",
            "compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')\n | params.x\n | ^",
        ),
        (
            "duration('1y') == duration('1h')",
            "compilation failed: ERROR: <input>:1:10: invalid duration argument\n | duration('1y') == duration('1h')\n | .........^",
        ),
    ] {
        assert_eq!(policy(expression), wanted, "{expression}");
    }
}

#[test]
fn types_of_results() {
    for (expression, wanted) in [
        ("object.x == 1", "ok bool"),
        ("object.x", "ok dyn"),
        ("[1, 2].map(x, string(x))", "ok list(string)"),
        ("{'a': 1}", "ok map(string, int)"),
        ("request.userInfo.groups", "ok list(string)"),
        ("optional.of(1)", "ok optional_type(int)"),
        ("true ? 1 : 2", "ok int"),
        ("object.x ? object.y : 2", "ok int"),
        ("quantity('1')", "ok kubernetes.Quantity"),
        (
            "timestamp('2024-01-01T00:00:00Z') - timestamp('2024-01-01T00:00:00Z')",
            "ok duration",
        ),
        ("{'a': 1}.transformMap(k, v, string(v))", "ok map(string, string)"),
        ("[]", "ok list(dyn)"),
        ("type(1)", "ok type(int)"),
        ("google.protobuf.Timestamp", "ok type(timestamp)"),
        ("[1].map(int, int)", "ok list(int)"),
        ("object.?a.?b.orValue('x')", "ok string"),
    ] {
        let got = policy(expression);
        if expression.contains("? object.y") || expression.contains("orValue") {
            assert!(got == wanted || got == "ok dyn", "{expression}: {got}");
        } else {
            assert_eq!(got, wanted, "{expression}");
        }
    }
}

#[test]
fn results_wanted() {
    let environment = Environment::match_condition();
    let wanting = |expression: &str, wanted: &[Type]| match compile(expression, &environment).unwrap().expecting(wanted)
    {
        Ok(_) => "ok".to_owned(),
        Err(why) => why.to_string(),
    };
    assert_eq!(wanting("true", &[Type::Bool]), "ok");
    assert_eq!(wanting("1", &[Type::Bool]), "must evaluate to bool but got int");
    let found = "must evaluate to one of [string null_type] but got list(google.protobuf.Duration)";
    assert_eq!(wanting("[duration('1s')]", &[Type::String, Type::Null]), found);
    assert_eq!(wanting("object.x", &[Type::Bool]), "must evaluate to bool but got dyn");
    assert_eq!(
        wanting("1", &[Type::String, Type::Null]),
        "must evaluate to one of [string null_type] but got int"
    );
    assert!(compile("1 +", &environment).unwrap_err().issues().is_some());
}

#[test]
fn schemas_have_types() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}});
    let rule = |expression: &str, root: bool, optional: bool| {
        let environment = Environment::validation_rule(&schema, root, optional).unwrap();
        match compile(expression, &environment) {
            Ok(program) => program.result_type().to_string(),
            Err(why) => why.to_string(),
        }
    };
    assert_eq!(rule("self.a > 1", false, false), "bool");
    assert!(
        rule("self.a == self.b", false, false)
            .contains("found no matching overload for '_==_' applied to '(int, string)'")
    );
    assert!(rule("self.c == 1", false, false).contains("undefined field 'c'"));
    let uses_old = |expression: &str| {
        let environment = Environment::validation_rule(&schema, false, false).unwrap();
        compile(expression, &environment).unwrap().refers_to("oldSelf")
    };
    assert!(uses_old("[1].all(x, x == oldSelf.a)") && !uses_old("self.b == 'oldSelf'"));
    assert_eq!(rule("self.metadata.name", true, false), "string");
    assert!(rule("self.metadata.labels", true, false).contains("undefined field 'labels'"));
    assert_eq!(rule("oldSelf.a.orValue(1)", false, true), "int");
    assert!(rule("oldSelf.hasValue()", false, false).contains("found no matching overload for 'hasValue'"));
}
