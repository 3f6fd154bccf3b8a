//! What a member shows of itself: written down whenever it changes, and at the end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engenho_node::run::api::{Gate, Stores};
use engenho_node::run::certificates::Certificates;
use revoada::{Known, Member};
use revoada_core::view::RaftView;
use sim_check::record::{Certificate, Final, Leading, Picture, RaftNote};
use tokio_util::sync::CancellationToken;

use super::host::{Cell, View};
use super::recorder::Recorder;

/// Writes down what the member shows, whenever it changes.
pub async fn follow(cell: Arc<Cell>, recorder: Recorder, member: Member, gate: Arc<Gate>, stop: CancellationToken) {
    let mut known = member.watch_known();
    let mut leadership = member.watch_leadership();
    let mut last_raft = None;
    let mut last_role = None;
    let mut shown = None;
    let mut led = None;
    loop {
        let picture = known.borrow_and_update().clone();
        let changed = shown != Some(picture.version());
        shown = Some(picture.version());
        let raft = member.raft_state();
        let incarnation = cell.incarnations.load(Ordering::Relaxed);
        if changed {
            let at = recorder.stamp();
            recorder.add(|record| {
                record.pictures.push(Picture {
                    at,
                    machine: cell.number,
                    replica: raft.is_some(),
                    state: picture.shared_state(),
                    raft: picture.config().clone(),
                });
            });
        }
        let role = picture.role(&member.id());
        if role != last_role {
            let at = recorder.stamp();
            recorder.trace(at, format_args!("m{} is {role:?}", cell.number));
            last_role = role;
        }
        if let Some(raft) = raft {
            let note = (incarnation, raft.epoch, raft.term, raft.leads);
            if last_raft != Some(note) {
                let at = recorder.stamp();
                recorder.trace(
                    at,
                    format_args!(
                        "m{} term {}{}",
                        cell.number,
                        raft.term,
                        if raft.leads { ", leads" } else { "" }
                    ),
                );
                recorder.add(|record| {
                    record.raft.push(RaftNote {
                        at,
                        machine: cell.number,
                        incarnation,
                        epoch: raft.epoch,
                        term: raft.term,
                        leads: raft.leads,
                    });
                });
                last_raft = Some(note);
            }
        }
        let leads = *leadership.borrow_and_update();
        if leads != led {
            if let (Some(term), Some(raft)) = (leads, raft) {
                let at = recorder.stamp();
                recorder.add(|record| {
                    record.leading.push(Leading {
                        at,
                        machine: cell.number,
                        member: member.id(),
                        epoch: raft.epoch,
                        term,
                        applied: raft.applied,
                    });
                });
            }
            led = leads;
        }
        {
            let mut view = cell.view.lock();
            let chain = picture.chain();
            *view = View {
                member: Some(member.id()),
                role,
                leads,
                applied: raft.map(|raft| raft.applied),
                epoch: picture.version().epoch,
                in_transition: picture.state().in_flight().map(|transition| transition.spec.member),
                roles: picture
                    .members()
                    .into_iter()
                    .filter_map(|id| Some((id, picture.role(&id)?)))
                    .collect(),
                halted: None,
                api: gate.is_open(),
                whole: is_whole(&picture),
                chain: (chain.height(), picture.state().seals().len() as u64),
                ended: false,
            };
        }
        tokio::select! {
            _ = known.changed() => {}
            _ = leadership.changed() => {}
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Writes down which certificates the member's endpoint shows.
pub async fn certificates(machine: u16, recorder: Recorder, certificates: Arc<Certificates>, stop: CancellationToken) {
    let mut shown = None;
    loop {
        let until = certificates.serving_until_ms();
        if until != shown
            && let Some(until) = until
        {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let left_ms = until.saturating_sub(now.as_millis() as u64);
            let at = recorder.stamp();
            let until_ms = recorder.now_ms() + left_ms;
            recorder.trace(at, format_args!("m{machine} shows a certificate until {until_ms}"));
            recorder.add(|record| record.certificates.push(Certificate { at, machine, until_ms }));
        }
        shown = until;
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Whether the shape that is wanted is there and nothing is under way.
fn is_whole(picture: &Known) -> bool {
    let target = picture.state().formation().resolve(picture.eligible());
    let raft: &RaftView = picture.config();
    picture.state().in_flight().is_none()
        && raft.voters.len() == target.votes()
        && raft.learners.len() == target.standbys
}

/// How everything stands now.
pub async fn report(cell: &Cell, member: &Member, stores: &Stores, gate: &Gate) -> Final {
    let mut raft = member.raft_state();
    let mut picture = member.known();
    // Read at one moment: nothing is applied between these lines.
    let store = stores.current().filter(|_| raft.is_some());
    let mut store = store.map(|store| (store.hash_kv().hash, cell.applied.load(Ordering::Relaxed)));
    let read = member.consensus();
    let mut api = raft.is_some() && {
        use revoada_core::consensus::Consensus;
        read.read_index(Duration::from_secs(3)).await.is_ok()
    };
    // Without a replica, or when it was taken away meanwhile, others are asked.
    if !api && member.raft_state().is_none() {
        (raft, store, picture) = (None, None, member.known());
        api = gate.is_open();
    }
    Final {
        machine: cell.number,
        member: Some(member.id()),
        running: true,
        halted: member.watch_halted().borrow().clone(),
        applied: raft.map(|raft| raft.applied),
        store,
        epoch: picture.version().epoch,
        state: Some(picture.shared_state()),
        raft: Some(picture.config().clone()),
        api,
    }
}
