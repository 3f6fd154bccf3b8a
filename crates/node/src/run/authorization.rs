//! Who decides what requests may do: the authorizers that every cluster has, or those of an AuthorizationConfiguration,
//! which is read again when it changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};
use engenho_engine::apiserver::outbound::Outbound;
use engenho_engine::apiserver::{AuthorizerChain, ConfigurationFiles, Endpoint, WebhookDeps};
use tokio_util::sync::CancellationToken;

use super::config::RunConfig;
use super::kubeconfig;
use super::os::{OsClock, OsEntropy};

/// How often it is looked whether the file has changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// After so many looks it is read even if it seems unchanged.
const LOOKS_UNREAD_MAX: u32 = 12;

/// Files of this machine.
struct Local;

impl ConfigurationFiles for Local {
    fn check(&self, path: &str) -> Option<String> {
        match std::fs::metadata(path) {
            Err(error) => Some(format!("error loading file: {error}")),
            Ok(found) if !found.is_file() => Some("must be a regular file".to_owned()),
            Ok(_) => None,
        }
    }

    fn endpoint(&self, path: &str) -> Result<Endpoint, String> {
        kubeconfig::endpoint(Path::new(path)).map_err(|error| format!("{error:#}"))
    }
}

/// The authorizers, and the file that they are read from.
pub struct Authorization {
    /// The authorizers.
    pub chain: Arc<AuthorizerChain>,
    file: Option<PathBuf>,
}

impl Authorization {
    /// Reads the configuration, if there is one.
    pub fn read(config: &RunConfig, server: &str, outbound: &Arc<dyn Outbound>) -> Result<Self> {
        let Some(path) = &config.authorization else {
            return Ok(Self {
                chain: Arc::default(),
                file: None,
            });
        };
        let deps = WebhookDeps {
            outbound: Arc::clone(outbound),
            clock: Arc::new(OsClock),
            entropy: Arc::new(OsEntropy),
        };
        let configured = kubeconfig::read_text(path)
            .and_then(|text| AuthorizerChain::configured(&text, &Local, deps, server).map_err(|error| anyhow!(error)));
        let chain = configured.with_context(|| format!("the authorization configuration {}", path.display()))?;
        Ok(Self {
            chain: Arc::new(chain),
            file: Some(path.clone()),
        })
    }

    /// Reads the configuration again whenever it changes, until told to stop. One that is wrong changes nothing.
    pub async fn follow(self, stop: CancellationToken) {
        let Some(path) = self.file else { return };
        let mut seen = look(&path);
        let mut unread = 0;
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => return,
            }
            let now = look(&path);
            unread += 1;
            if now == seen && unread < LOOKS_UNREAD_MAX {
                continue;
            }
            (seen, unread) = (now, 0);
            let (chain, path) = (Arc::clone(&self.chain), path.clone());
            // Files may be slow; the next look waits for this one.
            let _ = tokio::task::spawn_blocking(move || reload(&chain, &path)).await;
        }
    }
}

/// When the file was changed, and how long it is.
fn look(path: &Path) -> Option<(SystemTime, u64)> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
}

fn reload(chain: &AuthorizerChain, path: &Path) {
    let file = path.display();
    let text = match kubeconfig::read_text(path) {
        Ok(text) => text,
        Err(error) => {
            chain.unreadable();
            return tracing::error!(%file, error = %format!("{error:#}"), "the authorization configuration stays as it was");
        }
    };
    match chain.reload(&text, &Local) {
        Ok(true) => tracing::info!(%file, "the authorization configuration was loaded again"),
        Ok(false) => {}
        Err(error) => tracing::error!(%file, error, "the authorization configuration stays as it was"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_checked_before_they_are_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("there"), "x").expect("written");
        assert_eq!(Local.check(&path("there")), None);
        assert_eq!(Local.check(&path("")).as_deref(), Some("must be a regular file"));
        let missing = Local.check(&path("gone")).expect("missing");
        assert!(missing.starts_with("error loading file: "), "{missing}");
        assert!(Local.endpoint(&path("there")).is_err());
    }
}
