//! The line-oriented text of the schema table, written by `cargo xtask forge` and read on demand.
//!
//! ```text
//! io.k8s.api.core.v1.Container object required=name
//!   args [string =""] list=atomic
//!   env [@io.k8s.api.core.v1.EnvVar ={}] list=map(name) key=name patch=merge
//! ```
//!
//! A definition is a head line and an indented line per property. A node is its type (`integer/int32`, `[element]` for a
//! list, `{value}` for a map, `@name` for a reference inside `allOf`, `$name` for a bare one, `string|number` for a
//! choice of types, `-` for anything), then its attributes; `=JSON` is the default.

use std::fmt::Write as _;

use serde_json::Value;

use super::node::{ListKind, MapKind, Node, PatchStrategy, Reference, SchemaType};
use crate::Str;
use crate::resource::GroupKind;

/// Why a line of the table isn't understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("schema table: {problem} at `{rest}`")]
pub struct TextError {
    /// What is wrong.
    pub problem: &'static str,
    /// The text from there on, shortened.
    pub rest: String,
}

/// Splits a table into the name and the text of each definition. Lines that begin with `#` are comments.
pub(super) fn definitions(table: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut rest = table;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let head_end = rest.find('\n').map_or(rest.len(), |at| at + 1);
            let head = &rest[..head_end];
            if head.starts_with('#') || head.trim().is_empty() {
                rest = &rest[head_end..];
                continue;
            }
            let mut end = head_end;
            while rest[end..].starts_with(' ') {
                end = rest[end..].find('\n').map_or(rest.len(), |at| end + at + 1);
            }
            let (text, tail) = rest.split_at(end);
            rest = tail;
            let name = text.split([' ', '\n']).next().unwrap_or_default();
            return Some((name, text));
        }
    })
}

/// Group, version and kind that a definition's head line states.
pub(super) fn kinds_of(text: &'static str) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let head = text.lines().next().unwrap_or_default();
    let list = head
        .split_once(" gvk=")
        .map_or("", |(_, tail)| tail.split(' ').next().unwrap_or_default());
    list.split(',').filter_map(|kind| {
        let mut parts = kind.split('/');
        Some((parts.next()?, parts.next()?, parts.next()?))
    })
}

/// Parses one definition; `find` gives the place of a definition by its name.
pub(super) fn parse_definition(text: &'static str, find: &dyn Fn(&str) -> Option<u16>) -> Result<Node, TextError> {
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default();
    let head = head.split_once(' ').map_or("", |(_, node)| node);
    let mut node = Cursor { rest: head, find }.whole()?;
    for line in lines {
        let Some((name, property)) = line.trim_start().split_once(' ') else {
            return Err(Cursor { rest: line, find }.error("property without type"));
        };
        node.properties
            .push((Str::Borrowed(name), Cursor { rest: property, find }.whole()?));
    }
    Ok(node)
}

struct Cursor<'f> {
    rest: &'static str,
    find: &'f dyn Fn(&str) -> Option<u16>,
}

