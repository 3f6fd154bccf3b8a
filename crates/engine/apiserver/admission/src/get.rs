//! Reading and setting fields of objects whose values may have any type.

use serde_json::{Map, Value};

/// A text, empty if it is none.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The items of a list, none if it is no list.
pub(crate) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The fields of an object, none if it is no object.
pub(crate) fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// The items of a list that can be changed.
pub(crate) fn items_mut<'a>(object: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> {
    object
        .get_mut(field)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

/// The object in a field, which is made if it is missing; none if something else is in its place.
pub(crate) fn section<'a>(object: &'a mut Value, field: &str) -> Option<&'a mut Value> {
    let value = object.as_object_mut()?.entry(field).or_insert(Value::Null);
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    value.is_object().then_some(value)
}

/// The list in a field, which is made if it is missing; none if something else is in its place.
pub(crate) fn list<'a>(object: &'a mut Value, field: &str) -> Option<&'a mut Vec<Value>> {
    let value = object.as_object_mut()?.entry(field).or_insert(Value::Null);
    if value.is_null() {
        *value = Value::Array(Vec::new());
    }
    value.as_array_mut()
}

/// Sets a field of an object; nothing happens to what is no object.
pub(crate) fn set(object: &mut Value, field: &str, value: impl Into<Value>) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(field.to_owned(), value.into());
    }
}

/// An annotation, if it is there.
pub(crate) fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["annotations"].get(key)?.as_str()
}

/// The name of an object.
pub(crate) fn name(object: &Value) -> &str {
    text(&object["metadata"]["name"])
}

/// Of the objects that pass for the default, the one made last; of several made then, the first by name.
pub(crate) fn newest(objects: Vec<Value>, is_default: impl Fn(&Value) -> bool) -> Option<Value> {
    let rank = |object: &Value| text(&object["metadata"]["creationTimestamp"]).to_owned();
    objects.into_iter().filter(is_default).min_by(|one, two| {
        let by_time = rank(two).cmp(&rank(one));
        by_time.then_with(|| name(one).cmp(name(two)))
    })
}

/// A text as Go quotes it.
pub(crate) fn quoted(text: &str) -> String {
    format!("{text:?}")
}
