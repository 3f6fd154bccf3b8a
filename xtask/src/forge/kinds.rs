//! The kinds table, from discovery and, for what discovery doesn't say, the paths of the OpenAPI documents.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, bail, ensure};
use engenho_catalog::VerbSet;
use engenho_catalog::resource::Verb;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::source::{Source, list, text, texts};

/// Makes the table.
pub fn table(source: &mut Source) -> anyhow::Result<String> {
    let mut versions = vec![(String::new(), "v1".to_owned())];
    for group in list(&source.json("discovery/apis.json")?, "groups")? {
        let name = text(group, "name")?;
        let names = list(group, "versions")?;
        let preferred = text(group.get("preferredVersion").context("no preferredVersion")?, "version")?;
        ensure!(
            text(&names[0], "version")? == preferred,
            "{name}: the preferred version isn't the first"
        );
        for version in names {
            versions.push((name.to_owned(), text(version, "version")?.to_owned()));
        }
    }
    let mut lists = Vec::new();
    let mut documents = Vec::new();
    for (group, version) in &versions {
        let path = match group.as_str() {
            "" => format!("discovery/resources_api_{version}.json"),
            group => format!("discovery/resources_apis_{group}_{version}.json"),
        };
        lists.push((group.as_str(), version.as_str(), source.json(&path)?));
        let path = match group.as_str() {
            "" => format!("openapi/v3/api_{version}.json"),
            group => format!("openapi/v3/apis_{group}_{version}.json"),
        };
        documents.push(source.json(&path)?);
    }
    let storage = storage_versions(&lists)?;
    let mut out = String::new();
    for ((group, version, resources), document) in lists.iter().zip(&documents) {
        let separator = if group.is_empty() { "" } else { "/" };
        let _ = writeln!(out, "\nversion {group}{separator}{version}");
        let root = if group.is_empty() { "/api/" } else { "/apis/" };
        let base = format!("{root}{group}{separator}{version}");
        let mut parent = "";
        for resource in list(resources, "resources")? {
            match text(resource, "name")?.split_once('/') {
                None => {
                    parent = text(resource, "name")?;
                    let item = path_item(document, &base, resource, parent, "");
                    write_resource(resource, (group, version), &storage, item, &mut out)?;
                }
                Some((of, name)) => {
                    ensure!(of == parent, "subresource {of}/{name} doesn't follow {of}");
                    let item = path_item(document, &base, resource, parent, name);
                    let item = item.with_context(|| format!("no path of {of}/{name}"))?;
                    write_subresource(resource, name, item, &mut out)?;
                }
            }
        }
    }
    Ok(out)
}

/// The group and version in which a kind is stored, by its hash.
type Storage<'v> = BTreeMap<String, (&'v str, &'v str)>;

/// The hash names the storage version: it is the start of SHA-256 over group, version and kind.
fn storage_versions<'v>(lists: &'v [(&'v str, &'v str, Value)]) -> anyhow::Result<Storage<'v>> {
    let mut found = Storage::new();
    for (group, version, resources) in lists {
        for resource in list(resources, "resources")? {
            if resource.get("storageVersionHash").is_some() {
                let kind = text(resource, "kind")?;
                let digest = Sha256::digest(format!("{group}/{version}/{kind}"));
                found.insert(base64(&digest[..8]), (*group, *version));
            }
        }
    }
    Ok(found)
}

