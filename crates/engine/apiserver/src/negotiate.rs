//! Content negotiation: what the `Accept` header asks for, and what `Content-Type` says a body is.

use http::{HeaderMap, header};

use crate::status::Status;

/// How an object is written on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// `application/json`
    Json,
    /// `application/yaml`
    Yaml,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
}

impl Media {
    /// Value of the `Content-Type` header.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => engenho_protobuf::MEDIA_TYPE,
        }
    }
}

/// What an object is turned into before it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Itself.
    Object,
    /// A `meta.k8s.io` Table of this version.
    Table(&'static str),
    /// PartialObjectMetadata of this version.
    Metadata(&'static str),
    /// PartialObjectMetadataList of this version.
    MetadataList(&'static str),
}

/// The outcome of negotiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output {
    /// Encoding.
    pub media: Media,
    /// Shape.
    pub shape: Shape,
    /// Whether JSON is indented.
    pub pretty: bool,
}

impl Output {
    /// Plain JSON.
    pub const JSON: Self = Self {
        media: Media::Json,
        shape: Shape::Object,
        pretty: false,
    };
}

/// Media types of objects, as 406 texts list them.
pub const OBJECT_TYPES: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
/// The same for collections, which can also be watched.
pub const LIST_TYPES: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf, application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";

/// Media types of watches. YAML has no form for streams.
pub const STREAM_TYPES: &str = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";

/// One clause of an `Accept` header.
#[derive(Debug, Clone, PartialEq)]
pub struct Clause<'a> {
    /// `type/subtype`.
    pub media: &'a str,
    /// Parameters without `q`.
    pub params: Vec<(&'a str, &'a str)>,
    quality: f32,
}

impl<'a> Clause<'a> {
    /// The parameter of that name, empty if absent.
    pub fn param(&self, name: &str) -> &'a str {
        self.params.iter().find(|(k, _)| *k == name).map_or("", |(_, v)| v)
    }
}

/// The clauses of an `Accept` header, best first; those with quality 0 are left out.
pub fn clauses(accept: &str) -> Vec<Clause<'_>> {
    let mut out: Vec<Clause<'_>> = accept
        .split(',')
        .filter_map(|part| {
            let mut pieces = part.split(';').map(str::trim);
            let media = pieces.next().filter(|m| !m.is_empty())?;
            let mut clause = Clause {
                media,
                params: Vec::new(),
                quality: 1.0,
            };
            for piece in pieces {
                let (key, value) = piece.split_once('=').unwrap_or((piece, ""));
                match key.trim() {
                    "q" => clause.quality = value.trim().parse().unwrap_or(1.0),
                    key => clause.params.push((key, value.trim().trim_matches('"'))),
                }
            }
            Some(clause)
        })
        .filter(|c| c.quality > 0.0)
        .collect();
    out.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    out
}

/// The `Accept` header; several are read as one.
pub fn accept(headers: &HeaderMap) -> String {
    let all: Vec<&str> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .collect();
    all.join(",")
}

/// Negotiates the answer of a resource endpoint. `list` says whether it is a collection, for the 406 text; `protobuf`
/// whether the resource's objects have a protobuf form. Tables never have one, metadata always has.
pub fn object_output(headers: &HeaderMap, pretty: Option<bool>, list: bool, protobuf: bool) -> Result<Output, Status> {
    let accept = accept(headers);
    let browser = headers
        .get(header::USER_AGENT)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|agent| {
            agent.starts_with("curl") || agent.starts_with("Wget") || agent.starts_with("Mozilla/5.0")
        });
    let pretty = pretty.unwrap_or(browser);
    if accept.trim().is_empty() {
        return Ok(Output { pretty, ..Output::JSON });
    }
    let clauses = clauses(&accept);
    let known = |c: &Clause<'_>| {
        matches!(
            c.media,
            "application/json" | "application/yaml" | "application/vnd.kubernetes.protobuf" | "*/*"
        )
    };
    if !clauses.iter().any(known) {
        return Err(Status::not_acceptable(if list { LIST_TYPES } else { OBJECT_TYPES }));
    }
    for clause in &clauses {
        let media = match clause.media {
            "application/json" | "application/*" | "*/*" => Media::Json,
            "application/yaml" => Media::Yaml,
            engenho_protobuf::MEDIA_TYPE => Media::Protobuf,
            _ => continue,
        };
        let Some(shape) = shape(clause) else { continue };
        let encodable = match shape {
            Shape::Object => protobuf,
            Shape::Table(_) => false,
            Shape::Metadata(_) | Shape::MetadataList(_) => true,
        };
        if media == Media::Protobuf && !encodable {
            continue;
        }
        let pretty = if clause.param("pretty") == "1" { true } else { pretty };
        return Ok(Output { media, shape, pretty });
    }
    Err(Status::not_acceptable_text(format!(
        "only the following media types are accepted: {OBJECT_TYPES}"
    )))
}

