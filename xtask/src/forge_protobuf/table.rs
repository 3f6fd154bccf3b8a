//! Descriptors and struct tags to the text of the table, limited to what kinds of this server can reach.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, bail};
use engenho_catalog::Catalog;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

use super::golang::Package;

/// Prefixes of protobuf package names that the table leaves out, longest first.
const PREFIXES: [&str; 5] = [
    "k8s.io.apiextensions_apiserver.pkg.apis.",
    "k8s.io.kube_aggregator.pkg.apis.",
    "k8s.io.apimachinery.pkg.apis.",
    "k8s.io.apimachinery.pkg.",
    "k8s.io.api.",
];
/// The package whose kinds are part of every API group.
const META: &str = "k8s.io.apimachinery.pkg.apis.meta.v1";

struct Message<'a> {
    package: &'a str,
    name: &'a str,
    descriptor: &'a DescriptorProto,
    go: &'a Package,
}

/// The lines of the table.
pub fn render(set: &FileDescriptorSet, packages: &[(PathBuf, Package)]) -> anyhow::Result<String> {
    let mut messages = BTreeMap::new();
    let mut served = BTreeMap::new();
    let catalog = Catalog::builtin();
    for file in &set.file {
        let found = packages
            .iter()
            .find(|(path, _)| path.to_str() == Some(file.name()))
            .with_context(|| format!("{} was read, but not its Go package", file.name()))?;
        let package = file.package();
        let version = package.rsplit('.').next().unwrap_or_default();
        if let Some(group) = &found.1.group
            && (package.starts_with("k8s.io.apimachinery.pkg.apis.meta.")
                || catalog.group_version(group, version).is_some())
        {
            served.insert(package, engenho_catalog::resource::api_version(group, version));
        }
        for descriptor in &file.message_type {
            let message = Message {
                package,
                name: descriptor.name(),
                descriptor,
                go: &found.1,
            };
            messages.insert(format!(".{package}.{}", descriptor.name()), message);
        }
    }
    if !served.contains_key(META) {
        bail!("{META} is missing");
    }
    let mut reached = BTreeSet::new();
    let mut todo: Vec<String> = messages
        .iter()
        .filter(|(_, m)| served.contains_key(m.package) && is_kind(m))
        .map(|(name, _)| name.clone())
        .collect();
    while let Some(name) = todo.pop() {
        if reached.contains(&name) {
            continue;
        }
        let message = messages.get(&name).with_context(|| format!("{name} is missing"))?;
        if !is_opaque(message) {
            for field in &message.descriptor.field {
                todo.extend(target(message, field).map(str::to_owned));
            }
        }
        reached.insert(name);
    }
    let mut out = String::new();
    let mut package = "";
    for name in &reached {
        let message = &messages[name];
        if message.package != package {
            package = message.package;
            let served = served.get(package).map_or("-", String::as_str);
            writeln!(out, "\npackage {} {served}", short(package))?;
        }
        line(&mut out, message).with_context(|| format!("in message {name}"))?;
    }
    Ok(out)
}

/// An object, a list, or options: what can stand alone on the wire. A watch event has no type of its own.
fn is_kind(message: &Message<'_>) -> bool {
    message.go.kinds.contains(message.name) || (message.package == META && message.name == "WatchEvent")
}

/// Whether the codec writes the message by hand, from knowledge of its few fields.
fn is_opaque(message: &Message<'_>) -> bool {
    message.go.custom.contains(message.name) && !message.name.starts_with("JSONSchemaPropsOr")
}

fn line(out: &mut String, message: &Message<'_>) -> anyhow::Result<()> {
    let go = message.go;
    let custom = go.custom.contains(message.name);
    let mark = if custom {
        " custom"
    } else if go.slices.contains(message.name) {
        " items"
    } else if is_kind(message) {
        " kind"
    } else {
        ""
    };
    writeln!(out, "{}{mark}", message.name)?;
    if is_opaque(message) {
        return Ok(());
    }
    let mut fields: Vec<&FieldDescriptorProto> = message.descriptor.field.iter().collect();
    fields.sort_by_key(|field| field.number());
    for field in fields {
        let number = field.number();
        let tags = go.structs.get(message.name).and_then(|fields| fields.get(&number));
        let kind = kind(message, field)?;
        if custom || go.slices.contains(message.name) {
            writeln!(out, "  {number} {} {kind}", field.name())?;
            continue;
        }
        let tags = tags.with_context(|| format!("no Go field has number {number} ({})", field.name()))?;
        let single = !kind.starts_with(['[', '{']);
        let mode = match () {
            () if tags.inline => "^",
            () if tags.pointer && single => "?",
            () if single && !tags.omit => "=",
            () => "",
        };
        let name = if tags.inline { field.name() } else { &tags.json };
        if name.is_empty() || name == "-" {
            bail!("field {number} ({}) has no name in JSON", field.name());
        }
        writeln!(out, "  {number} {name}{mode} {kind}")?;
    }
    Ok(())
}

/// The message a field refers to, looking through map entries.
fn target<'a>(message: &'a Message<'_>, field: &'a FieldDescriptorProto) -> Option<&'a str> {
    match entry(message, field) {
        Some(entry) => entry
            .field
            .iter()
            .find(|f| f.number() == 2)
            .and_then(|f| f.type_name.as_deref()),
        None => field.type_name.as_deref(),
    }
}

fn entry<'a>(message: &'a Message<'_>, field: &FieldDescriptorProto) -> Option<&'a DescriptorProto> {
    let name = field.type_name.as_deref()?.rsplit('.').next()?;
    let nested = message.descriptor.nested_type.iter().find(|n| n.name() == name)?;
    nested.options.as_ref()?.map_entry().then_some(nested)
}

fn kind(message: &Message<'_>, field: &FieldDescriptorProto) -> anyhow::Result<String> {
    if let Some(entry) = entry(message, field) {
        let part = |number| entry.field.iter().find(|f| f.number() == number);
        let (key, value) = (part(1), part(2));
        if key.map(FieldDescriptorProto::r#type) != Some(Type::String) {
            bail!("the keys of map {} aren't strings", field.name());
        }
        let value = value.context("a map without values")?;
        return Ok(format!("{{{}}}", single(message, value)?));
    }
    let single = single(message, field)?;
    Ok(if field.label() == Label::Repeated {
        format!("[{single}]")
    } else {
        single
    })
}

fn single(message: &Message<'_>, field: &FieldDescriptorProto) -> anyhow::Result<String> {
    let word = match field.r#type() {
        Type::String => "string",
        Type::Bytes => "bytes",
        Type::Bool => "bool",
        Type::Int32 => "int32",
        Type::Int64 => "int64",
        Type::Double => "double",
        Type::Message => {
            let name = field.type_name().trim_start_matches('.');
            return Ok(
                match name.strip_prefix(message.package).and_then(|n| n.strip_prefix('.')) {
                    Some(local) => format!("@{local}"),
                    None => format!("@{}", short(name)),
                },
            );
        }
        other => bail!(
            "field {} has type {other:?}, which the table has no word for",
            field.name()
        ),
    };
    Ok(word.to_owned())
}

fn short(name: &str) -> &str {
    PREFIXES.iter().find_map(|p| name.strip_prefix(p)).unwrap_or(name)
}
