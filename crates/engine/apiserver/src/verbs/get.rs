//! GET of one object: the stored bytes, if nothing else is asked for.

use http::{Response, StatusCode};
use serde_json::Value;

use crate::body::Body;
use crate::context::{Context, parse_stored};
use crate::negotiate::{Media, Shape};
use crate::options::parse_revision;
use crate::status::Status;
use crate::{custom, leases, respond};

pub(crate) async fn handle(context: &Context) -> Result<Response<Body>, Status> {
    let version = context.info.query.get("resourceVersion");
    let revision = if version.is_empty() {
        None
    } else {
        Some(parse_revision(version)?)
    };
    context.prepare_read(revision).await?;
    let name = &context.info.path_name;
    if let Some(lease) = leases::get(context, name) {
        return context.object(StatusCode::OK, &lease);
    }
    let stored = context
        .storage()
        .get(&context.key(name))?
        .ok_or_else(|| context.not_found(name))?;
    let output = &context.output;
    let as_stored = output.media == Media::Json && output.shape == Shape::Object && !output.pretty;
    if as_stored && !custom::is_converted(context) {
        return Ok(respond::bytes(
            StatusCode::OK,
            output.media.content_type(),
            stored.bytes,
        ));
    }
    context.object(StatusCode::OK, &served(context, &stored.bytes).await?)
}

/// A stored object in the form that this request's resource serves.
pub(crate) async fn served(context: &Context, bytes: &[u8]) -> Result<Value, Status> {
    custom::read(context, parse_stored(bytes)?).await
}
