//! The field manager of an endpoint: apply and update with all the rules of the API server around them.

use super::entries::{Entry, EntryError, ManagerId, Managers, Operation, is_reset};
use super::error::ApplyError;
use super::last_applied;
use super::node::Node;
use super::set::FieldSet;
use super::typed::validate;
use super::updater::{Conversion, Updater, conflicts_outside};
use crate::defaults::zero_object;
use crate::meta;
use crate::schema::SchemaNode;
use serde_json::{Map, Value};

/// Manager of fields that were there before an object was first applied to.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
/// The manager whose apply continues client-side apply.
const KUBECTL: &str = "kubectl";

/// Keeps the managed fields of one kind, version and subresource.
#[derive(Clone)]
pub struct FieldManager<'a, S> {
    schema: S,
    api_version: &'a str,
    kind: &'a str,
    subresource: &'a str,
    reset_fields: Option<&'a FieldSet>,
    conversion: Option<&'a dyn Conversion<S>>,
    custom_resource: bool,
}

/// The outcome of an apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The new object with its `metadata.managedFields`, not yet defaulted.
    pub object: Value,
    /// Whether anything but managed fields changed.
    pub changed: bool,
}

impl<'a, S: SchemaNode> FieldManager<'a, S> {
    /// A manager for the main endpoint of `kind` in `api_version` (`v1`, `apps/v1`).
    #[must_use]
    pub fn new(schema: S, api_version: &'a str, kind: &'a str) -> Self {
        Self {
            schema,
            api_version,
            kind,
            subresource: "",
            reset_fields: None,
            conversion: None,
            custom_resource: false,
        }
    }

    /// For a subresource: `status`, `scale`.
    #[must_use]
    pub fn subresource(mut self, subresource: &'a str) -> Self {
        self.subresource = subresource;
        self
    }

    /// Fields that this endpoint never writes (`status` at the main endpoint, all but `status` at the status one): they
    /// are nobody's through it.
    #[must_use]
    pub fn reset_fields(mut self, fields: &'a FieldSet) -> Self {
        self.reset_fields = Some(fields);
        self
    }

    /// Conversion to the kind's other versions. Without it, entries in other versions are dropped.
    #[must_use]
    pub fn conversion(mut self, conversion: &'a dyn Conversion<S>) -> Self {
        self.conversion = Some(conversion);
        self
    }

    /// For a custom resource: a new one starts from nothing, where built-in kinds start from their empty structures.
    #[must_use]
    pub fn custom_resource(mut self) -> Self {
        self.custom_resource = true;
        self
    }

