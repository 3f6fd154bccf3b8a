//! Pieces that cells are put together from.

use serde_json::Value;

/// The text, or `<none>`.
pub fn or_none(text: &str) -> Value {
    or(text, "<none>")
}

/// The text, or `<unset>`.
pub fn or_unset(text: &str) -> Value {
    or(text, "<unset>")
}

fn or(text: &str, otherwise: &str) -> Value {
    if text.is_empty() { otherwise.into() } else { text.into() }
}

/// Texts of a list.
pub fn texts(list: &Value) -> Vec<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// Number of elements or members.
pub fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.len(),
        Value::Object(map) => map.len(),
        _ => 0,
    }
}

/// One text field of each element, joined.
pub fn column(list: &Value, field: &str, separator: &str) -> String {
    let found: Vec<&str> = list
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item[field].as_str())
        .collect();
    found.join(separator)
}

/// Names and images of the containers of a pod template.
pub fn containers(spec: &Value) -> [Value; 2] {
    let list = &spec["containers"];
    [column(list, "name", ",").into(), column(list, "image", ",").into()]
}

/// Labels as `a=b,c=d`, or `<none>`.
pub fn labels(map: &Value) -> Value {
    let pairs: Vec<String> = map
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    or_none(&pairs.join(","))
}

/// A LabelSelector in the selector grammar, or `<none>`.
pub fn selector(selector: &Value) -> Value {
    let mut terms: Vec<String> = selector["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let values = texts(&expression["values"]).join(",");
        terms.push(match expression["operator"].as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("Exists") => key.to_owned(),
            _ => format!("!{key}"),
        });
    }
    or_none(&terms.join(","))
}

/// Access modes in short.
pub fn access_modes(list: &Value) -> String {
    let short = |mode: &&str| match *mode {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        _ => "",
    };
    let have = texts(list);
    let order = ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"];
    let sorted: Vec<&str> = order.iter().filter(|mode| have.contains(*mode)).map(short).collect();
    sorted.join(",")
}

/// At most `max` texts joined, and how many more there are.
pub fn limited(all: &[String], max: usize) -> String {
    if all.len() <= max {
        return all.join(",");
    }
    format!("{} + {} more...", all[..max].join(","), all.len() - max)
}

/// An IntOrString as text.
pub fn int_or_string(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
