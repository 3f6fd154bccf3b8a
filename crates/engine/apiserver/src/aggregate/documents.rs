//! Discovery and schemas of aggregated APIs, merged with this server's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use engenho_catalog::Catalog;
use engenho_catalog::catalog::version_order;
use engenho_validation::get::{flag, items, text, texts};
use futures_util::future::join_all;
use http::header;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::Remote;
use super::proxy::fetch;
use crate::server::Inner;

/// For how long what a remote API says of itself is believed, milliseconds.
const BELIEVED_MS: u64 = 30_000;
/// Priority of the groups of custom resources.
const CUSTOM_PRIORITY: i64 = 1_000;
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

type Key = (String, String);

/// What is served elsewhere, and what it says of itself.
#[derive(Debug, Default)]
pub(crate) struct Remotes {
    /// By group and version.
    pub all: BTreeMap<Key, Arc<Remote>>,
    /// Aggregated discovery of each, with the time of reading.
    discovered: Mutex<BTreeMap<Key, (u64, Value)>>,
    /// Paths of OpenAPI v3 of each, with the time of reading.
    schemas: Mutex<BTreeMap<Key, (u64, Value)>>,
}

impl Remotes {
    pub(super) fn new(all: BTreeMap<Key, Arc<Remote>>) -> Self {
        Self { all, ..Self::default() }
    }

    /// Whether nothing is served elsewhere.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The server of a path, if it is another: `/apis/GROUP/VERSION/…`.
    pub fn of_path(&self, path: &str) -> Option<Arc<Remote>> {
        if self.all.is_empty() {
            return None;
        }
        let mut parts = path.trim_matches('/').split('/');
        let (Some("apis"), Some(group), Some(version)) = (parts.next(), parts.next(), parts.next()) else {
            return None;
        };
        self.all.get(&(group.to_owned(), version.to_owned())).cloned()
    }

    /// The server of a path below `/openapi/v3/`.
    pub fn of_schema(&self, path: &str) -> Option<Arc<Remote>> {
        self.of_path(path.strip_prefix("/openapi/v3")?)
    }

    /// Versions of a group, the preferred one first.
    fn versions(&self, group: &str) -> Vec<&Arc<Remote>> {
        let mut versions: Vec<_> = self.all.values().filter(|remote| remote.group == group).collect();
        versions.sort_by(|a, b| {
            let by_priority = b.version_priority.cmp(&a.version_priority);
            by_priority.then_with(|| version_order(&a.version, &b.version))
        });
        versions
    }

    /// Names of the groups, the most important first.
    fn groups(&self) -> Vec<(i64, &str)> {
        let mut groups: BTreeMap<&str, i64> = BTreeMap::new();
        for remote in self.all.values() {
            let priority = groups.entry(&remote.group).or_default();
            *priority = (*priority).max(remote.group_priority);
        }
        let mut groups: Vec<(i64, &str)> = groups.into_iter().map(|(name, priority)| (priority, name)).collect();
        groups.sort_by_key(|(priority, name)| (std::cmp::Reverse(*priority), *name));
        groups
    }

    /// Puts groups among this server's own, in order.
    fn merge(
        &self,
        own: &mut Vec<Value>,
        name_of: fn(&Value) -> &str,
        make: impl Fn(&str, Option<&mut Value>) -> Option<Value>,
    ) {
        let catalog = Catalog::builtin();
        for (priority, name) in self.groups() {
            let have = own.iter_mut().find(|group| name_of(group) == name);
            let Some(made) = make(name, have) else { continue };
            let after = |group: &Value| {
                let other = name_of(group);
                if catalog.group(other).is_some() {
                    return false;
                }
                let rank = self
                    .all
                    .values()
                    .filter(|remote| remote.group == other)
                    .map(|remote| remote.group_priority);
                let rank = rank.max().unwrap_or(CUSTOM_PRIORITY);
                (std::cmp::Reverse(rank), other) > (std::cmp::Reverse(priority), name)
            };
            let at = own.iter().position(after).unwrap_or(own.len());
            own.insert(at, made);
        }
    }
}

fn reference(remote: &Remote) -> Value {
    json!({"groupVersion": remote.api_version(), "version": remote.version})
}

fn group_of(remotes: &Remotes, name: &str, own: Option<&mut Value>) -> Option<Value> {
    let versions = remotes.versions(name);
    let first = reference(versions.first()?);
    let listed = versions.iter().map(|remote| reference(remote));
    match own {
        None => Some(json!({"name": name, "versions": listed.collect::<Vec<_>>(), "preferredVersion": first})),
        Some(own) => {
            let have = own["versions"].as_array_mut()?;
            for version in listed {
                if !have.contains(&version) {
                    have.push(version);
                }
            }
            None
        }
    }
}

/// `/apis`, completed.
pub(crate) fn groups(remotes: &Remotes, own: &Bytes) -> Option<Bytes> {
    let mut list: Value = serde_json::from_slice(own).ok()?;
    let groups = list["groups"].as_array_mut()?;
    remotes.merge(
        groups,
        |group| text(&group["name"]),
        |name, own| group_of(remotes, name, own),
    );
    Some(list.to_string().into())
}

