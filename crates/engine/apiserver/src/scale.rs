//! `/scale`: the replica count of a workload as an autoscaling/v1 Scale.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::admit::Admission;
use crate::body::Body;
use crate::codec;
use crate::context::Context;
use crate::options::WriteOptions;
use crate::status::{FieldError, Status};
use crate::subresource::body_of;
use crate::verbs::get::served;
use crate::verbs::patch::{Patch, PatchType};
use crate::write::{self, Plan, now};
use crate::{fields, object};

pub(crate) async fn handle(context: &Context) -> Result<Response<Body>, Status> {
    let name = context.info.path_name.as_str();
    match context.info.verb.as_str() {
        "get" => {
            context.prepare_read(None).await?;
            let stored = context
                .storage()
                .get(&context.key(name))?
                .ok_or_else(|| context.not_found(name))?;
            let object = served(context, &stored.bytes).await?;
            let scale = match custom(context) {
                Some(scale) => scale.get(&object).map_err(Status::internal)?,
                None => of(context, &object),
            };
            context.scale(StatusCode::OK, &scale)
        }
        "update" => {
            let options = WriteOptions::read(&context.info.query, &context.headers, "UpdateOptions", false)?;
            let scale = body_of(context, "autoscaling", "v1", "Scale").await?;
            write::check_name(name, &scale)?;
            write::check_namespace(context, &scale)?;
            change(context, &options, |_| Ok(scale.clone())).await
        }
        _ => {
            let kind = PatchType::of(context)?;
            let options = WriteOptions::read(
                &context.info.query,
                &context.headers,
                "PatchOptions",
                kind == PatchType::ApplyYaml,
            )?;
            let bytes = context.read_body().await?;
            let patch = Patch::parse(kind, &bytes, &mut Vec::new())?;
            context.audit_patch(|| patch.sent(&bytes));
            let schema = context.catalog.schema("autoscaling", "v1", "Scale");
            change(context, &options, |scale| match &patch {
                Patch::Apply(config) => Ok(engenho_patch::merge_patch::apply(scale.clone(), config)),
                patch => patch.apply(scale, schema),
            })
            .await
        }
    }
}

/// Where an instance of a custom resource has its counts.
fn custom(context: &Context) -> Option<&engenho_crd::scale::Scale> {
    context.custom_version()?.1.scale.as_ref()
}

/// Managed fields of a Scale have no times, and so stand before others of their operation.
fn forget_times(object: &mut Value) {
    let entries = object
        .pointer_mut("/metadata/managedFields")
        .and_then(Value::as_array_mut);
    let Some(entries) = entries else { return };
    for entry in entries.iter_mut().filter(|entry| entry["subresource"] == "scale") {
        if let Some(entry) = entry.as_object_mut() {
            entry.remove("time");
        }
    }
    let order = |entry: &Value| {
        let time = entry["time"].as_str().unwrap_or_default();
        (entry["operation"] != "Apply", time.to_owned())
    };
    entries.sort_by_key(order);
}

/// The Scale of a workload.
pub(crate) fn of(context: &Context, object: &Value) -> Value {
    let mut meta = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object["metadata"].get(field) {
            meta[field] = value.clone();
        }
    }
    let mut scale =
        json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta, "spec": {}, "status": {}});
    if let Some(replicas) = object["spec"]["replicas"].as_i64().filter(|r| *r != 0) {
        scale["spec"]["replicas"] = replicas.into();
    }
    scale["status"]["replicas"] = object["status"]["replicas"].as_i64().unwrap_or(0).into();
    let selector = selector_text(context, object);
    if !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    scale
}

