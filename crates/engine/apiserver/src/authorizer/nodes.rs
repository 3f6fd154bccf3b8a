//! The graph of what leads to which node, as it follows the store. It is made when a kubelet first asks for something that
//! depends on it, and brought up to date when one asks again: nothing is done for it in between.

use std::sync::Arc;

use engenho_authz::NodeGraph;
use engenho_authz::graph::Vertex;
use engenho_store::{Event, EventKind, KeyRange, RangeRequest, Store, Watcher};
use parking_lot::Mutex;
use serde_json::Value;

/// What the graph is made of, and where it is stored.
const PARTS: [(Vertex, &str); 4] = [
    (Vertex::Pod, "/registry/core/pods/"),
    (Vertex::Volume, "/registry/core/persistentvolumes/"),
    (Vertex::VolumeAttachment, "/registry/storage.k8s.io/volumeattachments/"),
    (Vertex::ResourceSlice, "/registry/resource.k8s.io/resourceslices/"),
];

/// A graph that is as new as the store when it is asked.
#[derive(Default)]
pub(super) struct Nodes {
    state: Mutex<Option<State>>,
}

struct State {
    graph: NodeGraph,
    watchers: Vec<(Vertex, &'static str, Watcher)>,
}

impl Nodes {
    /// Whether there is a way from something to a node.
    pub fn leads(&self, store: &Arc<Store>, node: &str, from: Vertex, namespace: &str, name: &str) -> bool {
        let mut state = self.state.lock();
        let followed = state.as_mut().is_some_and(|state| state.follow(store));
        if !followed {
            *state = State::read(store);
        }
        state
            .as_ref()
            .is_some_and(|state| state.graph.leads(node, from, namespace, name))
    }
}

impl State {
    fn read(store: &Arc<Store>) -> Option<Self> {
        let mut state = Self {
            graph: NodeGraph::default(),
            watchers: Vec::new(),
        };
        for (vertex, prefix) in PARTS {
            let read = match store.range(&RangeRequest::new(KeyRange::prefix(prefix))) {
                Ok(read) => read,
                Err(error) => {
                    tracing::error!(%error, prefix, "what leads to nodes cannot be read: kubelets get none of it");
                    return None;
                }
            };
            for kv in &read.kvs {
                set(&mut state.graph, vertex, prefix, &kv.key, Some(&kv.value));
            }
            let watcher = store.watch(KeyRange::prefix(prefix), read.revision).ok()?;
            state.watchers.push((vertex, prefix, watcher));
        }
        Some(state)
    }

    /// Takes in what happened since; false if too much did.
    fn follow(&mut self, store: &Store) -> bool {
        for (vertex, prefix, watcher) in &mut self.watchers {
            let upto = store.published();
            loop {
                let Ok(batch) = watcher.progress() else { return false };
                for event in &batch.events {
                    take(&mut self.graph, *vertex, prefix, event);
                }
                if batch.revision >= upto {
                    break;
                }
                // Behind what memory holds.
                if batch.events.is_empty() {
                    return false;
                }
            }
        }
        true
    }
}

fn take(graph: &mut NodeGraph, vertex: Vertex, prefix: &str, event: &Event) {
    let value = (event.kind == EventKind::Put).then_some(&event.value[..]);
    set(graph, vertex, prefix, &event.key, value);
}

fn set(graph: &mut NodeGraph, vertex: Vertex, prefix: &str, key: &[u8], value: Option<&[u8]>) {
    let Some(rest) = key.strip_prefix(prefix.as_bytes()) else {
        return;
    };
    let rest = String::from_utf8_lossy(rest);
    let (namespace, name) = rest.split_once('/').unwrap_or(("", &rest));
    // What cannot be read leads nowhere.
    let object: Option<Value> = value.and_then(|value| serde_json::from_slice(value).ok());
    graph.set(vertex, namespace, name, object.as_ref());
}
