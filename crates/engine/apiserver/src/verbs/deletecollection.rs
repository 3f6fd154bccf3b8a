//! DELETE of a collection: every selected object, one by one.

use http::{Response, StatusCode};

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
    let mut page = list::read(context, &listing, &selector).await?;
    let mut deleted = Vec::new();
    for item in std::mem::take(&mut page.items) {
        let value = item.value(context)?;
        match delete::delete(context, object::name(&value), &options).await {
            Ok(Deleted::Gone(object) | Deleted::Marked(object)) => deleted.push(list::without_type(context, object)),
            Err(status) if status.code == 404 => {}
            Err(status) => return Err(status),
        }
    }
    let mut answer = list::header(context);
    answer.insert("metadata".into(), list::own_meta(context, &page));
    answer.insert("items".into(), deleted.into());
    Ok(context.plain(StatusCode::OK, &answer.into()))
}
