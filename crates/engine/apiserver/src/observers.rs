//! What looks on: figures and the audit log, which outlive a replica's server and are the door's as well.

use std::sync::Arc;

use crate::audit::AuditLog;
use crate::metrics::DoorMetrics;

/// What looks on at one member. Cheap to clone.
#[derive(Clone, Default)]
pub struct Observers {
    /// What the door counts.
    pub door: Arc<DoorMetrics>,
    /// The audit log, if requests are audited.
    pub audit: Option<Arc<AuditLog>>,
}
