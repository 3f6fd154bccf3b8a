//! PUT: an object is replaced, or created where its kind allows that.

use http::Response;

use crate::body::Body;
use crate::context::Context;
use crate::options::WriteOptions;
use crate::status::Status;
use crate::verbs::create;
use crate::write::{self, Plan, check_name, check_namespace, now};
use crate::{fields, leases};

pub(crate) async fn handle(context: &Context) -> Result<Response<Body>, Status> {
    through(context, "").await
}

/// PUT of an object, or of one of its subresources that has the object's own kind.
pub(crate) async fn through(context: &Context, subresource: &str) -> Result<Response<Body>, Status> {
    let options = WriteOptions::read(&context.info.query, &context.headers, "UpdateOptions", false)?;
    let object = create::body(context, &options).await?;
    let name = context.info.path_name.as_str();
    check_name(name, &object)?;
    check_namespace(context, &object)?;
    if let Some(answer) = leases::accept_write(context, name, &object) {
        return answer;
    }
    let plan = Plan::update(context, name, subresource, &options);
    let now = now(context);
    let (code, stored) = write::run(context, &plan, |live| {
        Ok(fields::update(
            context,
            subresource,
            live,
            object.clone(),
            &options.manager,
            &now,
        ))
    })
    .await?;
    context.object(code, &stored)
}