/// `/apis/GROUP`, if somebody else serves versions of it.
pub(crate) fn group(remotes: &Remotes, name: &str, own: Option<&Bytes>) -> Option<Bytes> {
    let mut have = own.and_then(|own| serde_json::from_slice::<Value>(own).ok());
    let made = group_of(remotes, name, have.as_mut());
    let mut document = made.or(have.filter(|_| !remotes.versions(name).is_empty()))?;
    document["kind"] = "APIGroup".into();
    document["apiVersion"] = "v1".into();
    Some(document.to_string().into())
}

/// The aggregated `/apis`, completed with what remote APIs say of themselves. One that does not answer is `Stale`.
pub(crate) async fn groups_aggregated(server: &Inner, remotes: &Remotes, own: &Bytes) -> Option<Bytes> {
    let mut list: Value = serde_json::from_slice(own).ok()?;
    let read = remotes.all.iter().map(|(key, remote)| async move {
        let version = discovered(server, remotes, key, remote).await;
        (key.clone(), version)
    });
    let read: BTreeMap<Key, Value> = join_all(read).await.into_iter().collect();
    let versions = |name: &str| {
        let versions = remotes.versions(name).into_iter();
        let found = versions.filter_map(|remote| read.get(&(remote.group.clone(), remote.version.clone())));
        found.cloned().collect::<Vec<Value>>()
    };
    let make = |name: &str, own: Option<&mut Value>| match own {
        None => Some(json!({"metadata": {"name": name, "creationTimestamp": null}, "versions": versions(name)})),
        Some(own) => {
            let have = own["versions"].as_array_mut()?;
            for version in versions(name) {
                match have.iter_mut().find(|one| one["version"] == version["version"]) {
                    Some(one) => *one = version,
                    None => have.push(version),
                }
            }
            None
        }
    };
    remotes.merge(
        list["items"].as_array_mut()?,
        |group| text(&group["metadata"]["name"]),
        make,
    );
    Some(list.to_string().into())
}

/// A version in the aggregated form.
async fn discovered(server: &Inner, remotes: &Remotes, key: &Key, remote: &Remote) -> Value {
    let stale = json!({"version": remote.version, "freshness": "Stale"});
    if !remote.available {
        return stale;
    }
    let now = server.deps.clock.unix_ms();
    if let Some((read, version)) = remotes.discovered.lock().get(key)
        && now.saturating_sub(*read) < BELIEVED_MS
    {
        return version.clone();
    }
    let version = Box::pin(discover(server, remote)).await.unwrap_or(stale);
    remotes.discovered.lock().insert(key.clone(), (now, version.clone()));
    version
}

async fn discover(server: &Inner, remote: &Remote) -> Option<Value> {
    if let Ok(answer) = fetch(server, remote, "/apis", AGGREGATED).await
        && answer.status().is_success()
    {
        let kind = answer.headers().get(header::CONTENT_TYPE);
        let aggregated = kind
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| kind.contains("APIGroupDiscoveryList"));
        let list = serde_json::from_slice::<Value>(answer.body())
            .ok()
            .filter(|_| aggregated);
        if let Some(list) = list {
            let group = items(&list["items"])
                .iter()
                .find(|group| group["metadata"]["name"] == remote.group.as_str())?;
            let mut versions = items(&group["versions"]).iter();
            let mut version = versions
                .find(|version| version["version"] == remote.version.as_str())?
                .clone();
            version["freshness"] = "Current".into();
            return Some(version);
        }
    }
    let path = format!("/apis/{}", remote.api_version());
    let answer = fetch(server, remote, &path, "application/json").await.ok()?;
    let list: Value = serde_json::from_slice(answer.body())
        .ok()
        .filter(|_| answer.status().is_success())?;
    Some(json!({"version": remote.version, "resources": resources(remote, &list), "freshness": "Current"}))
}

/// The resources of a plain APIResourceList in the aggregated form.
fn resources(remote: &Remote, list: &Value) -> Vec<Value> {
    let kind = |of: &Value| {
        let or = |given: &str, own: &str| {
            if given.is_empty() {
                own.to_owned()
            } else {
                given.to_owned()
            }
        };
        json!({"group": or(text(&of["group"]), &remote.group), "version": or(text(&of["version"]), &remote.version),
            "kind": of["kind"]})
    };
    let copy = |from: &Value, to: &mut Value, key: &str| {
        if texts(&from[key]).next().is_some() {
            to[key] = from[key].clone();
        }
    };
    let mut made: Vec<Value> = Vec::new();
    for one in items(&list["resources"]) {
        let (name, part) = match text(&one["name"]).split_once('/') {
            Some((name, part)) => (name, Some(part)),
            None => (text(&one["name"]), None),
        };
        let mut entry = json!({"responseKind": kind(one), "verbs": one["verbs"]});
        match part {
            None => {
                entry["resource"] = name.into();
                entry["scope"] = if flag(&one["namespaced"]) {
                    "Namespaced"
                } else {
                    "Cluster"
                }
                .into();
                entry["singularResource"] = text(&one["singularName"]).into();
                copy(one, &mut entry, "shortNames");
                copy(one, &mut entry, "categories");
                made.push(entry);
            }
            Some(part) => {
                entry["subresource"] = part.into();
                if let Some(of) = made.iter_mut().find(|of| of["resource"] == name) {
                    match of["subresources"].as_array_mut() {
                        Some(parts) => parts.push(entry),
                        None => of["subresources"] = json!([entry]),
                    }
                }
            }
        }
    }
    made
}

