//! Which old value a new one stands for, and whether it is the same: what has not changed is not refused.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::schema::Schema;

/// A new value, the old one it replaces, and the schema that says how their parts belong together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair<'a> {
    pub new: &'a Value,
    pub old: &'a Value,
    pub schema: &'a Schema,
}

impl<'a> Pair<'a> {
    /// The pair of a field that both have and the schema knows.
    pub fn key(&self, name: &str) -> Option<Pair<'a>> {
        Some(Pair {
            new: self.new.as_object()?.get(name)?,
            old: self.old.as_object()?.get(name)?,
            schema: self.schema.field(name)?,
        })
    }

    /// The pairs of the items of a list: those of a list told apart by keys have one.
    pub fn items(&self) -> Vec<Option<Pair<'a>>> {
        let Some(new) = self.new.as_array() else {
            return Vec::new();
        };
        let schema = self.schema.items.as_deref();
        let old = KeyedList::of(self.schema, Some(self.old));
        let pair = |item: &'a Value| {
            let old = old.get(item).filter(|old| !old.is_null())?;
            Some(Pair {
                new: item,
                old,
                schema: schema?,
            })
        };
        new.iter().map(pair).collect()
    }

    /// Whether new and old are the same. Fields that the schema doesn't know are never the same.
    pub fn unchanged(&self) -> bool {
        match (self.new, self.old) {
            (Value::Array(new), Value::Array(old)) => {
                if new.len() != old.len() {
                    return false;
                }
                if self.schema.list_type.as_deref() != Some("map") {
                    return new == old;
                }
                let pairs = self.items();
                pairs.iter().all(|pair| pair.is_some_and(|pair| pair.unchanged()))
            }
            (Value::Object(new), Value::Object(old)) => {
                new.len() == old.len()
                    && new
                        .keys()
                        .all(|name| self.key(name).is_some_and(|pair| pair.unchanged()))
            }
            (new, old) => new == old,
        }
    }
}

/// The items of a list that is told apart by keys.
pub(super) struct KeyedList<'a> {
    keys: &'a [String],
    items: BTreeMap<Vec<String>, &'a Value>,
}

impl<'a> KeyedList<'a> {
    /// Reads a list; of any other kind nothing is found.
    pub fn of(schema: &'a Schema, list: Option<&'a Value>) -> KeyedList<'a> {
        let mut keyed = KeyedList {
            keys: &schema.list_map_keys,
            items: BTreeMap::new(),
        };
        if schema.list_type.as_deref() != Some("map") || keyed.keys.is_empty() {
            return keyed;
        }
        for item in list.and_then(Value::as_array).into_iter().flatten() {
            if let Some(key) = keyed.key(item) {
                keyed.items.entry(key).or_insert(item);
            }
        }
        keyed
    }

    /// The item of the same keys.
    pub fn get(&self, item: &Value) -> Option<&'a Value> {
        self.items.get(&self.key(item)?).copied()
    }

    fn key(&self, item: &Value) -> Option<Vec<String>> {
        let item = item.as_object()?;
        let part = |name: &String| match item.get(name)? {
            Value::Null | Value::Array(_) | Value::Object(_) => None,
            scalar => Some(scalar.to_string()),
        };
        self.keys.iter().map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sameness_follows_the_schema() {
        let schema = Schema::compile(&json!({"type": "object", "properties": {
            "m": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}},
            "a": {"type": "array", "items": {"type": "integer"}},
        }}));
        let same = |new: Value, old: Value| {
            Pair {
                new: &new,
                old: &old,
                schema: &schema,
            }
            .unchanged()
        };
        assert!(same(json!({"a": [1, 2]}), json!({"a": [1, 2]})));
        assert!(!same(json!({"a": [1, 2]}), json!({"a": [2, 1]})));
        let (x, y) = (json!({"k": "x", "v": 1}), json!({"k": "y", "v": 2}));
        assert!(same(json!({"m": [x, y]}), json!({"m": [y, x]})));
        assert!(!same(json!({"m": [x]}), json!({"m": [y]})));
        assert!(!same(json!({"unknown": 1}), json!({"unknown": 1})));
    }
}
