//! Paths and operations, as both versions of OpenAPI describe them.

use crate::Str;
use crate::resource::GroupKind;

/// HTTP method, by its OpenAPI name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Put,
    Post,
    Delete,
    Options,
    Head,
    Patch,
}

impl Method {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Method::Get => "get",
            Method::Put => "put",
            Method::Post => "post",
            Method::Delete => "delete",
            Method::Options => "options",
            Method::Head => "head",
            Method::Patch => "patch",
        }
    }
}

/// A parameter. Path parameters are required.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Parameter {
    pub name: Str,
    pub in_path: bool,
    pub ty: &'static str,
}

/// What is sent or answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// A named definition.
    Definition(String),
    /// Text, or a stream of anything.
    Text,
}

/// Which representations an answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Produces {
    /// JSON, YAML and protobuf.
    Object,
    /// The same, and streams of watch events.
    ObjectOrStream,
    /// The same as an object, or plain text.
    ObjectOrText,
    /// Whatever the far end sends.
    Anything,
    /// JSON and YAML: an object of a custom resource.
    Custom,
    /// JSON alone.
    Json,
    /// A JSON web key set.
    KeySet,
}

impl Produces {
    pub(super) const fn types(self) -> &'static [&'static str] {
        const OBJECT: [&str; 3] = [
            "application/json",
            "application/yaml",
            "application/vnd.kubernetes.protobuf",
        ];
        match self {
            Produces::Object => &OBJECT,
            Produces::ObjectOrStream => &[
                OBJECT[0],
                OBJECT[1],
                OBJECT[2],
                "application/json;stream=watch",
                "application/vnd.kubernetes.protobuf;stream=watch",
            ],
            Produces::ObjectOrText => &["text/plain", OBJECT[0], OBJECT[1], OBJECT[2]],
            Produces::Anything => &["*/*"],
            Produces::Custom => &["application/json", "application/yaml"],
            Produces::Json => &["application/json"],
            Produces::KeySet => &["application/jwk-set+json"],
        }
    }
}

/// What is accepted as a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consumes {
    /// Anything.
    Anything,
    /// Nothing is said.
    Unstated,
    /// The four kinds of patch.
    Patches,
    /// JSON and YAML: an object of a custom resource.
    Custom,
    /// The kinds of patch that custom resources take.
    CustomPatches,
    /// Documents about the API itself.
    Plain,
    /// As [`Consumes::Plain`], JSON alone.
    Json,
}

impl Consumes {
    pub(super) const fn types(self) -> &'static [&'static str] {
        match self {
            Consumes::Anything => &["*/*"],
            Consumes::Unstated => &[],
            Consumes::Patches => &[
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/strategic-merge-patch+json",
                "application/apply-patch+yaml",
            ],
            Consumes::Custom => &["application/json", "application/yaml"],
            Consumes::CustomPatches => &[
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/apply-patch+yaml",
            ],
            Consumes::Plain => &[
                "application/json",
                "application/yaml",
                "application/vnd.kubernetes.protobuf",
            ],
            Consumes::Json => &["application/json"],
        }
    }
}

/// One operation.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub method: Method,
    pub tag: String,
    pub id: String,
    /// `x-kubernetes-action`; none for documents about the API itself.
    pub action: Option<&'static str>,
    pub kind: Option<GroupKind>,
    /// Query parameters, by name.
    pub parameters: Vec<Parameter>,
    /// Body and whether it's required.
    pub body: Option<(Body, bool)>,
    pub consumes: Consumes,
    pub answer: Body,
    pub produces: Produces,
    /// Codes of success.
    pub codes: &'static [u16],
}

/// A path with its operations.
#[derive(Clone, Debug)]
pub(super) struct PathItem {
    pub path: String,
    pub operations: Vec<Operation>,
    /// Parameters that all operations share, by name.
    pub parameters: Vec<Parameter>,
}

impl PathItem {
    /// Parameters that every operation has are stated once, on the path, as upstream does.
    pub(super) fn new(path: String, mut operations: Vec<Operation>, own: Vec<Parameter>) -> PathItem {
        let mut parameters = own;
        if let Some((first, rest)) = operations.split_first() {
            let everywhere = |parameter: &&Parameter| rest.iter().all(|other| other.parameters.contains(parameter));
            let shared: Vec<_> = first.parameters.iter().filter(everywhere).cloned().collect();
            for operation in &mut operations {
                operation.parameters.retain(|parameter| !shared.contains(parameter));
            }
            parameters.extend(shared);
        }
        parameters.sort_by(|a, b| (&a.name, !a.in_path).cmp(&(&b.name, !b.in_path)));
        PathItem {
            path,
            operations,
            parameters,
        }
    }

    /// A path that only answers a document about the API itself.
    pub(super) fn document(path: &str, tag: &str, id: String, answer: Body, produces: Produces) -> PathItem {
        let operation = Operation {
            method: Method::Get,
            tag: tag.to_owned(),
            id,
            action: None,
            kind: None,
            parameters: Vec::new(),
            body: None,
            consumes: match (produces, &answer) {
                (Produces::Object, _) => Consumes::Plain,
                (_, Body::Definition(_)) => Consumes::Json,
                (_, Body::Text) => Consumes::Unstated,
            },
            answer,
            produces,
            codes: &[200],
        };
        PathItem {
            path: path.to_owned(),
            operations: vec![operation],
            parameters: Vec::new(),
        }
    }
}
