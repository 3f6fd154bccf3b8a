//! LimitRanger: containers get a namespace's default amounts, and containers, pods and claims stay within its bounds.

use std::collections::BTreeSet;

use engenho_quantity::Quantity;
use serde_json::Value;

use crate::get::{items, items_mut, section, set, text};
use crate::pod_resources::{List, specified};
use crate::{Lookup, Operation, Outcome, Refusal, Request};
use engenho_quantity::amounts::{Amounts, read, written};

/// Says in a pod which amounts it got.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";
/// Amounts beyond this are compared in whole units, as thousandths of them do not fit 64 bits.
const MAX_MILLI_VALUE: i64 = i64::MAX / 1000;
/// Lists of containers that bounds hold for, and what they are called in the annotation.
const CONTAINERS: [(&str, &str); 2] = [("containers", "container"), ("initContainers", "init container")];

pub(crate) fn mutate<L: Lookup>(
    request: &Request<'_>,
    object: &mut Value,
    old: Option<&Value>,
    lookup: &L,
) -> Outcome<L::Error> {
    if !is_limited(request, old) || request.resource != "pods" {
        return Ok(());
    }
    for range in ranges(request, lookup)? {
        complete(object, &range);
    }
    Ok(())
}

pub(crate) fn validate<L: Lookup>(
    request: &Request<'_>,
    object: &Value,
    old: Option<&Value>,
    lookup: &L,
) -> Outcome<L::Error> {
    if !is_limited(request, old) {
        return Ok(());
    }
    for range in ranges(request, lookup)? {
        let mut faults = Vec::new();
        for limit in items(&range["spec"]["limits"]) {
            let bounds = Bounds::of(limit);
            match (request.resource, bounds.kind) {
                ("pods", "Container") => {
                    for (list, _) in CONTAINERS {
                        for container in items(&object["spec"][list]) {
                            let resources = &container["resources"];
                            bounds.check(&read(&resources["requests"]), &read(&resources["limits"]), &mut faults);
                        }
                    }
                }
                ("pods", "Pod") => {
                    let [requests, limits] = [List::Requests, List::Limits].map(|list| specified(object, list));
                    bounds.check(&requests, &limits, &mut faults);
                }
                ("persistentvolumeclaims", "PersistentVolumeClaim") => {
                    bounds.check_claim(&read(&object["spec"]["resources"]["requests"]), &mut faults);
                }
                _ => {}
            }
        }
        if !faults.is_empty() {
            return Err(Refusal::forbidden(joined(faults)));
        }
    }
    Ok(())
}

/// The containers of a pod are fixed once it is there, but for a resize.
fn is_limited(request: &Request<'_>, old: Option<&Value>) -> bool {
    if old.is_some_and(|old| !old["metadata"]["deletionTimestamp"].is_null()) || !request.group.is_empty() {
        return false;
    }
    matches!(
        (request.resource, request.subresource, request.operation),
        ("pods", "", Operation::Create)
            | ("pods", "resize", Operation::Update)
            | ("persistentvolumeclaims", "", Operation::Create | Operation::Update)
    )
}

fn ranges<L: Lookup>(request: &Request<'_>, lookup: &L) -> Result<Vec<Value>, L::Error> {
    lookup.list("", "limitranges", request.namespace)
}

/// Gives the containers of a pod the default amounts they lack.
fn complete(pod: &mut Value, range: &Value) {
    let (mut limits, mut requests) = (Amounts::new(), Amounts::new());
    for limit in items(&range["spec"]["limits"]) {
        if text(&limit["type"]) == "Container" {
            requests.extend(read(&limit["defaultRequest"]));
            limits.extend(read(&limit["default"]));
        }
    }
    let mut notes = Vec::new();
    let Some(spec) = pod.get_mut("spec") else {
        return;
    };
    for (list, what) in CONTAINERS {
        for container in items_mut(spec, list) {
            for (field, word, defaults) in [("requests", "request", &requests), ("limits", "limit", &limits)] {
                let given = fill(container, field, defaults);
                if !given.is_empty() {
                    let container = text(&container["name"]);
                    notes.push(format!("{} {word} for {what} {container}", given.join(", ")));
                }
            }
        }
    }
    if notes.is_empty() {
        return;
    }
    if let Some(annotations) = section(pod, "metadata").and_then(|metadata| section(metadata, "annotations")) {
        let note = format!("LimitRanger plugin set: {}", notes.join("; "));
        set(annotations, ANNOTATION, note);
    }
}

