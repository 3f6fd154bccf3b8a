//! Replays recorded requests against the recorded objects: given the object before, does the request lead to the
//! managed fields, conflicts and patch results that were answered?
//!
//! The recordings lie in a folder beside the workspace; without it these tests say so and pass.

use engenho_catalog::{Catalog, Schema};
use engenho_patch::managed::{
    ApplyError, Entry, FieldManager, FieldSet, Managers, Path as FieldPath, PathElement, ScaleFields, reset_fields,
};
use engenho_patch::{PatchError, decode, json_patch, merge_patch, meta, prune, strategic, typecheck};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const NOW: &str = "2025-06-01T00:00:00Z";

fn recordings() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../../shared/golden/recorded");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: there are no recordings at {}", folder.display());
    None
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            found.push(path);
        }
    }
}

/// One recorded request with its answer.
struct Step {
    name: String,
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    content_type: String,
    agent: String,
    body: Value,
    status: u64,
    answer: Value,
    /// The answer was recorded without its managed fields.
    is_partial: bool,
}

fn steps(recording: &Value, partial: &BTreeSet<String>) -> Vec<Step> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = recording["steps"].as_array().cloned().unwrap_or_default();
    list.iter()
        .map(|step| {
            let request = &step["request"];
            let full = text(&request["path"]);
            let (path, query) = full.split_once('?').unwrap_or((&full, ""));
            let query = query.split('&').filter_map(|pair| pair.split_once('='));
            Step {
                name: text(&step["name"]),
                method: text(&request["method"]),
                path: path.to_owned(),
                query: query.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
                content_type: text(&request["headers"]["Content-Type"]),
                agent: request["headers"]
                    .get("User-Agent")
                    .map_or("golden-recorder".to_owned(), text),
                body: request["body"].clone(),
                status: step["status"].as_u64().unwrap_or_default(),
                answer: with_times(&step["body"]),
                is_partial: partial.contains(&text(&step["name"])),
            }
        })
        .collect()
}

/// Names of the steps whose answers were recorded without managed fields.
fn partial_steps(scenario: &Value) -> BTreeSet<String> {
    let leaves_out = |step: &&Value| {
        let pointers = ["ignore", "pick"]
            .map(|key| step[key].as_array().cloned().unwrap_or_default())
            .concat();
        pointers.iter().any(|pointer| pointer == "/metadata/managedFields") || !step["pick"].is_null()
    };
    let steps = scenario["steps"].as_array().into_iter().flatten().filter(leaves_out);
    steps
        .filter_map(|step| step["name"].as_str().map(str::to_owned))
        .collect()
}

/// The answer with its time placeholders replaced by a time.
fn with_times(value: &Value) -> Value {
    match value {
        Value::String(text) if text == "<time>" => NOW.into(),
        Value::Array(items) => items.iter().map(with_times).collect(),
        Value::Object(object) => Value::Object(
            object
                .iter()
                .map(|(name, value)| (name.clone(), with_times(value)))
                .collect(),
        ),
        other => other.clone(),
    }
}

/// Who owns what, by manager.
fn owned(object: &Value) -> BTreeMap<String, FieldSet> {
    let entries = meta::managed_fields(object).map(Vec::as_slice).unwrap_or_default();
    let managers = Managers::decode(entries).expect("readable managed fields");
    let named = |(id, entry): (_, Entry)| (format!("{id:?} in {}", entry.api_version), entry.set);
    managers.entries.into_iter().map(named).collect()
}

/// The value at a path.
fn find<'a>(value: &'a Value, path: &[PathElement]) -> Option<&'a Value> {
    let Some((first, rest)) = path.split_first() else {
        return Some(value);
    };
    let next = match first {
        PathElement::Field(name) => value.get(name)?,
        PathElement::Value(wanted) => value.as_array()?.iter().find(|item| *item == wanted)?,
        PathElement::Key(keys) => {
            let has = |item: &&Value| keys.iter().all(|(name, wanted)| item.get(name) == Some(wanted));
            value.as_array()?.iter().find(has)?
        }
        PathElement::Index(index) => value.get(usize::try_from(*index).ok()?)?,
    };
    find(next, rest)
}

