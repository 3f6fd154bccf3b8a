//! MutatingAdmissionWebhook and ValidatingAdmissionWebhook: servers elsewhere that complete and judge requests.

mod cache;
mod hook;
mod review;

use std::collections::BTreeSet;
use std::time::Duration;

use engenho_admission::Lookup;
use engenho_catalog::Resource;
use engenho_cel::Bindings;
use engenho_patch::json_patch;
use futures_util::future::join_all;
use serde_json::{Value, json};

pub(crate) use cache::Webhooks;
use hook::Webhook;
use review::ReviewVersion;

use super::lookup::Stored;
use super::policies::{Asked, Attributes, Matched, by_rules, conditions_hold, in_namespace, selects_object};
use crate::codec::{self, Expected, Format};
use crate::context::Context;
use crate::options::FieldValidation;
use crate::status::{GroupResource, Status};
use crate::verbs::create;
use crate::{custom, random};

/// Webhooks and policies are not asked about themselves: one that refuses everything could never be taken back.
const EXEMPT: [&str; 6] = [
    "validatingwebhookconfigurations",
    "mutatingwebhookconfigurations",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
];
/// Longest answer of a webhook.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Whether webhooks have a say about the request at all. The answer to a request that was answered before is found
/// without them.
fn are_asked(context: &Context) -> bool {
    let resource = &context.resource;
    let exempt = resource.group == "admissionregistration.k8s.io" && EXEMPT.contains(&&*resource.plural);
    !exempt && !context.storage().is_replaying()
}

/// Whether the request may go to a webhook. Then it is first made sure that what is known here is not outdated: a
/// webhook is asked once, where others are looked up again.
pub(crate) fn concern(context: &Context) -> Result<bool, Status> {
    if !are_asked(context) {
        return Ok(false);
    }
    let (server, resource) = (&context.server, &context.resource);
    let storage = &server.storage;
    let about = |webhook: &std::sync::Arc<Webhook>| webhook.concerns(&resource.group, &resource.plural);
    Ok(server.webhooks.mutating(storage)?.iter().any(about) || server.webhooks.validating(storage)?.iter().any(about))
}

/// What becomes of one request that is shown to webhooks once or twice.
#[derive(Default)]
pub(super) struct Rounds {
    round: usize,
    /// The object as webhooks left it.
    left: Value,
    /// Those called that want to see later changes.
    called: BTreeSet<String>,
    /// Those that are to be called again.
    wanted: BTreeSet<String>,
    /// Whether one of them changed the object.
    changed: bool,
}

impl Rounds {
    /// Whether there is to be another round.
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// Begins the second round, with the object as it is now.
    pub fn again(&mut self, object: &Value) {
        self.round = 1;
        if self.left != *object {
            self.want_again();
        }
    }

    fn want_again(&mut self) {
        self.wanted.append(&mut self.called);
    }
}

/// Why a webhook did not let a request through.
enum Failure {
    /// It could not be asked, or its answer is none.
    Call(String),
    /// It said so, or there is no way to do what it said.
    Refused(Status),
}

/// The request as a webhook sees it.
struct Seen<'a> {
    matched: Matched<'a>,
    object: Value,
    old: Value,
}

/// The webhook's view of the request, if it is about it.
async fn seen<'a>(webhook: &Webhook, attributes: &Attributes<'a>) -> Result<Option<Seen<'a>>, Status> {
    let Some(matched) = matches(webhook, attributes)? else {
        return Ok(None);
    };
    let context = attributes.context;
    let own = attributes.kind().name == context.resource.kind.as_ref();
    let (mut object, mut old) = (attributes.object.clone(), attributes.old.clone());
    if let Some(version) = matched.version.filter(|_| own) {
        object = custom::between(context, &context.resource, version, object).await?;
        old = custom::between(context, &context.resource, version, old).await?;
    }
    let seen = Seen { matched, object, old };
    Ok(holds(webhook, attributes, &seen).await?.then_some(seen))
}

/// Whether rules and selectors of a webhook choose the request.
fn matches<'a>(webhook: &Webhook, attributes: &Attributes<'a>) -> Result<Option<Matched<'a>>, Status> {
    let namespace = || {
        let name = attributes.namespace();
        let found = Stored(attributes.context).get("", "namespaces", "", name)?;
        found.ok_or_else(|| {
            let namespaces = GroupResource {
                group: "",
                resource: "namespaces",
            };
            Status::not_found(namespaces, name)
        })
    };
    let inside = in_namespace(&webhook.namespace_selector, attributes, &namespace);
    if matches!(inside, Ok(false)) || !selects_object(&webhook.object_selector, attributes) {
        return Ok(None);
    }
    let matched = by_rules(&webhook.rules, !webhook.equivalent, attributes);
    match inside {
        Err(status) if matched.is_some() => Err(status),
        _ => Ok(matched),
    }
}

