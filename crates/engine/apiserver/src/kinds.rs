//! What differs between kinds in the generic pipeline, in one table: generations, status, unconditional updates.

use engenho_catalog::Resource;

/// How `metadata.generation` moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// The kind has none: what a client sends is kept.
    None,
    /// 1 at creation, one more whenever anything but metadata and status changes.
    Spec,
    /// As `Spec`, and also when labels or annotations change.
    SpecAndMetadata,
}

/// The generic behaviour of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// How its generation moves.
    pub generation: Generation,
    /// Whether an update without a resourceVersion overwrites whatever is there.
    pub unconditional_update: bool,
    /// Whether an update of an object that isn't there creates it.
    pub create_on_update: bool,
    /// Whether deletion takes `gracePeriodSeconds` (Pods).
    pub graceful: bool,
    /// What deletion does with dependents when nothing is said: orphan them.
    pub orphans_by_default: bool,
}

/// The behaviour of a resource's kind.
pub fn kind_of(resource: &Resource) -> Kind {
    let (group, plural) = (&*resource.group, &*resource.plural);
    Kind {
        generation: generation(group, plural, resource),
        unconditional_update: !matches!(
            (group, plural),
            ("coordination.k8s.io", _)
                | ("apiextensions.k8s.io" | "apiregistration.k8s.io" | "policy", _)
                | ("node.k8s.io", _)
                | (
                    "storage.k8s.io",
                    "csidrivers" | "csinodes" | "volumeattachments" | "csistoragecapacities"
                )
                | ("admissionregistration.k8s.io", _)
                | ("discovery.k8s.io", _)
                | ("resource.k8s.io", _)
                | ("internal.apiserver.k8s.io" | "storagemigration.k8s.io", _)
        ) && !is_custom(resource),
        create_on_update: matches!(
            (group, plural),
            ("", "endpoints" | "events" | "limitranges" | "services" | "podtemplates")
                | ("events.k8s.io", "events")
                | ("coordination.k8s.io", "leases")
                | ("rbac.authorization.k8s.io", _)
        ),
        graceful: (group, plural) == ("", "pods"),
        orphans_by_default: matches!((group, plural), ("", "replicationcontrollers") | ("batch", "jobs")),
    }
}

/// Whether the resource came from a custom resource definition: it is not one of the built-in catalog.
pub fn is_custom(resource: &Resource) -> bool {
    !matches!(resource.schema, engenho_catalog::resource::SchemaSource::Builtin(_))
}

fn generation(group: &str, plural: &str, resource: &Resource) -> Generation {
    match (group, plural) {
        ("discovery.k8s.io", "endpointslices") => Generation::SpecAndMetadata,
        ("", "pods" | "podtemplates" | "replicationcontrollers")
        | ("apps", "daemonsets" | "deployments" | "replicasets" | "statefulsets")
        | ("batch", _)
        | ("networking.k8s.io", "ingresses" | "ingressclasses" | "networkpolicies")
        | ("policy", "poddisruptionbudgets")
        | ("scheduling.k8s.io", "priorityclasses")
        | ("flowcontrol.apiserver.k8s.io", _)
        | ("admissionregistration.k8s.io", _)
        | ("apiextensions.k8s.io", _)
        | ("resource.k8s.io", "resourceslices" | "deviceclasses") => Generation::Spec,
        _ if is_custom(resource) => Generation::Spec,
        _ => Generation::None,
    }
}
