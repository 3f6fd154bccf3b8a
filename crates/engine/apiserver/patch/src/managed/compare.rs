//! Comparing two values of one type: which fields were added, changed and removed.

use super::element::{PathElement, equal_values};
use super::node::{ListType, Node, Shape};
use super::set::FieldSet;
use super::typed::{TypedErrors, check_scalar};
use crate::schema::SchemaNode;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The difference between two values. No path is in two of the sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    pub removed: FieldSet,
    pub modified: FieldSet,
    pub added: FieldSet,
}

impl Comparison {
    /// Without the given fields and all that is below them.
    #[must_use]
    pub fn excluding(&self, fields: &FieldSet) -> Self {
        Self {
            removed: self.removed.recursive_difference(fields),
            modified: self.modified.recursive_difference(fields),
            added: self.added.recursive_difference(fields),
        }
    }
}

/// Compares `left` (before) with `right` (after).
pub(crate) fn compare<S: SchemaNode>(node: &Node<S>, left: &Value, right: &Value) -> Result<Comparison, TypedErrors> {
    let mut walk = Walk {
        path: Vec::new(),
        comparison: Comparison::default(),
    };
    walk.visit(node, Some(left), Some(right))?;
    Ok(walk.comparison)
}

struct Walk {
    path: Vec<PathElement>,
    comparison: Comparison,
}

impl Walk {
    fn visit<S: SchemaNode>(
        &mut self,
        node: &Node<S>,
        left: Option<&Value>,
        right: Option<&Value>,
    ) -> Result<(), TypedErrors> {
        let (left_shape, right_shape) = (node.shape(left), node.shape(right));
        let leaf = match (left, right) {
            (None, None) => return Ok(()),
            (_, None) => self.visit_as(node, left_shape, left, right)?,
            (Some(_), Some(_)) if left_shape != right_shape => {
                self.visit_as(node, left_shape, left, right)?;
                self.visit_as(node, right_shape, left, right)?
            }
            _ => self.visit_as(node, right_shape, left, right)?,
        };
        if !leaf {
            match (left, right) {
                (None, _) => self.comparison.added.insert(&self.path),
                (_, None) => self.comparison.removed.insert(&self.path),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the value was compared as one.
    fn visit_as<S: SchemaNode>(
        &mut self,
        node: &Node<S>,
        shape: Shape,
        left: Option<&Value>,
        right: Option<&Value>,
    ) -> Result<bool, TypedErrors> {
        match shape {
            Shape::Scalar => {
                let check = |value: Option<&Value>| value.map_or(Ok(()), |value| check_scalar(node.scalar(), value));
                if let (Err(_), Err(message)) = (check(left), check(right)) {
                    return Err(TypedErrors::at(&self.path, message));
                }
                self.leaf(left, right);
                Ok(true)
            }
            Shape::Map => {
                let (lefts, rights) = (left.and_then(Value::as_object), right.and_then(Value::as_object));
                let empty = lefts.is_none_or(Map::is_empty) && rights.is_none_or(Map::is_empty);
                if node.is_atomic_map() || empty {
                    self.leaf(left, right);
                    return Ok(true);
                }
                self.maps(node, lefts, rights)?;
                Ok(false)
            }
            Shape::List => {
                let list = node.list();
                let items = |value: Option<&'_ Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
                let (lefts, rights) = (items(left), items(right));
                if list.is_atomic() || (lefts.is_empty() && rights.is_empty()) {
                    self.leaf(left, right);
                    return Ok(true);
                }
                self.lists(&list, &lefts, &rights)?;
                Ok(false)
            }
        }
    }

    fn leaf(&mut self, left: Option<&Value>, right: Option<&Value>) {
        match (left, right) {
            (None, _) => self.comparison.added.insert(&self.path),
            (_, None) => self.comparison.removed.insert(&self.path),
            (Some(left), Some(right)) if !equal_values(left, right) => self.comparison.modified.insert(&self.path),
            _ => {}
        }
    }

    fn maps<S: SchemaNode>(
        &mut self,
        node: &Node<S>,
        left: Option<&Map<String, Value>>,
        right: Option<&Map<String, Value>>,
    ) -> Result<(), TypedErrors> {
        let names: BTreeSet<&String> = left.into_iter().chain(right).flat_map(Map::keys).collect();
        for name in names {
            self.path.push(PathElement::field(name.as_str()));
            let child = node.field_or_deduced(name);
            self.visit(
                &child,
                left.and_then(|map| map.get(name)),
                right.and_then(|map| map.get(name)),
            )?;
            self.path.pop();
        }
        Ok(())
    }

    fn lists<S: SchemaNode>(&mut self, list: &ListType<S>, left: &[Value], right: &[Value]) -> Result<(), TypedErrors> {
        let mut pairs: BTreeMap<PathElement, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
        for (index, item) in left.iter().enumerate() {
            pairs.entry(self.element(list, index, item)?).or_default().0.push(item);
        }
        for (index, item) in right.iter().enumerate() {
            pairs.entry(self.element(list, index, item)?).or_default().1.push(item);
        }
        for (element, (lefts, rights)) in pairs {
            self.path.push(element);
            // Items that share a key count as one value: there is a mark for having them, and none for what is inside.
            match (lefts.as_slice(), rights.as_slice()) {
                ([] | [_], [] | [_]) => {
                    self.visit(&list.element, lefts.first().copied(), rights.first().copied())?;
                }
                ([_, _, ..], [_, _, ..]) => {
                    let same = lefts.len() == rights.len()
                        && lefts.iter().zip(&rights).all(|(left, right)| equal_values(left, right));
                    if !same {
                        self.comparison.modified.insert(&self.path);
                    }
                }
                ([_, _, ..], _) => {
                    if let [right] = rights.as_slice() {
                        self.visit(&list.element, None, Some(right))?;
                    }
                    self.comparison.removed.insert(&self.path);
                }
                (_, [_, _, ..]) => {
                    if let [left] = lefts.as_slice() {
                        self.visit(&list.element, Some(left), None)?;
                    }
                    self.comparison.added.insert(&self.path);
                }
            }
            self.path.pop();
        }
        Ok(())
    }

    fn element<S: SchemaNode>(
        &self,
        list: &ListType<S>,
        index: usize,
        item: &Value,
    ) -> Result<PathElement, TypedErrors> {
        let at = |message: String| TypedErrors::at(&self.path, format!("element {index}: {message}"));
        list.element_of(item).map_err(at)
    }
}
