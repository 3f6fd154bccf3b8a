//! POST: a new object.

use std::time::Duration;

use http::{Response, StatusCode};
use serde_json::Value;
use tokio::sync::OwnedMutexGuard;

use crate::admit::{self, Admission};
use crate::body::Body;
use crate::codec::{self, Expected};
use crate::context::Context;
use crate::options::WriteOptions;
use crate::status::Status;
use crate::storage::{Along, WriteFailure};
use crate::validate::meta;
use crate::write::{check_namespace, now};
use crate::{convert, custom, fields, kinds, leases, object, random, services, strategy};

/// How long a Pod waits for the account that it runs as.
const ACCOUNT_WAIT: Duration = Duration::from_millis(1_500);
const ACCOUNT_POLL: Duration = Duration::from_millis(25);
/// How often another name is generated when one is taken.
const GENERATE_MAX: usize = 8;

pub(crate) async fn handle(context: &Context) -> Result<Response<Body>, Status> {
    let options = WriteOptions::read(&context.info.query, &context.headers, "CreateOptions", false)?;
    let mut object = body(context, &options).await?;
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        object::remove_meta(&mut object, field);
    }
    if let Some(answer) = leases::accept_write(context, object::name(&object), &object) {
        return answer;
    }
    let object = fields::update(context, "", None, object, &options.manager, &now(context));
    let created = store(context, object, &options, true).await?;
    context.object(StatusCode::CREATED, &created)
}

/// The body, decoded and defaulted.
pub(crate) async fn body(context: &Context, options: &WriteOptions) -> Result<Value, Status> {
    let format = codec::format(&context.headers)?;
    let bytes = context.read_body().await?;
    let mut warnings = Vec::new();
    let expected = Expected::of(&context.resource);
    let mut object = match context.custom_version() {
        Some((custom, version)) => codec::decode_custom(
            &bytes,
            format,
            &expected,
            &context.catalog,
            (&custom.definition, version),
            options.validation,
            &mut warnings,
        )?,
        None => codec::decode_object(
            &bytes,
            format,
            &expected,
            &context.catalog,
            options.validation,
            &mut warnings,
        )?,
    };
    context.warnings.lock().append(&mut warnings);
    complete(context, &mut object);
    context.audit_object(&object);
    Ok(object)
}

/// Defaults that count as the client's own: they are booked to its field manager.
pub(crate) fn complete(context: &Context, object: &mut Value) {
    let resource = &context.resource;
    if let Some((_, version)) = context.custom_version() {
        version.default(object);
        return;
    }
    strategy::default(resource, object);
    if resource.group.is_empty() && resource.plural == "namespaces" && !object::name(object).is_empty() {
        strategy::keep_namespace_label(object);
    }
    if resource.group == "apps" && resource.plural == "daemonsets" {
        strategy::begin_template_generation(object);
    }
}

