//! Tables and metadata-only shapes: what `kubectl get` asks for. Cells are printed per kind, one file per API group.

mod age;
mod apps;
mod autoscaling;
mod batch;
mod core;
mod flowcontrol;
mod format;
mod misc;
mod networking;
mod pod;
mod scale;
mod storage;

use engenho_catalog::table::{Column, columns};
use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::negotiate::Shape;
use crate::object;
use crate::status::Status;

/// What the cells of a row are made from.
pub(crate) struct Row<'a> {
    /// The object.
    pub object: &'a Value,
    /// Now, milliseconds since the Unix epoch.
    pub now_ms: u64,
}

impl Row<'_> {
    /// Name of the object.
    pub fn name(&self) -> Value {
        object::name(self.object).into()
    }

    /// Age of the object.
    pub fn age(&self) -> Value {
        self.since(object::creation_timestamp(self.object)).into()
    }

    /// Time since a timestamp, `<unknown>` without one.
    pub fn since(&self, timestamp: &str) -> String {
        age::since(timestamp, self.now_ms)
    }

    /// A field by path, `Null` if absent.
    pub fn at(&self, path: &str) -> &Value {
        path.split('.').fold(self.object, |at, part| &at[part])
    }

    /// A text field by path, empty if absent.
    pub fn text(&self, path: &str) -> &str {
        self.at(path).as_str().unwrap_or_default()
    }

    /// An integer field by path, 0 if absent.
    pub fn int(&self, path: &str) -> i64 {
        self.at(path).as_i64().unwrap_or(0)
    }
}

/// The cells of one object, in the order of the resource's columns; `None` for kinds without a printer of their own.
fn cells(group: &str, plural: &str, row: &Row<'_>) -> Option<Vec<Value>> {
    match group {
        "" => core::cells(plural, row),
        "apps" => apps::cells(plural, row),
        "autoscaling" => autoscaling::cells(plural, row),
        "batch" => batch::cells(plural, row),
        "networking.k8s.io" | "discovery.k8s.io" => networking::cells(plural, row),
        "storage.k8s.io" => storage::cells(plural, row),
        "flowcontrol.apiserver.k8s.io" => flowcontrol::cells(plural, row),
        _ => misc::cells(group, plural, row),
    }
}

/// How much of the object a row carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Include {
    None,
    Metadata,
    Object,
}

impl Include {
    /// Adds to a row what it carries of the object.
    fn add(self, object: &Value, version: &str, row: &mut Map<String, Value>) {
        match self {
            Include::None => {}
            Include::Metadata => drop(row.insert("object".into(), metadata_only(object, version))),
            Include::Object => drop(row.insert("object".into(), object.clone())),
        }
    }
}

fn include(context: &Context) -> Result<Include, Status> {
    match context.info.query.get("includeObject") {
        "" | "Metadata" => Ok(Include::Metadata),
        "None" => Ok(Include::None),
        "Object" => Ok(Include::Object),
        other => Err(Status::bad_request(format!(
            "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', 'Object', 'None', or empty"
        ))),
    }
}

pub(crate) use scale::shape as shape_scale;

/// One object in the negotiated shape; `None` if that is the object itself.
pub(crate) fn shape_object(context: &Context, object: &Value) -> Result<Option<Value>, Status> {
    match context.output.shape {
        Shape::Object => Ok(None),
        Shape::Table(version) => {
            let meta = json!({"resourceVersion": object::resource_version(object)});
            Ok(Some(table(context, std::slice::from_ref(object), meta, version, true)?))
        }
        Shape::Metadata(version) => Ok(Some(metadata_only(object, version))),
        Shape::MetadataList(_) => Err(wrong_list_shape(context)),
    }
}

