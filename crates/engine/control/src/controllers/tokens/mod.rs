//! Secrets of type `kubernetes.io/service-account-token` hold a token of their account, and go with it, as upstream's
//! tokens-controller has it.

mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;

use engenho_authn::{Issuer, Reference, legacy};
use engenho_store::KeyRange;

use self::plan::Step;
use crate::client::{Client, segment};
use crate::controller::{Controller, Next};
use crate::error::ControlError;
use crate::frame::ControlDeps;

const SECRETS: &str = "/registry/core/secrets/";
const ACCOUNTS: &str = "/registry/core/serviceaccounts/";

/// Fills such Secrets and deletes them with their account.
pub(crate) struct Tokens {
    client: Client,
    issuer: Option<Arc<Issuer>>,
    root_ca_pem: Arc<str>,
    /// What was last found, by key: Secrets are sealed, and of most it is enough to know that they hold no token.
    seen: BTreeMap<Vec<u8>, Seen>,
}

/// A Secret as it was found.
#[derive(Clone)]
struct Seen {
    revision: u64,
    token: Option<Holder>,
}

/// What is known of a Secret that holds a token.
#[derive(Clone)]
struct Holder {
    namespace: String,
    name: String,
    account: String,
    /// The last write of the account when the Secret was found right.
    account_revision: Option<u64>,
}

impl Holder {
    fn account_key(&self) -> String {
        format!("{ACCOUNTS}{}/{}", self.namespace, self.account)
    }
}

impl Tokens {
    pub fn new(deps: &ControlDeps) -> Self {
        Self {
            client: Client::control(deps.api.clone(), deps.term, Self::NAME),
            issuer: deps.api.issuer().cloned(),
            root_ca_pem: deps.root_ca_pem.clone(),
            seen: BTreeMap::new(),
        }
    }

    /// Looks at one Secret, and says what there is to remember of it.
    async fn settle(&self, key: &[u8], before: Option<&Seen>, revision: u64) -> Result<Option<Seen>, ControlError> {
        if let Some(before) = before.filter(|before| before.revision == revision) {
            let is_right = before.token.as_ref().is_none_or(|holder| {
                holder.account_revision.is_some()
                    && self.client.revision_of(&holder.account_key()) == holder.account_revision
            });
            if is_right {
                return Ok(Some(before.clone()));
            }
        }
        let Some((revision, secret)) = self.client.stored_at(key)? else {
            return Ok(None);
        };
        let Some(account) = plan::account(&secret) else {
            return Ok(Some(Seen { revision, token: None }));
        };
        let meta = |field: &str| secret["metadata"][field].as_str().unwrap_or_default().to_owned();
        let mut holder = Holder {
            namespace: meta("namespace"),
            name: meta("name"),
            account: account.to_owned(),
            account_revision: None,
        };
        let found = self.client.stored_at(holder.account_key().as_bytes())?;
        let (account_revision, account) = found.unzip();
        let path = format!(
            "/api/v1/namespaces/{}/secrets/{}",
            segment(&holder.namespace),
            segment(&holder.name)
        );
        match plan::next(&secret, account.as_ref(), &self.root_ca_pem) {
            Step::Keep => holder.account_revision = account_revision,
            Step::Delete => {
                tracing::debug!(
                    namespace = holder.namespace,
                    name = holder.name,
                    "a token goes with its account"
                );
                match self.client.delete(&path, &meta("uid")).await {
                    Err(error) if error.is_conflict() => {}
                    done => done?,
                }
            }
            Step::Fill { needs_token } => {
                let token = match (&self.issuer, &account) {
                    (Some(issuer), Some(account)) if needs_token => {
                        let of = Reference::to(account);
                        let issued = legacy::issue(issuer, &holder.namespace, &of, &holder.name);
                        issued.map(Some).map_err(|source| ControlError::Token { source })?
                    }
                    _ => None,
                };
                let filled = plan::fill(&secret, account.as_ref(), &self.root_ca_pem, token.as_deref());
                match self.client.replace(&path, &filled).await {
                    // Somebody was faster, or it is too late: this replica will hear of it.
                    Err(error) if error.is_conflict() || error.is_not_found() => {}
                    done => drop(done?),
                }
            }
        }
        Ok(Some(Seen {
            revision,
            token: Some(holder),
        }))
    }

