//! The command line: commands, flags, and where a flag's value comes from.
//!
//! A value is looked for on the command line, then in the environment (`ENGENHO_` and the flag's name), then in the
//! settings file, then in the defaults.

mod node_flags;
mod parse;
mod settings;
pub mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub use node_flags::{LogFlags, LogFormat, NodeFlags, hostname_label};
pub use parse::{Stop, command, parse};
use values::{Seconds, Wanted};

/// Makes any set of machines a Kubernetes cluster.
#[derive(Debug, Parser)]
#[command(
    name = "engenho",
    version,
    about = "Makes any set of machines a Kubernetes cluster",
    disable_help_subcommand = true,
    after_help = "Examples:\n  \
        engenho up                          start the first member here\n  \
        engenho ticket                      print what another machine needs to join\n  \
        engenho join engenho1...            on that machine\n  \
        engenho status                      who is there, in which role\n  \
        engenho dev                         a throw-away cluster of three local processes\n\n\
        Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no quorum, 4 refused.\n\
        Every flag can be set as ENGENHO_FLAG_NAME in the environment or as `flag-name = ...` in a TOML file (--config)."
)]
pub struct Cli {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Directory with this member's key, log and state
    #[arg(long, global = true, value_name = "DIR", default_value_os_t = default_data_dir())]
    pub data_dir: PathBuf,

    /// TOML file that sets flags
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Form of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    #[value(alias = "text")]
    Table,
    /// For people with wide terminals
    Wide,
    /// For programs
    Json,
}

/// `-o`.
#[derive(Debug, Clone, Args)]
pub struct OutputFlag {
    /// Form of the output
    #[arg(short, long, value_enum, value_name = "FORM", default_value = "table")]
    pub output: Output,
}

