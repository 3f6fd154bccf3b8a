//! The certificates of this member: what its API listener shows, and its administrator's kubeconfig.
//! Both are renewed at two thirds of their life, with no restart.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use engenho_engine::pki::{
    CertificateRequest, ClientSubject, IssuedCertificate, Kubeconfig, RequestPolicy, ServingCertificate, ServingNames,
    Usage, first_service_address, renewal_due_at_ms,
};
use parking_lot::Mutex;
use revoada::Member;
use revoada_core::MemberId;
use revoada_core::env::Clock;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::addresses::Own;
use super::material::{Vault, replicas};
use super::os::OsClock;

/// Method by which a member without the authority's key has a request signed.
pub const METHOD_SIGN: &str = "sign";

/// Longest lifetime that a replica grants, whatever is asked for.
const LIFETIME_MAX: Duration = Duration::from_secs(400 * 24 * 3600);

/// Deadline of one call.
const CALL_DEADLINE: Duration = Duration::from_secs(3);

/// Pause between attempts.
const PAUSE: Duration = Duration::from_millis(300);

/// How often the certificates are looked at, at most; short lifetimes are looked at more often.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// A request for a certificate, to be signed by a replica.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SignRequest {
    der: Vec<u8>,
    serving: bool,
    user: String,
    groups: Vec<String>,
    lifetime_s: u64,
}

/// Gets certificates for this member, wherever the authority's key is.
pub struct Certificates {
    vault: Arc<Vault>,
    own: Own,
    name: String,
    lifetime: Duration,
    kubeconfig_path: PathBuf,
    api_url: String,
    serving: Mutex<Option<Serving>>,
}

/// The certificate that the listener shows.
struct Serving {
    /// The holder that the listener reads.
    holder: Arc<ServingCertificate>,
    /// When it is to be renewed.
    due_ms: u64,
    /// When it ends.
    until_ms: u64,
}

impl Certificates {
    /// For a member called `name` whose API is at `api_url`.
    pub fn new(
        vault: Arc<Vault>,
        own: Own,
        name: &str,
        lifetime: Duration,
        kubeconfig_path: PathBuf,
        api_url: &str,
    ) -> Self {
        Self {
            vault,
            own,
            name: name.to_owned(),
            lifetime,
            kubeconfig_path,
            api_url: api_url.to_owned(),
            serving: Mutex::new(None),
        }
    }

    /// Every name and address by which this member's API is reached.
    fn names(&self) -> Result<ServingNames> {
        let info = self
            .vault
            .info()
            .borrow()
            .clone()
            .context("the cluster's ranges are not known yet")?;
        let service = first_service_address(&info.service_cidr)?;
        let mut names = ServingNames::api_server("cluster.local", &[service])?;
        names.add_host(&self.name)?;
        for host in &self.own.hosts {
            names.add_host(host)?;
        }
        for ip in self.own.ips.iter().chain([&self.own.api_host]) {
            names.add_ip(*ip);
        }
        Ok(names)
    }

    /// A certificate from the authority: here if this member has its key, else from any replica.
    pub async fn issue(
        &self,
        member: &Member,
        usage: Usage,
        subject: &ClientSubject,
        lifetime: Duration,
    ) -> Result<IssuedCertificate> {
        let names = match usage {
            Usage::Serving => self.names()?,
            Usage::Client => ServingNames::new(),
        };
        if let Some(opened) = self.vault.material() {
            let now_ms = OsClock.unix_ms();
            return Ok(match usage {
                Usage::Serving => opened
                    .authority
                    .issue_serving(&subject.user, &names, lifetime, now_ms)?,
                Usage::Client => opened.authority.issue_client(subject, lifetime, now_ms)?,
            });
        }
        let request = CertificateRequest::generate(&subject.user, &names)?;
        let body = SignRequest {
            der: request.der().to_vec(),
            serving: usage == Usage::Serving,
            user: subject.user.clone(),
            groups: subject.groups.clone(),
            lifetime_s: lifetime.as_secs(),
        };
        let body = bytes::Bytes::from(serde_json::to_vec(&body)?);
        let mut last = anyhow!("no replica is known");
        for peer in replicas(member) {
            match member.call(peer, METHOD_SIGN, body.clone(), CALL_DEADLINE).await {
                Ok(der) => return Ok(request.complete(der.to_vec().into())?),
                Err(error) => last = error.into(),
            }
        }
        Err(last.context("no replica signed a certificate"))
    }

    /// The resolver of the API listener, once there is a first certificate.
    pub async fn first_serving(&self, member: &Member) -> Option<Arc<ServingCertificate>> {
        let stop = member.stop_token();
        loop {
            match self.renew_serving(member).await {
                Ok(holder) => return Some(holder),
                Err(error) => tracing::debug!(error = %format!("{error:#}"), "no serving certificate yet"),
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = stop.cancelled() => return None,
            }
        }
    }

    async fn renew_serving(&self, member: &Member) -> Result<Arc<ServingCertificate>> {
        let subject = ClientSubject::new("kube-apiserver", [] as [&str; 0]);
        let issued = self.issue(member, Usage::Serving, &subject, self.lifetime).await?;
        let due_ms = renewal_due_at_ms(issued.not_before_ms(), issued.not_after_ms(), 0);
        let mut slot = self.serving.lock();
        let holder = match &*slot {
            Some(serving) => {
                serving.holder.replace(&issued)?;
                Arc::clone(&serving.holder)
            }
            None => Arc::new(ServingCertificate::new(&issued)?),
        };
        *slot = Some(Serving {
            holder: Arc::clone(&holder),
            due_ms,
            until_ms: issued.not_after_ms(),
        });
        Ok(holder)
    }

