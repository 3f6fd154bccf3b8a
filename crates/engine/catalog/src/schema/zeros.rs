//! What is written of a field that has its type's zero value: facts of the API's Go types that OpenAPI does not tell.
//!
//! `data/zeros.txt` has a line per definition, in the order of the schema table: its name, then `omitted=`, `null=` and
//! `written=` with the names of fields. It is written by `cargo xtask forge --go-types`.

use super::node::Node;

static TABLE: &str = include_str!("../../data/zeros.txt");

/// What a typed encoder writes of a field whose value is its type's zero value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Zero {
    /// The field itself says whether it is set: a pointer is left out until then, a structure is always there.
    #[default]
    Unset,
    /// It is left out: an empty text, false, 0, an empty list or map mean nothing.
    Omitted,
    /// It is null: a list, map, time or pointer that is never left out.
    Null,
    /// It is written as it is.
    Written,
}

/// The lines of the table: name of a definition, and the facts about its fields.
pub(super) fn lines() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(' '))
}

/// Adds what a line says to the definition that it is about.
pub(super) fn apply(facts: &str, node: &mut Node) {
    for fact in facts.split(' ') {
        let (zero, fields) = match fact.split_once('=') {
            Some(("omitted", fields)) => (Zero::Omitted, fields),
            Some(("null", fields)) => (Zero::Null, fields),
            Some(("written", fields)) => (Zero::Written, fields),
            _ => continue,
        };
        for field in fields.split(',') {
            let at = node.properties.binary_search_by(|(have, _)| have.as_ref().cmp(field));
            if let Some((_, property)) = at.ok().and_then(|at| node.properties.get_mut(at)) {
                property.zero = zero;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::definitions::builtin;
    use super::*;

    fn zero(definition: &str, field: &str) -> Zero {
        let schema = builtin().get(definition).expect("a definition");
        schema.property(field).expect("a property").zero()
    }

    #[test]
    fn fields_say_what_their_zero_is() {
        for (definition, field, expected) in [
            ("io.k8s.api.core.v1.Container", "name", Zero::Written),
            ("io.k8s.api.core.v1.Container", "args", Zero::Omitted),
            ("io.k8s.api.core.v1.Container", "resources", Zero::Unset),
            ("io.k8s.api.core.v1.Container", "livenessProbe", Zero::Unset),
            ("io.k8s.api.core.v1.Event", "reportingComponent", Zero::Written),
            ("io.k8s.api.core.v1.Event", "lastTimestamp", Zero::Null),
            ("io.k8s.api.core.v1.ResourceFieldSelector", "divisor", Zero::Written),
            ("io.k8s.api.discovery.v1.EndpointSlice", "ports", Zero::Null),
            (
                "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
                "creationTimestamp",
                Zero::Omitted,
            ),
            // Of a structure that is written into another one.
            ("io.k8s.api.core.v1.ConfigMapKeySelector", "name", Zero::Omitted),
        ] {
            assert_eq!(zero(definition, field), expected, "{definition} {field}");
        }
    }

    #[test]
    fn every_line_is_about_a_definition_and_its_fields() {
        let definitions = builtin();
        let mut count = 0;
        for (name, facts) in lines() {
            count += 1;
            let node = definitions.find(name).and_then(|at| definitions.node(at));
            let node = node.unwrap_or_else(|| panic!("no {name}"));
            for fact in facts.split(' ') {
                let (word, fields) = fact.split_once('=').expect("a word and fields");
                assert!(["omitted", "null", "written"].contains(&word), "{word}");
                for field in fields.split(',') {
                    let found = node.property(field).unwrap_or_else(|| panic!("no {field} in {name}"));
                    assert_ne!(found.zero, Zero::Unset, "{name} {field}");
                }
            }
        }
        assert!(count > 400, "only {count} lines");
    }
}
