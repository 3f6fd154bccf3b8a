//! The generated table of messages, parsed once.
//!
//! A line `package NAME API_VERSION` begins a package; `API_VERSION` is `-` if it has no kinds. A line without indent is a
//! message, then a mark: `kind` (it can stand alone), `items` (a list in JSON, the message is only its wrapper) or `custom`
//! (its JSON is not its fields). An indented line is a field: number, JSON name with its mode, type. The modes: `?` absent
//! differs from zero, `=` zero is written to JSON, `^` the members are the parent's, none: zero is left out. A type
//! in `[]` is repeated, in `{}` a map from text; `@` refers to a message of this package or, with dots, of another.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::custom::Custom;

const TEXT: &str = include_str!("../data/messages.txt");
/// The package whose kinds (Status, DeleteOptions, ...) are part of every group and version.
const META: &str = "meta.v1";

static TABLE: LazyLock<Table> = LazyLock::new(|| match Table::parse(TEXT) {
    Ok(table) => table,
    // A test parses the same text.
    Err(fault) => unreachable!("the embedded table of messages: {fault}"),
});

/// Position of a message in the table.
pub(crate) type MessageId = usize;

/// What a message is in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// An object of its fields.
    Fields,
    /// The list that its one field holds.
    Items,
    /// Something of its own.
    Custom(Custom),
}

/// When a field is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Zero is left out of JSON and written to protobuf.
    Omit,
    /// Zero is written to both.
    Keep,
    /// Absent differs from zero.
    Pointer,
    /// The members of this message are members of its parent in JSON.
    Inline,
}

/// How many values a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    One,
    List,
    Map,
}

/// Type of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    String,
    Bytes,
    Bool,
    Int32,
    Int64,
    Double,
    Message(MessageId),
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) number: u32,
    /// Name in JSON.
    pub(crate) name: &'static str,
    pub(crate) mode: Mode,
    pub(crate) shape: Shape,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) form: Form,
    /// By number.
    pub(crate) fields: Vec<Field>,
}

impl Message {
    pub(crate) fn field(&self, number: u32) -> Option<&Field> {
        // Numbers are dense nearly everywhere: the field is at its number.
        match self.fields.get(number as usize - 1) {
            Some(field) if field.number == number => Some(field),
            _ => {
                let at = self.fields.binary_search_by_key(&number, |f| f.number).ok()?;
                self.fields.get(at)
            }
        }
    }
}

/// Every message.
#[derive(Debug, Default)]
pub(crate) struct Table {
    messages: Vec<Message>,
    /// apiVersion -> kind -> message.
    kinds: BTreeMap<&'static str, BTreeMap<&'static str, MessageId>>,
    meta: BTreeMap<&'static str, MessageId>,
}

