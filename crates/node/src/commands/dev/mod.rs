//! `dev`: a throw-away cluster of local processes of this same executable.

mod follow;
mod place;
mod process;
mod screen;

use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use self::place::{Place, free_ports};
use self::process::{Process, Spawn};
use self::screen::Screen;
use crate::admin::Client;
use crate::admin::api::{FullStatus, TicketRequest};
use crate::cli::DevArgs;
use crate::output::{CommandError, changes, plural};

/// How long the first member may take until it answers.
const FIRST_DEADLINE: Duration = Duration::from_secs(60);
/// How often members are looked at.
const PERIOD: Duration = Duration::from_millis(250);
/// How long a ticket for the other members is valid.
const TICKET_LIFE_S: u64 = 600;
/// How long one member's status is waited for.
const STATUS_DEADLINE: Duration = Duration::from_secs(2);

/// Starts the members, shows what they do, and stops them all on Ctrl-C.
pub async fn dev(args: DevArgs) -> Result<(), CommandError> {
    let mut interrupted = Signals::listen()?;
    let place = Place::open(args.dir.as_deref(), args.keep)?;
    let ports = free_ports(usize::from(args.nodes), args.base_port)?;
    let spawn = Spawn::new(&args)?;
    let members = (1..)
        .zip(&ports)
        .map(|(number, own)| Process::new(&place, &format!("n{number}"), *own, &ports))
        .collect();
    let mut fleet = Fleet {
        members,
        screen: Screen::new(!args.logs),
        last: None,
    };
    fleet.screen.say(&format!(
        "{} in {}",
        plural(usize::from(args.nodes), "member"),
        place.path().display()
    ));
    let result = tokio::select! {
        result = fleet.drive(&spawn, args.logs) => result,
        () = interrupted.recv() => Ok(()),
    };
    fleet.screen.say("stopping all members");
    tokio::select! {
        () = fleet.stop() => {}
        // Asked twice: not even the 10 s are waited for. Dropping the processes kills them.
        () = interrupted.recv() => {}
    }
    drop(fleet);
    place.close();
    result
}

/// The signals that end a development cluster.
struct Signals([tokio::signal::unix::Signal; 3]);

impl Signals {
    fn listen() -> Result<Self, CommandError> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                CommandError::failed(
                    format!("signals cannot be received: {error}"),
                    "check `ulimit -n` and free memory",
                )
            })
        };
        Ok(Self([
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
        ]))
    }

    async fn recv(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

struct Fleet {
    members: Vec<Process>,
    screen: Screen,
    last: Option<FullStatus>,
}

impl Fleet {
    /// Starts everybody and follows them; ends only when nobody is left.
    async fn drive(&mut self, spawn: &Spawn, logs: bool) -> Result<(), CommandError> {
        let _followers: Vec<_> = match logs {
            true => self
                .members
                .iter()
                .map(|member| follow::follow(member.name.clone(), member.log_path()))
                .collect(),
            false => Vec::new(),
        };
        if self.members.iter().any(Process::is_old) {
            // A kept cluster: it may need several of its members before it answers.
            for member in self.members.iter_mut().filter(|member| member.is_old()) {
                member.start(spawn, None)?;
            }
            self.first_answers().await?;
        } else if let Some(first) = self.members.first_mut() {
            first.start(spawn, None)?;
            self.first_answers().await?;
        }
        let fresh = self.members.iter().filter(|member| !member.is_started()).count();
        if fresh > 0 {
            let ticket = self.ticket(fresh as u32).await?;
            for member in self.members.iter_mut().filter(|member| !member.is_started()) {
                member.start(spawn, Some(&ticket))?;
            }
        }
        loop {
            self.look().await;
            if self.members.iter().all(|member| !member.is_alive()) {
                return Err(CommandError::failed(
                    "all members ended",
                    "their logs say why; --keep keeps them",
                ));
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Waits until a member answers, or none can any more.
    async fn first_answers(&mut self) -> Result<(), CommandError> {
        let deadline = Instant::now() + FIRST_DEADLINE;
        loop {
            self.look().await;
            if self.members.iter().any(Process::is_ready) {
                return Ok(());
            }
            let started = || self.members.iter().filter(|member| member.is_started());
            if started().all(|member| !member.is_alive()) {
                return Err(CommandError::failed(
                    "the first member ended before it answered",
                    "the end of its log above says why; see `engenho doctor` too",
                ));
            }
            if Instant::now() > deadline {
                return Err(CommandError::failed(
                    format!("no member answered within {} s", FIRST_DEADLINE.as_secs()),
                    "see the members' logs with --logs, and `engenho doctor`",
                ));
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    async fn ticket(&self, uses: u32) -> Result<String, CommandError> {
        let ready = self.members.iter().find(|member| member.is_ready());
        let Some(member) = ready else {
            return Err(CommandError::failed(
                "no member can make a ticket",
                "see the members' logs with --logs",
            ));
        };
        let request = TicketRequest {
            expires_s: TICKET_LIFE_S,
            uses,
            witness: false,
        };
        Ok(Client::new(&member.dir).ticket(&request).await?.ticket)
    }

    /// Notices who became ready, who died, and what changed in the cluster.
    async fn look(&mut self) {
        for member in &mut self.members {
            if let Some(epitaph) = member.check_exit() {
                self.screen.say(&epitaph);
            }
        }
        let statuses = self.members.iter().filter(|member| member.is_alive()).map(|member| {
            let (name, client) = (member.name.clone(), Client::new(&member.dir));
            async move {
                let status = tokio::time::timeout(STATUS_DEADLINE, client.status()).await;
                (name, status.ok().and_then(Result::ok))
            }
        });
        let statuses = futures_util::future::join_all(statuses).await;
        for (name, status) in &statuses {
            let Some(member) = self.members.iter_mut().find(|member| member.name == *name) else {
                continue;
            };
            let answers = status.as_ref().is_some_and(|status| {
                status
                    .cluster
                    .members
                    .iter()
                    .any(|other| other.is_self && other.api_ready)
            });
            if answers && let Some(line) = member.became_ready() {
                self.screen.pin(&line);
            }
        }
        // Whoever knows a leader knows more than who does not.
        let mut seen: Vec<FullStatus> = statuses.into_iter().filter_map(|(_, status)| status).collect();
        seen.sort_by_key(|status| (!status.cluster.quorum, status.cluster.leader.is_none()));
        let Some(status) = seen.into_iter().next() else { return };
        if let Some(last) = &self.last {
            for line in changes(last, &status) {
                self.screen.say(&line);
            }
        }
        self.screen.show(&status);
        self.last = Some(status);
    }

    async fn stop(&mut self) {
        for member in &self.members {
            member.terminate();
        }
        futures_util::future::join_all(self.members.iter_mut().map(Process::reap)).await;
    }
}
