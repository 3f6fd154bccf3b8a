//! Hostile expressions end soon, and budgets hold.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::{Bindings, Budget, Environment, EvalError, compile};

/// Long enough for a busy machine and a build that is not optimised; what is not bounded takes far longer.
const LONG: Duration = Duration::from_secs(30);

fn hostile(expression: &str, object: &Json) -> Result<(), String> {
    #[expect(clippy::disallowed_methods, reason = "a test measures how long it takes")]
    let started = Instant::now();
    let result = match compile(expression, &Environment::admission_policy(true, true)) {
        Ok(program) => {
            let old = object.clone();
            let bindings = Bindings::new().with("object", object).with("oldObject", &old);
            let result = program.evaluate(&bindings, &mut Budget::per_call());
            result.map(drop).map_err(|why| why.to_string())
        }
        Err(why) => Err(why.to_string()),
    };
    let taken = started.elapsed();
    assert!(taken < LONG, "{taken:?}: {}", &expression[..expression.len().min(80)]);
    result
}

#[test]
fn expressions_do_not_run_long() {
    let numbers: Vec<u32> = (0..2_000).collect();
    let object = json!({"n": numbers, "text": "x".repeat(100_000), "same": {"n": numbers}});
    let cost = Err("operation cancelled: actual cost limit exceeded".to_owned());
    for expression in [
        "object.n.all(a, object.n.all(b, object.n.all(c, object.n.all(d, true))))",
        "object.n.map(a, object.n.map(b, object.n.map(c, 1))).size() > 0",
        "object.n.all(a, object == oldObject && object.n.all(b, object == oldObject))",
        "object.n.map(a, object.n + object.n + object.n).size() > 0",
        "object.n.map(a, object.text + string(a)).size() > 0",
        "object.n.map(a, 'x').join(object.text).size() > 0",
        "object.text.replace('', object.text).size() > 0",
        "object.n.map(a, object.text.matches('(x+x+)+y' + string(a))).size() > 0",
        "'%s'.format([dyn(object.n.map(a, object))]).size() > 0",
    ] {
        assert_eq!(hostile(expression, &object), cost, "{expression}");
    }
    // These may have a value, soon.
    for expression in [
        "object.n.map(a, object) == object.n.map(a, oldObject)",
        "object.n.map(a, object.n.map(b, object.n)).isSorted()",
        "sets.equivalent(object.n, oldObject.n)",
        "object.n.all(a, a in oldObject.n)",
    ] {
        let _ = hostile(expression, &object);
    }
}

#[test]
fn deep_expressions_are_refused() {
    let null = Json::Null;
    for expression in [
        "(".repeat(50_000),
        format!("{}1{}", "(".repeat(3_000), ")".repeat(3_000)),
        format!("{}1{}", "[".repeat(3_000), "]".repeat(3_000)),
        "1+".repeat(30_000) + "1",
        "1 in ".repeat(15_000) + "[1]",
        format!("object{}", ".a".repeat(40_000)),
        format!("object{}", "[0]".repeat(30_000)),
        "true ? true : ".repeat(6_000) + "true",
        "!".repeat(90_001) + "'x'",
        "-".repeat(90_000) + "x",
        "[1].map(x, ".repeat(2_000),
        "a".repeat(200_000),
        "r'\\'+".repeat(15_000) + "''",
        "{1:".repeat(3_000),
        "x.".to_owned() + &"f(".repeat(10_000),
    ] {
        assert!(
            hostile(&expression, &null).is_err(),
            "{}",
            &expression[..20.min(expression.len())]
        );
    }
    let long = "object.a == 1 && ".repeat(2_000) + "true";
    assert_eq!(hostile(&long, &json!({"a": 1})), Ok(()));
    let concatenated = "'a' + ".repeat(300) + "'b' == ''";
    assert_eq!(hostile(&concatenated, &null), Ok(()));
    let chain = "1 + ".repeat(490) + "1 == 491";
    assert_eq!(hostile(&chain, &null), Ok(()));
    let both = format!("{}1{} == 1", "[0 + 1 + ".repeat(90), "][0]".repeat(90));
    let _ = hostile(&both, &null);
    let nested = format!("{}1{} == 1", "(".repeat(60), ")".repeat(60));
    assert_eq!(hostile(&nested, &null), Ok(()));
}

#[test]
fn budgets_are_shared() {
    let environment = Environment::admission_policy(false, false);
    let program = compile("[1, 2, 3].all(x, x > 0)", &environment).unwrap();
    let mut budget = Budget {
        remaining: 40,
        per_expression: 1_000,
    };
    let bindings = Bindings::new();
    assert!(program.evaluate(&bindings, &mut budget).is_ok());
    assert!(budget.remaining < 40);
    let mut last = Ok(());
    for _ in 0..5 {
        last = program.evaluate(&bindings, &mut budget).map(drop);
    }
    assert_eq!(last, Err(EvalError::BudgetExhausted));
    let mut small = Budget {
        remaining: 1_000,
        per_expression: 5,
    };
    assert_eq!(
        program.evaluate(&bindings, &mut small).map(drop),
        Err(EvalError::CostLimit)
    );
}
