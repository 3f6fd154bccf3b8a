//! Reading and setting fields of objects whose values may have any type.

use serde_json::{Map, Value};

/// The fields of a JSON object.
pub type Fields = Map<String, Value>;

/// Whether a field is absent. Null says the same as leaving it out.
pub fn is_missing(map: &Fields, field: &str) -> bool {
    map.get(field).is_none_or(Value::is_null)
}

/// Sets an optional field that was left out; an explicit zero value stays.
pub fn set_if_missing(map: &mut Fields, field: &str, value: impl Into<Value>) {
    if is_missing(map, field) {
        map.insert(field.to_owned(), value.into());
    }
}

/// Sets a text for which empty means that it was left out.
pub fn set_if_empty(map: &mut Fields, field: &str, value: &str) {
    if is_missing(map, field) || map.get(field).and_then(Value::as_str) == Some("") {
        map.insert(field.to_owned(), value.into());
    }
}

/// Sets a number for which zero means that it was left out.
pub fn set_if_zero(map: &mut Fields, field: &str, value: impl Into<Value>) {
    if is_missing(map, field) || map.get(field).and_then(Value::as_f64) == Some(0.0) {
        map.insert(field.to_owned(), value.into());
    }
}

/// Whether a list or map is missing or has nothing in it.
pub fn is_bare(map: &Fields, field: &str) -> bool {
    match map.get(field) {
        None | Some(Value::Null) => true,
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Object(fields)) => fields.is_empty(),
        Some(_) => false,
    }
}

/// Sets a list that is missing or empty.
pub fn set_if_bare(map: &mut Fields, field: &str, value: impl Into<Value>) {
    if is_bare(map, field) {
        map.insert(field.to_owned(), value.into());
    }
}

/// The object in a field, if there is one.
pub fn object<'a>(map: &'a mut Fields, field: &str) -> Option<&'a mut Fields> {
    map.get_mut(field).and_then(Value::as_object_mut)
}

/// The object in a field whose structure is always there; none if something else is in its place.
pub fn structure<'a>(map: &'a mut Fields, field: &str) -> Option<&'a mut Fields> {
    set_if_missing(map, field, Map::new());
    object(map, field)
}

/// The objects in a list.
pub fn items<'a>(map: &'a mut Fields, field: &str) -> impl Iterator<Item = &'a mut Fields> {
    map.get_mut(field)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}

/// A text, empty if there is none.
pub fn text<'a>(map: &'a Fields, field: &str) -> &'a str {
    map.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Copies what `source` has and `map` lacks, field by field, into the object at `map[field]`.
pub fn add_missing(map: &mut Fields, field: &str, source: Option<&Fields>) {
    let Some(source) = source.filter(|source| !source.is_empty()) else {
        return;
    };
    if let Some(target) = structure(map, field) {
        for (name, value) in source {
            if !target.contains_key(name) {
                target.insert(name.clone(), value.clone());
            }
        }
    }
}

/// Keeps a field and a list of the same thing, whose first item it is, from differing. The single field wins, and the
/// list's items are made of it by `item`; without a single field, `first` reads it from the list's first item.
pub fn agree(
    map: &mut Fields,
    single: &str,
    list: &str,
    item: fn(&str) -> Value,
    first: for<'a> fn(&'a Value) -> Option<&'a str>,
) {
    let readable = (is_missing(map, single) || map.get(single).is_some_and(Value::is_string))
        && (is_missing(map, list) || map.get(list).is_some_and(Value::is_array));
    if !readable {
        return;
    }
    let one = text(map, single).to_owned();
    let leading = map.get(list).and_then(|items| items.get(0));
    if one.is_empty() {
        if let Some(leading) = leading.and_then(first).filter(|text| !text.is_empty()).map(Value::from) {
            map.insert(single.to_owned(), leading);
        }
    } else if leading.is_none_or(|leading| first(leading).is_some_and(|text| text != one)) {
        map.insert(list.to_owned(), vec![item(&one)].into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: Value) -> Fields {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn zero_values_count_only_where_they_mean_nothing() {
        let mut map = fields(json!({"a": "", "b": 0, "c": "", "d": 0, "e": null, "f": false}));
        set_if_missing(&mut map, "a", "x");
        set_if_missing(&mut map, "b", 7);
        set_if_empty(&mut map, "c", "x");
        set_if_zero(&mut map, "d", 7);
        set_if_missing(&mut map, "e", true);
        set_if_empty(&mut map, "f", "x");
        let expected = json!({"a": "", "b": 0, "c": "x", "d": 7, "e": true, "f": false});
        assert_eq!(Value::Object(map), expected);
    }

    #[test]
    fn structures_are_made_only_where_nothing_else_is() {
        let mut map = fields(json!({"text": "x", "list": [1, {}, null]}));
        assert!(structure(&mut map, "text").is_none());
        assert!(structure(&mut map, "new").is_some());
        assert_eq!(items(&mut map, "list").count(), 1);
        assert_eq!(items(&mut map, "text").count(), 0);
    }

    #[test]
    fn one_and_many_agree() {
        let agreed = |value: Value| {
            let mut map = fields(value);
            agree(&mut map, "one", "many", |text| text.into(), Value::as_str);
            Value::Object(map)
        };
        let table = [
            (json!({"one": "a"}), json!({"one": "a", "many": ["a"]})),
            (json!({"many": ["a", "b"]}), json!({"one": "a", "many": ["a", "b"]})),
            (
                json!({"one": "a", "many": ["b", "c"]}),
                json!({"one": "a", "many": ["a"]}),
            ),
            (
                json!({"one": "a", "many": ["a", "c"]}),
                json!({"one": "a", "many": ["a", "c"]}),
            ),
            (json!({"one": 1, "many": ["a"]}), json!({"one": 1, "many": ["a"]})),
            (json!({"one": "a", "many": [1]}), json!({"one": "a", "many": [1]})),
            (json!({"many": []}), json!({"many": []})),
        ];
        for (given, expected) in table {
            assert_eq!(agreed(given.clone()), expected, "{given}");
        }
    }
}
