//! Which objects of priority and fairness every cluster has, and what they say.

use engenho_catalog::boot;
use engenho_flowcontrol::{CATCH_ALL, EXEMPT};
use serde_json::{Value, json};

pub(super) const SCHEMAS: &str = "flowschemas";
pub(super) const LEVELS: &str = "prioritylevelconfigurations";
/// Says whether the spec of an object is kept as the server ships it.
const AUTOUPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

/// What is to be done to an object.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    Create {
        plural: &'static str,
        object: Value,
    },
    Replace {
        plural: &'static str,
        name: String,
        object: Value,
    },
}

/// What is missing of the objects that every cluster has, or differs from what the server ships. `stored` has the
/// stored objects by plural.
pub(super) fn ensure(stored: &Value) -> Vec<Change> {
    let shipped = boot::objects().filter_map(|object| {
        let plural = match object["kind"].as_str() {
            Some("FlowSchema") => SCHEMAS,
            Some("PriorityLevelConfiguration") => LEVELS,
            _ => return None,
        };
        Some((plural, object))
    });
    let mut all: Vec<(&'static str, Value)> = shipped.collect();
    // Schemas that name a level come after it.
    all.sort_by_key(|(plural, _)| *plural == SCHEMAS);
    all.into_iter()
        .filter_map(|(plural, shipped)| {
            let name = shipped["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let found = stored[plural].as_array().into_iter().flatten();
            let Some(live) = found.into_iter().find(|live| live["metadata"]["name"] == name.as_str()) else {
                return Some(Change::Create {
                    plural,
                    object: fresh(shipped),
                });
            };
            let object = amended(plural, &name, live, &shipped)?;
            Some(Change::Replace { plural, name, object })
        })
        .collect()
}

/// An object as it is created: without what only a server sets.
fn fresh(mut shipped: Value) -> Value {
    if let Some(map) = shipped.as_object_mut() {
        map.remove("status");
    }
    shipped
}

/// The live object as it should be, if it is not so.
fn amended(plural: &str, name: &str, live: &Value, shipped: &Value) -> Option<Value> {
    let mandatory = matches!(name, EXEMPT | CATCH_ALL);
    let annotation = live["metadata"]["annotations"][AUTOUPDATE].as_str();
    let automatic = match annotation {
        _ if mandatory => true,
        Some("true") => true,
        Some("false") => false,
        // Nobody said: one that was never changed is the server's still.
        _ => live["metadata"]["generation"].as_u64().unwrap_or(1) <= 1,
    };
    let mut spec = shipped["spec"].clone();
    // The shares of the exempt level are its administrator's.
    if plural == LEVELS && name == EXEMPT {
        for field in ["nominalConcurrencyShares", "lendablePercent"] {
            if let Some(value) = live["spec"]["exempt"].get(field) {
                spec["exempt"][field] = value.clone();
            }
        }
    }
    let wanted = if automatic { "true" } else { "false" };
    if annotation == Some(wanted) && (!automatic || live["spec"] == spec) {
        return None;
    }
    let mut object = live.clone();
    object["metadata"]["annotations"][AUTOUPDATE] = wanted.into();
    if automatic {
        object["spec"] = spec;
    }
    (object != *live).then_some(object)
}

/// Puts a condition in the place of the one of its type.
pub(super) fn put_condition(schema: &mut Value, condition: Value) {
    if !schema["status"].is_object() {
        schema["status"] = json!({});
    }
    let conditions = &mut schema["status"]["conditions"];
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    if let Some(list) = conditions.as_array_mut() {
        match list.iter_mut().find(|have| have["type"] == condition["type"]) {
            Some(have) => *have = condition,
            None => list.push(condition),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All objects as the server ships them.
    fn shipped() -> Value {
        let none = json!({SCHEMAS: [], LEVELS: []});
        let mut stored = none.clone();
        for change in ensure(&none) {
            let Change::Create { plural, object } = change else {
                panic!("nothing is there to be replaced")
            };
            stored[plural].as_array_mut().expect("a list").push(object);
        }
        stored
    }

    fn change(stored: &mut Value, plural: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let list = stored[plural].as_array_mut().expect("a list");
        let object = list
            .iter_mut()
            .find(|o| o["metadata"]["name"] == name)
            .expect("it is there");
        change(object);
    }

    #[test]
    fn what_is_as_it_is_shipped_stays() {
        let stored = shipped();
        assert!(stored[LEVELS].as_array().expect("a list").len() >= 8);
        assert_eq!(ensure(&stored), []);
    }

    #[test]
    fn changed_objects_become_as_they_were_unless_they_are_somebodys() {
        let mut stored = shipped();
        change(&mut stored, LEVELS, "system", |level| {
            level["spec"]["limited"]["nominalConcurrencyShares"] = 7.into();
        });
        change(&mut stored, LEVELS, "workload-low", |level| {
            level["metadata"]["annotations"][AUTOUPDATE] = "false".into();
            level["spec"]["limited"]["nominalConcurrencyShares"] = 7.into();
        });
        change(&mut stored, SCHEMAS, CATCH_ALL, |schema| {
            schema["metadata"]["annotations"] = Value::Null;
        });
        change(&mut stored, LEVELS, EXEMPT, |level| {
            level["spec"]["exempt"]["nominalConcurrencyShares"] = 3.into()
        });
        let changes = ensure(&stored);
        let names: Vec<&str> = changes
            .iter()
            .map(|change| match change {
                Change::Replace { name, .. } => name.as_str(),
                Change::Create { .. } => "",
            })
            .collect();
        assert_eq!(names, ["system", CATCH_ALL]);
    }

    #[test]
    fn conditions_are_put_in_place() {
        let mut schema = json!({});
        put_condition(&mut schema, json!({"type": "Dangling", "status": "True"}));
        put_condition(&mut schema, json!({"type": "Dangling", "status": "False"}));
        assert_eq!(
            schema["status"]["conditions"],
            json!([{"type": "Dangling", "status": "False"}])
        );
    }
}
