//! `metadata.managedFields`: who owns which fields, by which operation, through which endpoint and version.

use super::codec::CodecError;
use super::set::FieldSet;
use crate::meta::json_type;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Managers by `Update` operations kept apart; the oldest ones beyond are merged.
pub const UPDATERS_MAX: usize = 10;
/// The manager that merged entries are kept under.
const MERGED_MANAGER: &str = "ancient-changes";

/// How fields came to be owned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By server-side apply.
    Apply,
    /// By any other write.
    Update,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// What tells entries apart. An applier has one entry whatever version it applies in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ManagerId {
    pub manager: String,
    pub operation: Operation,
    /// Empty for [`Operation::Apply`].
    pub api_version: String,
    /// Empty for the object's main endpoint.
    pub subresource: String,
}

impl ManagerId {
    /// The entry of a manager; an empty name is `unknown`.
    #[must_use]
    pub fn new(manager: &str, operation: Operation, api_version: &str, subresource: &str) -> Self {
        let manager = if manager.is_empty() { "unknown" } else { manager };
        let api_version = if operation == Operation::Apply { "" } else { api_version };
        Self {
            manager: manager.to_owned(),
            operation,
            api_version: api_version.to_owned(),
            subresource: subresource.to_owned(),
        }
    }

    /// The text Kubernetes orders managers by.
    pub(super) fn sort_key(&self) -> String {
        let mut fields = vec![format!("\"manager\":{:?}", self.manager)];
        fields.push(format!("\"operation\":{:?}", self.operation.as_str()));
        if !self.api_version.is_empty() {
            fields.push(format!("\"apiVersion\":{:?}", self.api_version));
        }
        if !self.subresource.is_empty() {
            fields.push(format!("\"subresource\":{:?}", self.subresource));
        }
        format!("{{{}}}", fields.join(","))
    }
}

/// `"name" with subresource "status" using apps/v1`, as conflicts show managers.
impl fmt::Display for ManagerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.manager)?;
        if !self.subresource.is_empty() {
            write!(formatter, " with subresource {:?}", self.subresource)?;
        }
        if self.operation == Operation::Update {
            write!(formatter, " using {}", self.api_version)?;
        }
        Ok(())
    }
}

/// What one manager owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub set: FieldSet,
    /// Version of the object that the set's paths are in: `apps/v1`.
    pub api_version: String,
}

/// All entries of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Managers {
    pub entries: BTreeMap<ManagerId, Entry>,
    /// RFC 3339 times in UTC of the last change of each entry.
    pub times: BTreeMap<ManagerId, String>,
}

/// Managed fields can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    #[error("operation must be `Apply` or `Update`")]
    Operation,
    #[error("apiVersion must not be empty")]
    ApiVersion,
    #[error("missing fieldsType in managed fields entry {index}")]
    MissingFieldsType { index: usize },
    #[error("invalid fieldsType {found:?} in managed fields entry {index}")]
    FieldsType { index: usize, found: String },
    #[error("managed fields entry {index} is a {found}, not an object")]
    NotAnObject { index: usize, found: &'static str },
    #[error("managed fields entry {index} has the time {found:?}, which is not in RFC 3339 form")]
    Time { index: usize, found: String },
    #[error("error decoding managed fields entry {index}: {source}")]
    Fields {
        index: usize,
        #[source]
        source: CodecError,
    },
}

impl Managers {
    /// Reads the value of `metadata.managedFields`.
    pub fn decode(list: &[Value]) -> Result<Self, EntryError> {
        let mut managers = Self::default();
        for (index, value) in list.iter().enumerate() {
            let entry = value.as_object().ok_or_else(|| EntryError::NotAnObject {
                index,
                found: json_type(value),
            })?;
            let (id, entry, time) = decode_entry(index, entry)?;
            match time {
                Some(time) => managers.times.insert(id.clone(), time),
                None => managers.times.remove(&id),
            };
            managers.entries.insert(id, entry);
        }
        Ok(managers)
    }