impl Table {
    /// The embedded table.
    pub(crate) fn get() -> &'static Table {
        &TABLE
    }

    pub(crate) fn message(&self, id: MessageId) -> &Message {
        &self.messages[id]
    }

    /// The message of a kind. `api_version` is `v1` or `group/version`.
    pub(crate) fn kind(&self, api_version: &str, kind: &str) -> Option<MessageId> {
        let own = self.kinds.get(api_version).and_then(|kinds| kinds.get(kind));
        own.or_else(|| self.meta.get(kind)).copied()
    }

    fn parse(text: &'static str) -> Result<Table, String> {
        let mut ids: BTreeMap<(&str, &str), MessageId> = BTreeMap::new();
        let mut package = "";
        for line in text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with(['#', ' ']))
        {
            let mut words = line.split(' ');
            let first = words.next().unwrap_or_default();
            if first == "package" {
                package = words.next().unwrap_or_default();
            } else {
                let id = ids.len();
                ids.insert((package, first), id);
            }
        }
        let mut table = Table::default();
        let mut api_version = "";
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let fault = || format!("cannot read line {line:?}");
            if let Some(field) = line.strip_prefix("  ") {
                let field = parse_field(field, package, &ids).ok_or_else(fault)?;
                let message = table.messages.last_mut().ok_or_else(fault)?;
                message.fields.push(field);
                continue;
            }
            let mut words = line.split(' ');
            let first = words.next().unwrap_or_default();
            if first == "package" {
                package = words.next().ok_or_else(fault)?;
                api_version = words.next().ok_or_else(fault)?;
                continue;
            }
            let form = match words.next() {
                None => Form::Fields,
                Some("kind") => {
                    let kinds = table.kinds.entry(api_version).or_default();
                    kinds.insert(first, table.messages.len());
                    if package == META {
                        table.meta.insert(first, table.messages.len());
                    }
                    Form::Fields
                }
                Some("items") => Form::Items,
                Some("custom") => Form::Custom(Custom::named(first).ok_or_else(fault)?),
                Some(_) => return Err(fault()),
            };
            table.messages.push(Message {
                form,
                fields: Vec::new(),
            });
        }
        for message in &table.messages {
            if !message.fields.is_sorted_by_key(|f| f.number) {
                return Err("fields aren't in the order of their numbers".into());
            }
        }
        Ok(table)
    }
}

fn parse_field(text: &'static str, package: &str, ids: &BTreeMap<(&str, &str), MessageId>) -> Option<Field> {
    let mut words = text.split(' ');
    let (number, name, kind) = (words.next()?, words.next()?, words.next()?);
    let (name, mode) = match name.as_bytes().last()? {
        b'?' => (name.strip_suffix('?')?, Mode::Pointer),
        b'=' => (name.strip_suffix('=')?, Mode::Keep),
        b'^' => (name.strip_suffix('^')?, Mode::Inline),
        _ => (name, Mode::Omit),
    };
    let (kind, shape) = match kind.as_bytes().first()? {
        b'[' => (kind.strip_prefix('[')?.strip_suffix(']')?, Shape::List),
        b'{' => (kind.strip_prefix('{')?.strip_suffix('}')?, Shape::Map),
        _ => (kind, Shape::One),
    };
    let kind = match kind {
        "string" => Kind::String,
        "bytes" => Kind::Bytes,
        "bool" => Kind::Bool,
        "int32" => Kind::Int32,
        "int64" => Kind::Int64,
        "double" => Kind::Double,
        other => {
            let name = other.strip_prefix('@')?;
            let key = name.rsplit_once('.').unwrap_or((package, name));
            Kind::Message(*ids.get(&key)?)
        }
    };
    let number = number.parse().ok().filter(|n| *n > 0)?;
    Some(Field {
        number,
        name,
        mode,
        shape,
        kind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_table_is_whole() {
        let table = Table::parse(TEXT).unwrap();
        assert!(table.messages.len() > 500, "{}", table.messages.len());
        for (api_version, kind) in [
            ("v1", "Pod"),
            ("v1", "PodList"),
            ("v1", "Status"),
            ("v1", "List"),
            ("apps/v1", "Deployment"),
            ("apps/v1", "DeleteOptions"),
            ("autoscaling/v1", "Scale"),
            ("policy/v1", "Eviction"),
            ("authentication.k8s.io/v1", "TokenRequest"),
            ("meta.k8s.io/v1", "PartialObjectMetadataList"),
            ("meta.k8s.io/v1beta1", "PartialObjectMetadataList"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            ("apiregistration.k8s.io/v1", "APIService"),
        ] {
            assert!(table.kind(api_version, kind).is_some(), "{api_version} {kind}");
        }
        assert!(table.kind("v1", "Container").is_none());
        assert!(table.kind("example.com/v1", "Widget").is_none());
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named() {
        let fault = Table::parse("package a v1\nA kind\n  1 b @Missing\n").unwrap_err();
        assert!(fault.contains("@Missing"), "{fault}");
    }
}
