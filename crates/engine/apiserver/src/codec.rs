//! Bodies to objects: media types, strict decoding against the schema, and upstream's texts for what is wrong.

use bytes::Bytes;
use engenho_catalog::{Catalog, Resource};
use engenho_crd::{Definition, Version};
use engenho_patch::{decode, prune, round_trip, typecheck};
use engenho_protobuf::DecodeError;
use http::HeaderMap;
use serde_json::Value;

use crate::negotiate;
use crate::options::FieldValidation;
use crate::status::Status;

/// Group, version and kind that a body must be of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected<'a> {
    /// API group, empty for the core group.
    pub group: &'a str,
    /// API version.
    pub version: &'a str,
    /// Kind.
    pub kind: &'a str,
}

impl<'a> Expected<'a> {
    /// What a resource's own objects are.
    pub fn of(resource: &'a Resource) -> Self {
        Self {
            group: &resource.group,
            version: &resource.version,
            kind: &resource.kind,
        }
    }

    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        engenho_catalog::resource::api_version(self.group, self.version)
    }
}

/// The text form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON
    Json,
    /// YAML
    Yaml,
    /// Kubernetes protobuf, with its envelope
    Protobuf,
}

/// The format that the headers name.
pub fn format(headers: &HeaderMap) -> Result<Format, Status> {
    match negotiate::content_type(headers).as_str() {
        "" | "application/json" => Ok(Format::Json),
        "application/yaml" => Ok(Format::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(Format::Protobuf),
        _ => Err(Status::unsupported_media_type(negotiate::OBJECT_TYPES)),
    }
}

/// An object with what strict decoding objects to.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The value.
    pub value: Value,
    /// Texts about duplicate fields; those of YAML are one text.
    pub complaints: Vec<String>,
}

/// The warnings that complaints of strict decoding become.
pub fn warnings_of(complaints: &[String]) -> impl Iterator<Item = String> {
    complaints
        .iter()
        .flat_map(|text| engenho_yaml::warnings(text))
        .map(str::to_owned)
}

/// A body as JSON, with what strict decoding of YAML objects to.
fn to_json(bytes: &Bytes, format: Format) -> Result<(Bytes, Option<String>), String> {
    if format != Format::Yaml {
        return Ok((bytes.clone(), None));
    }
    let decoded = engenho_yaml::decode(bytes).map_err(|error| error.to_string())?;
    let json = serde_json::to_vec(&decoded.value).map_err(|error| error.to_string())?;
    Ok((json.into(), decoded.strict_error()))
}

/// The text about a body of no JSON.
fn no_json(error: &decode::DecodeError) -> String {
    format!("couldn't get version/kind; json parse error: {error}")
}

/// Reads a body without looking at its kind.
pub fn parse(bytes: &Bytes, format: Format, expected: &Expected<'_>) -> Result<Parsed, String> {
    match format {
        Format::Protobuf => {
            let default = expected.api_version();
            let value = engenho_protobuf::decode(bytes, Some((&default, expected.kind))).map_err(|e| e.to_string())?;
            Ok(Parsed {
                value,
                complaints: Vec::new(),
            })
        }
        Format::Json | Format::Yaml => {
            let (json, duplicates) = to_json(bytes, format)?;
            let decoded = decode::json(&json).map_err(|error| no_json(&error))?;
            Ok(Parsed {
                value: decoded.value,
                complaints: duplicates.into_iter().chain(decoded.strict_errors).collect(),
            })
        }
    }
}

