//! Volumes: plugins that are gone or going, and files that take each other's place.

use engenho_validation::get::{given, is_empty, items, optional_text, text};
use engenho_validation::go_quoted;
use serde_json::Value;

use super::Target;
use crate::amounts;

/// Sources of volumes that are deprecated. The claim of an ephemeral volume is judged among them.
const PLUGINS: [(&str, &str); 10] = [
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("ephemeral", ""),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// What upstream calls a source in a warning.
fn source_name(field: &str) -> &str {
    match field {
        "storageos" => "storageOS",
        other => other,
    }
}

/// Volumes of deprecated sources.
pub(super) fn plugins(target: &Target<'_>, warnings: &mut Vec<String>) {
    for (i, volume) in items(&target.spec["volumes"]).iter().enumerate() {
        let at = format!("{}[{i}]", target.at("volumes"));
        for (field, message) in PLUGINS.into_iter().filter(|(field, _)| given(&volume[*field])) {
            if field == "ephemeral" {
                let claim = &volume[field]["volumeClaimTemplate"]["spec"];
                let at = format_args!("{at}.ephemeral.volumeClaimTemplate.spec");
                amounts::of_claim(claim, at, warnings);
            } else {
                warnings.push(format!("{at}.{}: {message}", source_name(field)));
            }
        }
    }
}

/// A file of a volume, and the source it comes from where there are several.
#[derive(Debug, Clone)]
struct File<'a> {
    path: &'a str,
    source: String,
}

impl<'a> File<'a> {
    fn new(path: &'a Value, source: &str) -> Self {
        Self {
            path: text(path),
            source: source.to_owned(),
        }
    }

    fn trimmed(&self) -> Self {
        Self {
            path: self.path.trim_end_matches('/'),
            source: self.source.clone(),
        }
    }

    /// Whether both are one file, or one is a directory of the other.
    fn overlaps(&self, other: &Self) -> bool {
        let within = |path: &str, above: &str| {
            path.strip_prefix(above)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        !self.path.is_empty()
            && !other.path.is_empty()
            && (within(self.path, other.path) || within(other.path, self.path))
    }
}

impl std::fmt::Display for File<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&go_quoted(self.path))?;
        match self.source.as_str() {
            "" => Ok(()),
            source => write!(f, " ({source})"),
        }
    }
}

/// The files that a source lists; none if it has no list, and so takes them all.
fn listed<'a>(source: &'a Value, name: &str) -> Option<Vec<File<'a>>> {
    let list = source["items"].as_array()?;
    Some(list.iter().map(|item| File::new(&item["path"], name)).collect())
}

/// Files of one volume that take each other's place.
pub(super) fn overlaps(volumes: &[Value], warnings: &mut Vec<String>) {
    for volume in volumes {
        let name = go_quoted(text(&volume["name"]));
        let config_map = format!("ConfigMap {}", go_quoted(text(&volume["configMap"]["name"])));
        let secret = format!("Secret {}", go_quoted(text(&volume["secret"]["secretName"])));
        for (field, kind) in [
            ("configMap", config_map.as_str()),
            ("secret", secret.as_str()),
            ("downwardAPI", "DownwardAPI"),
        ] {
            let files = listed(&volume[field], "").unwrap_or_default();
            collide(&files, &mut Vec::new(), &format!("{name} ({kind})"), warnings);
        }
        projected(items(&volume["projected"]["sources"]), &name, warnings);
    }
}

fn projected(sources: &[Value], name: &str, warnings: &mut Vec<String>) {
    let mut all = Vec::new();
    let mut files = Vec::new();
    for source in sources {
        if is_empty(source)
            || source
                .as_object()
                .is_some_and(|fields| fields.values().all(Value::is_null))
        {
            warnings.push(format!("volume {name} (Projected) has no sources provided"));
            continue;
        }
        // A source that lists no files is judged, as upstream does, by those of the source before it.
        if let Some(of_source) = files_of(source) {
            files = of_source;
        }
        collide(&files, &mut all, &format!("{name} (Projected)"), warnings);
    }
}

fn files_of(source: &Value) -> Option<Vec<File<'_>>> {
    for (field, kind) in [("configMap", "ConfigMap"), ("secret", "Secret")] {
        let name = format!("{kind} {}", go_quoted(text(&source[field]["name"])));
        if let Some(files) = listed(&source[field], &name) {
            return Some(files);
        }
    }
    if let Some(files) = listed(&source["downwardAPI"], "DownwardAPI") {
        return Some(files);
    }
    let token = &source["serviceAccountToken"];
    if given(token) {
        return Some(vec![File::new(&token["path"], "ServiceAccountToken")]);
    }
    let bundle = &source["clusterTrustBundle"];
    given(bundle).then(|| {
        let name = optional_text(&bundle["name"]).unwrap_or_else(|| text(&bundle["signerName"]));
        vec![File::new(
            &bundle["path"],
            &format!("ClusterTrustBundle {}", go_quoted(name)),
        )]
    })
}

/// Adds files to those there are, and warns of those that are in the way of earlier ones.
fn collide<'a>(files: &[File<'a>], all: &mut Vec<File<'a>>, volume: &str, warnings: &mut Vec<String>) {
    for file in files.iter().map(File::trimmed) {
        for other in all.iter().filter(|other| other.overlaps(&file)) {
            warnings.push(format!("volume {volume}: overlapping paths: {file} with {other}"));
        }
        all.push(file);
    }
}
