//! The status of a ResourceClaim: what was allocated, for whom, and what drivers tell.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::common::{
    CONFIGS_MAX, REQUESTS_MAX, binding_conditions, configuration, each, each_once, pool_name, raw_object,
    request_names, request_reference, request_references,
};
use super::shapes::ALLOCATION;
use crate::core::pod::scheduling::node_selector;
use crate::get::{given, items, same, text};
use crate::gojson;
use crate::labels::check;
use crate::names::dns_label;
use crate::scalars::addresses::parse_legacy_cidr;
use crate::shared::{self, Errors, driver_name};
use crate::{FieldError, Path};

const RESERVED_MAX: usize = 256;
const CONDITIONS_MAX: usize = 8;
const DATA_BYTES_MAX: usize = 10 * 1024;
const IPS_MAX: usize = 16;
const INTERFACE_BYTES_MAX: usize = 256;
const HARDWARE_BYTES_MAX: usize = 128;

type Names<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// What is wrong with a status that replaces another.
pub(super) fn update(new: &Value, old: &Value) -> Errors {
    let (status, before) = (&new["status"], &old["status"]);
    let path = Path::Root.child("status");
    let reserved = path.child("reservedFor");
    let mut errors = each_once(
        &status["reservedFor"],
        RESERVED_MAX,
        "uid",
        &reserved,
        |consumer, at| {
            let missing = ["resource", "name", "uid"]
                .into_iter()
                .filter(|key| text(&consumer[*key]).is_empty());
            missing.map(|key| FieldError::required(at.child(key), "")).collect()
        },
    );
    let allocation = &status["allocation"];
    errors.extend(devices(status, &path.child("devices")));
    if !items(&status["reservedFor"]).is_empty() {
        if !given(allocation) {
            let detail = "may not be specified when `allocated` is not set";
            errors.push(FieldError::forbidden(reserved, detail));
        } else if given(&new["metadata"]["deletionTimestamp"]) {
            let known = items(&before["reservedFor"]);
            if items(&status["reservedFor"]).iter().any(|one| !known.contains(one)) {
                let detail =
                    "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
                errors.push(FieldError::forbidden(reserved, detail));
            }
        }
    }
    let at = path.child("allocation");
    if given(&before["allocation"]) && given(allocation) {
        if !same(allocation, &before["allocation"]) {
            errors.push(gojson::invalid(at, &ALLOCATION, allocation, "field is immutable"));
        }
    } else if given(allocation) {
        errors.extend(allocated(allocation, &request_names(&new["spec"]["devices"]), &at));
    }
    errors
}

fn allocated(allocation: &Value, names: &Names<'_>, path: &Path<'_>) -> Errors {
    let above = path.child("devices");
    let devices = &allocation["devices"];
    let mut errors = each(
        &devices["results"],
        REQUESTS_MAX,
        &above.child("results"),
        |result, at| {
            let mut errors = request_reference(text(&result["request"]), names, &at.child("request"));
            errors.extend(device_name(result, at));
            errors.extend(binding_conditions(result, at));
            errors
        },
    );
    let configs = above.child("config");
    errors.extend(each(&devices["config"], 2 * CONFIGS_MAX, &configs, |config, at| {
        let sources = ["FromClaim", "FromClass"];
        let field = at.child("source");
        let mut errors = match text(&config["source"]) {
            "" => vec![FieldError::required(field, "")],
            source if !sources.contains(&source) => vec![FieldError::not_supported(field, source, &sources)],
            _ => Errors::new(),
        };
        errors.extend(request_references(&config["requests"], names, &at.child("requests")));
        errors.extend(configuration(config, false, at));
        errors
    }));
    if given(&allocation["nodeSelector"]) {
        let at = path.child("nodeSelector");
        let rule = |errors: &mut _| node_selector(&allocation["nodeSelector"], false, &at, errors);
        errors.extend(crate::errors::Errors::of(rule));
    }
    errors
}