impl Cursor<'_> {
    fn error(&self, problem: &'static str) -> TextError {
        TextError {
            problem,
            rest: self.rest.chars().take(60).collect(),
        }
    }

    fn whole(mut self) -> Result<Node, TextError> {
        let node = self.node()?;
        if self.rest.is_empty() {
            Ok(node)
        } else {
            Err(self.error("text after the node"))
        }
    }

    fn take(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// The text up to a space or a closing bracket.
    fn word(&mut self) -> &'static str {
        let end = self.rest.find([' ', ']', '}']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn json(&mut self) -> Result<Value, TextError> {
        let mut values = serde_json::Deserializer::from_str(self.rest).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => {
                self.rest = &self.rest[values.byte_offset()..];
                Ok(value)
            }
            _ => Err(self.error("not JSON")),
        }
    }

    fn nested(&mut self, close: &str) -> Result<Box<Node>, TextError> {
        let node = self.node()?;
        if self.take(close) {
            Ok(Box::new(node))
        } else {
            Err(self.error("bracket isn't closed"))
        }
    }

    fn node(&mut self) -> Result<Node, TextError> {
        let mut node = Node::default();
        if self.take("[") {
            node.ty = Some(SchemaType::Array);
            node.items = Some(self.nested("]")?);
        } else if self.take("{") {
            node.ty = Some(SchemaType::Object);
            node.additional = Some(self.nested("}")?);
        } else if self.rest.starts_with(['@', '$']) {
            let wrapped = self.rest.starts_with('@');
            self.rest = &self.rest[1..];
            let name = self.word();
            let index = (self.find)(name).ok_or_else(|| self.error("reference to an unknown definition"))?;
            node.reference = Some(Box::new(Reference {
                name: Str::Borrowed(name),
                index,
                wrapped,
            }));
        } else {
            let word = self.word();
            let (types, format) = match word.split_once('/') {
                Some((types, format)) => (types, Some(format)),
                None => (word, None),
            };
            node.format = format.map(Str::Borrowed);
            if types.contains('|') {
                node.one_of = types.split('|').filter_map(SchemaType::parse).collect();
            } else if types != "-" {
                node.ty = Some(SchemaType::parse(types).ok_or_else(|| self.error("unknown type"))?);
            }
        }
        while self.take(" ") {
            self.attribute(&mut node)?;
        }
        Ok(node)
    }

    fn attribute(&mut self, node: &mut Node) -> Result<(), TextError> {
        if self.take("=") {
            node.default = Some(self.json()?);
            return Ok(());
        }
        if self.take("enum=") {
            match self.json()? {
                Value::Array(values) => node.allowed = values,
                _ => return Err(self.error("enum isn't a list")),
            }
            return Ok(());
        }
        if self.take("unions=") {
            node.unions = Some(Box::new(self.json()?));
            return Ok(());
        }
        let word = self.word();
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match name {
            "list" => {
                node.list = Some(match value {
                    "atomic" => ListKind::Atomic,
                    "set" => ListKind::Set,
                    keys => match keys.strip_prefix("map(").and_then(|keys| keys.strip_suffix(')')) {
                        Some(keys) => ListKind::Map(keys.split(',').map(Str::Borrowed).collect()),
                        None => return Err(self.error("unknown list type")),
                    },
                });
            }
            "map" if value == "atomic" => node.map = Some(MapKind::Atomic),
            "map" if value == "granular" => node.map = Some(MapKind::Granular),
            "key" => node.patch_merge_key = Some(Str::Borrowed(value)),
            "patch" => {
                let strategy = PatchStrategy::parse(value).ok_or_else(|| self.error("unknown patch strategy"))?;
                node.patch_strategy = Some(strategy);
            }
            "required" => node.required = value.split(',').map(Str::Borrowed).collect(),
            "gvk" => node.kinds = value.split(',').filter_map(parse_kind).collect(),
            _ => return Err(self.error("unknown attribute")),
        }
        Ok(())
    }
}

fn parse_kind(text: &'static str) -> Option<GroupKind> {
    let mut parts = text.split('/').map(Str::Borrowed);
    Some(GroupKind {
        group: parts.next()?,
        version: parts.next()?,
        kind: parts.next()?,
    })
}

impl PatchStrategy {
    /// Parses the comma-separated value of the OpenAPI extension.
    pub fn parse(text: &str) -> Option<PatchStrategy> {
        let mut strategy = PatchStrategy::default();
        for word in text.split(',') {
            match word {
                "merge" => strategy.merge = true,
                "retainKeys" => strategy.retain_keys = true,
                "replace" => strategy.replace = true,
                _ => return None,
            }
        }
        Some(strategy)
    }

    /// The value of the OpenAPI extension.
    pub fn as_str(self) -> &'static str {
        match (self.merge, self.retain_keys, self.replace) {
            (true, true, _) => "merge,retainKeys",
            (true, false, _) => "merge",
            (false, true, _) => "retainKeys",
            (false, false, _) => "replace",
        }
    }
}

impl Node {
    /// Writes a definition in the table's format. Inline properties below the first level and the facts that only
    /// custom resources have aren't expressible, and are an error.
    pub fn write_definition(&self, name: &str, out: &mut String) -> Result<(), TextError> {
        out.push_str(name);
        out.push(' ');
        self.write(out, true)?;
        out.push('\n');
        for (name, node) in &self.properties {
            out.push_str("  ");
            out.push_str(name);
            out.push(' ');
            node.write(out, false)?;
            out.push('\n');
        }
        Ok(())
    }

