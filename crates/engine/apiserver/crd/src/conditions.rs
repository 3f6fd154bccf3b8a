//! What controllers make of a definition: accepted names and conditions (upstream's naming, establishing,
//! nonstructural-schema, approval and finalizing controllers), as functions from a definition to its next status.
//! Times are handed in as RFC 3339 text.

use std::collections::BTreeSet;

use engenho_validation::get::{flag, items, text, texts};
use serde_json::{Map, Value, json};

use crate::CLEANUP_FINALIZER;

const APPROVAL: &str = "api-approved.kubernetes.io";

/// The condition of a definition, if it has it.
pub fn find<'a>(crd: &'a Value, kind: &str) -> Option<&'a Value> {
    items(&crd["status"]["conditions"])
        .iter()
        .find(|condition| text(&condition["type"]) == kind)
}

/// Whether a condition is there and true.
pub fn is_true(crd: &Value, kind: &str) -> bool {
    find(crd, kind).is_some_and(|condition| text(&condition["status"]) == "True")
}

/// A condition, without its time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    kind: &'static str,
    status: &'static str,
    reason: &'static str,
    message: String,
}

impl Condition {
    fn new(kind: &'static str, status: &'static str, reason: &'static str, message: impl Into<String>) -> Condition {
        Condition {
            kind,
            status,
            reason,
            message: message.into(),
        }
    }

    fn is(&self, have: &Value) -> bool {
        text(&have["status"]) == self.status
            && text(&have["reason"]) == self.reason
            && text(&have["message"]) == self.message
    }
}

/// Sets a condition; its time moves when its status does.
fn set(crd: &mut Value, condition: &Condition, now: &str) {
    let status = map(map_of(crd).entry("status").or_insert(Value::Null));
    let list = status.entry("conditions").or_insert(Value::Null);
    if !list.is_array() {
        *list = json!([]);
    }
    let Some(list) = list.as_array_mut() else { return };
    let mut new = json!({
        "type": condition.kind,
        "status": condition.status,
        "lastTransitionTime": now,
        "reason": condition.reason,
        "message": condition.message,
    });
    match list.iter_mut().find(|have| text(&have["type"]) == condition.kind) {
        None => list.push(new),
        Some(have) => {
            let since = text(&have["lastTransitionTime"]);
            if text(&have["status"]) == condition.status && !since.is_empty() {
                new["lastTransitionTime"] = since.into();
            }
            *have = new;
        }
    }
}

fn remove(crd: &mut Value, kind: &str) {
    if let Some(list) = crd.pointer_mut("/status/conditions").and_then(Value::as_array_mut) {
        list.retain(|have| text(&have["type"]) != kind);
    }
}

fn map_of(value: &mut Value) -> &mut Map<String, Value> {
    map(value)
}

/// The map that a value is, or is made to be.
fn map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was made a map"),
    }
}

