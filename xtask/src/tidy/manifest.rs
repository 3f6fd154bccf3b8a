//! Rules about crates: who may depend on whom, and what every manifest says.

use std::path::Path;

use super::{File, Violation};

/// Crates without runtime, clock, socket, disk or thread.
const PURE: [&str; 16] = [
    "revoada-core",
    "engenho-audit",
    "engenho-catalog",
    "engenho-cel",
    "engenho-defaults",
    "engenho-flowcontrol",
    "engenho-patch",
    "engenho-protobuf",
    "engenho-quantity",
    "engenho-admission",
    "engenho-podsecurity",
    "engenho-warnings",
    "engenho-crd",
    "engenho-validation",
    "engenho-authz",
    "engenho-yaml",
];

/// Dependencies that bring a runtime, a socket or a disk.
const IMPURE: [&str; 21] = [
    "async-trait",
    "chitchat",
    "fjall",
    "futures-util",
    "hostname",
    "hyper",
    "hyper-util",
    "if-addrs",
    "openraft",
    "parking_lot",
    "quinn",
    "rustix",
    "socket2",
    "tempfile",
    "tokio",
    "tokio-rustls",
    "tokio-stream",
    "tokio-util",
    "tonic",
    "tower",
    "tracing-subscriber",
];

/// What engine crates reach only through the traits of `revoada-core`.
const DISTRIBUTION: [&str; 6] = [
    "openraft",
    "chitchat",
    "quinn",
    "revoada",
    "revoada-log",
    "revoada-mesh",
];

/// Folders whose crates may see both the engine and the distribution layer.
const COMPOSERS: [&str; 2] = ["crates/node", "sim"];

/// Packages outside the workspace: they have versions, and a lock file, of their own.
const OUTSIDE: &str = "crates/node/tests/clients";

/// Checks every manifest.
pub(super) fn check(files: &[File]) -> Vec<Violation> {
    let manifests = files
        .iter()
        .filter(|file| file.path.file_name().is_some_and(|name| name == "Cargo.toml"));
    manifests
        .flat_map(|file| {
            let mut found = match file.path.starts_with(OUTSIDE) {
                true => Vec::new(),
                false => Manifest::read(file).check(),
            };
            found.extend(deliberate_bugs(file));
            found
        })
        .collect()
}

/// The feature that compiles deliberate bugs in, and the crate that switches them on.
const MUTATIONS: [&str; 2] = ["mutations", "sim-mutation"];

/// Only the simulation may turn deliberate bugs on, and the product has no way to.
fn deliberate_bugs(file: &File) -> Vec<Violation> {
    if file.path == Path::new("Cargo.toml") || file.path.starts_with("sim") {
        return sim_default(file);
    }
    let product = file.path.starts_with("crates/node");
    let mut found = Vec::new();
    for line in plain_lines(file) {
        let says = MUTATIONS.iter().any(|name| line.text.contains(name));
        let allowed = match (line.section, line.key) {
            _ if product => false,
            ("features", "mutations") => true,
            ("dependencies", "sim-mutation") => line.text.contains("optional = true"),
            _ => false,
        };
        if says && !allowed {
            found.push(Violation {
                path: file.path.clone(),
                line: line.number,
                message:
                    "only the feature `mutations` of crates other than crates/node, and only sim, may have to do with \
                          deliberate bugs"
                        .to_owned(),
            });
        }
    }
    found
}

/// The simulation has them when it is asked for them, not by default; the workspace turns them on for nobody.
fn sim_default(file: &File) -> Vec<Violation> {
    let wrong = |line: &Line<'_>| match line.section {
        "features" => line.key != "mutations" && line.text.contains("mutations"),
        "package" | "workspace" => false,
        _ => line.text.contains("\"mutations\"") || line.text.contains("/mutations"),
    };
    let violation = |line: Line<'_>| Violation {
        path: file.path.clone(),
        line: line.number,
        message: "deliberate bugs are turned on by `--features mutations` alone".to_owned(),
    };
    plain_lines(file).filter(wrong).map(violation).collect()
}

/// A line that is no comment, with the section and the key that it belongs to.
struct Line<'a> {
    section: &'a str,
    key: &'a str,
    text: &'a str,
    number: usize,
}

fn plain_lines(file: &File) -> impl Iterator<Item = Line<'_>> {
    let (mut section, mut key) = ("", "");
    file.text.lines().enumerate().filter_map(move |(at, text)| {
        let text = text.trim();
        if text.starts_with('#') {
            return None;
        }
        if let Some(name) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            (section, key) = (name, "");
        } else if let Some((name, _)) = text.split_once('=') {
            key = name.trim().trim_matches('"');
        }
        Some(Line {
            section,
            key,
            text,
            number: at + 1,
        })
    })
}

/// One `key = value` of a manifest, with the section it stands in.
struct Entry<'a> {
    section: &'a str,
    key: &'a str,
    value: &'a str,
    line: usize,
}

