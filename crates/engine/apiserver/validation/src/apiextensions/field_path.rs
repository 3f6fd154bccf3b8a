//! Paths to fields below a schema, as rules (`fieldPath`) and selectable fields name them.

use serde_json::Value;

use crate::get::is_empty;

/// Where a path leads.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    /// The schema there.
    pub schema: &'a Value,
    /// The path as errors show it.
    pub path: String,
    /// The first field of the path.
    pub first: String,
}

/// Where a path leads below a schema; upstream's text if nowhere.
pub(crate) fn find<'a>(path: &str, schema: &'a Value, with_brackets: bool) -> Result<Found<'a>, String> {
    let end = || "unexpected end of JSON path".to_owned();
    let mut found = Found {
        schema,
        path: String::new(),
        first: String::new(),
    };
    let mut rest = path;
    while let Some(token) = next(&mut rest) {
        match token {
            "." => found.step(next(&mut rest).ok_or_else(end)?.to_owned())?,
            "[" if !with_brackets => return Err("array notation is not allowed".to_owned()),
            "[" => {
                let quoted = next(&mut rest).ok_or_else(end)?;
                let inner = quoted.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
                let inner = inner.ok_or_else(|| format!("expected single quoted string but got {quoted}"))?;
                let name = unescape(inner).map_err(|error| format!("invalid string literal: {error}"))?;
                found.step(name)?;
                match next(&mut rest).ok_or_else(end)? {
                    "]" => {}
                    other => return Err(format!("expected ] but got {other}")),
                }
            }
            other => return Err(format!("expected [ or . but got: {other}")),
        }
    }
    Ok(found)
}

impl Found<'_> {
    fn step(&mut self, name: String) -> Result<(), String> {
        let nowhere = || "does not refer to a valid field".to_owned();
        let properties = &self.schema["properties"];
        if !is_empty(properties) {
            self.schema = properties.get(&name).ok_or_else(nowhere)?;
            if !self.path.is_empty() {
                self.path.push('.');
            }
            self.path.push_str(&name);
        } else {
            let values = self.schema.get("additionalProperties").filter(|of| of.is_object());
            self.schema = values.ok_or_else(nowhere)?;
            self.path.push_str(&format!("[{name}]"));
        }
        if self.first.is_empty() {
            self.first = name;
        }
        Ok(())
    }
}

/// The next token: a delimiter, a quoted text, or what stands before the next delimiter.
fn next<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let first = rest.chars().next()?;
    let length = match first {
        '.' | '[' | ']' => 1,
        '\'' => {
            let bytes = rest.as_bytes();
            let closes = |at: &usize| bytes[*at] == b'\'' && bytes[at - 1] != b'\\';
            (1..bytes.len()).find(closes).map_or(bytes.len(), |at| at + 1)
        }
        _ => rest.find(['.', '[', ']']).unwrap_or(rest.len()),
    };
    let (token, after) = rest.split_at(length);
    *rest = after;
    Some(token)
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        // A backslash stands for itself where no letter follows.
        let escaped = if letter == '\\' { letters.next() } else { None };
        out.push(match escaped {
            None => letter,
            Some('a') => '\u{7}',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('v') => '\u{b}',
            Some(same @ ('\'' | '\\')) => same,
            Some(other) => return Err(format!("invalid escape char \\{other}")),
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_lead_to_schemas() {
        let schema =
            json!({"properties": {"a": {"additionalProperties": {"properties": {"c.d": {"type": "string"}}}}}});
        let found = find(".a['b\\'s'].x", &schema, true);
        assert!(found.is_err());
        let found = find(".a['b\\'s']['c.d']", &schema, true).unwrap();
        assert_eq!((found.path.as_str(), found.first.as_str()), ("a[b's].c.d", "a"));
        assert_eq!(found.schema["type"], "string");
        for (bad, why) in [
            ("a", "expected [ or . but got: a"),
            (".", "unexpected end of JSON path"),
            (".b", "does not refer to a valid field"),
            (".a[b]", "expected single quoted string but got b"),
            (".a['b'", "unexpected end of JSON path"),
            (".a['b'.", "expected ] but got ."),
            ("['\\q']", "invalid string literal: invalid escape char \\q"),
            ("[", "unexpected end of JSON path"),
            ("é", "expected [ or . but got: é"),
        ] {
            assert_eq!(find(bad, &schema, true).unwrap_err(), why, "{bad}");
        }
        assert_eq!(
            find(".a['b']", &schema, false).unwrap_err(),
            "array notation is not allowed"
        );
    }
}
