//! What a Service gets from the cluster: address families, addresses of the service range, node ports (upstream's
//! Service REST storage).

mod claims;
mod families;
mod fields;

use serde_json::{Value, json};

pub(crate) use claims::Range;
use claims::{ClaimError, Claims};

use crate::context::{Context, parse_stored};
use crate::object;
use crate::server::ApiServer;
use crate::status::{FieldError, Status};
use crate::storage::Along;
use crate::times;
use crate::write::now;

/// Whether the request's objects are Services.
pub(crate) fn concerns(context: &Context) -> bool {
    context.resource.group.is_empty() && context.resource.plural == "services"
}

fn families_of(ranges: &[Range]) -> Vec<&'static str> {
    ranges.iter().map(Range::family).collect()
}

fn invalid(context: &Context, service: &Value, errors: &[FieldError]) -> Status {
    context.invalid(object::name(service), errors)
}

fn claims<'a>(context: &'a Context, owner: (&'a str, &'a str)) -> Claims<'a> {
    let server = &context.server;
    Claims::new(
        context.storage(),
        &context.catalog,
        &*server.deps.entropy,
        &server.service_ranges,
        owner,
        now(context),
    )
}

/// Completes a new Service. Gives what is written with it.
pub(crate) fn create(context: &Context, service: &mut Value) -> Result<Along, Status> {
    let (namespace, name) = (context.info.namespace.clone(), object::name(service).to_owned());
    let mut claims = claims(context, (&namespace, &name));
    fields::normalise_cluster_ips(service, None);
    complete_families(context, service, None)?;
    allocate_addresses(context, &mut claims, service)?;
    if matches!(fields::kind(service), "NodePort" | "LoadBalancer") {
        allocate_ports(context, &mut claims, service)?;
    }
    if fields::needs_health_check_port(service) {
        allocate_health_check_port(&mut claims, service)?;
    }
    Ok(claims.into_along())
}

/// Completes the replacement of a Service. Gives what is written and deleted with it.
pub(crate) fn update(context: &Context, new: &mut Value, old: &Value) -> Result<Along, Status> {
    let (namespace, name) = (context.info.namespace.clone(), object::name(old).to_owned());
    let mut claims = claims(context, (&namespace, &name));
    fields::keep_allocated(new, old);
    fields::normalise_cluster_ips(new, Some(old));
    complete_families(context, new, Some(old))?;
    update_addresses(context, &mut claims, new, old)?;
    if matches!(fields::kind(new), "NodePort" | "LoadBalancer") {
        update_ports(context, &mut claims, new, old)?;
    }
    if fields::needs_health_check_port(new)
        && (!fields::needs_health_check_port(old) || fields::health_check_port(old) == 0)
    {
        allocate_health_check_port(&mut claims, new)?;
    }
    fields::drop_void(new, old);
    let kept = fields::node_ports(new);
    for port in fields::node_ports(old).into_iter().filter(|port| !kept.contains(port)) {
        claims.free_port(port)?;
    }
    Ok(claims.into_along())
}

/// What is deleted with a Service.
pub(crate) fn delete(context: &Context, old: &Value) -> Result<Along, Status> {
    let (namespace, name) = (object::namespace(old), object::name(old));
    let mut claims = claims(context, (namespace, name));
    for ip in fields::cluster_ips(old) {
        claims.free_address(ip)?;
    }
    for port in fields::node_ports(old) {
        claims.free_port(port)?;
    }
    Ok(claims.into_along())
}

/// Takes the addresses and node ports of Services that have them and never took them: those the cluster begins with.
/// Says how many Services that were. To be called on the leader, with its term as `fence`.
pub(crate) async fn claim_all(api: &ApiServer, fence: Option<u64>) -> Result<usize, Status> {
    let (storage, catalog) = (api.storage(), api.catalog());
    let Some(resource) = catalog.resource("", "v1", "services") else {
        return Ok(0);
    };
    let mut claimed = 0;
    for kv in storage.list(&resource.storage_prefix())?.kvs {
        let service: Value = parse_stored(&storage.open(&kv)?.bytes)?;
        let owner = (object::namespace(&service), object::name(&service));
        let deps = &api.inner.deps;
        let mut claims = Claims::new(
            storage,
            &catalog,
            &*deps.entropy,
            &api.inner.service_ranges,
            owner,
            times::seconds(deps.clock.unix_ms()),
        );
        for ip in fields::cluster_ips(&service) {
            // Taken already: by this Service, as it should be.
            let _ = claims.address(ip)?;
        }
        for port in fields::node_ports(&service) {
            let _ = claims.port(port);
        }
        let along = claims.into_along();
        if !along.is_empty() && storage.txn(along.into_txn(), fence).await? {
            claimed += 1;
        }
    }
    Ok(claimed)
}

fn complete_families(context: &Context, new: &mut Value, old: Option<&Value>) -> Result<(), Status> {
    let cluster = families_of(&context.server.service_ranges);
    families::complete(new, old, &cluster).map_err(|errors| invalid(context, new, &errors))
}

/// An address for each family that has none yet; those that are named are taken.
fn allocate_addresses(context: &Context, claims: &mut Claims<'_>, service: &mut Value) -> Result<(), Status> {
    if fields::kind(service) == "ExternalName" || fields::is_headless(service) {
        return Ok(());
    }
    let wanted: Vec<String> = fields::list(service, "ipFamilies")
        .into_iter()
        .map(str::to_owned)
        .collect();
    let given: Vec<String> = fields::list(service, "clusterIPs")
        .into_iter()
        .map(str::to_owned)
        .collect();
    let mut addresses = Vec::new();
    for (i, family) in wanted.iter().enumerate() {
        addresses.push(match given.get(i).filter(|ip| !ip.is_empty()) {
            Some(ip) => {
                claim_address(context, claims, service, ip)?;
                ip.clone()
            }
            None => any_address(claims, family)?,
        });
    }
    set_addresses(service, &addresses);
    Ok(())
}