/// Reads an object of the expected kind. Unknown fields are dropped and, by `validation`, told as `warnings` or refused.
pub fn decode_object(
    bytes: &Bytes,
    format: Format,
    expected: &Expected<'_>,
    catalog: &Catalog,
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<Value, Status> {
    let unreadable = |error: String| {
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): {error} ({})",
            expected.kind,
            summary(bytes)
        ))
    };
    let schema = catalog.schema(expected.group, expected.version, expected.kind);
    let parsed = match (&schema, format) {
        // Unknown and duplicate fields are told in the order of the document.
        (Some(schema), Format::Json | Format::Yaml) => {
            let (json, duplicates) = to_json(bytes, format).map_err(unreadable)?;
            let decoded = decode::json_typed(&json, schema).map_err(|error| unreadable(no_json(&error)))?;
            Parsed {
                value: decoded.value,
                complaints: duplicates.into_iter().chain(decoded.strict_errors).collect(),
            }
        }
        (_, Format::Protobuf) => Parsed {
            value: decode_protobuf(bytes, expected)?,
            complaints: Vec::new(),
        },
        _ => parse(bytes, format, expected).map_err(unreadable)?,
    };
    let mut value = parsed.value;
    if value.is_null() {
        // A null leaves a typed object as it is: empty. That is what an empty text of YAML means.
        value = Value::Object(serde_json::Map::new());
    }
    check_kind(&mut value, expected, catalog)?;
    let refuse = |error: &str| {
        let (kind, version) = (expected.kind, expected.version);
        Status::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: {error}"
        ))
    };
    let mut complaints = parsed.complaints;
    if let Some(schema) = &schema {
        typecheck::check(&value, schema).map_err(|e| refuse(&e.to_string()))?;
        let pruned = prune::prune(&mut value, schema);
        // A field that is unknown in protobuf has no name to tell.
        if format != Format::Protobuf {
            complaints.extend(pruned);
        }
    }
    match validation {
        FieldValidation::Strict if !complaints.is_empty() => {
            return Err(refuse(&format!("strict decoding error: {}", complaints.join(", "))));
        }
        FieldValidation::Warn => warnings.extend(warnings_of(&complaints)),
        FieldValidation::Strict | FieldValidation::Ignore => {}
    }
    match &schema {
        Some(schema) => round_trip::decoded(&mut value, schema),
        None => drop_nulls(&mut value),
    }
    Ok(value)
}

/// Reads an instance of a custom resource: what its definition doesn't know is dropped and told of alike. Nulls stay
/// where they are values.
pub fn decode_custom(
    bytes: &Bytes,
    format: Format,
    expected: &Expected<'_>,
    catalog: &Catalog,
    (definition, version): (&Definition, &Version),
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<Value, Status> {
    let parsed = match format {
        Format::Json | Format::Yaml => to_json(bytes, format).and_then(|(json, duplicates)| {
            let decoded = decode::json_untyped(&json).map_err(|error| no_json(&error))?;
            Ok(Parsed {
                value: decoded.value,
                complaints: duplicates.into_iter().chain(decoded.strict_errors).collect(),
            })
        }),
        Format::Protobuf => parse(bytes, format, expected),
    };
    let parsed = parsed.map_err(|error| {
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): {error} ({})",
            expected.kind,
            summary(bytes)
        ))
    })?;
    let mut value = parsed.value;
    if !value.is_object() {
        check_kind(&mut value, expected, catalog)?;
    }
    check_custom_kind(&value, expected)?;
    let refuse = |error: &str| {
        let (kind, version) = (expected.kind, expected.version);
        Status::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: {error}"
        ))
    };
    let unknown = version
        .decode(&mut value, definition.preserve_unknown)
        .map_err(|error| refuse(&error))?;
    let mut complaints = parsed.complaints;
    complaints.extend(unknown.iter().map(|path| format!("unknown field \"{path}\"")));
    match validation {
        FieldValidation::Strict if !complaints.is_empty() => {
            return Err(refuse(&format!("strict decoding error: {}", complaints.join(", "))));
        }
        FieldValidation::Warn => warnings.extend(warnings_of(&complaints)),
        FieldValidation::Strict | FieldValidation::Ignore => {}
    }
    Ok(value)
}

