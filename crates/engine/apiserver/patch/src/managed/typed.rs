//! Values seen through their type: validation, and the set of fields a value mentions.

use super::element::PathElement;
use super::node::{ListType, Node, Scalar, Shape};
use super::set::FieldSet;
use crate::meta::{go_format, go_type};
use crate::schema::SchemaNode;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;

/// Errors gathered of one value, bounded.
const ERRORS_MAX: usize = 32;

/// What keeps a value from having the type of its schema; displays like structured-merge-diff's errors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypedErrors(pub Vec<TypedError>);

/// One mismatch: where, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedError {
    /// Path of the value, like `.spec.containers[name="a"]`; empty for the object itself.
    pub path: String,
    pub message: String,
}

impl fmt::Display for TypedError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return formatter.write_str(&self.message);
        }
        write!(formatter, "{}: {}", self.path, self.message)
    }
}

impl fmt::Display for TypedErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0.as_slice() {
            return only.fmt(formatter);
        }
        formatter.write_str("errors:")?;
        self.0.iter().try_for_each(|error| write!(formatter, "\n  {error}"))
    }
}

impl std::error::Error for TypedErrors {}

impl TypedErrors {
    pub(super) fn at(path: &[PathElement], message: String) -> Self {
        Self(vec![TypedError {
            path: display(path),
            message,
        }])
    }

    fn push(&mut self, path: &[PathElement], message: String) {
        if self.0.len() < ERRORS_MAX {
            self.0.push(TypedError {
                path: display(path),
                message,
            });
        }
    }
}

pub(super) fn display(path: &[PathElement]) -> String {
    path.iter().map(ToString::to_string).collect()
}

/// Checks that a value has its type, and that no list has two items with one key.
pub(crate) fn validate<S: SchemaNode>(node: &Node<S>, value: &Value) -> Result<(), TypedErrors> {
    let mut errors = TypedErrors::default();
    validate_at(node, value, &mut Vec::new(), &mut errors);
    if errors.0.is_empty() { Ok(()) } else { Err(errors) }
}

fn validate_at<S: SchemaNode>(node: &Node<S>, value: &Value, path: &mut Vec<PathElement>, errors: &mut TypedErrors) {
    if value.is_null() {
        return;
    }
    match (node.shape(Some(value)), value) {
        (Shape::Map, Value::Object(object)) => {
            for (name, value) in object {
                path.push(PathElement::field(name.as_str()));
                match node.field(name) {
                    Some(child) => validate_at(&child, value, path, errors),
                    None => errors.push(path, "field not declared in schema".to_owned()),
                }
                path.pop();
            }
        }
        (Shape::List, Value::Array(items)) => validate_items(&node.list(), items, path, errors),
        (Shape::Map, _) => errors.push(path, format!("expected map, got &{{{}}}", go_format(value))),
        (Shape::List, _) => errors.push(path, format!("expected list, got &{{{}}}", go_format(value))),
        (Shape::Scalar, _) => {
            if let Err(message) = check_scalar(node.scalar(), value) {
                errors.push(path, message);
            }
        }
    }
}

fn validate_items<S: SchemaNode>(
    list: &ListType<S>,
    items: &[Value],
    path: &mut Vec<PathElement>,
    errors: &mut TypedErrors,
) {
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let element = if list.is_atomic() {
            PathElement::Index(i64::try_from(index).unwrap_or(i64::MAX))
        } else {
            match list.element_of(item) {
                Ok(element) => {
                    if !seen.insert(element.clone()) {
                        errors.push(path, format!("duplicate entries for key {element}"));
                    }
                    element
                }
                Err(message) => return errors.push(path, format!("element {index}: {message}")),
            }
        };
        path.push(element);
        validate_at(&list.element, item, path, errors);
        path.pop();
    }
}

/// Checks a value that is handled as a scalar; null is any scalar.
pub(crate) fn check_scalar(scalar: Scalar, value: &Value) -> Result<(), String> {
    match (scalar, value) {
        (_, Value::Null)
        | (Scalar::Numeric, Value::Number(_))
        | (Scalar::String, Value::String(_))
        | (Scalar::Boolean, Value::Bool(_))
        | (Scalar::Any, Value::Number(_) | Value::String(_) | Value::Bool(_)) => Ok(()),
        (Scalar::Numeric, _) => Err(format!("expected numeric (int or float), got {}", go_type(value))),
        (Scalar::String, _) => {
            let shown = if value.is_string() {
                value.to_string()
            } else {
                go_format(value)
            };
            Err(format!(
                "expected string, got &value.valueUnstructured{{Value:{shown}}}"
            ))
        }
        (Scalar::Boolean, _) => Err(format!("expected boolean, got &{{{}}}", go_format(value))),
        (Scalar::Any, _) => Err(format!("expected any scalar, got &{{{}}}", go_format(value))),
    }
}