fn selector_text(context: &Context, object: &Value) -> String {
    let selector = &object["spec"]["selector"];
    let labels = if context.resource.group.is_empty() {
        selector
    } else {
        &selector["matchLabels"]
    };
    let pairs = labels.as_object().into_iter().flatten();
    let mut terms: Vec<String> = pairs
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    for e in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = e["key"].as_str().unwrap_or_default();
        let values: Vec<&str> = e["values"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        terms.push(match e["operator"].as_str() {
            Some("In") => format!("{key} in ({})", values.join(",")),
            Some("NotIn") => format!("{key} notin ({})", values.join(",")),
            Some("Exists") => key.to_owned(),
            _ => format!("!{key}"),
        });
    }
    terms.sort();
    terms.join(",")
}

/// Admits the Scale of an object that is about to be written. Webhooks may change its count.
pub(crate) async fn admit(
    context: &Context,
    admission: &Admission<'_>,
    new: &mut Value,
    old: &Value,
) -> Result<(), Status> {
    let bad = |error: engenho_crd::scale::ScaleError| Status::bad_request(error.to_string());
    let Some(paths) = custom(context) else {
        let mut scale = of(context, new);
        let wanted = scale["spec"]["replicas"].clone();
        admission.review(&mut scale, Some(&of(context, old))).await?;
        if scale["spec"]["replicas"] != wanted {
            new["spec"]["replicas"] = scale["spec"]["replicas"].as_i64().unwrap_or_default().into();
        }
        return Ok(());
    };
    let (before, _) = paths.view(old).map_err(bad)?;
    let (mut scale, was_set) = paths.view(new).map_err(bad)?;
    let wanted = scale["spec"]["replicas"].clone();
    admission.review(&mut scale, Some(&before)).await?;
    if scale["spec"]["replicas"] != wanted {
        paths.put(new, &scale, was_set).map_err(bad)?;
    }
    Ok(())
}

async fn change(
    context: &Context,
    options: &WriteOptions,
    make: impl Fn(&Value) -> Result<Value, Status>,
) -> Result<Response<Body>, Status> {
    let name = context.info.path_name.as_str();
    let plan = Plan {
        create: false,
        uid_is_precondition: false,
        ..Plan::update(context, name, "scale", options)
    };
    let at = now(context);
    let (_, stored) = write::run(context, &plan, |live| {
        let live = live.ok_or_else(|| context.not_found(name))?;
        if let Some(paths) = custom(context) {
            let bad = |error: engenho_crd::scale::ScaleError| Status::bad_request(error.to_string());
            let (scale, was_set) = paths.view(live).map_err(bad)?;
            let mut scale = make(&scale)?;
            codec::drop_nulls(&mut scale);
            let mut new = live.clone();
            paths.put(&mut new, &scale, was_set).map_err(bad)?;
            object::set_meta(&mut new, "resourceVersion", object::resource_version(&scale));
            let mut booked = fields::update(context, "scale", Some(live), new, &options.manager, &at);
            forget_times(&mut booked);
            return Ok(booked);
        }
        let mut scale = make(&of(context, live))?;
        codec::drop_nulls(&mut scale);
        let replicas = match &scale["spec"]["replicas"] {
            Value::Null => 0,
            value => value
                .as_i64()
                .ok_or_else(|| Status::bad_request("spec.replicas is not an integer"))?,
        };
        if replicas < 0 {
            let error = FieldError::invalid("spec.replicas", replicas, "must be greater than or equal to 0");
            return Err(Status::invalid("autoscaling", "Scale", name, &[error]));
        }
        let mut new = live.clone();
        if new["spec"].is_null() {
            new["spec"] = json!({});
        }
        new["spec"]["replicas"] = replicas.into();
        object::set_meta(&mut new, "resourceVersion", object::resource_version(&scale));
        let mut booked = fields::update(context, "scale", Some(live), new, &options.manager, &at);
        forget_times(&mut booked);
        Ok(booked)
    })
    .await?;
    let scale = match custom(context) {
        Some(paths) => paths.view(&stored).map_err(|e| Status::bad_request(e.to_string()))?.0,
        None => of(context, &stored),
    };
    context.scale(StatusCode::OK, &scale)
}
