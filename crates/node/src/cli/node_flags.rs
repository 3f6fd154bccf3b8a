//! Flags of a running member, and the settings they make.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::values::{self, Cidr, MetricsAddress, Seconds};
use crate::output::CommandError;
use crate::run::config::{AuthenticationFiles, Mode, RunConfig, Runtime, Taint};

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// What is logged and how.
#[derive(Debug, Clone, Args)]
pub struct LogFlags {
    /// Form of the log on standard error
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub log: LogFormat,

    /// What is logged: a level for engenho's own messages, or a filter as `info,revoada=debug`
    /// (also taken from ENGENHO_LOG)
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub log_level: String,
}

/// Flags of `up` and `join`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Member")]
pub struct NodeFlags {
    /// Name of this member and of its Node, a DNS label [default: the host's name]
    #[arg(long, value_name = "NAME", value_parser = values::member_name)]
    pub name: Option<String>,

    /// Address of the Kubernetes API (TCP)
    #[arg(long, value_name = "ADDR:PORT", value_parser = values::socket_address, default_value = "0.0.0.0:6443")]
    pub api: SocketAddr,

    /// Address of the mesh between members (UDP)
    #[arg(long, value_name = "ADDR:PORT", value_parser = values::socket_address, default_value = "0.0.0.0:7443")]
    pub mesh: SocketAddr,

    /// Address or host name at which others reach this member; repeatable [default: found out]
    #[arg(long, value_name = "ADDR", value_parser = values::host, value_delimiter = ',')]
    pub advertise: Vec<String>,

    /// Mesh address of another member to try besides those remembered; repeatable
    #[arg(long, value_name = "ADDR:PORT", value_parser = values::socket_address, value_delimiter = ',')]
    pub peer: Vec<SocketAddr>,

    /// Neither send nor hear multicast beacons, by which members find each other after all addresses changed
    #[arg(long)]
    pub no_discovery: bool,

    /// Failure domain over which replicas are spread
    #[arg(long, value_name = "NAME", value_parser = values::zone, default_value = "", hide_default_value = true)]
    pub zone: String,

    /// Label of the Node; repeatable
    #[arg(long, value_name = "K=V", value_parser = values::label, value_delimiter = ',')]
    pub label: Vec<(String, String)>,

    /// Taint of the Node; repeatable
    #[arg(long, value_name = "K=V:EFFECT", value_parser = values::taint, value_delimiter = ',')]
    pub taint: Vec<Taint>,

    /// How pods run here; this version has `none`
    #[arg(long, value_name = "RUNTIME", value_parser = values::runtime, default_value = "none")]
    pub runtime: Runtime,

    /// Range of pod addresses; only the founder's counts
    #[arg(long, value_name = "CIDR", value_parser = values::pod_cidr, default_value = "10.244.0.0/16")]
    pub pod_cidr: Cidr,

    /// Range of service addresses; only the founder's counts
    #[arg(long, value_name = "CIDR", value_parser = values::service_cidr, default_value = "10.96.0.0/12")]
    pub service_cidr: Cidr,

    /// File of static bearer tokens, one `token,user,uid,"group,..."` a line
    #[arg(long, value_name = "FILE")]
    pub token_auth_file: Option<PathBuf>,

    /// AuthenticationConfiguration (apiserver.config.k8s.io/v1): identity providers, and where the anonymous may go;
    /// give all members the same
    #[arg(long, value_name = "FILE")]
    pub authentication_config: Option<PathBuf>,

    /// Kubeconfig of a webhook that judges bearer tokens; give all members the same
    #[arg(long, value_name = "FILE")]
    pub authentication_token_webhook_config_file: Option<PathBuf>,

    /// Version of the TokenReviews that the webhook is sent
    #[arg(long, value_name = "VERSION", value_parser = ["v1", "v1beta1"], default_value = "v1beta1")]
    pub authentication_token_webhook_version: String,

    /// AuthorizationConfiguration (apiserver.config.k8s.io/v1): which authorizers decide, in which order; read again when
    /// it changes; give all members the same [default: Node, then RBAC]
    #[arg(long, value_name = "FILE")]
    pub authorization_config: Option<PathBuf>,

    /// Authorities (PEM) of proxies that name users in `X-Remote-User`, `-Group`, `-Uid` and `-Extra-` headers
    #[arg(long, value_name = "FILE")]
    pub requestheader_client_ca_file: Option<PathBuf>,

    /// Common name of such a proxy's certificate; repeatable [default: any]
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        requires = "requestheader_client_ca_file"
    )]
    pub requestheader_allowed_names: Vec<String>,

    /// Audit policy (audit.k8s.io/v1); requests that it names are recorded in DATA_DIR/audit [default: none are]
    #[arg(long, value_name = "FILE")]
    pub audit_policy: Option<PathBuf>,

    /// Address of Prometheus metrics, or `off`
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7445")]
    pub metrics: MetricsAddress,

    /// Lifetime of certificates; they are renewed at two thirds of it
    #[arg(long, value_name = "DURATION", value_parser = values::certificate_lifetime, default_value = "30d")]
    pub certificate_lifetime: Seconds,

    #[command(flatten)]
    pub log: LogFlags,

    /// Stop when standard input ends: how `engenho dev` makes sure that no member outlives it
    #[arg(long, hide = true)]
    pub stop_with_stdin: bool,
}

impl NodeFlags {
    /// The settings, once what spans several flags is checked too.
    pub fn into_config(self, mode: Mode, data_dir: &Path) -> Result<RunConfig, CommandError> {
        if self.pod_cidr.overlaps(&self.service_cidr) {
            return Err(CommandError::usage(
                format!(
                    "--pod-cidr {} and --service-cidr {} overlap",
                    self.pod_cidr, self.service_cidr
                ),
                "give two ranges that share no address",
            ));
        }
        let clash = match self.metrics.0 {
            Some(metrics) if metrics.port() != 0 => metrics.port() == self.api.port() && overlap(metrics, self.api),
            _ => false,
        };
        if clash {
            return Err(CommandError::usage(
                format!("--metrics and --api both want port {}", self.api.port()),
                "give them different ports, or turn metrics off with --metrics off",
            ));
        }
        let (name, name_is_explicit) = match self.name {
            Some(name) => (name, true),
            None => (hostname_label(), false),
        };
        Ok(RunConfig {
            mode,
            data_dir: data_dir.to_path_buf(),
            name,
            name_is_explicit,
            api: self.api,
            mesh: self.mesh,
            advertise: self.advertise,
            peers: self.peer,
            discovery: !self.no_discovery,
            zone: self.zone,
            labels: self.label,
            taints: self.taint,
            runtime: self.runtime,
            pod_cidr: self.pod_cidr.to_string(),
            service_cidr: self.service_cidr.to_string(),
            authentication: AuthenticationFiles {
                tokens: self.token_auth_file,
                config: self.authentication_config,
                webhook: self.authentication_token_webhook_config_file,
                webhook_version: self.authentication_token_webhook_version,
                front_proxy_ca: self.requestheader_client_ca_file,
                front_proxy_names: self.requestheader_allowed_names,
            },
            audit_policy: self.audit_policy,
            authorization: self.authorization_config,
            metrics: self.metrics.0,
            certificate_lifetime_s: self.certificate_lifetime.0,
        })
    }
}

/// Whether two listeners with the same port get in each other's way.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified()
}

/// This host's name as a member name.
pub fn hostname_label() -> String {
    let name = hostname::get().unwrap_or_default();
    values::name_of_host(&name.to_string_lossy())
}
