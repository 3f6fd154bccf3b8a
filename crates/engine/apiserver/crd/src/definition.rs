//! A CustomResourceDefinition, compiled.

use std::sync::Arc;

use engenho_catalog::catalog::version_order;
use engenho_catalog::resource::{CustomSchema, Published, SchemaSource};
use engenho_catalog::schema::Dialect;
use engenho_catalog::{GroupKind, Node, Resource, Str, Subresource, Verb, VerbSet, schema};
use engenho_validation::get::{flag, items, text, texts};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::conditions;
use crate::go;
use crate::jsonpath::JsonPath;
use crate::publish::Publication;
use crate::scale::Scale;
use crate::schema::{self as schemas, Schema};
use crate::table::{self, Column};

/// Why a definition cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// Its names have not been accepted.
    #[error("CustomResourceDefinition {name} has no accepted {what}")]
    NotAccepted {
        /// Name of the definition.
        name: String,
        /// Which name is missing.
        what: &'static str,
    },
    /// No version is stored.
    #[error("CustomResourceDefinition {name} has no storage version")]
    NoStorageVersion {
        /// Name of the definition.
        name: String,
    },
}

/// Names of a custom resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// In paths.
    pub plural: String,
    /// For people.
    pub singular: String,
    /// Abbreviations.
    pub short_names: Vec<String>,
    /// Kind of objects.
    pub kind: String,
    /// Kind of lists.
    pub list_kind: String,
    /// Groups of resources such as `all`.
    pub categories: Vec<String>,
}

impl Names {
    /// Reads `spec.names` or `status.acceptedNames`.
    pub fn read(names: &Value) -> Names {
        let list = |key: &str| texts(&names[key]).map(str::to_owned).collect();
        Names {
            plural: text(&names["plural"]).to_owned(),
            singular: text(&names["singular"]).to_owned(),
            short_names: list("shortNames"),
            kind: text(&names["kind"]).to_owned(),
            list_kind: text(&names["listKind"]).to_owned(),
            categories: list("categories"),
        }
    }
}

/// A definition whose names are accepted.
#[derive(Debug, Clone)]
pub struct Definition {
    /// `widgets.example.com`
    pub name: String,
    /// Its uid: two definitions of one name may follow each other.
    pub uid: String,
    /// API group.
    pub group: String,
    /// Whether instances have a namespace.
    pub namespaced: bool,
    /// The names it is served under.
    pub accepted: Names,
    /// Its versions, as they are listed.
    pub versions: Vec<Version>,
    /// Which of them is stored.
    pub storage: usize,
    /// Whether it has been established: it stands in discovery.
    pub established: bool,
    /// Whether it is being deleted: nothing new may be created.
    pub terminating: bool,
    /// `spec.conversion.webhook`, if versions differ by more than their name.
    pub conversion_webhook: Option<Value>,
    /// `spec.preserveUnknownFields`, of definitions of old.
    pub preserve_unknown: bool,
}

/// One version of a definition.
#[derive(Debug, Clone)]
pub struct Version {
    /// `v1beta1`
    pub name: String,
    /// Whether it is served.
    pub served: bool,
    /// What its users are told, if it is deprecated.
    pub deprecation: Option<String>,
    /// Its schema.
    pub schema: Option<Schema>,
    /// Whether status is a subresource.
    pub has_status: bool,
    /// The scale subresource.
    pub scale: Option<Scale>,
    /// Columns after the name.
    pub columns: Vec<Column>,
    /// Fields besides name and namespace that can be selected by: name and path.
    pub selectable: Vec<(String, JsonPath)>,
    /// The schema as the catalog has it; none if clients get to see none.
    pub published: Option<Arc<CustomSchema>>,
}

