//! Reviews: questions about access and identity, answered and not stored. And bindings, which are written elsewhere.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::admit::Admission;
use crate::authorizer::{Attributes, Identity, read_attributes};
use crate::body::Body;
use crate::codec::Expected;
use crate::context::Context;
use crate::options::WriteOptions;
use crate::status::Status;
use crate::write::{check_namespace, now};
use crate::{fields, object, subresource, tokens};

pub(crate) async fn handle(context: &Context) -> Result<Response<Body>, Status> {
    let (group, plural) = (&*context.resource.group, &*context.resource.plural);
    match (group, plural, context.info.verb.as_str()) {
        ("", "componentstatuses", "list") => Ok(component_statuses(context)),
        ("", "componentstatuses", "get") => Err(context.not_found(&context.info.path_name)),
        ("", "bindings", "create") => {
            let (mut review, options) = body(context).await?;
            let name = object::name(&review).to_owned();
            Admission::create(context, &name, options.dry_run)
                .review(&mut review, None)
                .await?;
            subresource::bind(context, &name, &review).await
        }
        (_, _, "create") => {
            let (mut review, options) = body(context).await?;
            let answer = answer(context, &review).await?;
            if plural != "selfsubjectrulesreviews" {
                review = fields::update(context, "", None, review, &options.manager, &now(context));
            } else {
                review["spec"] = json!({});
            }
            let meta = review["metadata"].as_object().cloned().unwrap_or_default();
            review["metadata"] = Value::Object(meta);
            review["status"] = answer;
            context.object(StatusCode::CREATED, &review)
        }
        _ => Err(Status::method_not_allowed()),
    }
}

async fn body(context: &Context) -> Result<(Value, WriteOptions), Status> {
    let options = WriteOptions::read(&context.info.query, &context.headers, "CreateOptions", false)?;
    let bytes = context.read_body().await?;
    let format = crate::codec::format(&context.headers)?;
    let mut warnings = Vec::new();
    let expected = Expected::of(&context.resource);
    let mut review = crate::codec::decode_object(
        &bytes,
        format,
        &expected,
        &context.catalog,
        options.validation,
        &mut warnings,
    )?;
    context.warnings.lock().append(&mut warnings);
    context.audit_object(&review);
    check_namespace(context, &review)?;
    if context.resource.namespaced {
        object::set_meta(&mut review, "namespace", context.info.namespace.as_str());
    }
    Ok((review, options))
}

async fn answer(context: &Context, review: &Value) -> Result<Value, Status> {
    let authorizer = &context.server.deps.authorizer;
    let spec = &review["spec"];
    match &*context.resource.plural {
        "selfsubjectaccessreviews" => {
            check(context, review)?;
            Ok(decision(context, &read_attributes(spec, context.identity.clone())).await)
        }
        "subjectaccessreviews" | "localsubjectaccessreviews" => {
            check(context, review)?;
            Ok(decision(context, &read_attributes(spec, subject(spec))).await)
        }
        "selfsubjectrulesreviews" => {
            let namespace = spec["namespace"].as_str().unwrap_or_default();
            if namespace.is_empty() {
                return Err(Status::bad_request("no namespace on request"));
            }
            serde_json::to_value(authorizer.rules(&context.identity, namespace)).map_err(Status::internal)
        }
        "selfsubjectreviews" => Ok(json!({ "userInfo": user_info(&context.identity) })),
        "tokenreviews" => tokens::review::answer(context, spec).await,
        _ => Err(Status::method_not_allowed()),
    }
}

/// Refuses a review that makes no sense. Upstream's 422 of reviews names no kind.
fn check(context: &Context, review: &Value) -> Result<(), Status> {
    let resource = &context.resource;
    let errors = engenho_validation::create(&resource.group, &resource.version, &resource.plural, review);
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(&resource.group, "", "", &errors))
}

fn subject(spec: &Value) -> Identity {
    let list = |v: &Value| {
        v.as_array()
            .into_iter()
            .flatten()
            .filter_map(|s| s.as_str().map(str::to_owned))
            .collect()
    };
    Identity {
        user: spec["user"].as_str().unwrap_or_default().into(),
        uid: spec["uid"].as_str().unwrap_or_default().into(),
        groups: list(&spec["groups"]),
        extra: spec["extra"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(k, v)| (k.to_lowercase(), list(v)))
            .collect(),
    }
}

async fn decision(context: &Context, attributes: &Attributes) -> Value {
    let decision = context.server.deps.authorizer.authorize(attributes).await;
    let mut status = json!({"allowed": decision.allowed()});
    if decision.verdict == crate::authorizer::Verdict::Deny {
        status["denied"] = true.into();
    }
    if !decision.reason.is_empty() {
        status["reason"] = decision.reason.into();
    }
    if let Some(error) = decision.error {
        status["evaluationError"] = error.into();
    }
    status
}

/// An identity as clients see it.
pub(crate) fn user_info(who: &Identity) -> Value {
    let mut info = json!({ "username": who.user });
    if !who.uid.is_empty() {
        info["uid"] = who.uid.as_str().into();
    }
    if !who.groups.is_empty() {
        info["groups"] = json!(who.groups);
    }
    if !who.extra.is_empty() {
        info["extra"] = json!(who.extra);
    }
    info
}

fn component_statuses(context: &Context) -> Response<Body> {
    let list = json!({"kind": "ComponentStatusList", "apiVersion": "v1", "metadata": {}, "items": []});
    context.plain(StatusCode::OK, &list)
}
