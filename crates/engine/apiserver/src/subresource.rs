//! Subresources: status, scale, finalize, approval, binding, eviction.

use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::admit::{self, Admission};
use crate::body::Body;
use crate::codec::{self, Expected};
use crate::context::Context;
use crate::options::WriteOptions;
use crate::scale;
use crate::status::{GroupResource, Status};
use crate::verbs::{delete, get, patch, update};
use crate::write::{self, Plan, now};
use crate::{fields, object, options, selector, tokens};

pub(crate) async fn handle(context: &Context) -> Result<Response<Body>, Status> {
    let info = &context.info;
    let Some(sub) = context.resource.subresource(&info.subresource) else {
        return Err(Status::no_such_resource());
    };
    if !info.rest.is_empty() && !sub.serves_paths_below() {
        return Err(Status::no_such_resource());
    }
    let served = engenho_catalog::Verb::parse(&info.verb).is_some_and(|v| sub.verbs.contains(v));
    if !served {
        return Err(Status::method_not_allowed());
    }
    match (info.subresource.as_str(), info.verb.as_str()) {
        ("scale", _) => scale::handle(context).await,
        ("binding", "create") => {
            let mut review = body_of(context, "", "v1", "Binding").await?;
            post(context, &mut review).await?;
            bind(context, &info.path_name, &review).await
        }
        ("eviction", "create") => evict(context).await,
        ("token", "create") => tokens::request::create(context).await,
        _ if sub.connect || sub.plain_text => {
            if info.subresource == "log" {
                for bound in ["limitBytes", "sinceSeconds", "tailLines"] {
                    options::integer(&info.query, bound)?;
                }
            }
            // The object is looked up first, as upstream does: what isn't there cannot be connected to.
            context.prepare_read(None).await?;
            if context.storage().get(&context.key(&info.path_name))?.is_none() {
                return Err(context.not_found(&info.path_name));
            }
            if sub.connect {
                admit::connect(context, sub).await?;
            }
            Err(Status::unavailable(&format!(
                "{} is not served by this member",
                info.subresource
            )))
        }
        (_, "get") => get::handle(context).await,
        (name, "update") => update::through(context, name).await,
        (name, "patch") => patch::through(context, name).await,
        _ => Err(Status::method_not_allowed()),
    }
}

/// A body of another kind than the resource's.
pub(crate) async fn body_of(context: &Context, group: &str, version: &str, kind: &str) -> Result<Value, Status> {
    let options = WriteOptions::read(&context.info.query, &context.headers, "CreateOptions", false)?;
    let format = codec::format(&context.headers)?;
    let bytes = context.read_body().await?;
    let mut warnings = Vec::new();
    let expected = Expected { group, version, kind };
    let value = codec::decode_object(
        &bytes,
        format,
        &expected,
        &context.catalog,
        options.validation,
        &mut warnings,
    )?;
    context.warnings.lock().append(&mut warnings);
    context.audit_object(&value);
    Ok(value)
}

/// Admits what is posted to a subresource.
async fn post(context: &Context, body: &mut Value) -> Result<(), Status> {
    let dry_run = options::dry_run(context.info.query.all("dryRun"), &mut Vec::new());
    let admission = Admission::post(context, &context.info.subresource, &context.info.path_name, dry_run);
    admission.mutate(body, None).await?;
    admission.validate(body, None).await.map(drop)
}

const PODS: GroupResource<'static> = GroupResource {
    group: "",
    resource: "pods",
};

