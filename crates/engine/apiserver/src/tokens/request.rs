//! `serviceaccounts/NAME/token`: a token of the account, for an audience, for some time, bound to an object.

use engenho_authn::service_account::{
    EXPIRATION_S_DEFAULT, EXPIRATION_S_MAX, EXPIRATION_S_MIN, EXTENDED_S, WARN_ONLY_S, credential_id,
};
use engenho_authn::{Grant, Issuer, Reference};
use engenho_patch::managed::FieldManager;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::admit::Admission;
use crate::body::Body;
use crate::context::{Context, parse_stored};
use crate::options::WriteOptions;
use crate::status::{FieldError, GroupResource, Status};
use crate::subresource::body_of;
use crate::write::now;
use crate::{object, random};

const GROUP: &str = "authentication.k8s.io";
const KIND: &str = "TokenRequest";

/// Answers one request for a token.
pub(crate) async fn create(context: &Context) -> Result<Response<Body>, Status> {
    let Some(issuer) = context.server.deps.issuer.clone() else {
        return Err(Status::no_such_resource());
    };
    let options = WriteOptions::read(&context.info.query, &context.headers, "CreateOptions", false)?;
    let mut request = body_of(context, GROUP, "v1", KIND).await?;
    if request["spec"]["expirationSeconds"].is_null() {
        request["spec"]["expirationSeconds"] = EXPIRATION_S_DEFAULT.into();
    }
    context.prepare_read(None).await?;
    let at = now(context);
    let mut request = book(context, request, &options.manager, &at);
    let name = context.info.path_name.as_str();
    let admission = Admission::post(context, &context.info.subresource, name, options.dry_run);
    admission.mutate(&mut request, None).await?;

    let account = found(context, "serviceaccounts", &context.info.namespace, name)?;
    complete(context, &mut request, &account, &issuer, &at)?;
    admission.validate(&request, None).await?;
    let token = issue(context, &request, &account, &issuer)?;
    request["status"] = token;
    if request["spec"].get("boundObjectRef").is_none() {
        request["spec"]["boundObjectRef"] = Value::Null;
    }
    Ok(context.plain(StatusCode::CREATED, &request))
}

/// Books who set which field.
fn book(context: &Context, request: Value, manager: &str, at: &str) -> Value {
    let Some(schema) = context.catalog.schema(GROUP, "v1", KIND) else {
        return request;
    };
    let api_version = format!("{GROUP}/v1");
    FieldManager::new(schema, &api_version, KIND)
        .subresource(&context.info.subresource)
        .update_or_keep(None, request.clone(), manager, at)
}

/// Checks the request against the account, and fills in what it leaves open.
fn complete(context: &Context, request: &mut Value, account: &Value, issuer: &Issuer, at: &str) -> Result<(), Status> {
    let (name, namespace) = (context.info.path_name.as_str(), context.info.namespace.as_str());
    for (field, own, kind) in [("name", name, "name"), ("namespace", namespace, "namespace")] {
        let given = object::meta(request, field);
        if !given.is_empty() && given != own {
            let detail = format!("must match the service account {kind} if specified");
            let error = FieldError::invalid(format!("metadata.{field}"), given, &detail);
            return Err(Status::invalid(GROUP, KIND, name, &[error]));
        }
    }
    let (given, own) = (object::uid(request), object::uid(account));
    if !given.is_empty() && given != own {
        let gr = GroupResource {
            group: GROUP,
            resource: KIND,
        };
        let text =
            format!("the UID in the token request ({given}) does not match the UID of the service account ({own})");
        return Err(Status::conflict(gr, name, &text));
    }
    if request["spec"]["audiences"].as_array().is_none_or(Vec::is_empty) {
        request["spec"]["audiences"] = json!(issuer.audiences);
    }
    let own = own.to_owned();
    object::set_meta(request, "name", name);
    object::set_meta(request, "namespace", namespace);
    object::set_meta(request, "uid", own);
    object::set_meta(request, "creationTimestamp", at);
    if let Some(request) = request.as_object_mut() {
        request.remove("status");
    }
    let seconds = request["spec"]["expirationSeconds"].as_i64().unwrap_or_default();
    let mut errors = Vec::new();
    for (wrong, detail) in [
        (
            seconds < EXPIRATION_S_MIN,
            "may not specify a duration less than 10 minutes",
        ),
        (
            seconds > EXPIRATION_S_MAX,
            "may not specify a duration larger than 2^32 seconds",
        ),
    ] {
        if wrong {
            errors.push(FieldError::invalid("spec.expirationSeconds", seconds, detail));
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Status::invalid(GROUP, KIND, "", &errors))
    }
}

