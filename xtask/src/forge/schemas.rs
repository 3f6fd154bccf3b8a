//! The schema table, from the OpenAPI v3 documents.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use engenho_catalog::Node;
use engenho_catalog::schema::Unknown;
use serde_json::{Map, Value};

use super::source::Source;

/// Makes the table. Fails if a definition differs between documents, or says something that a node can't hold.
pub fn table(source: &mut Source) -> anyhow::Result<String> {
    let mut definitions: BTreeMap<String, Value> = BTreeMap::new();
    for name in source.names("openapi/v3", "")? {
        if name == "index" {
            continue;
        }
        let document = source.json(&format!("openapi/v3/{name}.json"))?;
        let schemas = document.pointer("/components/schemas").and_then(Value::as_object);
        for (definition, schema) in schemas.into_iter().flatten() {
            let schema = without_descriptions(schema);
            match definitions.get(definition) {
                Some(have) => ensure!(*have == schema, "{definition} differs between documents"),
                None => drop(definitions.insert(definition.clone(), schema)),
            }
        }
    }
    let places: BTreeMap<&str, u16> = definitions.keys().map(String::as_str).zip(0..).collect();
    let mut out = String::from("\n");
    for (name, schema) in &definitions {
        let node = Node::from_openapi_with(schema, Unknown::Refuse, &|target| places.get(target).copied())
            .with_context(|| name.clone())?;
        ensure!(
            node.to_openapi() == *schema,
            "{name} loses facts:\n{schema}\n{}",
            node.to_openapi()
        );
        node.write_definition(name, &mut out).with_context(|| name.clone())?;
    }
    Ok(out)
}

/// Drops the `description` of a schema and of all schemas in it, but not properties of that name.
pub fn without_descriptions(schema: &Value) -> Value {
    let Value::Object(schema) = schema else {
        return schema.clone();
    };
    let mut out = Map::new();
    for (keyword, value) in schema {
        let value = match (keyword.as_str(), value) {
            ("description", _) => continue,
            ("properties", Value::Object(properties)) => Value::Object(
                properties
                    .iter()
                    .map(|(name, of)| (name.clone(), without_descriptions(of)))
                    .collect(),
            ),
            ("items" | "additionalProperties", of) => without_descriptions(of),
            ("allOf" | "oneOf" | "anyOf", Value::Array(of)) => of.iter().map(without_descriptions).collect(),
            _ => value.clone(),
        };
        out.insert(keyword.clone(), value);
    }
    Value::Object(out)
}