    /// A kubeconfig for `subject`.
    pub async fn kubeconfig(
        &self,
        member: &Member,
        server: Option<String>,
        subject: &ClientSubject,
    ) -> Result<Kubeconfig> {
        let info = self
            .vault
            .info()
            .borrow()
            .clone()
            .context("the cluster's authority is not known yet")?;
        let client = self.issue(member, Usage::Client, subject, self.lifetime).await?;
        let cluster = format!("engenho-{}", member.cluster().short());
        Ok(Kubeconfig {
            user: format!("{}@{cluster}", subject.user),
            context: format!("{}@{cluster}", subject.user),
            cluster,
            server: server.unwrap_or_else(|| self.api_url.clone()),
            authority_pem: info.authority_certificate_pem.clone(),
            client,
            namespace: None,
        })
    }

    /// Writes the administrator's kubeconfig and says when to do so again.
    pub async fn write_admin(&self, member: &Member) -> Result<u64> {
        let kubeconfig = self.kubeconfig(member, None, &ClientSubject::admin()).await?;
        kubeconfig.write(&self.kubeconfig_path)?;
        Ok(renewal_due_at_ms(
            kubeconfig.client.not_before_ms(),
            kubeconfig.client.not_after_ms(),
            0,
        ))
    }

    /// Renews both when they are due, until `stop`. A failure is retried soon: there is a third of the life left.
    pub async fn run(self: Arc<Self>, member: Member, mut admin_due_ms: u64, stop: CancellationToken) {
        let mut serving_due_ms = self.serving_due_ms();
        loop {
            let now_ms = OsClock.unix_ms();
            let next_ms = serving_due_ms.min(admin_due_ms).saturating_sub(now_ms);
            let wait = Duration::from_millis(next_ms).clamp(Duration::from_millis(200), LOOK_AGAIN);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => return,
            }
            let now_ms = OsClock.unix_ms();
            if now_ms >= serving_due_ms {
                match self.renew_serving(&member).await {
                    Ok(_) => tracing::info!("the API's serving certificate was renewed"),
                    Err(error) => {
                        tracing::warn!(error = %format!("{error:#}"), "the API's serving certificate is due and could not be renewed")
                    }
                }
                serving_due_ms = self.serving_due_ms().max(now_ms + 1_000);
            }
            if now_ms >= admin_due_ms {
                admin_due_ms = match self.write_admin(&member).await {
                    Ok(due_ms) => due_ms.max(now_ms + 1_000),
                    Err(error) => {
                        tracing::warn!(error = %format!("{error:#}"), "the administrator's certificate is due and could not be renewed");
                        now_ms + 5_000
                    }
                };
            }
        }
    }

    fn serving_due_ms(&self) -> u64 {
        self.serving.lock().as_ref().map_or(0, |serving| serving.due_ms)
    }

    /// When the certificate that the listener shows ends, milliseconds since the Unix epoch; `None` before the first.
    pub fn serving_until_ms(&self) -> Option<u64> {
        self.serving.lock().as_ref().map(|serving| serving.until_ms)
    }
}

/// Signs a member's request: names are restricted to those the cluster knows that member by.
pub fn answer_sign(vault: &Vault, member: &Member, peer: MemberId, payload: &[u8]) -> Result<Vec<u8>, String> {
    let opened = vault
        .material()
        .ok_or("this member does not keep the authority's key")?;
    let request: SignRequest =
        serde_json::from_slice(payload).map_err(|error| format!("a malformed request: {error}"))?;
    let known = member.known();
    let admitted = known.chain().member(&peer).ok_or("only members get certificates")?;
    let usage = if request.serving { Usage::Serving } else { Usage::Client };
    let names = match usage {
        Usage::Serving => allowed_names(&opened.stored.info.service_cidr, member, peer, &admitted.name)
            .map_err(|error| format!("{error:#}"))?,
        Usage::Client => ServingNames::new(),
    };
    let subject = match usage {
        Usage::Serving => ClientSubject::new("kube-apiserver", [] as [&str; 0]),
        Usage::Client => ClientSubject::new(request.user, request.groups),
    };
    let policy = RequestPolicy {
        subject,
        names,
        usage,
        lifetime: Duration::from_secs(request.lifetime_s).min(LIFETIME_MAX),
    };
    let signed = opened
        .authority
        .sign_request(&request.der, &policy, OsClock.unix_ms())
        .map_err(|error| error.to_string())?;
    if !signed.refused.is_empty() {
        tracing::warn!(member = %admitted.name, refused = %signed.refused.join(", "), "names were left out of a certificate");
    }
    Ok(signed.certificate.to_vec())
}

/// The names of the API, the member's own, and the addresses it announced or is connected from.
fn allowed_names(service_cidr: &str, member: &Member, peer: MemberId, name: &str) -> Result<ServingNames> {
    let mut names = ServingNames::api_server("cluster.local", &[first_service_address(service_cidr)?])?;
    names.add_host(name)?;
    let everyone = member.watch_everyone().borrow().clone();
    if let Some(heard) = everyone.get(&peer) {
        for address in &heard.announcement.addresses {
            names.add_ip(address.ip());
        }
        let extra: super::announce::Extra = serde_json::from_str(&heard.announcement.extra).unwrap_or_default();
        for ip in extra.ips {
            names.add_ip(ip);
        }
        for host in extra.hosts {
            // An announced name that is no name is simply not served.
            let _ = names.add_host(&host);
        }
    }
    let connected: Option<IpAddr> = member
        .mesh()
        .peers()
        .into_iter()
        .find(|status| status.id == peer)
        .and_then(|status| status.address)
        .map(|address| address.ip());
    if let Some(ip) = connected {
        names.add_ip(ip);
    }
    Ok(names)
}
