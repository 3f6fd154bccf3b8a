//! One served resource: what discovery says about it and where its objects are stored.

use std::fmt;
use std::sync::Arc;

use crate::Str;
use crate::schema::{Dialect, Node, Schema, SchemaType, definitions};

/// An API verb as discovery lists it, in the order discovery lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Verb {
    Create,
    Delete,
    DeleteCollection,
    Get,
    List,
    Patch,
    Update,
    Watch,
}

impl Verb {
    /// Every verb, alphabetically.
    pub const ALL: [Verb; 8] = [
        Verb::Create,
        Verb::Delete,
        Verb::DeleteCollection,
        Verb::Get,
        Verb::List,
        Verb::Patch,
        Verb::Update,
        Verb::Watch,
    ];

    /// The lower-case name used in discovery and RBAC rules.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verb::Create => "create",
            Verb::Delete => "delete",
            Verb::DeleteCollection => "deletecollection",
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Patch => "patch",
            Verb::Update => "update",
            Verb::Watch => "watch",
        }
    }

    /// The verb of that name, if discovery knows it.
    pub fn parse(name: &str) -> Option<Verb> {
        Verb::ALL.into_iter().find(|verb| verb.as_str() == name)
    }
}

/// A set of verbs in one byte.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct VerbSet(u8);

impl VerbSet {
    /// What every stored resource serves.
    pub const ALL: VerbSet = VerbSet(0xff);
    /// What a `status` or `scale` subresource serves.
    pub const GET_PATCH_UPDATE: VerbSet =
        VerbSet(1 << Verb::Get as u8 | 1 << Verb::Patch as u8 | 1 << Verb::Update as u8);

    /// Whether the verb is served.
    pub const fn contains(self, verb: Verb) -> bool {
        self.0 & (1 << verb as u8) != 0
    }

    /// Whether nothing is served.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The verbs, alphabetically.
    pub fn iter(self) -> impl Iterator<Item = Verb> {
        Verb::ALL.into_iter().filter(move |verb| self.contains(*verb))
    }
}

impl FromIterator<Verb> for VerbSet {
    fn from_iter<I: IntoIterator<Item = Verb>>(verbs: I) -> Self {
        VerbSet(verbs.into_iter().fold(0, |set, verb| set | 1 << verb as u8))
    }
}

impl fmt::Debug for VerbSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Verb::as_str)).finish()
    }
}

/// Group, version and kind of an object. The core group is the empty string.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKind {
    pub group: Str,
    pub version: Str,
    pub kind: Str,
}

/// A subresource such as `status`, `scale` or `exec`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subresource {
    /// The last path segment.
    pub name: Str,
    /// Kind of the body; an empty group *and* version mean those of the parent resource.
    pub kind: GroupKind,
    pub verbs: VerbSet,
    /// The request is handed on to a node, a pod or a service: any body, any answer, perhaps an upgraded connection.
    pub connect: bool,
    /// A GET answers plain text and not an object of the kind.
    pub plain_text: bool,
    /// Query parameters of its own, by name.
    pub parameters: Vec<(Str, SchemaType)>,
}

impl Subresource {
    /// A subresource that serves an object of some kind, with no parameters of its own.
    pub fn new(name: Str, kind: GroupKind, verbs: VerbSet) -> Subresource {
        Subresource {
            name,
            kind,
            verbs,
            connect: false,
            plain_text: false,
            parameters: Vec::new(),
        }
    }

    /// Whether it also serves every path below its own (`proxy`).
    pub fn serves_paths_below(&self) -> bool {
        self.connect && self.parameters.iter().any(|(name, _)| name == "path")
    }
}

/// Where the schema of a resource's kind is.
#[derive(Clone, Debug)]
pub enum SchemaSource {
    /// A definition of the built-in table, by its place there.
    Builtin(u16),
    /// Built at run time from a custom resource definition.
    Owned(Arc<CustomSchema>),
    /// Nothing is known: every field is accepted and kept.
    None,
}

/// The schema of a custom resource's kind.
#[derive(Debug)]
pub struct CustomSchema {
    /// What objects are like.
    pub node: Node,
    /// Kind of lists.
    pub list_kind: Str,
    /// What documents say of objects.
    pub published: Box<dyn Published>,
}

/// How OpenAPI documents show the schema of a custom resource: with all that its author says.
pub trait Published: fmt::Debug + Send + Sync {
    /// The schema, made anew.
    fn render(&self, dialect: Dialect) -> serde_json::Value;
}

/// One resource of one group and version.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Empty for the core group.
    pub group: Str,
    pub version: Str,
    /// Name in paths, e.g. `deployments`.
    pub plural: Str,
    pub singular: Str,
    pub kind: Str,
    pub namespaced: bool,
    pub short_names: Vec<Str>,
    pub categories: Vec<Str>,
    pub verbs: VerbSet,
    pub subresources: Vec<Subresource>,
    /// DELETE answers the deleted object and not a Status.
    pub returns_deleted: bool,
    /// Base64 of the hash of the storage version; absent for resources that are not stored (reviews, bindings).
    pub storage_version_hash: Option<Str>,
    /// Group and version in which objects are stored, when that isn't this resource's own: objects are converted on the
    /// way in and out (`autoscaling/v1` is stored as `autoscaling/v2`, `events.k8s.io/v1` as core `v1`).
    pub storage_version: Option<(Str, Str)>,
    pub schema: SchemaSource,
}

impl Resource {
    /// `v1` or `apps/v1`, as in `apiVersion`.
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// Group and version in which objects of this resource are stored.
    pub fn storage_group_version(&self) -> (&str, &str) {
        match &self.storage_version {
            Some((group, version)) => (group, version),
            None => (&self.group, &self.version),
        }
    }

    /// Whether the resource came from a custom resource definition.
    pub fn is_custom(&self) -> bool {
        !matches!(self.schema, SchemaSource::Builtin(_))
    }

    /// Whether objects of this resource are kept in the store.
    pub fn is_stored(&self) -> bool {
        self.storage_version_hash.is_some()
    }

    /// Prefix of the keys of all objects: `/registry/<group, or "core">/<plural>/`. Resources that share a storage
    /// version share the prefix.
    pub fn storage_prefix(&self) -> String {
        let (group, _) = self.storage_group_version();
        format!(
            "/registry/{}/{}/",
            if group.is_empty() { "core" } else { group },
            self.plural
        )
    }

    /// Key of one object; `namespace` is ignored for cluster-scoped resources.
    pub fn storage_key(&self, namespace: &str, name: &str) -> String {
        let mut key = self.storage_prefix();
        if self.namespaced {
            key.push_str(namespace);
            key.push('/');
        }
        key.push_str(name);
        key
    }

    /// Prefix of the keys of the objects in one namespace, or of all objects if the resource is cluster-scoped.
    pub fn storage_namespace_prefix(&self, namespace: &str) -> String {
        self.storage_key(namespace, "")
    }

    /// `/api/v1` or `/apis/<group>/<version>`.
    pub fn api_path(&self) -> String {
        if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        }
    }

    /// The subresource of that name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }

    /// Schema of this resource's kind.
    pub fn schema(&self) -> Option<Schema<'_>> {
        match &self.schema {
            SchemaSource::Builtin(index) => definitions::builtin().at(*index),
            SchemaSource::Owned(of) => Some(Schema::new(&of.node)),
            SchemaSource::None => None,
        }
    }
}

/// `v1` or `apps/v1`.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}
