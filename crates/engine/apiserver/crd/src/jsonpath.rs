//! JSONPath as columns and selectable fields write it (upstream `client-go/util/jsonpath`, without text and ranges):
//! `.spec.replicas`, `.status.conditions[?(@.type=="Ready")].status`, `.metadata.labels['a\.b']`, `.items[0:2]`, `..name`.

use std::cmp::Ordering;

use serde_json::{Number, Value};

use crate::schema::Pattern;

/// How deep filters may nest in filters.
const DEPTH_MAX: usize = 8;
/// How many values a step may give.
const FOUND_MAX: usize = 100_000;

/// Why a path cannot be read or followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It ends before it should.
    #[error("unterminated {0}")]
    Unterminated(&'static str),
    /// A character that has no place there.
    #[error("unrecognized character in action: {0:?}")]
    Character(char),
    /// An index that is none.
    #[error("invalid array index {0}")]
    Index(String),
    /// A number that is none.
    #[error("cannot parse number {0}")]
    Number(String),
    /// Something that is not supported here.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// A value of a wrong kind for the step.
    #[error("{0}")]
    Value(&'static str),
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Wildcard,
    Recursive,
    /// Start, end and step; the end of a single index is derived.
    Slice {
        start: Option<i64>,
        end: Option<i64>,
        derived: bool,
        step: Option<i64>,
    },
    Union(Vec<Vec<Step>>),
    Exists(Vec<Step>),
    Compare(Vec<Step>, Operator, Vec<Step>),
    Literal(Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Matches,
}

/// A path that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath {
    steps: Vec<Step>,
}

impl JsonPath {
    /// Reads a path.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<JsonPath, PathError> {
        Ok(JsonPath { steps: parse(text, 0)? })
    }

    /// The values that a path leads to; none where fields are missing.
    ///
    /// # Errors
    /// A step that a value can't be taken apart by.
    pub fn find(&self, value: &Value) -> Result<Vec<Value>, PathError> {
        follow(&self.steps, vec![value.clone()])
    }
}

fn is_terminator(c: char) -> bool {
    matches!(
        c,
        ' ' | '\t' | '\r' | '\n' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}'
    )
}

/// Splits after the field at the start; a backslash takes what follows as it is.
fn split_field(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut rest = text.char_indices();
    while let Some((at, c)) = rest.next() {
        match c {
            '\\' => name.extend(rest.next().map(|(_, escaped)| escaped)),
            c if is_terminator(c) => return (name, &text[at..]),
            c => name.push(c),
        }
    }
    (name, "")
}

fn parse(text: &str, depth: usize) -> Result<Vec<Step>, PathError> {
    if depth > DEPTH_MAX {
        return Err(PathError::Unsupported("such depth"));
    }
    let mut steps = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("[?(") {
            let (inner, after) = filter_text(after)?;
            steps.push(filter(inner, depth)?);
            rest = after;
            continue;
        }
        if let Some(after) = rest.strip_prefix("..") {
            if steps.last() == Some(&Step::Recursive) {
                return Err(PathError::Unsupported("multiple recursive descent"));
            }
            steps.push(Step::Recursive);
            rest = after;
            if rest.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
                let (name, after) = split_field(rest);
                steps.push(Step::Field(name));
                rest = after;
            }
            continue;
        }
        let after = &rest[first.len_utf8()..];
        rest = match first {
            ' ' | '@' | '$' => after,
            '.' => {
                let (name, after) = split_field(after);
                steps.push(match name.as_str() {
                    "*" => Step::Wildcard,
                    _ => Step::Field(name),
                });
                after
            }
            '[' => {
                let (inner, after) = after.split_once(']').ok_or(PathError::Unterminated("array"))?;
                steps.extend(brackets(inner, depth)?);
                after
            }
            '"' | '\'' => {
                let (literal, after) = quoted(after, first)?;
                steps.push(Step::Literal(literal.into()));
                after
            }
            c if c.is_ascii_digit() || matches!(c, '+' | '-') => {
                let end = after
                    .find(|c: char| c != '.' && !c.is_ascii_digit())
                    .unwrap_or(after.len());
                let (number, after) = rest.split_at(end + 1);
                steps.push(Step::Literal(parse_number(number)?));
                after
            }
            c if c.is_alphabetic() || c == '_' => {
                let (word, after) = split_field(rest);
                steps.push(match word.as_str() {
                    "true" => Step::Literal(true.into()),
                    "false" => Step::Literal(false.into()),
                    _ => return Err(PathError::Unsupported("an identifier")),
                });
                after
            }
            c => return Err(PathError::Character(c)),
        };
    }
    Ok(steps)
}

fn parse_number(text: &str) -> Result<Value, PathError> {
    let plain = text.strip_prefix('+').unwrap_or(text);
    let whole = plain.parse::<i64>().ok().map(Value::from);
    let float = || plain.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number);
    whole.or_else(float).ok_or_else(|| PathError::Number(text.to_owned()))
}

