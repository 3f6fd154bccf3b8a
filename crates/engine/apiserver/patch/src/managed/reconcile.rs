//! Bringing field sets in line with a schema that made a granular field atomic since they were written.

use super::element::PathElement;
use super::node::{Node, Shape};
use super::set::FieldSet;
use crate::schema::SchemaNode;

/// The set with each field that is atomic by now owned as one. A field that became granular needs no change.
pub(crate) fn reconcile<S: SchemaNode>(set: &FieldSet, node: &Node<S>) -> FieldSet {
    let mut roots = FieldSet::new();
    find(set, node, &mut Vec::new(), &mut roots);
    if roots.is_empty() {
        return set.clone();
    }
    set.recursive_difference(&roots).union(&roots)
}

/// Collects the atomic fields below which the set has members.
fn find<S: SchemaNode>(set: &FieldSet, node: &Node<S>, path: &mut Vec<PathElement>, roots: &mut FieldSet) {
    for (element, below) in &set.children {
        let child = match element {
            PathElement::Field(name) => match node.field(name) {
                Some(child) => child,
                None => continue,
            },
            PathElement::Key(_) | PathElement::Value(_) | PathElement::Index(_) => node.list().element,
        };
        path.push(element.clone());
        let atomic = match child.shape(None) {
            Shape::Map => matches!(child, Node::Schema { .. }) && child.is_atomic_map(),
            Shape::List => child.list().is_atomic(),
            Shape::Scalar => false,
        };
        if atomic && !below.is_empty() {
            roots.insert(path);
        } else {
            find(below, &child, path, roots);
        }
        path.pop();
    }
}
