//! The objects that a cluster begins with: namespaces, RBAC policy, priority classes, flow schemas, the Service
//! `kubernetes`.

use engenho_authz::RBAC_GROUP;
use engenho_authz::reconcile::{Reconciled, reconcile};
use engenho_catalog::{Resource, boot};
use engenho_store::Txn;
use serde_json::{Value, json};

use crate::context::parse_stored;
use crate::object::{self, Encoded};
use crate::server::ApiServer;
use crate::status::Status;
use crate::storage::Along;
use crate::{convert, fields, random, services, times};

/// Field manager of what the server itself writes.
const MANAGER: &str = "kube-apiserver";
/// Objects in one transaction, below etcd's bound.
const OBJECTS_MAX: usize = 100;

/// Creates what is missing, restores roles and bindings, and says how many objects it wrote; none if all is there. To be called on the leader, with
/// its term as `fence`: another leader's call then does no harm.
pub async fn bootstrap(api: &ApiServer, fence: Option<u64>) -> Result<usize, Status> {
    let storage = api.storage();
    storage.linearize().await.map_err(|e| storage.read_status(&e))?;
    let catalog = api.catalog();
    let mut missing: Vec<(&Resource, String, Encoded)> = Vec::new();
    let mut restored = 0;
    for mut object in boot::objects()
        .chain(Some(token_tracking(api)))
        .chain(kubernetes_service(api))
    {
        let api_version = object["apiVersion"].as_str().unwrap_or_default().to_owned();
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let Some(resource) = catalog.kind(group, version, object["kind"].as_str().unwrap_or_default()) else {
            continue;
        };
        let key = resource.storage_key(object::namespace(&object), object::name(&object));
        if storage.revision_of(&key).is_some() {
            if group == RBAC_GROUP {
                restored += usize::from(restore(api, resource, &key, &object, fence).await?);
            }
            continue;
        }
        complete(api, &mut object);
        let object = book(api, resource, object);
        missing.push((resource, key, encode(resource, object)));
    }
    let mut created = restored;
    for chunk in missing.chunks(OBJECTS_MAX) {
        let (compares, success) = storage.create_ops(chunk)?;
        if storage
            .txn(
                Txn {
                    compares,
                    success,
                    failure: Vec::new(),
                },
                fence,
            )
            .await?
        {
            created += chunk.len();
            continue;
        }
        // Somebody created one of them meanwhile: one by one then.
        for one in chunk {
            let (compares, success) = storage.create_ops(std::slice::from_ref(one))?;
            created += usize::from(
                storage
                    .txn(
                        Txn {
                            compares,
                            success,
                            failure: Vec::new(),
                        },
                        fence,
                    )
                    .await?,
            );
        }
    }
    Ok(created + services::claim_all(api, fence).await?)
}

fn encode(resource: &Resource, object: Value) -> Encoded {
    let (kind, api_version) = convert::stored_as(resource);
    object::encode(&convert::to_storage(resource, object), kind, &api_version)
}

/// Gives a role or binding back what it is made with, unless it says that it is not to be updated. Says whether something
/// was written.
async fn restore(
    api: &ApiServer,
    resource: &Resource,
    key: &str,
    expected: &Value,
    fence: Option<u64>,
) -> Result<bool, Status> {
    let storage = api.storage();
    let Some(stored) = storage.get(key)? else {
        return Ok(false);
    };
    let existing: Value = parse_stored(&stored.bytes)?;
    let mut along = Along::default();
    let written = match reconcile(expected, &existing) {
        None => return Ok(false),
        Some(Reconciled::Update(object)) => {
            let now = times::seconds(api.inner.deps.clock.unix_ms());
            let object = fields::update(resource, "", Some(&existing), object, MANAGER, &now);
            let encoded = encode(resource, object);
            along.replace(storage.put(resource, key, &encoded)?, key.to_owned(), stored.revision);
            storage.txn(along.into_txn(), fence).await?
        }
        Some(Reconciled::Recreate(mut object)) => {
            along.delete(key.to_owned(), stored.revision);
            let gone = storage.txn(along.into_txn(), fence).await?;
            complete(api, &mut object);
            let encoded = encode(resource, book(api, resource, object));
            let mut along = Along::default();
            along.create(storage.put(resource, key, &encoded)?, key.to_owned());
            gone && storage.txn(along.into_txn(), fence).await?
        }
    };
    if written {
        tracing::info!(key, "what every cluster begins with was restored");
    }
    Ok(written)
}

/// What a server sets at creation.
fn complete(api: &ApiServer, object: &mut Value) {
    let deps = &api.inner.deps;
    let now = times::seconds(deps.clock.unix_ms());
    object::set_meta(object, "uid", random::uuid(&*deps.entropy));
    object::set_meta(object, "creationTimestamp", now.as_str());
    for condition in object
        .pointer_mut("/status/conditions")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if condition.get("lastTransitionTime").is_none() {
            condition["lastTransitionTime"] = now.as_str().into();
        }
    }
}

fn book(api: &ApiServer, resource: &Resource, object: Value) -> Value {
    let uid = object::remove_meta(&mut object.clone(), "uid");
    let mut bare = object;
    object::remove_meta(&mut bare, "uid");
    let now = times::seconds(api.inner.deps.clock.unix_ms());
    let mut booked = fields::update(resource, "", None, bare, MANAGER, &now);
    if let Some(uid) = uid {
        object::set_meta(&mut booked, "uid", uid);
    }
    booked
}

/// Since when the use of tokens in Secrets is noted.
fn token_tracking(api: &ApiServer) -> Value {
    let today: String = times::seconds(api.inner.deps.clock.unix_ms())
        .chars()
        .take(10)
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "kube-apiserver-legacy-service-account-token-tracking", "namespace": "kube-system"},
        "data": {"since": today},
    })
}

/// The Service through which Pods reach the API: the first address of the service range.
fn kubernetes_service(api: &ApiServer) -> Option<Value> {
    let cidr = &api.options().service_cidr;
    let (address, _) = cidr.split_once('/')?;
    let ip = match address.parse().ok()? {
        std::net::IpAddr::V4(v4) => std::net::Ipv4Addr::from(u32::from(v4) + 1).to_string(),
        std::net::IpAddr::V6(v6) => std::net::Ipv6Addr::from(u128::from(v6) + 1).to_string(),
    };
    let family = if ip.contains(':') { "IPv6" } else { "IPv4" };
    Some(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "clusterIP": ip,
            "clusterIPs": [ip],
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": [family],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": api.options().advertised_port}],
            "sessionAffinity": "None",
            "type": "ClusterIP",
        },
        "status": {"loadBalancer": {}},
    }))
}
