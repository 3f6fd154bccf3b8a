//! What every replica shares and nobody else has: the authority's key, the sealing keys, the keys for tokens of
//! service accounts, and the cluster's ranges.
//!
//! The founder makes it; a new replica fetches it from another one over the mesh; a member that is no replica
//! any more deletes it. It never enters the log.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use engenho_engine::authn::{Issuer, TokenKeys};
use engenho_engine::pki::{ClusterCa, SealingKey, SealingKeys};
use parking_lot::Mutex;
use revoada::Member;
use revoada_core::env::{Clock, Entropy};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::os::{OsClock, OsEntropy};

/// Method by which a replica asks for the material.
pub const METHOD_MATERIAL: &str = "material";

/// Method by which any member asks for what is public of it.
pub const METHOD_INFO: &str = "cluster-info";

/// Who issues tokens of service accounts: the name under which Pods reach the API.
pub const ISSUER: &str = "https://kubernetes.default.svc";

/// Deadline of one call.
const CALL_DEADLINE: Duration = Duration::from_secs(3);

/// Pause between attempts.
const PAUSE: Duration = Duration::from_millis(300);

/// The shared material as it is stored and sent. Secret.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Material {
    /// Certificate and key of the authority, PEM.
    pub authority_pem: String,
    /// Certificate and key of the authority of the proxy to aggregated API servers, PEM. Clusters of old have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub front_proxy_pem: Option<String>,
    /// Keys that seal Secrets.
    pub sealing_keys: String,
    /// Keys that sign and verify tokens of service accounts. Clusters of old have none: the key of the authority, which
    /// all replicas have, does both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_keys: Option<String>,
    /// The public part.
    pub info: Info,
}

/// What every member needs and anybody may know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Info {
    /// Certificate of the authority, PEM.
    pub authority_certificate_pem: String,
    /// Range of service addresses.
    pub service_cidr: String,
    /// Range of pod addresses.
    pub pod_cidr: String,
}

/// The opened material.
#[derive(Clone)]
pub struct Opened {
    /// The authority.
    pub authority: ClusterCa,
    /// The authority of the proxy to aggregated API servers.
    pub front_proxy: Option<ClusterCa>,
    /// Sealing keys.
    pub sealing_keys: SealingKeys,
    /// What issues tokens of service accounts.
    pub issuer: Arc<Issuer>,
    /// As it is stored.
    pub stored: Material,
}

impl Material {
    /// Made by the founder.
    pub fn generate(cluster: &str, service_cidr: &str, pod_cidr: &str) -> Result<Self> {
        let authority =
            ClusterCa::generate(cluster, OsClock.unix_ms()).context("the cluster's authority cannot be made")?;
        let front_proxy = ClusterCa::generate_front_proxy(cluster, OsClock.unix_ms())
            .context("the authority of the proxy to aggregated API servers cannot be made")?;
        let mut keys = SealingKeys::new();
        keys.add(SealingKey::generate(|out| OsEntropy.fill(out)))
            .context("the sealing key cannot be made")?;
        Ok(Self {
            authority_pem: authority.to_pem().to_string(),
            front_proxy_pem: Some(front_proxy.to_pem().to_string()),
            sealing_keys: keys.to_json().to_string(),
            token_keys: Some(TokenKeys::generate()?.to_json().to_string()),
            info: Info {
                authority_certificate_pem: authority.certificate_pem(),
                service_cidr: service_cidr.to_owned(),
                pod_cidr: pod_cidr.to_owned(),
            },
        })
    }

    fn read_token_keys(&self) -> Result<TokenKeys> {
        if let Some(text) = &self.token_keys {
            return Ok(TokenKeys::from_json(text)?);
        }
        let key = PrivatePkcs8KeyDer::from_pem_slice(self.authority_pem.as_bytes())
            .map_err(|error| anyhow!("the authority has no key: {error}"))?;
        Ok(TokenKeys::from_pkcs8(key.secret_pkcs8_der())?)
    }

    fn open(self) -> Result<Opened> {
        Ok(Opened {
            authority: ClusterCa::from_pem(&self.authority_pem)?,
            front_proxy: self.front_proxy_pem.as_deref().map(ClusterCa::from_pem).transpose()?,
            sealing_keys: SealingKeys::from_json(&self.sealing_keys)?,
            issuer: Arc::new(Issuer::new(self.read_token_keys()?, ISSUER)),
            stored: self,
        })
    }
}

/// This member's copy.
pub struct Vault {
    secret: PathBuf,
    public: PathBuf,
    opened: Mutex<Option<Arc<Opened>>>,
    info: watch::Sender<Option<Arc<Info>>>,
}

impl Vault {
    /// Reads what is stored.
    pub fn open(data_dir: &std::path::Path) -> Result<Self> {
        let vault = Self {
            secret: data_dir.join("material.json"),
            public: data_dir.join("cluster-info.json"),
            opened: Mutex::new(None),
            info: watch::Sender::new(None),
        };
        if let Some(material) = read::<Material>(&vault.secret)? {
            vault.keep(material)?;
        } else if let Some(info) = read::<Info>(&vault.public)? {
            vault.info.send_replace(Some(Arc::new(info)));
        }
        Ok(vault)
    }

    /// The material, if this member has it.
    pub fn material(&self) -> Option<Arc<Opened>> {
        self.opened.lock().clone()
    }

