//! What is recorded of a request (`audit.k8s.io/v1` `Event`).

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::policy::{Level, Stage};

/// An event.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    kind: &'static str,
    api_version: &'static str,
    /// How much is recorded.
    pub level: Level,
    /// Id of the request, the same in all of its events.
    #[serde(rename = "auditID")]
    pub audit_id: String,
    /// When in its life.
    pub stage: Stage,
    /// URI as sent.
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    /// API verb, or the lower-case method for a path.
    pub verb: String,
    /// Who was authenticated.
    pub user: UserInfo,
    /// As whom the request was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonated_user: Option<UserInfo>,
    /// Addresses it came from, through proxies.
    #[serde(rename = "sourceIPs", skip_serializing_if = "Vec::is_empty")]
    pub source_ips: Vec<String>,
    /// What the client calls itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_agent: String,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_ref: Option<ObjectReference>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_status: Option<ResponseStatus>,
    /// Body of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_object: Option<Value>,
    /// Body of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_object: Option<Value>,
    /// When it arrived.
    pub request_received_timestamp: String,
    /// When the stage was reached.
    pub stage_timestamp: String,
    /// What was noted on the way.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct UserInfo {
    /// Name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// Uid.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// What else the authenticator says.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

impl From<&engenho_authz::Identity> for UserInfo {
    fn from(identity: &engenho_authz::Identity) -> Self {
        Self {
            username: identity.user.clone(),
            uid: identity.uid.clone(),
            groups: identity.groups.clone(),
            extra: identity.extra.clone(),
        }
    }
}

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReference {
    /// Plural resource name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource: String,
    /// Namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Uid, if the body names it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// API group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_group: String,
    /// API version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    /// Resource version, if the body names it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// Subresource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subresource: String,
}

/// The parts of a `Status` that are recorded.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct ResponseStatus {
    metadata: Nothing,
    /// `Success` or `Failure`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// Text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Machine-readable reason.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Details.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// HTTP status code.
    pub code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
struct Nothing {}

impl ResponseStatus {
    /// An outcome of which only the code is known.
    pub fn code(code: u16) -> Self {
        Self {
            code,
            ..Self::default()
        }
    }

    /// The outcome that a `Status` object tells; `None` if the object is none.
    pub fn of(object: &Value, code: u16) -> Option<Self> {
        if object["kind"] != "Status" || object["apiVersion"] != "v1" {
            return None;
        }
        let text = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
        Some(Self {
            metadata: Nothing {},
            status: text("status"),
            message: text("message"),
            reason: text("reason"),
            details: object.get("details").cloned(),
            code,
        })
    }
}

impl Event {
    /// An event of a request that has just arrived.
    pub fn received(level: Level, audit_id: String, timestamp: String) -> Self {
        Self {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level,
            audit_id,
            stage: Stage::RequestReceived,
            request_uri: String::new(),
            verb: String::new(),
            user: UserInfo::default(),
            impersonated_user: None,
            source_ips: Vec::new(),
            user_agent: String::new(),
            object_ref: None,
            response_status: None,
            request_object: None,
            response_object: None,
            request_received_timestamp: timestamp.clone(),
            stage_timestamp: timestamp,
            annotations: BTreeMap::new(),
        }
    }
}

/// An object, a list or a table without the managed fields of its objects.
pub fn without_managed_fields(mut value: Value) -> Value {
    let strip = |object: &mut Value| {
        if let Some(Value::Object(meta)) = object.get_mut("metadata") {
            meta.remove("managedFields");
        }
    };
    strip(&mut value);
    for key in ["items", "rows"] {
        if let Some(Value::Array(entries)) = value.get_mut(key) {
            for entry in entries {
                strip(entry);
                if let Some(object) = entry.get_mut("object") {
                    strip(object);
                }
            }
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_written_as_upstream_writes_them() {
        let mut event = Event::received(Level::Metadata, "id".into(), "2024-01-01T00:00:00.000000Z".into());
        event.verb = "get".into();
        event.request_uri = "/api".into();
        event.user.username = "u".into();
        event.response_status = Some(ResponseStatus::code(200));
        let text = serde_json::to_string(&event).expect("JSON");
        assert_eq!(
            text,
            concat!(
                r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"id","#,
                r#""stage":"RequestReceived","requestURI":"/api","verb":"get","user":{"username":"u"},"#,
                r#""responseStatus":{"metadata":{},"code":200},"#,
                r#""requestReceivedTimestamp":"2024-01-01T00:00:00.000000Z","#,
                r#""stageTimestamp":"2024-01-01T00:00:00.000000Z"}"#
            )
        );
    }

    #[test]
    fn managed_fields_go_wherever_they_are() {
        let object = || json!({"metadata": {"name": "a", "managedFields": [{}]}});
        let bare = json!({"metadata": {"name": "a"}});
        assert_eq!(without_managed_fields(object()), bare);
        assert_eq!(
            without_managed_fields(json!({"items": [object()]})),
            json!({"items": [bare]})
        );
        assert_eq!(
            without_managed_fields(json!({"rows": [{"object": object()}]})),
            json!({"rows": [{"object": bare}]})
        );
        assert_eq!(without_managed_fields(json!(7)), json!(7));
    }
}