/// The fields a value mentions: leaves, atomic values, items of lists and undeclared map entries.
pub(crate) fn to_set<S: SchemaNode>(node: &Node<S>, value: &Value) -> FieldSet {
    let mut set = FieldSet::new();
    collect(node, value, &mut Vec::new(), &mut set);
    set
}

fn collect<S: SchemaNode>(node: &Node<S>, value: &Value, path: &mut Vec<PathElement>, set: &mut FieldSet) {
    match node.shape(Some(value)) {
        Shape::Scalar => set.insert(path),
        Shape::Map if node.is_atomic_map() => set.insert(path),
        Shape::Map => {
            let Value::Object(object) = value else { return };
            for (name, value) in object {
                path.push(PathElement::field(name.as_str()));
                collect(&node.field_or_deduced(name), value, path, set);
                let empty = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
                if empty || !node.declares(name) {
                    set.insert(path);
                }
                path.pop();
            }
        }
        Shape::List => {
            let list = node.list();
            if list.is_atomic() {
                return set.insert(path);
            }
            let Value::Array(items) = value else { return };
            collect_items(&list, items, path, set);
        }
    }
}

fn collect_items<S: SchemaNode>(list: &ListType<S>, items: &[Value], path: &mut Vec<PathElement>, set: &mut FieldSet) {
    // Items that share a key can't be told apart: they are owned as one, and nothing inside them is.
    let elements: Vec<_> = items.iter().map(|item| list.element_of(item).ok()).collect();
    let mut seen = BTreeSet::new();
    let duplicates: BTreeSet<&PathElement> = elements
        .iter()
        .flatten()
        .filter(|element| !seen.insert(*element))
        .collect();
    for (item, element) in items.iter().zip(&elements) {
        let Some(element) = element else { continue };
        path.push(element.clone());
        if !duplicates.contains(element) {
            collect(&list.element, item, path, set);
        }
        set.insert(path);
        path.pop();
    }
}

/// The set with every declared field that has a member below it.
pub(crate) fn with_named_fields<S: SchemaNode>(set: &FieldSet, node: Option<&Node<S>>) -> FieldSet {
    let mut named = FieldSet {
        members: set.members.clone(),
        ..FieldSet::default()
    };
    for (element, below) in &set.children {
        let child = match (element, node) {
            (PathElement::Field(name), Some(node)) => {
                if node.declares(name) {
                    named.members.insert(element.clone());
                }
                node.field(name)
            }
            (PathElement::Key(_), Some(node)) => Some(node.list().element),
            _ => None,
        };
        named
            .children
            .insert(element.clone(), with_named_fields(below, child.as_ref()));
    }
    named
}

/// What becomes of a field whose value loses its last field or item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Emptied {
    /// It stays as null, so that a comparison doesn't count it as removed.
    Null,
    /// It goes too.
    Dropped,
}

/// The value without the fields and items in `taken`; `None` if nothing is left of it.
pub(crate) fn without<S: SchemaNode>(
    node: &Node<S>,
    value: &Value,
    taken: &FieldSet,
    emptied: Emptied,
) -> Option<Value> {
    let or_null = |value: Option<Value>| match emptied {
        Emptied::Null => Some(value.unwrap_or(Value::Null)),
        Emptied::Dropped => value,
    };
    match (node.shape(Some(value)), value) {
        (Shape::Scalar, _) => Some(value.clone()),
        (Shape::Map, Value::Object(object)) if !node.is_atomic_map() => {
            let mut kept = serde_json::Map::new();
            for (name, value) in object {
                let element = PathElement::field(name.as_str());
                if taken.members.contains(&element) {
                    continue;
                }
                let value = match taken.below(&element) {
                    Some(below) => or_null(without(&node.field_or_deduced(name), value, below, emptied)),
                    None => Some(value.clone()),
                };
                kept.extend(value.map(|value| (name.clone(), value)));
            }
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        (Shape::List, Value::Array(items)) => {
            let list = node.list();
            if list.is_atomic() {
                return None;
            }
            let keep = |item: &Value| match list.element_of(item) {
                Ok(element) if taken.members.contains(&element) => None,
                Ok(element) => match taken.below(&element) {
                    Some(below) => or_null(without(&list.element, item, below, emptied)),
                    None => Some(item.clone()),
                },
                Err(_) => Some(item.clone()),
            };
            let kept: Vec<Value> = items.iter().filter_map(keep).collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        _ => None,
    }
}