    /// Writes the value of `metadata.managedFields`: appliers first, then by time, manager, version and subresource.
    #[must_use]
    pub fn encode(&self) -> Vec<Value> {
        let mut entries: Vec<(&ManagerId, &Entry)> = self.entries.iter().collect();
        entries.sort_by_cached_key(|(id, entry)| {
            let seconds = self.seconds(id);
            (
                id.operation,
                seconds,
                id.manager.clone(),
                entry.api_version.clone(),
                id.subresource.clone(),
            )
        });
        entries
            .into_iter()
            .map(|(id, entry)| self.encode_entry(id, entry))
            .collect()
    }

    fn encode_entry(&self, id: &ManagerId, entry: &Entry) -> Value {
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        put("manager", id.manager.as_str().into());
        put("operation", id.operation.as_str().into());
        put("apiVersion", entry.api_version.as_str().into());
        if let Some(time) = self.times.get(id) {
            put("time", time.as_str().into());
        }
        put("fieldsType", "FieldsV1".into());
        put("fieldsV1", entry.set.to_fields_v1());
        if !id.subresource.is_empty() {
            put("subresource", id.subresource.as_str().into());
        }
        Value::Object(object)
    }

    fn seconds(&self, id: &ManagerId) -> i64 {
        let time = self
            .times
            .get(id)
            .and_then(|time| OffsetDateTime::parse(time, &Rfc3339).ok());
        time.map_or(0, OffsetDateTime::unix_timestamp)
    }

    /// Merges the oldest updaters of a version until no more than [`UPDATERS_MAX`] are left.
    pub fn cap_updaters(&mut self) {
        let mut updaters: Vec<ManagerId> = self
            .entries
            .keys()
            .filter(|id| id.operation == Operation::Update)
            .cloned()
            .collect();
        let mut count = updaters.len();
        if count <= UPDATERS_MAX {
            return;
        }
        updaters.sort_by_cached_key(|id| (self.seconds(id), id.sort_key()));
        // The first entry of each version becomes the bucket once a second one joins it.
        let mut first_of_version: BTreeMap<String, ManagerId> = BTreeMap::new();
        for id in updaters {
            if count <= UPDATERS_MAX {
                return;
            }
            let Some(version) = self.entries.get(&id).map(|entry| entry.api_version.clone()) else {
                continue;
            };
            let Some(first) = first_of_version.get(&version) else {
                first_of_version.insert(version, id);
                continue;
            };
            let bucket = ManagerId::new(MERGED_MANAGER, Operation::Update, &version, "");
            if !self.entries.contains_key(&bucket)
                && let Some(entry) = self.entries.remove(first)
            {
                self.entries.insert(bucket.clone(), entry);
            }
            if id == bucket {
                continue;
            }
            let Some(entry) = self.entries.remove(&id) else {
                continue;
            };
            match self.entries.get_mut(&bucket) {
                Some(merged) => merged.set.extend(&entry.set),
                None => {
                    self.entries.insert(bucket.clone(), entry);
                }
            }
            if let Some(time) = self.times.get(&id).cloned() {
                self.times.insert(bucket, time);
            }
            count -= 1;
        }
    }
}

fn decode_entry(index: usize, object: &Map<String, Value>) -> Result<(ManagerId, Entry, Option<String>), EntryError> {
    let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
    let operation = match text("operation") {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return Err(EntryError::Operation),
    };
    let api_version = text("apiVersion");
    if api_version.is_empty() {
        return Err(EntryError::ApiVersion);
    }
    match text("fieldsType") {
        "FieldsV1" => {}
        "" => return Err(EntryError::MissingFieldsType { index }),
        found => {
            return Err(EntryError::FieldsType {
                index,
                found: found.to_owned(),
            });
        }
    }
    let fields = object.get("fieldsV1").unwrap_or(&Value::Null);
    let set = FieldSet::from_fields_v1(fields).map_err(|source| EntryError::Fields { index, source })?;
    let time = match text("time") {
        "" => None,
        found => Some(in_utc(found).ok_or_else(|| EntryError::Time {
            index,
            found: found.to_owned(),
        })?),
    };
    let id = ManagerId {
        manager: text("manager").to_owned(),
        operation,
        api_version: if operation == Operation::Apply {
            String::new()
        } else {
            api_version.to_owned()
        },
        subresource: text("subresource").to_owned(),
    };
    Ok((
        id,
        Entry {
            set,
            api_version: api_version.to_owned(),
        },
        time,
    ))
}