fn write_resource(
    resource: &Value,
    own: (&str, &str),
    storage: &Storage<'_>,
    item: Option<&Value>,
    out: &mut String,
) -> anyhow::Result<()> {
    let scope = match resource.get("namespaced").and_then(Value::as_bool) {
        Some(true) => "ns",
        Some(false) => "cluster",
        None => bail!("no scope in {resource}"),
    };
    let (name, singular, kind) = (
        text(resource, "name")?,
        text(resource, "singularName")?,
        text(resource, "kind")?,
    );
    let _ = write!(out, "{name} {singular} {kind} {scope} verbs={}", verbs(resource)?);
    for (attribute, member) in [("short", "shortNames"), ("cat", "categories")] {
        let values = texts(resource, member);
        if !values.is_empty() {
            let _ = write!(out, " {attribute}={}", values.join(","));
        }
    }
    // A DELETE answers either a Status or the object itself.
    let deleted = item.and_then(|item| item.pointer("/delete/responses/200/content/application~1json/schema/$ref"));
    if deleted
        .and_then(Value::as_str)
        .is_some_and(|answer| !answer.ends_with(".meta.v1.Status"))
    {
        out.push_str(" deleted=object");
    }
    if let Some(hash) = resource.get("storageVersionHash").and_then(Value::as_str) {
        let _ = write!(out, " hash={hash}");
        // A hash of a version that isn't served (an older beta) has no entry: such kinds are stored as they are served.
        if let Some((group, version)) = storage.get(hash).filter(|stored| **stored != own) {
            let separator = if group.is_empty() { "" } else { "/" };
            let _ = write!(out, " stored={group}{separator}{version}");
        }
    }
    out.push('\n');
    Ok(())
}

/// Parameters that follow from the scope and the verbs, on every resource alike.
const COMMON_PARAMETERS: [&str; 6] = [
    "dryRun",
    "fieldManager",
    "fieldValidation",
    "name",
    "namespace",
    "pretty",
];

fn write_subresource(resource: &Value, name: &str, item: &Value, out: &mut String) -> anyhow::Result<()> {
    let kind = text(resource, "kind")?;
    let kind = match (
        resource.get("group").and_then(Value::as_str),
        resource.get("version").and_then(Value::as_str),
    ) {
        (Some(group), Some(version)) => format!("{group}/{version}/{kind}"),
        (None, Some(version)) => format!("{version}/{kind}"),
        _ => kind.to_owned(),
    };
    let _ = write!(out, "  {name} {kind} verbs={}", verbs(resource)?);
    if item.pointer("/get/x-kubernetes-action").and_then(Value::as_str) == Some("connect") {
        out.push_str(" connect");
    }
    if item.pointer("/get/responses/200/content/text~1plain").is_some() {
        out.push_str(" text");
    }
    let mut parameters = Vec::new();
    for parameter in list(item, "parameters")? {
        let name = text(parameter, "name")?;
        if !COMMON_PARAMETERS.contains(&name) {
            let ty = parameter
                .pointer("/schema/type")
                .and_then(Value::as_str)
                .context("parameter without type")?;
            parameters.push(format!("{name}:{ty}"));
        }
    }
    if !parameters.is_empty() {
        let _ = write!(out, " params={}", parameters.join(","));
    }
    out.push('\n');
    Ok(())
}

/// The path of one object of a resource, or of a subresource.
fn path_item<'v>(document: &'v Value, base: &str, resource: &Value, plural: &str, sub: &str) -> Option<&'v Value> {
    let namespaced = resource.get("namespaced").and_then(Value::as_bool).unwrap_or_default();
    let scope = if namespaced { "/namespaces/{namespace}" } else { "" };
    let separator = if sub.is_empty() { "" } else { "/" };
    document
        .get("paths")?
        .get(format!("{base}{scope}/{plural}/{{name}}{separator}{sub}"))
}

fn verbs(resource: &Value) -> anyhow::Result<String> {
    let names = texts(resource, "verbs");
    let known: Option<VerbSet> = names.iter().map(|name| Verb::parse(name)).collect::<Option<VerbSet>>();
    let known = known.with_context(|| format!("unknown verb in {names:?}"))?;
    ensure!(
        known.iter().map(Verb::as_str).eq(names.iter().copied()),
        "verbs aren't sorted: {names:?}"
    );
    Ok(if known == VerbSet::ALL {
        "all".to_owned()
    } else {
        names.join(",")
    })
}

/// Standard alphabet with padding; eight bytes need no crate.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let sextet = (bits >> (18 - 6 * at)) as usize & 63;
            out.push(if at <= chunk.len() {
                char::from(ALPHABET[sextet])
            } else {
                '='
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_of_a_known_storage_version() {
        use sha2::{Digest, Sha256};
        assert_eq!(
            super::base64(&Sha256::digest("apps/v1/Deployment")[..8]),
            "8aSe+NMegvE="
        );
    }
}
