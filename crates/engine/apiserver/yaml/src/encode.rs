//! Values of JSON to YAML, as go-yaml's second version writes it.

use std::fmt::Write as _;

use libyaml_safer::{Emitter, Encoding, Error, Event, MappingStyle, ScalarStyle, SequenceStyle};
use serde_json::{Number, Value};

use crate::number::{format_float, is_sexagesimal, whole};
use crate::order;
use crate::resolve::{self, Kind};

/// Writes a value as one document: blocks, keys in their natural order, long texts folded at 80 columns.
pub fn encode(value: &Value) -> String {
    let mut bytes = Vec::new();
    let written = write(value, &mut bytes)
        .ok()
        .and_then(|()| String::from_utf8(bytes).ok());
    match written {
        Some(mut text) => {
            // The end of a document is marked after a text whose last line breaks count; the reference doesn't.
            if text.ends_with("\n...\n") {
                text.truncate(text.len() - "...\n".len());
            }
            escape_astral(text)
        }
        // Not reached with values of JSON; what is JSON is YAML too.
        None => format!("{value}\n"),
    }
}

fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), Error> {
    let mut emitter = Emitter::new();
    emitter.set_output_string(out);
    emitter.set_unicode(true);
    emitter.emit(Event::stream_start(Encoding::Utf8))?;
    emitter.emit(Event::document_start(None, &[], true))?;
    node(&mut emitter, value)?;
    emitter.emit(Event::document_end(true))?;
    emitter.emit(Event::stream_end())?;
    emitter.flush()
}

fn node(emitter: &mut Emitter<'_>, value: &Value) -> Result<(), Error> {
    match value {
        Value::Null => scalar(emitter, "null", ScalarStyle::Plain),
        Value::Bool(value) => scalar(emitter, if *value { "true" } else { "false" }, ScalarStyle::Plain),
        Value::Number(value) => scalar(emitter, &number(value), ScalarStyle::Plain),
        Value::String(value) => text(emitter, value),
        Value::Array(items) => {
            emitter.emit(Event::sequence_start(None, None, true, SequenceStyle::Block))?;
            items.iter().try_for_each(|item| node(emitter, item))?;
            emitter.emit(Event::sequence_end())
        }
        Value::Object(map) => {
            emitter.emit(Event::mapping_start(None, None, true, MappingStyle::Block))?;
            for (key, value) in order::sorted(map.iter().collect()) {
                text(emitter, key)?;
                node(emitter, value)?;
            }
            emitter.emit(Event::mapping_end())
        }
    }
}

fn scalar(emitter: &mut Emitter<'_>, text: &str, style: ScalarStyle) -> Result<(), Error> {
    emitter.emit(Event::scalar(None, None, text, true, true, style))
}

fn text(emitter: &mut Emitter<'_>, text: &str) -> Result<(), Error> {
    let style = if has_astral(text) {
        ScalarStyle::DoubleQuoted
    } else if text.contains('\n') {
        ScalarStyle::Literal
    } else if resolve::plain(text).0 == Kind::Str && !is_sexagesimal(text) {
        // Where it can't be plain the emitter takes single quotes.
        ScalarStyle::Plain
    } else {
        ScalarStyle::DoubleQuoted
    };
    scalar(emitter, text, style)
}

/// A number as it is after it was JSON: without a fraction it is an integer as long as 64 bits hold it.
fn number(number: &Number) -> String {
    if number.is_f64()
        && let Some(value) = number.as_f64()
    {
        if let Some(text) = whole(value)
            && (text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok())
        {
            return if text == "-0" { "0".to_owned() } else { text };
        }
        return format_float(&format!("{value:e}"));
    }
    number.to_string()
}

fn is_astral(c: char) -> bool {
    c as u32 > 0xFFFF
}

fn has_astral(text: &str) -> bool {
    text.chars().any(is_astral)
}

/// go-yaml takes characters beyond the basic plane for unprintable. They are in double quotes only.
fn escape_astral(text: String) -> String {
    if !has_astral(&text) {
        return text;
    }
    let mut out = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        if is_astral(c) {
            let _ = write!(out, "\\U{:08X}", c as u32);
        } else {
            out.push(c);
        }
    }
    out
}
