//! The schema of one version of a definition, compiled: what `openAPIV3Schema` says, with patterns ready to match.

mod defaults;
mod format;
mod metadata;
mod pattern;
mod prune;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use engenho_validation::get::{flag, items, text, texts};
use engenho_validation::rules::Rules;
use serde_json::Value;

pub use defaults::apply as default;
pub(crate) use format::holds as format_holds;
pub use format::{is_known as is_known_format, unrecognized_formats};
pub(crate) use metadata::{coerce, decode as decode_metadata};
pub use pattern::Pattern;
pub use prune::{Unknown, nulls as prune_nulls, prune};

/// How deep a schema may nest.
const DEPTH_MAX: usize = 100;

/// What keys besides the named properties may hold.
#[derive(Debug, Clone, Default)]
pub enum Additional {
    /// Nothing is said.
    #[default]
    Unspecified,
    /// `false`.
    Forbidden,
    /// `true`.
    Any,
    /// Values of this schema.
    Schema(Box<Schema>),
}

/// Limits of numbers.
#[derive(Debug, Clone, Default)]
pub struct Range {
    /// `maximum`
    pub maximum: Option<f64>,
    /// `exclusiveMaximum`
    pub exclusive_maximum: bool,
    /// `minimum`
    pub minimum: Option<f64>,
    /// `exclusiveMinimum`
    pub exclusive_minimum: bool,
    /// `multipleOf`
    pub multiple_of: Option<f64>,
}

/// Limits of lengths and counts.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// `maxLength`
    pub max_length: Option<i64>,
    /// `minLength`
    pub min_length: Option<i64>,
    /// `maxItems`
    pub max_items: Option<i64>,
    /// `minItems`
    pub min_items: Option<i64>,
    /// `uniqueItems`
    pub unique_items: bool,
    /// `maxProperties`
    pub max_properties: Option<i64>,
    /// `minProperties`
    pub min_properties: Option<i64>,
}

/// The rules of one schema node (`x-kubernetes-validations`).
#[derive(Debug, Clone)]
pub struct RuleSet {
    /// The whole schema as JSON, and where in it the node is that says what `self` is.
    root: Arc<Value>,
    place: String,
    /// Whether `self` is a whole object, so that `self.metadata.name` is known.
    resource: bool,
    rules: Vec<Value>,
    compiled: OnceLock<Rules>,
}

impl RuleSet {
    /// The rules, compiled when they are first needed.
    pub(crate) fn compiled(&self) -> &Rules {
        self.compiled
            .get_or_init(|| Rules::compile(&self.rules, self.schema(), self.resource))
    }

    /// The schema node that says what `self` is: for rules within `allOf` the node around it.
    pub(crate) fn schema(&self) -> &Value {
        self.root.pointer(&self.place).unwrap_or(&Value::Null)
    }
}

/// One node of a schema.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    /// JSON types, none if any will do; `integer` and `string` of an int-or-string.
    pub types: Vec<String>,
    /// A format that is checked; those that are not known say nothing.
    pub format: Option<String>,
    /// `nullable`
    pub nullable: bool,
    /// `default`, without fields that the schema doesn't know.
    pub default: Option<Value>,
    /// `enum`
    pub allowed: Vec<Value>,
    /// Limits of numbers.
    pub range: Range,
    /// Limits of lengths.
    pub limits: Limits,
    /// `pattern`
    pub pattern: Option<Pattern>,
    /// `allOf`
    pub all_of: Vec<Schema>,
    /// `anyOf`
    pub any_of: Vec<Schema>,
    /// `oneOf`
    pub one_of: Vec<Schema>,
    /// `not`
    pub not: Option<Box<Schema>>,
    /// `properties`
    pub properties: BTreeMap<String, Schema>,
    /// `additionalProperties`
    pub additional: Additional,
    /// `items`
    pub items: Option<Box<Schema>>,
    /// `required`
    pub required: Vec<String>,
    /// `x-kubernetes-preserve-unknown-fields`
    pub preserve_unknown: bool,
    /// `x-kubernetes-embedded-resource`
    pub embedded: bool,
    /// `x-kubernetes-list-type`
    pub list_type: Option<String>,
    /// `x-kubernetes-list-map-keys`
    pub list_map_keys: Vec<String>,
    /// `x-kubernetes-map-type`
    pub map_type: Option<String>,
    /// `x-kubernetes-validations`
    pub rules: Option<RuleSet>,
    /// Whether a node here or below has rules.
    pub has_rules: bool,
}

