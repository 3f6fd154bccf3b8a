//! Reads expressions. The grammar and the macros are those of the `cel` crate; what it reads becomes our own
//! [`Expr`], so that nothing else depends on that crate.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use cel::common::ast::{self, EntryExpr, IdedExpr, LiteralValue, SourceInfo, operators};
use cel::{Env, ParseErrors};

use crate::error::Issue;
use crate::expr::{Call, Element, Entry, Expr, Fold, Kind, Select};
use crate::types::Type;
use crate::value::{Text, Value};

/// Longest expression that is read, in characters; upstream's.
pub(crate) const CHARS_MAX: usize = 100_000;
/// Deepest nesting of brackets, conditionals and arguments.
const NESTING_MAX: u16 = 96;
/// Most operators and accesses that follow each other, summed over the brackets they are in: each is a level of the
/// tree that is read.
const CHAIN_MAX: usize = 500;
/// How often the parser may go on after an error; upstream's.
const RECOVERIES_MAX: u32 = 30;

/// Parsers with all macros. Made once: it takes longer than most expressions.
static PARSERS: LazyLock<Env> = LazyLock::new(crate::macros::environment);

/// Reads an expression.
pub(crate) fn parse(source: &str) -> Result<Expr, Vec<Issue>> {
    let nowhere = |message: String| {
        vec![Issue {
            line: 0,
            column: 0,
            message,
        }]
    };
    let chars = source.chars().count();
    if chars > CHARS_MAX {
        return Err(nowhere(format!(
            "expression code point size exceeds limit: size: {chars}, limit {CHARS_MAX}"
        )));
    }
    if longest_chain(source) > CHAIN_MAX {
        return Err(nowhere(format!("expression recursion limit exceeded: {CHAIN_MAX}")));
    }
    let read = || {
        PARSERS
            .parser()
            .max_recursion_depth(NESTING_MAX)
            .error_recovery_limit(RECOVERIES_MAX)
            .enable_ident_escape_syntax(false)
            .parse_with_source_info(source)
    };
    // What is read here comes from clients: a defect of the parser must not take more with it than the request.
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok((tree, places))) => Ok(Reader::new(&places).expr(tree)),
        Ok(Err(errors)) => Err(issues(errors)),
        Err(_) => Err(nowhere("Syntax error: the expression could not be read".to_owned())),
    }
}

/// An upper bound of how deep left-leaning parts of the expression's tree can get, found without reading it.
fn longest_chain(source: &str) -> usize {
    let mut open = Vec::new();
    let (mut here, mut outside, mut longest) = (0_usize, 0_usize, 0_usize);
    let mut rest = source;
    while let Some(letter) = rest.chars().next() {
        let word = rest.len()
            - rest
                .trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_')
                .len();
        if word > 0 {
            let (word, after) = rest.split_at(word);
            let raw = matches!(word, "r" | "R" | "br" | "bR" | "Br" | "BR" | "rb" | "rB" | "Rb" | "RB");
            here += usize::from(word == "in");
            rest = if raw && after.starts_with(['"', '\'']) {
                after_quoted(after, true)
            } else {
                after
            };
            longest = longest.max(outside + here);
            continue;
        }
        match letter {
            '"' | '\'' => {
                rest = after_quoted(rest, false);
                continue;
            }
            '/' if rest.starts_with("//") => {
                rest = rest.find('\n').map_or("", |end| &rest[end..]);
                continue;
            }
            '(' | '[' | '{' => {
                here += 1;
                open.push(here);
                outside += here;
                here = 0;
            }
            ')' | ']' | '}' => {
                if let Some(before) = open.pop() {
                    outside -= before;
                    here = before;
                }
            }
            ',' => here = 0,
            '+' | '-' | '*' | '/' | '%' | '<' | '>' | '=' | '.' | '?' => here += 1,
            // Chains of `&&` and `||` become balanced trees.
            '&' | '|' if rest.starts_with("&&") || rest.starts_with("||") => here = 0,
            _ => {}
        }
        longest = longest.max(outside + here);
        rest = &rest[letter.len_utf8()..];
    }
    longest
}

/// What is after the text in quotes that `text` starts with.
fn after_quoted(text: &str, raw: bool) -> &str {
    let triple = text[..1].repeat(3);
    let (mark, mut rest) = match text.strip_prefix(triple.as_str()) {
        Some(rest) => (triple.as_str(), rest),
        None => (&text[..1], &text[1..]),
    };
    while let Some(letter) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix(mark) {
            return after;
        }
        rest = &rest[letter.len_utf8()..];
        if letter == '\\' && !raw {
            let escaped = rest.chars().next().map_or(0, char::len_utf8);
            rest = &rest[escaped..];
        }
    }
    rest
}

