//! Client configuration files (kubeconfig, `v1` Config): made new, or merged into one that exists.

use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_yaml_ng::{Mapping, Value};
use zeroize::Zeroizing;

use crate::leaf::{IssuedCertificate, signed_by};
use crate::private::write_private;

/// Longest file that is merged into, bytes.
pub const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why a kubeconfig could not be made or merged.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// The existing text is no kubeconfig.
    #[error("the existing kubeconfig cannot be read, so nothing is merged into it: {reason}")]
    Parse {
        /// What is wrong.
        reason: String,
    },
    /// An entry of the same name belongs to something else.
    #[error(
        "the kubeconfig already has {section} {name:?} of another cluster or user; rename or remove it, or write to another file"
    )]
    Conflict {
        /// `cluster`, `user` or `context`.
        section: &'static str,
        /// Its name.
        name: String,
    },
    /// It cannot be written as YAML.
    #[error("the kubeconfig cannot be encoded: {0}")]
    Encode(#[source] serde_yaml_ng::Error),
    /// The file cannot be read or written.
    #[error("{path}: the kubeconfig cannot be {action}: {source}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// `read` or `written`.
        action: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Access to one cluster as one user: what is written into a kubeconfig.
#[derive(Debug, Clone)]
pub struct Kubeconfig {
    /// Name of the cluster's entry.
    pub cluster: String,
    /// Name of the user's entry.
    pub user: String,
    /// Name of the context that joins them.
    pub context: String,
    /// `https://host:port`.
    pub server: String,
    /// Certificate of the cluster's authority, PEM.
    pub authority_pem: String,
    /// The client's certificate and key.
    pub client: IssuedCertificate,
    /// Default namespace, if not `default`.
    pub namespace: Option<String>,
}

fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

fn mapping<const N: usize>(entries: [(&str, Value); N]) -> Mapping {
    entries.into_iter().map(|(key, value)| (text(key), value)).collect()
}

impl Kubeconfig {
    /// A file with nothing else in it. Secret.
    pub fn render(&self) -> Result<Zeroizing<String>, KubeconfigError> {
        self.merge("")
    }

    /// `existing` with this access added and made current. Everything else in it stays, comments excepted. An entry
    /// of the same name is replaced if it is for this cluster's authority, and refused otherwise. Secret.
    pub fn merge(&self, existing: &str) -> Result<Zeroizing<String>, KubeconfigError> {
        let mut root = parse(existing)?;
        for (key, value) in [("apiVersion", "v1"), ("kind", "Config")] {
            root.entry(text(key)).or_insert_with(|| text(value));
        }
        let cluster = mapping([
            (
                "certificate-authority-data",
                text(&BASE64.encode(self.authority_pem.as_bytes())),
            ),
            ("server", text(&self.server)),
        ]);
        let user = mapping([
            (
                "client-certificate-data",
                text(&BASE64.encode(self.client.certificate_pem().as_bytes())),
            ),
            (
                "client-key-data",
                text(&BASE64.encode(self.client.key_pem().as_bytes())),
            ),
        ]);
        let mut context = mapping([("cluster", text(&self.cluster)), ("user", text(&self.user))]);
        if let Some(namespace) = &self.namespace {
            context.insert(text("namespace"), text(namespace));
        }
        let authority = CertificateDer::from_pem_slice(self.authority_pem.as_bytes()).ok();
        put(&mut root, "clusters", "cluster", &self.cluster, cluster, |old| {
            certificate(old, "certificate-authority-data").is_some_and(|old| Some(old) == authority)
        })?;
        put(&mut root, "users", "user", &self.user, user, |old| {
            let old = certificate(old, "client-certificate-data");
            matches!((old, &authority), (Some(old), Some(ca)) if signed_by(&old, ca))
        })?;
        put(&mut root, "contexts", "context", &self.context, context, |old| {
            let names = |key: &str, name: &str| old.get(key).and_then(Value::as_str) == Some(name);
            names("cluster", &self.cluster) && names("user", &self.user)
        })?;
        root.insert(text("current-context"), text(&self.context));
        root.entry(text("preferences"))
            .or_insert_with(|| Value::Mapping(Mapping::new()));
        serde_yaml_ng::to_string(&Value::Mapping(root))
            .map(Zeroizing::new)
            .map_err(KubeconfigError::Encode)
    }

    /// Writes a file with nothing else in it, mode 0600.
    pub fn write(&self, path: &Path) -> Result<(), KubeconfigError> {
        store(path, &self.render()?)
    }

    /// Merges into a file, which may be absent; mode 0600 afterwards.
    pub fn merge_file(&self, path: &Path) -> Result<(), KubeconfigError> {
        let existing = match read_bounded(path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Zeroizing::default(),
            Err(source) => {
                return Err(KubeconfigError::File {
                    path: path.to_owned(),
                    action: "read",
                    source,
                });
            }
        };
        store(path, &self.merge(&existing)?)
    }
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    let limit = FILE_BYTES_MAX as u64 + 1;
    std::fs::File::open(path)?.take(limit).read_to_string(&mut text)?;
    if text.len() > FILE_BYTES_MAX {
        return Err(std::io::Error::new(
            std::io::ErrorKind::FileTooLarge,
            format!("it is longer than {FILE_BYTES_MAX} bytes"),
        ));
    }
    Ok(text)
}

fn store(path: &Path, content: &str) -> Result<(), KubeconfigError> {
    write_private(path, content.as_bytes()).map_err(|source| KubeconfigError::File {
        path: path.to_owned(),
        action: "written",
        source,
    })
}

fn parse(existing: &str) -> Result<Mapping, KubeconfigError> {
    let parse = |reason: String| KubeconfigError::Parse { reason };
    if existing.trim().is_empty() {
        return Ok(Mapping::new());
    }
    let value: Value = serde_yaml_ng::from_str(existing).map_err(|e| parse(e.to_string()))?;
    let root = match value {
        Value::Mapping(root) => root,
        Value::Null => Mapping::new(),
        _ => return Err(parse("it is not a mapping".into())),
    };
    match root.get("kind").and_then(Value::as_str) {
        None | Some("Config") => Ok(root),
        Some(other) => Err(parse(format!("its kind is {other:?}, not \"Config\""))),
    }
}

/// The certificate that stands base64-encoded in an entry.
fn certificate(entry: &Mapping, key: &str) -> Option<CertificateDer<'static>> {
    let encoded = entry.get(key)?.as_str()?;
    let pem = BASE64.decode(encoded.trim().as_bytes()).ok()?;
    CertificateDer::from_pem_slice(&pem).ok()
}

/// Puts a named entry into a section. What an `ours` entry of that name has beyond ours is kept.
fn put(
    root: &mut Mapping,
    section: &'static str,
    item: &'static str,
    name: &str,
    content: Mapping,
    ours: impl Fn(&Mapping) -> bool,
) -> Result<(), KubeconfigError> {
    let list = root.entry(text(section)).or_insert_with(|| Value::Sequence(Vec::new()));
    if list.is_null() {
        *list = Value::Sequence(Vec::new());
    }
    let Value::Sequence(list) = list else {
        return Err(KubeconfigError::Parse {
            reason: format!("{section} is not a list"),
        });
    };
    let same = |entry: &&mut Value| entry.get("name").and_then(Value::as_str) == Some(name);
    let Some(entry) = list.iter_mut().find(same) else {
        list.push(Value::Mapping(mapping([
            ("name", text(name)),
            (item, Value::Mapping(content)),
        ])));
        return Ok(());
    };
    match entry.get_mut(item) {
        Some(Value::Mapping(old)) if ours(old) => {
            for (key, value) in content {
                old.insert(key, value);
            }
            Ok(())
        }
        _ => Err(KubeconfigError::Conflict {
            section: item,
            name: name.to_owned(),
        }),
    }
}
