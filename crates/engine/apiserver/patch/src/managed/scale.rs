//! Managed fields seen through the `scale` subresource: `spec.replicas` of the two stands for one field.

use super::element::PathElement;
use super::entries::{Entry, EntryError, Managers};
use super::set::FieldSet;
use serde_json::Value;
use std::collections::BTreeMap;

/// Version the scale subresource is served in.
const SCALE_API_VERSION: &str = "autoscaling/v1";

/// Carries managed fields between a resource and its scale.
#[derive(Clone, Debug)]
pub struct ScaleFields<'a> {
    api_version: &'a str,
    /// Where the replica count is, by version of the resource.
    replicas: BTreeMap<&'a str, Vec<PathElement>>,
}

impl<'a> ScaleFields<'a> {
    /// For a resource in `api_version` whose versions keep the count at these fields: `("apps/v1", &["spec", "replicas"])`.
    #[must_use]
    pub fn new(api_version: &'a str, replicas: &[(&'a str, &[&str])]) -> Self {
        let path = |fields: &[&str]| fields.iter().map(|name| PathElement::field(*name)).collect();
        Self {
            api_version,
            replicas: replicas
                .iter()
                .map(|(version, fields)| (*version, path(fields)))
                .collect(),
        }
    }

    fn in_scale() -> Vec<PathElement> {
        vec![PathElement::field("spec"), PathElement::field("replicas")]
    }

    /// The scale's managed fields, given the resource's.
    pub fn to_scale(&self, entries: &[Value]) -> Result<Vec<Value>, EntryError> {
        let resource = Managers::decode(entries)?;
        let mut scale = Managers {
            entries: BTreeMap::new(),
            times: resource.times,
        };
        for (id, entry) in resource.entries {
            let owns = self
                .replicas
                .get(entry.api_version.as_str())
                .is_some_and(|path| entry.set.has(path));
            if owns {
                let mut set = FieldSet::new();
                set.insert(&Self::in_scale());
                scale.entries.insert(
                    id,
                    Entry {
                        set,
                        api_version: SCALE_API_VERSION.to_owned(),
                    },
                );
            }
        }
        Ok(scale.encode())
    }

    /// The resource's managed fields after the scale's changed: who lost the count there loses it here.
    pub fn to_resource(&self, entries: &[Value], scale_entries: &[Value]) -> Result<Vec<Value>, EntryError> {
        let resource = Managers::decode(entries)?;
        let mut scale = Managers::decode(scale_entries)?;
        let mut result = Managers {
            entries: BTreeMap::new(),
            times: resource.times,
        };

        for (id, mut entry) in resource.entries {
            let Some(path) = self.replicas.get(entry.api_version.as_str()) else {
                continue;
            };
            if entry.set.has(path) && scale.entries.remove(&id).is_none() {
                let mut stolen = FieldSet::new();
                stolen.insert(path);
                entry.set = entry.set.difference(&stolen);
            }
            if !entry.set.is_empty() {
                result.entries.insert(id, entry);
            }
        }
        for (id, entry) in scale.entries {
            let Some(path) = self
                .replicas
                .get(self.api_version)
                .filter(|_| entry.set.has(&Self::in_scale()))
            else {
                continue;
            };
            let mut set = FieldSet::new();
            set.insert(path);
            result.entries.insert(
                id,
                Entry {
                    set,
                    api_version: self.api_version.to_owned(),
                },
            );
        }
        Ok(result.encode())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(manager: &str, operation: &str, version: &str, fields: Value, subresource: Option<&str>) -> Value {
        let mut entry = json!({"manager": manager, "operation": operation, "apiVersion": version,
            "fieldsType": "FieldsV1", "fieldsV1": fields});
        if let Some(subresource) = subresource {
            entry["subresource"] = subresource.into();
        }
        entry
    }

    #[test]
    fn the_count_moves_with_its_owner() {
        let fields = ScaleFields::new("apps/v1", &[("apps/v1", &["spec", "replicas"])]);
        let alice = entry(
            "alice",
            "Apply",
            "apps/v1",
            json!({"f:spec": {"f:replicas": {}, "f:paused": {}}}),
            None,
        );
        let scale = fields.to_scale(std::slice::from_ref(&alice)).unwrap();
        let replicas = json!({"f:spec": {"f:replicas": {}}});
        assert_eq!(
            scale,
            [entry("alice", "Apply", "autoscaling/v1", replicas.clone(), None)]
        );
        // Nothing changed: the resource keeps its entries.
        assert_eq!(
            fields.to_resource(std::slice::from_ref(&alice), &scale).unwrap(),
            std::slice::from_ref(&alice)
        );
        // Another manager took the count through the scale.
        let scaler = entry("scaler", "Update", "autoscaling/v1", replicas.clone(), Some("scale"));
        let mut after = fields.to_resource(&[alice], &[scaler]).unwrap();
        after.sort_by_key(|entry| entry["manager"].to_string());
        let rest = entry("alice", "Apply", "apps/v1", json!({"f:spec": {"f:paused": {}}}), None);
        assert_eq!(after[0], rest);
        assert_eq!(
            (&after[1]["manager"], &after[1]["apiVersion"], &after[1]["fieldsV1"]),
            (&json!("scaler"), &json!("apps/v1"), &replicas)
        );
    }
}
