//! The paths of a group version, derived from its resources: they are regular, so nothing of them is stored.

use super::names;
use super::operation::{Body, Consumes, Method, Operation, Parameter, PathItem, Produces};
use crate::Str;
use crate::catalog::{Catalog, GroupVersion};
use crate::resource::{GroupKind, Resource, Subresource, Verb};
use crate::schema::SchemaType;

const STRING: &str = "string";
const INTEGER: &str = "integer";
const BOOLEAN: &str = "boolean";

const LIST: &[(&str, &str)] = &[
    ("allowWatchBookmarks", BOOLEAN),
    ("continue", STRING),
    ("fieldSelector", STRING),
    ("labelSelector", STRING),
    ("limit", INTEGER),
    ("resourceVersion", STRING),
    ("resourceVersionMatch", STRING),
    ("sendInitialEvents", BOOLEAN),
    ("timeoutSeconds", INTEGER),
    ("watch", BOOLEAN),
];

const DELETE_COLLECTION: &[(&str, &str)] = &[
    ("continue", STRING),
    ("dryRun", STRING),
    ("fieldSelector", STRING),
    ("gracePeriodSeconds", INTEGER),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", BOOLEAN),
    ("labelSelector", STRING),
    ("limit", INTEGER),
    ("orphanDependents", BOOLEAN),
    ("propagationPolicy", STRING),
    ("resourceVersion", STRING),
    ("resourceVersionMatch", STRING),
    ("sendInitialEvents", BOOLEAN),
    ("timeoutSeconds", INTEGER),
];

const READ: &[(&str, &str)] = &[("resourceVersion", STRING)];

const DELETE: &[(&str, &str)] = &[
    ("dryRun", STRING),
    ("gracePeriodSeconds", INTEGER),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", BOOLEAN),
    ("orphanDependents", BOOLEAN),
    ("propagationPolicy", STRING),
];

const WRITE: &[(&str, &str)] = &[
    ("dryRun", STRING),
    ("fieldManager", STRING),
    ("fieldValidation", STRING),
];

const PATCH: &[(&str, &str)] = &[
    ("dryRun", STRING),
    ("fieldManager", STRING),
    ("fieldValidation", STRING),
    ("force", BOOLEAN),
];

fn query(table: &'static [(&'static str, &'static str)]) -> Vec<Parameter> {
    let parameter = |(name, ty): &(&'static str, &'static str)| Parameter {
        name: Str::Borrowed(name),
        in_path: false,
        ty,
    };
    table.iter().map(parameter).collect()
}

fn in_path(name: &'static str) -> Parameter {
    Parameter {
        name: Str::Borrowed(name),
        in_path: true,
        ty: STRING,
    }
}

fn pretty() -> Parameter {
    Parameter {
        name: Str::Borrowed("pretty"),
        in_path: false,
        ty: STRING,
    }
}

/// Every path of a group version, sorted.
pub(super) fn of(catalog: &Catalog, served: &GroupVersion) -> Vec<PathItem> {
    let mut items: Vec<PathItem> = served
        .resources
        .iter()
        .flat_map(|resource| Paths { catalog, resource }.all())
        .collect();
    items.sort_by(|a, b| a.path.cmp(&b.path));
    items
}

/// What an operation does, as its parts that follow from it.
struct Shape {
    method: Method,
    action: &'static str,
    parameters: &'static [(&'static str, &'static str)],
    codes: &'static [u16],
}

const SHAPE_LIST: Shape = Shape {
    method: Method::Get,
    action: "list",
    parameters: LIST,
    codes: &[200],
};
const SHAPE_POST: Shape = Shape {
    method: Method::Post,
    action: "post",
    parameters: WRITE,
    codes: &[200, 201, 202],
};
const SHAPE_DELETE_COLLECTION: Shape = Shape {
    method: Method::Delete,
    action: "deletecollection",
    parameters: DELETE_COLLECTION,
    codes: &[200],
};
const SHAPE_GET: Shape = Shape {
    method: Method::Get,
    action: "get",
    parameters: &[],
    codes: &[200],
};
const SHAPE_PUT: Shape = Shape {
    method: Method::Put,
    action: "put",
    parameters: WRITE,
    codes: &[200, 201],
};
const SHAPE_DELETE: Shape = Shape {
    method: Method::Delete,
    action: "delete",
    parameters: DELETE,
    codes: &[200, 202],
};
const SHAPE_PATCH: Shape = Shape {
    method: Method::Patch,
    action: "patch",
    parameters: PATCH,
    codes: &[200, 201],
};
const SHAPE_WATCH: Shape = Shape {
    method: Method::Get,
    action: "watch",
    parameters: LIST,
    codes: &[200],
};
const SHAPE_WATCH_LIST: Shape = Shape {
    method: Method::Get,
    action: "watchlist",
    parameters: LIST,
    codes: &[200],
};

/// Makes the paths of one resource.
struct Paths<'a> {
    catalog: &'a Catalog,
    resource: &'a Resource,
}