impl Definition {
    /// Compiles a definition. Its names have to be accepted (`NamesAccepted` or `Established`).
    ///
    /// # Errors
    /// If it cannot be served yet.
    pub fn compile(crd: &Value) -> Result<Definition, CompileError> {
        let name = text(&crd["metadata"]["name"]).to_owned();
        let spec = &crd["spec"];
        let accepted = Names::read(&crd["status"]["acceptedNames"]);
        for (what, value) in [
            ("plural name", &accepted.plural),
            ("singular name", &accepted.singular),
            ("kind", &accepted.kind),
            ("list kind", &accepted.list_kind),
        ] {
            if value.is_empty() {
                return Err(CompileError::NotAccepted { name, what });
            }
        }
        let listed = items(&spec["versions"]);
        let Some(storage) = listed.iter().position(|version| flag(&version["storage"])) else {
            return Err(CompileError::NoStorageVersion { name });
        };
        Ok(Definition {
            uid: text(&crd["metadata"]["uid"]).to_owned(),
            group: text(&spec["group"]).to_owned(),
            namespaced: text(&spec["scope"]) == "Namespaced",
            versions: listed.iter().map(|version| Version::compile(crd, version)).collect(),
            storage,
            established: conditions::is_true(crd, "Established"),
            terminating: conditions::is_true(crd, "Terminating"),
            conversion_webhook: (text(&spec["conversion"]["strategy"]) == "Webhook")
                .then(|| spec["conversion"]["webhook"].clone()),
            preserve_unknown: flag(&spec["preserveUnknownFields"]),
            accepted,
            name,
        })
    }

    /// The version of that name.
    pub fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.name == name)
    }

    /// The version in which instances are stored.
    pub fn storage_version(&self) -> Option<&Version> {
        self.versions.get(self.storage)
    }

    /// `group/version`
    pub fn api_version(&self, version: &Version) -> String {
        format!("{}/{}", self.group, version.name)
    }

    /// The resources that it adds to the catalog, one for each version that is reached; none before it is established.
    pub fn resources(&self) -> Vec<Resource> {
        let reached = self
            .versions
            .iter()
            .filter(|version| self.established && self.is_reached(version));
        reached.map(|version| self.resource(version)).collect()
    }

    /// Whether instances are reached in a version: it is served; or nothing is, the definition is going, and they have to
    /// go before it.
    fn is_reached(&self, version: &Version) -> bool {
        let stored = || self.storage_version().is_some_and(|stored| stored.name == version.name);
        version.served || (self.terminating && !self.versions.iter().any(|version| version.served) && stored())
    }

    /// The version in which instances are deleted with their definition.
    pub fn deleted_in(&self) -> Option<&Version> {
        let served = self.versions.iter().find(|version| version.served);
        served.or_else(|| self.storage_version())
    }

    fn resource(&self, version: &Version) -> Resource {
        let own = |text: &str| Str::Owned(text.to_owned());
        let list = |names: &[String]| names.iter().map(|name| own(name)).collect();
        let stored = self.storage_version().map_or("", |version| version.name.as_str());
        let mut subresources = Vec::new();
        if version.has_status {
            let kind = GroupKind {
                group: Str::default(),
                version: Str::default(),
                kind: own(&self.accepted.kind),
            };
            subresources.push(Subresource::new(own("status"), kind, VerbSet::GET_PATCH_UPDATE));
        }
        if version.scale.is_some() {
            let kind = GroupKind {
                group: own("autoscaling"),
                version: own("v1"),
                kind: own("Scale"),
            };
            subresources.push(Subresource::new(own("scale"), kind, VerbSet::GET_PATCH_UPDATE));
        }
        Resource {
            group: own(&self.group),
            version: own(&version.name),
            plural: own(&self.accepted.plural),
            singular: own(&self.accepted.singular),
            kind: own(&self.accepted.kind),
            namespaced: self.namespaced,
            short_names: list(&self.accepted.short_names),
            categories: list(&self.accepted.categories),
            verbs: self.verbs(),
            subresources,
            returns_deleted: false,
            storage_version_hash: Some(storage_hash(&self.group, stored, &self.accepted.kind).into()),
            storage_version: (stored != version.name).then(|| (own(&self.group), own(stored))),
            schema: version
                .published
                .clone()
                .map_or(SchemaSource::None, SchemaSource::Owned),
        }
    }

    fn verbs(&self) -> VerbSet {
        let gone = [Verb::Create, Verb::Patch, Verb::Update];
        let served = |verb: &Verb| !self.terminating || !gone.contains(verb);
        Verb::ALL.into_iter().filter(served).collect()
    }

    /// Reads what is stored, in any version, as an object of `version`: fields that are not known any more go, and
    /// defaults of the stored version come.
    pub fn read(&self, version: &Version, object: &mut Value) {
        let stored = self.read_stored(version, object);
        if stored.name != version.name {
            self.convert(version, object);
        }
    }

    /// Reads what is stored without converting it. Gives its version, which is `version` if it names none that is
    /// known.
    pub fn read_stored<'a>(&'a self, version: &'a Version, object: &mut Value) -> &'a Version {
        let stored = text(&object["apiVersion"])
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        let stored = self.version(&stored).unwrap_or(version);
        let _ = stored.clean(object, self.preserve_unknown, true);
        if object["metadata"]["generation"].as_i64().unwrap_or_default() == 0
            && let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
        {
            metadata.insert("generation".to_owned(), 1.into());
        }
        stored.default(object);
        stored
    }

    /// The form in which an object is stored.
    pub fn write(&self, object: &mut Value) {
        if let Some(stored) = self.storage_version() {
            self.convert(stored, object);
        }
        whole_numbers(object);
    }

    /// Conversion without a webhook: only `apiVersion` changes, and fields go that the version doesn't know.
    pub fn convert(&self, version: &Version, object: &mut Value) {
        if let Some(map) = object.as_object_mut() {
            map.insert("apiVersion".to_owned(), self.api_version(version).into());
            let _ = version.clean(object, self.preserve_unknown, false);
        }
    }
}

