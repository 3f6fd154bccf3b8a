//! Values of expressions. Those that come from objects borrow them.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use engenho_quantity::Quantity;
use serde_json::Value as Json;

use crate::authorizer::{Decision, GroupCheck, Identity, PathCheck, ResourceCheck};
use crate::formats::NamedFormat;
use crate::net::Cidr;
use crate::semver::Version;
use crate::time::{Duration, Timestamp};
use crate::url::Url;

/// A value an expression works with or gives.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number without a sign.
    Uint(u64),
    /// A floating point number.
    Double(f64),
    /// Text.
    String(Text<'a>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A span of time.
    Duration(Duration),
    /// A point in time.
    Timestamp(Timestamp),
    /// A list.
    List(List<'a>),
    /// A map or an object.
    Map(Map<'a>),
    /// A type, by its name.
    Type(Arc<str>),
    /// A value that may be missing.
    Optional(Option<Arc<Value<'a>>>),
    /// A URL.
    Url(Arc<Url>),
    /// An IP address.
    Ip(IpAddr),
    /// A network.
    Cidr(Cidr),
    /// An amount of a resource.
    Quantity(Quantity),
    /// A semantic version.
    Semver(Arc<Version>),
    /// A format texts can be validated against.
    Format(NamedFormat),
    /// Someone whose permissions can be asked for.
    Authorizer(Identity),
    /// A question about a path.
    PathCheck(Arc<PathCheck>),
    /// A question about a group of resources.
    GroupCheck(Arc<GroupCheck>),
    /// A question about a resource.
    ResourceCheck(Arc<ResourceCheck>),
    /// The answer to such a question.
    Decision(Arc<Decision>),
}

/// Text that is shared or borrowed.
#[derive(Debug, Clone)]
pub enum Text<'a> {
    /// Of an object.
    Borrowed(&'a str),
    /// Made by an expression.
    Shared(Arc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl From<&str> for Text<'_> {
    fn from(text: &str) -> Self {
        Self::Shared(Arc::from(text))
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self::Shared(Arc::from(text))
    }
}

/// A list of values.
#[derive(Debug, Clone)]
pub enum List<'a> {
    /// Of an object, with the schema of the list if there is one.
    Json(&'a [Json], Option<&'a Json>),
    /// Made by an expression.
    Made(Arc<Vec<Value<'a>>>),
}

/// A map from keys to values.
#[derive(Debug, Clone)]
pub enum Map<'a> {
    /// Of an object, with its schema if there is one.
    Json(&'a serde_json::Map<String, Json>, Option<&'a Json>),
    /// Made by an expression.
    Made(Arc<BTreeMap<Key, Value<'a>>>),
}

/// A key of a map an expression made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number without a sign.
    Uint(u64),
    /// Text.
    String(Arc<str>),
}

impl<'a> Value<'a> {
    /// Text an expression made.
    pub fn text(text: impl Into<Text<'a>>) -> Self {
        Self::String(text.into())
    }

    /// A list an expression made.
    pub fn list(elements: Vec<Value<'a>>) -> Self {
        Self::List(List::Made(Arc::new(elements)))
    }

    /// A list of texts.
    pub(crate) fn texts<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        Self::list(texts.into_iter().map(Self::text).collect())
    }

    /// An optional that has a value.
    pub(crate) fn some(self) -> Self {
        Self::Optional(Some(Arc::new(self)))
    }

    /// The name of the type of the value.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Type(_) => "type",
            Self::Optional(_) => "optional_type",
            Self::Url(_) => "kubernetes.URL",
            Self::Ip(_) => "net.IP",
            Self::Cidr(_) => "net.CIDR",
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Semver(_) => "kubernetes.Semver",
            Self::Format(_) => "kubernetes.NamedFormat",
            Self::Authorizer(_) => "kubernetes.authorization.Authorizer",
            Self::PathCheck(_) => "kubernetes.authorization.PathCheck",
            Self::GroupCheck(_) => "kubernetes.authorization.GroupCheck",
            Self::ResourceCheck(_) => "kubernetes.authorization.ResourceCheck",
            Self::Decision(_) => "kubernetes.authorization.Decision",
        }
    }

    /// The boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// What `size` gives for it; one if it has no size. This is what costs are counted by.
    pub(crate) fn size(&self) -> u64 {
        let size = match self {
            Self::String(text) => text.chars().count(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(list) => list.len(),
            Self::Map(map) => map.len(),
            Self::Optional(Some(of)) => return of.size(),
            Self::Ip(IpAddr::V4(_)) => 4,
            Self::Ip(IpAddr::V6(_)) => 16,
            Self::Cidr(of) => return if of.address.is_ipv4() { 4 } else { 16 },
            _ => 1,
        };
        size as u64
    }

    /// Whether it is the empty value of its type.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(value) => !value,
            Self::Int(value) => *value == 0,
            Self::Uint(value) => *value == 0,
            Self::Double(value) => *value == 0.0,
            Self::String(text) => text.is_empty(),
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Duration(span) => span.nanos == 0,
            Self::List(list) => list.is_empty(),
            Self::Map(map) => map.is_empty(),
            Self::Optional(of) => of.is_none(),
            _ => false,
        }
    }

    /// The value as an object holds it, for results that become part of one. Types without such a form give none.
    pub fn to_json(&self) -> Option<Json> {
        Some(match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::from(*value),
            Self::Int(value) => Json::from(*value),
            Self::Uint(value) => Json::from(*value),
            Self::Double(value) => Json::from(*value),
            Self::String(text) => Json::from(&**text),
            Self::Bytes(bytes) => Json::from(data_encoding::BASE64.encode(bytes)),
            Self::Duration(span) => Json::from(span.to_string()),
            Self::Timestamp(time) => Json::from(time.to_string()),
            Self::Quantity(amount) => Json::from(amount.to_string()),
            Self::List(list) => Json::Array(list.iter().map(|of| of.to_json()).collect::<Option<_>>()?),
            Self::Map(map) => {
                let mut object = serde_json::Map::new();
                for (key, value) in map.iter() {
                    object.insert(key.as_str()?.to_owned(), value.to_json()?);
                }
                Json::Object(object)
            }
            Self::Optional(Some(of)) => of.to_json()?,
            _ => return None,
        })
    }
}

