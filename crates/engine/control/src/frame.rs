//! All controllers of one term of leadership.

use std::sync::Arc;

use engenho_apiserver::ApiServer;
use engenho_store::StoreClient;
use revoada_core::env::Clock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::controller::{Controller, Loop};
use crate::controllers::{
    ApiServices, Authentication, Bootstrap, ClusterRoles, Compaction, Definitions, Events, FlowControl, Leases,
    Namespaces, Nodes, Protection, Quotas, RootCa, ServiceAccounts, Tokens,
};
use crate::facts::Members;
use crate::health::{Board, ControllerHealth};

/// What the controllers work with.
#[derive(Clone)]
pub struct ControlDeps {
    /// The API of this member.
    pub api: ApiServer,
    /// The store below it.
    pub store: StoreClient,
    /// The members.
    pub members: Arc<dyn Members>,
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// Certificates that clients of the API have to trust, PEM. They stay the same for the life of a cluster.
    pub root_ca_pem: Arc<str>,
    /// The authority of whoever passes requests on to aggregated API servers, PEM.
    pub front_proxy_ca_pem: Option<Arc<str>>,
    /// The term of this member's leadership: the fence of every write.
    pub term: u64,
}

/// The running controllers of one term. Dropping it stops nothing: that is what the token is for.
pub struct Controllers {
    board: Board,
}

impl Controllers {
    /// Starts all controllers. They end when `stop` is cancelled, at once, or when a newer term shows; what they wrote
    /// in vain until then is refused by the fence. To be called once a term, on the leader.
    pub fn start(deps: ControlDeps, stop: CancellationToken, tasks: &TaskTracker) -> Self {
        let board = Board::new(deps.clock.clone());
        let starter = Starter {
            around: Loop {
                store: deps.store.clone(),
                board: board.clone(),
                term: deps.term,
            },
            stop,
            tasks,
        };
        starter.spawn(Bootstrap::new(&deps));
        starter.spawn(Nodes::new(&deps));
        starter.spawn(Namespaces::new(&deps));
        starter.spawn(ServiceAccounts::new(&deps));
        starter.spawn(Tokens::new(&deps));
        starter.spawn(RootCa::new(&deps));
        starter.spawn(Quotas::new(&deps));
        starter.spawn(Protection::new(&deps));
        starter.spawn(ClusterRoles::new(&deps));
        starter.spawn(Compaction::new(&deps));
        starter.spawn(Definitions::new(&deps));
        starter.spawn(ApiServices::new(&deps));
        starter.spawn(Authentication::new(&deps));
        starter.spawn(FlowControl::new(&deps));
        starter.spawn(Leases::new(&deps));
        starter.spawn(Events::new(&deps));
        Self { board }
    }

    /// How each controller fares, by name.
    pub fn health(&self) -> Vec<ControllerHealth> {
        self.board.rows()
    }
}

struct Starter<'a> {
    around: Loop,
    stop: CancellationToken,
    tasks: &'a TaskTracker,
}

impl Starter<'_> {
    fn spawn<C: Controller>(&self, controller: C) {
        self.around.board.register(C::NAME);
        self.tasks.spawn(self.around.clone().run(controller, self.stop.clone()));
    }
}
