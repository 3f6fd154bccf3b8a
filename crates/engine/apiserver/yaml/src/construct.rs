//! Nodes to values: aliases are followed, maps merged, duplicate keys told.

use std::collections::{BTreeMap, BTreeSet};

use crate::Error;
use crate::document::{Content, DEPTH_MAX, Document, NodeId};
use crate::key::{self, Key};
use crate::resolve::{self, Scalar};

/// Text that aliases repeat: several times the largest object that the store takes.
const ALIASED_BYTES_MAX: usize = 16 << 20;

/// Duplicate keys that are told.
const DUPLICATES_MAX: usize = 1000;

/// Below so many values nearly all of them may come from aliases, above the second bound few.
const RATIO_RANGE: (f64, f64) = (400_000.0, 4_000_000.0);

/// A value of YAML.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Native {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(String),
    List(Vec<Native>),
    Map(BTreeMap<Key, Native>),
}

/// The value of a document, and texts about its duplicate keys.
pub(crate) fn construct(document: &Document) -> Result<(Native, Vec<String>), Error> {
    let mut constructor = Constructor {
        document,
        following: BTreeSet::new(),
        duplicates: Vec::new(),
        depth: 0,
        values: 0,
        aliased_values: 0,
        aliased_bytes: 0,
    };
    let value = match document.root() {
        Some(root) => constructor.value(root)?,
        None => Native::Null,
    };
    Ok((value, constructor.duplicates))
}

struct Constructor<'a> {
    document: &'a Document,
    /// Aliases on the way to the current node.
    following: BTreeSet<NodeId>,
    duplicates: Vec<String>,
    depth: usize,
    values: usize,
    aliased_values: usize,
    aliased_bytes: usize,
}

impl Constructor<'_> {
    fn value(&mut self, id: NodeId) -> Result<Native, Error> {
        let document = self.document;
        self.count()?;
        match &document.node(id).content {
            Content::Scalar { tag, text, plain } => self.scalar(tag.as_deref(), text, *plain),
            Content::Alias { name, target } => self.follow(id, name, |this| this.value(*target)),
            Content::List(children) => self.nest(|this| {
                let items: Result<_, _> = children.iter().map(|child| this.value(*child)).collect();
                items.map(Native::List)
            }),
            Content::Map(children) => {
                let mut map = BTreeMap::new();
                self.fill(children, &mut map)?;
                Ok(Native::Map(map))
            }
        }
    }

    fn count(&mut self) -> Result<(), Error> {
        self.values += 1;
        self.aliased_values += usize::from(!self.following.is_empty());
        let (low, high) = RATIO_RANGE;
        let place = ((self.values as f64 - low) / (high - low)).clamp(0.0, 1.0);
        let ratio = self.aliased_values as f64 / self.values as f64;
        if self.aliased_values > 100 && self.values > 1000 && ratio > 0.99 - 0.89 * place {
            return Err(excessive_aliasing());
        }
        Ok(())
    }

    fn nest<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.depth >= DEPTH_MAX {
            return Err(Error::Meaning(format!("exceeded max depth of {DEPTH_MAX}")));
        }
        self.depth += 1;
        let found = inner(self);
        self.depth -= 1;
        found
    }

    fn follow<T>(
        &mut self,
        alias: NodeId,
        name: &str,
        inner: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if !self.following.insert(alias) {
            return Err(Error::Meaning(format!("anchor '{name}' value contains itself")));
        }
        let found = inner(self);
        self.following.remove(&alias);
        found
    }

    fn scalar(&mut self, tag: Option<&str>, text: &str, plain: bool) -> Result<Native, Error> {
        if !self.following.is_empty() {
            self.aliased_bytes += text.len();
            if self.aliased_bytes > ALIASED_BYTES_MAX {
                return Err(excessive_aliasing());
            }
        }
        let value = match tag {
            Some(tag) => resolve::tagged(tag, text)?,
            None if plain => resolve::plain(text).1,
            None => Scalar::Text(text.to_owned()),
        };
        Ok(match value {
            Scalar::Null => Native::Null,
            Scalar::Bool(value) => Native::Bool(value),
            Scalar::Int(value) => Native::Int(value),
            Scalar::Uint(value) => Native::Uint(value),
            Scalar::Float(value) => Native::Float(value),
            Scalar::Text(text) => Native::Text(text),
        })
    }

    /// Adds the entries of a map node to `map`. What comes later wins, merged entries too.
    fn fill(&mut self, children: &[NodeId], map: &mut BTreeMap<Key, Native>) -> Result<(), Error> {
        self.nest(|this| {
            for pair in children.chunks_exact(2) {
                let (key, value) = (pair[0], pair[1]);
                if this.is_merge(key) {
                    this.merge(value, map)?;
                    continue;
                }
                let key = Key::from_native(this.value(key)?)
                    .map_err(|value| Error::Meaning(format!("invalid map key: {}", key::show(&value))))?;
                let line = this.document.node(value).line;
                let value = this.value(value)?;
                if map.contains_key(&key) && this.duplicates.len() < DUPLICATES_MAX {
                    let shown = key.show();
                    this.duplicates
                        .push(format!("line {}: key {shown} already set in map", line + 1));
                }
                map.insert(key, value);
            }
            Ok(())
        })
    }

    fn is_merge(&self, key: NodeId) -> bool {
        match &self.document.node(key).content {
            Content::Scalar { tag, text, plain } => {
                &**text == "<<" && (*plain || tag.as_deref() == Some("tag:yaml.org,2002:merge"))
            }
            _ => false,
        }
    }

    fn merge(&mut self, from: NodeId, map: &mut BTreeMap<Key, Native>) -> Result<(), Error> {
        match &self.document.node(from).content {
            // What is named first wins.
            Content::List(children) => children.iter().rev().try_for_each(|child| self.merge_one(*child, map)),
            _ => self.merge_one(from, map),
        }
    }

    fn merge_one(&mut self, from: NodeId, map: &mut BTreeMap<Key, Native>) -> Result<(), Error> {
        let document = self.document;
        let no_map = || {
            let problem = "map merge requires map or sequence of maps as the value";
            Err(Error::Meaning(problem.to_owned()))
        };
        match &document.node(from).content {
            Content::Map(children) => {
                self.count()?;
                self.fill(children, map)
            }
            Content::Alias { name, target } => {
                let Content::Map(children) = &document.node(*target).content else {
                    return no_map();
                };
                self.count()?;
                self.follow(from, name, |this| {
                    this.count()?;
                    this.fill(children, map)
                })
            }
            _ => no_map(),
        }
    }
}

fn excessive_aliasing() -> Error {
    Error::Meaning("document contains excessive aliasing".to_owned())
}
