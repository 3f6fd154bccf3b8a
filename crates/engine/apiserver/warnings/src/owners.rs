//! Owner references that are given twice.

use std::collections::BTreeSet;

use engenho_validation::get::{same, text};
use serde_json::Value;

/// Takes repeated owner references out of an object, and gives what its client is to be told of them.
pub(crate) fn dedup(object: &mut Value, after_admission: bool) -> Option<String> {
    let owners = object.get_mut("metadata")?.get_mut("ownerReferences")?.as_array_mut()?;
    let mut seen = BTreeSet::new();
    let mut kept: Vec<Value> = Vec::with_capacity(owners.len());
    let mut repeated = Vec::new();
    for owner in owners.drain(..) {
        let uid = text(&owner["uid"]).to_owned();
        // Owners are compared with each other only where an identity comes again.
        if seen.contains(&uid) && kept.iter().any(|other| same(other, &owner)) {
            repeated.push(uid);
        } else {
            seen.insert(uid);
            kept.push(owner);
        }
    }
    *owners = kept;
    if repeated.is_empty() {
        return None;
    }
    let when = if after_admission {
        " after mutating admission happens"
    } else {
        ""
    };
    Some(format!(
        ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
        repeated.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn repeated_owners() {
        let owner =
            |uid: &str, controller: bool| json!({"kind": "A", "name": "a", "uid": uid, "controller": controller});
        let mut object = json!({"metadata": {"ownerReferences": [
            owner("1", true), owner("2", true), owner("1", false), owner("1", true), owner("2", true),
        ]}});
        let kept = json!({"metadata": {"ownerReferences": [owner("1", true), owner("2", true), owner("1", false)]}});
        assert_eq!(
            dedup(&mut object.clone(), true).as_deref(),
            Some(
                ".metadata.ownerReferences contains duplicate entries after mutating admission happens; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: 1, 2"
            )
        );
        assert!(
            dedup(&mut object, false)
                .is_some_and(|text| text.starts_with(".metadata.ownerReferences contains duplicate entries; API"))
        );
        assert_eq!(object, kept);
        assert_eq!(dedup(&mut object, false), None);
        assert_eq!(object, kept);
        for mut odd in [
            json!(null),
            json!({"metadata": []}),
            json!({"metadata": {"ownerReferences": [1, 1]}}),
        ] {
            dedup(&mut odd, false);
        }
    }
}