    fn write(&self, out: &mut String, top: bool) -> Result<(), TextError> {
        let inexpressible = |problem| TextError {
            problem,
            rest: format!("{self:?}").chars().take(200).collect(),
        };
        if self.int_or_string || self.preserve_unknown || self.embedded_resource || self.nullable {
            return Err(inexpressible("a fact that only custom resources have"));
        }
        if !top && (!self.properties.is_empty() || !self.required.is_empty() || !self.kinds.is_empty()) {
            return Err(inexpressible("inline properties"));
        }
        match (&self.reference, &self.items, &self.additional) {
            (Some(reference), None, None) if self.ty.is_none() && self.one_of.is_empty() => {
                out.push(if reference.wrapped { '@' } else { '$' });
                out.push_str(&reference.name);
            }
            (None, Some(items), None) if self.ty == Some(SchemaType::Array) => {
                out.push('[');
                items.write(out, false)?;
                out.push(']');
            }
            (None, None, Some(values)) if self.ty == Some(SchemaType::Object) => {
                out.push('{');
                values.write(out, false)?;
                out.push('}');
            }
            (None, None, None) => {
                match self.ty {
                    Some(ty) if self.one_of.is_empty() => out.push_str(ty.as_str()),
                    None if self.one_of.is_empty() => out.push('-'),
                    None => {
                        let names: Vec<_> = self.one_of.iter().map(|ty| ty.as_str()).collect();
                        out.push_str(&names.join("|"));
                    }
                    Some(_) => return Err(inexpressible("a type beside oneOf")),
                }
                if let Some(format) = &self.format {
                    let _ = write!(out, "/{format}");
                }
            }
            _ => return Err(inexpressible("an unexpected mixture of type, items and reference")),
        }
        self.write_attributes(out);
        Ok(())
    }