/// Steps whose answers show what the server did to the object after the fields were booked: it allocated or released
/// addresses and ports, kept finalizers of a namespace, added tolerations.
const CHANGED_LATER: [(&str, &str); 7] = [
    ("crud/namespace-lifecycle.json", "spec.finalizers ignored"),
    ("crud/service-ip-allocation.json", "to externalname"),
    ("crud/service-ip-allocation.json", "back to clusterip"),
    ("crud/service-ip-allocation.json", "to nodeport"),
    ("crud/service-ip-allocation.json", "to loadbalancer"),
    ("crud/service-ip-allocation.json", "to clusterip"),
    ("validation/update/pod.json", "toleration-add"),
];

/// Where `small` isn't contained in `large`; the server's defaults may add fields but lists keep their items.
fn missing(small: &Value, large: &Value, path: &str) -> Option<String> {
    match (small, large) {
        (Value::Object(small), Value::Object(large)) => small.iter().find_map(|(name, value)| {
            let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
            match large.get(name) {
                Some(other) => missing(value, other, &format!("{path}.{name}")),
                None if empty => None,
                None => Some(format!("{path}.{name}")),
            }
        }),
        (Value::Array(small), Value::Array(large)) if small.len() == large.len() => {
            let mut pairs = small.iter().zip(large).enumerate();
            pairs.find_map(|(index, (small, large))| missing(small, large, &format!("{path}[{index}]")))
        }
        (small, large) if small == large || large.is_null() => None,
        _ => Some(format!("{path}: {small} is not {large}")),
    }
}

fn schema_of(object: &Value) -> Option<Schema<'static>> {
    let api_version = meta::api_version(object);
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    Catalog::builtin().schema(group, version, meta::kind(object))
}

struct Replay {
    file: String,
    objects: BTreeMap<String, Value>,
    checked: usize,
    failures: Vec<String>,
}

impl Replay {
    fn step(&mut self, step: &Step) {
        let (key, subresource) = match step.path.strip_suffix("/status") {
            Some(parent) => (parent.to_owned(), "status"),
            None => (step.path.clone(), ""),
        };
        if let Some(parent) = step.path.strip_suffix("/scale") {
            return self.scale(step, parent);
        }
        let dry_run = step.query.contains_key("dryRun");
        let done = matches!(step.status, 200 | 201) && schema_of(&step.answer).is_some();
        let live = self.objects.get(&key).cloned();
        let follows = live.is_none() && !(step.method == "POST" || step.status == 201);
        if step.is_partial || follows {
            // Nothing to compare with, or nothing to start from.
        } else if step.content_type.contains("apply-patch") {
            self.apply(step, live.as_ref(), subresource);
        } else if done && matches!(step.method.as_str(), "POST" | "PUT" | "PATCH") {
            let live = if step.method == "POST" { None } else { live.as_ref() };
            self.update(step, live, subresource);
            self.patch(step, live);
        }
        if done && step.is_partial {
            self.objects.remove(&key);
            return;
        }
        if done && !dry_run && !meta::uid(&step.answer).is_empty() {
            let key = if step.method == "POST" {
                format!("{key}/{}", meta::name(&step.answer))
            } else {
                key
            };
            self.objects.insert(key, step.answer.clone());
        }
    }

    fn manager(&self, step: &Step) -> String {
        let agent = || step.agent.split('/').next().unwrap_or_default().to_owned();
        step.query.get("fieldManager").cloned().unwrap_or_else(agent)
    }

