//! The table of encodings, from the API's Go types: what is written of a field that has its type's zero value.
//!
//! The sources are gofmt'ed, so that declarations and fields are found line by line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use anyhow::{Context, bail, ensure};
use engenho_catalog::schema::definitions;
use regex_lite::Regex;

use super::source::Source;

/// Types that encode themselves and whose zero value isn't null.
const ENCODED_ZEROS: [&str; 3] = ["Quantity", "IntOrString", "Duration"];
/// Most named types between a field and what it is.
const ALIASES_MAX: usize = 8;

static IMPORT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"^(?:import )?\s*(?:(\w+) )?"([\w./-]+)"$"#).expect("a pattern"));
static FIELD: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"^\t(?:(\w+) +)?([\w.*\[\]]+) +`.*?json:"([^"]*)"[^`]*`"#).expect("a pattern"));
static TYPE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^type (\w+) (?:= )?([^ ]+)(?: \{)?(\})?").expect("a pattern"));
static ENCODER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^func \((?:\w+ )?\*?(\w+)\) MarshalJSON\(").expect("a pattern"));

/// A field of a struct: its type and what its tag says.
#[derive(Debug, Clone)]
struct Field {
    json: String,
    inline: bool,
    /// `omitempty`
    empty_omitted: bool,
    /// `omitzero`
    zero_omitted: bool,
    ty: Type,
}

/// A type expression and the package it is written in.
#[derive(Debug, Clone)]
struct Type {
    package: String,
    text: String,
}

#[derive(Debug, Default)]
struct Declared {
    fields: Vec<Field>,
    /// What the type is a name of; none for a struct.
    same: Option<Type>,
    encodes_itself: bool,
}

/// What is written of a zero value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Zero {
    Omitted,
    Null,
    Written,
}

/// Makes the table from a folder that holds checkouts by the names of their modules (`api`, `apimachinery`, ...).
pub fn table(source: &mut Source) -> anyhow::Result<String> {
    let mut types = Types {
        source,
        packages: BTreeMap::new(),
    };
    let definitions = definitions::builtin();
    let mut out = String::from("\n");
    for name in definitions.names() {
        let Some(node) = definitions.find(name).and_then(|at| definitions.node(at)) else {
            bail!("{name} isn't readable");
        };
        if node.properties.is_empty() {
            continue;
        }
        let (package, type_name) = place(name).with_context(|| format!("where is {name}?"))?;
        let mut zeros = BTreeMap::new();
        types
            .zeros(&package, type_name, &mut zeros)
            .with_context(|| name.to_owned())?;
        let mut by_zero: BTreeMap<Zero, Vec<&str>> = BTreeMap::new();
        for (property, _) in &node.properties {
            let zero = zeros
                .get(property.as_ref())
                .with_context(|| format!("{name} has no field {property}"))?;
            // Type and version of an object are always told.
            if let Some(zero) = zero
                && !matches!(property.as_ref(), "kind" | "apiVersion" if node.property("metadata").is_some())
            {
                by_zero.entry(*zero).or_default().push(property);
            }
        }
        if by_zero.is_empty() {
            continue;
        }
        out.push_str(name);
        for (zero, fields) in by_zero {
            let word = match zero {
                Zero::Omitted => "omitted",
                Zero::Null => "null",
                Zero::Written => "written",
            };
            write!(out, " {word}={}", fields.join(","))?;
        }
        out.push('\n');
    }
    Ok(out)
}

/// Package and type of a definition: `io.k8s.api.core.v1.Pod` is `Pod` in `api/core/v1`.
fn place(definition: &str) -> Option<(String, &str)> {
    let (package, name) = definition.strip_prefix("io.k8s.")?.rsplit_once('.')?;
    Some((package.replace('.', "/"), name))
}

struct Types<'s> {
    source: &'s mut Source,
    packages: BTreeMap<String, BTreeMap<String, Declared>>,
}

impl Types<'_> {
    fn find(&mut self, package: &str, name: &str) -> anyhow::Result<&Declared> {
        if !self.packages.contains_key(package) {
            let mut declared = BTreeMap::new();
            for file in self.source.files(package, ".go")? {
                if !file.ends_with("_test.go") {
                    read(&self.source.text(&format!("{package}/{file}"))?, package, &mut declared)
                        .with_context(|| format!("reading {package}/{file}"))?;
                }
            }
            self.packages.insert(package.to_owned(), declared);
        }
        let found = self.packages.get(package).and_then(|declared| declared.get(name));
        found.with_context(|| format!("no type {name} in {package}"))
    }

    /// Adds the fields of a struct, those of embedded ones included.
    fn zeros(&mut self, package: &str, name: &str, out: &mut BTreeMap<String, Option<Zero>>) -> anyhow::Result<()> {
        let declared = self.find(package, name)?;
        let (fields, same) = (declared.fields.clone(), declared.same.clone());
        if let Some(same) = same {
            return self.zeros(&same.package, &same.text, out);
        }
        for field in fields {
            if field.inline {
                self.zeros(&field.ty.package, &field.ty.text, out)?;
            } else {
                let zero = self.zero(&field).with_context(|| format!("{name}.{}", field.json))?;
                out.insert(field.json, zero);
            }
        }
        Ok(())
    }

    /// What is written of a field's zero value; none if it has its own way of saying so (a pointer, a structure).
    fn zero(&mut self, field: &Field) -> anyhow::Result<Option<Zero>> {
        let mut ty = field.ty.clone();
        let omitted = field.empty_omitted || field.zero_omitted;
        let left_out = |otherwise| Some(if omitted { Zero::Omitted } else { otherwise });
        for _ in 0..ALIASES_MAX {
            let text = ty.text.as_str();
            if text.starts_with('*') {
                return Ok((!omitted).then_some(Zero::Null));
            }
            if text.starts_with("[]") || text.starts_with("map[") {
                return Ok(left_out(Zero::Null));
            }
            if matches!(
                text,
                "string" | "bool" | "int" | "int32" | "int64" | "uint16" | "float64" | "byte"
            ) {
                return Ok(left_out(Zero::Written));
            }
            let declared = self.find(&ty.package, text)?;
            if declared.encodes_itself {
                // No value of such a type counts as empty.
                return Ok(Some(match text {
                    _ if field.zero_omitted => Zero::Omitted,
                    text if ENCODED_ZEROS.contains(&text) => Zero::Written,
                    _ => Zero::Null,
                }));
            }
            match &declared.same {
                Some(same) => ty = same.clone(),
                None => return Ok(field.zero_omitted.then_some(Zero::Omitted)),
            }
        }
        bail!("{} is too far from what it is", field.ty.text)
    }
}

/// Adds the types that a file declares.
fn read(text: &str, package: &str, out: &mut BTreeMap<String, Declared>) -> anyhow::Result<()> {
    let mut imports: BTreeMap<String, String> = BTreeMap::new();
    let mut open: Option<String> = None;
    let mut commented = false;
    for line in text.lines() {
        let bare = line.trim();
        if commented || bare.starts_with("/*") {
            commented = !bare.contains("*/");
            continue;
        }
        if bare.starts_with("//") {
            continue;
        }
        if let Some(encoder) = ENCODER.captures(line) {
            out.entry(encoder[1].to_owned()).or_default().encodes_itself = true;
        } else if let Some(name) = &open {
            if line == "}" {
                open = None;
            } else if let Some(field) = FIELD.captures(line) {
                let mut options = field[3].split(',');
                let json = options.next().unwrap_or_default().to_owned();
                let options: Vec<&str> = options.collect();
                let inline = options.contains(&"inline") || (json.is_empty() && field.get(1).is_none());
                let ty = typed(&field[2], package, &imports);
                if json != "-" && (inline || !json.is_empty()) {
                    out.entry(name.clone()).or_default().fields.push(Field {
                        json,
                        inline,
                        empty_omitted: options.contains(&"omitempty"),
                        zero_omitted: options.contains(&"omitzero"),
                        ty,
                    });
                }
            }
        } else if let Some(declaration) = TYPE.captures(line) {
            let name = declaration[1].to_owned();
            match &declaration[2] {
                "struct" if declaration.get(3).is_none() => open = Some(name.clone()),
                "struct" | "interface" => {}
                same => {
                    let same = typed(same, package, &imports);
                    out.entry(name.clone()).or_default().same = Some(same);
                }
            }
            out.entry(name).or_default();
        } else if let Some(import) = IMPORT.captures(line)
            && let Some(path) = import[2].strip_prefix("k8s.io/")
        {
            let alias = import.get(1).map_or_else(
                || path.rsplit('/').next().unwrap_or_default().to_owned(),
                |alias| alias.as_str().to_owned(),
            );
            imports.insert(alias, path.to_owned());
        }
    }
    ensure!(open.is_none(), "a struct isn't closed");
    Ok(())
}

/// A type expression with the package of what it names.
fn typed(text: &str, package: &str, imports: &BTreeMap<String, String>) -> Type {
    let qualified = text
        .split_once('.')
        .filter(|(alias, _)| alias.chars().all(|c| c.is_alphanumeric() || c == '_'));
    let (package, text) = match qualified {
        Some((alias, name)) => (imports.get(alias).map_or(alias, String::as_str), name),
        None => (package, text),
    };
    Type {
        package: package.to_owned(),
        text: text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = r#"package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Thing has fields.
type Thing struct {
	metav1.TypeMeta `json:",inline"`
	// Name has a comment.
	Name   string `json:"name" protobuf:"bytes,1,opt,name=name"`
	Phase  Phase             `json:"phase,omitempty"`
	List   []string          `json:"list"`
	Map    map[string]string `json:"map,omitempty"`
	Switch *bool             `json:"switch"`
	hidden int
}

/* type Other struct {
*/
type Phase string

type Empty struct{}

func (p Phase) MarshalJSON() ([]byte, error) {
	return nil, nil
}
"#;

    #[test]
    fn declarations_are_found() {
        let mut found = BTreeMap::new();
        read(CODE, "api/x/v1", &mut found).expect("readable");
        assert_eq!(found.keys().collect::<Vec<_>>(), ["Empty", "Phase", "Thing"]);
        assert!(found["Phase"].encodes_itself);
        let fields = &found["Thing"].fields;
        assert!(fields[0].inline);
        assert_eq!(fields[0].ty.package, "apimachinery/pkg/apis/meta/v1");
        let told: Vec<_> = fields[1..]
            .iter()
            .map(|f| (f.json.as_str(), f.ty.text.as_str(), f.empty_omitted))
            .collect();
        let expected = [
            ("name", "string", false),
            ("phase", "Phase", true),
            ("list", "[]string", false),
            ("map", "map[string]string", true),
            ("switch", "*bool", false),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn definitions_say_where_their_type_is() {
        let (package, name) = place("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").expect("a place");
        assert_eq!(
            (package.as_str(), name),
            ("apimachinery/pkg/apis/meta/v1", "ObjectMeta")
        );
        assert!(place("com.example.Thing").is_none());
    }
}
