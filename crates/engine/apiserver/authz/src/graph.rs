//! What leads to which node: the graph of the node authoriser.
//!
//! Edges go from what a kubelet reads to the pod that needs it, and from the pod to its node; a secret of a volume goes by
//! way of the volume and its claim. The graph is fed with objects and answers whether there is a way.

mod references;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use self::references::{PodReferences, VolumeReferences};

/// What may lead to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vertex {
    /// A Pod.
    Pod,
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
    /// A PersistentVolumeClaim.
    Claim,
    /// A PersistentVolume.
    Volume,
    /// A ServiceAccount.
    ServiceAccount,
    /// A ResourceClaim.
    ResourceClaim,
    /// A VolumeAttachment.
    VolumeAttachment,
    /// A ResourceSlice.
    ResourceSlice,
}

/// Namespace and name.
type Key = (String, String);

/// What pods, volumes, attachments and slices say about nodes.
#[derive(Debug, Clone, Default)]
pub struct NodeGraph {
    pods: BTreeMap<Key, PodReferences>,
    /// By node, what its pods need, and how many of them.
    needs: BTreeMap<String, BTreeMap<(Vertex, Key), u32>>,
    volumes: BTreeMap<String, VolumeReferences>,
    /// The volumes that need a secret.
    by_secret: BTreeMap<Key, BTreeSet<String>>,
    /// The nodes of attachments and slices.
    nodes: BTreeMap<(Vertex, String), String>,
}

impl NodeGraph {
    /// Takes a Pod, PersistentVolume, VolumeAttachment or ResourceSlice as it is now; `None` if it is gone.
    pub fn set(&mut self, vertex: Vertex, namespace: &str, name: &str, object: Option<&Value>) {
        match vertex {
            Vertex::Pod => self.set_pod((namespace.to_owned(), name.to_owned()), object),
            Vertex::Volume => self.set_volume(name, object),
            Vertex::VolumeAttachment | Vertex::ResourceSlice => {
                let node = object.map(|object| &object["spec"]["nodeName"]);
                let node = node.and_then(Value::as_str).filter(|node| !node.is_empty());
                let key = (vertex, name.to_owned());
                match node {
                    Some(node) => drop(self.nodes.insert(key, node.to_owned())),
                    None => drop(self.nodes.remove(&key)),
                }
            }
            _ => {}
        }
    }

    fn set_pod(&mut self, key: Key, object: Option<&Value>) {
        let new = object.and_then(PodReferences::of);
        if self.pods.get(&key) == new.as_ref() {
            return;
        }
        if let Some(old) = self.pods.remove(&key)
            && let Some(needs) = self.needs.get_mut(&old.node)
        {
            for target in old.targets(&key) {
                if let Some(count) = needs.get_mut(&target) {
                    *count -= 1;
                    if *count == 0 {
                        needs.remove(&target);
                    }
                }
            }
            if needs.is_empty() {
                self.needs.remove(&old.node);
            }
        }
        let Some(new) = new else { return };
        let needs = self.needs.entry(new.node.clone()).or_default();
        for target in new.targets(&key) {
            *needs.entry(target).or_default() += 1;
        }
        self.pods.insert(key, new);
    }

    fn set_volume(&mut self, name: &str, object: Option<&Value>) {
        if let Some(old) = self.volumes.remove(name) {
            for secret in &old.secrets {
                if let Some(volumes) = self.by_secret.get_mut(secret) {
                    volumes.remove(name);
                    if volumes.is_empty() {
                        self.by_secret.remove(secret);
                    }
                }
            }
        }
        let Some(new) = object.and_then(VolumeReferences::of) else {
            return;
        };
        for secret in &new.secrets {
            self.by_secret
                .entry(secret.clone())
                .or_default()
                .insert(name.to_owned());
        }
        self.volumes.insert(name.to_owned(), new);
    }

    /// Whether there is a way to a node.
    pub fn leads(&self, node: &str, from: Vertex, namespace: &str, name: &str) -> bool {
        let key = || (namespace.to_owned(), name.to_owned());
        match from {
            Vertex::Volume => self.volume_leads(node, name),
            Vertex::VolumeAttachment | Vertex::ResourceSlice => {
                self.nodes.get(&(from, name.to_owned())).is_some_and(|of| of == node)
            }
            Vertex::Secret => {
                let volumes = || self.by_secret.get(&key()).into_iter().flatten();
                self.is_needed(node, from, key()) || volumes().any(|volume| self.volume_leads(node, volume))
            }
            Vertex::Pod | Vertex::ConfigMap | Vertex::Claim | Vertex::ServiceAccount | Vertex::ResourceClaim => {
                self.is_needed(node, from, key())
            }
        }
    }