    fn updater(&self) -> Updater<'_, S> {
        Updater {
            schema: &self.schema,
            api_version: self.api_version,
            reset_fields: self.reset_fields,
            conversion: self.conversion,
        }
    }

    /// Applies `config` as `manager` to the stored object, or to nothing. `now` is RFC 3339 in UTC, whole seconds.
    ///
    /// The result has yet to be defaulted and validated.
    pub fn apply(
        &self,
        live: Option<&Value>,
        config: &Value,
        manager: &str,
        force: bool,
        now: &str,
    ) -> Result<Applied, ApplyError> {
        self.check_config(config)?;
        let zero;
        let live = match live {
            Some(live) => live,
            None => {
                zero = self.zero();
                &zero
            }
        };
        let managers = Managers::decode(meta::managed_fields(live).map(Vec::as_slice).unwrap_or_default())?;
        let mut bare = live.clone();
        meta::remove(&mut bare, "managedFields");
        validate(&Node::root(&self.schema), config).map_err(|errors| ApplyError::Config {
            object: self.describe(config),
            errors,
        })?;

        let attempt = |force| self.apply_bare(&bare, config, managers.clone(), manager, force, now);
        let applied = match attempt(force) {
            Err(ApplyError::Conflicts(conflicts)) if manager == KUBECTL => {
                // What client-side apply set last, and is still so, may be taken over from it.
                match last_applied::still_applied(&bare, self.api_version, &self.schema) {
                    None => Err(ApplyError::Conflicts(conflicts)),
                    Some(allowed) => match conflicts_outside(conflicts, &allowed) {
                        left if left.is_empty() => attempt(true),
                        left => Err(ApplyError::Conflicts(left)),
                    },
                }
            }
            result => result,
        };
        let (object, managers) = applied?;
        let changed = object.is_some();
        let mut object = object.unwrap_or(bare);
        if manager == KUBECTL {
            last_applied::refresh(&mut object, config);
        }
        meta::set_managed_fields(&mut object, managers.encode());
        Ok(Applied { object, changed })
    }

    fn apply_bare(
        &self,
        live: &Value,
        config: &Value,
        mut managers: Managers,
        manager: &str,
        force: bool,
        now: &str,
    ) -> Result<(Option<Value>, Managers), ApplyError> {
        if managers.entries.is_empty() {
            managers = self.update_bare(&self.zero(), live, managers, BEFORE_FIRST_APPLY, now)?;
        }
        let id = ManagerId::new(manager, Operation::Apply, self.api_version, self.subresource);
        let (object, mut managers) = self.updater().apply(live, config, &managers, &id, force)?;
        strip(&mut managers, &id);
        if object.is_some() {
            managers.times.insert(id, now.to_owned());
        }
        Ok((object, managers))
    }

    /// Books a create, update or patch by `manager` and writes the managed fields into `new`, the object about to be
    /// stored. `live` is the stored object; `None` for a create.
    pub fn update(&self, live: Option<&Value>, mut new: Value, manager: &str, now: &str) -> Result<Value, ApplyError> {
        let managers = self.managers_for_update(live, &new);
        meta::remove(&mut new, "managedFields");
        let mut bare = match live {
            Some(live) => live.clone(),
            None => self.zero(),
        };
        meta::remove(&mut bare, "managedFields");
        // An object whose managers were never tracked, or were reset, stays untracked until it is applied to.
        if managers.entries.is_empty() && !meta::uid(&bare).is_empty() {
            return Ok(new);
        }
        let managers = self.update_bare(&bare, &new, managers, manager, now)?;
        meta::set_managed_fields(&mut new, managers.encode());
        Ok(new)
    }

    /// Like [`FieldManager::update`], but keeps the stored object's managed fields where they can't be worked out.
    #[must_use]
    pub fn update_or_keep(&self, live: Option<&Value>, new: Value, manager: &str, now: &str) -> Value {
        match self.update(live, new.clone(), manager, now) {
            Ok(updated) => updated,
            Err(_) => {
                let mut new = new;
                let kept = live.and_then(meta::managed_fields).cloned().unwrap_or_default();
                meta::set_managed_fields(&mut new, kept);
                new
            }
        }
    }

    fn update_bare(
        &self,
        live: &Value,
        new: &Value,
        managers: Managers,
        manager: &str,
        now: &str,
    ) -> Result<Managers, ApplyError> {
        let (mut managers, written) = self.updater().update(live, new, &managers)?;
        let written = written.difference(&stripped_fields());
        if !written.is_empty() {
            let id = ManagerId::new(manager, Operation::Update, self.api_version, self.subresource);
            let entry = managers.entries.entry(id.clone());
            let entry = entry.or_insert_with(|| Entry {
                set: FieldSet::new(),
                api_version: String::new(),
            });
            entry.set.extend(&written);
            self.api_version.clone_into(&mut entry.api_version);
            managers.times.insert(id, now.to_owned());
        }
        managers.cap_updaters();
        Ok(managers)
    }

    /// The entries a write starts from: those it sends itself, unless it can't or didn't, else the stored ones.
    fn managers_for_update(&self, live: Option<&Value>, new: &Value) -> Managers {
        let stored = || {
            let list = live
                .and_then(meta::managed_fields)
                .map(Vec::as_slice)
                .unwrap_or_default();
            Managers::decode(list).unwrap_or_default()
        };
        if !self.subresource.is_empty() {
            return stored();
        }
        match meta::managed_fields(new) {
            None => stored(),
            Some(sent) if is_reset(sent) => Managers::default(),
            Some(sent) => match Managers::decode(sent) {
                Ok(managers) if !managers.entries.is_empty() => managers,
                _ => stored(),
            },
        }
    }

    /// What a new object of the kind is before anything is written to it.
    fn zero(&self) -> Value {
        let mut zero = if self.custom_resource {
            Value::Object(Map::new())
        } else {
            zero_object(&self.schema)
        };
        if let Some(object) = zero.as_object_mut() {
            object.insert("apiVersion".to_owned(), self.api_version.into());
            object.insert("kind".to_owned(), self.kind.into());
        }
        zero
    }

    fn check_config(&self, config: &Value) -> Result<(), ApplyError> {
        let (api_version, kind) = (meta::api_version(config), meta::kind(config));
        if api_version != self.api_version || kind != self.kind {
            return Err(ApplyError::WrongKind {
                found: group_version_kind(api_version, kind),
            });
        }
        if meta::managed_fields(config).is_some() {
            return Err(ApplyError::ManagedFieldsGiven);
        }
        Ok(())
    }

    fn describe(&self, object: &Value) -> String {
        let kind = group_version_kind(meta::api_version(object), meta::kind(object));
        format!("{}/{}; {kind}", meta::namespace(object), meta::name(object))
    }
}

/// Checks that a list is what `metadata.managedFields` may hold, as is done after admission changed an object.
pub fn validate_managed_fields(list: &[Value]) -> Result<(), EntryError> {
    Managers::decode(list).map(|_| ())
}

/// `apps/v1, Kind=Deployment`, or `/v1, Kind=Pod` for the core group.
fn group_version_kind(api_version: &str, kind: &str) -> String {
    let slash = if api_version.contains('/') { "" } else { "/" };
    format!("{slash}{api_version}, Kind={kind}")
}

/// Fields that the server fills in or that identify the object: nobody owns them.
fn stripped_fields() -> FieldSet {
    FieldSet::of_fields(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
}

fn strip(managers: &mut Managers, id: &ManagerId) {
    let Some(entry) = managers.entries.get_mut(id) else {
        return;
    };
    entry.set = entry.set.difference(&stripped_fields());
    if entry.set.is_empty() {
        managers.entries.remove(id);
    }
}