    fn write_attributes(&self, out: &mut String) {
        // Writing to a String can't fail.
        if let Some(default) = &self.default {
            let _ = write!(out, " ={default}");
        }
        if !self.allowed.is_empty() {
            let _ = write!(out, " enum={}", Value::Array(self.allowed.clone()));
        }
        match &self.list {
            Some(ListKind::Atomic) => out.push_str(" list=atomic"),
            Some(ListKind::Set) => out.push_str(" list=set"),
            Some(ListKind::Map(keys)) => {
                let _ = write!(out, " list=map({})", keys.join(","));
            }
            None => {}
        }
        match self.map {
            Some(MapKind::Atomic) => out.push_str(" map=atomic"),
            Some(MapKind::Granular) => out.push_str(" map=granular"),
            None => {}
        }
        if let Some(key) = &self.patch_merge_key {
            let _ = write!(out, " key={key}");
        }
        if let Some(strategy) = self.patch_strategy {
            let _ = write!(out, " patch={}", strategy.as_str());
        }
        if !self.required.is_empty() {
            let _ = write!(out, " required={}", self.required.join(","));
        }
        if !self.kinds.is_empty() {
            let kinds: Vec<_> = self
                .kinds
                .iter()
                .map(|have| format!("{}/{}/{}", have.group, have.version, have.kind))
                .collect();
            let _ = write!(out, " gvk={}", kinds.join(","));
        }
        if let Some(unions) = &self.unions {
            let _ = write!(out, " unions={unions}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn known(name: &str) -> Option<u16> {
        ["io.example.v1.A", "io.example.v1.B"]
            .iter()
            .position(|have| *have == name)
            .and_then(|at| at.try_into().ok())
    }

    fn word() -> impl Strategy<Value = Str> {
        "[a-z][A-Za-z0-9$-]{0,8}".prop_map(Str::Owned)
    }

    fn leaf() -> impl Strategy<Value = Node> {
        let ty = prop_oneof![
            Just(Some(SchemaType::String)),
            Just(Some(SchemaType::Integer)),
            Just(Some(SchemaType::Boolean)),
            Just(Some(SchemaType::Object)),
            Just(None),
        ];
        let plain = (ty, proptest::option::of("[a-z0-9-]{1,9}"));
        let plain = plain.prop_map(|(ty, format)| Node {
            ty,
            format: format.map(Str::Owned),
            ..Node::default()
        });
        let reference = (0u16..2, any::<bool>()).prop_map(|(index, wrapped)| {
            let name = Str::Borrowed(["io.example.v1.A", "io.example.v1.B"][usize::from(index)]);
            Node {
                reference: Some(Box::new(Reference { name, index, wrapped })),
                ..Node::default()
            }
        });
        let choice = Just(Node {
            one_of: vec![SchemaType::Integer, SchemaType::String],
            ..Node::default()
        });
        prop_oneof![plain, reference, choice]
    }

    fn attributes(node: Node) -> impl Strategy<Value = Node> {
        let default = prop_oneof![
            Just(None),
            Just(Some(json!({}))),
            ".{0,12}".prop_map(|text| Some(json!(text))),
            any::<i64>().prop_map(|number| Some(json!(number))),
        ];
        let list = prop_oneof![
            Just(None),
            Just(Some(ListKind::Atomic)),
            Just(Some(ListKind::Set)),
            proptest::collection::vec(word(), 1..3).prop_map(|keys| Some(ListKind::Map(keys))),
        ];
        let map = prop_oneof![Just(None), Just(Some(MapKind::Atomic)), Just(Some(MapKind::Granular))];
        let strategy = proptest::option::of(prop_oneof![Just("merge"), Just("merge,retainKeys"), Just("replace")]);
        let allowed = proptest::collection::vec(".{0,6}".prop_map(Value::String), 0..3);
        (
            Just(node),
            default,
            list,
            map,
            strategy,
            allowed,
            proptest::option::of(word()),
        )
            .prop_map(|(node, default, list, map, strategy, allowed, patch_merge_key)| Node {
                default,
                list,
                map,
                allowed,
                patch_merge_key,
                patch_strategy: strategy.and_then(PatchStrategy::parse),
                ..node
            })
    }

    fn node() -> impl Strategy<Value = Node> {
        leaf().prop_flat_map(attributes).prop_recursive(3, 8, 1, |inner| {
            let list = inner.clone().prop_map(|items| Node {
                items: Some(Box::new(items)),
                ..Node::of(SchemaType::Array)
            });
            let map = inner.prop_map(|of| Node {
                additional: Some(Box::new(of)),
                ..Node::of(SchemaType::Object)
            });
            prop_oneof![list, map].prop_flat_map(attributes)
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            top in leaf().prop_flat_map(attributes),
            properties in proptest::collection::btree_map(word(), node(), 0..4),
            required in proptest::collection::vec(word(), 0..3),
        ) {
            let kinds = vec![GroupKind { group: "".into(), version: "v1".into(), kind: "A".into() }];
            let wanted = Node { properties: properties.into_iter().collect(), required, kinds, ..top };
            let mut text = String::new();
            wanted.write_definition("io.example.v1.A", &mut text).expect("expressible");
            let text: &'static str = text.leak();
            let found: Vec<_> = definitions(text).collect();
            prop_assert_eq!(&found, &[("io.example.v1.A", text)]);
            prop_assert_eq!(kinds_of(text).collect::<Vec<_>>(), [("", "v1", "A")]);
            prop_assert_eq!(parse_definition(text, &known).expect("readable"), wanted);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[ -~\n]{0,80}") {
            let text: &'static str = text.leak();
            let _ = parse_definition(text, &known);
            definitions(text).for_each(drop);
        }
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let inline = Node {
            properties: vec![("a".into(), Node::default())],
            ..Node::of(SchemaType::Object)
        };
        let outer = Node {
            properties: vec![("b".into(), inline)],
            ..Node::of(SchemaType::Object)
        };
        assert!(outer.write_definition("A", &mut String::new()).is_err());
        let custom = Node {
            preserve_unknown: true,
            ..Node::of(SchemaType::Object)
        };
        assert!(custom.write_definition("A", &mut String::new()).is_err());
    }
}