/// An object from its protobuf form, with upstream's texts about what is wrong.
fn decode_protobuf(bytes: &Bytes, expected: &Expected<'_>) -> Result<Value, Status> {
    let (api_version, kind) = (expected.api_version(), expected.kind);
    engenho_protobuf::decode(bytes, Some((&api_version, kind))).map_err(|error| {
        Status::bad_request(match &error {
            DecodeError::NoMagic => {
                let mut head: String = bytes.iter().take(30).map(|byte| format!("{byte:02x}")).collect();
                if bytes.len() > 30 {
                    head.push_str(" ...");
                }
                format!("the object provided is unrecognized (must be of type {kind}): {error} ({head})")
            }
            DecodeError::UnknownKind { api_version, kind: found } => {
                let version = api_version.rsplit('/').next().unwrap_or_default();
                format!("{found} in version {version:?} cannot be handled as a {kind}: {error} in scheme \"pkg/api/legacyscheme/scheme.go:30\"")
            }
            _ => format!("{kind} in version {:?} cannot be handled as a {kind}: {error}", expected.version),
        })
    })
}

/// Bodies in a version that is not served any more but read still, of the same form: version, kind, version wanted.
const OLDER: [(&str, &str, &str); 1] = [("policy/v1beta1", "Eviction", "policy/v1")];

/// Fills in a missing `apiVersion` and `kind`, and refuses other ones.
pub fn check_kind(value: &mut Value, expected: &Expected<'_>, catalog: &Catalog) -> Result<(), Status> {
    let want_kind = expected.kind;
    let Some(top) = value.as_object_mut() else {
        let found = engenho_patch::meta::json_type(value);
        return Err(Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {want_kind}): couldn't get version/kind; json parse error: json: cannot unmarshal {found} into Go value of type struct"
        )));
    };
    let want_version = expected.api_version();
    let text = |key: &str| top.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (mut api_version, mut kind) = (text("apiVersion"), text("kind"));
    if kind.is_empty() {
        kind = want_kind.to_owned();
    }
    if api_version.is_empty() || OLDER.contains(&(api_version.as_str(), kind.as_str(), want_version.as_str())) {
        api_version = want_version.clone();
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    if kind != want_kind || api_version != want_version {
        let known = catalog.kind(group, version, &kind).is_some() || catalog.schema(group, version, &kind).is_some();
        if known && kind == want_kind {
            return Err(Status::bad_request(format!(
                "the API version in the data ({api_version}) does not match the expected API version ({want_version})"
            )));
        }
        let reason = if known {
            let package = if expected.group.is_empty() {
                "core"
            } else {
                expected.group.split('.').next().unwrap_or_default()
            };
            format!("converting ({version}.{kind}) to ({package}.{want_kind}): unknown conversion")
        } else {
            format!(
                "no kind {kind:?} is registered for version {api_version:?} in scheme \"pkg/api/legacyscheme/scheme.go:30\""
            )
        };
        return Err(Status::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {want_kind}: {reason}"
        )));
    }
    top.insert("apiVersion".into(), api_version.into());
    top.insert("kind".into(), kind.into());
    Ok(())
}

/// The beginning of a body, as errors show it: JSON as it is, anything else in hexadecimal.
fn summary(bytes: &[u8]) -> String {
    const SHOWN_BYTES_MAX: usize = 30;
    let head = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    let more = if head.len() < bytes.len() { " ..." } else { "" };
    match head.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(head)),
        Some(_) => {
            let digits: String = head.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{digits}{more}")
        }
    }
}

/// Refuses an instance of another version, or without a kind. One of another kind is refused when it is validated.
fn check_custom_kind(value: &Value, expected: &Expected<'_>) -> Result<(), Status> {
    let text = |key: &str| value[key].as_str().unwrap_or_default();
    if text("kind").is_empty() {
        let why = "Object 'Kind' is missing in 'object has no kind field '";
        return Err(Status::bad_request(why));
    }
    let (found, wanted) = (text("apiVersion"), expected.api_version());
    if found != wanted {
        return Err(Status::bad_request(format!(
            "the API version in the data ({found}) does not match the expected API version ({wanted})"
        )));
    }
    Ok(())
}

/// Removes members that are null, at any depth: a typed decoder takes them for absent.
pub fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
