//! The greeting on the first stream of a connection: both sides say who they are and judge the other.

use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream, VarInt};
use revoada_core::MemberId;
use tracing::debug;

use crate::error::{CLOCK_SKEW_MS_MAX, MeshError, Refusal};
use crate::trust::{Standing, Trust};
use crate::wire::{FrameError, Hello, Verdict, decode_hello, decode_verdict, read_frame, write_frame};

/// How long the side that spoke last waits for the other to have read it.
const PARTING: Duration = Duration::from_millis(500);

/// Which side dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Dialler,
    Acceptor,
}

/// What this side says to the peer's hello.
pub(crate) fn judge(peer: MemberId, standing: Standing, ours: &Hello, theirs: &Hello) -> Result<(), MeshError> {
    if theirs.cluster != ours.cluster {
        return Err(MeshError::WrongCluster {
            peer,
            ours: ours.cluster,
            theirs: theirs.cluster,
        });
    }
    if ours.unix_ms.abs_diff(theirs.unix_ms) > CLOCK_SKEW_MS_MAX {
        let skew_ms = i64::try_from(i128::from(theirs.unix_ms) - i128::from(ours.unix_ms)).unwrap_or(i64::MAX);
        return Err(MeshError::ClockSkew {
            peer,
            skew_ms,
            ours_unix_ms: ours.unix_ms,
            theirs_unix_ms: theirs.unix_ms,
        });
    }
    if theirs.epoch != ours.epoch || standing == Standing::Fenced {
        return Err(MeshError::Fenced {
            peer,
            ours: ours.epoch,
            theirs: theirs.epoch,
        });
    }
    Ok(())
}

/// The words for the other side, which sees the two clocks and epochs the other way round.
fn words(error: &MeshError) -> String {
    match error {
        MeshError::ClockSkew {
            skew_ms,
            ours_unix_ms,
            theirs_unix_ms,
            ..
        } => {
            format!(
                "clock skew of {} s: your clock says {theirs_unix_ms} ms, mine {ours_unix_ms} ms",
                skew_ms.unsigned_abs() / 1000
            )
        }
        MeshError::Fenced { ours, theirs, .. } => format!("the cluster is at epoch {ours}, you are at {theirs}"),
        MeshError::WrongCluster { ours, theirs, .. } => format!("I belong to cluster {ours}, you to {theirs}"),
        other => other.to_string(),
    }
}

/// Exchanges hellos and verdicts. On failure the connection is closed with the reason.
pub(crate) async fn greet(
    side: Side,
    connection: &Connection,
    peer: MemberId,
    ours: &Hello,
    trust: &dyn Trust,
) -> Result<Hello, MeshError> {
    let result = exchange(side, connection, peer, ours, trust).await;
    if let Err(error) = &result {
        if side == Side::Dialler {
            // The acceptor hears the verdict before it sees the end.
            let _ = tokio::time::timeout(PARTING, connection.closed()).await;
        }
        let refusal = error.refusal().unwrap_or(Refusal::Protocol);
        connection.close(VarInt::from_u32(refusal.code()), words(error).as_bytes());
    }
    result
}