impl Schema {
    /// Compiles `openAPIV3Schema`. What is malformed is passed over: definitions are validated before.
    pub fn compile(schema: &Value) -> Schema {
        let mut compiled = Compiler {
            whole: schema,
            root: None,
        }
        .node(schema, &Site::root(schema), 0);
        defaults::prune_defaults(&mut compiled);
        compiled
    }

    /// Whether the value may be an integer or a string.
    pub fn is_int_or_string(&self) -> bool {
        self.types.len() == 2
    }

    /// What is said of a field, named or additional; none if it is not known.
    pub fn field(&self, name: &str) -> Option<&Schema> {
        match (self.properties.get(name), &self.additional) {
            (Some(property), _) => Some(property),
            (None, Additional::Schema(schema)) => Some(schema),
            (None, _) => None,
        }
    }
}

/// The schema that gives the type of a value, other than the one that is compiled within `allOf`.
#[derive(Debug, Clone)]
struct Site<'a> {
    schema: &'a Value,
    /// Where it is in the whole schema.
    place: String,
    /// Whether the value is a whole object.
    resource: bool,
}

impl<'a> Site<'a> {
    fn root(schema: &'a Value) -> Self {
        Self {
            schema,
            place: String::new(),
            resource: true,
        }
    }

    /// The schema of what is below; none where the structural schema has none.
    fn below(&self, keys: &[&str]) -> Option<Self> {
        let mut schema = self.schema;
        let mut place = self.place.clone();
        for key in keys {
            schema = schema.get(key)?;
            place.push('/');
            place.push_str(&key.replace('~', "~0").replace('/', "~1"));
        }
        schema.is_object().then(|| Self {
            schema,
            place,
            resource: flag(&schema["x-kubernetes-embedded-resource"]),
        })
    }
}

struct Compiler<'a> {
    whole: &'a Value,
    /// The same as rules share it, made for the first.
    root: Option<Arc<Value>>,
}

impl Compiler<'_> {
    /// Compiles a node.
    fn node(&mut self, schema: &Value, site: &Site<'_>, depth: usize) -> Schema {
        if depth > DEPTH_MAX || !schema.is_object() {
            return Schema::default();
        }
        let rules = self.rules(schema, site);
        let int_or_string = flag(&schema["x-kubernetes-int-or-string"]);
        let types = match text(&schema["type"]) {
            _ if int_or_string => vec!["integer".to_owned(), "string".to_owned()],
            "" => Vec::new(),
            kind => vec![kind.to_owned()],
        };
        let mut list = |key: &str| -> Vec<Schema> {
            let inner = items(&schema[key]).iter();
            match key {
                "allOf" => inner.map(|one| self.node(one, site, depth + 1)).collect(),
                // Rules are not looked at there.
                _ => inner.map(|one| self.unruled(one, depth + 1)).collect(),
            }
        };
        let (all_of, any_of, one_of) = (list("allOf"), list("anyOf"), list("oneOf"));
        let not = schema.get("not").filter(|not| not.is_object());
        let not = not.map(|not| Box::new(self.unruled(not, depth + 1)));
        let items_schema = schema.get("items").filter(|items| items.is_object());
        let items_schema = items_schema.map(|inner| Box::new(self.below(inner, site.below(&["items"]), depth)));
        let additional = match schema.get("additionalProperties") {
            None | Some(Value::Null) => Additional::Unspecified,
            Some(Value::Bool(false)) => Additional::Forbidden,
            Some(inner @ Value::Object(_)) => {
                let site = site.below(&["additionalProperties"]);
                Additional::Schema(Box::new(self.below(inner, site, depth)))
            }
            Some(_) => Additional::Any,
        };
        let mut properties = BTreeMap::new();
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            let site = site.below(&["properties", name]);
            properties.insert(name.clone(), self.below(inner, site, depth));
        }
        let mut node = Schema {
            types,
            format: schema["format"]
                .as_str()
                .filter(|name| is_known_format(name))
                .map(str::to_owned),
            nullable: flag(&schema["nullable"]),
            default: schema.get("default").filter(|default| !default.is_null()).cloned(),
            allowed: items(&schema["enum"]).to_vec(),
            range: range(schema),
            limits: limits(schema),
            pattern: schema["pattern"]
                .as_str()
                .filter(|text| !text.is_empty())
                .map(Pattern::new),
            all_of,
            any_of,
            one_of,
            not,
            properties,
            additional,
            items: items_schema,
            required: texts(&schema["required"]).map(str::to_owned).collect(),
            preserve_unknown: flag(&schema["x-kubernetes-preserve-unknown-fields"]),
            embedded: flag(&schema["x-kubernetes-embedded-resource"]),
            list_type: schema["x-kubernetes-list-type"].as_str().map(str::to_owned),
            list_map_keys: texts(&schema["x-kubernetes-list-map-keys"])
                .map(str::to_owned)
                .collect(),
            map_type: schema["x-kubernetes-map-type"].as_str().map(str::to_owned),
            rules,
            has_rules: false,
        };
        node.has_rules = node.rules.is_some()
            || node.all_of.iter().any(|inner| inner.has_rules)
            || node.properties.values().any(|inner| inner.has_rules)
            || node.items.as_ref().is_some_and(|inner| inner.has_rules)
            || matches!(&node.additional, Additional::Schema(inner) if inner.has_rules);
        node
    }

    fn below(&mut self, schema: &Value, site: Option<Site<'_>>, depth: usize) -> Schema {
        match site {
            Some(site) => self.node(schema, &site, depth + 1),
            None => self.unruled(schema, depth + 1),
        }
    }

    fn unruled(&mut self, schema: &Value, depth: usize) -> Schema {
        let mut node = self.node(schema, &Site::root(schema), depth);
        forget_rules(&mut node);
        node
    }

    fn rules(&mut self, schema: &Value, site: &Site<'_>) -> Option<RuleSet> {
        let rules = items(&schema["x-kubernetes-validations"]);
        if rules.is_empty() {
            return None;
        }
        let whole = self.whole;
        Some(RuleSet {
            root: self.root.get_or_insert_with(|| Arc::new(whole.clone())).clone(),
            place: site.place.clone(),
            resource: site.resource,
            rules: rules.to_vec(),
            compiled: OnceLock::new(),
        })
    }
}

