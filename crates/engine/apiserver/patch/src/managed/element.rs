//! One step of a field path, and the order and text that structured-merge-diff gives it.

use crate::meta::go_json;
use serde_json::{Number, Value};
use std::cmp::Ordering;
use std::fmt;

/// A step from an object or list to what it holds.
///
/// The order (names, keys, values, indices; numbers by value) is the one managed fields are written in.
#[derive(Clone, Debug)]
pub enum PathElement {
    /// A field of an object.
    Field(String),
    /// The list item whose fields have these values; sorted by field name.
    Key(Vec<(String, Value)>),
    /// The item of a set that equals this scalar.
    Value(Value),
    /// The item at this place of a list.
    Index(i64),
}

/// A path element's text is neither of the known forms nor one of a later version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("managed fields hold {text:?}, which is no path element: {reason}")]
pub struct ElementError {
    pub text: String,
    pub reason: String,
}

impl PathElement {
    /// A field of an object.
    pub fn field(name: impl Into<String>) -> Self {
        Self::Field(name.into())
    }

    /// A list item by its keys, in any order.
    #[must_use]
    pub fn key(mut fields: Vec<(String, Value)>) -> Self {
        fields.sort_by(|left, right| left.0.cmp(&right.0));
        Self::Key(fields)
    }

    /// Reads `f:name`, `k:{...}`, `v:...` or `i:n`. `None` for a form that only a later version knows.
    pub fn parse(text: &str) -> Result<Option<Self>, ElementError> {
        let error = |reason: String| ElementError {
            text: text.to_owned(),
            reason,
        };
        let Some((form, rest)) = text.split_once(':').filter(|(form, _)| form.len() == 1) else {
            return Err(error("it has no one-letter prefix".to_owned()));
        };
        let json = || serde_json::from_str::<Value>(rest).map_err(|source| error(source.to_string()));
        match form {
            "f" => Ok(Some(Self::Field(rest.to_owned()))),
            "v" => json().map(|value| Some(Self::Value(value))),
            "k" => match json()? {
                Value::Object(fields) => Ok(Some(Self::key(fields.into_iter().collect()))),
                _ => Err(error("keys must be an object".to_owned())),
            },
            "i" => rest
                .parse()
                .map(|index| Some(Self::Index(index)))
                .map_err(|_| error("no index".to_owned())),
            _ => Ok(None),
        }
    }

    /// The text [`PathElement::parse`] reads.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Value(value) => format!("v:{}", go_json(value)),
            Self::Index(index) => format!("i:{index}"),
            Self::Key(fields) => {
                let fields: Vec<String> = fields
                    .iter()
                    .map(|(name, value)| format!("{}:{}", go_json(&Value::from(name.as_str())), go_json(value)))
                    .collect();
                format!("k:{{{}}}", fields.join(","))
            }
        }
    }
}

impl fmt::Display for PathElement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(formatter, ".{name}"),
            Self::Key(fields) => {
                formatter.write_str("[")?;
                for (index, (name, value)) in fields.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    write!(formatter, "{comma}{name}={}", display_value(value))?;
                }
                formatter.write_str("]")
            }
            Self::Value(value) => write!(formatter, "[={}]", display_value(value)),
            Self::Index(index) => write!(formatter, "[{index}]"),
        }
    }
}

fn display_value(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(display_value).collect::<Vec<_>>().join(",")),
        Value::Object(object) => {
            let fields = crate::meta::sorted(object);
            fields
                .into_iter()
                .map(|(name, value)| format!("{name}={}", display_value(value)))
                .collect()
        }
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            // A whole number reads the same whether it was written 80 or 80.0.
            Some(float) => float.to_string(),
            None => number.to_string(),
        },
        other => other.to_string(),
    }
}

