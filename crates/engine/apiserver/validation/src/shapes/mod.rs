//! Structures as upstream's own types print: fields by their names in Go, in the order of their declaration, absent ones
//! with their zero value. Upstream prints them so where a message quotes a structure or shows a difference.

mod tables;

use serde_json::Value;

use crate::get;
use engenho_quantity::Quantity;
use tables::SHAPES;

/// How deep structures nest at most.
const DEPTH_MAX: usize = 24;

/// How a field prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind<'a> {
    Text,
    Number,
    Flag,
    /// As it is; null when absent.
    Any,
    /// An amount or a map of amounts; null when absent.
    Amounts,
    /// An amount that is zero when absent.
    Amount,
    Structure(&'a str),
    Pointer(&'a str),
    List(&'a str),
    /// The fields of another structure, among one's own.
    Inline(&'a str),
}

struct Field<'a> {
    name: &'a str,
    json: String,
    kind: Kind<'a>,
    omit_empty: bool,
}

fn fields(shape: &str) -> impl Iterator<Item = Field<'_>> {
    let body = SHAPES
        .iter()
        .find(|(name, _)| *name == shape)
        .map_or("", |(_, body)| body);
    body.split_whitespace().map(field)
}

/// Reads `Name`, `Name=json`, and after these how it prints.
fn field(word: &str) -> Field<'_> {
    let (word, omit_empty) = match word.strip_suffix('-') {
        Some(word) => (word, true),
        None => (word, false),
    };
    let end = word
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '=')
        .unwrap_or(word.len());
    let (names, mark) = word.split_at(end);
    let (name, json) = match names.split_once('=') {
        Some((name, json)) => (name, json.to_owned()),
        None => (names, camel(names)),
    };
    let inner = |open: &str, close: char| mark.strip_prefix(open).map(|m| m.trim_end_matches(close));
    let kind = match mark {
        "" => Kind::Text,
        "#" => Kind::Number,
        "!" => Kind::Flag,
        "$" => Kind::Amount,
        "?$" => Kind::Amounts,
        _ => None
            .or(inner("?{", '}').map(Kind::Pointer))
            .or(inner("{", '}').map(Kind::Structure))
            .or(inner("[", ']').map(Kind::List))
            .or(inner("@", '@').map(Kind::Inline))
            .unwrap_or(Kind::Any),
    };
    Field {
        name,
        json,
        kind,
        omit_empty,
    }
}

/// The name in JSON of a field named as Go does: its leading capitals lowered but the one that begins the next word.
fn camel(name: &str) -> String {
    let run = name.chars().take_while(char::is_ascii_uppercase).count();
    let lowered = match run {
        run if run == name.len() => run,
        0 | 1 => run,
        run => run - 1,
    };
    name[..lowered].to_ascii_lowercase() + &name[lowered..]
}

/// A value of a shape, whose text is compact JSON or indented by one space.
#[derive(Debug)]
struct Printer {
    indent: bool,
    text: String,
}

impl Printer {
    fn line(&mut self, depth: usize) {
        if self.indent {
            self.text.push('\n');
            self.text.extend(std::iter::repeat_n(' ', depth));
        }
    }

    fn key(&mut self, name: &str, first: &mut bool, depth: usize) {
        if !std::mem::take(first) {
            self.text.push(',');
        }
        self.line(depth);
        self.text.push_str(&Value::from(name).to_string());
        self.text.push(':');
        if self.indent {
            self.text.push(' ');
        }
    }

    fn structure(&mut self, shape: &str, value: &Value, depth: usize) {
        self.text.push('{');
        let mut first = true;
        self.members(shape, value, depth, &mut first);
        if !first {
            self.line(depth);
        }
        self.text.push('}');
    }

    fn members(&mut self, shape: &str, value: &Value, depth: usize, first: &mut bool) {
        for field in fields(shape).take_while(|_| depth < DEPTH_MAX) {
            if let Kind::Inline(inner) = field.kind {
                self.members(inner, value, depth, first);
                continue;
            }
            let given = &value[field.json.as_str()];
            if field.omit_empty && get::is_nothing(given) {
                continue;
            }
            self.key(field.name, first, depth + 1);
            self.value(field.kind, given, depth + 1);
        }
    }

    fn value(&mut self, kind: Kind, value: &Value, depth: usize) {
        match kind {
            Kind::Text if value.is_null() => self.text.push_str("\"\""),
            Kind::Number if value.is_null() => self.text.push('0'),
            Kind::Flag if value.is_null() => self.text.push_str("false"),
            Kind::Amount => self.amounts(value, depth),
            Kind::Structure(shape) => self.structure(shape, value, depth),
            _ if value.is_null() => self.text.push_str("null"),
            Kind::Pointer(shape) => self.structure(shape, value, depth),
            Kind::List(shape) => self.list(get::items(value), depth, |p, item| p.structure(shape, item, depth + 1)),
            Kind::Amounts => self.amounts(value, depth),
            _ => self.any(value, depth),
        }
    }