    /// The public part, once known.
    pub fn info(&self) -> watch::Receiver<Option<Arc<Info>>> {
        self.info.subscribe()
    }

    /// Stores and opens it.
    pub fn keep(&self, material: Material) -> Result<()> {
        let raw = serde_json::to_vec(&material)?;
        let info = material.info.clone();
        let opened = material
            .open()
            .context("the cluster's shared material cannot be read")?;
        engenho_engine::pki::write_private(&self.secret, &raw)
            .with_context(|| format!("writing {}", self.secret.display()))?;
        *self.opened.lock() = Some(Arc::new(opened));
        self.keep_info(info)
    }

    fn keep_info(&self, info: Info) -> Result<()> {
        engenho_engine::pki::write_private(&self.public, &serde_json::to_vec(&info)?)
            .with_context(|| format!("writing {}", self.public.display()))?;
        self.info.send_if_modified(|current| {
            let changed = current.as_deref() != Some(&info);
            *current = Some(Arc::new(info));
            changed
        });
        Ok(())
    }

    /// Deletes the secret part: this member is no replica any more.
    pub fn forget(&self) {
        if self.opened.lock().take().is_some() {
            if let Err(error) = std::fs::remove_file(&self.secret) {
                tracing::error!(path = %self.secret.display(), %error, "the cluster's keys cannot be deleted from this member");
            }
            tracing::info!("this member keeps no replica any more: the cluster's keys were deleted here");
        }
    }

    /// What is sent to a member that asks; only replicas, and whoever is becoming one, get the secret part.
    pub fn answer(&self, member: &Member, peer: revoada_core::MemberId, method: &str) -> Result<Vec<u8>, String> {
        if method == METHOD_INFO {
            let info = self
                .info
                .borrow()
                .clone()
                .ok_or("this member does not know the cluster's authority yet")?;
            return serde_json::to_vec(&*info).map_err(|error| error.to_string());
        }
        let known = member.known();
        let becoming = known
            .state()
            .in_flight()
            .is_some_and(|transition| transition.spec.member == peer);
        if !known.config().contains(&peer) && !becoming {
            return Err("only replicas are given the cluster's keys".into());
        }
        let opened = self.material().ok_or("this member has no replica")?;
        serde_json::to_vec(&opened.stored).map_err(|error| error.to_string())
    }

    /// Fetches the material from any replica; returns when it is here or `wanted` says no.
    pub async fn fetch(&self, member: &Member, wanted: impl Fn() -> bool) -> Result<Option<Arc<Opened>>> {
        loop {
            if let Some(opened) = self.material() {
                return Ok(Some(opened));
            }
            if !wanted() {
                return Ok(None);
            }
            for peer in replicas(member) {
                match member
                    .call(peer, METHOD_MATERIAL, bytes::Bytes::new(), CALL_DEADLINE)
                    .await
                {
                    Ok(raw) => {
                        self.keep(serde_json::from_slice(&raw).context("the cluster's shared material is malformed")?)?;
                        break;
                    }
                    Err(error) => tracing::debug!(peer = %peer.short(), %error, "no shared material from this peer"),
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Learns the public part from any replica; returns when it is known or the member stops.
    pub async fn fetch_info(&self, member: &Member) -> Option<Arc<Info>> {
        let stop = member.stop_token();
        loop {
            if let Some(info) = self.info.borrow().clone() {
                return Some(info);
            }
            for peer in replicas(member) {
                let answer = member.call(peer, METHOD_INFO, bytes::Bytes::new(), CALL_DEADLINE).await;
                match answer
                    .map_err(|error| error.to_string())
                    .and_then(|raw| serde_json::from_slice(&raw).map_err(|error| error.to_string()))
                {
                    Ok(info) => {
                        if let Err(error) = self.keep_info(info) {
                            tracing::error!(%error, "the cluster's public data cannot be stored");
                        }
                        break;
                    }
                    Err(error) => tracing::debug!(peer = %peer.short(), %error, "no cluster info from this peer"),
                }
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = stop.cancelled() => return None,
            }
        }
    }
}

/// Other replicas, live ones first.
pub fn replicas(member: &Member) -> Vec<revoada_core::MemberId> {
    let me = member.id();
    let everyone = member.watch_everyone().borrow().clone();
    let mut all: Vec<_> = member.known().replicas().into_iter().filter(|id| *id != me).collect();
    all.sort_by_key(|id| !everyone.get(id).is_some_and(|heard| heard.liveness.is_alive()));
    all
}

fn read<T: serde::de::DeserializeOwned>(path: &std::path::Path) -> Result<Option<T>> {
    match std::fs::read(path) {
        Ok(raw) => Ok(Some(serde_json::from_slice(&raw).with_context(|| {
            format!("{} is damaged: delete it, and it is fetched again", path.display())
        })?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn material_of_old_opens_alike_everywhere() {
        let mut old = Material::generate("c", "10.96.0.0/16", "10.244.0.0/16").expect("material");
        old.token_keys = None;
        let text = serde_json::to_string(&old).expect("JSON");
        assert!(!text.contains("tokenKeys"));
        let open = || {
            let material: Material = serde_json::from_str(&text).expect("material");
            let opened = material.open().expect("it opens");
            opened.issuer.keys.jwks()
        };
        assert_eq!(open(), open());
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("material.json"), &text).expect("written");
        assert!(Vault::open(folder.path()).expect("a vault").material().is_some());
    }
}
