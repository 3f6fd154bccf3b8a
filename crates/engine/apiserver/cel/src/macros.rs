//! The macros over elements and their indexes, or keys and their values (`transformList` and its like), that the
//! parser does not bring along.

use cel::Env;
use cel::common::ast::operators;
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, ListExpr, LiteralValue, MapExpr};
use cel::parser::{Macro, MacroExprHelper, ParseError};

/// What gathers the result of a comprehension.
const GATHERED: &str = "@result";
/// Puts one entry, or those of a map, into a map; not callable by name.
pub(crate) const MAP_INSERT: &str = "cel.@mapInsert";

/// The variables, what is done with each pair, and the condition on it if there is one.
struct Parts {
    first: String,
    filter: Option<IdedExpr>,
    body: IdedExpr,
}

/// How a comprehension starts, goes on and ends.
struct Shape {
    start: IdedExpr,
    condition: IdedExpr,
    step: IdedExpr,
    result: IdedExpr,
}

/// The macros of the language, of optionals, and those over two variables.
pub(crate) fn environment() -> Env {
    let mut env = Env::stdlib();
    let mut add = |name: &str, arguments: usize, shape: fn(&mut MacroExprHelper<'_>, Parts) -> Shape| {
        let expand = move |helper: &mut MacroExprHelper<'_>,
                           target: &mut Option<IdedExpr>,
                           args: &mut Vec<IdedExpr>| { expand(helper, target, args, shape) };
        // Fails only for a macro that is there already, which then stands for it.
        let _ = env.add_macro(Macro::receiver(name, arguments, expand));
    };
    add("all", 3, all);
    add("exists", 3, exists);
    add("existsOne", 3, exists_one);
    add("exists_one", 3, exists_one);
    for arguments in [3, 4] {
        add("transformList", arguments, transform_list);
        add("transformMap", arguments, transform_map);
        add("transformMapEntry", arguments, transform_map_entry);
    }
    env
}

