//! Reader of the kinds table, written by `cargo xtask forge`.
//!
//! ```text
//! version apps/v1
//! deployments deployment Deployment ns verbs=all short=deploy cat=all hash=8aSe+NMegvE=
//!   status Deployment verbs=get,patch,update
//!   scale autoscaling/v1/Scale verbs=get,patch,update
//! ```
//!
//! `stored` names another storage version, `deleted=object` says that DELETE answers the object; of a subresource,
//! `connect` says that requests are handed on, `text` that a GET answers plain text, `params` its query parameters:
//!
//! ```text
//!   log Pod verbs=get text params=container:string,follow:boolean
//! ```

use std::sync::Arc;

use crate::Str;
use crate::catalog::Catalog;
use crate::resource::{GroupKind, Resource, SchemaSource, Subresource, Verb, VerbSet};
use crate::schema::{SchemaType, definitions};

static TABLE: &str = include_str!("../data/kinds.txt");

/// Builds the catalog of the built-in resources.
pub(crate) fn builtin() -> Catalog {
    read(TABLE)
}

fn read(table: &'static str) -> Catalog {
    let mut catalog = Catalog::default();
    let mut current: (&str, &str) = ("", "");
    let mut pending: Option<Resource> = None;
    for line in table.lines() {
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        if let Some(sub) = line.strip_prefix("  ") {
            if let Some(resource) = &mut pending {
                resource.subresources.extend(subresource(sub));
            }
            continue;
        }
        if let Some(done) = pending.take() {
            catalog.insert(Arc::new(done));
        }
        match line.strip_prefix("version ") {
            Some(name) => {
                current = name.split_once('/').unwrap_or(("", name));
                catalog.push_version(Str::Borrowed(current.0), Str::Borrowed(current.1));
            }
            None => pending = resource(current, line),
        }
    }
    if let Some(done) = pending {
        catalog.insert(Arc::new(done));
    }
    catalog
}

fn resource((group, version): (&'static str, &'static str), line: &'static str) -> Option<Resource> {
    let mut words = line.split(' ');
    let (plural, singular, kind, scope) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let schema = match definitions::builtin().find_kind(group, version, kind) {
        Some(index) => SchemaSource::Builtin(index),
        None => SchemaSource::None,
    };
    let mut resource = Resource {
        group: Str::Borrowed(group),
        version: Str::Borrowed(version),
        plural: Str::Borrowed(plural),
        singular: Str::Borrowed(singular),
        kind: Str::Borrowed(kind),
        namespaced: scope == "ns",
        short_names: Vec::new(),
        categories: Vec::new(),
        verbs: VerbSet::default(),
        subresources: Vec::new(),
        returns_deleted: false,
        storage_version_hash: None,
        storage_version: None,
        schema,
    };
    for word in words {
        let (name, value) = word.split_once('=')?;
        match name {
            "verbs" => resource.verbs = verbs(value),
            "short" => resource.short_names = value.split(',').map(Str::Borrowed).collect(),
            "cat" => resource.categories = value.split(',').map(Str::Borrowed).collect(),
            "deleted" => resource.returns_deleted = value == "object",
            "hash" => resource.storage_version_hash = Some(Str::Borrowed(value)),
            "stored" => {
                let (group, version) = value.split_once('/').unwrap_or(("", value));
                resource.storage_version = Some((Str::Borrowed(group), Str::Borrowed(version)));
            }
            _ => {}
        }
    }
    Some(resource)
}

fn subresource(line: &'static str) -> Option<Subresource> {
    let mut words = line.split(' ');
    let (name, kind) = (words.next()?, words.next()?);
    let mut parts = kind.rsplitn(3, '/').map(Str::Borrowed);
    let kind = parts.next()?;
    let version = parts.next().unwrap_or_default();
    let group = parts.next().unwrap_or_default();
    let verbs = verbs(words.next()?.strip_prefix("verbs=")?);
    let mut sub = Subresource::new(Str::Borrowed(name), GroupKind { group, version, kind }, verbs);
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("connect", _) => sub.connect = true,
            ("text", _) => sub.plain_text = true,
            ("params", list) => sub.parameters = list.split(',').filter_map(parameter).collect(),
            _ => return None,
        }
    }
    Some(sub)
}

fn parameter(text: &'static str) -> Option<(Str, SchemaType)> {
    let (name, ty) = text.split_once(':')?;
    Some((Str::Borrowed(name), SchemaType::parse(ty)?))
}

fn verbs(text: &str) -> VerbSet {
    if text == "all" {
        VerbSet::ALL
    } else {
        text.split(',').filter_map(Verb::parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_a_resource() {
        let lines = |indent: bool| {
            let facts = TABLE
                .lines()
                .filter(|line| !line.starts_with('#') && !line.starts_with("version "));
            facts
                .filter(|line| !line.is_empty() && line.starts_with("  ") == indent)
                .count()
        };
        let catalog = builtin();
        assert_eq!(catalog.resources().count(), lines(false));
        assert_eq!(
            catalog
                .resources()
                .map(|resource| resource.subresources.len())
                .sum::<usize>(),
            lines(true)
        );
        for resource in catalog.resources() {
            assert!(!resource.verbs.is_empty(), "{}", resource.plural);
            assert!(resource.schema().is_some(), "no schema for {}", resource.kind);
        }
    }
}
