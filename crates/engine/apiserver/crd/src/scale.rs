//! The scale subresource: the replica counts of an instance, by the paths that its definition names.

use engenho_patch::meta;
use engenho_validation::FieldError;
use engenho_validation::get::text;
use serde_json::{Map, Value, json};

use crate::definition::Version;
use crate::go;

/// Where the counts and the selector are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// `.spec.replicas`
    pub spec_replicas: String,
    /// `.status.replicas`
    pub status_replicas: String,
    /// `.status.selector`
    pub selector: Option<String>,
}

/// Why an instance has no readable scale.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScaleError {
    /// A field of a wrong type. Answered as an internal error when it is read, as a bad request after a write.
    #[error("{0}")]
    Type(String),
    /// No count is set. An internal error.
    #[error("the spec replicas field {} does not exist", engenho_validation::go_quoted(.0))]
    Missing(String),
    /// A write without a count. A bad request.
    #[error("the spec replicas field {} cannot be empty", engenho_validation::go_quoted(.0))]
    Empty(String),
}

impl Scale {
    /// Reads the subresource of a definition's version.
    pub(crate) fn read(scale: &Value) -> Option<Scale> {
        scale.is_object().then(|| Scale {
            spec_replicas: text(&scale["specReplicasPath"]).to_owned(),
            status_replicas: text(&scale["statusReplicasPath"]).to_owned(),
            selector: scale["labelSelectorPath"]
                .as_str()
                .filter(|path| !path.is_empty())
                .map(str::to_owned),
        })
    }

    /// The Scale of an instance.
    ///
    /// # Errors
    /// If a count is none, or the desired one is not set.
    pub fn get(&self, object: &Value) -> Result<Value, ScaleError> {
        match self.view(object)? {
            (scale, true) => Ok(scale),
            (_, false) => Err(ScaleError::Missing(self.spec_replicas.clone())),
        }
    }

    /// The Scale of an instance, and whether the desired count is set: what a patch is applied to, and what is answered
    /// after a write.
    ///
    /// # Errors
    /// If a count is none.
    pub fn view(&self, object: &Value) -> Result<(Value, bool), ScaleError> {
        let desired = integer(object, &self.spec_replicas).map_err(ScaleError::Type)?;
        let actual = integer(object, &self.status_replicas).map_err(ScaleError::Type)?;
        let selector = match &self.selector {
            Some(path) => string(object, path).map_err(ScaleError::Type)?.unwrap_or_default(),
            None => String::new(),
        };
        let mut metadata = Map::new();
        for name in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
            if let Some(value) = object["metadata"].get(name) {
                metadata.insert(name.to_owned(), value.clone());
            }
        }
        let mut scale = json!({
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": metadata,
            "spec": {},
            "status": {"replicas": actual.unwrap_or_default() as i32},
        });
        if let Some(replicas) = desired.map(|count| count as i32).filter(|count| *count != 0) {
            scale["spec"]["replicas"] = replicas.into();
        }
        if !selector.is_empty() {
            scale["status"]["selector"] = selector.into();
        }
        Ok((scale, desired.is_some()))
    }

    /// Writes the count of a Scale into an instance. `was_set` is what [`Scale::view`] said before.
    ///
    /// # Errors
    /// If there is no count, or no place for it.
    pub fn put(&self, object: &mut Value, scale: &Value, was_set: bool) -> Result<(), ScaleError> {
        let count = match scale["spec"]["replicas"].as_i64() {
            Some(count) => count,
            None if was_set || scale["spec"].get("replicas").is_some() => 0,
            None => return Err(ScaleError::Empty(self.spec_replicas.clone())),
        };
        let path = fields(&self.spec_replicas);
        let Some((last, above)) = path.split_last() else {
            return Err(ScaleError::Empty(self.spec_replicas.clone()));
        };
        let mut at = object;
        for (depth, name) in above.iter().enumerate() {
            let Some(map) = at.as_object_mut() else {
                return Err(no_map(&path[..depth]));
            };
            at = map.entry(*name).or_insert_with(|| Value::Object(Map::new()));
        }
        match at.as_object_mut() {
            Some(map) => map.insert((*last).to_owned(), count.into()),
            None => return Err(no_map(above)),
        };
        Ok(())
    }
}

fn no_map(path: &[&str]) -> ScaleError {
    let path = path.join(".");
    ScaleError::Type(format!(
        "value cannot be set because .{path} is not a map[string]interface{{}}"
    ))
}