fn shape(clause: &Clause<'_>) -> Option<Shape> {
    let kind = clause.param("as");
    if kind.is_empty() {
        return Some(Shape::Object);
    }
    let version = match (clause.param("g"), clause.param("v")) {
        ("meta.k8s.io", "v1") => "v1",
        ("meta.k8s.io", "v1beta1") => "v1beta1",
        _ => return None,
    };
    match kind {
        "Table" => Some(Shape::Table(version)),
        "PartialObjectMetadata" => Some(Shape::Metadata(version)),
        "PartialObjectMetadataList" => Some(Shape::MetadataList(version)),
        _ => None,
    }
}

/// Negotiates an answer that has no other shapes: JSON, YAML, or protobuf if it has that form.
pub fn plain_output(headers: &HeaderMap, protobuf: bool) -> Result<Media, Status> {
    let accept = accept(headers);
    if accept.trim().is_empty() {
        return Ok(Media::Json);
    }
    for clause in clauses(&accept) {
        match clause.media {
            "application/json" | "*/*" => return Ok(Media::Json),
            "application/yaml" => return Ok(Media::Yaml),
            engenho_protobuf::MEDIA_TYPE if protobuf => return Ok(Media::Protobuf),
            _ => {}
        }
    }
    Err(Status::not_acceptable(OBJECT_TYPES))
}

/// The media type of a body, without parameters, lower case; empty if the header is absent.
pub fn content_type(headers: &HeaderMap) -> String {
    let text = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn negotiate(accept: &'static str) -> Result<Output, u16> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        object_output(&headers, None, false, true).map_err(|s| s.code)
    }

    #[test]
    fn accept_headers_of_clients_are_understood() {
        assert_eq!(negotiate("*/*"), Ok(Output::JSON));
        assert_eq!(
            negotiate("application/vnd.kubernetes.protobuf,application/json").map(|o| o.media),
            Ok(Media::Protobuf)
        );
        assert_eq!(
            negotiate("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json"),
            Ok(Output::JSON)
        );
        assert_eq!(
            negotiate(
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json"
            )
            .map(|o| (o.media, o.shape)),
            Ok((Media::Protobuf, Shape::Metadata("v1")))
        );
        assert_eq!(negotiate("text/html"), Err(406));
        assert_eq!(negotiate("application/*"), Err(406));
        assert_eq!(negotiate("application/json;as=Bogus;v=v1;g=meta.k8s.io"), Err(406));
        assert_eq!(
            negotiate("application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json")
                .map(|o| o.shape),
            Ok(Shape::Table("v1"))
        );
        assert_eq!(
            negotiate("application/json;q=0.5, application/yaml").map(|o| o.media),
            Ok(Media::Yaml)
        );
    }

    #[test]
    fn objects_without_a_protobuf_form_are_json_if_the_client_takes_it() {
        let negotiate = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            object_output(&headers, None, false, false).map_err(|s| s.code)
        };
        assert_eq!(
            negotiate("application/vnd.kubernetes.protobuf,application/json"),
            Ok(Output::JSON)
        );
        assert_eq!(negotiate("application/vnd.kubernetes.protobuf"), Err(406));
    }
}
