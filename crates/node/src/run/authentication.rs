//! How requests prove who sends them: files of tokens, front proxies, identity providers, a webhook.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use engenho_engine::apiserver::outbound::{ClientCertificate, Outbound};
use engenho_engine::apiserver::{
    Anonymous, ClientRoots, FrontProxy, OidcTokens, TokenAuthenticator, TokenError, WebhookSettings, WebhookTokens,
};
use engenho_engine::authn::Accepted;
use engenho_engine::authn::structured::AuthenticationConfig;
use engenho_engine::authz::TokenTable;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_yaml_ng::Value;

use super::config::{AuthenticationFiles, RunConfig};
use super::material::ISSUER;
use super::os::OsClock;

/// For how long answers of the webhook are kept, milliseconds (upstream's default).
const WEBHOOK_KEPT_MS: u64 = 2 * 60 * 1000;

/// What this member was told about authentication.
pub struct Authentication {
    /// Static tokens.
    pub tokens: Arc<dyn TokenAuthenticator>,
    /// Who else knows tokens, for a replica.
    pub further: Vec<Arc<dyn TokenAuthenticator>>,
    /// Proxies that name users.
    pub front_proxy: Option<FrontProxy>,
    /// Where requests without credentials may go.
    pub anonymous: Anonymous,
}

impl Authentication {
    /// Reads the files.
    pub fn read(config: &RunConfig, outbound: &Arc<dyn Outbound>) -> Result<Self> {
        let files = &config.authentication;
        let mut further: Vec<Arc<dyn TokenAuthenticator>> = Vec::new();
        let mut anonymous = Anonymous::Everywhere;
        if let Some(path) = &files.config {
            let text = read_text(path)?;
            let own = [ISSUER.to_owned()];
            let parsed = AuthenticationConfig::parse(&text, &own)
                .with_context(|| format!("the authentication configuration {}", path.display()))?;
            for authenticator in parsed.jwt {
                let clock = Arc::new(OsClock);
                further.push(Arc::new(OidcTokens::new(authenticator, Arc::clone(outbound), clock)));
            }
            anonymous = match parsed.anonymous {
                None => Anonymous::Everywhere,
                Some(settings) if !settings.enabled => Anonymous::Nowhere,
                Some(settings) if settings.conditions.is_empty() => Anonymous::Everywhere,
                Some(settings) => Anonymous::Paths(settings.conditions.into_iter().map(|c| c.path).collect()),
            };
        }
        if let Some(path) = &files.webhook {
            let settings = webhook_settings(path, &files.webhook_version)
                .with_context(|| format!("the webhook's configuration {}", path.display()))?;
            let webhook = WebhookTokens::new(
                settings,
                vec![ISSUER.to_owned()],
                Arc::clone(outbound),
                Arc::new(OsClock),
            );
            further.push(Arc::new(webhook.map_err(|reason| {
                anyhow!("the webhook's configuration {}: {reason}", path.display())
            })?));
        }
        Ok(Self {
            tokens: Arc::new(Tokens::read(files)?),
            further,
            front_proxy: front_proxy(files)?,
            anonymous,
        })
    }
}

fn read_text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

fn front_proxy(files: &AuthenticationFiles) -> Result<Option<FrontProxy>> {
    let Some(path) = &files.front_proxy_ca else {
        return Ok(None);
    };
    let unusable = || format!("the authorities of front proxies in {} are unusable", path.display());
    let text = std::fs::read(path).with_context(unusable)?;
    let authorities: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| anyhow!("{}: {error}", unusable()))?;
    if authorities.is_empty() {
        return Err(anyhow!("{}: there are none", unusable()));
    }
    let roots = ClientRoots::new(authorities.iter().map(AsRef::as_ref)).with_context(unusable)?;
    Ok(Some(FrontProxy {
        roots: Arc::new(roots),
        allowed_names: files.front_proxy_names.clone(),
    }))
}

/// Where the webhook is, out of a kubeconfig.
fn webhook_settings(path: &Path, version: &str) -> Result<WebhookSettings> {
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
        let file = folder.join(file);
        let content = std::fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        Ok(Some(content.into()))
    };
    let client = match (bytes(&user, "client-certificate")?, bytes(&user, "client-key")?) {
        (Some(chain_pem), Some(key_pem)) => Some(ClientCertificate { chain_pem, key_pem }),
        (None, None) => None,
        _ => return Err(anyhow!("a client certificate needs its key, and a key its certificate")),
    };
    Ok(WebhookSettings {
        url: text(&cluster, "server").context("its cluster has no server")?,
        certificate_authority: bytes(&cluster, "certificate-authority")?,
        unverified: cluster["insecure-skip-tls-verify"].as_bool().unwrap_or_default(),
        client,
        token: text(&user, "token"),
        version: version.to_owned(),
        kept_ms: WEBHOOK_KEPT_MS,
    })
}

/// Static bearer tokens, from a file in upstream's CSV form.
struct Tokens(TokenTable);

impl Tokens {
    fn read(files: &AuthenticationFiles) -> Result<Self> {
        let Some(path) = &files.tokens else {
            return Ok(Self(TokenTable::parse("")?));
        };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("the token file {} cannot be read", path.display()))?;
        Ok(Self(
            TokenTable::parse(&text).with_context(|| format!("the token file {}", path.display()))?,
        ))
    }
}

#[async_trait::async_trait]
impl TokenAuthenticator for Tokens {
    async fn authenticate(&self, token: &str, _: &[String]) -> Result<Accepted, TokenError> {
        let identity = self.0.lookup(token).cloned().ok_or(TokenError::Unknown)?;
        Ok(Accepted {
            identity,
            ..Accepted::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_says_where_the_webhook_is() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), "PEM").expect("written");
        let path = folder.path().join("webhook.yaml");
        let text = "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n\
                    clusters: [{name: k, cluster: {server: 'https://hook:8443/auth', certificate-authority: ca.pem}}]\n\
                    users: [{name: u, user: {token: t}}]\n";
        std::fs::write(&path, text).expect("written");
        let settings = webhook_settings(&path, "v1").expect("settings");
        assert_eq!(settings.url, "https://hook:8443/auth");
        assert_eq!(settings.certificate_authority.as_deref(), Some(b"PEM".as_slice()));
        assert_eq!((settings.token.as_deref(), settings.unverified), (Some("t"), false));
        std::fs::write(&path, "current-context: x\n").expect("written");
        assert!(webhook_settings(&path, "v1").is_err());
    }
}
