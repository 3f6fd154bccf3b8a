//! Merging an applied configuration into a live object.

use super::element::PathElement;
use super::node::{ListType, Node, Shape};
use super::typed::{TypedErrors, check_scalar};
use crate::schema::SchemaNode;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// `live` with every field that `config` mentions; nothing is removed. Where both have a value config's is taken.
pub(crate) fn merge<S: SchemaNode>(node: &Node<S>, live: &Value, config: &Value) -> Result<Value, TypedErrors> {
    let mut walk = Walk { path: Vec::new() };
    Ok(walk.visit(node, Some(live), Some(config))?.unwrap_or(Value::Null))
}

struct Walk {
    path: Vec<PathElement>,
}

type Merged = Result<Option<Value>, TypedErrors>;

impl Walk {
    fn visit<S: SchemaNode>(&mut self, node: &Node<S>, left: Option<&Value>, right: Option<&Value>) -> Merged {
        let (left_shape, right_shape) = (node.shape(left), node.shape(right));
        match (left, right) {
            (None, None) => Ok(None),
            (_, None) => self.visit_as(node, left_shape, left, right),
            (Some(_), Some(_)) if left_shape != right_shape => {
                self.visit_as(node, left_shape, left, right)?;
                self.visit_as(node, right_shape, left, right)
            }
            _ => self.visit_as(node, right_shape, left, right),
        }
    }

    fn visit_as<S: SchemaNode>(
        &mut self,
        node: &Node<S>,
        shape: Shape,
        left: Option<&Value>,
        right: Option<&Value>,
    ) -> Merged {
        let keep_right = || Ok(right.or(left).cloned());
        match shape {
            Shape::Scalar => {
                let check = |value: Option<&Value>| value.map_or(Ok(()), |value| check_scalar(node.scalar(), value));
                if let (Err(_), Err(message)) = (check(left), check(right)) {
                    return Err(TypedErrors::at(&self.path, message));
                }
                keep_right()
            }
            Shape::Map => {
                let (lefts, rights) = (left.and_then(Value::as_object), right.and_then(Value::as_object));
                // Two empty values are kept as they are, so that empty and null stay apart.
                let empty = lefts.is_none_or(Map::is_empty) && rights.is_none_or(Map::is_empty);
                if node.is_atomic_map() || empty {
                    return keep_right();
                }
                self.maps(node, lefts, rights)
            }
            Shape::List => {
                let list = node.list();
                let items = |value: Option<&'_ Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
                let (lefts, rights) = (items(left), items(right));
                if list.is_atomic() || (lefts.is_empty() && rights.is_empty()) {
                    return keep_right();
                }
                self.lists(&list, &lefts, &rights)
            }
        }
    }

    fn maps<S: SchemaNode>(
        &mut self,
        node: &Node<S>,
        left: Option<&Map<String, Value>>,
        right: Option<&Map<String, Value>>,
    ) -> Merged {
        let names: BTreeSet<&String> = left.into_iter().chain(right).flat_map(Map::keys).collect();
        let mut merged = Map::new();
        for name in names {
            self.path.push(PathElement::field(name.as_str()));
            let child = node.field_or_deduced(name);
            let value = self.visit(
                &child,
                left.and_then(|map| map.get(name)),
                right.and_then(|map| map.get(name)),
            )?;
            if let Some(value) = value {
                merged.insert(name.clone(), value);
            }
            self.path.pop();
        }
        Ok((!merged.is_empty()).then_some(Value::Object(merged)))
    }

    /// Items both have are merged and come in config's order; items only the live list has keep their place between
    /// them as far as that goes.
    fn lists<S: SchemaNode>(&mut self, list: &ListType<S>, left: &[Value], right: &[Value]) -> Merged {
        let (lefts, left_items) = self.index(list, left, true)?;
        let (rights, right_items) = self.index(list, right, false)?;
        let mut shared: VecDeque<&PathElement> = rights
            .iter()
            .filter(|element| left_items.contains_key(element))
            .collect();
        let mut next_shared = shared.pop_front();
        let mut taken: BTreeSet<&PathElement> = BTreeSet::new();
        let mut merged = Vec::with_capacity(lefts.len().max(rights.len()));
        let (mut l, mut r) = (0, 0);
        while l < lefts.len() || r < rights.len() {
            if l < lefts.len() && r < rights.len() {
                let element = &lefts[l];
                if *element == rights[r] {
                    taken.insert(element);
                    let (left, right) = (left_items.get(element).copied().flatten(), right_items.get(element));
                    merged.extend(self.item(list, element, left, right.copied().flatten())?);
                    l += 1;
                    r += 1;
                    next_shared = shared.pop_front();
                    continue;
                }
                if right_items.contains_key(element) && next_shared.is_some_and(|next| next != element) {
                    // A shared item, but another one's turn has come.
                    l += 1;
                    continue;
                }
            }
            if l < lefts.len() {
                let element = &lefts[l];
                if !right_items.contains_key(element) {
                    merged.extend(self.item(list, element, left.get(l), None)?);
                    l += 1;
                    continue;
                }
                if taken.contains(element) {
                    // It went in with config's item already.
                    l += 1;
                }
            }
            if let Some(element) = rights.get(r) {
                taken.insert(element);
                let (left, right) = (left_items.get(element).copied().flatten(), right_items.get(element));
                merged.extend(self.item(list, element, left, right.copied().flatten())?);
                r += 1;
                if next_shared == Some(element) {
                    next_shared = shared.pop_front();
                }
            }
        }
        Ok((!merged.is_empty()).then_some(Value::Array(merged)))
    }

    fn item<S: SchemaNode>(
        &mut self,
        list: &ListType<S>,
        element: &PathElement,
        left: Option<&Value>,
        right: Option<&Value>,
    ) -> Merged {
        self.path.push(element.clone());
        let merged = self.visit(&list.element, left, right)?;
        self.path.pop();
        Ok(merged)
    }

    /// The items' path elements in order, and the item of each; live items that share a key aren't merged with.
    fn index<'a, S: SchemaNode>(
        &self,
        list: &ListType<S>,
        items: &'a [Value],
        duplicates_allowed: bool,
    ) -> Result<(Vec<PathElement>, BTreeMap<PathElement, Option<&'a Value>>), TypedErrors> {
        let mut elements = Vec::with_capacity(items.len());
        let mut found = BTreeMap::new();
        for (index, item) in items.iter().enumerate() {
            let at = |message: String| TypedErrors::at(&self.path, message);
            let element = list
                .element_of(item)
                .map_err(|message| at(format!("element {index}: {message}")))?;
            if found.contains_key(&element) {
                if !duplicates_allowed {
                    return Err(at(format!("duplicate entries for key {element}")));
                }
                found.insert(element.clone(), None);
            } else {
                found.insert(element.clone(), Some(item));
            }
            elements.push(element);
        }
        Ok((elements, found))
    }
}