/// Floats without a fraction are written as Go's encoder writes them, and so become whole numbers.
fn whole_numbers(value: &mut Value) {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(float) = number
                .as_f64()
                .filter(|float| float.fract() == 0.0 && float.abs() < EXACT)
            {
                *value = (float as i64).into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(map) => map.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

impl Version {
    fn compile(crd: &Value, version: &Value) -> Version {
        let spec = &crd["spec"];
        let schema = &version["schema"]["openAPIV3Schema"];
        let selectable = items(&version["selectableFields"]).iter().filter_map(|field| {
            let path = text(&field["jsonPath"]);
            let name = path.strip_prefix('.').unwrap_or(path).to_owned();
            Some((name, JsonPath::parse(path).ok()?))
        });
        Version {
            name: text(&version["name"]).to_owned(),
            served: flag(&version["served"]),
            deprecation: flag(&version["deprecated"]).then(|| deprecation(spec, version)),
            schema: schema.is_object().then(|| Schema::compile(schema)),
            has_status: version["subresources"]["status"].is_object(),
            scale: Scale::read(&version["subresources"]["scale"]),
            columns: table::columns(version),
            selectable: selectable.collect(),
            published: published(crd, version),
        }
    }

    /// Reads an object that a client sent: fields that are not known go, and their paths are given, as
    /// `fieldValidation` tells of them (`unknown field "<path>"`); nulls that mean nothing go. Defaults come with
    /// [`Version::default`].
    ///
    /// # Errors
    /// Metadata that cannot be read, in the words of Go's decoder.
    pub fn decode(&self, object: &mut Value, preserve_unknown: bool) -> Result<Vec<String>, String> {
        self.clean(object, preserve_unknown, false)
    }

    fn clean(&self, object: &mut Value, preserve_unknown: bool, lenient: bool) -> Result<Vec<String>, String> {
        let mut unknown = Vec::new();
        // Metadata is read first, and is not what the schema says of it.
        let mut metadata = object.as_object_mut().and_then(|map| map.remove("metadata"));
        if let Some(metadata) = &mut metadata {
            unknown.extend(schemas::decode_metadata(metadata, "metadata", lenient)?);
        }
        if !preserve_unknown {
            unknown.extend(schemas::prune(object, self.schema.as_ref()));
            schemas::prune_nulls(object, self.schema.as_ref());
        }
        if let Some(schema) = &self.schema {
            // The object itself has been read.
            unknown.extend(schemas::coerce(object, schema, lenient)?);
        }
        if let (Some(map), Some(metadata)) = (object.as_object_mut(), metadata) {
            map.insert("metadata".to_owned(), metadata);
        }
        Ok(unknown)
    }

    /// Fills in defaults.
    pub fn default(&self, object: &mut Value) {
        if let Some(schema) = &self.schema {
            schemas::default(object, schema);
        }
    }

    /// The value of a field that can be selected by; none if it can't.
    pub fn selected(&self, field: &str, object: &Value) -> Option<String> {
        let (_, path) = self.selectable.iter().find(|(name, _)| name == field)?;
        let found = path.find(object).ok()?;
        Some(match found.first() {
            None | Some(Value::Null) => String::new(),
            Some(value) => go::sprint(value),
        })
    }
}

fn published(crd: &Value, version: &Value) -> Option<Arc<CustomSchema>> {
    let shown = Publication::new(&crd["spec"], version);
    let node = Node::from_openapi(&shown.render(Dialect::V3), schema::Unknown::Skip).ok()?;
    let list_kind = text(&crd["status"]["acceptedNames"]["listKind"]).to_owned();
    Some(Arc::new(CustomSchema {
        node,
        list_kind: Str::Owned(list_kind),
        published: Box::new(shown),
    }))
}

fn deprecation(spec: &Value, version: &Value) -> String {
    if let Some(warning) = version["deprecationWarning"].as_str() {
        return warning.to_owned();
    }
    let (group, kind) = (text(&spec["group"]), text(&spec["names"]["kind"]));
    let name = text(&version["name"]);
    let mut better: Vec<&str> = items(&spec["versions"])
        .iter()
        .filter(|other| flag(&other["served"]) && !flag(&other["deprecated"]))
        .map(|other| text(&other["name"]))
        .filter(|other| version_order(other, name).is_lt())
        .collect();
    better.sort_by(|a, b| version_order(a, b));
    let instead = better.first().map(|best| format!("; use {group}/{best} {kind}"));
    format!("{group}/{name} {kind} is deprecated{}", instead.unwrap_or_default())
}

/// What discovery tells versions of storage apart by.
fn storage_hash(group: &str, version: &str, kind: &str) -> String {
    let digest = Sha256::digest(format!("{group}/{version}/{kind}"));
    data_encoding::BASE64.encode(&digest[..8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    pub(crate) fn gadgets() -> Value {
        json!({
            "metadata": {"name": "gadgets.shop.example.org", "uid": "u"},
            "spec": {
                "group": "shop.example.org", "scope": "Namespaced",
                "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList"},
                "versions": [
                    {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object",
                        "properties": {"spec": {"type": "object", "properties": {"a": {"type": "string", "default": "x"},
                            "n": {"type": "number"}}}}}},
                     "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"}},
                     "selectableFields": [{"jsonPath": ".spec.a"}]},
                    {"name": "v1beta1", "served": true, "storage": false, "deprecated": true,
                     "schema": {"openAPIV3Schema": {"type": "object",
                        "properties": {"spec": {"type": "object", "properties": {"b": {"type": "string", "default": "y"}}}}}}},
                    {"name": "v0", "served": false, "storage": false},
                ],
                "conversion": {"strategy": "None"},
            },
            "status": {
                "acceptedNames": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList",
                    "shortNames": ["gd"], "categories": ["all"]},
                "conditions": [{"type": "Established", "status": "True"}],
                "storedVersions": ["v1"],
            },
        })
    }

    #[test]
    fn one_that_serves_nothing_is_reached_while_it_goes() {
        let mut silent = gadgets();
        for version in silent["spec"]["versions"].as_array_mut().expect("a list") {
            version["served"] = false.into();
        }
        let reached = |crd: &Value| {
            let resources = Definition::compile(crd).unwrap().resources();
            let versions = resources.iter().map(|resource| resource.version.to_string());
            versions.collect::<Vec<_>>()
        };
        assert_eq!(reached(&silent), [""; 0]);
        let mut going = silent.clone();
        let conditions = going["status"]["conditions"].as_array_mut().expect("a list");
        conditions.push(json!({"type": "Terminating", "status": "True"}));
        assert_eq!(reached(&going), ["v1"]);
        let definition = Definition::compile(&going).unwrap();
        assert_eq!(definition.deleted_in().map(|version| version.name.as_str()), Some("v1"));
    }

    #[test]
    fn served_versions_become_resources() {
        let definition = Definition::compile(&gadgets()).unwrap();
        let resources = definition.resources();
        let named: Vec<&str> = resources.iter().map(|resource| resource.version.as_ref()).collect();
        assert_eq!(named, ["v1", "v1beta1"]);
        let first = &resources[0];
        assert_eq!(
            (first.short_names[0].as_ref(), first.categories[0].as_ref()),
            ("gd", "all")
        );
        assert_eq!(
            first.subresource("scale").map(|sub| sub.kind.kind.as_ref()),
            Some("Scale")
        );
        assert!(first.storage_version.is_none() && first.schema().is_some());
        assert_eq!(resources[1].storage_group_version(), ("shop.example.org", "v1"));
        assert_eq!(first.verbs, VerbSet::ALL);
        let mut ending = gadgets();
        ending["status"]["conditions"] =
            json!([{"type": "Established", "status": "True"}, {"type": "Terminating", "status": "True"}]);
        let ending = Definition::compile(&ending).unwrap();
        assert!(!ending.resources()[0].verbs.contains(Verb::Create));
        let mut pending = gadgets();
        pending["status"]["acceptedNames"] = json!({"plural": "", "kind": ""});
        assert!(matches!(
            Definition::compile(&pending),
            Err(CompileError::NotAccepted { .. })
        ));
    }

    #[test]
    fn deprecated_versions_say_what_to_use() {
        let definition = Definition::compile(&gadgets()).unwrap();
        assert_eq!(definition.versions[0].deprecation, None);
        assert_eq!(
            definition.versions[1].deprecation.as_deref(),
            Some("shop.example.org/v1beta1 Gadget is deprecated; use shop.example.org/v1 Gadget")
        );
    }

    #[test]
    fn versions_are_converted_by_name_alone() {
        let definition = Definition::compile(&gadgets()).unwrap();
        let mut object = json!({"apiVersion": "shop.example.org/v1", "kind": "Gadget", "metadata": {"name": "g"},
            "spec": {"gone": 1, "n": 2.0}});
        let (first, second) = (&definition.versions[0], &definition.versions[1]);
        let mut read = object.clone();
        definition.read(first, &mut read);
        assert_eq!(read["spec"], json!({"a": "x", "n": 2.0}));
        assert_eq!(read["metadata"]["generation"], 1);
        definition.write(&mut read);
        assert_eq!(read["spec"], json!({"a": "x", "n": 2}));
        definition.read(second, &mut object);
        assert_eq!(object["apiVersion"], "shop.example.org/v1beta1");
        assert_eq!(object["spec"], json!({}));
    }

    #[test]
    fn bodies_are_read_strictly() {
        let definition = Definition::compile(&gadgets()).unwrap();
        let version = &definition.versions[0];
        let mut object = json!({"apiVersion": "shop.example.org/v1", "kind": "Gadget",
            "metadata": {"name": "g", "nam": 1}, "spec": {"a": null, "z": 1}, "extra": {}});
        let unknown = version.decode(&mut object, false).unwrap();
        assert_eq!(unknown, ["metadata.nam", "extra", "spec.z"]);
        version.default(&mut object);
        assert_eq!(object["spec"], json!({"a": "x"}));
        let mut wrong = json!({"metadata": {"labels": 5}});
        assert!(version.decode(&mut wrong, false).is_err());
    }

    #[test]
    fn fields_are_selected_by() {
        let definition = Definition::compile(&gadgets()).unwrap();
        let version = &definition.versions[0];
        assert_eq!(
            version.selected("spec.a", &json!({"spec": {"a": "v"}})),
            Some("v".to_owned())
        );
        assert_eq!(version.selected("spec.a", &json!({})), Some(String::new()));
        assert_eq!(version.selected("spec.n", &json!({})), None);
    }
}
