//! What the server itself puts into instances or keeps out of them: status and generation.

use serde_json::{Map, Value};

use crate::definition::Version;

/// Prepares a new instance: a status that has a subresource of its own goes.
pub fn prepare_create(version: &Version, object: &mut Value) {
    let Some(map) = object.as_object_mut() else { return };
    if version.has_status {
        map.remove("status");
    }
    set_generation(map, 1);
}

/// Prepares an instance that replaces another.
pub fn prepare_update(version: &Version, new: &mut Value, old: &Value) {
    let Some(map) = new.as_object_mut() else { return };
    if version.has_status {
        match old.get("status") {
            Some(status) => drop(map.insert("status".to_owned(), status.clone())),
            None => drop(map.remove("status")),
        }
    }
    let before = old["metadata"]["generation"].as_i64().unwrap_or_default();
    let changed = !same_but_metadata(map, old);
    set_generation(map, before.saturating_add(i64::from(changed)));
}

/// Prepares an instance that replaces another through `/status`: all but status and managed fields is as it was.
pub fn prepare_status(new: &mut Value, old: &Value) {
    let status = new.get("status").cloned();
    let managed = new["metadata"].get("managedFields").cloned();
    let mut prepared = old.clone();
    if let Some(map) = prepared.as_object_mut() {
        put(map, "status", status);
        if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            put(metadata, "managedFields", managed);
        }
    }
    *new = prepared;
}

fn put(map: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    match value {
        Some(value) => drop(map.insert(name.to_owned(), value)),
        None => drop(map.remove(name)),
    }
}

fn set_generation(map: &mut Map<String, Value>, generation: i64) {
    if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("generation".to_owned(), generation.into());
    }
}

fn same_but_metadata(new: &Map<String, Value>, old: &Value) -> bool {
    let Some(old) = old.as_object() else { return false };
    let counted = |name: &&String| name.as_str() != "metadata";
    new.keys().filter(counted).count() == old.keys().filter(counted).count()
        && new.keys().filter(counted).all(|name| new.get(name) == old.get(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Definition;
    use serde_json::json;

    fn version(status: bool) -> Version {
        let names = json!({"plural": "as", "singular": "a", "kind": "A", "listKind": "AList"});
        let mut version = json!({"name": "v1", "served": true, "storage": true});
        if status {
            version["subresources"] = json!({"status": {}});
        }
        let crd = json!({"spec": {"versions": [version]}, "status": {"acceptedNames": names}});
        Definition::compile(&crd).unwrap().versions.remove(0)
    }

    #[test]
    fn status_is_apart_if_it_is_a_subresource() {
        let sent = json!({"metadata": {"name": "a"}, "spec": 1, "status": 2});
        let mut object = sent.clone();
        prepare_create(&version(true), &mut object);
        assert_eq!(object, json!({"metadata": {"name": "a", "generation": 1}, "spec": 1}));
        let mut object = sent.clone();
        prepare_create(&version(false), &mut object);
        assert_eq!(object["status"], 2);

        let old = json!({"metadata": {"name": "a", "generation": 4}, "spec": 1, "status": 1});
        let update = |status: bool, mut new: Value| {
            prepare_update(&version(status), &mut new, &old);
            (new["status"].clone(), new["metadata"]["generation"].clone())
        };
        assert_eq!(update(true, sent.clone()), (json!(1), json!(4)));
        assert_eq!(update(false, sent.clone()), (json!(2), json!(5)));
        assert_eq!(update(true, json!({"metadata": {}, "spec": 2})), (json!(1), json!(5)));

        let mut new = json!({"metadata": {"labels": {"a": "b"}, "managedFields": [1]}, "spec": 9, "status": 3});
        prepare_status(&mut new, &old);
        assert_eq!(
            new,
            json!({"metadata": {"name": "a", "generation": 4, "managedFields": [1]}, "spec": 1, "status": 3})
        );
    }
}
