//! A schema node: the facts of one definition, property or element type.

use serde_json::Value;

use super::zeros::Zero;
use crate::Str;
use crate::resource::GroupKind;

/// JSON type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SchemaType {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

impl SchemaType {
    /// Every type.
    pub const ALL: [SchemaType; 6] = [
        SchemaType::Object,
        SchemaType::Array,
        SchemaType::String,
        SchemaType::Integer,
        SchemaType::Number,
        SchemaType::Boolean,
    ];

    /// Name in OpenAPI.
    pub const fn as_str(self) -> &'static str {
        match self {
            SchemaType::Object => "object",
            SchemaType::Array => "array",
            SchemaType::String => "string",
            SchemaType::Integer => "integer",
            SchemaType::Number => "number",
            SchemaType::Boolean => "boolean",
        }
    }

    /// The type of that OpenAPI name.
    pub fn parse(name: &str) -> Option<SchemaType> {
        SchemaType::ALL.into_iter().find(|ty| ty.as_str() == name)
    }
}

/// How a list merges (`x-kubernetes-list-type`, with `x-kubernetes-list-map-keys`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// Replaced as a whole. The default for lists that don't say otherwise.
    Atomic,
    /// Elements are scalars and unique.
    Set,
    /// Elements are objects told apart by these keys, in the schema's order.
    Map(Vec<Str>),
}

/// How a map or struct merges (`x-kubernetes-map-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapKind {
    /// Field by field. The default.
    Granular,
    /// Replaced as a whole.
    Atomic,
}

/// `x-kubernetes-patch-strategy`: how a strategic merge patch treats a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Lists are merged by the merge key, or as sets if there is none.
    pub merge: bool,
    /// Fields that the patch doesn't list under `$retainKeys` are dropped.
    pub retain_keys: bool,
    /// Replaced as a whole, as fields without a strategy are.
    pub replace: bool,
}

/// A `$ref` to a definition of the built-in table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Full name of the definition.
    pub name: Str,
    /// Its place in the table.
    pub(crate) index: u16,
    /// Whether it is written inside `allOf`, so that attributes may stand beside it.
    pub wrapped: bool,
}

/// The facts of one schema. Every part is optional, as in OpenAPI.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    pub ty: Option<SchemaType>,
    pub format: Option<Str>,
    pub default: Option<Value>,
    pub allowed: Vec<Value>,
    pub list: Option<ListKind>,
    pub map: Option<MapKind>,
    pub patch_strategy: Option<PatchStrategy>,
    pub patch_merge_key: Option<Str>,
    /// `x-kubernetes-int-or-string` of a custom resource.
    pub int_or_string: bool,
    /// `x-kubernetes-preserve-unknown-fields` of a custom resource.
    pub preserve_unknown: bool,
    /// `x-kubernetes-embedded-resource` of a custom resource.
    pub embedded_resource: bool,
    pub nullable: bool,
    /// What is written of the zero value, where a field of a built-in kind has this schema.
    pub zero: Zero,
    /// In the schema's own order.
    pub required: Vec<Str>,
    /// By name.
    pub properties: Vec<(Str, Node)>,
    pub items: Option<Box<Node>>,
    pub additional: Option<Box<Node>>,
    pub reference: Option<Box<Reference>>,
    /// The types of a `oneOf` that only chooses between JSON types.
    pub one_of: Vec<SchemaType>,
    /// `x-kubernetes-group-version-kind`.
    pub kinds: Vec<GroupKind>,
    /// `x-kubernetes-unions`, verbatim.
    pub unions: Option<Box<Value>>,
}

impl Node {
    /// A node of the given type and nothing else.
    pub fn of(ty: SchemaType) -> Node {
        Node {
            ty: Some(ty),
            ..Node::default()
        }
    }

    /// The property of that name.
    pub fn property(&self, name: &str) -> Option<&Node> {
        let at = self
            .properties
            .binary_search_by(|(have, _)| have.as_ref().cmp(name))
            .ok()?;
        self.properties.get(at).map(|(_, node)| node)
    }

    /// Adds or replaces a property, keeping the order by name.
    pub fn insert_property(&mut self, name: Str, node: Node) {
        match self.properties.binary_search_by(|(have, _)| have.cmp(&name)) {
            Ok(at) => self.properties[at].1 = node,
            Err(at) => self.properties.insert(at, (name, node)),
        }
    }
}
