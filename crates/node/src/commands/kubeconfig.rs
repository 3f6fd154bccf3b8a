//! `kubeconfig`: access for kubectl, printed, written or merged.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use engenho_engine::pki::{IssuedCertificate, Kubeconfig, write_private};
use serde::Deserialize;
use serde_json::json;

use super::print_json;
use crate::admin::Client;
use crate::admin::api::KubeconfigRequest;
use crate::cli::{KubeconfigArgs, Output};
use crate::output::{CommandError, print};

/// Makes one and puts it where it was asked for.
pub async fn kubeconfig(args: KubeconfigArgs, data_dir: &Path) -> Result<(), CommandError> {
    if let Some(server) = &args.server {
        check_server(server)?;
    }
    let client = Client::connect(data_dir).await?;
    let request = KubeconfigRequest {
        server: args.server,
        user: args.user,
        groups: args.group,
    };
    let yaml = client.kubeconfig(&request).await?;
    let json = args.output.output == Output::Json;
    let path = match (args.merge, args.out) {
        (true, _) => {
            let path = merge_target(std::env::var_os("KUBECONFIG"), std::env::var_os("HOME"))?;
            merge(&yaml, &path)?;
            path
        }
        (false, Some(path)) => {
            write_private(&path, yaml.as_bytes()).map_err(|error| unwritable(&path, &error))?;
            path
        }
        (false, None) if json => return print_json(&parse::<serde_json::Value>(&yaml)?),
        (false, None) => return print(&yaml),
    };
    let context = parse::<Document>(&yaml)?.current_context;
    match json {
        true => print_json(&json!({ "path": path.display().to_string(), "context": context })),
        false => print(&format!("context {context} written to {}", path.display())),
    }
}

fn check_server(server: &str) -> Result<(), CommandError> {
    let uri: Option<http::Uri> = server.parse().ok();
    let fits = uri.is_some_and(|uri| {
        uri.scheme_str() == Some("https") && uri.host().is_some_and(|host| !host.is_empty()) && uri.query().is_none()
    });
    match fits {
        true => Ok(()),
        false => Err(CommandError::usage(
            format!("{server:?} is no URL of an API"),
            "give --server as https://HOST:PORT",
        )),
    }
}

fn unwritable(path: &Path, error: &dyn std::fmt::Display) -> CommandError {
    CommandError::failed(
        format!("{} cannot be written: {error}", path.display()),
        "give a file in a directory that can be written with --out",
    )
}

/// The file kubectl would change: the first of `$KUBECONFIG`, else `~/.kube/config`.
fn merge_target(
    kubeconfig: Option<std::ffi::OsString>,
    home: Option<std::ffi::OsString>,
) -> Result<PathBuf, CommandError> {
    let listed = kubeconfig.and_then(|list| std::env::split_paths(&list).find(|path| !path.as_os_str().is_empty()));
    let own = || {
        home.filter(|home| !home.is_empty())
            .map(|home| PathBuf::from(home).join(".kube/config"))
    };
    listed.or_else(own).ok_or_else(|| {
        CommandError::usage(
            "neither KUBECONFIG nor HOME is set, so there is no file to merge into",
            "set one of them, or use --out FILE",
        )
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
    contexts: Vec<NamedContext>,
    current_context: String,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: ClusterEntry,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ClusterEntry {
    server: String,
    certificate_authority_data: String,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: UserEntry,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct UserEntry {
    client_certificate_data: String,
    client_key_data: String,
}

#[derive(Deserialize)]
struct NamedContext {
    context: ContextEntry,
}

#[derive(Deserialize)]
struct ContextEntry {
    namespace: Option<String>,
}

fn unreadable(reason: impl std::fmt::Display) -> CommandError {
    CommandError::failed(
        format!("the member's kubeconfig cannot be read: {reason}"),
        "use the version of engenho that the member runs",
    )
}

fn parse<T: for<'de> Deserialize<'de>>(yaml: &str) -> Result<T, CommandError> {
    serde_yaml_ng::from_str(yaml).map_err(unreadable)
}

fn pem(encoded: &str) -> Result<String, CommandError> {
    let raw = BASE64.decode(encoded.trim().as_bytes()).map_err(unreadable)?;
    String::from_utf8(raw).map_err(unreadable)
}

fn merge(yaml: &str, path: &Path) -> Result<(), CommandError> {
    let document: Document = parse(yaml)?;
    let (Some(cluster), Some(user), Some(context)) = (
        document.clusters.into_iter().next(),
        document.users.into_iter().next(),
        document.contexts.into_iter().next(),
    ) else {
        return Err(unreadable("it has no cluster, user or context"));
    };
    let credentials = format!(
        "{}\n{}",
        pem(&user.user.client_certificate_data)?,
        pem(&user.user.client_key_data)?
    );
    let access = Kubeconfig {
        cluster: cluster.name,
        user: user.name,
        context: document.current_context,
        server: cluster.cluster.server,
        authority_pem: pem(&cluster.cluster.certificate_authority_data)?,
        client: IssuedCertificate::from_pem(&credentials).map_err(unreadable)?,
        namespace: context.context.namespace,
    };
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| unwritable(path, &error))?;
    }
    access.merge_file(path).map_err(|error| {
        CommandError::failed(
            error.to_string(),
            "give another file with --out, or mend or move that one",
        )
    })
}

#[cfg(test)]
mod tests {
    use engenho_engine::pki::{ClientSubject, ClusterCa};

    use super::*;

    #[test]
    fn the_file_that_is_merged_into() {
        let target = |list: Option<&str>, home: Option<&str>| {
            merge_target(list.map(Into::into), home.map(Into::into)).map(|path| path.display().to_string())
        };
        assert_eq!(target(Some(":/a:/b"), Some("/h")), Ok("/a".into()));
        assert_eq!(target(Some(""), Some("/h")), Ok("/h/.kube/config".into()));
        assert_eq!(target(None, None).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn servers_are_https() {
        assert!(check_server("https://api.example.org:6443").is_ok());
        assert!(check_server("https://[::1]:6443").is_ok());
        for wrong in ["", "api", "http://a:1", "https://", "https://a b"] {
            assert!(check_server(wrong).is_err(), "{wrong}");
        }
    }

    fn example() -> String {
        let now_ms = super::super::now_ms();
        let ca = ClusterCa::generate("c1", now_ms).unwrap();
        let lifetime = std::time::Duration::from_secs(3_600);
        let access = Kubeconfig {
            cluster: "engenho-c1".into(),
            user: "engenho-c1-admin".into(),
            context: "engenho-c1".into(),
            server: "https://127.0.0.1:6443".into(),
            authority_pem: ca.certificate_pem(),
            client: ca.issue_client(&ClientSubject::admin(), lifetime, now_ms).unwrap(),
            namespace: None,
        };
        access.render().unwrap().to_string()
    }

    #[test]
    fn merging_keeps_what_was_there() {
        use std::os::unix::fs::PermissionsExt;
        let yaml = example();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/config");
        merge(&yaml, &path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let first: Document = parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let fresh: Document = parse(&yaml).unwrap();
        assert_eq!(first.current_context, fresh.current_context);
        assert_eq!(first.clusters[0].cluster.server, fresh.clusters[0].cluster.server);
        merge(&yaml, &path).unwrap();
        let again: Document = parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(again.clusters.len(), 1);
    }
}