/// A list in the negotiated shape.
pub(crate) fn shape_list(context: &Context, objects: &[Value], meta: Value) -> Result<Value, Status> {
    match context.output.shape {
        Shape::Table(version) => table(context, objects, meta, version, true),
        Shape::MetadataList(version) => {
            let items: Vec<Value> = objects.iter().map(|o| metadata_only(o, version)).collect();
            Ok(json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": meta,
                "items": items,
            }))
        }
        Shape::Metadata(_) => Err(Status::not_acceptable_text(format!(
            "you requested PartialObjectMetadata, but the requested object is a list (*{}List)",
            go_type(context)
        ))),
        Shape::Object => Err(Status::internal("a plain list has no shape")),
    }
}

/// The object of a watch event in the negotiated shape. Columns come with the first event only.
pub(crate) fn shape_event(context: &Context, object: &Value, with_columns: bool) -> Result<Option<Value>, Status> {
    match context.output.shape {
        Shape::Object => Ok(None),
        Shape::Table(version) => {
            let meta = json!({"resourceVersion": object::resource_version(object)});
            Ok(Some(table(
                context,
                std::slice::from_ref(object),
                meta,
                version,
                with_columns,
            )?))
        }
        Shape::Metadata(version) => Ok(Some(metadata_only(object, version))),
        Shape::MetadataList(_) => Err(wrong_list_shape(context)),
    }
}

/// The 406 of a list shape for something that is no list.
pub(crate) fn wrong_list_shape(context: &Context) -> Status {
    Status::not_acceptable_text(format!(
        "you requested PartialObjectMetadataList, but the requested object is not a list (*{})",
        go_type(context)
    ))
}

/// The internal type that upstream's text names: `core.ConfigMap`.
fn go_type(context: &Context) -> String {
    let group = context.resource.group.split('.').next().unwrap_or_default();
    let package = if group.is_empty() { "core" } else { group };
    format!("{package}.{}", context.resource.kind)
}

fn metadata_only(object: &Value, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": object.get("metadata").cloned().unwrap_or_else(|| json!({})),
    })
}

fn column(column: &Column) -> Value {
    json!({
        "name": column.name,
        "type": column.ty,
        "format": column.format,
        "description": "",
        "priority": column.priority,
    })
}

fn table(
    context: &Context,
    objects: &[Value],
    meta: Value,
    version: &str,
    with_columns: bool,
) -> Result<Value, Status> {
    let include = include(context)?;
    let resource = &context.resource;
    let now_ms = context.server.deps.clock.unix_ms();
    let custom = context.custom_version().map(|(_, version)| version);
    let columns = match custom {
        Some(_) => Vec::new(),
        None => columns(&resource.group, &resource.version, &resource.plural),
    };
    let mut rows = Vec::with_capacity(objects.len());
    for object in objects {
        let bookmark = object::name(object).is_empty();
        let row = Row { object, now_ms };
        let mut out = Map::new();
        if !bookmark {
            let cells = match custom {
                Some(version) => engenho_crd::table::cells(&version.columns, object, &|time| age::read(time, now_ms)),
                None => {
                    let printed = cells(&resource.group, &resource.plural, &row);
                    let mut cells = printed.unwrap_or_else(|| generic(&columns, &row));
                    cells.resize(columns.len(), "".into());
                    cells
                }
            };
            out.insert("cells".into(), cells.into());
            if resource.group.is_empty()
                && resource.plural == "pods"
                && let Some(conditions) = pod::conditions(object)
            {
                out.insert("conditions".into(), conditions);
            }
        } else {
            out.insert("cells".into(), Value::Null);
        }
        include.add(object, version, &mut out);
        rows.push(Value::Object(out));
    }
    let definitions = match custom {
        _ if !with_columns => Value::Null,
        Some(version) => engenho_crd::table::definitions(&version.columns),
        None => columns.iter().map(column).collect(),
    };
    Ok(json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": meta,
        "columnDefinitions": definitions,
        "rows": rows,
    }))
}

/// Name and time of creation, for kinds without a printer.
fn generic(columns: &[Column], row: &Row<'_>) -> Vec<Value> {
    columns
        .iter()
        .map(|column| match &*column.name {
            "Name" => row.name(),
            "Age" => row.age(),
            "Created At" => object::creation_timestamp(row.object).into(),
            _ => "".into(),
        })
        .collect()
}