fn quoted(text: &str, quote: char) -> Result<(String, &str), PathError> {
    let mut out = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => match characters.next().map(|(_, c)| c) {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => out.push('\r'),
                Some(c) => out.push(c),
                None => break,
            },
            c if c == quote => return Ok((out, &text[at + c.len_utf8()..])),
            c => out.push(c),
        }
    }
    Err(PathError::Unterminated("quoted string"))
}

/// The text of a filter, up to `)]`; parentheses within quotes don't end it.
fn filter_text(text: &str) -> Result<(&str, &str), PathError> {
    let mut quote: Option<char> = None;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        match (c, quote) {
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open && before != '\\' => quote = None,
            (')', None) => {
                let after = text[at + 1..].strip_prefix(']');
                return after
                    .map(|after| (&text[..at], after))
                    .ok_or(PathError::Unterminated("array"));
            }
            _ => {}
        }
        before = c;
    }
    Err(PathError::Unterminated("filter"))
}

fn filter(text: &str, depth: usize) -> Result<Step, PathError> {
    let is_operator = |c: char| matches!(c, '!' | '<' | '>' | '=');
    let Some(start) = text.find(is_operator).filter(|at| *at > 0) else {
        return Ok(Step::Exists(parse(text, depth + 1)?));
    };
    let (left, rest) = text.split_at(start);
    let end = rest.find(|c: char| !is_operator(c) && c != '~').unwrap_or(rest.len());
    let (operator, right) = rest.split_at(end);
    let operator = match operator {
        "<" => Operator::Less,
        "<=" => Operator::LessOrEqual,
        "==" => Operator::Equal,
        "!=" => Operator::NotEqual,
        ">" => Operator::Greater,
        ">=" => Operator::GreaterOrEqual,
        "=~" => Operator::Matches,
        _ => return Err(PathError::Unsupported("this filter operator")),
    };
    Ok(Step::Compare(
        parse(left, depth + 1)?,
        operator,
        parse(right, depth + 1)?,
    ))
}

fn brackets(inner: &str, depth: usize) -> Result<Vec<Step>, PathError> {
    let text = if inner == "*" { ":" } else { inner };
    if text.contains(',') {
        let parts = text.split(',').map(|part| brackets(part.trim_matches(' '), depth + 1));
        return Ok(vec![Step::Union(parts.collect::<Result<_, _>>()?)]);
    }
    if let Some(key) = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return parse(&format!(".{key}"), depth + 1);
    }
    let bad = || PathError::Index(inner.to_owned());
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 3 {
        return Err(bad());
    }
    let part = |at: usize| -> Result<Option<i64>, PathError> {
        match parts.get(at).copied().unwrap_or_default() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| bad()),
        }
    };
    let (start, step) = (part(0)?, part(2)?);
    let single = parts.len() == 1;
    if single && start.is_none() {
        return Err(bad());
    }
    let end = if single {
        start.and_then(|start| start.checked_add(1))
    } else {
        part(1)?
    };
    Ok(vec![Step::Slice {
        start,
        end,
        derived: single,
        step,
    }])
}

fn follow(steps: &[Step], mut values: Vec<Value>) -> Result<Vec<Value>, PathError> {
    for step in steps {
        values = take(step, values)?;
        if values.len() > FOUND_MAX {
            return Err(PathError::Value("too many values"));
        }
    }
    Ok(values)
}

