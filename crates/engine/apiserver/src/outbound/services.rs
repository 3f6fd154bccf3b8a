//! Where a Service is reached: at a ready endpoint, an external name, or its cluster IP.

use engenho_catalog::Catalog;
use engenho_catalog::Resource;
use engenho_validation::get::{items, text};
use revoada_core::env::Entropy;
use serde_json::Value;

use crate::context::parse_stored;
use crate::random;
use crate::status::{GroupResource, Status};
use crate::storage::Storage;

/// The label of an EndpointSlice that names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// A Service, as objects refer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceRef<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// A port of it.
    pub port: u16,
}

impl ServiceRef<'_> {
    /// The name that certificates of its servers are for.
    pub fn server_name(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }
}

/// Host and port to dial for a Service.
pub(crate) fn resolve(
    storage: &Storage,
    catalog: &Catalog,
    entropy: &dyn Entropy,
    of: &ServiceRef<'_>,
) -> Result<(String, u16), Status> {
    let missing = || {
        let services = GroupResource {
            group: "",
            resource: "service",
        };
        Status::not_found(services, of.name)
    };
    let read = |group: &str, plural: &str| -> Result<Option<Value>, Status> {
        let Some(resource) = catalog.resource(group, "v1", plural) else {
            return Ok(None);
        };
        let stored = storage.get(&resource.storage_key(of.namespace, of.name))?;
        stored.map(|stored| parse_stored(&stored.bytes)).transpose()
    };
    let service = read("", "services")?.ok_or_else(missing)?;
    let slices = match catalog.resource("discovery.k8s.io", "v1", "endpointslices") {
        Some(resource) => slices(storage, resource, of)?,
        None => Vec::new(),
    };
    let endpoints = read("", "endpoints")?;
    let mut choose = |of: usize| if of > 1 { random::below(entropy, of) } else { 0 };
    pick(&service, &slices, endpoints.as_ref(), of.port, &mut choose)
}

fn slices(storage: &Storage, resource: &Resource, of: &ServiceRef<'_>) -> Result<Vec<Value>, Status> {
    let mut slices = Vec::new();
    for kv in &storage.list(&resource.storage_namespace_prefix(of.namespace))?.kvs {
        let slice = parse_stored(&storage.open(kv)?.bytes)?;
        if slice["metadata"]["labels"][SERVICE_NAME] == of.name {
            slices.push(slice);
        }
    }
    Ok(slices)
}

fn unavailable(text: &str) -> Status {
    Status::service_unavailable(text)
}

/// Decides by the Service and what is known of its endpoints. `choose` gives a number below its argument.
fn pick(
    service: &Value,
    slices: &[Value],
    endpoints: Option<&Value>,
    port: u16,
    choose: &mut dyn FnMut(usize) -> usize,
) -> Result<(String, u16), Status> {
    let name = text(&service["metadata"]["name"]);
    let spec = &service["spec"];
    if spec["type"] == "ExternalName" {
        return Ok((text(&spec["externalName"]).to_owned(), port));
    }
    let found = items(&spec["ports"]).iter().find(|p| p["port"] == port);
    let Some(wanted) = found else {
        return Err(unavailable(&format!(
            "no service port {port} found for service {name:?}"
        )));
    };
    let wanted = text(&wanted["name"]);
    let mut ready = from_slices(slices, wanted, text(&spec["ipFamilies"][0]));
    if ready.is_empty() {
        ready = endpoints
            .map(|endpoints| from_endpoints(endpoints, wanted))
            .unwrap_or_default();
    }
    if !ready.is_empty() {
        return Ok(ready.swap_remove(choose(ready.len())));
    }
    // Nobody keeps endpoints of a Service without a selector: what its address leads to is not known here.
    let kept = spec["selector"].as_object().is_some_and(|s| !s.is_empty()) || !slices.is_empty() || endpoints.is_some();
    match text(&spec["clusterIP"]) {
        "" | "None" => Err(unavailable(&format!("no endpoints available for service {name:?}"))),
        _ if kept => Err(unavailable(&format!("no endpoints available for service {name:?}"))),
        address => Ok((address.to_owned(), port)),
    }
}

fn port_of(port: &Value) -> Option<u16> {
    port["port"].as_u64().and_then(|port| u16::try_from(port).ok())
}

