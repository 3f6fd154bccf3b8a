//! What aggregated API servers need to know whom to believe: the ConfigMap `extension-apiserver-authentication`.

use std::sync::Arc;

use engenho_store::KeyRange;
use serde_json::{Map, Value, json};

use crate::client::Client;
use crate::controller::{Controller, Next};
use crate::error::ControlError;
use crate::frame::ControlDeps;

const KEY: &str = "/registry/core/configmaps/kube-system/extension-apiserver-authentication";
const PATH: &str = "/api/v1/namespaces/kube-system/configmaps";
const NAME: &str = "extension-apiserver-authentication";

/// Publishes the authorities of clients and of the proxy.
pub(crate) struct Authentication {
    client: Client,
    root_ca_pem: Arc<str>,
    front_proxy_ca_pem: Option<Arc<str>>,
}

impl Authentication {
    pub fn new(deps: &ControlDeps) -> Self {
        Self {
            client: Client::control(deps.api.clone(), deps.term, "kube-apiserver"),
            root_ca_pem: deps.root_ca_pem.clone(),
            front_proxy_ca_pem: deps.front_proxy_ca_pem.clone(),
        }
    }
}

/// The entries that are published; others of the ConfigMap are left alone.
fn entries(root_ca_pem: &str, front_proxy_ca_pem: Option<&str>) -> Map<String, Value> {
    let mut entries = Map::new();
    let mut put = |key: &str, text: &str| {
        entries.insert(key.to_owned(), text.into());
    };
    put("client-ca-file", root_ca_pem);
    if let Some(pem) = front_proxy_ca_pem {
        put("requestheader-client-ca-file", pem);
        put("requestheader-allowed-names", r#"["front-proxy-client"]"#);
        put("requestheader-username-headers", r#"["X-Remote-User"]"#);
        put("requestheader-uid-headers", r#"["X-Remote-Uid"]"#);
        put("requestheader-group-headers", r#"["X-Remote-Group"]"#);
        put("requestheader-extra-headers-prefix", r#"["X-Remote-Extra-"]"#);
    }
    entries
}

/// The ConfigMap with the entries; `None` if it has them.
fn completed(existing: &Value, entries: &Map<String, Value>) -> Option<Value> {
    if entries.iter().all(|(key, text)| existing["data"][key] == *text) {
        return None;
    }
    let mut completed = existing.clone();
    match completed["data"].as_object_mut() {
        Some(data) => data.extend(entries.clone()),
        None => completed["data"] = Value::Object(entries.clone()),
    }
    Some(completed)
}

impl Controller for Authentication {
    const NAME: &'static str = "cluster-authentication-trust-controller";

    fn ranges(&self) -> Vec<KeyRange> {
        vec![KeyRange::key(KEY)]
    }

    async fn reconcile(&mut self) -> Result<Next, ControlError> {
        let entries = entries(&self.root_ca_pem, self.front_proxy_ca_pem.as_deref());
        let written = match self.client.stored_at(KEY.as_bytes())? {
            None => {
                let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "data": entries});
                self.client.create(PATH, &map).await
            }
            Some((_, existing)) => match completed(&existing, &entries) {
                None => return Ok(Next::OnChange),
                Some(map) => self.client.replace(&format!("{PATH}/{NAME}"), &map).await,
            },
        };
        match written {
            Err(error) if !error.is_conflict() => Err(error),
            _ => Ok(Next::OnChange),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_others_stay() {
        let wanted = entries("A", Some("B"));
        assert_eq!(wanted.len(), 7);
        assert_eq!(entries("A", None).len(), 1);
        let map = completed(&json!({"data": {"other": "x", "client-ca-file": "old"}}), &wanted).expect("a change");
        assert_eq!(
            (&map["data"]["other"], &map["data"]["client-ca-file"]),
            (&json!("x"), &json!("A"))
        );
        assert_eq!(completed(&map, &wanted), None);
    }
}
