//! The status of ResourceQuotas: what they limit, and what is used of it, as upstream's resourcequota-controller counts.
//!
//! Admission adds to the usage in the transaction that creates an object. What is counted here corrects it, foremost
//! downwards: when objects go, Pods end, or the quota itself changes.

mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engenho_store::{KeyRange, RangeRequest};
use revoada_core::env::Clock;
use serde_json::Value;

use self::plan::{Amounts, Counted};
use crate::client::{Client, segment};
use crate::controller::{Controller, Next};
use crate::error::ControlError;
use crate::frame::ControlDeps;

const PREFIX: &str = "/registry/core/resourcequotas/";
/// So often everything is counted, whatever changes.
const RECOUNT: Duration = Duration::from_secs(300);
/// Most ranges that are watched; where they would be more, the objects of all Namespaces are.
const RANGES_MAX: usize = 64;

/// Counts what is used of quotas.
pub(crate) struct Quotas {
    client: Client,
    clock: Arc<dyn Clock>,
    /// By the quota's namespace and name.
    tallies: BTreeMap<(String, String), Tally>,
    /// Where what is counted lives.
    ranges: Vec<KeyRange>,
}

/// What each object uses of one quota: only those that change are read again.
#[derive(Default)]
struct Tally {
    /// The specification that this is about.
    spec: Value,
    objects: BTreeMap<Bytes, Share>,
}

struct Share {
    revision: u64,
    used: Amounts,
    overdue_unix_ms: Option<u64>,
    is_overdue: bool,
}

impl Share {
    fn is_current(&self, revision: u64, now_unix_ms: u64) -> bool {
        self.revision == revision && self.is_overdue == is_past(self.overdue_unix_ms, now_unix_ms)
    }
}

impl Quotas {
    pub fn new(deps: &ControlDeps) -> Self {
        Self {
            client: Client::service_account(deps.api.clone(), deps.term, Self::NAME),
            clock: deps.clock.clone(),
            tallies: BTreeMap::new(),
            ranges: Vec::new(),
        }
    }

    /// Brings `tally` in line with the objects in the Namespace of a quota, and sums it up.
    fn count(
        &self,
        quota: &Value,
        namespace: &str,
        counted: &[&Counted],
        now_unix_ms: u64,
        tally: &mut Tally,
    ) -> Result<Amounts, ControlError> {
        let mut before = std::mem::take(&mut tally.objects);
        if tally.spec != quota["spec"] {
            before.clear();
            tally.spec = quota["spec"].clone();
        }
        let mut total = Amounts::new();
        for of in counted {
            plan::add(&mut total, &plan::nothing(quota, of));
            let mut request = RangeRequest::new(KeyRange::prefix(of.prefix_in(namespace)));
            request.keys_only = true;
            for kv in self.client.api().storage().range(&request)?.kvs {
                let known = before.remove(&kv.key);
                let share = match known.filter(|share| share.is_current(kv.mod_revision, now_unix_ms)) {
                    Some(share) => share,
                    None => match self.client.stored_at(&kv.key)? {
                        Some((revision, object)) => share(quota, of, revision, &object, now_unix_ms),
                        None => continue,
                    },
                };
                plan::add(&mut total, &share.used);
                tally.objects.insert(kv.key, share);
            }
        }
        Ok(total)
    }

    /// Writes what was counted, unless it is known or the quota is another one by now.
    async fn tell(&self, namespace: &str, name: &str, quota: &Value, used: &Amounts) -> Result<(), ControlError> {
        let Some(told) = plan::with_status(quota, used) else {
            return Ok(());
        };
        let (namespace, name) = (segment(namespace), segment(name));
        let path = format!("/api/v1/namespaces/{namespace}/resourcequotas/{name}/status");
        match self.client.replace(&path, &told).await {
            // The change that was in the way wakes this controller again.
            Err(error) if error.is_conflict() || error.is_not_found() => {
                tracing::debug!(namespace, quota = name, "changed while it was counted");
                Ok(())
            }
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }

    /// Everything, or when the next Pod is overdue if that is sooner.
    fn next(&self, now_unix_ms: u64) -> Next {
        let shares = self.tallies.values().flat_map(|tally| tally.objects.values());
        let due = shares
            .filter(|share| !share.is_overdue)
            .filter_map(|share| share.overdue_unix_ms);
        let wait = due
            .min()
            .map(|at| Duration::from_millis(at.saturating_sub(now_unix_ms).saturating_add(1)));
        Next::After(wait.map_or(RECOUNT, |wait| wait.min(RECOUNT)))
    }
}

impl Controller for Quotas {
    const NAME: &'static str = "resourcequota-controller";

    fn ranges(&self) -> Vec<KeyRange> {
        let mut ranges = vec![KeyRange::prefix(PREFIX)];
        ranges.extend(self.ranges.iter().cloned());
        ranges
    }

    async fn reconcile(&mut self) -> Result<Next, ControlError> {
        // Quotas are read before what they count: an object that comes in between changes its quota, and what is
        // counted without it is then not taken.
        let quotas = self.client.stored(PREFIX)?;
        let mut before = std::mem::take(&mut self.tallies);
        self.ranges.clear();
        if quotas.is_empty() {
            return Ok(Next::OnChange);
        }
        let countable = plan::countable(&self.client.api().catalog());
        let now = self.clock.unix_ms();
        let (mut homes, mut errors) = (Vec::new(), Vec::new());
        for quota in &quotas {
            let field = |name: &str| quota["metadata"][name].as_str().unwrap_or_default().to_owned();
            let (namespace, name) = (field("namespace"), field("name"));
            let counted = plan::counted_by(quota, &countable);
            homes.extend(counted.iter().map(|of| (*of, namespace.clone())));
            let mut tally = before.remove(&(namespace.clone(), name.clone())).unwrap_or_default();
            let result = match self.count(quota, &namespace, &counted, now, &mut tally) {
                Ok(used) => self.tell(&namespace, &name, quota, &used).await,
                Err(error) => Err(error),
            };
            errors.extend(result.err());
            self.tallies.insert((namespace, name), tally);
        }
        self.ranges = plan::prefixes(&homes, RANGES_MAX)
            .into_iter()
            .map(KeyRange::prefix)
            .collect();
        match ControlError::of_several("ResourceQuotas", quotas.len(), errors) {
            Some(error) => Err(error),
            None => Ok(self.next(now)),
        }
    }
}

fn is_past(at_unix_ms: Option<u64>, now_unix_ms: u64) -> bool {
    at_unix_ms.is_some_and(|at| now_unix_ms > at)
}

fn share(quota: &Value, of: &Counted, revision: u64, object: &Value, now_unix_ms: u64) -> Share {
    let overdue_unix_ms = plan::overdue_unix_ms(of, object);
    let is_overdue = is_past(overdue_unix_ms, now_unix_ms);
    Share {
        revision,
        used: plan::usage(quota, of, object, is_overdue),
        overdue_unix_ms,
        is_overdue,
    }
}
