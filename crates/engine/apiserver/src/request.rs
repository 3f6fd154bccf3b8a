//! What a request is about: verb, group, version, resource, namespace, name, subresource (upstream `RequestInfo`).

use http::Method;
use percent_encoding::percent_decode_str;

use crate::authorizer::{Attributes, Identity};
use crate::query::Query;

/// The decoded target of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestInfo {
    /// Whether it is about a resource; otherwise only `verb` and `path` matter.
    pub resource_request: bool,
    /// Path of the URL, as sent.
    pub path: String,
    /// API verb, or the lower-case HTTP method for a path. Empty for a method without a verb.
    pub verb: String,
    /// API group, empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Namespace, empty for none.
    pub namespace: String,
    /// Plural resource name.
    pub resource: String,
    /// Object name, empty for the collection.
    pub name: String,
    /// Name in the path only: a list narrowed to one name by its field selector has none.
    pub path_name: String,
    /// Subresource, empty for none.
    pub subresource: String,
    /// Path segments after the subresource (of a proxy).
    pub rest: Vec<String>,
    /// Whether the path has the deprecated `/watch/` element.
    pub watch_path: bool,
    /// Parsed query.
    pub query: Query,
}

/// Subresources of a namespace: `/namespaces/x/status` is not a resource `status` in a namespace.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];

impl RequestInfo {
    /// Decodes a method and a URL.
    pub fn decode(method: &Method, uri: &http::Uri) -> Self {
        let path = uri.path();
        let mut info = Self {
            path: path.to_owned(),
            verb: method.as_str().to_ascii_lowercase(),
            query: Query::parse(uri.query().unwrap_or_default()),
            ..Self::default()
        };
        let decoded = |s: &str| percent_decode_str(s).decode_utf8_lossy().into_owned();
        let all: Vec<String> = path.trim_matches('/').split('/').map(decoded).collect();
        let mut parts = all.as_slice();
        if parts.len() < 3 {
            return info;
        }
        match parts[0].as_str() {
            "api" => parts = &parts[1..],
            "apis" if parts.len() >= 4 => {
                info.group = parts[1].clone();
                parts = &parts[2..];
            }
            _ => return info,
        }
        info.resource_request = true;
        info.version = parts[0].clone();
        parts = &parts[1..];
        if parts[0] == "watch" && parts.len() > 1 {
            info.watch_path = true;
            info.verb = "watch".into();
            parts = &parts[1..];
        } else {
            info.verb = match method.as_str() {
                "POST" => "create",
                "GET" | "HEAD" => "get",
                "PUT" => "update",
                "PATCH" => "patch",
                "DELETE" => "delete",
                _ => "",
            }
            .into();
        }
        if parts[0] == "namespaces" && parts.len() > 1 {
            info.namespace = parts[1].clone();
            if parts.len() > 2 && !NAMESPACE_SUBRESOURCES.contains(&parts[2].as_str()) {
                parts = &parts[2..];
            }
        }
        info.resource = parts[0].clone();
        info.name = parts.get(1).cloned().unwrap_or_default();
        if !info.watch_path {
            info.subresource = parts.get(2).cloned().unwrap_or_default();
            info.rest = parts.get(3..).unwrap_or_default().to_vec();
        }
        info.path_name = info.name.clone();
        if info.name.is_empty() {
            if info.verb == "get" {
                let watch = info.query.bool("watch").unwrap_or(false);
                info.verb = if watch { "watch" } else { "list" }.into();
                info.name = name_in_field_selector(info.query.get("fieldSelector"));
            } else if info.verb == "delete" {
                info.verb = "deletecollection".into();
            }
        }
        info
    }

    /// What the authoriser is asked.
    pub fn attributes(&self, identity: &Identity) -> Attributes {
        let selects = matches!(self.verb.as_str(), "list" | "watch" | "deletecollection");
        let selector = |key: &str| {
            if selects {
                self.query.get(key).to_owned()
            } else {
                String::new()
            }
        };
        Attributes {
            identity: identity.clone(),
            verb: self.verb.clone(),
            resource_request: self.resource_request,
            group: self.group.clone(),
            version: self.version.clone(),
            resource: self.resource.clone(),
            subresource: self.subresource.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            path: self.path.clone(),
            field_selector: selector("fieldSelector"),
            label_selector: selector("labelSelector"),
        }
    }
}

/// A list or watch of exactly one name is authorised like that name.
fn name_in_field_selector(selector: &str) -> String {
    selector
        .split(',')
        .find_map(|term| {
            let (key, value) = term.split_once("==").or_else(|| term.split_once('='))?;
            (key == "metadata.name" && !value.is_empty()).then(|| value.to_owned())
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(method: Method, url: &str) -> (String, String, String, String, String, String) {
        let i = RequestInfo::decode(&method, &url.parse().expect("a URL"));
        (i.verb, i.group, i.resource, i.namespace, i.name, i.subresource)
    }

    fn want(
        verb: &str,
        group: &str,
        resource: &str,
        ns: &str,
        name: &str,
        sub: &str,
    ) -> (String, String, String, String, String, String) {
        (
            verb.into(),
            group.into(),
            resource.into(),
            ns.into(),
            name.into(),
            sub.into(),
        )
    }

    #[test]
    fn paths_are_decoded_as_upstream_does() {
        assert_eq!(
            info(Method::GET, "/api/v1/namespaces"),
            want("list", "", "namespaces", "", "", "")
        );
        assert_eq!(
            info(Method::GET, "/api/v1/namespaces/a"),
            want("get", "", "namespaces", "a", "a", "")
        );
        assert_eq!(
            info(Method::PUT, "/api/v1/namespaces/a/finalize"),
            want("update", "", "namespaces", "a", "a", "finalize")
        );
        assert_eq!(
            info(Method::GET, "/api/v1/namespaces/a/pods?watch=1"),
            want("watch", "", "pods", "a", "", "")
        );
        assert_eq!(
            info(Method::DELETE, "/apis/apps/v1/namespaces/a/deployments"),
            want("deletecollection", "apps", "deployments", "a", "", "")
        );
        assert_eq!(
            info(Method::PATCH, "/apis/apps/v1/namespaces/a/deployments/d/scale"),
            want("patch", "apps", "deployments", "a", "d", "scale")
        );
        assert_eq!(
            info(Method::GET, "/api/v1/nodes?fieldSelector=metadata.name%3Dn1"),
            want("list", "", "nodes", "", "n1", "")
        );
        assert_eq!(info(Method::GET, "/apis/apps/v1"), want("get", "", "", "", "", ""));
    }
}