struct Manifest<'a> {
    path: &'a Path,
    entries: Vec<Entry<'a>>,
}

impl<'a> Manifest<'a> {
    /// Reads the plain form that the tree keeps to: one key a line, no multi-line values but lists, which are skipped.
    fn read(file: &'a File) -> Manifest<'a> {
        let mut section = "";
        let mut entries = Vec::new();
        for (at, line) in file.text.lines().enumerate() {
            let line = line.trim();
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name;
                entries.push(Entry {
                    section,
                    key: "",
                    value: "",
                    line: at + 1,
                });
            } else if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
                entries.push(Entry {
                    section,
                    key: key.trim(),
                    value: value.trim(),
                    line: at + 1,
                });
            }
        }
        Manifest {
            path: &file.path,
            entries,
        }
    }

    fn value(&self, section: &str, key: &str) -> Option<&Entry<'a>> {
        self.entries
            .iter()
            .find(|entry| entry.section == section && entry.key == key)
    }

    /// Name, section and line of every dependency, in all three ways to write one.
    fn dependencies(&self) -> impl Iterator<Item = (&'a str, &'a str, usize, bool)> + '_ {
        self.entries.iter().filter_map(|entry| {
            let (section, name) = match entry.section.split_once("dependencies.") {
                Some((before, name)) if entry.key.is_empty() => return Some((name, before, entry.line, true)),
                Some(_) => return None,
                None if entry.key.is_empty() => return None,
                None => (entry.section, entry.key),
            };
            let section = section.strip_suffix("dependencies")?;
            let (name, inherited) = match name.strip_suffix(".workspace") {
                Some(name) => (name, entry.value == "true"),
                None => (name, entry.value.contains("workspace = true")),
            };
            Some((name.trim_matches('"'), section, entry.line, inherited))
        })
    }

    fn check(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut report = |line, message: String| {
            found.push(Violation {
                path: self.path.to_owned(),
                line,
                message,
            })
        };
        if self.path == Path::new("Cargo.toml") {
            for (key, wanted) in [("license", "\"MIT\""), ("publish", "false")] {
                if self
                    .value("workspace.package", key)
                    .is_none_or(|entry| entry.value != wanted)
                {
                    report(1, format!("[workspace.package] has to say `{key} = {wanted}`"));
                }
            }
            return found;
        }
        for key in ["license.workspace", "publish.workspace"] {
            if self.value("package", key).is_none_or(|entry| entry.value != "true") {
                report(1, format!("[package] has to say `{key} = true`"));
            }
        }
        if self
            .value("lints", "workspace")
            .is_none_or(|entry| entry.value != "true")
        {
            report(1, "[lints] has to say `workspace = true`".to_owned());
        }
        let name = self
            .value("package", "name")
            .map_or("", |entry| entry.value.trim_matches('"'));
        let engine = self.path.starts_with("crates/engine");
        let distribution = self.path.starts_with("crates/revoada");
        let composer = COMPOSERS.iter().any(|folder| self.path.starts_with(folder));
        let is_ours = |of: &str| of == "revoada" || of.starts_with("revoada-") || of.starts_with("engenho-");
        let sees_engine = self.dependencies().any(|(of, ..)| of.starts_with("engenho-"));
        for (of, section, line, inherited) in self.dependencies() {
            if !inherited {
                report(
                    line,
                    format!("`{of}` has to come from [workspace.dependencies]: `{of}.workspace = true`"),
                );
            }
            let for_tests = section.ends_with("dev-");
            if PURE.contains(&name) && !for_tests {
                if IMPURE.contains(&of) {
                    report(
                        line,
                        format!("{name} is pure and can't depend on {of}: no runtime, socket or disk"),
                    );
                } else if is_ours(of) && !PURE.contains(&of) {
                    report(line, format!("{name} is pure and {of} isn't"));
                }
            }
            if distribution && of.starts_with("engenho") {
                report(
                    line,
                    format!("{name} can't depend on {of}: the distribution layer knows nothing of Kubernetes"),
                );
            }
            if engine && DISTRIBUTION.contains(&of) {
                report(
                    line,
                    format!("{name} can't depend on {of}: the engine sees only the traits of revoada-core"),
                );
            }
            let both = sees_engine && of.starts_with("revoada") && of != "revoada-core";
            if both && !composer && !engine && !distribution {
                report(
                    line,
                    format!("{name} sees engine and {of}: only {} may", COMPOSERS.join(" and ")),
                );
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "license.workspace = true\npublish.workspace = true\n[lints]\nworkspace = true\n";

    fn messages(path: &str, name: &str, dependencies: &str) -> Vec<(usize, String)> {
        let text = format!("[package]\nname = \"{name}\"\n{HEAD}{dependencies}");
        let file = File {
            path: path.into(),
            text,
        };
        check(&[file]).into_iter().map(|of| (of.line, of.message)).collect()
    }

    #[test]
    fn pure_crates_stay_pure() {
        let catalog = "crates/engine/catalog/Cargo.toml";
        assert_eq!(
            messages(catalog, "engenho-catalog", "[dependencies]\nserde.workspace = true\n"),
            []
        );
        let found = messages(catalog, "engenho-catalog", "[dependencies]\ntokio.workspace = true\n");
        assert_eq!((found.len(), found[0].0), (1, 8));
        assert_eq!(
            messages(
                catalog,
                "engenho-catalog",
                "[dev-dependencies]\ntokio.workspace = true\n"
            ),
            []
        );
        let target = "[target.'cfg(unix)'.dependencies]\nsocket2 = { workspace = true }\n";
        assert_eq!(messages(catalog, "engenho-catalog", target).len(), 1);
        let table = "[dependencies.tokio]\nworkspace = true\n";
        assert_eq!(messages(catalog, "engenho-catalog", table).len(), 1);
        let impure = "[dependencies]\nengenho-store.workspace = true\n";
        assert_eq!(
            messages("crates/engine/apiserver/patch/Cargo.toml", "engenho-patch", impure).len(),
            1
        );
    }

    #[test]
    fn layers_stay_apart() {
        let store = "crates/engine/store/Cargo.toml";
        assert_eq!(
            messages(
                store,
                "engenho-store",
                "[dependencies]\nrevoada-core.workspace = true\n"
            ),
            []
        );
        assert_eq!(
            messages(
                store,
                "engenho-store",
                "[dependencies]\nrevoada-mesh.workspace = true\n"
            )
            .len(),
            1
        );
        let engine = "[dependencies]\nengenho-engine.workspace = true\nrevoada.workspace = true\n";
        assert_eq!(
            messages("crates/revoada/mesh/Cargo.toml", "revoada-mesh", engine).len(),
            1
        );
        assert_eq!(messages("crates/node/Cargo.toml", "engenho", engine), []);
        assert_eq!(messages("sim/Cargo.toml", "sim", engine), []);
        assert_eq!(messages("xtask/Cargo.toml", "xtask", engine).len(), 1);
    }

    #[test]
    fn deliberate_bugs_are_for_the_simulation() {
        let optional = "[dependencies]\nsim-mutation = { workspace = true, optional = true }\n[features]\n";
        let lines = |path: &str, name: &str, more: &str| -> Vec<usize> {
            messages(path, name, &format!("{optional}{more}"))
                .into_iter()
                .map(|(line, _)| line)
                .collect()
        };
        let (core, node) = ("crates/revoada/core/Cargo.toml", "crates/node/Cargo.toml");
        let feature = "mutations = [\"dep:sim-mutation\"]\n";
        assert_eq!(lines(core, "revoada-core", feature), [0; 0]);
        assert_eq!(lines(core, "revoada-core", "default = [\n  \"mutations\",\n]\n"), [11]);
        assert_eq!(
            lines(core, "revoada-core", "testing = [\"revoada-log/mutations\"]\n"),
            [10]
        );
        assert_eq!(lines(node, "engenho", feature), [8, 10]);
        let always = "[dependencies]\nsim-mutation.workspace = true\n";
        assert_eq!(messages(core, "revoada-core", always).len(), 1);
        let enabled = "[dependencies]\nrevoada = { workspace = true, features = [\"mutations\"] }\n";
        for (path, name) in [
            (node, "engenho"),
            ("sim/Cargo.toml", "sim"),
            ("xtask/Cargo.toml", "xtask"),
        ] {
            assert_eq!(messages(path, name, enabled).len(), 1, "{path}");
        }
        assert_eq!(
            lines("sim/Cargo.toml", "sim", "mutations = [\"revoada/mutations\"]\n"),
            [0; 0]
        );
        assert_eq!(lines("sim/Cargo.toml", "sim", "default = [\"mutations\"]\n"), [10]);
    }

    #[test]
    fn every_manifest_inherits() {
        let file = File {
            path: "crates/a/Cargo.toml".into(),
            text: "[package]\nname = \"a\"\n".to_owned(),
        };
        assert_eq!(check(&[file]).len(), 3);
        assert_eq!(
            messages("crates/a/Cargo.toml", "a", "[dependencies]\nserde = \"1\"\n").len(),
            1
        );
        let outside = File {
            path: "crates/node/tests/clients/rust/Cargo.toml".into(),
            text: "[package]\nname = \"a\"\n[workspace]\n[dependencies]\nserde = \"1\"\n".to_owned(),
        };
        assert_eq!(check(&[outside]), []);
        let root = "[workspace.package]\nlicense = \"MIT\"\npublish = false\n";
        assert_eq!(
            check(&[File {
                path: "Cargo.toml".into(),
                text: root.to_owned()
            }]),
            []
        );
        assert_eq!(
            check(&[File {
                path: "Cargo.toml".into(),
                text: String::new()
            }])
            .len(),
            2
        );
    }
}
