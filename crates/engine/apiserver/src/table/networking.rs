//! Cells of networking and endpoint slices.

use serde_json::Value;

use super::Row;
use super::format::{limited, or_none, selector, texts};

pub(super) fn cells(plural: &str, row: &Row<'_>) -> Option<Vec<Value>> {
    let (name, age) = (row.name(), row.age());
    Some(match plural {
        "ingresses" => ingress(row),
        "ingressclasses" => {
            let parameters = row.at("spec.parameters");
            let text = |key: &str| parameters[key].as_str().unwrap_or_default();
            let shown = match (text("kind"), text("apiGroup")) {
                ("", _) => String::new(),
                (kind, "") => format!("{kind}/{}", text("name")),
                (kind, group) => format!("{kind}.{group}/{}", text("name")),
            };
            vec![name, row.text("spec.controller").into(), or_none(&shown), age]
        }
        "networkpolicies" => vec![name, selector(row.at("spec.podSelector")), age],
        "servicecidrs" => vec![name, texts(row.at("spec.cidrs")).join(",").into(), age],
        "ipaddresses" => {
            let parent = row.at("spec.parentRef");
            let text = |key: &str| parent[key].as_str().unwrap_or_default();
            let resource = match text("group") {
                "" => text("resource").to_owned(),
                group => format!("{}.{group}", text("resource")),
            };
            let shown = match text("namespace") {
                "" => format!("{resource}/{}", text("name")),
                namespace => format!("{resource}/{namespace}/{}", text("name")),
            };
            vec![name, shown.into()]
        }
        "endpointslices" => endpoint_slice(row),
        _ => return None,
    })
}

fn ingress(row: &Row<'_>) -> Vec<Value> {
    let rules = row.at("spec.rules").as_array().into_iter().flatten();
    let hosts: Vec<String> = rules
        .filter_map(|r| r["host"].as_str().filter(|h| !h.is_empty()).map(str::to_owned))
        .collect();
    let hosts = if hosts.is_empty() {
        "*".to_owned()
    } else {
        limited(&hosts, 3)
    };
    let addresses: Vec<&str> = row
        .at("status.loadBalancer.ingress")
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|i| i["ip"].as_str().filter(|ip| !ip.is_empty()).or(i["hostname"].as_str()))
        .collect();
    let tls = row.at("spec.tls").as_array().is_some_and(|t| !t.is_empty());
    vec![
        row.name(),
        or_none(row.text("spec.ingressClassName")),
        hosts.into(),
        addresses.join(",").into(),
        if tls { "80, 443" } else { "80" }.into(),
        row.age(),
    ]
}

fn endpoint_slice(row: &Row<'_>) -> Vec<Value> {
    let ports: Vec<String> = row
        .at("ports")
        .as_array()
        .into_iter()
        .flatten()
        .map(|p| match p["port"].as_i64() {
            Some(port) => port.to_string(),
            None => "*".into(),
        })
        .collect();
    let addresses: Vec<String> = row
        .at("endpoints")
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|e| texts(&e["addresses"]).into_iter().map(str::to_owned))
        .collect();
    let shown = |all: &[String]| {
        if all.is_empty() {
            "<unset>".to_owned()
        } else {
            limited(all, 3)
        }
    };
    vec![
        row.name(),
        row.text("addressType").into(),
        shown(&ports).into(),
        shown(&addresses).into(),
        row.age(),
    ]
}