    fn apply(&mut self, step: &Step, live: Option<&Value>, subresource: &str) {
        let Some(schema) = schema_of(&step.body) else { return };
        let Some(live) = complete(live) else { return };
        let (api_version, kind) = (meta::api_version(&step.body), meta::kind(&step.body));
        let reset = reset_fields(kind, subresource);
        let manager = FieldManager::new(schema, api_version, kind)
            .subresource(subresource)
            .reset_fields(&reset);
        let force = step.query.get("force").is_some_and(|force| force == "true");
        let result = manager.apply(live, &step.body, &self.manager(step), force, NOW);
        match (result, step.status) {
            (Ok(applied), 200 | 201) => {
                self.compare(step, &applied.object);
                if subresource.is_empty()
                    && let Some(difference) = missing(&applied.object["spec"], &step.answer["spec"], "spec")
                {
                    self.fail(step, &format!("object differs at {difference}"));
                }
            }
            (Err(error), status) => {
                self.checked += 1;
                if u64::from(error.http_status()) != status || step.answer["message"] != error.to_string().as_str() {
                    self.fail(
                        step,
                        &format!(
                            "refused with {} {error}, not {status} {}",
                            error.http_status(),
                            step.answer
                        ),
                    );
                }
                if let ApplyError::Conflicts(conflicts) = error {
                    let causes = step.answer["details"]["causes"].as_array().cloned().unwrap_or_default();
                    let ours: Vec<(String, String)> = conflicts
                        .iter()
                        .map(|conflict| (conflict.cause(), conflict.path.to_string()))
                        .collect();
                    let theirs: Vec<(String, String)> = causes
                        .iter()
                        .map(|cause| (&cause["message"], &cause["field"]))
                        .map(|(message, field)| {
                            [message, field].map(|text| text.as_str().unwrap_or_default().to_owned())
                        })
                        .map(|[message, field]| (message, field))
                        .collect();
                    if ours != theirs {
                        self.fail(step, &format!("{ours:?} are not {theirs:?}"));
                    }
                }
            }
            (Ok(_), 409) => self.fail(step, "is no conflict"),
            // Validation of objects is not this crate's.
            (Ok(_), _) => {}
        }
    }

    fn update(&mut self, step: &Step, live: Option<&Value>, subresource: &str) {
        let Some(schema) = schema_of(&step.answer) else { return };
        if step.method != "POST" && complete(live).flatten().is_none() {
            return;
        }
        let (api_version, kind) = (meta::api_version(&step.answer), meta::kind(&step.answer));
        let mut new = step.answer.clone();
        meta::remove(&mut new, "managedFields");
        // An empty list is booked as one, and stored as none.
        for (field, sent) in step.body.as_object().into_iter().flatten() {
            if sent.as_array().is_some_and(Vec::is_empty) && new.get(field).is_some_and(Value::is_null) {
                new[field] = sent.clone();
            }
        }
        if let Some(sent) = meta::managed_fields(&step.body) {
            meta::metadata_mut(&mut new)
                .unwrap()
                .insert("managedFields".to_owned(), Value::Array(sent.clone()));
        } else if let Some(kept) = live.and_then(meta::managed_fields)
            && step.method == "PATCH"
        {
            meta::set_managed_fields(&mut new, kept.clone());
        }
        let reset = reset_fields(kind, subresource);
        let manager = FieldManager::new(schema, api_version, kind)
            .subresource(subresource)
            .reset_fields(&reset);
        match manager.update(live, new, &self.manager(step), NOW) {
            Ok(updated) => self.compare(step, &updated),
            Err(error) => self.fail(step, &format!("update refused: {error}")),
        }
    }

