//! What runs on the leader only.

use std::sync::Arc;

use revoada::Member;
use tokio_util::sync::CancellationToken;

use super::api::Local;
use super::material::Vault;

/// Follows leadership.
pub async fn run(member: Member, local: Arc<Local>, _vault: Arc<Vault>, stop: CancellationToken) {
    let mut leadership = member.watch_leadership();
    loop {
        let term = *leadership.borrow_and_update();
        if let (Some(term), Some(server)) = (term, local.server()) {
            match engenho_engine::apiserver::bootstrap(&server, Some(term)).await {
                Ok(created) => tracing::info!(created, "bootstrapped"),
                Err(error) => tracing::warn!(?error, "bootstrap"),
            }
            tokio::select! { _ = leadership.changed() => {}, () = stop.cancelled() => return }
        }
        tokio::select! { _ = leadership.changed() => {}, () = stop.cancelled() => return, () = tokio::time::sleep(std::time::Duration::from_millis(200)) => {} }
    }
}
