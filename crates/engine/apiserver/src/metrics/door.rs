//! What the door counts: handshakes and who comes in. Members without a replica have it as well.

use std::time::Duration;

use prometheus::proto::MetricFamily;
use prometheus::{HistogramVec, IntCounter, IntCounterVec, Registry};

use super::{Making, doubling};

/// The door's counters.
pub struct DoorMetrics {
    registry: Registry,
    handshake_errors: IntCounter,
    attempts: IntCounterVec,
    durations: HistogramVec,
    users: IntCounterVec,
}

impl Default for DoorMetrics {
    fn default() -> Self {
        let making = Making(Registry::new());
        Self {
            handshake_errors: making.counter(
                "apiserver_tls_handshake_errors_total",
                "Connections whose TLS handshake failed",
            ),
            attempts: making.counters(
                "authentication_attempts",
                "Attempts to authenticate by result",
                &["result"],
            ),
            durations: making.histograms(
                "authentication_duration_seconds",
                "Time to authenticate by result",
                &["result"],
                &doubling(0.001, 15),
            ),
            users: making.counters(
                "authenticated_user_requests",
                "Requests of authenticated users, with the names of the system's own only",
                &["username"],
            ),
            registry: making.0,
        }
    }
}

/// How an attempt to authenticate ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempted<'a> {
    /// As this user.
    Success(&'a str),
    /// There were no credentials.
    Failure,
    /// They were wrong.
    Error,
}

impl DoorMetrics {
    /// Counts a handshake that failed.
    pub(crate) fn handshake_failed(&self) {
        self.handshake_errors.inc();
    }

    /// Counts an attempt to authenticate.
    pub(crate) fn attempted(&self, attempted: Attempted<'_>, took: Duration) {
        let result = match attempted {
            Attempted::Success(user) => {
                self.users.with_label_values(&[user_label(user)]).inc();
                "success"
            }
            Attempted::Failure => "failure",
            Attempted::Error => "error",
        };
        self.attempts.with_label_values(&[result]).inc();
        self.durations.with_label_values(&[result]).observe(took.as_secs_f64());
    }

    pub(crate) fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }
}

/// There are as many names as there are users: only those of the system are told apart.
fn user_label(user: &str) -> &str {
    match user {
        "admin" | "client" | "kube_proxy" | "kubelet" | "system:serviceaccount:kube-system:default" => user,
        user if user.contains('@') => "email_id",
        _ => "other",
    }
}
