//! Where a webhook of this member is, out of a kubeconfig.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use engenho_engine::apiserver::Endpoint;
use engenho_engine::apiserver::outbound::ClientCertificate;
use serde_yaml_ng::Value;

/// Longest kubeconfig, and longest file that it names, bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A file that is not too long.
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    let unreadable = || format!("{} cannot be read", path.display());
    let length = std::fs::metadata(path).with_context(unreadable)?.len();
    if length > FILE_BYTES_MAX {
        return Err(anyhow!("{} is longer than {FILE_BYTES_MAX} bytes", path.display()));
    }
    std::fs::read(path).with_context(unreadable)
}

/// A text that is not too long.
pub fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(read_file(path)?).map_err(|_| anyhow!("{} is no text", path.display()))
}

/// The cluster and user of a kubeconfig's current context.
pub fn endpoint(path: &Path) -> Result<Endpoint> {
    let kubeconfig: Value = serde_yaml_ng::from_str(&read_text(path)?)?;
    let text = |value: &Value, key: &str| value[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let named = |list: &str, name: &str, kind: &str| {
        let entries = kubeconfig[list].as_sequence().into_iter().flatten();
        let found = entries.into_iter().find(|entry| entry["name"].as_str() == Some(name));
        found.map(|entry| entry[kind].clone())
    };
    let current = text(&kubeconfig, "current-context").context("it has no current-context")?;
    let context = named("contexts", &current, "context").context("its current context is not there")?;
    let cluster = text(&context, "cluster").and_then(|name| named("clusters", &name, "cluster"));
    let cluster = cluster.context("the cluster of its current context is not there")?;
    let user = text(&context, "user")
        .and_then(|name| named("users", &name, "user"))
        .unwrap_or_default();
    // Data, or a file beside the kubeconfig.
    let folder = path.parent().map(PathBuf::from).unwrap_or_default();
    let bytes = |value: &Value, key: &str| -> Result<Option<Bytes>> {
        if let Some(encoded) = text(value, &format!("{key}-data")) {
            let decoded = data_encoding::BASE64.decode(encoded.as_bytes());
            return Ok(Some(
                decoded.with_context(|| format!("{key}-data is no base64"))?.into(),
            ));
        }
        let Some(file) = text(value, key) else { return Ok(None) };
        Ok(Some(read_file(&folder.join(file))?.into()))
    };
    let client = match (bytes(&user, "client-certificate")?, bytes(&user, "client-key")?) {
        (Some(chain_pem), Some(key_pem)) => Some(ClientCertificate { chain_pem, key_pem }),
        (None, None) => None,
        _ => return Err(anyhow!("a client certificate needs its key, and a key its certificate")),
    };
    let token = match (text(&user, "token"), text(&user, "tokenFile")) {
        (Some(token), _) => Some(token),
        (None, Some(file)) => Some(read_text(&folder.join(file))?.trim().to_owned()),
        (None, None) => None,
    };
    Ok(Endpoint {
        url: text(&cluster, "server").context("its cluster has no server")?,
        certificate_authority: bytes(&cluster, "certificate-authority")?,
        unverified: cluster["insecure-skip-tls-verify"].as_bool().unwrap_or_default(),
        server_name: text(&cluster, "tls-server-name"),
        client,
        token,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_says_where_the_webhook_is() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), "PEM").expect("written");
        std::fs::write(folder.path().join("token"), "from-file\n").expect("written");
        let path = folder.path().join("webhook.yaml");
        let text = "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n\
                    clusters: [{name: k, cluster: {server: 'https://hook:8443/auth', certificate-authority: ca.pem, \
                    tls-server-name: inside}}]\nusers: [{name: u, user: {token: t}}]\n";
        std::fs::write(&path, text).expect("written");
        let found = endpoint(&path).expect("an endpoint");
        assert_eq!(found.url, "https://hook:8443/auth");
        assert_eq!(found.certificate_authority.as_deref(), Some(b"PEM".as_slice()));
        assert_eq!((found.token.as_deref(), found.unverified), (Some("t"), false));
        assert_eq!(found.server_name.as_deref(), Some("inside"));
        std::fs::write(&path, text.replace("token: t", "tokenFile: token")).expect("written");
        assert_eq!(
            endpoint(&path).expect("an endpoint").token.as_deref(),
            Some("from-file")
        );
        std::fs::write(&path, "current-context: x\n").expect("written");
        assert!(endpoint(&path).is_err());
    }
}