/// Status of a new definition: nothing is accepted, and the version of storage is stored.
pub fn initial_status(spec: &Value) -> Value {
    let stored: Vec<&str> = storage_version(spec).into_iter().collect();
    json!({"conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored})
}

fn storage_version(spec: &Value) -> Option<&str> {
    let version = items(&spec["versions"])
        .iter()
        .find(|version| flag(&version["storage"]))?;
    Some(text(&version["name"]))
}

/// Adds the version of storage to the versions that have been stored: part of every update of a definition.
pub fn keep_storage_version(crd: &mut Value) {
    let Some(name) = storage_version(&crd["spec"]).map(str::to_owned) else {
        return;
    };
    if texts(&crd["status"]["storedVersions"]).any(|have| have == name) {
        return;
    }
    let status = map(map_of(crd).entry("status").or_insert(Value::Null));
    let stored = status.entry("storedVersions").or_insert(Value::Null);
    match stored.as_array_mut() {
        Some(stored) => stored.push(name.into()),
        None => *stored = json!([name]),
    }
}

/// Names that the definitions of a group have claimed.
#[derive(Debug, Clone, Default)]
pub struct Claimed {
    resources: BTreeSet<String>,
    kinds: BTreeSet<String>,
}

impl Claimed {
    /// Collects the accepted names of all definitions of a group, the one that is looked at among them.
    pub fn of<'a>(group: &str, crds: impl IntoIterator<Item = &'a Value>) -> Claimed {
        let mut claimed = Claimed::default();
        for crd in crds.into_iter().filter(|crd| text(&crd["spec"]["group"]) == group) {
            let names = &crd["status"]["acceptedNames"];
            for key in ["plural", "singular"] {
                claimed.resources.insert(text(&names[key]).to_owned());
            }
            claimed.resources.extend(texts(&names["shortNames"]).map(str::to_owned));
            for key in ["kind", "listKind"] {
                claimed.kinds.insert(text(&names[key]).to_owned());
            }
        }
        claimed
    }
}

fn in_use(requested: &str, accepted: &str, used: &BTreeSet<String>) -> Option<String> {
    let taken = requested != accepted && used.contains(requested);
    taken.then(|| format!("{} is already in use", engenho_validation::go_quoted(requested)))
}

/// Several faults as one text.
fn aggregate(faults: Vec<String>) -> String {
    let mut distinct: Vec<String> = Vec::new();
    for fault in faults {
        if !distinct.contains(&fault) {
            distinct.push(fault);
        }
    }
    match distinct.as_slice() {
        [only] => only.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}

/// The naming controller: accepts what names are free. Gives the definition with its new status, if that changes.
/// When it does, the other definitions of the group are to be looked at again.
pub fn accept_names(crd: &Value, claimed: &Claimed, now: &str) -> Option<Value> {
    let requested = &crd["spec"]["names"];
    let accepted = &crd["status"]["acceptedNames"];
    if engenho_validation::get::same(requested, accepted) {
        return None;
    }
    let mut names = accepted.clone();
    let mut conflict: Option<(&'static str, String)> = None;
    let mut accept = |key: &str, reason: &'static str, used: &BTreeSet<String>, names: &mut Value| {
        let wanted = text(&requested[key]);
        match in_use(wanted, text(&accepted[key]), used) {
            Some(fault) => conflict = Some((reason, fault)),
            None => put(names, key, wanted.into()),
        }
    };
    accept("plural", "PluralConflict", &claimed.resources, &mut names);
    accept("singular", "SingularConflict", &claimed.resources, &mut names);
    let mut short_conflict = None;
    if requested["shortNames"] != accepted["shortNames"] {
        let ours: Vec<&str> = texts(&accepted["shortNames"]).collect();
        let faults: Vec<String> = texts(&requested["shortNames"])
            .filter(|name| !ours.contains(name))
            .filter_map(|name| in_use(name, "", &claimed.resources))
            .collect();
        if faults.is_empty() {
            put(&mut names, "shortNames", requested["shortNames"].clone());
        } else {
            short_conflict = Some(("ShortNamesConflict", aggregate(faults)));
        }
    }
    let before = conflict.take();
    let mut conflict = short_conflict.or(before);
    for (key, reason) in [("kind", "KindConflict"), ("listKind", "ListKindConflict")] {
        let wanted = text(&requested[key]);
        match in_use(wanted, text(&accepted[key]), &claimed.kinds) {
            Some(fault) => conflict = Some((reason, fault)),
            None => put(&mut names, key, wanted.into()),
        }
    }
    put(&mut names, "categories", requested["categories"].clone());
    let naming = match conflict {
        Some((reason, message)) => Condition::new("NamesAccepted", "False", reason, message),
        None => Condition::new("NamesAccepted", "True", "NoConflicts", "no conflicts found"),
    };
    let known = find(crd, "NamesAccepted").is_some_and(|have| naming.is(have));
    if known && engenho_validation::get::same(&names, accepted) {
        return None;
    }
    let mut new = crd.clone();
    map(map_of(&mut new).entry("status").or_insert(Value::Null)).insert("acceptedNames".to_owned(), names);
    set(&mut new, &naming, now);
    if !is_true(crd, "Established") {
        if naming.status == "True" {
            let installing = "the initial names have been accepted";
            set(
                &mut new,
                &Condition::new("Established", "False", "Installing", installing),
                now,
            );
        } else if find(crd, "Established").is_none() {
            let refused = "not all names are accepted";
            set(
                &mut new,
                &Condition::new("Established", "False", "NotAccepted", refused),
                now,
            );
        }
    }
    Some(new)
}

/// Sets a name; one that is empty is left out, except those that are always there.
fn put(names: &mut Value, key: &str, value: Value) {
    let names = map(names);
    let empty = engenho_validation::get::is_nothing(&value);
    if empty && !matches!(key, "plural" | "kind") {
        names.remove(key);
    } else {
        names.insert(key.to_owned(), value);
    }
}

/// The establishing controller: once names are accepted it is served. Gives the definition with its new status.
pub fn establish(crd: &Value, now: &str) -> Option<Value> {
    if !is_true(crd, "NamesAccepted") || is_true(crd, "Established") {
        return None;
    }
    let message = "the initial names have been accepted";
    let established = Condition::new("Established", "True", "InitialNamesAccepted", message);
    let mut new = crd.clone();
    set(&mut new, &established, now);
    Some(new)
}

/// The nonstructural-schema controller. Schemas are structural by validation; only what definitions of old say of
/// unknown fields is left to tell.
pub fn structural(crd: &Value, now: &str) -> Option<Value> {
    const KIND: &str = "NonStructuralSchema";
    let old = find(crd, KIND);
    let mut new = crd.clone();
    if flag(&crd["spec"]["preserveUnknownFields"]) {
        let message = "spec.preserveUnknownFields: Invalid value: true: must be false";
        let violated = Condition::new(KIND, "True", "Violations", message);
        if old.is_some_and(|old| violated.is(old)) {
            return None;
        }
        set(&mut new, &violated, now);
    } else {
        old?;
        remove(&mut new, KIND);
    }
    Some(new)
}

/// The approval controller: groups of the community say that they were approved.
pub fn approve(crd: &Value, now: &str) -> Option<Value> {
    const KIND: &str = "KubernetesAPIApprovalPolicyConformant";
    let group = text(&crd["spec"]["group"]);
    let protected = ["k8s.io", "kubernetes.io"].iter().any(|domain| {
        let above = group.strip_suffix(domain);
        above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
    });
    if !protected {
        return None;
    }
    let annotation = text(&crd["metadata"]["annotations"][APPROVAL]);
    let see = "see https://github.com/kubernetes/enhancements/pull/1111";
    let quoted = || engenho_validation::go_quoted(annotation);
    let condition = if annotation.is_empty() {
        let message = format!("protected groups must have approval annotation \"{APPROVAL}\", {see}");
        Condition::new(KIND, "False", "MissingAnnotation", message)
    } else if annotation.starts_with("unapproved") {
        Condition::new(
            KIND,
            "False",
            "UnapprovedAnnotation",
            format!("not approved: {}", quoted()),
        )
    } else if is_url(annotation) {
        Condition::new(KIND, "True", "ApprovedAnnotation", format!("approved in {annotation}"))
    } else {
        let message = format!(
            "protected groups must have approval annotation \"{APPROVAL}\" with either a URL or a reason starting with \"unapproved\", {see}"
        );
        Condition::new(KIND, "False", "InvalidAnnotation", message)
    };
    if find(crd, KIND).is_some_and(|have| condition.is(have)) {
        return None;
    }
    let mut new = crd.clone();
    set(&mut new, &condition, now);
    Some(new)
}

fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, rest)| {
        let host = rest.split(['/', '?']).next().unwrap_or_default();
        let named = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        named && !host.is_empty()
    })
}