    fn list(&mut self, items: &[Value], depth: usize, mut print: impl FnMut(&mut Self, &Value)) {
        if items.is_empty() {
            self.text.push_str("[]");
            return;
        }
        self.text.push('[');
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.text.push(',');
            }
            self.line(depth + 1);
            print(self, item);
        }
        self.line(depth);
        self.text.push(']');
    }

    fn map(&mut self, value: &Value, depth: usize, mut print: impl FnMut(&mut Self, &Value)) {
        self.text.push('{');
        let mut first = true;
        for (key, entry) in get::entries(value) {
            self.key(key, &mut first, depth + 1);
            print(self, entry);
        }
        if !first {
            self.line(depth);
        }
        self.text.push('}');
    }

    fn amounts(&mut self, value: &Value, depth: usize) {
        if value.is_object() {
            self.map(value, depth, |p, entry| p.amounts(entry, depth + 1));
        } else {
            let amount = Quantity::of(value).to_string();
            self.text.push_str(&Value::from(amount).to_string());
        }
    }

    fn any(&mut self, value: &Value, depth: usize) {
        match value {
            Value::Array(items) if depth < DEPTH_MAX => self.list(items, depth, |p, item| p.any(item, depth + 1)),
            Value::Object(_) if depth < DEPTH_MAX => self.map(value, depth, |p, entry| p.any(entry, depth + 1)),
            other => self.text.push_str(&other.to_string()),
        }
    }
}

fn printed(shape: &str, value: &Value, indent: bool) -> String {
    let mut printer = Printer {
        indent,
        text: String::new(),
    };
    if value.is_null() {
        return "null".to_owned();
    }
    match shape.strip_prefix("[]") {
        Some(item) => printer.value(Kind::List(item), value, 0),
        None => printer.structure(shape, value, 0),
    }
    printer.text
}

/// The structure on one line; `[]Shape` prints a list.
pub fn compact(shape: &str, value: &Value) -> String {
    printed(shape, value, false)
}

/// The difference between two structures, line by line.
pub fn difference(shape: &str, old: &Value, new: &Value) -> String {
    let (old, new) = (printed(shape, old, true), printed(shape, new, true));
    crate::diff::unified(&crate::html_safe(&old), &crate::html_safe(&new))
}

/// Whether two structures mean the same, whichever way their amounts and empty fields are written.
pub fn same(shape: &str, a: &Value, b: &Value) -> bool {
    get::same(a, b) || compact(shape, a) == compact(shape, b)
}

/// A pod's spec as upstream keeps it: what concerns the host's namespaces stands in the security context.
pub fn pod_spec(spec: &Value) -> Value {
    const MOVED: [&str; 5] = [
        "hostNetwork",
        "hostPID",
        "hostIPC",
        "shareProcessNamespace",
        "hostUsers",
    ];
    let mut spec = spec.clone();
    if let Some(fields) = spec.as_object_mut() {
        let mut context = fields.remove("securityContext").unwrap_or_default();
        if !context.is_object() {
            context = Value::Object(Default::default());
        }
        for name in MOVED {
            if let (Some(value), Some(context)) = (fields.remove(name), context.as_object_mut()) {
                context.insert(name.to_owned(), value);
            }
        }
        fields.insert("securityContext".to_owned(), context);
    }
    spec
}

/// A pod template as upstream keeps it: the metadata's fields beside the spec.
pub fn pod_template(template: &Value) -> Value {
    let mut kept = match &template["metadata"] {
        Value::Object(metadata) => metadata.clone(),
        _ => Default::default(),
    };
    kept.insert("spec".to_owned(), pod_spec(&template["spec"]));
    Value::Object(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_in_json() {
        let cases = [
            ("Name", "name"),
            ("DNSPolicy", "dnsPolicy"),
            ("TTY", "tty"),
            ("SELinuxOptions", "seLinuxOptions"),
            ("HostIP", "hostIP"),
            ("SetHostnameAsFQDN", "setHostnameAsFQDN"),
        ];
        for (go, expected) in cases {
            assert_eq!(camel(go), expected);
        }
    }

    #[test]
    fn every_shape_named_is_there() {
        for (name, _) in SHAPES {
            for field in fields(name) {
                if let Kind::Structure(s) | Kind::Pointer(s) | Kind::List(s) | Kind::Inline(s) = field.kind {
                    assert!(SHAPES.iter().any(|(n, _)| *n == s), "{name}.{} is a {s}", field.name);
                }
            }
        }
    }

    #[test]
    fn absent_fields_print_their_zero() {
        let taint = json!({"key": "a", "effect": "NoSchedule"});
        assert_eq!(
            compact("Taint", &taint),
            r#"{"Key":"a","Value":"","Effect":"NoSchedule","TimeAdded":null}"#
        );
    }

    #[test]
    fn amounts_are_canonical() {
        let (a, b) = (json!({"requests": {"cpu": "1000m"}}), json!({"requests": {"cpu": 1}}));
        assert!(same("ResourceRequirements", &a, &b));
    }
}