/// All commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start this member; found a cluster if it is in none
    #[command(after_help = "Examples:\n  \
        engenho up\n  \
        engenho up --advertise 203.0.113.7 --zone rack-1\n  \
        engenho up --data-dir /tmp/a --api 127.0.0.1:16443 --mesh 127.0.0.1:17443 --metrics off\n\n\
        Runs in the foreground; SIGTERM stops it cleanly. DATA_DIR/admin.kubeconfig is for kubectl.")]
    Up(UpArgs),
    /// Start this member in a ticket's cluster
    #[command(after_help = "Examples:\n  \
        engenho join engenho1...\n  \
        engenho join engenho1... --zone rack-2\n  \
        engenho join engenho1... --witness        the third vote of a two-machine cluster\n  \
        ssh first engenho ticket | engenho join -")]
    Join(JoinArgs),
    /// Print a ticket with which another machine joins
    #[command(after_help = "Examples:\n  \
        engenho ticket\n  \
        engenho ticket --expires 1h --uses 5\n  \
        engenho ticket --witness")]
    Ticket(TicketArgs),
    /// Members, roles, leader, transitions, health
    #[command(after_help = "Examples:\n  \
        engenho status\n  \
        engenho status --watch\n  \
        engenho status -o json | jq -r .leader")]
    Status(StatusArgs),
    /// How many voters and standbys the cluster should have
    #[command(after_help = "Examples:\n  \
        engenho formation get\n  \
        engenho formation set --voters 3 --standbys 2 --spread zone")]
    Formation {
        #[command(subcommand)]
        command: FormationCommand,
    },
    /// Prefer a member as a voter
    #[command(after_help = "Examples:\n  engenho promote n4\n\n`engenho release n4` lifts it.")]
    Promote(MemberArgs),
    /// Put a member one role down: voter to standby, standby to worker
    #[command(after_help = "Examples:\n  engenho demote n2\n\n`engenho release n2` lifts it.")]
    Demote(MemberArgs),
    /// Take every replica role off a member, before maintenance
    #[command(after_help = "Examples:\n  engenho drain n2\n\n`engenho release n2` lifts it.")]
    Drain(MemberArgs),
    /// Lift what promote, demote or drain asked of a member
    #[command(after_help = "Examples:\n  engenho release n2")]
    Release(MemberArgs),
    /// Take this member out of the cluster and stop it
    #[command(after_help = "Examples:\n  engenho leave\n\nTo return it needs a new ticket and a new data directory.")]
    Leave(LeaveArgs),
    /// Refuse a member's key for good
    #[command(after_help = "Examples:\n  engenho expel n3 --reason 'disk stolen'")]
    Expel(ExpelArgs),
    /// The record of every change of membership and role
    #[command(after_help = "Examples:\n  \
        engenho chain log\n  \
        engenho chain show 7\n  \
        engenho chain export --out chain.json\n  \
        engenho chain verify --bundle chain.json --cluster 3f2a...")]
    Chain {
        #[command(subcommand)]
        command: ChainCommand,
    },
    /// The record of API requests
    #[command(after_help = "Examples:\n  \
        engenho audit verify /var/lib/engenho/audit/*.log")]
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Make a kubeconfig
    #[command(after_help = "Examples:\n  \
        engenho kubeconfig --merge\n  \
        engenho kubeconfig --out admin.kubeconfig --server https://api.example.org:6443\n  \
        engenho kubeconfig --user ana --group developers --out ana.kubeconfig")]
    Kubeconfig(KubeconfigArgs),
    /// Go on from this survivor after a majority of voters was lost for good
    #[command(after_help = "Examples:\n  \
        engenho recover\n  \
        engenho recover --yes\n\n\
        Members that cannot be reached now are fenced for good: they need new data directories to return.")]
    Recover(RecoverArgs),
    /// What this machine lacks, before anything is started
    #[command(after_help = "Examples:\n  \
        engenho doctor\n  \
        engenho doctor --api 0.0.0.0:16443 --data-dir /srv/engenho -o json\n\n\
        Exits with 1 if something would keep a member from running.")]
    Doctor(DoctorArgs),
    /// A throw-away cluster of local processes
    #[command(after_help = "Examples:\n  \
        engenho dev\n  \
        engenho dev --nodes 5 --base-port 26443\n  \
        engenho dev --dir ./cluster --keep\n\n\
        Ctrl-C stops all members and removes their data.")]
    Dev(DevArgs),
    /// Print completions for a shell
    #[command(
        after_help = "Examples:\n  engenho completion bash > /etc/bash_completion.d/engenho\n  source <(engenho completion zsh)"
    )]
    Completion(CompletionArgs),
    /// Print the version
    #[command(after_help = "Examples:\n  engenho version -o json")]
    Version(VersionArgs),
}

/// `audit`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Name the first line that was changed or removed
    #[command(after_help = "Examples:\n  \
        engenho audit verify /var/lib/engenho/audit/*.log\n  \
        engenho audit verify -o json copy/audit-000000000001.log\n\n\
        Needs no running member. Exits with 1 if a line is not as it was written. Lines that are missing at the end\n\
        show only by the head that is printed: keep it elsewhere.")]
    Verify(AuditVerifyArgs),
}

/// `audit verify`.
#[derive(Debug, Args)]
pub struct AuditVerifyArgs {
    /// Files out of DATA_DIR/audit, all of them or some that follow each other
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub output: OutputFlag,
}

/// `up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    #[command(flatten)]
    pub node: NodeFlags,
}

/// `join`.
#[derive(Debug, Args)]
pub struct JoinArgs {
    /// What `engenho ticket` printed; `-` reads it from standard input
    #[arg(value_name = "TICKET", env = "ENGENHO_TICKET", hide_env_values = true)]
    pub ticket: String,
    /// Only vote: serve no API and run no pods
    #[arg(long)]
    pub witness: bool,
    #[command(flatten)]
    pub node: NodeFlags,
}

/// `ticket`.
#[derive(Debug, Args)]
pub struct TicketArgs {
    /// How long it is valid
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    pub expires: Seconds,
    /// How many members it admits
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub uses: u32,
    /// Admit witnesses only
    #[arg(long)]
    pub witness: bool,
    #[command(flatten)]
    pub output: OutputFlag,
}

/// `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Go on and show changes until interrupted
    #[arg(short, long)]
    pub watch: bool,
    #[command(flatten)]
    pub output: OutputFlag,
}

/// `formation`.
#[derive(Debug, Subcommand)]
pub enum FormationCommand {
    /// Print it
    #[command(after_help = "Examples:\n  engenho formation get -o json")]
    Get(OutputFlag),
    /// Change it; what is not given stays
    #[command(after_help = "Examples:\n  \
        engenho formation set --voters 3 --standbys 2\n  \
        engenho formation set --voters auto --standbys auto")]
    Set(FormationSetArgs),
}

/// `formation set`.
#[derive(Debug, Args)]
pub struct FormationSetArgs {
    /// Wanted voters: 1, 3, 5, 7, or `auto` for a number that fits the members there are
    #[arg(long, value_name = "N", value_parser = values::voters)]
    pub voters: Option<Wanted>,
    /// Wanted standbys: 0 to 7, or `auto`
    #[arg(long, value_name = "N", value_parser = values::standbys)]
    pub standbys: Option<Wanted>,
    /// Spread replicas over failure domains
    #[arg(long, value_enum)]
    pub spread: Option<SpreadValue>,
    #[command(flatten)]
    pub output: OutputFlag,
}

/// `--spread`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SpreadValue {
    /// As evenly over zones as the members allow
    Zone,
    /// Zones are ignored
    None,
}

/// A member and nothing else.
#[derive(Debug, Args)]
pub struct MemberArgs {
    /// Its name, its id or the beginning of its id
    #[arg(value_name = "MEMBER")]
    pub member: String,
    #[command(flatten)]
    pub output: OutputFlag,
}

/// `leave`.
#[derive(Debug, Args)]
pub struct LeaveArgs {
    #[command(flatten)]
    pub output: OutputFlag,
}

/// `expel`.
#[derive(Debug, Args)]
pub struct ExpelArgs {
    /// Its name, its id or the beginning of its id
    #[arg(value_name = "MEMBER")]
    pub member: String,
    /// Why, for the chain
    #[arg(long, value_name = "TEXT", default_value = "expelled by an operator")]
    pub reason: String,
    #[command(flatten)]
    pub output: OutputFlag,
}

/// `chain`.
#[derive(Debug, Subcommand)]
pub enum ChainCommand {
    /// One line a block
    #[command(after_help = "Examples:\n  engenho chain log\n  engenho chain log --bundle chain.json")]
    Log(ChainLogArgs),
    /// All of one block, with its signatures
    #[command(after_help = "Examples:\n  engenho chain show 3\n  engenho chain show 3 -o json")]
    Show(ChainShowArgs),
    /// Check every link, rule, seal and the checkpoint
    #[command(after_help = "Examples:\n  \
        engenho chain verify\n  \
        engenho chain verify --bundle chain.json --cluster 3f2a...\n\n\
        With --bundle it needs neither a running member nor a data directory. Without --cluster the answer says only\n\
        that the chain is consistent with itself.")]
    Verify(ChainVerifyArgs),
    /// Write the chain to a file that others can verify
    #[command(
        after_help = "Examples:\n  engenho chain export --out chain.json\n  engenho chain export --out - | gzip > chain.json.gz"
    )]
    Export(ChainExportArgs),
}

/// Where the chain is read from.
#[derive(Debug, Args)]
pub struct BundleFlag {
    /// Read an exported file instead of asking the running member
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,
}

/// `chain log`.
#[derive(Debug, Args)]
pub struct ChainLogArgs {
    #[command(flatten)]
    pub bundle: BundleFlag,
    #[command(flatten)]
    pub output: OutputFlag,
}

/// `chain show`.
#[derive(Debug, Args)]
pub struct ChainShowArgs {
    /// Index of the block; 0 is genesis
    #[arg(value_name = "N")]
    pub index: u64,
    #[command(flatten)]
    pub bundle: BundleFlag,
    #[command(flatten)]
    pub output: OutputFlag,
}

/// `chain verify`.
#[derive(Debug, Args)]
pub struct ChainVerifyArgs {
    #[command(flatten)]
    pub bundle: BundleFlag,
    /// The cluster that it must be the chain of
    #[arg(long, value_name = "ID")]
    pub cluster: Option<revoada_core::ClusterId>,
    #[command(flatten)]
    pub output: OutputFlag,
}

/// `chain export`.
#[derive(Debug, Args)]
pub struct ChainExportArgs {
    /// The file; `-` is standard output
    #[arg(long, value_name = "FILE", required = true)]
    pub out: PathBuf,
}

/// `kubeconfig`.
#[derive(Debug, Args)]
pub struct KubeconfigArgs {
    /// URL of the API [default: that of the answering member]
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// User it is for [default: the cluster administrator]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Group of that user; repeatable
    #[arg(long, value_name = "GROUP", value_delimiter = ',', requires = "user")]
    pub group: Vec<String>,
    /// Write it to a file only its owner can read
    #[arg(long, value_name = "FILE", conflicts_with = "merge")]
    pub out: Option<PathBuf>,
    /// Merge it into $KUBECONFIG, or ~/.kube/config, and make it current
    #[arg(long)]
    pub merge: bool,
    #[command(flatten)]
    pub output: OutputFlag,
}

/// `recover`.
#[derive(Debug, Args)]
pub struct RecoverArgs {
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Go on even though another reachable member holds more of the log
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub output: OutputFlag,
}

/// `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Address that the API would have
    #[arg(long, value_name = "ADDR:PORT", value_parser = values::socket_address, default_value = "0.0.0.0:6443")]
    pub api: std::net::SocketAddr,
    /// Address that the mesh would have
    #[arg(long, value_name = "ADDR:PORT", value_parser = values::socket_address, default_value = "0.0.0.0:7443")]
    pub mesh: std::net::SocketAddr,
    /// Address that metrics would have, or `off`
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7445")]
    pub metrics: values::MetricsAddress,
    #[command(flatten)]
    pub output: OutputFlag,
}

/// `dev`.
#[derive(Debug, Args)]
pub struct DevArgs {
    /// How many members
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=50))]
    pub nodes: u16,
    /// How pods run; this version has `none`
    #[arg(long, value_name = "RUNTIME", value_parser = values::runtime, default_value = "none")]
    pub runtime: crate::run::config::Runtime,
    /// Where members keep their data; it is kept [default: a temporary directory]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Keep the temporary directory
    #[arg(long)]
    pub keep: bool,
    /// First port that is tried
    #[arg(long, value_name = "PORT", default_value_t = 16443, value_parser = clap::value_parser!(u16).range(1024..=60000))]
    pub base_port: u16,
    /// Print the members' logs too
    #[arg(long)]
    pub logs: bool,
    #[command(flatten)]
    pub log: LogFlags,
}

/// `completion`.
#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_name = "SHELL", value_parser = ["bash", "zsh", "fish"])]
    pub shell: String,
}

impl CompletionArgs {
    /// The shell as the generator knows it.
    pub fn shell(&self) -> Shell {
        match self.shell.as_str() {
            "zsh" => Shell::Zsh,
            "fish" => Shell::Fish,
            _ => Shell::Bash,
        }
    }
}

/// `version`.
#[derive(Debug, Args)]
pub struct VersionArgs {
    #[command(flatten)]
    pub output: OutputFlag,
}

/// `/var/lib/engenho` for root, else `$XDG_DATA_HOME/engenho`, else `~/.local/share/engenho`.
fn default_data_dir() -> PathBuf {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    data_dir_for(
        rustix::process::geteuid().is_root(),
        absolute("XDG_DATA_HOME"),
        absolute("HOME"),
    )
}

fn data_dir_for(root: bool, xdg_data_home: Option<PathBuf>, home: Option<PathBuf>) -> PathBuf {
    let own = xdg_data_home.or_else(|| home.map(|home| home.join(".local/share")));
    match own {
        Some(base) if !root => base.join("engenho"),
        _ => PathBuf::from("/var/lib/engenho"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_directory_depends_on_the_user() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(
            data_dir_for(true, path("/x"), path("/root")),
            PathBuf::from("/var/lib/engenho")
        );
        assert_eq!(data_dir_for(false, path("/x"), path("/h")), PathBuf::from("/x/engenho"));
        assert_eq!(
            data_dir_for(false, None, path("/h")),
            PathBuf::from("/h/.local/share/engenho")
        );
        assert_eq!(data_dir_for(false, None, None), PathBuf::from("/var/lib/engenho"));
    }
}