    /// The answer to a patch holds what the patch makes of the object.
    fn patch(&mut self, step: &Step, live: Option<&Value>) {
        let (Some(live), "PATCH") = (live, step.method.as_str()) else {
            return;
        };
        if complete(Some(live)).flatten().is_none() {
            return;
        }
        let bytes = step.body.as_str().map_or_else(|| step.body.to_string(), str::to_owned);
        let patched: Result<Value, PatchError> = match step.content_type.as_str() {
            "application/json-patch+json" => {
                json_patch::parse(bytes.as_bytes()).and_then(|patch| patch.apply(live.clone()))
            }
            "application/merge-patch+json" => {
                merge_patch::parse(bytes.as_bytes()).map(|patch| merge_patch::apply(live.clone(), &patch.value))
            }
            "application/strategic-merge-patch+json" => {
                let schema = schema_of(live).unwrap();
                strategic::parse(bytes.as_bytes())
                    .and_then(|patch| strategic::apply(live.clone(), patch.value, &schema))
            }
            _ => return,
        };
        self.checked += 1;
        match patched {
            Err(error) => self.fail(step, &format!("patch refused: {error}")),
            Ok(mut patched) => {
                let schema = schema_of(live).unwrap();
                engenho_patch::prune::prune(&mut patched, &schema);
                let spec = (&patched["spec"], &step.answer["spec"]);
                if let Some(difference) = missing(spec.0, spec.1, "spec") {
                    self.fail(step, &format!("patched object differs at {difference}"));
                }
            }
        }
    }

    /// A write through `scale` moves the ownership of the replica count.
    fn scale(&mut self, step: &Step, parent: &str) {
        let Some(live) = self.objects.get(parent).cloned() else {
            return;
        };
        let api_version = meta::api_version(&live).to_owned();
        let mappings: [(&str, &[&str]); 1] = [(&api_version, &["spec", "replicas"])];
        let fields = ScaleFields::new(&api_version, &mappings);
        if step.status != 200 {
            return;
        }
        let zero = Value::from(0);
        let replicas = step.answer.pointer("/spec/replicas").unwrap_or(&zero);
        let Some(entries) = meta::managed_fields(&live) else {
            return;
        };
        let mut scale = step.answer.clone();
        scale["spec"]["replicas"] = live["spec"]["replicas"].clone();
        meta::set_managed_fields(&mut scale, fields.to_scale(entries).unwrap());
        let mut new = scale.clone();
        new["spec"]["replicas"] = replicas.clone();
        let schema = schema_of(&scale).unwrap();
        let manager = FieldManager::new(schema, "autoscaling/v1", "Scale").subresource("scale");
        let result = if step.content_type.contains("apply-patch") {
            let force = step.query.contains_key("force");
            manager
                .apply(Some(&scale), &step.body, &self.manager(step), force, NOW)
                .map(|applied| applied.object)
        } else {
            manager.update(Some(&scale), new, &self.manager(step), NOW)
        };
        let scaled = match result {
            Ok(scaled) => scaled,
            Err(error) => return self.fail(step, &format!("scale refused: {error}")),
        };
        let after = meta::managed_fields(&scaled).cloned().unwrap_or_default();
        let resource = fields.to_resource(entries, &after).unwrap();
        let mut parent_object = live;
        meta::set_managed_fields(&mut parent_object, resource);
        parent_object["spec"]["replicas"] = replicas.clone();
        self.objects.insert(parent.to_owned(), parent_object);
    }

    fn compare(&mut self, step: &Step, ours: &Value) {
        self.checked += 1;
        let (ours, theirs) = (owned(ours), owned(&step.answer));
        for id in ours.keys().chain(theirs.keys()).collect::<BTreeSet<_>>() {
            let set = |managers: &BTreeMap<String, FieldSet>| managers.get(id).cloned().unwrap_or_default();
            let (ours, theirs) = (set(&ours), set(&theirs));
            let (more, fewer) = (ours.difference(&theirs), theirs.difference(&ours));
            // What the server fills in or drops after the fields are booked can't be told from the answer to a create.
            let kept = |path: &FieldPath| find(&step.answer, &path.0).is_some();
            let created = step.method == "POST";
            if fewer.paths().iter().any(|path| !created || kept(path)) || (!more.is_empty() && !created) {
                self.fail(step, &format!("{id}\n  more:\n{more}  fewer:\n{fewer}"));
            }
        }
    }

    fn fail(&mut self, step: &Step, what: &str) {
        if CHANGED_LATER.contains(&(self.file.as_str(), step.name.as_str())) {
            return;
        }
        self.failures.push(format!(
            "{} | {} | {} {}: {what}",
            self.file, step.name, step.method, step.path
        ));
    }
}