/// All controllers one after the other: gives the definition with its new status, if anything changes.
pub fn settle(crd: &Value, claimed: &Claimed, now: &str) -> Option<Value> {
    let mut new = None;
    for step in [
        &|crd: &Value| accept_names(crd, claimed, now) as Option<Value>,
        &|crd: &Value| structural(crd, now),
        &|crd: &Value| approve(crd, now),
        &|crd: &Value| establish(crd, now),
    ] as [&dyn Fn(&Value) -> Option<Value>; 4]
    {
        let next = step(new.as_ref().unwrap_or(crd));
        new = next.or(new);
    }
    new
}

/// How far the deletion of a definition's instances has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deletion {
    /// It has been asked for.
    Pending,
    /// It goes on.
    InProgress,
    /// Instances could not be listed.
    ListFailed(String),
    /// Some could not be deleted.
    DeleteFailed(String),
    /// Some are still there.
    Remaining(String),
    /// All are gone.
    Completed,
    /// There can't have been any.
    NeverEstablished,
    /// They are kept with those of a built-in resource, and stay.
    Overlapping,
}

impl Deletion {
    fn condition(&self) -> Condition {
        let (status, reason, message) = match self {
            Deletion::Pending => (
                "True",
                "InstanceDeletionPending",
                "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon".to_owned(),
            ),
            Deletion::InProgress => (
                "True",
                "InstanceDeletionInProgress",
                "CustomResource deletion is in progress".to_owned(),
            ),
            Deletion::ListFailed(error) => (
                "True",
                "InstanceDeletionFailed",
                format!("could not list instances: {error}"),
            ),
            Deletion::DeleteFailed(error) => (
                "True",
                "InstanceDeletionFailed",
                format!("could not issue all deletes: {error}"),
            ),
            Deletion::Remaining(error) => (
                "True",
                "InstanceDeletionCheck",
                format!("could not confirm zero CustomResources remaining: {error}"),
            ),
            Deletion::Completed => ("False", "InstanceDeletionCompleted", "removed all instances".to_owned()),
            Deletion::NeverEstablished => ("False", "NeverEstablished", "resource was never established".to_owned()),
            Deletion::Overlapping => (
                "False",
                "OverlappingBuiltInResource",
                "instances overlap with built-in resources in storage".to_owned(),
            ),
        };
        Condition::new("Terminating", status, reason, message)
    }

