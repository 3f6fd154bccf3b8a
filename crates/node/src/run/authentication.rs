//! How requests prove who sends them: files of tokens, front proxies, identity providers, a webhook.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use engenho_engine::apiserver::outbound::Outbound;
use engenho_engine::apiserver::{
    Anonymous, ClientRoots, FrontProxy, OidcTokens, TokenAuthenticator, TokenError, WebhookSettings, WebhookTokens,
};
use engenho_engine::authn::Accepted;
use engenho_engine::authn::structured::AuthenticationConfig;
use engenho_engine::authz::TokenTable;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::config::{AuthenticationFiles, RunConfig};
use super::kubeconfig;
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
            let text = kubeconfig::read_text(path)?;
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
            let endpoint = kubeconfig::endpoint(path)
                .with_context(|| format!("the webhook's configuration {}", path.display()))?;
            let settings = WebhookSettings {
                endpoint,
                version: files.webhook_version.clone(),
                kept_ms: WEBHOOK_KEPT_MS,
            };
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