async fn exchange(
    side: Side,
    connection: &Connection,
    peer: MemberId,
    ours: &Hello,
    trust: &dyn Trust,
) -> Result<Hello, MeshError> {
    let failed = |error: FrameError| frame_error(peer, connection, error);
    let standing = trust.standing(peer);
    let judgement = |theirs: &Hello| {
        let result = judge(peer, standing, ours, theirs);
        let verdict = match &result {
            Ok(()) => Verdict::Accept,
            Err(error) => {
                let proves = matches!(error, MeshError::Fenced { .. }) && ours.epoch >= theirs.epoch;
                let evidence = if proves { trust.evidence() } else { Bytes::new() };
                Verdict::refuse(
                    error.refusal().unwrap_or(Refusal::Protocol).code(),
                    words(error),
                    evidence,
                )
            }
        };
        (result, verdict)
    };
    let (theirs, judged, heard) = match side {
        Side::Dialler => {
            let (mut send, mut recv) = open(connection, peer).await?;
            write_frame(&mut send, ours).await.map_err(failed)?;
            let theirs = decode_hello(&read_frame(&mut recv).await.map_err(failed)?).map_err(failed)?;
            let heard = decode_verdict(&read_frame(&mut recv).await.map_err(failed)?).map_err(failed)?;
            let (judged, verdict) = judgement(&theirs);
            write_frame(&mut send, &verdict).await.map_err(failed)?;
            let _ = send.finish();
            (theirs, judged, heard)
        }
        Side::Acceptor => {
            let (mut send, mut recv) = connection
                .accept_bi()
                .await
                .map_err(|error| super::dial::connection_error(peer, None, &error))?;
            let theirs = decode_hello(&read_frame(&mut recv).await.map_err(failed)?).map_err(failed)?;
            let (judged, verdict) = judgement(&theirs);
            write_frame(&mut send, ours).await.map_err(failed)?;
            write_frame(&mut send, &verdict).await.map_err(failed)?;
            let _ = send.finish();
            let heard = decode_verdict(&read_frame(&mut recv).await.map_err(failed)?).map_err(failed)?;
            (theirs, judged, heard)
        }
    };
    if let Verdict::Refuse { code, evidence, .. } = &heard
        && Refusal::from_code(u64::from(*code)) == Some(Refusal::Fenced)
        && !evidence.is_empty()
        && theirs.cluster == ours.cluster
        && theirs.epoch >= ours.epoch
    {
        debug!(peer = %peer.short(), epoch = theirs.epoch, "proof of a higher epoch");
        trust.on_evidence(peer, theirs.epoch, evidence.clone());
    }
    // This side's own finding says more than the peer's words.
    judged?;
    match heard {
        Verdict::Accept => Ok(theirs),
        Verdict::Refuse { code, reason, .. } => match Refusal::from_code(u64::from(code)) {
            Some(Refusal::Fenced) => Err(MeshError::Fenced {
                peer,
                ours: ours.epoch,
                theirs: theirs.epoch,
            }),
            Some(refusal) => Err(MeshError::Refused { peer, refusal, reason }),
            None => Err(MeshError::Protocol {
                peer,
                detail: format!("refused with code {code}: {reason}"),
            }),
        },
    }
}

async fn open(connection: &Connection, peer: MemberId) -> Result<(SendStream, RecvStream), MeshError> {
    connection
        .open_bi()
        .await
        .map_err(|error| super::dial::connection_error(peer, None, &error))
}

/// A stream that broke because the peer closed the connection tells the peer's reason.
fn frame_error(peer: MemberId, connection: &Connection, error: FrameError) -> MeshError {
    match (&error, connection.close_reason()) {
        (FrameError::Io(_), Some(reason)) => super::dial::connection_error(peer, None, &reason),
        (FrameError::Io(_), None) => MeshError::Lost {
            peer,
            cause: error.to_string(),
        },
        (FrameError::Version { .. }, _) => MeshError::Version {
            address: connection.remote_address(),
            detail: error.to_string(),
        },
        _ => MeshError::Protocol {
            peer,
            detail: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use revoada_core::ClusterId;

    const PEER: MemberId = MemberId([1; 32]);

    fn hello(cluster: u8, epoch: u64, unix_ms: u64) -> Hello {
        Hello {
            cluster: ClusterId([cluster; 32]),
            epoch,
            boot: 1,
            unix_ms,
            name: "n".into(),
            software: "v".into(),
            addresses: vec![],
        }
    }

    #[test]
    fn judges_cluster_then_clock_then_epoch() {
        let ours = hello(1, 2, 10_000_000);
        let say = |theirs| judge(PEER, Standing::Admitted, &ours, &theirs).map_err(|error| error.refusal());
        assert_eq!(say(hello(1, 2, 10_000_000 + CLOCK_SKEW_MS_MAX)), Ok(()));
        assert_eq!(say(hello(2, 1, 0)), Err(Some(Refusal::WrongCluster)));
        assert_eq!(say(hello(1, 1, u64::MAX)), Err(Some(Refusal::ClockSkew)));
        assert_eq!(say(hello(1, 1, 10_000_000)), Err(Some(Refusal::Fenced)));
        let fenced = judge(PEER, Standing::Fenced, &ours, &hello(1, 2, 10_000_000));
        assert_eq!(fenced.unwrap_err().refusal(), Some(Refusal::Fenced));
    }

    #[test]
    fn skew_is_named_to_both_sides() {
        let hour = 3_600_000;
        let error = judge(PEER, Standing::Admitted, &hello(1, 1, hour), &hello(1, 1, 2 * hour)).unwrap_err();
        assert!(error.to_string().contains("3600 s ahead of this member's"), "{error}");
        assert_eq!(
            words(&error),
            "clock skew of 3600 s: your clock says 7200000 ms, mine 3600000 ms"
        );
    }
}