/// The object if it was recorded whole: some answers are recorded without fields that vary.
fn complete(live: Option<&Value>) -> Option<Option<&Value>> {
    match live {
        Some(live) if meta::uid(live).is_empty() => None,
        live => Some(live),
    }
}

#[test]
fn recorded_requests_lead_to_the_recorded_fields() {
    let Some(folder) = recordings() else { return };
    let mut paths = Vec::new();
    files(&folder, &mut paths);
    let (mut checked, mut failures) = (0, Vec::new());
    for path in paths {
        let file = path.strip_prefix(&folder).unwrap().display().to_string();
        let recording: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let mut replay = Replay {
            file,
            objects: BTreeMap::new(),
            checked: 0,
            failures: Vec::new(),
        };
        let scenario = folder.join("../scenarios").join(path.strip_prefix(&folder).unwrap());
        let scenario: Value = std::fs::read(scenario)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let partial = partial_steps(&scenario);
        for step in steps(&recording, &partial) {
            replay.step(&step);
        }
        checked += replay.checked;
        failures.extend(replay.failures);
    }
    println!("{checked} results compared, {} differ", failures.len());
    assert!(
        failures.is_empty(),
        "{}\n{} of {checked} differ",
        failures.join("\n"),
        failures.len()
    );
}

#[test]
fn recorded_bodies_decode_as_recorded() {
    let Some(folder) = recordings() else { return };
    let mut paths = Vec::new();
    files(&folder, &mut paths);
    let (mut checked, mut failures) = (0, Vec::new());
    for path in paths {
        let file = path.strip_prefix(&folder).unwrap().display().to_string();
        let recording: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for step in recording["steps"].as_array().into_iter().flatten() {
            let request = &step["request"];
            let method = request["method"].as_str().unwrap_or_default();
            let content_type = request["headers"]["Content-Type"]
                .as_str()
                .unwrap_or("application/json");
            if !matches!(method, "POST" | "PUT") || !content_type.contains("json") {
                continue;
            }
            let text = request["body"]
                .as_str()
                .map_or_else(|| request["body"].to_string(), str::to_owned);
            let Ok(plain) = decode::json(text.as_bytes()) else {
                continue;
            };
            let Some(schema) = schema_of(&plain.value) else {
                continue;
            };
            let decoded = decode::json_typed(text.as_bytes(), &schema).unwrap();
            let message = step["body"]["message"].as_str().unwrap_or_default();
            let mismatch = typecheck::check(&decoded.value, &schema);
            let mut fail = |what: String| failures.push(format!("{file} | {}: {what}", step["name"]));
            checked += 1;
            if let Some((_, errors)) = message.split_once("strict decoding error: ") {
                // The recording was read into a map with sorted keys: only the sets of errors can be compared.
                let theirs: BTreeSet<&str> = errors.split(", ").collect();
                let ours: BTreeSet<&str> = decoded.strict_errors.iter().map(String::as_str).collect();
                if ours != theirs {
                    fail(format!("{ours:?} are not {theirs:?}"));
                }
            }
            if message.contains("json: cannot unmarshal") && mismatch.is_ok() {
                fail(format!("fits, but: {message}"));
            }
            if matches!(step["status"].as_u64(), Some(200 | 201)) && mismatch.is_err() {
                fail(format!("was accepted, but {mismatch:?}"));
            }
            let mut answer = step["body"].clone();
            if let Some(schema) = schema_of(&answer) {
                let unknown = prune::prune(&mut answer, &schema);
                if !unknown.is_empty() {
                    fail(format!("the answer has {unknown:?}"));
                }
            }
        }
    }
    println!("{checked} bodies decoded, {} differ", failures.len());
    assert!(
        failures.is_empty(),
        "{}\n{} of {checked} differ",
        failures.join("\n"),
        failures.len()
    );
}
