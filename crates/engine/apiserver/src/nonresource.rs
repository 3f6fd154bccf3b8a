//! Everything that is no resource: discovery, version, health, OpenAPI, metrics, the list of paths.

use std::sync::Arc;

use bytes::Bytes;
use engenho_catalog::discovery::{self, AggregatedRoot, AggregatedVersion};
use engenho_protobuf::OPENAPI_V2_MEDIA_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::aggregate;
use crate::body::Body;
use crate::documents::Document;
use crate::health;
use crate::negotiate::{self, Media};
use crate::pipeline::text;
use crate::request::RequestInfo;
use crate::respond;
use crate::server::Inner;
use crate::status::Status;
use crate::tokens::openid;

/// Of the index of `/openapi/v3`.
const INDEX_TYPE: &str = "text/plain; charset=utf-8";

pub(crate) async fn handle(
    server: &Arc<Inner>,
    info: &RequestInfo,
    request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let (method, headers) = (request.method(), request.headers());
    let path = info.path.trim_end_matches('/');
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match parts.as_slice() {
        [] => Ok(respond::bytes(StatusCode::OK, "application/json", paths(server))),
        [".well-known", "openid-configuration"] | ["openid", "v1", "jwks"] => {
            openid::handle(server, path, method, headers).unwrap_or_else(|| Ok(not_found()))
        }
        ["healthz" | "livez" | "readyz", ..] => Ok(health::handle(server, path, &info.query).unwrap_or_else(not_found)),
        ["metrics"] => {
            let kind = "text/plain; version=0.0.4; charset=utf-8";
            Ok(respond::bytes(StatusCode::OK, kind, metrics(server)))
        }
        ["debug", "api_priority_and_fairness", name] => {
            let details = !info.query.get("includeRequestDetails").is_empty();
            let table = server.fairness.dump(server, name, details);
            Ok(table.map_or_else(not_found, |table| text(StatusCode::OK, table)))
        }
        ["version"] => {
            only_get(method)?;
            let media = json_only(headers)?;
            let version = serde_json::to_value(&server.deps.version).map_err(Status::internal)?;
            let output = negotiate::Output {
                media,
                shape: negotiate::Shape::Object,
                pretty: true,
            };
            Ok(respond::value(StatusCode::OK, &version, &output))
        }
        ["openapi", "v2"] => {
            let content_type = swagger_type(headers)?;
            let served = server.served();
            let document = match content_type {
                OPENAPI_V2_MEDIA_TYPE => served.documents.v2_protobuf(&served.catalog),
                _ => served.documents.v2(&served.catalog),
            };
            Ok(document.map_or_else(not_found, |d| openapi(&d, content_type, headers, false)))
        }
        ["openapi", "v3"] => {
            let served = server.served();
            let mut index = served.documents.index(&served.catalog).clone();
            let elsewhere = server.aggregates.current(&server.storage)?;
            if !elsewhere.is_empty()
                && let Some(bytes) = Box::pin(aggregate::schema_index(server, &elsewhere, &index.bytes)).await
            {
                index.bytes = bytes;
            }
            Ok(openapi(&index, INDEX_TYPE, headers, false))
        }
        ["openapi", "v3", rest @ ..] => {
            let served = server.served();
            let document = served.documents.v3(&served.catalog, &rest.join("/"));
            Ok(document.map_or_else(not_found, |d| {
                let fixed = info.query.find("hash").is_some_and(|hash| hash == d.hash);
                openapi(&d, "application/json", headers, fixed)
            }))
        }
        ["api" | "apis", ..] => discover(server, &parts, method, headers).await,
        _ => Ok(not_found()),
    }
}

/// The server's metrics and those of its authorizer.
fn metrics(server: &Inner) -> String {
    let mut text = String::from_utf8_lossy(&server.metrics.encode(server)).into_owned();
    server.deps.authorizer.metrics(&mut text);
    text
}

pub(crate) fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

fn only_get(method: &Method) -> Result<(), Status> {
    if method == Method::GET {
        Ok(())
    } else {
        Err(Status::method_not_allowed())
    }
}

/// The form of the OpenAPI v2 document that the client wants: JSON, or protobuf by its name of today or of old.
fn swagger_type(headers: &HeaderMap) -> Result<&'static str, Status> {
    const JSON: &str = "application/json";
    let accept = negotiate::accept(headers);
    if accept.trim().is_empty() {
        return Ok(JSON);
    }
    let wanted = negotiate::clauses(&accept)
        .into_iter()
        .find_map(|clause| match clause.media {
            JSON | "application/*" | "*/*" => Some(JSON),
            OPENAPI_V2_MEDIA_TYPE | "application/com.github.proto-openapi.spec.v2@v1.0+protobuf" => {
                Some(OPENAPI_V2_MEDIA_TYPE)
            }
            _ => None,
        });
    wanted.ok_or_else(|| Status::not_acceptable(JSON))
}

fn json_only(headers: &HeaderMap) -> Result<Media, Status> {
    negotiate::plain_output(headers, false)
}

