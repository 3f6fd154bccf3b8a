//! Values in error texts as upstream prints them: its internal structures have Go's field names, all fields, and their
//! order, so a value is written after a table of its shape.

use serde_json::Value;

use crate::{FieldError, html_safe};

/// How a value of an internal structure is printed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// A string that is `""` when missing.
    Text,
    /// A number that is `0` when missing.
    Number,
    /// A flag that is `false` when missing.
    Flag,
    /// Printed as it was sent, `null` when missing: pointers, and types whose JSON is that of the API.
    Same,
    /// A list of structures, `null` when missing.
    List(&'static Shape),
    /// A map, `null` when missing.
    Map(&'static Shape),
    /// A value that is printed by a function of its own.
    By(fn(&Value, &mut String)),
    /// A structure with its fields: name in Go, name in JSON, shape.
    Struct(&'static [(&'static str, &'static str, Shape)]),
    /// A structure that may be missing: `null` then.
    Maybe(&'static Shape),
}

fn push_text(text: &str, out: &mut String) {
    out.push_str(&html_safe(&Value::from(text).to_string()));
}

fn push_list(items: &[Value], out: &mut String, item: impl Fn(&Value, &mut String)) {
    out.push('[');
    for (i, value) in items.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        item(value, out);
    }
    out.push(']');
}

/// Writes a value of this shape.
pub(crate) fn push(shape: &Shape, value: &Value, out: &mut String) {
    match (shape, value) {
        (Shape::Text, Value::Null) => out.push_str("\"\""),
        (Shape::Number, Value::Null) => out.push('0'),
        (Shape::Flag, Value::Null) => out.push_str("false"),
        (Shape::List(item), Value::Array(items)) => push_list(items, out, |value, out| push(item, value, out)),
        (Shape::Map(item), Value::Object(fields)) => {
            out.push('{');
            for (i, (key, value)) in fields.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                push_text(key, out);
                out.push(':');
                push(item, value, out);
            }
            out.push('}');
        }
        (Shape::Struct(fields), Value::Object(_) | Value::Null) => {
            out.push('{');
            for (i, (go, json, shape)) in fields.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                push_text(go, out);
                out.push(':');
                push(shape, &value[*json], out);
            }
            out.push('}');
        }
        (Shape::Maybe(inner), Value::Object(_)) => push(inner, value, out),
        (Shape::By(print), value) => print(value, out),
        (_, other) => out.push_str(&html_safe(&other.to_string())),
    }
}

/// The text of `value` as a structure of this shape.
pub(crate) fn text(shape: &Shape, value: &Value) -> String {
    let mut out = String::new();
    push(shape, value, &mut out);
    out
}

/// A malformed value that is a structure of this shape.
pub(crate) fn invalid(path: impl Into<String>, shape: &Shape, value: &Value, detail: &str) -> FieldError {
    FieldError::invalid_printed(path, &text(shape, value), detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const INNER: Shape = Shape::Struct(&[("Count", "count", Shape::Number)]);
    const OUTER: Shape = Shape::Struct(&[
        ("Name", "name", Shape::Text),
        ("Pointer", "pointer", Shape::Same),
        ("All", "all", Shape::List(&INNER)),
        ("One", "one", Shape::Maybe(&INNER)),
    ]);

    #[test]
    fn structures_have_all_fields_in_order() {
        assert_eq!(
            text(&OUTER, &json!({"all": [{}, {"count": 2}], "name": "<a>"})),
            r#"{"Name":"\u003ca\u003e","Pointer":null,"All":[{"Count":0},{"Count":2}],"One":null}"#
        );
        assert_eq!(text(&OUTER, &json!(5)), "5");
    }
}
