//! Waiting for a state, with a deadline and a reason when it does not come.

use std::time::{Duration, Instant};

use anyhow::bail;

/// Asks every 50 ms until the answer is `Ok`; past the deadline fails with the last reason.
pub async fn eventually<T>(
    what: &str,
    deadline: Duration,
    ask: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    eventually_every(what, deadline, Duration::from_millis(50), ask).await
}

/// As [`eventually`], with another interval.
pub async fn eventually_every<T>(
    what: &str,
    deadline: Duration,
    interval: Duration,
    mut ask: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let started = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(reason) if started.elapsed() >= deadline => {
                bail!(
                    "{what}: not within {:.1} s; at last: {reason:#}",
                    deadline.as_secs_f64()
                )
            }
            Err(_) => tokio::time::sleep(interval).await,
        }
    }
}
