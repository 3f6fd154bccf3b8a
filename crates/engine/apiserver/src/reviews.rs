//! Reviews: questions about access and identity, answered and not stored. And bindings, which are written elsewhere.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::admit::Admission;
use crate::authorizer::{Attributes, Identity};
use crate::body::Body;
use crate::codec::Expected;
use crate::context::Context;
use crate::options::WriteOptions;
use crate::status::{FieldError, Status};
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
            check_attributes(context, spec)?;
            Ok(decision(context, &attributes(spec, context.identity.clone())))
        }
        "subjectaccessreviews" => {
            check_attributes(context, spec)?;
            let who = subject(context, spec)?;
            Ok(decision(context, &attributes(spec, who)))
        }
        "localsubjectaccessreviews" => {
            if spec.get("nonResourceAttributes").is_some() {
                let detail = "disallowed on this kind of request";
                return Err(refuse(
                    context,
                    FieldError::invalid(
                        "spec.nonResourceAttributes",
                        spec["nonResourceAttributes"].clone(),
                        detail,
                    ),
                ));
            }
            check_attributes(context, spec)?;
            let namespace = spec["resourceAttributes"]["namespace"].as_str().unwrap_or_default();
            if namespace != context.info.namespace {
                let field = "spec.resourceAttributes.namespace";
                return Err(refuse(
                    context,
                    FieldError::invalid(field, namespace, "must match metadata.namespace"),
                ));
            }
            let who = subject(context, spec)?;
            Ok(decision(context, &attributes(spec, who)))
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

/// Upstream's 422 of reviews names no kind.
fn refuse(context: &Context, error: FieldError) -> Status {
    Status::invalid(&context.resource.group, "", "", &[error])
}

fn check_attributes(context: &Context, spec: &Value) -> Result<(), Status> {
    match (spec.get("resourceAttributes"), spec.get("nonResourceAttributes")) {
        (Some(_), Some(path)) => {
            let go = json!({"Path": path["path"], "Verb": path["verb"]});
            let detail = "cannot be specified in combination with resourceAttributes";
            Err(refuse(
                context,
                FieldError::invalid("spec.nonResourceAttributes", go, detail),
            ))
        }
        (None, None) => {
            let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            Err(refuse(
                context,
                FieldError::invalid("spec.resourceAttributes", Value::Null, detail),
            ))
        }
        (Some(attributes), None) => {
            for kind in ["fieldSelector", "labelSelector"] {
                let selector = &attributes[kind];
                if let Some(raw) = selector["rawSelector"].as_str()
                    && selector["requirements"].as_array().is_some_and(|r| !r.is_empty())
                {
                    let field = format!("spec.resourceAttributes.{kind}.rawSelector");
                    let detail = "may not specified at the same time as requirements";
                    return Err(refuse(context, FieldError::invalid(field, raw, detail)));
                }
            }
            Ok(())
        }
        (None, Some(_)) => Ok(()),
    }
}

fn subject(context: &Context, spec: &Value) -> Result<Identity, Status> {
    let list = |v: &Value| {
        v.as_array()
            .into_iter()
            .flatten()
            .filter_map(|s| s.as_str().map(str::to_owned))
            .collect()
    };
    let who = Identity {
        user: spec["user"].as_str().unwrap_or_default().into(),
        uid: spec["uid"].as_str().unwrap_or_default().into(),
        groups: list(&spec["groups"]),
        extra: spec["extra"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(k, v)| (k.to_lowercase(), list(v)))
            .collect(),
    };
    if who.user.is_empty() && who.groups.is_empty() {
        let detail = "at least one of user or group must be specified";
        return Err(refuse(context, FieldError::invalid("spec.user", "", detail)));
    }
    Ok(who)
}

fn attributes(spec: &Value, identity: Identity) -> Attributes {
    if let Some(path) = spec.get("nonResourceAttributes") {
        let text = |key: &str| path[key].as_str().unwrap_or_default().to_owned();
        return Attributes {
            identity,
            verb: text("verb"),
            path: text("path"),
            ..Attributes::default()
        };
    }
    let resource = &spec["resourceAttributes"];
    let text = |key: &str| resource[key].as_str().unwrap_or_default().to_owned();
    let selector = |key: &str| {
        let selector = &resource[key];
        if let Some(raw) = selector["rawSelector"].as_str() {
            return raw.to_owned();
        }
        let terms = selector["requirements"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|r| {
                let values: Vec<&str> = r["values"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect();
                (r["operator"] == "In" && values.len() == 1)
                    .then(|| format!("{}={}", r["key"].as_str().unwrap_or_default(), values[0]))
            });
        terms.collect::<Vec<_>>().join(",")
    };
    Attributes {
        identity,
        verb: text("verb"),
        resource_request: true,
        group: text("group"),
        version: text("version"),
        resource: text("resource"),
        subresource: text("subresource"),
        namespace: text("namespace"),
        name: text("name"),
        path: String::new(),
        field_selector: selector("fieldSelector"),
        label_selector: selector("labelSelector"),
    }
}

fn decision(context: &Context, attributes: &Attributes) -> Value {
    let healthy = !attributes.resource_request && matches!(attributes.path.as_str(), "/healthz" | "/livez" | "/readyz");
    if healthy {
        return json!({"allowed": true});
    }
    let decision = context.server.deps.authorizer.authorize(attributes);
    let mut status = json!({"allowed": decision.allowed()});
    if decision.verdict == crate::authorizer::Verdict::Deny {
        status["denied"] = true.into();
    }
    if !decision.reason.is_empty() {
        status["reason"] = decision.reason.into();
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
