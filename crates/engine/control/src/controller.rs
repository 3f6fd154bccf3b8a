//! A controller and the loop that drives it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use engenho_store::{KeyRange, Store, StoreClient};
use futures_util::future::{Either, pending, select};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::error::ControlError;
use crate::health::Board;
use crate::wake::Wake;

/// Without any change a controller looks at everything again after this time.
const RESYNC: Duration = Duration::from_secs(600);
/// At least so much time lies between two passes: changes that come together are dealt with together.
const SPACING: Duration = Duration::from_millis(10);
/// First and longest wait after a failure.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Deadline of bringing this replica up to date at the beginning.
const CATCH_UP: Duration = Duration::from_secs(5);

/// When a controller wants to look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// When something changes.
    OnChange,
    /// When something changes, or after this time.
    After(Duration),
    /// Never: its work is done for this term.
    Done,
}

/// Brings one aspect of the objects in line. Level-triggered: a pass looks at what is, never at what happened.
pub(crate) trait Controller: Send + 'static {
    /// Its name, in logs and status.
    const NAME: &'static str;

    /// Keys whose change makes a new pass worthwhile. Asked after each pass.
    fn ranges(&self) -> Vec<KeyRange> {
        Vec::new()
    }

    /// A counter whose change makes a new pass worthwhile.
    fn signal(&self) -> Option<watch::Receiver<u64>> {
        None
    }

    /// One pass.
    fn reconcile(&mut self) -> impl Future<Output = Result<Next, ControlError>> + Send;
}

/// What the loop needs.
#[derive(Clone)]
pub(crate) struct Loop {
    pub store: StoreClient,
    pub board: Board,
    pub term: u64,
}

impl Loop {
    /// Runs a controller until `stop`, the end of the term, or the end of its work.
    pub async fn run<C: Controller>(self, controller: C, stop: CancellationToken) {
        let work = Box::pin(self.passes(controller));
        // Dropping the work drops its requests: what was proposed already is fenced.
        if let Either::Left(_) = select(Box::pin(stop.cancelled()), work).await {
            tracing::debug!(controller = C::NAME, "stopped");
        }
    }

    async fn passes<C: Controller>(&self, mut controller: C) {
        let store: Arc<Store> = self.store.store.clone();
        let mut signal = controller.signal();
        let mut failures: u32 = 0;
        let mut is_current = false;
        loop {
            if self.store.consensus.status().term > self.term {
                return tracing::debug!(controller = C::NAME, term = self.term, "the term is over");
            }
            let revision = store.revision();
            if let Some(signal) = &mut signal {
                signal.borrow_and_update();
            }
            let result = match self.catch_up(&mut is_current).await {
                Ok(()) => controller.reconcile().await,
                Err(error) => Err(error),
            };
            let wait = match result {
                Ok(Next::Done) => return self.board.succeeded(C::NAME),
                Ok(next) => {
                    if failures > 0 {
                        tracing::info!(controller = C::NAME, failures, "works again");
                    }
                    failures = 0;
                    self.board.succeeded(C::NAME);
                    if let Next::After(wait) = next {
                        wait.min(RESYNC)
                    } else {
                        RESYNC
                    }
                }
                Err(error) => {
                    let pause = backoff(failures);
                    failures = failures.saturating_add(1);
                    // A conflict mends itself, and so do missing rights while a new cluster's roles are being made; of a
                    // lasting failure it's enough to hear now and then.
                    let mends = error.is_conflict() || error.is_forbidden();
                    if !failures.is_power_of_two() || mends && failures <= 3 {
                        tracing::debug!(controller = C::NAME, %error, failures, "a pass failed and is repeated");
                    } else {
                        tracing::warn!(controller = C::NAME, %error, failures, "a pass failed and is repeated");
                    }
                    self.board.failed(C::NAME, error.to_string());
                    sleep(pause).await;
                    continue;
                }
            };
            let mut wake = Wake::arm(&store, controller.ranges(), revision);
            let changed = select(Box::pin(wake.changed()), Box::pin(signalled(&mut signal)));
            let _ = tokio::time::timeout(wait, changed).await;
            sleep(SPACING).await;
        }
    }

    /// Before the first pass this replica must have what earlier leaders wrote.
    async fn catch_up(&self, is_current: &mut bool) -> Result<(), ControlError> {
        if !*is_current {
            self.store.linearizable(CATCH_UP).await?;
            *is_current = true;
        }
        Ok(())
    }
}

fn backoff(failures: u32) -> Duration {
    BACKOFF_MIN.saturating_mul(1 << failures.min(10)).min(BACKOFF_MAX)
}

async fn signalled(signal: &mut Option<watch::Receiver<u64>>) {
    if let Some(receiver) = signal {
        if receiver.changed().await.is_ok() {
            return;
        }
        // Nobody can change it any more.
        *signal = None;
    }
    pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_to_a_bound() {
        assert_eq!(backoff(0), BACKOFF_MIN);
        assert_eq!(backoff(1), BACKOFF_MIN * 2);
        assert_eq!(backoff(u32::MAX), BACKOFF_MAX);
    }
}