fn expand(
    helper: &mut MacroExprHelper<'_>,
    target: &mut Option<IdedExpr>,
    arguments: &mut Vec<IdedExpr>,
    shape: fn(&mut MacroExprHelper<'_>, Parts) -> Shape,
) -> Result<Option<IdedExpr>, ParseError> {
    let Some(range) = target.take() else { return Ok(None) };
    let mut given = std::mem::take(arguments).into_iter();
    let (Some(first), Some(second)) = (given.next(), given.next()) else {
        return Err(helper.new_error(range.id, "argument is not an identifier"));
    };
    let second_id = second.id;
    let first = variable(helper, first)?;
    let second = variable(helper, second)?;
    if first == second {
        return Err(helper.new_error(second_id, format!("duplicate variable name: {first}")));
    }
    let Some(body) = given.next_back() else {
        return Err(helper.new_error(second_id, "argument is missing"));
    };
    let parts = Parts {
        first: first.clone(),
        filter: given.next(),
        body,
    };
    let shape = shape(helper, parts);
    Ok(Some(helper.next_expr(Expr::Comprehension(Box::new(
        ComprehensionExpr {
            iter_range: range,
            iter_var: first,
            iter_var2: Some(second),
            accu_var: GATHERED.to_owned(),
            accu_init: shape.start,
            loop_cond: shape.condition,
            loop_step: shape.step,
            result: shape.result,
        },
    )))))
}

fn variable(helper: &MacroExprHelper<'_>, argument: IdedExpr) -> Result<String, ParseError> {
    match argument.expr {
        Expr::Ident(name) if name == GATHERED || name == "__result__" => {
            Err(helper.new_error(argument.id, "iteration variable overwrites accumulator variable"))
        }
        Expr::Ident(name) => Ok(name),
        _ => Err(helper.new_error(argument.id, "argument must be a simple name")),
    }
}

fn gathered(helper: &mut MacroExprHelper<'_>) -> IdedExpr {
    helper.next_expr(Expr::Ident(GATHERED.to_owned()))
}

fn boolean(helper: &mut MacroExprHelper<'_>, value: bool) -> IdedExpr {
    helper.next_expr(Expr::Literal(LiteralValue::Boolean(value.into())))
}

fn number(helper: &mut MacroExprHelper<'_>, value: i64) -> IdedExpr {
    helper.next_expr(Expr::Literal(LiteralValue::Int(value.into())))
}

fn call(helper: &mut MacroExprHelper<'_>, function: &str, args: Vec<IdedExpr>) -> IdedExpr {
    helper.next_expr(Expr::Call(CallExpr {
        func_name: function.to_owned(),
        target: None,
        args,
    }))
}

fn all(helper: &mut MacroExprHelper<'_>, parts: Parts) -> Shape {
    let so_far = gathered(helper);
    let condition = call(helper, operators::NOT_STRICTLY_FALSE, vec![so_far]);
    let so_far = gathered(helper);
    Shape {
        start: boolean(helper, true),
        condition,
        step: call(helper, operators::LOGICAL_AND, vec![so_far, parts.body]),
        result: gathered(helper),
    }
}

fn exists(helper: &mut MacroExprHelper<'_>, parts: Parts) -> Shape {
    let so_far = gathered(helper);
    let none = call(helper, operators::LOGICAL_NOT, vec![so_far]);
    let condition = call(helper, operators::NOT_STRICTLY_FALSE, vec![none]);
    let so_far = gathered(helper);
    Shape {
        start: boolean(helper, false),
        condition,
        step: call(helper, operators::LOGICAL_OR, vec![so_far, parts.body]),
        result: gathered(helper),
    }
}

fn exists_one(helper: &mut MacroExprHelper<'_>, parts: Parts) -> Shape {
    let (so_far, one) = (gathered(helper), number(helper, 1));
    let more = call(helper, operators::ADD, vec![so_far, one]);
    let so_far = gathered(helper);
    let step = call(helper, operators::CONDITIONAL, vec![parts.body, more, so_far]);
    let (so_far, one) = (gathered(helper), number(helper, 1));
    Shape {
        start: number(helper, 0),
        condition: boolean(helper, true),
        step,
        result: call(helper, operators::EQUALS, vec![so_far, one]),
    }
}

/// A step that is taken for the pairs the filter lets through.
fn gathering(helper: &mut MacroExprHelper<'_>, start: Expr, step: IdedExpr, filter: Option<IdedExpr>) -> Shape {
    let step = match filter {
        Some(filter) => {
            let so_far = gathered(helper);
            call(helper, operators::CONDITIONAL, vec![filter, step, so_far])
        }
        None => step,
    };
    Shape {
        start: helper.next_expr(start),
        condition: boolean(helper, true),
        step,
        result: gathered(helper),
    }
}

fn transform_list(helper: &mut MacroExprHelper<'_>, parts: Parts) -> Shape {
    let so_far = gathered(helper);
    let one = helper.next_expr(Expr::List(ListExpr::new(vec![parts.body])));
    let step = call(helper, operators::ADD, vec![so_far, one]);
    gathering(helper, Expr::List(ListExpr::default()), step, parts.filter)
}

fn transform_map(helper: &mut MacroExprHelper<'_>, parts: Parts) -> Shape {
    let so_far = gathered(helper);
    let key = helper.next_expr(Expr::Ident(parts.first));
    let step = call(helper, MAP_INSERT, vec![so_far, key, parts.body]);
    gathering(helper, Expr::Map(MapExpr::default()), step, parts.filter)
}

fn transform_map_entry(helper: &mut MacroExprHelper<'_>, parts: Parts) -> Shape {
    let so_far = gathered(helper);
    let step = call(helper, MAP_INSERT, vec![so_far, parts.body]);
    gathering(helper, Expr::Map(MapExpr::default()), step, parts.filter)
}