/// Ready endpoints, of the preferred family if there are any of it.
fn from_slices(slices: &[Value], wanted: &str, family: &str) -> Vec<(String, u16)> {
    let of = |preferred: bool| {
        let mut found = Vec::new();
        for slice in slices {
            if (slice["addressType"] == family) != preferred || slice["addressType"] == "FQDN" {
                continue;
            }
            let port = items(&slice["ports"]).iter().find(|p| text(&p["name"]) == wanted);
            let Some(port) = port.and_then(port_of) else { continue };
            for endpoint in items(&slice["endpoints"]) {
                let address = text(&endpoint["addresses"][0]);
                if endpoint["conditions"]["ready"] != false && !address.is_empty() {
                    found.push((address.to_owned(), port));
                }
            }
        }
        found
    };
    let preferred = of(true);
    if preferred.is_empty() { of(false) } else { preferred }
}

fn from_endpoints(endpoints: &Value, wanted: &str) -> Vec<(String, u16)> {
    let mut found = Vec::new();
    for subset in items(&endpoints["subsets"]) {
        let port = items(&subset["ports"]).iter().find(|p| text(&p["name"]) == wanted);
        let Some(port) = port.and_then(port_of) else { continue };
        let addresses = items(&subset["addresses"]).iter().map(|a| text(&a["ip"]));
        found.extend(addresses.filter(|ip| !ip.is_empty()).map(|ip| (ip.to_owned(), port)));
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn first(service: &Value, slices: &[Value], endpoints: Option<&Value>, port: u16) -> Result<(String, u16), String> {
        pick(service, slices, endpoints, port, &mut |_| 0).map_err(|status| status.message)
    }

    fn service(spec: Value) -> Value {
        json!({"metadata": {"name": "s"}, "spec": spec})
    }

    fn slice(family: &str, address: &str, ready: Value) -> Value {
        json!({"addressType": family, "ports": [{"name": "web", "port": 8443}, {"name": "", "port": 1}],
               "endpoints": [{"addresses": [address], "conditions": {"ready": ready}}]})
    }

    #[test]
    fn ready_endpoints_come_first() {
        let plain = service(
            json!({"type": "ClusterIP", "clusterIP": "10.0.0.1", "ipFamilies": ["IPv6"],
                                   "ports": [{"name": "web", "port": 443}, {"port": 80, "name": "odd"}]}),
        );
        let four = slice("IPv4", "1.1.1.1", Value::Null);
        let six = slice("IPv6", "fd00::1", json!(true));
        let gone = slice("IPv6", "fd00::2", json!(false));
        assert_eq!(
            first(&plain, &[four.clone(), six], None, 443),
            Ok(("fd00::1".into(), 8443))
        );
        assert_eq!(
            first(&plain, &[four, gone.clone()], None, 443),
            Ok(("1.1.1.1".into(), 8443))
        );
        let endpoints = json!({"subsets": [{"ports": [{"name": "web", "port": 9}], "addresses": [{"ip": "2.2.2.2"}]}]});
        assert_eq!(first(&plain, &[], Some(&endpoints), 443), Ok(("2.2.2.2".into(), 9)));
        assert_eq!(first(&plain, &[], None, 443), Ok(("10.0.0.1".into(), 443)));
        let none = Err("no endpoints available for service \"s\"".to_owned());
        assert_eq!(first(&plain, &[gone], None, 443), none);
        assert_eq!(first(&plain, &[], Some(&json!({})), 80), none);
        let port = Err("no service port 7 found for service \"s\"".to_owned());
        assert_eq!(first(&plain, &[], None, 7), port);
    }

    #[test]
    fn names_and_headless_services() {
        let external = service(json!({"type": "ExternalName", "externalName": "a.example"}));
        assert_eq!(first(&external, &[], None, 8443), Ok(("a.example".into(), 8443)));
        let headless = service(json!({"type": "ClusterIP", "clusterIP": "None", "ports": [{"port": 443}]}));
        assert!(first(&headless, &[], None, 443).is_err());
        let slices = [slice("IPv4", "1.1.1.1", json!(true))];
        assert_eq!(first(&headless, &slices, None, 443), Ok(("1.1.1.1".into(), 1)));
    }
}