/// Whether the match conditions of a webhook hold.
async fn holds(webhook: &Webhook, attributes: &Attributes<'_>, seen: &Seen<'_>) -> Result<bool, Status> {
    if webhook.conditions.is_empty() {
        return Ok(true);
    }
    let context = attributes.context;
    let requested = attributes.requested();
    let request = attributes.request(&requested, &seen.matched.kind);
    let asked = Asked::new(context);
    loop {
        let held = {
            let bindings = Bindings::new()
                .with("object", &seen.object)
                .with("oldObject", &seen.old)
                .with("request", &request)
                .with("namespaceObject", &Value::Null)
                .with_authorizer(&asked, attributes.check());
            conditions_hold(&webhook.conditions, !webhook.ignores_failure, &bindings)
        };
        if !asked.settle().await {
            return held.map_err(|error| Status::forbidden(context.gr(), attributes.name, &error));
        }
    }
}

/// Asks a webhook.
async fn ask(
    webhook: &Webhook,
    attributes: &Attributes<'_>,
    seen: &Seen<'_>,
    mutating: bool,
) -> Result<review::Answer, Failure> {
    let context = attributes.context;
    let server = &context.server;
    if attributes.dry_run && webhook.side_effects {
        let text = format!("admission webhook {:?} does not support dry run", webhook.name);
        return Err(Failure::Refused(Status::bad_request(text)));
    }
    let version = ReviewVersion::choose(&webhook.review_versions).map_err(Failure::Call)?;
    let uid = random::uuid(&*server.deps.entropy);
    let mut request = attributes.request(&seen.matched.resource, &seen.matched.kind);
    request["uid"] = uid.as_str().into();
    request["object"] = seen.object.clone();
    request["oldObject"] = seen.old.clone();
    let review = version.ask(request);
    let timeout = webhook.timeout.min(context.time_left());
    let answered = webhook.place.post(server, &review, timeout, ANSWER_BYTES_MAX).await;
    let answered = answered.map_err(|reason| Failure::Call(format!("failed to call webhook: {reason}")))?;
    let answer = review::read(version, &uid, mutating, &answered).map_err(Failure::Call)?;
    for (key, value) in &answer.annotations {
        context.annotate(format!("{}/{key}", webhook.name), value.clone());
    }
    for warning in &answer.warnings {
        context.warn(warning);
    }
    if answer.allowed {
        return Ok(answer);
    }
    Err(Failure::Refused(review::denial(&webhook.name, &answer.status)))
}

/// What a failure means for the request.
fn settle(webhook: &Webhook, context: &Context, failure: Failure, failed_open: String) -> Result<(), Status> {
    match failure {
        Failure::Call(reason) => {
            let text = format!("failed calling webhook {:?}: {reason}", webhook.name);
            if !webhook.ignores_failure {
                return Err(Status::internal(text));
            }
            tracing::warn!(error = %text, "a webhook failed, and the request goes on without it");
            context.annotate(failed_open, webhook.name.clone());
            if context.time_left() == Duration::ZERO {
                return Err(Status::timeout("request did not complete within requested timeout"));
            }
            Ok(())
        }
        Failure::Refused(status) => Err(status),
    }
}

/// Lets webhooks change the object, one after the other.
pub(super) async fn mutate(attributes: &Attributes<'_>, object: &mut Value, rounds: &mut Rounds) -> Result<(), Status> {
    let context = attributes.context;
    if !are_asked(context) {
        return Ok(());
    }
    let webhooks = context.server.webhooks.mutating(&context.server.storage)?;
    let round = rounds.round;
    for (i, webhook) in webhooks.iter().enumerate() {
        let changed = {
            let now = Attributes {
                object: &*object,
                ..*attributes
            };
            let Some(seen) = seen(webhook, &now).await? else {
                continue;
            };
            if round > 0 && !rounds.wanted.contains(&webhook.uid) {
                continue;
            }
            let called = Box::pin(change(webhook, &now, &seen, (round, i))).await;
            let mutated = matches!(&called, Ok(Some(changed)) if changed.mutated);
            let note = json!({"configuration": webhook.configuration, "webhook": webhook.name, "mutated": mutated});
            let key = format!("mutation.webhook.admission.k8s.io/round_{round}_index_{i}");
            context.annotate(key, note.to_string());
            if mutated {
                rounds.want_again();
                rounds.changed = true;
            }
            if webhook.reinvoked {
                rounds.called.insert(webhook.uid.clone());
            }
            match called {
                Ok(changed) => changed,
                Err(failure) => {
                    let key = format!("failed-open.mutation.webhook.admission.k8s.io/round_{round}_index_{i}");
                    settle(webhook, context, failure, key)?;
                    None
                }
            }
        };
        if let Some(changed) = changed {
            *object = changed.object;
        }
    }
    rounds.left = object.clone();
    Ok(())
}