/// Adds default amounts to a container's list, and names them.
fn fill(container: &mut Value, list: &str, defaults: &Amounts) -> Vec<String> {
    let known = &container["resources"][list];
    let missing = |name: &String| known.get(name).is_none();
    let missing: Vec<String> = defaults.keys().filter(|name| missing(name)).cloned().collect();
    if missing.is_empty() {
        return missing;
    }
    let target = section(container, "resources").and_then(|resources| section(resources, list));
    let Some(target) = target.and_then(Value::as_object_mut) else {
        return Vec::new();
    };
    let new = written(defaults).into_iter().filter(|(name, _)| missing.contains(name));
    target.extend(new);
    missing
}

/// The bounds of one entry of a limit range.
struct Bounds<'a> {
    kind: &'a str,
    min: Amounts,
    max: Amounts,
    ratio: Amounts,
}

impl<'a> Bounds<'a> {
    fn of(limit: &'a Value) -> Self {
        Self {
            kind: text(&limit["type"]),
            min: read(&limit["min"]),
            max: read(&limit["max"]),
            ratio: read(&limit["maxLimitRequestRatio"]),
        }
    }

    fn check(&self, requests: &Amounts, limits: &Amounts, faults: &mut Vec<String>) {
        let each = |bounds: &Amounts, check: &dyn Fn(&str, Quantity, Pair) -> Option<String>| {
            let faults = bounds
                .iter()
                .filter_map(|(name, bound)| check(name, *bound, Pair::of(name, requests, limits)));
            faults.collect::<Vec<String>>()
        };
        faults.extend(each(&self.min, &|name, bound, pair| self.below(name, bound, pair)));
        faults.extend(each(&self.max, &|name, bound, pair| self.above(name, bound, pair)));
        faults.extend(each(&self.ratio, &|name, bound, pair| self.apart(name, bound, pair)));
    }

    /// What a claim asks for is all that counts of it.
    fn check_claim(&self, requests: &Amounts, faults: &mut Vec<String>) {
        let none = Amounts::new();
        for (name, bound) in &self.min {
            faults.extend(self.below(name, *bound, Pair::of(name, requests, &none)));
        }
        for (name, bound) in &self.max {
            let start = format!("maximum {name} usage per {} is {bound}", self.kind);
            faults.extend(match requests.get(name) {
                None => Some(format!("{start}.  No request is specified")),
                Some(request) if exceeds(*request, *bound) => Some(format!("{start}, but request is {request}")),
                Some(_) => None,
            });
        }
    }

    fn below(&self, name: &str, bound: Quantity, pair: Pair) -> Option<String> {
        let start = format!("minimum {name} usage per {} is {bound}", self.kind);
        let (request, limit, bound) = pair.values(bound);
        match (pair.request, pair.limit) {
            (None, _) => Some(format!("{start}.  No request is specified")),
            (Some(given), _) if request < bound => Some(format!("{start}, but request is {given}")),
            (_, Some(given)) if limit < bound => Some(format!("{start}, but limit is {given}")),
            _ => None,
        }
    }

    fn above(&self, name: &str, bound: Quantity, pair: Pair) -> Option<String> {
        let start = format!("maximum {name} usage per {} is {bound}", self.kind);
        let (request, limit, bound) = pair.values(bound);
        match (pair.request, pair.limit) {
            (_, None) => Some(format!("{start}.  No limit is specified")),
            (_, Some(given)) if limit > bound => Some(format!("{start}, but limit is {given}")),
            (Some(given), _) if request > bound => Some(format!("{start}, but request is {given}")),
            _ => None,
        }
    }