fn inner(value: Value) -> Vec<Value> {
    match value {
        Value::Object(map) => map.into_iter().map(|(_, value)| value).collect(),
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

fn take(step: &Step, values: Vec<Value>) -> Result<Vec<Value>, PathError> {
    let mut found = Vec::new();
    match step {
        Step::Literal(literal) => found.extend(values.iter().map(|_| literal.clone())),
        Step::Field(name) => {
            for value in values {
                if let Value::Object(mut map) = value {
                    found.extend(map.remove(name));
                }
            }
        }
        Step::Wildcard => found.extend(values.into_iter().flat_map(inner)),
        Step::Recursive => {
            for value in values {
                descend(value, &mut found)?;
            }
        }
        Step::Union(alternatives) => {
            for steps in alternatives {
                found.extend(follow(steps, values.clone())?);
            }
        }
        Step::Slice {
            start,
            end,
            derived,
            step,
        } => {
            for value in values.into_iter().filter(|value| !value.is_null()) {
                let Value::Array(items) = value else {
                    return Err(PathError::Value("not an array or slice"));
                };
                found.extend(slice(items, *start, *end, *derived, *step)?);
            }
        }
        Step::Exists(steps) => {
            for item in listed(values)? {
                if follow(steps, vec![item.clone()]).is_ok_and(|found| !found.is_empty()) {
                    found.push(item);
                }
            }
        }
        Step::Compare(left, operator, right) => {
            for item in listed(values)? {
                let left = only(follow(left, vec![item.clone()])?)?;
                let right = only(follow(right, vec![item.clone()])?)?;
                if let (Some(left), Some(right)) = (left, right)
                    && compare(&left, *operator, &right)?
                {
                    found.push(item);
                }
            }
        }
    }
    Ok(found)
}

fn descend(value: Value, found: &mut Vec<Value>) -> Result<(), PathError> {
    let below = inner(value.clone());
    if below.is_empty() {
        return Ok(());
    }
    if found.len() > FOUND_MAX {
        return Err(PathError::Value("too many values"));
    }
    found.push(value);
    below.into_iter().try_for_each(|value| descend(value, found))
}

fn listed(values: Vec<Value>) -> Result<Vec<Value>, PathError> {
    let mut items = Vec::new();
    for value in values {
        match value {
            Value::Array(list) => items.extend(list),
            _ => return Err(PathError::Value("not an array or slice and cannot be filtered")),
        }
    }
    Ok(items)
}

fn only(mut values: Vec<Value>) -> Result<Option<Value>, PathError> {
    if values.len() > 1 {
        return Err(PathError::Value("can only compare one element at a time"));
    }
    Ok(values.pop())
}

fn slice(
    items: Vec<Value>,
    start: Option<i64>,
    end: Option<i64>,
    derived: bool,
    step: Option<i64>,
) -> Result<Vec<Value>, PathError> {
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let from_end = |at: i64| if at < 0 { at.saturating_add(length) } else { at };
    let start = from_end(start.unwrap_or(0));
    let end = match end.unwrap_or(length) {
        0 if derived => length,
        end => from_end(end),
    };
    if start == end {
        return Ok(Vec::new());
    }
    if start >= length || start < 0 || end > length || end < 0 || start > end {
        return Err(PathError::Value("array index out of bounds"));
    }
    let step = match step {
        None => 1,
        Some(step) => usize::try_from(step)
            .ok()
            .filter(|step| *step > 0)
            .ok_or(PathError::Value("step must be > 0"))?,
    };
    let (start, end) = (start.unsigned_abs() as usize, end.unsigned_abs() as usize);
    Ok(items.into_iter().take(end).skip(start).step_by(step).collect())
}

fn compare(left: &Value, operator: Operator, right: &Value) -> Result<bool, PathError> {
    if operator == Operator::Matches {
        return match (left, right) {
            (Value::String(text), Value::String(pattern)) => Ok(Pattern::new(pattern).matches(text)),
            _ => Err(PathError::Value("only strings are matched")),
        };
    }
    let order = match (left, right) {
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) if matches!(operator, Operator::Equal | Operator::NotEqual) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) if a.is_f64() == b.is_f64() => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal),
        },
        _ => return Err(PathError::Value("incompatible types for comparison")),
    };
    Ok(match operator {
        Operator::Less => order.is_lt(),
        Operator::LessOrEqual => order.is_le(),
        Operator::Equal | Operator::Matches => order.is_eq(),
        Operator::NotEqual => order.is_ne(),
        Operator::Greater => order.is_gt(),
        Operator::GreaterOrEqual => order.is_ge(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_lead_to_values() {
        let object = json!({
            "metadata": {"labels": {"a.b/c": "l"}},
            "spec": {"n": 3, "list": [1, 2, 3, 4], "null": null},
            "status": {"conditions": [
                {"type": "Ready", "status": "True", "n": 1},
                {"type": "Other", "status": "False", "n": 2},
            ]},
        });
        for (path, found) in [
            (".spec.n", json!([3])),
            ("{.spec.n", json!(null)),
            (".spec.missing.x", json!([])),
            (".spec.null", json!([null])),
            (".spec.list[0]", json!([1])),
            (".spec.list[-1]", json!([4])),
            (".spec.list[9]", json!(null)),
            (".spec.list[*]", json!([1, 2, 3, 4])),
            (".spec.list[1:3]", json!([2, 3])),
            (".spec.list[::2]", json!([1, 3])),
            (".spec.list[0,2]", json!([1, 3])),
            (".spec.n[0]", json!(null)),
            (r".metadata.labels.a\.b/c", json!(["l"])),
            (r".metadata.labels['a\.b/c']", json!(["l"])),
            (".status.conditions[?(@.type==\"Ready\")].status", json!(["True"])),
            (".status.conditions[?(@.type=='Other')].status", json!(["False"])),
            (".status.conditions[?(@.n>=2)].type", json!(["Other"])),
            (".status.conditions[?(@.n)].type", json!(["Ready", "Other"])),
            (".status.conditions[?(@.type!=\"a)b\")].n", json!([1, 2])),
            (".status.conditions[?(@.type=~\"^R\")].n", json!([1])),
            ("..type", json!(["Ready", "Other"])),
            (".spec.*", json!([[1, 2, 3, 4], 3, null])),
            (".spec.list[", json!(null)),
            (".spec.list[x]", json!(null)),
        ] {
            let result = JsonPath::parse(path).and_then(|path| path.find(&object));
            assert_eq!(result.map_or(Value::Null, Value::Array), found, "{path}");
        }
    }
}
