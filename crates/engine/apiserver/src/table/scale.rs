//! Tables of `/scale`.

use engenho_crd::table::{AGE, NAME};
use serde_json::{Map, Value, json};

use super::{age, include, metadata_only, wrong_list_shape};
use crate::context::Context;
use crate::negotiate::Shape;
use crate::object;
use crate::status::Status;

/// A Scale in the negotiated shape; `None` if that is the Scale itself.
pub(crate) fn shape(context: &Context, scale: &Value) -> Result<Option<Value>, Status> {
    match context.output.shape {
        Shape::Object => Ok(None),
        Shape::Table(version) => Ok(Some(table(context, scale, version)?)),
        Shape::Metadata(version) => Ok(Some(metadata_only(scale, version))),
        Shape::MetadataList(_) => Err(wrong_list_shape(context)),
    }
}

fn table(context: &Context, scale: &Value, version: &str) -> Result<Value, Status> {
    let now_ms = context.server.deps.clock.unix_ms();
    let columns = engenho_crd::table::scale_columns();
    let mut cells = engenho_crd::table::cells(&columns, scale, &|time| age::read(time, now_ms));
    let definitions = match context.custom_version() {
        Some(_) => engenho_crd::table::definitions(&columns),
        None => {
            // What is left out is zero.
            let zeros = cells.iter_mut().filter(|cell| cell.is_null());
            zeros.for_each(|cell| *cell = 0.into());
            builtin()
        }
    };
    let mut row = Map::from_iter([("cells".to_owned(), Value::from(cells))]);
    include(context)?.add(scale, version, &mut row);
    Ok(json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": {"resourceVersion": object::resource_version(scale)},
        "columnDefinitions": definitions,
        "rows": [row],
    }))
}

/// The same columns as upstream has them for built-in kinds.
fn builtin() -> Value {
    let column = |name: &str, ty: &str, description: &str| json!({"name": name, "type": ty, "format": "", "description": description, "priority": 0});
    json!([
        column("Name", "string", NAME),
        column(
            "Desired",
            "integer",
            "replicas is the desired number of instances for the scaled object."
        ),
        column(
            "Available",
            "integer",
            "replicas is the actual number of observed instances of the scaled object."
        ),
        column("Age", "string", AGE),
    ])
}