/// Assigns a Pod to a node.
pub(crate) async fn bind(context: &Context, name: &str, binding: &Value) -> Result<Response<Body>, Status> {
    let node = binding["target"]["name"].as_str().unwrap_or_default().to_owned();
    if node.is_empty() {
        let error = crate::status::FieldError::required("target.name", "");
        return Err(Status::invalid("", "Binding", name, &[error]));
    }
    let pods = context
        .for_resource("", "v1", "pods")
        .ok_or_else(Status::no_such_resource)?;
    let options = WriteOptions::read(&context.info.query, &context.headers, "CreateOptions", false)?;
    let plan = Plan {
        name,
        subresource: "binding",
        options: &options,
        conflicts_max: 5,
        create: false,
        uid_is_precondition: false,
    };
    let at = now(context);
    write::run(&pods, &plan, |live| {
        let mut pod = live.cloned().unwrap_or_default();
        let conflict = |text: String| {
            Err(Status::conflict(
                GroupResource {
                    resource: "pods/binding",
                    ..PODS
                },
                name,
                &text,
            ))
        };
        let uid = object::uid(binding);
        if !uid.is_empty() && uid != object::uid(&pod) {
            return conflict(format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                object::uid(&pod)
            ));
        }
        if object::is_terminating(&pod) {
            return conflict(format!("pod {name} is being deleted, cannot be assigned to a host"));
        }
        if let Some(have) = pod["spec"]["nodeName"].as_str().filter(|n| !n.is_empty()) {
            return conflict(format!("pod {name} is already assigned to node {have:?}"));
        }
        pod["spec"]["nodeName"] = node.as_str().into();
        for (key, value) in binding["metadata"]["annotations"].as_object().into_iter().flatten() {
            engenho_patch::meta::set_annotation(&mut pod, key, value.as_str().unwrap_or_default());
        }
        set_condition(
            &mut pod,
            json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": at}),
        );
        Ok(fields::update(&pods, "binding", live, pod, &options.manager, &at))
    })
    .await?;
    Ok(done(context))
}

/// The answer to a binding or an eviction.
pub(crate) fn done(context: &Context) -> Response<Body> {
    let answer = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    context.plain(StatusCode::CREATED, &answer)
}

fn set_condition(pod: &mut Value, condition: Value) {
    if pod["status"].is_null() {
        pod["status"] = Value::Object(Map::new());
    }
    let list = &mut pod["status"]["conditions"];
    if !list.is_array() {
        *list = json!([]);
    }
    if let Some(conditions) = list.as_array_mut() {
        conditions.retain(|c| c["type"] != condition["type"]);
        conditions.push(condition);
    }
}

/// Deletes a Pod, if its disruption budget lets it.
async fn evict(context: &Context) -> Result<Response<Body>, Status> {
    let mut eviction = body_of(context, "policy", "v1", "Eviction").await?;
    let name = &context.info.path_name;
    let have = object::name(&eviction);
    if !have.is_empty() && have != name {
        return Err(Status::bad_request(
            "name in URL does not match name in Eviction object",
        ));
    }
    context.prepare_read(None).await?;
    post(context, &mut eviction).await?;
    let stored = context
        .storage()
        .get(&context.key(name))?
        .ok_or_else(|| context.not_found(name))?;
    let pod = get::served(context, &stored.bytes).await?;
    let options = delete::DeleteOptions::from_value(&eviction["deleteOptions"])?;
    let free = matches!(
        pod["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed" | "Pending")
    ) || object::is_terminating(&pod);
    if !free {
        check_budget(context, &pod)?;
    }
    delete::delete(context, name, &options).await?;
    Ok(done(context))
}

/// Refuses an eviction that the Pod's one budget doesn't allow.
fn check_budget(context: &Context, pod: &Value) -> Result<(), Status> {
    let prefix = format!("/registry/policy/poddisruptionbudgets/{}/", context.info.namespace);
    let mut budgets = Vec::new();
    for kv in &context.storage().list(&prefix)?.kvs {
        let stored = context.storage().open(kv)?;
        let budget: Value = crate::context::parse_stored(&stored.bytes)?;
        if selector::selects(&budget["spec"]["selector"], pod) {
            budgets.push(budget);
        }
    }
    match budgets.as_slice() {
        [] => Ok(()),
        [budget] => {
            let observed = budget["status"]["observedGeneration"].as_i64().unwrap_or(0);
            let name = object::name(budget);
            if observed < object::generation(budget) {
                let text = format!("The disruption budget {name} is still being processed by the server.");
                return Err(Status::eviction_refused(&text, 10));
            }
            let allowed = budget["status"]["disruptionsAllowed"].as_i64().unwrap_or(0);
            if allowed > 0 {
                return Ok(());
            }
            let number = |key: &str| budget["status"][key].as_i64().unwrap_or(0);
            let text = format!(
                "The disruption budget {name} needs {} healthy pods and has {} currently",
                number("desiredHealthy"),
                number("currentHealthy")
            );
            Err(Status::eviction_refused(&text, 0))
        }
        _ => Err(Status::untyped(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        )),
    }
}