fn forget_rules(node: &mut Schema) {
    node.rules = None;
    node.has_rules = false;
    node.all_of.iter_mut().for_each(forget_rules);
    node.properties.values_mut().for_each(forget_rules);
    if let Some(items) = &mut node.items {
        forget_rules(items);
    }
    if let Additional::Schema(values) = &mut node.additional {
        forget_rules(values);
    }
}

fn range(schema: &Value) -> Range {
    Range {
        maximum: schema["maximum"].as_f64(),
        exclusive_maximum: flag(&schema["exclusiveMaximum"]),
        minimum: schema["minimum"].as_f64(),
        exclusive_minimum: flag(&schema["exclusiveMinimum"]),
        multiple_of: schema["multipleOf"].as_f64(),
    }
}

fn limits(schema: &Value) -> Limits {
    Limits {
        max_length: schema["maxLength"].as_i64(),
        min_length: schema["minLength"].as_i64(),
        max_items: schema["maxItems"].as_i64(),
        min_items: schema["minItems"].as_i64(),
        unique_items: flag(&schema["uniqueItems"]),
        max_properties: schema["maxProperties"].as_i64(),
        min_properties: schema["minProperties"].as_i64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_know_what_they_are_about() {
        let schema = json!({
            "type": "object",
            "x-kubernetes-validations": [{"rule": "a"}],
            "allOf": [{"properties": {"n/m": {"x-kubernetes-validations": [{"rule": "b"}]}}}],
            "anyOf": [{"properties": {"n/m": {"x-kubernetes-validations": [{"rule": "d"}]}}}],
            "properties": {"n/m": {"type": "integer", "x-kubernetes-validations": [{"rule": "c"}]}},
        });
        let compiled = Schema::compile(&schema);
        assert!(compiled.has_rules && !compiled.any_of[0].has_rules);
        let rules = |of: &Schema| of.rules.clone().unwrap();
        assert!(rules(&compiled).resource);
        assert_eq!(rules(&compiled).schema(), &schema);
        for inner in [&compiled.properties["n/m"], &compiled.all_of[0].properties["n/m"]] {
            assert!(!rules(inner).resource);
            assert_eq!(rules(inner).schema()["type"], "integer");
        }
    }
}