    /// Whether the definition may go.
    pub fn is_over(&self) -> bool {
        matches!(
            self,
            Deletion::Completed | Deletion::NeverEstablished | Deletion::Overlapping
        )
    }
}

/// Whether instances of a definition are kept where those of a built-in resource are.
pub fn overlaps_built_in(crd: &Value) -> bool {
    matches!(
        (text(&crd["spec"]["group"]), text(&crd["spec"]["names"]["plural"])),
        ("apiregistration.k8s.io", "apiservices") | ("apiextensions.k8s.io", "customresourcedefinitions")
    )
}

/// What the first DELETE of a definition makes of it: it stays until its instances are gone. `None` if it is being
/// deleted already: then it goes as other objects do.
pub fn mark_deleted(crd: &Value, now: &str) -> Option<Value> {
    if !text(&crd["metadata"]["deletionTimestamp"]).is_empty() {
        return None;
    }
    let mut new = crd.clone();
    let metadata = map(map_of(&mut new).entry("metadata").or_insert(Value::Null));
    metadata.insert("deletionTimestamp".to_owned(), now.into());
    let finalizers = metadata.entry("finalizers").or_insert(Value::Null);
    match finalizers.as_array_mut() {
        Some(list) if list.iter().any(|name| name == CLEANUP_FINALIZER) => {}
        Some(list) => list.push(CLEANUP_FINALIZER.into()),
        None => *finalizers = json!([CLEANUP_FINALIZER]),
    }
    set(&mut new, &Deletion::Pending.condition(), now);
    Some(new)
}

/// Whether the instances of a definition are to be deleted now.
pub fn wants_cleanup(crd: &Value) -> bool {
    !text(&crd["metadata"]["deletionTimestamp"]).is_empty()
        && texts(&crd["metadata"]["finalizers"]).any(|name| name == CLEANUP_FINALIZER)
}