impl PartialEq for PathElement {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for PathElement {}

impl PartialOrd for PathElement {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PathElement {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(left), Self::Field(right)) => left.cmp(right),
            (Self::Key(left), Self::Key(right)) => compare_fields(left.iter().map(borrow), right.iter().map(borrow)),
            (Self::Value(left), Self::Value(right)) => compare_values(left, right),
            (Self::Index(left), Self::Index(right)) => left.cmp(right),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PathElement {
    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Value(_) => 2,
            Self::Index(_) => 3,
        }
    }
}

fn borrow((name, value): &(String, Value)) -> (&String, &Value) {
    (name, value)
}

fn compare_fields<'a>(
    mut left: impl Iterator<Item = (&'a String, &'a Value)>,
    mut right: impl Iterator<Item = (&'a String, &'a Value)>,
) -> Ordering {
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(left), Some(right)) => left.0.cmp(right.0).then_with(|| compare_values(left.1, right.1)),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// A total order of JSON values: numbers by value, then text, booleans, lists, objects, null.
#[must_use]
pub fn compare_values(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => compare_numbers(left, right),
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Array(left), Value::Array(right)) => {
            let unequal = left.iter().zip(right).map(|(left, right)| compare_values(left, right));
            unequal
                .into_iter()
                .find(|order| order.is_ne())
                .unwrap_or_else(|| left.len().cmp(&right.len()))
        }
        (Value::Object(left), Value::Object(right)) => compare_fields(
            crate::meta::sorted(left).into_iter(),
            crate::meta::sorted(right).into_iter(),
        ),
        _ => value_rank(left).cmp(&value_rank(right)),
    }
}

/// Whether two values are the same; 1 and 1.0 are.
#[must_use]
pub fn equal_values(left: &Value, right: &Value) -> bool {
    compare_values(left, right) == Ordering::Equal
}

fn compare_numbers(left: &Number, right: &Number) -> Ordering {
    match (left.as_i64(), right.as_i64()) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => match (left.as_u64(), right.as_u64()) {
            (Some(left), Some(right)) => left.cmp(&right),
            _ => left
                .as_f64()
                .unwrap_or_default()
                .total_cmp(&right.as_f64().unwrap_or_default()),
        },
    }
}

fn value_rank(value: &Value) -> u8 {
    match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_are_read_back() {
        let elements = [
            PathElement::field("a.b/c"),
            PathElement::key(vec![("protocol".into(), json!("TCP")), ("port".into(), json!(80))]),
            PathElement::Value(json!("x<y")),
            PathElement::Index(3),
        ];
        let texts = ["f:a.b/c", r#"k:{"port":80,"protocol":"TCP"}"#, r#"v:"x\u003cy""#, "i:3"];
        for (element, text) in elements.iter().zip(texts) {
            assert_eq!(element.to_text(), text);
            assert_eq!(PathElement::parse(text).unwrap().as_ref(), Some(element));
        }
        assert_eq!(PathElement::parse("z:later"), Ok(None));
        for bad in ["", "f", "ff:x", "k:[]", "k:{", "i:x", "v:"] {
            assert!(PathElement::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn elements_are_ordered_by_form_then_value() {
        let ordered = [
            PathElement::field("a"),
            PathElement::field("b"),
            PathElement::key(vec![("port".into(), json!(80))]),
            PathElement::key(vec![("port".into(), json!(443))]),
            PathElement::Value(json!(2)),
            PathElement::Value(json!("1")),
            PathElement::Index(0),
        ];
        assert!(ordered.is_sorted());
        assert_eq!(PathElement::Value(json!(1)), PathElement::Value(json!(1.0)));
    }

    #[test]
    fn paths_read_like_those_of_kubernetes() {
        assert_eq!(
            PathElement::key(vec![("name".into(), json!("a\"b"))]).to_string(),
            r#"[name="a\"b"]"#
        );
        assert_eq!(
            PathElement::key(vec![("p".into(), json!(80)), ("a".into(), json!("TCP"))]).to_string(),
            r#"[a="TCP",p=80]"#
        );
        assert_eq!(PathElement::Value(json!("f")).to_string(), r#"[="f"]"#);
    }
}
