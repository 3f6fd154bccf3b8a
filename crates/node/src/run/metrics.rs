//! Figures of this member in Prometheus text.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use revoada::Member;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::api::Stores;
use super::certificates::Certificates;

/// Binds the listener.
pub async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("the metrics listener cannot have TCP {address}: choose another with --metrics, or --metrics off")
    })
}

/// Answers every request with the figures until `stop`.
pub async fn serve(
    listener: TcpListener,
    member: Member,
    stores: Arc<Stores>,
    certificates: Arc<Certificates>,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let Ok((mut stream, _)) = accepted else {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let text = render(&member, &stores, &certificates);
        // One at a time and bounded: a scraper that stalls does not keep the next one waiting for long.
        let exchange = async {
            let mut request = [0; 2048];
            let _ = stream.read(&mut request).await?;
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                text.len()
            );
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(text.as_bytes()).await?;
            stream.shutdown().await
        };
        let _ = tokio::time::timeout(std::time::Duration::from_secs(2), exchange).await;
    }
}

fn gauge(out: &mut String, name: &str, help: &str, value: impl std::fmt::Display) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
}

fn counter(out: &mut String, name: &str, help: &str, value: impl std::fmt::Display) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
}

fn render(member: &Member, stores: &Stores, certificates: &Certificates) -> String {
    let mut out = String::new();
    let status = member.status();
    gauge(&mut out, "engenho_raft_term", "Raft term as far as known.", status.term);
    gauge(
        &mut out,
        "engenho_raft_quorum",
        "Whether writes can be committed.",
        u8::from(status.quorum),
    );
    let leads = status.leader == Some(member.id());
    gauge(
        &mut out,
        "engenho_raft_leader",
        "Whether this member leads.",
        u8::from(leads),
    );
    if let Some(figures) = member.raft_figures() {
        gauge(
            &mut out,
            "engenho_raft_last_log_index",
            "Index of the last log entry.",
            figures.last_log_index,
        );
        gauge(
            &mut out,
            "engenho_raft_applied_index",
            "Index of the last applied entry.",
            figures.applied_index,
        );
        counter(
            &mut out,
            "engenho_raft_log_entries_total",
            "Entries appended to the log since start.",
            figures.log.entries_appended,
        );
        counter(
            &mut out,
            "engenho_raft_log_fsyncs_total",
            "Syncs of the log since start.",
            figures.log.fsyncs,
        );
        counter(
            &mut out,
            "engenho_raft_log_bytes_total",
            "Bytes written to the log since start.",
            figures.log.bytes_written,
        );
        gauge(
            &mut out,
            "engenho_raft_log_segments",
            "Files of the log.",
            figures.log.segments,
        );
    }
    let peers = member.mesh().peers();
    gauge(&mut out, "engenho_mesh_peers", "Admitted peers.", peers.len());
    gauge(
        &mut out,
        "engenho_mesh_peers_connected",
        "Peers with a connection.",
        peers.iter().filter(|peer| peer.connected).count(),
    );
    let _ = writeln!(
        out,
        "# HELP engenho_mesh_rtt_milliseconds Smoothed round-trip time.\n# TYPE engenho_mesh_rtt_milliseconds gauge"
    );
    for peer in &peers {
        if let Some(rtt_ms) = peer.rtt_ms {
            let _ = writeln!(
                out,
                "engenho_mesh_rtt_milliseconds{{peer=\"{}\"}} {rtt_ms}",
                peer.id.short()
            );
        }
    }
    gauge(
        &mut out,
        "engenho_transition_in_flight",
        "Role changes in flight.",
        status.transitions.len(),
    );
    gauge(
        &mut out,
        "engenho_transition_blocks",
        "Height of the chain.",
        status.chain.height,
    );
    gauge(
        &mut out,
        "engenho_transition_blocks_sealed",
        "Blocks that are sealed.",
        status.chain.sealed,
    );
    if let Some(until_ms) = certificates.serving_until_ms() {
        gauge(
            &mut out,
            "engenho_api_certificate_end_seconds",
            "When the certificate that the API shows ends, seconds since the Unix epoch.",
            until_ms / 1_000,
        );
    }
    if let Some(store) = stores.current() {
        let stats = store.stats();
        gauge(
            &mut out,
            "engenho_store_revision",
            "Revision of the store.",
            stats.revision,
        );
        gauge(&mut out, "engenho_store_keys", "Live keys.", stats.keys);
        gauge(
            &mut out,
            "engenho_store_bytes",
            "Bytes of live keys and values.",
            stats.bytes,
        );
    }
    out
}