impl Paths<'_> {
    fn all(&self) -> Vec<PathItem> {
        let resource = self.resource;
        let root = resource.api_path();
        let scope = if resource.namespaced {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        let collection = format!("{root}{scope}/{}", resource.plural);
        let object = format!("{collection}/{{name}}");
        let has = |verb| resource.verbs.contains(verb);
        let mut items = Vec::new();

        let mut operations = Vec::new();
        if has(Verb::List) {
            operations.push(self.list(""));
        }
        if has(Verb::Create) {
            operations.push(self.write(SHAPE_POST, "create", None));
        }
        if has(Verb::DeleteCollection) {
            let mut operation = self.operation(SHAPE_DELETE_COLLECTION, "delete", "Collection", "");
            if resource.is_custom() {
                operation.parameters = query(LIST);
            } else {
                operation.body = Some((Body::Definition(names::DELETE_OPTIONS.to_owned()), false));
            }
            operation.answer = Body::Definition(names::STATUS.to_owned());
            operations.push(operation);
        }
        items.push(self.item(collection.clone(), operations, false));

        let mut operations = Vec::new();
        if has(Verb::Get) {
            operations.push(self.read());
        }
        if has(Verb::Update) {
            operations.push(self.write(SHAPE_PUT, "replace", None));
        }
        if has(Verb::Delete) {
            let mut operation = self.operation(SHAPE_DELETE, "delete", "", "");
            operation.body = Some((Body::Definition(names::DELETE_OPTIONS.to_owned()), false));
            if !resource.returns_deleted {
                operation.answer = Body::Definition(names::STATUS.to_owned());
            }
            operations.push(operation);
        }
        if has(Verb::Patch) {
            operations.push(self.patch(None));
        }
        items.push(self.item(object.clone(), operations, true));

        if resource.namespaced && has(Verb::List) {
            let operations = vec![self.list("ForAllNamespaces")];
            items.push(self.item_of(format!("{root}/{}", resource.plural), operations, vec![pretty()]));
        }
        if has(Verb::Watch) && !resource.is_custom() {
            self.watches(&root, scope, &mut items);
        }
        for sub in &resource.subresources {
            self.subresource(&object, sub, &mut items);
        }
        items.retain(|item| !item.operations.is_empty());
        items
    }

    fn watches(&self, root: &str, scope: &str, items: &mut Vec<PathItem>) {
        let plural = &self.resource.plural;
        let watch = |shape: Shape, suffix: &str| {
            let mut operation = self.operation(shape, "watch", "", suffix);
            operation.answer = Body::Definition(names::WATCH_EVENT.to_owned());
            operation.produces = Produces::ObjectOrStream;
            vec![operation]
        };
        items.push(self.item(
            format!("{root}/watch{scope}/{plural}"),
            watch(SHAPE_WATCH_LIST, "List"),
            false,
        ));
        items.push(self.item(
            format!("{root}/watch{scope}/{plural}/{{name}}"),
            watch(SHAPE_WATCH, ""),
            true,
        ));
        if self.resource.namespaced {
            let operations = watch(SHAPE_WATCH_LIST, "ListForAllNamespaces");
            items.push(self.item_of(format!("{root}/watch/{plural}"), operations, vec![pretty()]));
        }
    }

    fn subresource(&self, object: &str, sub: &Subresource, items: &mut Vec<PathItem>) {
        let path = format!("{object}/{}", sub.name);
        if sub.connect {
            items.push(self.connect(path.clone(), sub, ""));
            if sub.serves_paths_below() {
                items.push(self.connect(format!("{path}/{{path}}"), sub, "WithPath"));
            }
            return;
        }
        let mut operations = Vec::new();
        if sub.verbs.contains(Verb::Get) {
            let mut operation = self.of_subresource(self.read(), sub);
            if sub.plain_text {
                operation.answer = Body::Text;
                operation.produces = Produces::ObjectOrText;
            }
            operation.parameters.extend(own_parameters(sub));
            operations.push(operation);
        }
        if sub.verbs.contains(Verb::Create) {
            operations.push(self.write(SHAPE_POST, "create", Some(sub)));
        }
        if sub.verbs.contains(Verb::Update) {
            operations.push(self.write(SHAPE_PUT, "replace", Some(sub)));
        }
        if sub.verbs.contains(Verb::Patch) {
            operations.push(self.patch(Some(sub)));
        }
        items.push(self.item(path, operations, true));
    }

    /// A request that is handed on: every method answers whatever the far end does.
    fn connect(&self, path: String, sub: &Subresource, suffix: &str) -> PathItem {
        let below = sub.serves_paths_below();
        let methods = [
            (Method::Get, sub.verbs.contains(Verb::Get)),
            (Method::Put, sub.verbs.contains(Verb::Update)),
            (Method::Post, sub.verbs.contains(Verb::Create)),
            (Method::Delete, sub.verbs.contains(Verb::Delete)),
            (Method::Options, below),
            (Method::Head, below),
            (Method::Patch, sub.verbs.contains(Verb::Patch)),
        ];
        let operations = methods.into_iter().filter(|(_, served)| *served).map(|(method, _)| {
            let shape = Shape {
                method,
                action: "connect",
                parameters: &[],
                codes: &[200],
            };
            let mut operation = self.of_subresource(self.operation(shape, "connect", "", ""), sub);
            let verb = names::capitalised(method.as_str());
            operation.id = format!("connect{}{verb}{}{suffix}", self.prefix(), self.noun(Some(sub)));
            operation.answer = Body::Text;
            operation.produces = Produces::Anything;
            operation.parameters = own_parameters(sub);
            operation
        });
        let mut parameters = self.path_parameters(true);
        if suffix == "WithPath" {
            parameters.push(in_path("path"));
        }
        self.item_of(path, operations.collect(), parameters)
    }

    fn list(&self, suffix: &'static str) -> Operation {
        let mut operation = self.operation(SHAPE_LIST, "list", "", suffix);
        operation.answer = Body::Definition(names::list_definition(self.resource));
        if !self.resource.is_custom() {
            operation.produces = Produces::ObjectOrStream;
        }
        operation
    }

    fn read(&self) -> Operation {
        let mut operation = self.operation(SHAPE_GET, "read", "", "");
        if self.resource.is_custom() {
            operation.parameters = query(READ);
        }
        operation
    }

    fn write(&self, shape: Shape, verb: &str, sub: Option<&Subresource>) -> Operation {
        let mut operation = self.operation(shape, verb, "", "");
        if let Some(sub) = sub {
            operation = self.of_subresource(operation, sub);
        }
        operation.body = Some((operation.answer.clone(), true));
        operation
    }

    fn patch(&self, sub: Option<&Subresource>) -> Operation {
        let mut operation = self.write(SHAPE_PATCH, "patch", sub);
        operation.body = Some((Body::Definition(names::PATCH.to_owned()), true));
        operation.consumes = Consumes::Patches;
        if self.resource.is_custom() {
            operation.consumes = Consumes::CustomPatches;
            operation.codes = &[200];
        }
        operation
    }

    /// The operation as it's for the resource itself: it answers an object of its kind.
    fn operation(&self, shape: Shape, verb: &str, middle: &str, suffix: &str) -> Operation {
        let resource = self.resource;
        let noun = match suffix {
            // Across namespaces the scope isn't named.
            "ForAllNamespaces" | "ListForAllNamespaces" => resource.kind.to_string(),
            _ => self.noun(None),
        };
        Operation {
            method: shape.method,
            tag: names::tag(&resource.group, &resource.version),
            id: format!("{verb}{}{middle}{noun}{suffix}", self.prefix()),
            action: Some(shape.action),
            kind: Some(GroupKind {
                group: resource.group.clone(),
                version: resource.version.clone(),
                kind: resource.kind.clone(),
            }),
            parameters: query(shape.parameters),
            body: None,
            consumes: match resource.is_custom() {
                true => Consumes::Custom,
                false => Consumes::Anything,
            },
            answer: Body::Definition(names::definition(resource)),
            produces: match resource.is_custom() {
                true => Produces::Custom,
                false => Produces::Object,
            },
            codes: shape.codes,
        }
    }

    /// The operation with the subresource's name and kind.
    fn of_subresource(&self, mut operation: Operation, sub: &Subresource) -> Operation {
        operation.id.push_str(&names::capitalised(&sub.name));
        let mut kind = sub.kind.clone();
        if kind.version.is_empty() {
            kind.group = self.resource.group.clone();
            kind.version = self.resource.version.clone();
        }
        operation.answer = Body::Definition(names::kind_definition(self.catalog, &kind));
        if !self.resource.is_custom() {
            operation.kind = Some(kind);
        }
        operation
    }

    fn prefix(&self) -> String {
        names::identifier(&self.resource.group, &self.resource.version)
    }

    fn noun(&self, sub: Option<&Subresource>) -> String {
        let scope = if self.resource.namespaced { "Namespaced" } else { "" };
        let sub = sub.map(|sub| names::capitalised(&sub.name)).unwrap_or_default();
        format!("{scope}{}{sub}", self.resource.kind)
    }

    fn path_parameters(&self, named: bool) -> Vec<Parameter> {
        let mut parameters = Vec::new();
        if named {
            parameters.push(in_path("name"));
        }
        if self.resource.namespaced {
            parameters.push(in_path("namespace"));
        }
        parameters
    }

    fn item(&self, path: String, operations: Vec<Operation>, named: bool) -> PathItem {
        let mut parameters = self.path_parameters(named);
        parameters.push(pretty());
        self.item_of(path, operations, parameters)
    }

    fn item_of(&self, path: String, operations: Vec<Operation>, parameters: Vec<Parameter>) -> PathItem {
        PathItem::new(path, operations, parameters)
    }
}

fn own_parameters(sub: &Subresource) -> Vec<Parameter> {
    let parameter = |(name, ty): &(Str, SchemaType)| Parameter {
        name: name.clone(),
        in_path: false,
        ty: ty.as_str(),
    };
    sub.parameters.iter().map(parameter).collect()
}