fn fields(path: &str) -> Vec<&str> {
    path.strip_prefix('.').unwrap_or(path).split('.').collect()
}

/// The value at a path; none if it or what is above it is not there.
fn at<'a>(object: &'a Value, path: &[&str]) -> Result<Option<&'a Value>, String> {
    let mut value = object;
    for (depth, name) in path.iter().enumerate() {
        match value {
            Value::Null => return Ok(None),
            Value::Object(map) => match map.get(*name) {
                Some(next) => value = next,
                None => return Ok(None),
            },
            other => {
                let path = path[..=depth].join(".");
                return Err(accessor_error(&path, other, "map[string]interface{}"));
            }
        }
    }
    Ok(Some(value))
}

fn accessor_error(path: &str, value: &Value, wanted: &str) -> String {
    let (shown, kind) = (go::sprint(value), meta::go_type(value));
    format!(".{path} accessor error: {shown} is of the type {kind}, expected {wanted}")
}

fn integer(object: &Value, path: &str) -> Result<Option<i64>, String> {
    let path = fields(path);
    match at(object, &path)? {
        None => Ok(None),
        Some(value) => match value.as_i64() {
            Some(count) => Ok(Some(count)),
            None => Err(accessor_error(&path.join("."), value, "int64")),
        },
    }
}

fn string(object: &Value, path: &str) -> Result<Option<String>, String> {
    let path = fields(path);
    match at(object, &path)? {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(value) => Err(accessor_error(&path.join("."), value, "string")),
    }
}

fn invalid_count(object: &Value, path: &str) -> Option<FieldError> {
    match integer(object, path) {
        Err(fault) => Some(FieldError::invalid(path, 0, &fault)),
        Ok(Some(count)) if count < 0 => Some(FieldError::invalid(path, count, "should be a non-negative integer")),
        Ok(Some(count)) if count > i64::from(i32::MAX) => {
            let detail = format!("should be less than or equal to {}", i32::MAX);
            Some(FieldError::invalid(path, count, &detail))
        }
        Ok(_) => None,
    }
}

/// What is wrong with the desired count.
pub(crate) fn invalid_spec(version: &Version, object: &Value) -> Vec<FieldError> {
    let scale = version.scale.as_ref();
    scale
        .and_then(|scale| invalid_count(object, &scale.spec_replicas))
        .into_iter()
        .collect()
}

/// What is wrong with the actual count and the selector.
pub(crate) fn invalid_status(version: &Version, object: &Value) -> Vec<FieldError> {
    let Some(scale) = &version.scale else {
        return Vec::new();
    };
    let mut errors: Vec<FieldError> = invalid_count(object, &scale.status_replicas).into_iter().collect();
    if let Some(path) = &scale.selector
        && let Err(fault) = string(object, path)
    {
        errors.push(FieldError::invalid(path.as_str(), "", &fault));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale() -> Scale {
        Scale::read(&json!({"specReplicasPath": ".spec.size.count", "statusReplicasPath": ".status.count", "labelSelectorPath": ".status.sel"}))
            .unwrap()
    }

    #[test]
    fn counts_are_read_by_path() {
        let object = json!({"metadata": {"name": "a", "namespace": "n", "labels": {}}, "spec": {"size": {"count": 3}}, "status": {"sel": "a=b"}});
        let found = scale().get(&object).unwrap();
        assert_eq!(found["metadata"], json!({"name": "a", "namespace": "n"}));
        assert_eq!(found["spec"], json!({"replicas": 3}));
        assert_eq!(found["status"], json!({"replicas": 0, "selector": "a=b"}));
        let missing = scale().get(&json!({})).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "the spec replicas field \".spec.size.count\" does not exist"
        );
        let wrong = scale().get(&json!({"spec": {"size": {"count": "x"}}})).unwrap_err();
        assert_eq!(
            wrong.to_string(),
            ".spec.size.count accessor error: x is of the type string, expected int64"
        );
    }

    #[test]
    fn counts_are_written_by_path() {
        let mut object = json!({"spec": {"other": 1}});
        let count = json!({"spec": {"replicas": 5}});
        scale().put(&mut object, &count, false).unwrap();
        assert_eq!(object["spec"], json!({"other": 1, "size": {"count": 5}}));
        scale().put(&mut object, &json!({"spec": {}}), true).unwrap();
        assert_eq!(object["spec"]["size"]["count"], 0);
        assert!(scale().put(&mut json!({}), &json!({"spec": {}}), false).is_err());
        assert!(scale().put(&mut json!({"spec": 1}), &count, false).is_err());
    }
}