    /// An account names no Secret that is gone.
    async fn forget(&self, gone: &Holder) -> Result<(), ControlError> {
        let Some((_, account)) = self.client.stored_at(gone.account_key().as_bytes())? else {
            return Ok(());
        };
        let Some(changed) = plan::without_reference(&account, &gone.name) else {
            return Ok(());
        };
        let path = format!(
            "/api/v1/namespaces/{}/serviceaccounts/{}",
            segment(&gone.namespace),
            segment(&gone.account)
        );
        match self.client.replace(&path, &changed).await {
            Err(error) if error.is_not_found() => Ok(()),
            done => done.map(drop),
        }
    }

    fn listed(&self) -> Result<Vec<(Vec<u8>, u64)>, ControlError> {
        let read = self.client.api().storage().list(SECRETS);
        let read = read.map_err(|source| ControlError::Storage {
            what: "listing Secrets",
            source,
        })?;
        Ok(read.kvs.iter().map(|kv| (kv.key.to_vec(), kv.mod_revision)).collect())
    }
}

impl Controller for Tokens {
    const NAME: &'static str = "tokens-controller";

    fn ranges(&self) -> Vec<KeyRange> {
        vec![KeyRange::prefix(SECRETS), KeyRange::prefix(ACCOUNTS)]
    }

    async fn reconcile(&mut self) -> Result<Next, ControlError> {
        if self.issuer.is_none() {
            return Ok(Next::Done);
        }
        let mut before = std::mem::take(&mut self.seen);
        let (mut of, mut errors) = (0, Vec::new());
        for (key, revision) in self.listed()? {
            of += 1;
            let last = before.remove(&key);
            match self.settle(&key, last.as_ref(), revision).await {
                Ok(Some(seen)) => drop(self.seen.insert(key, seen)),
                Ok(None) => drop(last.map(|last| before.insert(key, last))),
                Err(error) => {
                    errors.push(error);
                    if let Some(last) = last {
                        self.seen.insert(key, Seen { revision: 0, ..last });
                    }
                }
            }
        }
        for (key, seen) in before {
            let Some(holder) = &seen.token else { continue };
            of += 1;
            if let Err(error) = self.forget(holder).await {
                errors.push(error);
                self.seen.insert(key, seen);
            }
        }
        match ControlError::of_several("Secrets with tokens", of, errors) {
            Some(error) => Err(error),
            None => Ok(Next::OnChange),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn secret() -> Value {
        json!({
            "type": legacy::SECRET_TYPE,
            "metadata": {"name": "s", "namespace": "n", "annotations": {legacy::ACCOUNT_NAME: "bot"}},
        })
    }

    fn account() -> Value {
        json!({"metadata": {"name": "bot", "uid": "u1"}, "secrets": [{"name": "s"}, {"name": "t"}]})
    }

    #[test]
    fn secrets_are_filled_once() {
        let (secret, account) = (secret(), account());
        assert_eq!(plan::account(&secret), Some("bot"));
        assert_eq!(
            plan::next(&secret, Some(&account), "PEM"),
            Step::Fill { needs_token: true }
        );
        let filled = plan::fill(&secret, Some(&account), "PEM", Some("TOKEN"));
        let data = json!({"ca.crt": "UEVN", "namespace": "bg==", "token": "VE9LRU4="});
        assert_eq!(filled["data"], data);
        assert_eq!(filled["metadata"]["annotations"][legacy::ACCOUNT_UID], "u1");
        assert_eq!(plan::next(&filled, Some(&account), "PEM"), Step::Keep);
        assert_eq!(
            plan::next(&filled, Some(&account), "NEW"),
            Step::Fill { needs_token: false }
        );
        assert_eq!(
            plan::fill(&filled, Some(&account), "NEW", None)["data"]["token"],
            data["token"]
        );
    }

    #[test]
    fn secrets_go_with_their_account() {
        let (secret, account) = (secret(), account());
        assert_eq!(plan::next(&secret, None, "PEM"), Step::Delete);
        let filled = plan::fill(&secret, Some(&account), "PEM", Some("TOKEN"));
        let mut another = account.clone();
        another["metadata"]["uid"] = "u2".into();
        assert_eq!(plan::next(&filled, Some(&another), "PEM"), Step::Delete);
        let mut opaque = secret.clone();
        opaque["type"] = "Opaque".into();
        assert_eq!(plan::account(&opaque), None);
        let without = plan::without_reference(&account, "s").expect("changed");
        assert_eq!(without["secrets"], json!([{"name": "t"}]));
        assert_eq!(plan::without_reference(&without, "s"), None);
    }
}