/// The index of `/openapi/v3`, completed with the documents of remote APIs.
pub(crate) async fn schema_index(server: &Inner, remotes: &Remotes, own: &Bytes) -> Option<Bytes> {
    let mut index: Value = serde_json::from_slice(own).ok()?;
    let read = remotes
        .all
        .iter()
        .map(|(key, remote)| schema_paths(server, remotes, key, remote));
    let read = join_all(read).await;
    let paths = index["paths"].as_object_mut()?;
    for (path, at) in read.iter().filter_map(Value::as_object).flatten() {
        paths.insert(path.clone(), at.clone());
    }
    Some(index.to_string().into())
}

async fn schema_paths(server: &Inner, remotes: &Remotes, key: &Key, remote: &Remote) -> Value {
    if !remote.available {
        return Value::Null;
    }
    let now = server.deps.clock.unix_ms();
    if let Some((read, paths)) = remotes.schemas.lock().get(key)
        && now.saturating_sub(*read) < BELIEVED_MS
    {
        return paths.clone();
    }
    let wanted = format!("apis/{}", remote.api_version());
    let answer = Box::pin(fetch(server, remote, "/openapi/v3", "application/json")).await;
    let index = answer.ok().filter(|answer| answer.status().is_success());
    let index = index.and_then(|answer| serde_json::from_slice::<Value>(answer.body()).ok());
    let mut paths = json!({});
    if let Some(at) = index.as_ref().and_then(|index| index["paths"].get(&wanted)) {
        paths[&wanted] = at.clone();
    }
    remotes.schemas.lock().insert(key.clone(), (now, paths.clone()));
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::Roots;

    fn remote(group: &str, version: &str, group_priority: i64, version_priority: i64) -> (Key, Arc<Remote>) {
        let remote = Remote {
            group: group.into(),
            version: version.into(),
            namespace: "n".into(),
            service: "s".into(),
            port: 443,
            roots: Roots::System,
            available: true,
            group_priority,
            version_priority,
        };
        ((group.into(), version.into()), Arc::new(remote))
    }

    #[test]
    fn groups_stand_by_their_priority() {
        let all = [
            remote("a.example", "v1beta1", 100, 10),
            remote("a.example", "v1", 100, 20),
            remote("z.example", "v1", 2_000, 10),
            remote("m.example", "v2", 1_000, 10),
        ];
        let remotes = Remotes::new(all.into_iter().collect());
        let own = json!({"groups": [{"name": "apps"}, {"name": "b.example"}, {"name": "m.example",
            "versions": [{"groupVersion": "m.example/v1", "version": "v1"}]}]});
        let list: Value =
            serde_json::from_slice(&groups(&remotes, &own.to_string().into()).expect("a list")).expect("JSON");
        let names: Vec<&str> = items(&list["groups"])
            .iter()
            .map(|group| text(&group["name"]))
            .collect();
        assert_eq!(names, ["apps", "z.example", "b.example", "m.example", "a.example"]);
        assert_eq!(list["groups"][4]["preferredVersion"]["version"], "v1");
        assert_eq!(list["groups"][3]["versions"][1]["version"], "v2");
        assert!(remotes.of_path("/apis/a.example/v1/namespaces/x/y").is_some());
        assert!(remotes.of_path("/apis/a.example").is_none());
        assert!(remotes.of_schema("/openapi/v3/apis/a.example/v1").is_some());
    }

    #[test]
    fn plain_lists_are_aggregated() {
        let (_, remote) = remote("a.example", "v1", 1, 1);
        let list = json!({"resources": [
            {"name": "dogs", "singularName": "dog", "namespaced": true, "kind": "Dog", "verbs": ["get"], "shortNames": ["d"]},
            {"name": "dogs/status", "singularName": "", "namespaced": true, "kind": "Dog", "verbs": ["update"]},
        ]});
        let kind = json!({"group": "a.example", "version": "v1", "kind": "Dog"});
        let wanted = json!([{"resource": "dogs", "scope": "Namespaced", "singularResource": "dog", "shortNames": ["d"],
            "responseKind": kind, "verbs": ["get"],
            "subresources": [{"subresource": "status", "responseKind": kind, "verbs": ["update"]}]}]);
        assert_eq!(Value::from(resources(&remote, &list)), wanted);
    }
}