/// An object that has to be there.
fn found(context: &Context, plural: &str, namespace: &str, name: &str) -> Result<Value, Status> {
    let gr = GroupResource {
        group: "",
        resource: plural,
    };
    look_up(context, plural, namespace, name)?.ok_or_else(|| Status::not_found(gr, name))
}

fn look_up(context: &Context, plural: &str, namespace: &str, name: &str) -> Result<Option<Value>, Status> {
    let resource = context.catalog.resource("", "v1", plural);
    let Some(resource) = resource.filter(|_| !name.is_empty() && !name.contains('/')) else {
        return Ok(None);
    };
    let stored = context.storage().get(&resource.storage_key(namespace, name))?;
    stored.map(|stored| parse_stored(&stored.bytes)).transpose()
}

/// What a token is bound to.
#[derive(Default)]
struct Bound {
    pod: Option<Reference>,
    secret: Option<Reference>,
    node: Option<Reference>,
}

fn bind(context: &Context, reference: &Value) -> Result<Bound, Status> {
    let text = |key: &str| reference[key].as_str().unwrap_or_default();
    let (api_version, kind, name) = (text("apiVersion"), text("kind"), text("name"));
    let namespace = context.info.namespace.as_str();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let mut bound = Bound::default();
    let target = match (group, kind) {
        ("", "Pod") => {
            let pod = found(context, "pods", namespace, name)?;
            let account = &context.info.path_name;
            if pod["spec"]["serviceAccountName"].as_str().unwrap_or_default() != account {
                return Err(Status::bad_request(format!(
                    "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
                )));
            }
            if let Some(node) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) {
                // Where the pod is meant to be is told even if that node is gone.
                let live = look_up(context, "nodes", "", node)?;
                bound.node = Some(live.as_ref().map_or_else(
                    || Reference {
                        name: node.to_owned(),
                        uid: String::new(),
                    },
                    Reference::to,
                ));
            }
            bound.pod.insert(Reference::to(&pod))
        }
        ("", "Node") => bound.node.insert(Reference::to(&found(context, "nodes", "", name)?)),
        ("", "Secret") => bound
            .secret
            .insert(Reference::to(&found(context, "secrets", namespace, name)?)),
        _ => {
            let text = format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
            return Err(Status::bad_request(text));
        }
    };
    let wanted = text("uid");
    if !wanted.is_empty() && wanted != target.uid {
        let gr = GroupResource { group, resource: kind };
        let text = format!(
            "the UID in the bound object reference ({wanted}) does not match the UID in record. The object might have \
             been deleted and then recreated"
        );
        return Err(Status::conflict(gr, name, &text));
    }
    Ok(bound)
}

/// The token, with the time until which its holder should use it.
fn issue(context: &Context, request: &Value, account: &Value, issuer: &Issuer) -> Result<Value, Status> {
    let spec = &request["spec"];
    let bound = match &spec["boundObjectRef"] {
        Value::Null => Bound::default(),
        reference => bind(context, reference)?,
    };
    let audiences: Vec<String> = spec["audiences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|audience| audience.as_str().map(str::to_owned))
        .collect();
    let seconds = spec["expirationSeconds"].as_i64().unwrap_or(EXPIRATION_S_DEFAULT);
    let own = audiences.iter().all(|audience| issuer.audiences.contains(audience));
    // Pods with old clients keep their token for longer than they ask for, and are noted.
    let extended = bound.pod.is_some() && seconds == WARN_ONLY_S && own;
    let id = random::uuid(&*context.server.deps.entropy);
    let now_s = (context.server.deps.clock.unix_ms() / 1000).cast_signed();
    let token = issuer.issue(&Grant {
        namespace: &context.info.namespace,
        account: Reference::to(account),
        audiences: &audiences,
        pod: bound.pod,
        secret: bound.secret,
        node: bound.node,
        now_s,
        lifetime_s: if extended { EXTENDED_S } else { seconds },
        warn_after_s: extended.then_some(seconds),
        id: &id,
    });
    let token = token.map_err(|error| Status::internal(format!("failed to generate token: {error}")))?;
    if let Some(credential) = credential_id(&id) {
        context.annotate(
            "authentication.kubernetes.io/issued-credential-id".to_owned(),
            credential,
        );
    }
    let until_ms = now_s.saturating_add(seconds).saturating_mul(1000).cast_unsigned();
    Ok(json!({"token": token, "expirationTimestamp": crate::times::seconds(until_ms)}))
}