/// The finalizing controller: tells how far deletion has come; when it is over the finalizer goes.
pub fn finalize(crd: &Value, deletion: &Deletion, now: &str) -> Value {
    let mut new = crd.clone();
    set(&mut new, &deletion.condition(), now);
    if deletion.is_over()
        && let Some(metadata) = new.get_mut("metadata").and_then(Value::as_object_mut)
        && let Some(list) = metadata.get_mut("finalizers").and_then(Value::as_array_mut)
    {
        list.retain(|name| name != CLEANUP_FINALIZER);
        if list.is_empty() {
            metadata.remove("finalizers");
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2030-01-02T03:04:05Z";

    fn crd(plural: &str, kind: &str) -> Value {
        let spec = json!({"group": "g.example.org", "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind,
            "listKind": format!("{kind}List"), "shortNames": ["s"]}, "versions": [{"name": "v1", "storage": true}]});
        json!({"metadata": {"name": format!("{plural}.g.example.org")}, "status": initial_status(&spec), "spec": spec})
    }

    fn facts(crd: &Value) -> Vec<(String, String, String)> {
        let fact = |c: &Value, key: &str| text(&c[key]).to_owned();
        items(&crd["status"]["conditions"])
            .iter()
            .map(|c| (fact(c, "type"), fact(c, "status"), fact(c, "reason")))
            .collect()
    }

    fn owned(list: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
        list.iter()
            .map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned()))
            .collect()
    }

    #[test]
    fn free_names_are_accepted_and_it_is_established() {
        let new = crd("things", "Thing");
        let claimed = Claimed::of("g.example.org", [&new]);
        let named = accept_names(&new, &claimed, NOW).unwrap();
        assert_eq!(
            facts(&named),
            owned(&[
                ("NamesAccepted", "True", "NoConflicts"),
                ("Established", "False", "Installing")
            ])
        );
        let settled = settle(&new, &claimed, NOW).unwrap();
        assert_eq!(settled["status"]["acceptedNames"], new["spec"]["names"]);
        assert_eq!(
            facts(&settled),
            owned(&[
                ("NamesAccepted", "True", "NoConflicts"),
                ("Established", "True", "InitialNamesAccepted")
            ])
        );
        assert_eq!(settled["status"]["conditions"][0]["lastTransitionTime"], NOW);
        assert_eq!(settle(&settled, &claimed, "later"), None);
    }

    #[test]
    fn names_in_use_are_refused() {
        let first = settle(&crd("things", "Thing"), &Claimed::default(), NOW).unwrap();
        let second = crd("others", "Thing");
        let claimed = Claimed::of("g.example.org", [&first, &second]);
        let refused = settle(&second, &claimed, NOW).unwrap();
        assert_eq!(
            facts(&refused),
            owned(&[
                ("NamesAccepted", "False", "ListKindConflict"),
                ("Established", "False", "NotAccepted")
            ])
        );
        assert_eq!(
            refused["status"]["conditions"][0]["message"],
            "\"ThingList\" is already in use"
        );
        assert_eq!(
            refused["status"]["acceptedNames"],
            json!({"plural": "others", "kind": ""})
        );
        assert_eq!(settle(&refused, &claimed, "later"), None);
        let free = Claimed::of("g.example.org", [&refused]);
        let settled = settle(&refused, &free, "later").unwrap();
        assert_eq!(settled["status"]["conditions"][1]["status"], "True");
        assert_eq!(settled["status"]["conditions"][1]["lastTransitionTime"], "later");
        assert!(accept_names(&second, &Claimed::of("other.example.org", [&first]), NOW).is_some());
    }

    #[test]
    fn what_is_deleted_waits_for_its_instances() {
        let settled = settle(&crd("things", "Thing"), &Claimed::default(), NOW).unwrap();
        assert!(!wants_cleanup(&settled));
        let marked = mark_deleted(&settled, NOW).unwrap();
        assert!(wants_cleanup(&marked) && mark_deleted(&marked, NOW).is_none());
        assert_eq!(
            text(&marked["status"]["conditions"][2]["reason"]),
            "InstanceDeletionPending"
        );
        let going = finalize(&marked, &Deletion::InProgress, NOW);
        assert!(wants_cleanup(&going) && is_true(&going, "Terminating"));
        let gone = finalize(&going, &Deletion::Completed, NOW);
        assert!(!wants_cleanup(&gone) && !is_true(&gone, "Terminating"));
        assert!(gone["metadata"].get("finalizers").is_none());
    }

    #[test]
    fn stored_versions_are_kept() {
        let mut new = crd("things", "Thing");
        assert_eq!(new["status"]["storedVersions"], json!(["v1"]));
        new["spec"]["versions"] = json!([{"name": "v1"}, {"name": "v2", "storage": true}]);
        keep_storage_version(&mut new);
        keep_storage_version(&mut new);
        assert_eq!(new["status"]["storedVersions"], json!(["v1", "v2"]));
    }

    #[test]
    fn protected_groups_tell_of_their_approval() {
        let mut new = crd("things", "Thing");
        assert_eq!(approve(&new, NOW), None);
        new["spec"]["group"] = "x.k8s.io".into();
        for (annotation, status, reason) in [
            ("", "False", "MissingAnnotation"),
            ("unapproved, a test", "False", "UnapprovedAnnotation"),
            ("https://a.example/pull/1", "True", "ApprovedAnnotation"),
            ("yes", "False", "InvalidAnnotation"),
        ] {
            new["metadata"]["annotations"] = json!({APPROVAL: annotation});
            let found = approve(&new, NOW).unwrap();
            let kind = "KubernetesAPIApprovalPolicyConformant";
            assert_eq!(facts(&found), owned(&[(kind, status, reason)]));
        }
    }
}