    fn apart(&self, name: &str, bound: Quantity, pair: Pair) -> Option<String> {
        let start = format!("{name} max limit to request ratio per {} is {bound}", self.kind);
        let (request, limit, _) = pair.values(bound);
        if request == 0 {
            return Some(format!("{start}, but no request is specified or request is 0"));
        }
        if limit == 0 {
            return Some(format!("{start}, but no limit is specified or limit is 0"));
        }
        let ratio = limit as f64 / request as f64;
        let exceeds = match bound.value() <= MAX_MILLI_VALUE {
            true => ratio * 1000.0 > bound.milli_value() as f64,
            false => ratio > bound.value() as f64,
        };
        exceeds.then(|| format!("{start}, but provided ratio is {ratio:.6}"))
    }
}

/// What something asks for and is limited to, of one resource.
#[derive(Clone, Copy)]
struct Pair {
    request: Option<Quantity>,
    limit: Option<Quantity>,
}

impl Pair {
    fn of(name: &str, requests: &Amounts, limits: &Amounts) -> Self {
        Self {
            request: requests.get(name).copied(),
            limit: limits.get(name).copied(),
        }
    }

    /// Request, limit and bound in one unit, the finest that fits all.
    fn values(self, bound: Quantity) -> (i64, i64, i64) {
        let all = [
            self.request.unwrap_or(Quantity::ZERO),
            self.limit.unwrap_or(Quantity::ZERO),
            bound,
        ];
        let fits = all.iter().all(|amount| amount.value() <= MAX_MILLI_VALUE);
        let [request, limit, bound] = all.map(|amount| if fits { amount.milli_value() } else { amount.value() });
        (request, limit, bound)
    }
}

fn exceeds(request: Quantity, bound: Quantity) -> bool {
    let pair = Pair {
        request: Some(request),
        limit: None,
    };
    let (request, _, bound) = pair.values(bound);
    request > bound
}

