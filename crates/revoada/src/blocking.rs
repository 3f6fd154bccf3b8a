//! Work that blocks: on the runtime's pool of threads, or in place where the runtime has one thread only.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::JoinError;

/// Runs `work` and gives its result. On a single-threaded runtime it runs at once, on this thread: whoever chose one
/// (tests, and simulations, whose runs must repeat byte for byte) wants no other thread to take part.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await
}