async fn discover(
    server: &Inner,
    parts: &[&str],
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response<Body>, Status> {
    let catalog = server.catalog();
    let elsewhere = server.aggregates.current(&server.storage)?;
    let of_others = |group: &str| aggregate::group(&elsewhere, group, None).is_some();
    let known = match parts {
        ["api"] | ["apis"] => true,
        ["api", version] => catalog.group_version("", version).is_some(),
        ["apis", group] => catalog.group(group).is_some() || of_others(group),
        ["apis", group, version] => catalog.group_version(group, version).is_some(),
        _ => false,
    };
    if !known {
        return Ok(not_found());
    }
    only_get(method)?;
    if let ["api"] | ["apis"] = parts
        && let Some(version) = aggregated(headers)
    {
        let root = if parts[0] == "api" {
            AggregatedRoot::Core
        } else {
            AggregatedRoot::Groups
        };
        let mut bytes = discovery::aggregated(&catalog, root, version);
        if root == AggregatedRoot::Groups
            && !elsewhere.is_empty()
            && let Some(all) = Box::pin(aggregate::groups_aggregated(server, &elsewhere, &bytes)).await
        {
            bytes = all;
        }
        return Ok(tagged(bytes, version.content_type(), headers));
    }
    let media = negotiate::plain_output(headers, true)?;
    let document = match parts {
        ["api"] => Some(discovery::api_versions(&catalog, &server.deps.options.addresses)),
        ["apis"] => Some(discovery::group_list(&catalog)),
        ["api", version] => discovery::resource_list(&catalog, "", version),
        ["apis", group] => discovery::group(&catalog, group),
        ["apis", group, version] => discovery::resource_list(&catalog, group, version),
        _ => None,
    };
    let document = match parts {
        ["apis"] if !elsewhere.is_empty() => document.and_then(|own| aggregate::groups(&elsewhere, &own)),
        ["apis", group] if of_others(group) => aggregate::group(&elsewhere, group, document.as_ref()),
        _ => document,
    };
    let Some(document) = document else {
        return Ok(not_found());
    };
    match media {
        Media::Json => Ok(respond::bytes(StatusCode::OK, media.content_type(), document)),
        Media::Yaml | Media::Protobuf => {
            let mut value: Value = serde_json::from_slice(&document).map_err(Status::internal)?;
            // The oldest documents name no version in JSON; an envelope has to.
            if media == Media::Protobuf && value.get("apiVersion").is_none() {
                value["apiVersion"] = "v1".into();
            }
            let output = negotiate::Output {
                media,
                shape: negotiate::Shape::Object,
                pretty: false,
            };
            Ok(respond::value(StatusCode::OK, &value, &output))
        }
    }
}

/// The aggregated version that the client prefers to the plain documents, if any.
fn aggregated(headers: &HeaderMap) -> Option<AggregatedVersion> {
    let accept = negotiate::accept(headers);
    for clause in negotiate::clauses(&accept) {
        if clause.media != "application/json" {
            continue;
        }
        match (clause.param("as"), clause.param("g"), clause.param("v")) {
            ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => return Some(AggregatedVersion::V2),
            ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2beta1") => return Some(AggregatedVersion::V2Beta1),
            ("", _, _) => return None,
            _ => {}
        }
    }
    None
}

/// An answer with an entity tag: 304 if the client has it already.
fn tagged(bytes: Bytes, content_type: &'static str, headers: &HeaderMap) -> Response<Body> {
    let hash = blake3::hash(&bytes).to_hex();
    let etag = format!("\"{}\"", hash.to_uppercase());
    let mut response = respond::bytes(StatusCode::OK, content_type, bytes);
    set_etag(&mut response, &etag, headers);
    response
        .headers_mut()
        .insert(header::VARY, HeaderValue::from_static("Accept"));
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    response
}

fn set_etag(response: &mut Response<Body>, etag: &str, headers: &HeaderMap) {
    let matches = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|have| have.split(',').any(|one| one.trim().trim_start_matches("W/") == etag));
    if let Ok(value) = HeaderValue::from_str(etag) {
        response.headers_mut().insert(header::ETAG, value);
    }
    if matches {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = crate::body::empty();
    }
}

/// An OpenAPI document. One that was asked for by its hash never changes.
fn openapi(document: &Document, content_type: &'static str, headers: &HeaderMap, fixed: bool) -> Response<Body> {
    let mut response = respond::bytes(StatusCode::OK, content_type, document.bytes.clone());
    // The index has no entity tag.
    if content_type != INDEX_TYPE {
        set_etag(&mut response, &format!("\"{}\"", document.hash), headers);
        response
            .headers_mut()
            .insert(header::VARY, HeaderValue::from_static("Accept"));
        let caching = if fixed {
            "public, immutable"
        } else {
            "no-cache, private"
        };
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    }
    response
}

/// `/`: what there is.
fn paths(server: &Inner) -> Bytes {
    let catalog = server.catalog();
    let mut paths: Vec<String> = [
        "/api",
        "/api/v1",
        "/apis",
        "/apis/",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/readyz",
        "/version",
    ]
    .map(str::to_owned)
    .into();
    if server.deps.issuer.is_some() {
        paths.extend([openid::CONFIGURATION, openid::KEYS].map(str::to_owned));
    }
    for kind in ["healthz", "livez", "readyz"] {
        paths.extend(["ping", "log"].map(|check| format!("/{kind}/{check}")));
    }
    for group in catalog.groups().iter().filter(|g| !g.name.is_empty()) {
        paths.push(format!("/apis/{}", group.name));
        paths.extend(
            group
                .versions
                .iter()
                .map(|version| format!("/apis/{}/{version}", group.name)),
        );
    }
    paths.sort();
    let mut text = serde_json::to_vec_pretty(&json!({ "paths": paths })).unwrap_or_default();
    text.push(b'\n');
    text.into()
}