/// What a webhook made of the object.
struct Changed {
    object: Value,
    mutated: bool,
}

/// Asks a webhook for its changes and makes them.
async fn change(
    webhook: &Webhook,
    attributes: &Attributes<'_>,
    seen: &Seen<'_>,
    (round, index): (usize, usize),
) -> Result<Option<Changed>, Failure> {
    let answer = ask(webhook, attributes, seen, true).await?;
    if answer.patch.is_empty() {
        return Ok(None);
    }
    let patch = json_patch::parse(&answer.patch)
        .map_err(|error| Failure::Call(format!("received undecodable patch in webhook response: {error}")))?;
    if patch.is_empty() {
        return Ok(None);
    }
    let internal = |text: String| Failure::Refused(Status::internal(text));
    if seen.object.is_null() {
        return Err(internal(format!(
            "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
            webhook.name
        )));
    }
    if answer.patch_type != "JSONPatch" {
        let text = format!("unsupported patch type {:?}", answer.patch_type);
        return Err(Failure::Call(text));
    }
    let patched = patch
        .apply(seen.object.clone())
        .map_err(|error| internal(error.to_string()))?;
    let context = attributes.context;
    let of = seen.matched.version.unwrap_or(&context.resource);
    let own = attributes.kind().name == context.resource.kind.as_ref();
    let mut object = decode(context, of, &seen.matched, own, patched).map_err(|status| internal(status.message))?;
    let mutated = object != seen.object;
    let note = json!({
        "configuration": webhook.configuration,
        "webhook": webhook.name,
        "patch": serde_json::from_slice::<Value>(&answer.patch).unwrap_or_default(),
        "patchType": answer.patch_type,
    });
    let key = format!("patch.webhook.admission.k8s.io/round_{round}_index_{index}");
    context.annotate(key, note.to_string());
    if own {
        if let Some(there) = context.for_resource(&of.group, &of.version, &of.plural) {
            create::complete(&there, &mut object);
        }
        if seen.matched.version.is_some() {
            let back = custom::between(context, of, &context.resource, object).await;
            object = back.map_err(|status| internal(status.message))?;
        }
    }
    Ok(Some(Changed { object, mutated }))
}

/// A patched object as its kind has it.
fn decode(context: &Context, of: &Resource, matched: &Matched<'_>, own: bool, patched: Value) -> Result<Value, Status> {
    let expected = Expected {
        group: &matched.kind.group,
        version: &matched.kind.version,
        kind: &matched.kind.name,
    };
    let bytes = patched.to_string().into();
    let (catalog, ignore) = (&context.catalog, FieldValidation::Ignore);
    let custom = own.then(|| context.served.custom(of)).flatten();
    match custom.and_then(|custom| Some((custom, custom.version()?))) {
        Some((custom, version)) => {
            let of = (&*custom.definition, version);
            codec::decode_custom(&bytes, Format::Json, &expected, catalog, of, ignore, &mut Vec::new())
        }
        None => codec::decode_object(&bytes, Format::Json, &expected, catalog, ignore, &mut Vec::new()),
    }
}

/// Lets webhooks judge the request, all at once. The first refusal counts.
pub(super) async fn validate(attributes: &Attributes<'_>) -> Result<(), Status> {
    let context = attributes.context;
    if !are_asked(context) {
        return Ok(());
    }
    let webhooks = context.server.webhooks.validating(&context.server.storage)?;
    let mut asked = Vec::new();
    for webhook in webhooks.iter() {
        if let Some(seen) = seen(webhook, attributes).await? {
            asked.push((webhook, seen));
        }
    }
    if asked.is_empty() {
        return Ok(());
    }
    let judged = asked.iter().enumerate().map(|(i, (webhook, seen))| async move {
        match ask(webhook, attributes, seen, false).await {
            Ok(_) => Ok(()),
            Err(failure) => {
                let key = format!("failed-open.validating.webhook.admission.k8s.io/round_0_index_{i}");
                settle(webhook, context, failure, key)
            }
        }
    });
    join_all(judged).await.into_iter().collect()
}