fn set_addresses(service: &mut Value, addresses: &[String]) {
    if let Some(first) = addresses.first() {
        fields::set(service, "clusterIP", first.as_str());
        fields::set(service, "clusterIPs", addresses.to_vec());
    }
}

fn claim_address(context: &Context, claims: &mut Claims<'_>, service: &Value, ip: &str) -> Result<(), Status> {
    claims.address(ip)?.map_err(|error| {
        let detail = format!("failed to allocate IP {ip}: {error}");
        let given = service["spec"]["clusterIPs"].clone();
        invalid(
            context,
            service,
            &[FieldError::invalid("spec.clusterIPs", given, &detail)],
        )
    })
}

fn any_address(claims: &mut Claims<'_>, family: &str) -> Result<String, Status> {
    let failed = |error| Status::internal(format!("failed to allocate a serviceIP: {error}"));
    claims.any_address(family)?.map_err(failed)
}

/// A change of type or of the number of families takes addresses or gives them up.
fn update_addresses(context: &Context, claims: &mut Claims<'_>, new: &mut Value, old: &Value) -> Result<(), Status> {
    if families::stays_as_it_is(new, Some(old)) {
        return Ok(());
    }
    let (was, is) = (fields::kind(old) == "ExternalName", fields::kind(new) == "ExternalName");
    if was && !is {
        return allocate_addresses(context, claims, new);
    }
    if fields::is_headless(old) {
        return Ok(());
    }
    if !was && is {
        return fields::cluster_ips(old)
            .into_iter()
            .try_for_each(|ip| claims.free_address(ip));
    }
    let count = |service: &Value| fields::list(service, "ipFamilies").len();
    if count(old) == 1 && count(new) == 2 {
        let mut addresses: Vec<String> = fields::list(new, "clusterIPs").into_iter().map(str::to_owned).collect();
        let second = fields::list(new, "ipFamilies")[1].to_owned();
        match addresses.get(1).filter(|ip| !ip.is_empty()).cloned() {
            Some(ip) => claim_address(context, claims, new, &ip)?,
            None => {
                addresses.truncate(1);
                addresses.push(any_address(claims, &second)?);
            }
        }
        set_addresses(new, &addresses);
    } else if count(old) == 2
        && count(new) == 1
        && let Some(second) = fields::cluster_ips(old).get(1)
    {
        claims.free_address(second)?;
    }
    Ok(())
}

fn port_refused(context: &Context, service: &Value, at: usize, port: u16, error: &ClaimError) -> Status {
    let error = FieldError::invalid(format!("spec.ports[{at}].nodePort"), port, &error.to_string());
    invalid(context, service, &[error])
}

fn any_port(claims: &mut Claims<'_>) -> Result<u16, Status> {
    let failed = |error| Status::internal(format!("failed to allocate a nodePort: {error}"));
    claims.any_port().map_err(failed)
}

/// Node ports of a new Service. Ports of one number, for several protocols, share theirs.
fn allocate_ports(context: &Context, claims: &mut Claims<'_>, service: &mut Value) -> Result<(), Status> {
    let automatic = fields::allocates_node_ports(service);
    let mut shared: Vec<(Value, u16)> = Vec::new();
    for at in 0..fields::ports(service).len() {
        let (number, named) = {
            let port = &fields::ports(service)[at];
            (port["port"].clone(), fields::node_port(port))
        };
        if named == 0 && !automatic {
            continue;
        }
        let have = shared.iter().find(|(of, _)| *of == number).map(|(_, port)| *port);
        let port = match have {
            Some(have) if named == 0 || named == have => have,
            Some(_) => {
                claims
                    .port(named)
                    .map_err(|error| port_refused(context, service, at, named, &error))?;
                named
            }
            None => {
                let same = fields::ports(service).iter().filter(|port| port["port"] == number);
                let port = match same.map(fields::node_port).find(|port| *port != 0) {
                    Some(asked) => {
                        claims
                            .port(asked)
                            .map_err(|error| port_refused(context, service, at, asked, &error))?;
                        asked
                    }
                    None => any_port(claims)?,
                };
                shared.push((number, port));
                port
            }
        };
        service["spec"]["ports"][at]["nodePort"] = json!(port);
    }
    Ok(())
}

/// Node ports of a changed Service: those it had stay its own.
fn update_ports(context: &Context, claims: &mut Claims<'_>, new: &mut Value, old: &Value) -> Result<(), Status> {
    let automatic = fields::allocates_node_ports(new);
    let mut own = fields::node_ports(old);
    for at in 0..fields::ports(new).len() {
        let named = fields::node_port(&fields::ports(new)[at]);
        if named == 0 {
            if automatic {
                let port = any_port(claims)?;
                own.push(port);
                new["spec"]["ports"][at]["nodePort"] = json!(port);
            }
        } else if !own.contains(&named) {
            claims
                .port(named)
                .map_err(|error| port_refused(context, new, at, named, &error))?;
            own.push(named);
        }
    }
    Ok(())
}

fn allocate_health_check_port(claims: &mut Claims<'_>, service: &mut Value) -> Result<(), Status> {
    match fields::health_check_port(service) {
        0 => {
            let port = any_port(claims)?;
            fields::set(service, "healthCheckNodePort", port);
            Ok(())
        }
        port => claims.port(port).map_err(|error| {
            Status::internal(format!(
                "failed to allocate requested HealthCheck NodePort {port}: {error}"
            ))
        }),
    }
}
