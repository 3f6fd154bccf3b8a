//! Keys of maps, and values as Go's `%#v` shows them in messages.

use std::fmt::Write as _;

use crate::construct::Native;
use crate::number::format_float;

/// A key: texts and numbers that look alike are different keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    /// The bits of a float.
    Float(u64),
    Text(String),
}

impl Key {
    /// The key that a value is; lists and maps are none.
    pub fn from_native(value: Native) -> Result<Self, Native> {
        Ok(match value {
            Native::Null => Self::Null,
            Native::Bool(value) => Self::Bool(value),
            Native::Int(value) => Self::Int(value),
            Native::Uint(value) => Self::Uint(value),
            Native::Float(value) => Self::Float(value.to_bits()),
            Native::Text(text) => Self::Text(text),
            Native::List(_) | Native::Map(_) => return Err(value),
        })
    }

    /// The key as messages show it.
    pub fn show(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, false);
        out
    }

    fn write(&self, out: &mut String, nested: bool) {
        let _ = match self {
            Self::Null => out.write_str(null(nested)),
            Self::Bool(value) => write!(out, "{value}"),
            Self::Int(value) => write!(out, "{value}"),
            Self::Uint(value) => write!(out, "{value:#x}"),
            Self::Float(bits) => out.write_str(&float(f64::from_bits(*bits))),
            Self::Text(text) => quote(out, text),
        };
    }
}

/// A value as messages show it.
pub(crate) fn show(value: &Native) -> String {
    let mut out = String::new();
    write_value(&mut out, value, false);
    out
}

fn null(nested: bool) -> &'static str {
    if nested { "interface {}(nil)" } else { "<nil>" }
}

fn float(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        format_float(&format!("{value:e}"))
    }
}

fn write_value(out: &mut String, value: &Native, nested: bool) {
    let _ = match value {
        Native::Null => out.write_str(null(nested)),
        Native::Bool(value) => write!(out, "{value}"),
        Native::Int(value) => write!(out, "{value}"),
        Native::Uint(value) => write!(out, "{value:#x}"),
        Native::Float(value) => out.write_str(&float(*value)),
        Native::Text(text) => quote(out, text),
        Native::List(items) => {
            out.push_str("[]interface {}{");
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                write_value(out, item, true);
            }
            out.write_char('}')
        }
        Native::Map(entries) => {
            out.push_str("map[interface {}]interface {}{");
            for (at, (key, value)) in entries.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                key.write(out, true);
                out.push(':');
                write_value(out, value, true);
            }
            out.write_char('}')
        }
    };
}

/// A text in double quotes, as `strconv.Quote` writes it.
fn quote(out: &mut String, text: &str) -> std::fmt::Result {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\'' => out.push('\''),
            c if c < ' ' || c == '\u{7f}' => write!(out, "\\x{:02x}", c as u32)?,
            c if c.escape_debug().len() == 1 => out.push(c),
            c if c as u32 > 0xFFFF => write!(out, "\\U{:08x}", c as u32)?,
            c => write!(out, "\\u{:04x}", c as u32)?,
        }
    }
    out.push('"');
    Ok(())
}
