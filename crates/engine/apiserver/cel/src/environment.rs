//! What an expression may refer to, by where it is used.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::declarations::library_type;
use crate::schema::type_of_schema;
use crate::types::Type;

/// The variables an expression has, with their types. All functions are there everywhere.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    pub(crate) variables: BTreeMap<String, Type>,
    /// The variables a policy defines, which are fields of `variables`.
    composed: Option<BTreeMap<String, Type>>,
}

impl Environment {
    /// No variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// One variable more. Names with a dot are variables too, and looked for before fields are.
    #[must_use]
    pub fn with(mut self, name: &str, of: Type) -> Self {
        self.variables.insert(name.to_owned(), of);
        self
    }

    /// The rules of a schema of a custom resource: `self`, and `oldSelf` where the rule may refer to it. `root` if it is the schema of
    /// the resource itself, or of an embedded resource. `optional_old_self` as the rule has it. None if expressions may not see
    /// values of the schema.
    pub fn validation_rule(schema: &Json, root: bool, optional_old_self: bool) -> Option<Self> {
        let of = type_of_schema(schema, root, "self")?;
        let old = if optional_old_self {
            Type::optional(of.clone())
        } else {
            of.clone()
        };
        Some(Self::new().with("self", of).with("oldSelf", old))
    }

    /// The validations, audit annotations, messages and match conditions of admission policies. `params` if the policy
    /// has a kind of parameters; `authorizer` where it may be asked, which is everywhere but in messages.
    pub fn admission_policy(params: bool, authorizer: bool) -> Self {
        let mut environment = Self::admission(params, authorizer);
        environment.composed = Some(BTreeMap::new());
        environment.with_composed()
    }

    /// What a request to the server is to expressions; the same as of policies, without variables of their own.
    pub fn admission(params: bool, authorizer: bool) -> Self {
        let mut environment = Self::new()
            .with("object", Type::Dyn)
            .with("oldObject", Type::Dyn)
            .with("request", request_type())
            .with("namespaceObject", namespace_type());
        if params {
            environment = environment.with("params", Type::Dyn);
        }
        if authorizer {
            environment = environment.with_authorizer();
        }
        environment
    }

    /// The match conditions of webhooks.
    pub fn match_condition() -> Self {
        Self::admission(false, true)
    }

    /// A variable of a policy more: `variables.name`, of the type its expression gives. Variables may refer to those
    /// before them, so each is added once the one before is compiled.
    #[must_use]
    pub fn with_variable(mut self, name: &str, of: Type) -> Self {
        self.composed.get_or_insert_default().insert(name.to_owned(), of);
        self.with_composed()
    }

    fn with_composed(self) -> Self {
        let fields = self.composed.clone().unwrap_or_default();
        self.with("variables", Type::object("kubernetes.variables", fields))
    }

    fn with_authorizer(self) -> Self {
        let of = |short| library_type(short).unwrap_or(Type::Dyn);
        self.with("authorizer", of("Authorizer"))
            .with("authorizer.requestResource", of("ResourceCheck"))
    }
}

fn object(name: &str, fields: &[(&str, Type)]) -> Type {
    Type::object(name, fields.iter().map(|(field, of)| ((*field).to_owned(), of.clone())))
}

/// What an admission review says of the request, as expressions see it.
fn request_type() -> Type {
    let text = Type::String;
    let named = |name: &str, last: &str| {
        let fields = ["group", "version", last].map(|field| (field, Type::String));
        object(name, &fields)
    };
    let kind = named("kubernetes.GroupVersionKind", "kind");
    let resource = named("kubernetes.GroupVersionResource", "resource");
    let user = object(
        "kubernetes.UserInfo",
        &[
            ("username", text.clone()),
            ("uid", text.clone()),
            ("groups", Type::list(text.clone())),
            ("extra", Type::map(text.clone(), Type::list(text.clone()))),
        ],
    );
    object(
        "kubernetes.AdmissionRequest",
        &[
            ("kind", kind.clone()),
            ("resource", resource.clone()),
            ("subResource", text.clone()),
            ("requestKind", kind),
            ("requestResource", resource),
            ("requestSubResource", text.clone()),
            ("name", text.clone()),
            ("namespace", text.clone()),
            ("operation", text),
            ("userInfo", user),
            ("dryRun", Type::Bool),
            ("options", Type::Dyn),
        ],
    )
}

/// What expressions see of the namespace of the object.
fn namespace_type() -> Type {
    let text = Type::String;
    let texts = Type::map(text.clone(), text.clone());
    let metadata = object(
        "kubernetes.NamespaceMetadata",
        &[
            ("name", text.clone()),
            ("generateName", text.clone()),
            ("namespace", text.clone()),
            ("labels", texts.clone()),
            ("annotations", texts),
            ("UID", text.clone()),
            ("creationTimestamp", Type::Timestamp),
            ("deletionGracePeriodSeconds", Type::Int),
            ("deletionTimestamp", Type::Timestamp),
            ("generation", Type::Int),
            ("resourceVersion", text.clone()),
            ("finalizers", Type::list(text.clone())),
        ],
    );
    let spec = object("kubernetes.NamespaceSpec", &[("finalizers", Type::list(text.clone()))]);
    let condition = object(
        "kubernetes.NamespaceCondition",
        &[
            ("status", text.clone()),
            ("type", text.clone()),
            ("lastTransitionTime", Type::Timestamp),
            ("message", text.clone()),
            ("reason", text.clone()),
        ],
    );
    let status = object(
        "kubernetes.NamespaceStatus",
        &[("conditions", Type::list(condition)), ("phase", text)],
    );
    object(
        "kubernetes.Namespace",
        &[("metadata", metadata), ("spec", spec), ("status", status)],
    )
}
