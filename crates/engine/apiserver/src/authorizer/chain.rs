//! Which authorizers decide, in which order; as a configuration says, which may change while the server runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use engenho_authz::structured::{AuthorizationConfig, AuthorizerKind, Surroundings};
use parking_lot::{Mutex, RwLock};

use super::endpoint::Endpoint;
use super::figures::Figures;
use super::webhook::{WebhookAuthorizer, WebhookDeps};

/// One authorizer.
pub(super) struct Link {
    pub name: String,
    pub kind: Kind,
}

/// What it is.
pub(super) enum Kind {
    Node,
    Rbac,
    AlwaysAllow,
    AlwaysDeny,
    Webhook(WebhookAuthorizer),
}

impl Kind {
    /// Its name in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Node => "Node",
            Self::Rbac => "RBAC",
            Self::AlwaysAllow => "AlwaysAllow",
            Self::AlwaysDeny => "AlwaysDeny",
            Self::Webhook(_) => "Webhook",
        }
    }
}

/// Reads what a configuration refers to.
pub trait ConfigurationFiles: Send + Sync {
    /// Why the file cannot be used, if so.
    fn check(&self, path: &str) -> Option<String>;

    /// What a kubeconfig says of a webhook; the error says what is wrong with it.
    fn endpoint(&self, path: &str) -> Result<Endpoint, String>;
}

/// The authorizers of a member. It outlives the servers that use it: what webhooks answered is kept.
pub struct AuthorizerChain {
    links: RwLock<Arc<[Link]>>,
    pub(super) figures: Arc<Figures>,
    configured: Option<Configured>,
}

struct Configured {
    deps: WebhookDeps,
    /// Name of the server in metrics.
    server: String,
    /// What every further configuration must have too.
    required: BTreeSet<&'static str>,
    loaded: Mutex<Loaded>,
}

struct Loaded {
    /// What was read last, right or wrong.
    text: String,
    config: AuthorizationConfig,
}

impl Default for AuthorizerChain {
    /// Kubelets by what leads to them, everybody by roles and bindings.
    fn default() -> Self {
        let link = |name: &str, kind| Link {
            name: name.to_owned(),
            kind,
        };
        Self {
            links: RwLock::new([link("node", Kind::Node), link("rbac", Kind::Rbac)].into()),
            figures: Arc::default(),
            configured: None,
        }
    }
}

impl AuthorizerChain {
    /// As an AuthorizationConfiguration says. `server` is this server's name, which its metrics show as a hash.
    ///
    /// # Errors
    /// What is wrong with the configuration, or with what it refers to.
    pub fn configured(
        text: &str,
        files: &dyn ConfigurationFiles,
        deps: WebhookDeps,
        server: &str,
    ) -> Result<Self, String> {
        let none = BTreeSet::new();
        let config = parse(text, files, &none)?;
        let figures = Arc::<Figures>::default();
        let now_ms = deps.clock.unix_ms();
        let required = config.lasting_types();
        let (links, config) = build(config, files, &deps, &figures)?;
        figures.reloaded(server, Some(text), now_ms);
        Ok(Self {
            links: RwLock::new(links),
            figures,
            configured: Some(Configured {
                deps,
                server: server.to_owned(),
                required,
                loaded: Mutex::new(Loaded {
                    text: text.to_owned(),
                    config,
                }),
            }),
        })
    }

    /// Takes a configuration that may be new. Whether it is; one that is wrong changes nothing.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn reload(&self, text: &str, files: &dyn ConfigurationFiles) -> Result<bool, String> {
        let Some(configured) = &self.configured else {
            return Ok(false);
        };
        let mut loaded = configured.loaded.lock();
        if loaded.text == text {
            return Ok(false);
        }
        text.clone_into(&mut loaded.text);
        let now_ms = configured.deps.clock.unix_ms();
        let built = parse(text, files, &configured.required).and_then(|config| {
            if config.says_the_same(&loaded.config) {
                return Ok(None);
            }
            build(config, files, &configured.deps, &self.figures).map(Some)
        });
        match built {
            Ok(None) => Ok(false),
            Ok(Some((links, config))) => {
                *self.links.write() = links;
                loaded.config = config;
                self.figures.reloaded(&configured.server, Some(text), now_ms);
                Ok(true)
            }
            Err(error) => {
                self.figures.reloaded(&configured.server, None, now_ms);
                Err(error)
            }
        }
    }

    /// Notes that the configuration could not be read.
    pub fn unreadable(&self) {
        if let Some(configured) = &self.configured {
            let now_ms = configured.deps.clock.unix_ms();
            self.figures.reloaded(&configured.server, None, now_ms);
        }
    }

    pub(super) fn links(&self) -> Arc<[Link]> {
        self.links.read().clone()
    }
}

fn parse(
    text: &str,
    files: &dyn ConfigurationFiles,
    required: &BTreeSet<&'static str>,
) -> Result<AuthorizationConfig, String> {
    let surroundings = Surroundings {
        check_file: &|path| files.check(path),
        required,
    };
    AuthorizationConfig::parse(text, surroundings).map_err(|error| error.to_string())
}

/// The authorizers; the configuration comes back without them.
fn build(
    mut config: AuthorizationConfig,
    files: &dyn ConfigurationFiles,
    deps: &WebhookDeps,
    figures: &Arc<Figures>,
) -> Result<(Arc<[Link]>, AuthorizationConfig), String> {
    let mut links = Vec::new();
    for one in std::mem::take(&mut config.authorizers) {
        let name = one.name.clone();
        let kind = match one.kind {
            AuthorizerKind::Node => Kind::Node,
            AuthorizerKind::Rbac => Kind::Rbac,
            AuthorizerKind::AlwaysAllow => Kind::AlwaysAllow,
            AuthorizerKind::AlwaysDeny => Kind::AlwaysDeny,
            AuthorizerKind::Webhook(webhook) => {
                let failed = |error| format!("authorizer {name}: {}: {error}", webhook.kubeconfig);
                let endpoint = files.endpoint(&webhook.kubeconfig).map_err(failed)?;
                let kubeconfig = webhook.kubeconfig.clone();
                let built = WebhookAuthorizer::new(name.clone(), *webhook, &endpoint, deps.clone(), figures.clone());
                Kind::Webhook(built.map_err(|error| format!("authorizer {name}: {kubeconfig}: {error}"))?)
            }
        };
        links.push(Link { name, kind });
    }
    Ok((links.into(), config))
}