/// The time in whole seconds of UTC, as Kubernetes writes times.
fn in_utc(text: &str) -> Option<String> {
    let parsed = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let whole = OffsetDateTime::from_unix_timestamp(parsed.unix_timestamp()).ok()?;
    whole.format(&Rfc3339).ok()
}

/// Whether a client asks to forget all managers: an empty list, or one with one empty entry.
pub(super) fn is_reset(list: &[Value]) -> bool {
    match list {
        [] => true,
        [only] => only.as_object().is_some_and(Map::is_empty),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(manager: &str, operation: &str, time: &str, field: &str) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "v1", "time": time, "fieldsType": "FieldsV1",
            "fieldsV1": {format!("f:{field}"): {}}})
    }

    #[test]
    fn entries_are_written_in_order_and_read_back() {
        let a = entry("b", "Update", "2025-01-01T00:00:00Z", "x");
        let b = entry("a", "Update", "2025-01-02T00:00:00Z", "y");
        let c = entry("z", "Apply", "2026-01-01T00:00:00Z", "z");
        let managers = Managers::decode(&[b.clone(), a.clone(), c.clone()]).unwrap();
        assert_eq!(managers.encode(), [c, a, b]);
        assert_eq!(Managers::decode(&managers.encode()).unwrap(), managers);
    }

    #[test]
    fn times_are_kept_in_utc() {
        let managers = Managers::decode(&[entry("m", "Apply", "2025-01-01T02:00:00.5+02:00", "x")]).unwrap();
        assert_eq!(managers.encode()[0]["time"], "2025-01-01T00:00:00Z");
    }

    #[test]
    fn malformed_entries_are_refused() {
        let good = entry("m", "Apply", "", "x");
        let broken = |name: &str, value: Value| {
            let mut entry = good.clone();
            entry[name] = value;
            Managers::decode(&[entry]).unwrap_err()
        };
        assert_eq!(broken("operation", json!("x")), EntryError::Operation);
        assert_eq!(broken("apiVersion", json!("")), EntryError::ApiVersion);
        assert_eq!(
            broken("fieldsType", json!("")),
            EntryError::MissingFieldsType { index: 0 }
        );
        assert_eq!(
            broken("fieldsType", json!("X")).to_string(),
            "invalid fieldsType \"X\" in managed fields entry 0"
        );
        assert!(matches!(broken("time", json!("soon")), EntryError::Time { .. }));
        assert!(matches!(
            broken("fieldsV1", json!({"f:a": 1})),
            EntryError::Fields { .. }
        ));
        assert!(Managers::decode(&[json!(1)]).is_err());
    }

    #[test]
    fn the_oldest_updaters_are_merged() {
        let list: Vec<Value> = (0..12)
            .map(|day| {
                entry(
                    &format!("m{day:02}"),
                    "Update",
                    &format!("2025-01-{:02}T00:00:00Z", day + 1),
                    &format!("f{day}"),
                )
            })
            .collect();
        let mut managers = Managers::decode(&list).unwrap();
        managers.cap_updaters();
        assert_eq!(managers.entries.len(), UPDATERS_MAX);
        let bucket = ManagerId::new(MERGED_MANAGER, Operation::Update, "v1", "");
        assert_eq!(
            managers.entries[&bucket].set,
            FieldSet::of_fields(&[&["f0"], &["f1"], &["f2"]])
        );
        assert_eq!(managers.times[&bucket], "2025-01-03T00:00:00Z");
        let total: usize = managers.entries.values().map(|entry| entry.set.len()).sum();
        assert_eq!(total, 12);
    }

    #[test]
    fn managers_read_like_in_conflicts() {
        assert_eq!(ManagerId::new("a", Operation::Apply, "v1", "").to_string(), "\"a\"");
        let scaler = ManagerId::new("scaler", Operation::Update, "apps/v1", "scale");
        assert_eq!(
            scaler.to_string(),
            "\"scaler\" with subresource \"scale\" using apps/v1"
        );
    }
}