fn device_name(device: &Value, path: &Path<'_>) -> Errors {
    let mut errors = driver_name(text(&device["driver"]), &path.child("driver"));
    errors.extend(pool_name(text(&device["pool"]), &path.child("pool")));
    errors.extend(check(dns_label, text(&device["device"]), &path.child("device")));
    errors
}

/// A device in all the world: driver, pool, name.
fn identity(device: &Value) -> [&str; 3] {
    ["driver", "pool", "device"].map(|key| text(&device[key]))
}

fn devices(status: &Value, path: &Path<'_>) -> Errors {
    let allocated: BTreeSet<[&str; 3]> = items(&status["allocation"]["devices"]["results"])
        .iter()
        .map(identity)
        .collect();
    let mut errors = each(&status["devices"], usize::MAX, path, |device, at| {
        let mut errors = device_name(device, at);
        let id = identity(device);
        if !allocated.contains(&id) {
            let detail = "must be an allocated device in the claim";
            errors.push(FieldError::invalid(at, id.join("/"), detail));
        }
        errors.extend(told(device, at));
        errors
    });
    let mut seen = BTreeSet::new();
    for (i, device) in items(&status["devices"]).iter().enumerate() {
        let id = identity(device);
        if !seen.insert(id) {
            errors.push(FieldError::duplicate(path.index(i).child("deviceID"), id.join("/")));
        }
    }
    errors
}

/// What a driver tells of a device.
fn told(device: &Value, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let conditions = path.child("conditions");
    let count = items(&device["conditions"]).len();
    if count > CONDITIONS_MAX {
        errors.push(FieldError::too_many(conditions, count, CONDITIONS_MAX));
    }
    errors.extend(shared::conditions(&device["conditions"], &conditions));
    if given(&device["data"]) {
        errors.extend(raw_object(&device["data"], DATA_BYTES_MAX, &path.child("data")));
    }
    let network = &device["networkData"];
    let at = path.child("networkData");
    for (key, max) in [
        ("interfaceName", INTERFACE_BYTES_MAX),
        ("hardwareAddress", HARDWARE_BYTES_MAX),
    ] {
        if text(&network[key]).len() > max {
            errors.push(FieldError::too_long(at.child(key), max));
        }
    }
    errors.extend(each_once(
        &network["ips"],
        IPS_MAX,
        "",
        &at.child("ips"),
        |address, at| interface_address(text(address), at),
    ));
    errors
}

/// An address with the length of its network's prefix, in canonical form.
fn interface_address(text: &str, path: &Path<'_>) -> Errors {
    let Some((address, length)) = parse_legacy_cidr(text) else {
        let detail = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)";
        return vec![FieldError::invalid(path, text, detail)];
    };
    match format!("{address}/{length}") {
        canonical if canonical == text => Errors::new(),
        canonical => {
            let detail = format!("must be in canonical form ({canonical:?})");
            vec![FieldError::invalid(path, text, &detail)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claim(status: Value) -> Value {
        json!({"spec": {"devices": {"requests": [{"name": "r"}]}}, "status": status})
    }

    fn allocation(device: &str) -> Value {
        let result = json!({"request": "r", "driver": "d.example.com", "pool": "p", "device": device});
        json!({"devices": {"results": [result]}})
    }

    #[test]
    fn an_allocation_stays() {
        let none = claim(json!({}));
        let one = claim(json!({"allocation": allocation("a")}));
        assert_eq!(update(&one, &none), []);
        assert_eq!(update(&claim(json!({"allocation": allocation("b")})), &one).len(), 1);
    }

    #[test]
    fn only_what_is_allocated_is_reserved_and_told_of() {
        let consumer = json!({"resource": "pods", "name": "n", "uid": "u"});
        assert_eq!(update(&claim(json!({"reservedFor": [consumer]})), &json!({})).len(), 1);
        let device = json!({"driver": "d.example.com", "pool": "p", "device": "z"});
        let told = claim(json!({"allocation": allocation("a"), "devices": [device]}));
        assert_eq!(update(&told, &told).len(), 1);
    }
}
