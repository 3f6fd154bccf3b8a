//! Filling in the defaults a schema declares.
//!
//! The schema's defaults are those of OpenAPI. Richer defaults that depend on other fields (a Deployment's strategy, a
//! Service's target ports) belong to a [`Defaulter`] for the kind, which runs after them.

use crate::schema::{Additional, SchemaNode, SchemaType};
use engenho_catalog::schema::Zero;
use serde_json::{Map, Value};

/// Defaults of one kind that a schema can't express. Implementations are pure and idempotent.
pub trait Defaulter: Send + Sync {
    /// Fills in what is missing.
    fn default(&self, object: &mut Value);
}

impl<F: Fn(&mut Value) + Send + Sync> Defaulter for F {
    fn default(&self, object: &mut Value) {
        self(object);
    }
}

/// Fills in each missing field that has a default in the schema, at any depth, and in defaults themselves.
pub fn apply<S: SchemaNode>(value: &mut Value, schema: &S) {
    match value {
        Value::Object(object) => {
            schema.each_property(&mut |name, property| match object.get_mut(name) {
                Some(Value::Null) if property.nullable() || property.default_value().is_none() => {}
                None | Some(Value::Null) => {
                    if let Some(default) = property.default_value() {
                        let mut default = default.into_owned();
                        apply(&mut default, &property);
                        object.insert(name.to_owned(), default);
                    }
                }
                Some(value) => apply(value, &property),
            });
            if let Additional::Schema(values) = schema.additional_properties() {
                for (name, value) in object.iter_mut() {
                    if schema.property(name).is_none() {
                        apply_to_item(value, &values);
                    }
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.items() {
                for value in list {
                    apply_to_item(value, &items);
                }
            }
        }
        _ => {}
    }
}

/// A null item of a list or map takes the items' default, unless null is allowed there.
fn apply_to_item<S: SchemaNode>(value: &mut Value, schema: &S) {
    if value.is_null()
        && !schema.nullable()
        && let Some(default) = schema.default_value()
    {
        *value = default.into_owned();
    }
    apply(value, schema);
}

/// Adds what a typed encoder of a built-in kind always writes: empty structures, and zero values of fields that are not
/// left out.
pub fn fill_structure<S: SchemaNode>(value: &mut Value, schema: &S) {
    match value {
        Value::Object(object) => {
            schema.each_property(&mut |name, property| {
                if let Some(value) = object.get_mut(name).filter(|value| !value.is_null()) {
                    fill_structure(value, &property);
                } else if let Some(zero) = zero_field(&property) {
                    object.insert(name.to_owned(), zero);
                }
            });
            if let Additional::Schema(values) = schema.additional_properties() {
                let undeclared = object.iter_mut().filter(|(name, _)| schema.property(name).is_none());
                undeclared.for_each(|(_, value)| fill_structure(value, &values));
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.items() {
                list.iter_mut().for_each(|value| fill_structure(value, &items));
            }
        }
        _ => {}
    }
}

/// The value a field has before anything is written to it; `None` if it is left out then.
fn zero_field<S: SchemaNode>(property: &S) -> Option<Value> {
    match property.zero() {
        Zero::Omitted => None,
        Zero::Null => Some(Value::Null),
        Zero::Written => match property.schema_type() {
            SchemaType::String => Some("".into()),
            SchemaType::Integer | SchemaType::Number | SchemaType::IntOrString => Some(0.into()),
            SchemaType::Boolean => Some(false.into()),
            // An amount.
            SchemaType::Any => Some("0".into()),
            SchemaType::Object | SchemaType::Array => None,
        },
        Zero::Unset => {
            let default = property.default_value();
            let structure = property.schema_type() == SchemaType::Object
                && matches!(default.as_deref(), Some(Value::Object(default)) if default.is_empty());
            structure.then(|| zero_object(property))
        }
    }
}

/// The object a built-in kind starts from when it is created: nested structures are there and empty, fields that are
/// always written have their type's zero value, and nothing else is set.
///
/// Managed fields of a new object are computed against this rather than against nothing, so that a manager isn't said
/// to own, say, the whole of `spec` because it was the first to write into it.
#[must_use]
pub fn zero_object<S: SchemaNode>(schema: &S) -> Value {
    let mut object = Map::new();
    schema.each_property(&mut |name, property| {
        if let Some(zero) = zero_field(&property) {
            object.insert(name.to_owned(), zero);
        }
    });
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::TreeSchema;
    use crate::testing::json_value;
    use proptest::prelude::*;
    use serde_json::json;

    fn schema() -> TreeSchema {
        TreeSchema::from_structural(&json!({"type": "object", "properties": {
            "spec": {"type": "object", "default": {}, "required": ["selector", "a", "template", "items"], "properties": {
                "items": {"type": "array", "items": {"type": "string"}},
                "a": {"type": "string", "default": ""},
                "protocol": {"type": "string", "default": "TCP"},
                "selector": {"type": "object", "additionalProperties": {"type": "string"}},
                "template": {"type": "object", "default": {}, "properties": {"b": {"type": "integer", "default": 3}}},
                "nullable": {"type": "string", "default": "x", "nullable": true},
                "list": {"type": "array", "items": {"type": "object", "properties": {"p": {"type": "integer", "default": 7}}}},
                "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"q": {"type": "integer", "default": 8}}}},
            }},
            "d": {"type": "integer"},
        }}))
        .unwrap()
    }

    #[test]
    fn defaults_reach_every_depth() {
        let mut value = json!({});
        apply(&mut value, &schema());
        let spec = json!({"a": "", "protocol": "TCP", "template": {"b": 3}, "nullable": "x"});
        assert_eq!(value, json!({"spec": spec}));

        let mut value = json!({"spec": {"a": null, "nullable": null, "list": [{}, {"p": 1}], "map": {"k": {}}}});
        apply(&mut value, &schema());
        let spec = json!({"a": "", "protocol": "TCP", "template": {"b": 3}, "nullable": null,
            "list": [{"p": 7}, {"p": 1}], "map": {"k": {"q": 8}}});
        assert_eq!(value, json!({"spec": spec}));
    }

    #[test]
    fn a_new_object_has_its_structure_only() {
        let slice = engenho_catalog::Catalog::builtin().schema("discovery.k8s.io", "v1", "EndpointSlice");
        let zero = json!({"metadata": {}, "addressType": "", "endpoints": null, "ports": null});
        assert_eq!(slice.map(|schema| zero_object(&schema)), Some(zero));
    }

    proptest! {
        #[test]
        fn defaulting_twice_changes_nothing_more(spec in json_value()) {
            let mut once = json!({"spec": spec});
            apply(&mut once, &schema());
            let mut twice = once.clone();
            apply(&mut twice, &schema());
            prop_assert_eq!(once, twice);
        }
    }
}
