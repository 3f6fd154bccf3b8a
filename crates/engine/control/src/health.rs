//! How the controllers fare, for status and metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use revoada_core::env::Clock;

/// How one controller fares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ControllerHealth {
    /// Its name.
    pub name: &'static str,
    /// Its newest failure in this term of leadership, which may be mended by now.
    pub last_error: Option<LastError>,
    /// When it last did all it had to, milliseconds since the Unix epoch.
    pub last_success_unix_ms: Option<u64>,
    /// How often it failed since it last succeeded.
    pub failures_in_row: u32,
}

/// A failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    /// When, milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// What happened, for people.
    pub text: String,
}

/// Where the controllers write down how they fare. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Board {
    clock: Arc<dyn Clock>,
    rows: Arc<Mutex<BTreeMap<&'static str, ControllerHealth>>>,
}

impl Board {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            rows: Arc::default(),
        }
    }

    pub fn register(&self, name: &'static str) {
        self.row(name, |_| {});
    }

    pub fn succeeded(&self, name: &'static str) {
        let now = self.clock.unix_ms();
        self.row(name, |row| {
            row.last_success_unix_ms = Some(now);
            row.failures_in_row = 0;
        });
    }

    pub fn failed(&self, name: &'static str, text: String) {
        let at_unix_ms = self.clock.unix_ms();
        self.row(name, |row| {
            row.last_error = Some(LastError { at_unix_ms, text });
            row.failures_in_row = row.failures_in_row.saturating_add(1);
        });
    }

    pub fn rows(&self) -> Vec<ControllerHealth> {
        self.rows.lock().values().cloned().collect()
    }

    fn row(&self, name: &'static str, change: impl FnOnce(&mut ControllerHealth)) {
        let mut rows = self.rows.lock();
        change(rows.entry(name).or_insert_with(|| ControllerHealth {
            name,
            ..ControllerHealth::default()
        }));
    }
}
