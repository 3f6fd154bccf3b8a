//! `/healthz`, `/livez`, `/readyz`: what is true of this server, check by check.

use http::{Response, StatusCode};

use crate::body::Body;
use crate::pipeline::text;
use crate::query::Query;
use crate::server::Inner;

/// One check: its name, and what is wrong.
type Check = (&'static str, Result<(), String>);

/// Answers a health path; `None` if there is no such check.
pub(crate) fn handle(server: &Inner, path: &str, query: &Query) -> Option<Response<Body>> {
    let mut segments = path.trim_start_matches('/').splitn(2, '/');
    let kind = segments.next().unwrap_or_default();
    let checks = checks(server, kind)?;
    match segments.next().filter(|rest| !rest.is_empty()) {
        None => Some(all(kind, &checks, query)),
        Some(name) => {
            let (_, result) = checks.iter().find(|(have, _)| *have == name)?;
            Some(match result {
                Ok(()) => text(StatusCode::OK, "ok"),
                Err(reason) => text(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    format!("internal server error: {reason}\n"),
                ),
            })
        }
    }
}

fn checks(server: &Inner, kind: &str) -> Option<Vec<Check>> {
    let ping: Check = ("ping", Ok(()));
    let log: Check = ("log", Ok(()));
    let status = server.storage.client().consensus.status();
    let quorum = || {
        if status.quorum {
            Ok(())
        } else {
            let names: Vec<String> = status.missing.iter().map(|id| (server.deps.member_name)(id)).collect();
            Err(format!(
                "no quorum; missing voters: {}",
                if names.is_empty() {
                    "unknown".into()
                } else {
                    names.join(", ")
                }
            ))
        }
    };
    // A replica that lost its peers is alive: it serves stale reads, and restarting it would not help.
    match kind {
        "healthz" => Some(vec![ping, log, ("etcd", quorum())]),
        "livez" => Some(vec![ping, log, ("etcd", Ok(()))]),
        "readyz" => {
            let has_state = server.storage.client().store.revision() > 0;
            let synced = if has_state {
                Ok(())
            } else {
                Err("the store has no state yet".to_owned())
            };
            let draining = server.drain.is_cancelled();
            let shutdown = if draining {
                Err("the server is shutting down".to_owned())
            } else {
                Ok(())
            };
            Some(vec![
                ping,
                log,
                ("etcd-readiness", quorum()),
                ("informer-sync", synced),
                ("shutdown", shutdown),
            ])
        }
        _ => None,
    }
}

fn all(kind: &str, checks: &[Check], query: &Query) -> Response<Body> {
    let excluded: Vec<&str> = query.all("exclude").collect();
    let mut lines = String::new();
    let mut failed = false;
    for (name, result) in checks {
        if excluded.contains(name) {
            lines.push_str(&format!("[+]{name} excluded: ok\n"));
            continue;
        }
        match result {
            Ok(()) => lines.push_str(&format!("[+]{name} ok\n")),
            Err(reason) => {
                failed = true;
                lines.push_str(&format!("[-]{name} failed: {reason}\n"));
            }
        }
    }
    let unknown: Vec<String> = excluded
        .iter()
        .filter(|e| !checks.iter().any(|(name, _)| name == *e))
        .map(|e| format!("{e:?}"))
        .collect();
    if !unknown.is_empty() {
        lines.push_str(&format!(
            "warn: some health checks cannot be excluded: no matches for {}\n",
            unknown.join(", ")
        ));
    }
    if failed {
        lines.push_str(&format!("{kind} check failed\n"));
        return text(StatusCode::INTERNAL_SERVER_ERROR, lines);
    }
    if query.find("verbose").is_some() {
        lines.push_str(&format!("{kind} check passed\n"));
        return text(StatusCode::OK, lines);
    }
    text(StatusCode::OK, "ok")
}
