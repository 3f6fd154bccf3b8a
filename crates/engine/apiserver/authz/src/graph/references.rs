//! What a pod and a volume refer to.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Key, Vertex};

/// Of a static pod's double in the API. Such a pod leads nowhere: a node that could make it would give itself rights.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// What a pod that is bound to a node needs there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodReferences {
    pub node: String,
    namespace: String,
    /// Of its own namespace.
    needs: BTreeSet<(Vertex, String)>,
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value[key].as_str().filter(|text| !text.is_empty())
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

impl PodReferences {
    /// `None` if it is bound to no node.
    pub fn of(pod: &Value) -> Option<Self> {
        let spec = &pod["spec"];
        let node = text(spec, "nodeName")?.to_owned();
        let namespace = text(&pod["metadata"], "namespace").unwrap_or_default().to_owned();
        let mut found = Self {
            node,
            namespace,
            needs: BTreeSet::new(),
        };
        if pod["metadata"]["annotations"].get(MIRROR).is_none() {
            found.collect(pod);
        }
        Some(found)
    }

    /// Everything that leads to the node by this pod, itself too.
    pub fn targets(&self, key: &Key) -> impl Iterator<Item = (Vertex, Key)> {
        let own = std::iter::once((Vertex::Pod, key.clone()));
        let needs = self.needs.iter();
        own.chain(needs.map(|(vertex, name)| (*vertex, (self.namespace.clone(), name.clone()))))
    }

    fn add(&mut self, vertex: Vertex, name: Option<&str>) {
        if let Some(name) = name {
            self.needs.insert((vertex, name.to_owned()));
        }
    }

    fn collect(&mut self, pod: &Value) {
        let (spec, status) = (&pod["spec"], &pod["status"]);
        self.add(Vertex::ServiceAccount, text(spec, "serviceAccountName"));
        for reference in list(spec, "imagePullSecrets") {
            self.add(Vertex::Secret, text(reference, "name"));
        }
        for containers in ["initContainers", "containers", "ephemeralContainers"] {
            for container in list(spec, containers) {
                self.container(container);
            }
        }
        let pod_name = text(&pod["metadata"], "name").unwrap_or_default();
        for volume in list(spec, "volumes") {
            self.volume(volume, pod_name);
        }
        for claim in list(spec, "resourceClaims") {
            let made = || {
                let mut statuses = list(status, "resourceClaimStatuses");
                let of = statuses.find(|of| of["name"] == claim["name"])?;
                text(of, "resourceClaimName")
            };
            self.add(Vertex::ResourceClaim, text(claim, "resourceClaimName").or_else(made));
        }
        let extended = &status["extendedResourceClaimStatus"];
        self.add(Vertex::ResourceClaim, text(extended, "resourceClaimName"));
    }

    fn container(&mut self, container: &Value) {
        for source in list(container, "envFrom") {
            self.add(Vertex::Secret, text(&source["secretRef"], "name"));
            self.add(Vertex::ConfigMap, text(&source["configMapRef"], "name"));
        }
        for variable in list(container, "env") {
            let from = &variable["valueFrom"];
            self.add(Vertex::Secret, text(&from["secretKeyRef"], "name"));
            self.add(Vertex::ConfigMap, text(&from["configMapKeyRef"], "name"));
        }
    }

    fn volume(&mut self, volume: &Value, pod_name: &str) {
        self.add(Vertex::Secret, text(&volume["secret"], "secretName"));
        self.add(Vertex::Secret, text(&volume["azureFile"], "secretName"));
        for kind in ["cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos"] {
            self.add(Vertex::Secret, text(&volume[kind]["secretRef"], "name"));
        }
        self.add(Vertex::Secret, text(&volume["csi"]["nodePublishSecretRef"], "name"));
        self.add(Vertex::ConfigMap, text(&volume["configMap"], "name"));
        for source in list(&volume["projected"], "sources") {
            self.add(Vertex::Secret, text(&source["secret"], "name"));
            self.add(Vertex::ConfigMap, text(&source["configMap"], "name"));
        }
        match text(&volume["persistentVolumeClaim"], "claimName") {
            Some(claim) => self.add(Vertex::Claim, Some(claim)),
            None if volume["ephemeral"].is_object() => {
                let name = text(volume, "name").unwrap_or_default();
                self.add(Vertex::Claim, Some(&format!("{pod_name}-{name}")));
            }
            None => {}
        }
    }
}

/// What a volume that is bound to a claim needs on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VolumeReferences {
    pub claim: Key,
    pub secrets: Vec<Key>,
}

