//! The objects that a cluster begins with: namespaces, RBAC policy, priority classes, flow schemas, the Service
//! `kubernetes`.

use engenho_catalog::{Resource, boot};
use engenho_store::Txn;
use serde_json::{Value, json};

use crate::object::{self, Encoded};
use crate::server::ApiServer;
use crate::status::Status;
use crate::{convert, fields, random, services, times};

/// Field manager of what the server itself writes.
const MANAGER: &str = "kube-apiserver";
/// Objects in one transaction, below etcd's bound.
const OBJECTS_MAX: usize = 100;

/// Creates what is missing and says how much it was; writes nothing if all is there. To be called on the leader, with
/// its term as `fence`: another leader's call then does no harm.
pub async fn bootstrap(api: &ApiServer, fence: Option<u64>) -> Result<usize, Status> {
    let storage = api.storage();
    storage.linearize().await.map_err(|e| storage.read_status(&e))?;
    let catalog = api.catalog();
    let mut missing: Vec<(&Resource, String, Encoded)> = Vec::new();
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
            continue;
        }
        complete(api, &mut object);
        let object = book(api, resource, object);
        let (kind, api_version) = convert::stored_as(resource);
        let encoded = object::encode(&convert::to_storage(resource, object), kind, &api_version);
        missing.push((resource, key, encoded));
    }
    let mut created = 0;
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