impl<'a> List<'a> {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Json(items, _) => items.len(),
            Self::Made(items) => items.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An element.
    pub fn get(&self, index: usize) -> Option<Value<'a>> {
        match self {
            Self::Json(items, schema) => items.get(index).map(|item| crate::json::value(item, items_of(*schema))),
            Self::Made(items) => items.get(index).cloned(),
        }
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

fn items_of(schema: Option<&Json>) -> Option<&Json> {
    schema?.get("items")
}

impl<'a> Map<'a> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Json(entries, _) => entries.len(),
            Self::Made(entries) => entries.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a key. Fields of objects with a schema go by the names expressions have for them.
    pub fn field(&self, name: &str) -> Option<Value<'a>> {
        match self {
            Self::Json(entries, schema) => crate::json::field(entries, *schema, name),
            Self::Made(entries) => entries.get(&Key::String(Arc::from(name))).cloned(),
        }
    }

    /// The value of a key; numbers are the same key whatever their type.
    pub(crate) fn get(&self, key: &Value<'_>) -> Option<Value<'a>> {
        if let Value::String(name) = key {
            return self.field(name);
        }
        let Self::Made(entries) = self else { return None };
        let whole = match key {
            Value::Bool(value) => return entries.get(&Key::Bool(*value)).cloned(),
            Value::Int(value) => i128::from(*value),
            Value::Uint(value) => i128::from(*value),
            Value::Double(value) if value.fract() == 0.0 && value.abs() < 1e19 => *value as i128,
            _ => return None,
        };
        let signed = i64::try_from(whole).ok().and_then(|key| entries.get(&Key::Int(key)));
        let unsigned = || u64::try_from(whole).ok().and_then(|key| entries.get(&Key::Uint(key)));
        signed.or_else(unsigned).cloned()
    }

    /// The entries by key.
    pub fn iter(&self) -> Box<dyn Iterator<Item = (Value<'a>, Value<'a>)> + '_> {
        match self {
            Self::Json(entries, schema) => {
                let schema = *schema;
                let entry = move |(name, value): (&'a String, &'a Json)| {
                    let value = crate::json::value(value, crate::json::schema_of_field(schema, name));
                    (Value::String(Text::Borrowed(name)), value)
                };
                Box::new(entries.iter().map(entry))
            }
            Self::Made(entries) => Box::new(entries.iter().map(|(key, value)| (key.to_value(), value.clone()))),
        }
    }
}

impl Key {
    /// The key that a value is, if it can be one.
    pub(crate) fn of(value: &Value<'_>) -> Option<Self> {
        Some(match value {
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Int(*value),
            Value::Uint(value) => Self::Uint(*value),
            Value::String(Text::Shared(text)) => Self::String(Arc::clone(text)),
            Value::String(text) => Self::String(Arc::from(&**text)),
            _ => return None,
        })
    }

    fn to_value<'a>(&self) -> Value<'a> {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Uint(value) => Value::Uint(*value),
            Self::String(text) => Value::String(Text::Shared(Arc::clone(text))),
        }
    }
}

/// Numbers of any type against each other; none if one is not a number, or cannot be in an order.
pub(crate) fn compare_numbers(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    let whole = |value: &Value<'_>| match value {
        Value::Int(value) => Some(i128::from(*value)),
        Value::Uint(value) => Some(i128::from(*value)),
        _ => None,
    };
    match (a, b) {
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Double(a), b) => compare_mixed(*a, whole(b)?),
        (a, Value::Double(b)) => compare_mixed(*b, whole(a)?).map(Ordering::reverse),
        (a, b) => Some(whole(a)?.cmp(&whole(b)?)),
    }
}

/// Whole numbers are compared with others as the nearest floating point number, as upstream does.
fn compare_mixed(a: f64, b: i128) -> Option<Ordering> {
    a.partial_cmp(&(b as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_types_compare() {
        let cmp = |a: Value<'_>, b: Value<'_>| compare_numbers(&a, &b);
        assert_eq!(cmp(Value::Int(-1), Value::Uint(u64::MAX)), Some(Ordering::Less));
        assert_eq!(cmp(Value::Double(1.5), Value::Int(1)), Some(Ordering::Greater));
        assert_eq!(cmp(Value::Double(-1.5), Value::Int(-1)), Some(Ordering::Less));
        assert_eq!(cmp(Value::Int(2), Value::Double(2.0)), Some(Ordering::Equal));
        assert_eq!(cmp(Value::Double(f64::NAN), Value::Int(1)), None);
        assert_eq!(
            cmp(Value::Double(f64::INFINITY), Value::Uint(u64::MAX)),
            Some(Ordering::Greater)
        );
        assert_eq!(cmp(Value::Null, Value::Int(1)), None);
        assert_eq!(
            cmp(Value::Int(i64::MAX), Value::Double(9_223_372_036_854_775_808.0)),
            Some(Ordering::Equal)
        );
    }
}