impl VolumeReferences {
    /// `None` if it is bound to no claim.
    pub fn of(volume: &Value) -> Option<Self> {
        let spec = &volume["spec"];
        let claim = spec["claimRef"].as_object()?;
        let of = |key: &str| claim.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let claim = (of("namespace"), of("name"));
        let mut secrets = Vec::new();
        // One without a namespace is in the claim's.
        let mut add = |namespace: Option<&str>, name: Option<&str>| {
            if let Some(name) = name {
                let namespace = namespace.unwrap_or(&claim.0).to_owned();
                secrets.push((namespace, name.to_owned()));
            }
        };
        let azure = &spec["azureFile"];
        add(text(azure, "secretNamespace"), text(azure, "secretName"));
        for kind in ["cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos"] {
            let reference = &spec[kind]["secretRef"];
            add(text(reference, "namespace"), text(reference, "name"));
        }
        // What the controller needs is not for kubelets.
        for field in ["nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef"] {
            let reference = &spec["csi"][field];
            add(text(reference, "namespace"), text(reference, "name"));
        }
        Some(Self { claim, secrets })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_need_what_they_mention() {
        let pod = json!({
            "metadata": {"name": "p", "namespace": "ns"},
            "spec": {
                "nodeName": "n1",
                "imagePullSecrets": [{"name": "pull"}],
                "initContainers": [{"envFrom": [{"secretRef": {"name": "from"}}, {"configMapRef": {"name": "from"}}]}],
                "containers": [{"env": [
                    {"valueFrom": {"secretKeyRef": {"name": "key", "key": "k"}}},
                    {"valueFrom": {"configMapKeyRef": {"name": "key", "key": "k"}}},
                    {"name": "plain", "value": "v"},
                ]}],
                "ephemeralContainers": [{"envFrom": [{"secretRef": {"name": "late"}}]}],
                "volumes": [
                    {"name": "a", "azureFile": {"secretName": "azure"}},
                    {"name": "b", "rbd": {"secretRef": {"name": "rbd"}}},
                    {"name": "c", "csi": {"nodePublishSecretRef": {"name": "csi"}}},
                    {"name": "d", "projected": {"sources": [
                        {"secret": {"name": "projected"}}, {"configMap": {"name": "projected"}},
                    ]}},
                    {"name": "e", "configMap": {"name": "map"}},
                    {"name": "f", "ephemeral": {"volumeClaimTemplate": {}}},
                ],
                "resourceClaims": [
                    {"name": "direct", "resourceClaimName": "claim"},
                    {"name": "made", "resourceClaimTemplateName": "t"},
                    {"name": "unmade", "resourceClaimTemplateName": "t"},
                ],
            },
            "status": {
                "resourceClaimStatuses": [{"name": "made", "resourceClaimName": "made-x"}],
                "extendedResourceClaimStatus": {"resourceClaimName": "extended"},
            },
        });
        let found = PodReferences::of(&pod).expect("bound");
        let of = |vertex| {
            let names = found.needs.iter().filter(|(v, _)| *v == vertex);
            names.map(|(_, name)| name.as_str()).collect::<Vec<_>>()
        };
        let secrets = ["azure", "csi", "from", "key", "late", "projected", "pull", "rbd"];
        assert_eq!(of(Vertex::Secret), secrets);
        assert_eq!(of(Vertex::ConfigMap), ["from", "key", "map", "projected"]);
        assert_eq!(of(Vertex::Claim), ["p-f"]);
        assert_eq!(of(Vertex::ResourceClaim), ["claim", "extended", "made-x"]);
        let mut mirror = pod.clone();
        mirror["metadata"]["annotations"] = json!({MIRROR: "x"});
        assert!(PodReferences::of(&mirror).expect("bound").needs.is_empty());
        mirror["spec"]["nodeName"] = "".into();
        assert_eq!(PodReferences::of(&mirror), None);
    }

    #[test]
    fn volumes_need_secrets_where_their_claim_is() {
        let volume = json!({"spec": {
            "claimRef": {"namespace": "ns", "name": "c"},
            "iscsi": {"secretRef": {"name": "here"}},
            "csi": {
                "nodeExpandSecretRef": {"namespace": "far", "name": "there"},
                "controllerPublishSecretRef": {"namespace": "far", "name": "controller"},
            },
        }});
        let found = VolumeReferences::of(&volume).expect("bound");
        let key = |namespace: &str, name: &str| (namespace.to_owned(), name.to_owned());
        assert_eq!(found.claim, key("ns", "c"));
        assert_eq!(found.secrets, [key("ns", "here"), key("far", "there")]);
        assert_eq!(VolumeReferences::of(&json!({"spec": {}})), None);
    }
}
