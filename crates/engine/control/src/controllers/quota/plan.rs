//! What the status of a ResourceQuota should say.

use std::collections::{BTreeMap, BTreeSet};

use engenho_admission::quota::used;
use engenho_catalog::{Catalog, Resource, Verb};
use engenho_quantity::Quantity;
use serde_json::{Map, Value, json};

use crate::times;

/// Amounts by the names of quotas.
pub(super) type Amounts = BTreeMap<String, Quantity>;

/// A resource whose objects are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counted {
    pub group: String,
    pub plural: String,
    /// Of the keys of all objects.
    pub prefix: String,
}

impl Counted {
    /// Of the keys of the objects in a Namespace.
    pub fn prefix_in(&self, namespace: &str) -> String {
        format!("{}{namespace}/", self.prefix)
    }
}

/// The resources that can be counted: what lives in Namespaces and comes and goes, but for events.
pub(super) fn countable(catalog: &Catalog) -> Vec<Counted> {
    let lives = |r: &Resource| {
        let verbs = [Verb::Create, Verb::List, Verb::Watch, Verb::Delete];
        r.namespaced && r.is_stored() && verbs.iter().all(|verb| r.verbs.contains(*verb))
    };
    let is_event = |r: &Resource| r.plural == "events" && matches!(&*r.group, "" | "events.k8s.io");
    let mut seen = BTreeSet::new();
    catalog
        .resources()
        .filter(|r| lives(r) && !is_event(r) && seen.insert((r.group.clone(), r.plural.clone())))
        .map(|r| Counted {
            group: r.group.to_string(),
            plural: r.plural.to_string(),
            prefix: r.storage_prefix(),
        })
        .collect()
}

/// Those of them that a quota names.
pub(super) fn counted_by<'a>(quota: &Value, countable: &'a [Counted]) -> Vec<&'a Counted> {
    let names = |of: &&Counted| !used(quota, &of.group, &of.plural, [].iter()).is_empty();
    countable.iter().filter(names).collect()
}

/// Prefixes of the keys to watch, for resources and the Namespaces in which they are counted: at most `max` of them, or
/// one for each resource.
pub(super) fn prefixes(homes: &[(&Counted, String)], max: usize) -> BTreeSet<String> {
    let near: BTreeSet<String> = homes.iter().map(|(of, namespace)| of.prefix_in(namespace)).collect();
    if near.len() <= max {
        return near;
    }
    homes.iter().map(|(of, _)| of.prefix.clone()).collect()
}

/// When a Pod is no longer held against anybody because it should be gone; milliseconds since the Unix epoch.
pub(super) fn overdue_unix_ms(of: &Counted, object: &Value) -> Option<u64> {
    if !of.group.is_empty() || of.plural != "pods" {
        return None;
    }
    let metadata = &object["metadata"];
    let deleted = times::parse(metadata["deletionTimestamp"].as_str()?)?;
    let grace = metadata["deletionGracePeriodSeconds"].as_u64()?;
    deleted.checked_add(grace.checked_mul(1000)?)
}

/// What one object uses of what a quota limits.
pub(super) fn usage(quota: &Value, of: &Counted, object: &Value, is_overdue: bool) -> Amounts {
    let ended;
    let object = if is_overdue {
        // It counts as one that has come to its end, which is still there.
        let mut pod = object.clone();
        match pod["status"].as_object_mut() {
            Some(status) => {
                status.insert("phase".to_owned(), "Failed".into());
            }
            None => pod["status"] = json!({"phase": "Failed"}),
        }
        ended = pod;
        &ended
    } else {
        object
    };
    amounts(&used(quota, &of.group, &of.plural, std::iter::once(object)))
}

/// What is used of a resource without objects: nothing of each of the names it is counted under.
pub(super) fn nothing(quota: &Value, of: &Counted) -> Amounts {
    amounts(&used(quota, &of.group, &of.plural, [].iter()))
}

/// Adds what one object uses.
pub(super) fn add(total: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = total.get(name).map_or(*amount, |before| before.plus(*amount));
        total.insert(name.clone(), sum);
    }
}

/// The quota with the status that its specification and a count make; `None` if it has it. What cannot be counted
/// stays as it was known.
pub(super) fn with_status(quota: &Value, counted: &Amounts) -> Option<Value> {
    let (hard, status) = (fields(&quota["spec"]["hard"]), &quota["status"]);
    let before = amounts(&fields(&status["used"]));
    let mut used = before.clone();
    used.extend(counted.iter().map(|(name, amount)| (name.clone(), *amount)));
    used.retain(|name, _| hard.contains_key(name));
    if amounts(&hard) == amounts(&fields(&status["hard"])) && used == before {
        return None;
    }
    let written = used
        .iter()
        .map(|(name, amount)| (name.clone(), amount.to_string().into()));
    let written: Map<String, Value> = written.collect();
    let mut wanted = quota.clone();
    let status = json!({"hard": hard, "used": written});
    wanted.as_object_mut()?.insert("status".to_owned(), status);
    Some(wanted)
}

fn amounts(list: &Map<String, Value>) -> Amounts {
    let read = list.iter().map(|(name, amount)| (name.clone(), Quantity::of(amount)));
    read.collect()
}

fn fields(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