    fn is_needed(&self, node: &str, what: Vertex, key: Key) -> bool {
        self.needs
            .get(node)
            .is_some_and(|needs| needs.contains_key(&(what, key)))
    }

    fn volume_leads(&self, node: &str, name: &str) -> bool {
        let volume = self.volumes.get(name);
        volume.is_some_and(|volume| self.is_needed(node, Vertex::Claim, volume.claim.clone()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(node: &str, secret: &str) -> Value {
        json!({
            "metadata": {"name": "p", "namespace": "ns"},
            "spec": {
                "nodeName": node,
                "serviceAccountName": "sa",
                "volumes": [
                    {"name": "s", "secret": {"secretName": secret}},
                    {"name": "c", "persistentVolumeClaim": {"claimName": "claim"}},
                ],
            },
        })
    }

    #[test]
    fn pods_lead_to_their_node_for_as_long_as_they_are_there() {
        let mut graph = NodeGraph::default();
        graph.set(Vertex::Pod, "ns", "p", Some(&pod("n1", "a")));
        graph.set(Vertex::Pod, "ns", "q", Some(&pod("n1", "a")));
        assert!(graph.leads("n1", Vertex::Secret, "ns", "a"));
        assert!(graph.leads("n1", Vertex::Pod, "ns", "p"));
        assert!(graph.leads("n1", Vertex::ServiceAccount, "ns", "sa"));
        assert!(!graph.leads("n2", Vertex::Secret, "ns", "a"));
        assert!(!graph.leads("n1", Vertex::ConfigMap, "ns", "a"));
        assert!(!graph.leads("n1", Vertex::Secret, "other", "a"));
        graph.set(Vertex::Pod, "ns", "p", Some(&pod("n1", "b")));
        assert!(graph.leads("n1", Vertex::Secret, "ns", "a"), "the other one needs it");
        assert!(graph.leads("n1", Vertex::Secret, "ns", "b"));
        graph.set(Vertex::Pod, "ns", "q", None);
        assert!(!graph.leads("n1", Vertex::Secret, "ns", "a"));
        graph.set(Vertex::Pod, "ns", "p", None);
        assert!(graph.needs.is_empty() && graph.pods.is_empty());
    }

    #[test]
    fn volumes_lead_by_their_claims() {
        let mut graph = NodeGraph::default();
        let volume = json!({"spec": {
            "claimRef": {"namespace": "ns", "name": "claim"},
            "csi": {"nodeStageSecretRef": {"namespace": "far", "name": "x"}},
        }});
        graph.set(Vertex::Volume, "", "v", Some(&volume));
        assert!(!graph.leads("n1", Vertex::Volume, "", "v"));
        graph.set(Vertex::Pod, "ns", "p", Some(&pod("n1", "a")));
        assert!(graph.leads("n1", Vertex::Claim, "ns", "claim"));
        assert!(graph.leads("n1", Vertex::Volume, "", "v"));
        assert!(graph.leads("n1", Vertex::Secret, "far", "x"));
        assert!(!graph.leads("n2", Vertex::Secret, "far", "x"));
        graph.set(Vertex::Volume, "", "v", Some(&json!({"spec": {}})));
        assert!(!graph.leads("n1", Vertex::Volume, "", "v"));
        assert!(graph.by_secret.is_empty());
    }

    #[test]
    fn attachments_and_slices_name_their_node() {
        let mut graph = NodeGraph::default();
        for vertex in [Vertex::VolumeAttachment, Vertex::ResourceSlice] {
            graph.set(vertex, "", "x", Some(&json!({"spec": {"nodeName": "n1"}})));
            assert!(graph.leads("n1", vertex, "", "x"));
            assert!(!graph.leads("n2", vertex, "", "x"));
        }
        graph.set(Vertex::ResourceSlice, "", "x", None);
        assert!(!graph.leads("n1", Vertex::ResourceSlice, "", "x"));
        assert!(graph.leads("n1", Vertex::VolumeAttachment, "", "x"));
    }
}