/// Several faults as Go joins them, each once.
fn joined(faults: Vec<String>) -> String {
    let mut seen = BTreeSet::new();
    let faults: Vec<String> = faults.into_iter().filter(|fault| seen.insert(fault.clone())).collect();
    match faults.as_slice() {
        [only] => only.clone(),
        all => format!("[{}]", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::tests::{Stored, pods, refused, request};
    use serde_json::json;

    fn stored(limits: Value) -> Stored {
        let range = json!({"metadata": {"name": "r", "namespace": "n"}, "spec": {"limits": limits}});
        Stored::of(&[("", "limitranges", range)])
    }

    fn checked(limit: Value, spec: Value) -> String {
        let pod = json!({"spec": spec});
        refused(validate(
            &pods(Operation::Create, ""),
            &pod,
            None,
            &stored(json!([limit])),
        ))
    }

    #[test]
    fn containers_get_defaults() {
        let stored = stored(json!([
            {"type": "Container", "default": {"cpu": "1", "memory": "1Gi"}, "defaultRequest": {"cpu": "0.1"}},
            {"type": "Pod", "default": {"x": "1"}},
        ]));
        let mut pod = json!({"spec": {
            "containers": [{"name": "a"}, {"name": "b", "resources": {"limits": {"cpu": "2"}, "requests": {"cpu": "2"}}}],
            "initContainers": [{"name": "i", "resources": {"limits": {"cpu": "1", "memory": "1"}}}],
        }});
        mutate(&pods(Operation::Create, ""), &mut pod, None, &stored).unwrap();
        let all = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m"}});
        assert_eq!(pod["spec"]["containers"][0]["resources"], all);
        let some = json!({"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "2"}});
        assert_eq!(pod["spec"]["containers"][1]["resources"], some);
        assert_eq!(
            pod["spec"]["initContainers"][0]["resources"]["requests"],
            json!({"cpu": "100m"})
        );
        let note = "LimitRanger plugin set: cpu request for container a; cpu, memory limit for container a; \
                    memory limit for container b; cpu request for init container i";
        assert_eq!(pod["metadata"]["annotations"], json!({ANNOTATION: note}));

        let before = pod.clone();
        mutate(&pods(Operation::Create, ""), &mut pod, None, &stored).unwrap();
        assert_eq!(pod, before);
    }

    #[test]
    fn containers_stay_within_bounds() {
        let container = |requests: Value, limits: Value| json!({"containers": [{"resources": {"requests": requests, "limits": limits}}]});
        let cpu = |amount: &str| json!({"cpu": amount});
        let of = |bound: &str, value: &str| json!({"type": "Container", bound: {"cpu": value}});
        let ratio = "cpu max limit to request ratio per Container is 2";
        let table = [
            (of("min", "500m"), container(cpu("500m"), cpu("1")), ""),
            (
                of("min", "500m"),
                container(json!({}), cpu("1")),
                "minimum cpu usage per Container is 500m.  No request is specified",
            ),
            (
                of("min", "500m"),
                container(cpu("0.1"), cpu("1")),
                "minimum cpu usage per Container is 500m, but request is 100m",
            ),
            (
                of("max", "1"),
                container(cpu("1"), json!({})),
                "maximum cpu usage per Container is 1.  No limit is specified",
            ),
            (
                of("max", "1"),
                container(cpu("1"), cpu("2")),
                "maximum cpu usage per Container is 1, but limit is 2",
            ),
            (
                of("max", "1"),
                container(cpu("2"), cpu("1")),
                "maximum cpu usage per Container is 1, but request is 2",
            ),
            (of("maxLimitRequestRatio", "2"), container(cpu("1"), cpu("2")), ""),
            (
                of("maxLimitRequestRatio", "2"),
                container(cpu("1"), cpu("2.5")),
                &format!("{ratio}, but provided ratio is 2.500000"),
            ),
            (
                of("maxLimitRequestRatio", "2"),
                container(json!({}), cpu("2")),
                &format!("{ratio}, but no request is specified or request is 0"),
            ),
            (
                of("maxLimitRequestRatio", "2"),
                container(cpu("1"), cpu("0")),
                &format!("{ratio}, but no limit is specified or limit is 0"),
            ),
        ];
        for (limit, spec, expected) in table {
            assert_eq!(checked(limit, spec), expected);
        }
    }

    #[test]
    fn pods_stay_within_bounds_as_a_whole() {
        let one = json!({"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}});
        let limit = json!({"type": "Pod", "max": {"cpu": "1"}, "min": {"memory": "1Mi"}});
        let expected = "[minimum memory usage per Pod is 1Mi.  No request is specified, \
                        maximum cpu usage per Pod is 1, but limit is 2]";
        assert_eq!(checked(limit, json!({"containers": [one, one]})), expected);
    }

    #[test]
    fn a_fault_is_told_once() {
        let limit = json!({"type": "Container", "max": {"cpu": "1"}});
        assert_eq!(
            checked(limit, json!({"containers": [{}, {}]})),
            "maximum cpu usage per Container is 1.  No limit is specified"
        );
    }

    #[test]
    fn claims_stay_within_bounds() {
        let stored =
            stored(json!([{"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}}]));
        let of = |resources: Value| {
            let mut request = request(Operation::Update, "", "persistentvolumeclaims");
            request.namespace = "n";
            refused(validate(
                &request,
                &json!({"spec": {"resources": resources}}),
                None,
                &stored,
            ))
        };
        let size = |size: &str| json!({"requests": {"storage": size}});
        let start = "usage per PersistentVolumeClaim is";
        assert_eq!(of(size("1.5Gi")), "");
        assert_eq!(
            of(size("1Mi")),
            format!("minimum storage {start} 1Gi, but request is 1Mi")
        );
        assert_eq!(
            of(size("3Gi")),
            format!("maximum storage {start} 2Gi, but request is 3Gi")
        );
        assert_eq!(
            of(json!({})),
            format!(
                "[minimum storage {start} 1Gi.  No request is specified, maximum storage {start} 2Gi.  No request is specified]"
            )
        );
    }

    #[test]
    fn which_writes_are_limited() {
        let limit = json!([{"type": "Container", "max": {"cpu": "1"}}]);
        let pod = json!({"spec": {"containers": [{}]}});
        let of = |operation, subresource: &str, old: Option<&Value>| {
            !refused(validate(
                &pods(operation, subresource),
                &pod,
                old,
                &stored(limit.clone()),
            ))
            .is_empty()
        };
        assert!(of(Operation::Create, "", None) && of(Operation::Update, "resize", Some(&pod)));
        assert!(!of(Operation::Update, "", Some(&pod)) && !of(Operation::Create, "binding", None));
        let going = json!({"metadata": {"deletionTimestamp": "2025-01-01T00:00:00Z"}});
        assert!(!of(Operation::Update, "resize", Some(&going)));
    }
}