/// Stores a new object and gives it as stored. `checks_revision`: a resourceVersion in it is an error.
pub(crate) async fn store(
    context: &Context,
    mut object: Value,
    options: &WriteOptions,
    checks_revision: bool,
) -> Result<Value, Status> {
    let resource = &context.resource;
    strategy::finish(resource, &mut object);
    check_namespace(context, &object)?;
    if resource.namespaced {
        object::set_meta(&mut object, "namespace", context.info.namespace.as_str());
    } else {
        object::remove_meta(&mut object, "namespace");
    }
    if checks_revision && !object::resource_version(&object).is_empty() {
        return Err(Status::untyped(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    for field in [
        "resourceVersion",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
    ] {
        object::remove_meta(&mut object, field);
    }
    let entropy = &*context.server.deps.entropy;
    let prefix = object::generate_name(&object).to_owned();
    let generated = object::name(&object).is_empty() && !prefix.is_empty();
    object::set_meta(&mut object, "uid", random::uuid(entropy));
    object::set_meta(&mut object, "creationTimestamp", now(context));
    wait_for_account(context, &object).await;
    let _turn = turn_at_quotas(context).await?;
    let base = object;
    let mut linearized = admit::concern(context)?;
    if linearized {
        context.linearize().await?;
    }
    let mut tries = 0;
    loop {
        tries += 1;
        let mut object = base.clone();
        if generated {
            object::set_meta(&mut object, "name", random::name(entropy, &prefix));
        }
        let along = match prepare(context, &mut object, options.dry_run, generated).await {
            // What is missed or in the way may be otherwise by now, and not yet so on this replica.
            Err(status) if !linearized && (400..500).contains(&status.code) => {
                context.linearize().await?;
                linearized = true;
                continue;
            }
            along => along?,
        };
        let name = object::name(&object).to_owned();
        let taken = || {
            if prefix.is_empty() {
                Status::already_exists(context.gr(), &name)
            } else {
                Status::generated_name_exists(context.gr(), &name)
            }
        };
        let key = resource.storage_key(&context.info.namespace, &name);
        if options.dry_run {
            context.linearize().await?;
            return if context.storage().get(&key)?.is_some() {
                Err(taken())
            } else {
                Ok(object)
            };
        }
        let (kind, api_version) = convert::stored_as(resource);
        let encoded = object::encode(&custom::stored(context, object.clone()).await?, kind, &api_version);
        match context.storage().write(resource, &key, &encoded, 0, along).await {
            Ok(revision) => {
                object::set_meta(&mut object, "resourceVersion", revision.to_string());
                return Ok(object);
            }
            Err(WriteFailure::Conflict(_)) if generated && tries < GENERATE_MAX => {}
            Err(WriteFailure::Conflict(_)) => return Err(taken()),
            // Something that it depends on changed meanwhile: look again.
            Err(WriteFailure::Guarded) if tries < GENERATE_MAX => linearized = false,
            Err(WriteFailure::Guarded) => {
                return Err(Status::unavailable("what the object depends on changes too often"));
            }
            Err(WriteFailure::Status(status)) => return Err(status),
        }
    }
}

/// Completes and checks a new object. Gives what has to be so, and is written, with it.
async fn prepare(context: &Context, object: &mut Value, dry_run: bool, generated: bool) -> Result<Along, Status> {
    let resource = &context.resource;
    let name = object::name(object).to_owned();
    let mut along = admit::create(context, &name)?;
    if let Some(warning) = engenho_warnings::dedup_owner_references(object, false) {
        context.warn(warning);
    }
    let admission = Admission::create(context, &name, dry_run).generated(generated);
    admission.mutate(object, None).await?;
    if services::concerns(context) {
        along.and(services::create(context, object)?);
    }
    match context.custom_version() {
        Some((custom, _)) if custom.definition.terminating => {
            let text = "create not allowed while custom resource definition is terminating";
            return Err(Status::forbidden(context.gr(), &name, text));
        }
        Some((_, version)) => engenho_crd::strategy::prepare_create(version, object),
        None => strategy::prepare_create(resource, object, context.server.deps.clock.unix_ms()),
    }
    if resource.group == "certificates.k8s.io" {
        strategy::signing::prepare_create(object, &context.identity);
    }
    let mut errors = meta::validate(object, resource);
    errors.extend(engenho_validation::create(
        &resource.group,
        &resource.version,
        &resource.plural,
        object,
    ));
    if let Some((custom, version)) = context.custom_version() {
        let found = engenho_crd::instance::create(&custom.definition, version, object);
        found.warnings.into_iter().for_each(|warning| context.warn(warning));
        errors.extend(found.errors);
    }
    if !errors.is_empty() {
        return Err(context.invalid_object(&name, object, &errors));
    }
    admit::rbac(context, &name, object, None).await?;
    let (group, version, plural) = (&*resource.group, &*resource.version, &*resource.plural);
    let warnings = if kinds::is_custom(resource) {
        engenho_warnings::custom_resource(object, None)
    } else {
        engenho_warnings::create(group, version, plural, object)
    };
    warnings.into_iter().for_each(|warning| context.warn(warning));
    along.and(admission.validate(object, None).await?);
    // Whoever reads it finds the defaults of what plugins added as well.
    if context.custom_version().is_none() {
        strategy::default(resource, object);
        strategy::finish(resource, object);
    }
    Ok(along)
}

/// Creations in a namespace with quotas change the same objects.
async fn turn_at_quotas(context: &Context) -> Result<Option<OwnedMutexGuard<()>>, Status> {
    let namespace = &context.info.namespace;
    let quotas = context.catalog.resource("", "v1", "resourcequotas");
    let Some(quotas) = quotas.filter(|_| context.resource.namespaced) else {
        return Ok(None);
    };
    if context
        .storage()
        .list(&quotas.storage_namespace_prefix(namespace))?
        .kvs
        .is_empty()
    {
        return Ok(None);
    }
    let server = &context.server;
    let patience = Duration::from_millis(server.deps.options.consensus_timeout_ms);
    Ok(server.turns.wait(namespace, patience).await)
}

/// The account that pods of a new namespace run as is made by a controller: it is waited for.
async fn wait_for_account(context: &Context, object: &Value) {
    let account = object["spec"]["serviceAccountName"].as_str().unwrap_or_default();
    let resource = &context.resource;
    if !resource.group.is_empty() || resource.plural != "pods" || !matches!(account, "" | "default") {
        return;
    }
    let Some(accounts) = context.catalog.resource("", "v1", "serviceaccounts") else {
        return;
    };
    let namespaces = context.catalog.resource("", "v1", "namespaces");
    let namespace = namespaces.map(|of| of.storage_key("", &context.info.namespace));
    let key = accounts.storage_key(&context.info.namespace, "default");
    let deadline = tokio::time::Instant::now() + ACCOUNT_WAIT;
    loop {
        let nowhere = namespace
            .as_ref()
            .is_none_or(|key| context.storage().revision_of(key).is_none());
        if nowhere || context.storage().revision_of(&key).is_some() || tokio::time::Instant::now() >= deadline {
            return;
        }
        tokio::time::sleep(ACCOUNT_POLL).await;
    }
}
