//! DELETE of a collection: every selected object, one by one.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::body::Body;
use crate::context::Context;
use crate::object;
use crate::options::ListOptions;
use crate::status::Status;
use crate::verbs::delete::{self, DeleteOptions, Deleted};
use crate::verbs::list;

pub(crate) async fn handle(context: &Context) -> Result<Response<Body>, Status> {
    let listing = ListOptions::read(&context.info.query, false)?;
    let selector = list::selector(context)?;
    let options = DeleteOptions::read(context).await?;
    let page = list::read(context, &listing, &selector).await?;
    let mut deleted = Vec::new();
    for item in page.items {
        let value = item.value(context)?;
        match delete::delete(context, object::name(&value), &options).await {
            Ok(Deleted::Gone(object) | Deleted::Marked(object)) => deleted.push(object),
            Err(status) if status.code == 404 => {}
            Err(status) => return Err(status),
        }
    }
    let answer: Value = json!({
        "kind": format!("{}List", context.resource.kind),
        "apiVersion": context.resource.api_version(),
        "metadata": {"resourceVersion": page.revision.to_string()},
        "items": deleted.into_iter().map(|mut object| {
            if let Some(map) = object.as_object_mut() {
                map.remove("kind");
                map.remove("apiVersion");
            }
            object
        }).collect::<Vec<_>>(),
    });
    Ok(context.plain(StatusCode::OK, &answer))
}