fn issues(errors: ParseErrors) -> Vec<Issue> {
    let whole = |position: isize| usize::try_from(position).unwrap_or_default();
    let issue = |error: &cel::ParseError| Issue {
        line: whole(error.pos.0),
        column: whole(error.pos.1).saturating_sub(1),
        message: match error.msg.as_str() {
            "UNKNOWN" => format!("expression recursion limit exceeded: {NESTING_MAX}"),
            other => other.to_owned(),
        },
    };
    errors.errors.iter().map(issue).collect()
}

/// Turns what the parser read into our own expressions.
struct Reader<'p> {
    places: &'p SourceInfo,
    names: BTreeMap<String, Arc<str>>,
}

impl<'p> Reader<'p> {
    fn new(places: &'p SourceInfo) -> Self {
        Self {
            places,
            names: BTreeMap::new(),
        }
    }

    fn name(&mut self, name: String) -> Arc<str> {
        Arc::clone(
            self.names
                .entry(name)
                .or_insert_with_key(|name| Arc::from(name.as_str())),
        )
    }

    fn expr(&mut self, read: IdedExpr) -> Expr {
        let at = self.places.offset_for(read.id).map_or(0, |(start, _)| start as usize);
        Expr {
            at,
            kind: self.kind(read.expr),
            of: Type::Dyn,
        }
    }

    fn kind(&mut self, read: ast::Expr) -> Kind {
        match read {
            ast::Expr::Unspecified => Kind::Missing,
            ast::Expr::Literal(literal) => Kind::Literal(value(literal)),
            ast::Expr::Ident(name) => Kind::Ident(self.name(name)),
            ast::Expr::Select(select) => Kind::Select(Box::new(Select {
                operand: self.expr(*select.operand),
                field: self.name(select.field),
                test: select.test,
                optional: false,
            })),
            ast::Expr::Call(call) => self.call(call),
            ast::Expr::List(list) => {
                let optional = list.optional_indices;
                let elements = list.elements.into_iter().enumerate();
                Kind::List(
                    elements
                        .map(|(index, element)| Element {
                            value: self.expr(element),
                            optional: optional.contains(&index),
                        })
                        .collect(),
                )
            }
            ast::Expr::Map(map) => {
                let entries = map.entries.into_iter().filter_map(|entry| match entry.expr {
                    EntryExpr::MapEntry(entry) => Some(entry),
                    EntryExpr::StructField(_) => None,
                });
                Kind::Map(
                    entries
                        .map(|entry| Entry {
                            key: self.expr(entry.key),
                            value: self.expr(entry.value),
                            optional: entry.optional,
                        })
                        .collect(),
                )
            }
            ast::Expr::Struct(object) => Kind::Struct(self.name(object.type_name)),
            ast::Expr::Comprehension(fold) => Kind::Fold(Box::new(Fold {
                range: self.expr(fold.iter_range),
                variable: self.name(fold.iter_var),
                second: fold.iter_var2.map(|name| self.name(name)),
                gathered: self.name(fold.accu_var),
                start: self.expr(fold.accu_init),
                condition: self.expr(fold.loop_cond),
                step: self.expr(fold.loop_step),
                result: self.expr(fold.result),
            })),
        }
    }

    fn call(&mut self, call: ast::CallExpr) -> Kind {
        let mut arguments: Vec<Expr> = call.args.into_iter().map(|argument| self.expr(argument)).collect();
        if call.func_name == operators::OPT_SELECT
            && call.target.is_none()
            && let [_, field] = arguments.as_slice()
            && let Some(field) = field.literal_text().map(str::to_owned)
        {
            arguments.truncate(1);
            if let Some(operand) = arguments.pop() {
                return Kind::Select(Box::new(Select {
                    operand,
                    field: self.name(field),
                    test: false,
                    optional: true,
                }));
            }
        }
        Kind::Call(Box::new(Call {
            function: self.name(call.func_name),
            target: call.target.map(|target| self.expr(*target)),
            arguments,
            pattern: None,
        }))
    }
}

fn value(literal: LiteralValue) -> Value<'static> {
    match literal {
        LiteralValue::Boolean(value) => Value::Bool(value.into_inner()),
        LiteralValue::Bytes(value) => Value::Bytes(Arc::from(value.inner())),
        LiteralValue::Double(value) => Value::Double(value.into_inner()),
        LiteralValue::Int(value) => Value::Int(value.into_inner()),
        LiteralValue::Null => Value::Null,
        LiteralValue::String(value) => Value::String(Text::from(value.inner())),
        LiteralValue::UInt(value) => Value::Uint(value.into_inner()),
    }
}
