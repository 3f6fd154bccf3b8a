//! Golden scripts: what is done to a cluster, and what its leader does about it.
//!
//! A script is a text file in `tests/golden`. Lines that begin with `> ` are input, those that begin with `#`
//! are comments, all others are what the model answered. `UPDATE_GOLDEN=1` rewrites the answers.
//!
//! ```text
//! > found NAME [zone=Z]            > join NAME [zone=Z] [witness]     > run SECONDS
//! > kill NAME...                   > start NAME...                    > part NAME... / > heal
//! > drain|promote|demote|free NAME > formation VOTERS|auto STANDBYS   > leave|expel NAME
//! > catch-up NAME ENTRIES          > disk NAME ok|bad                 > load ENTRIES
//! > crash-at PHASE                 > recover NAME keep NAME...        > show
//! ```
//!
//! `crash-at` kills the leader once the transition in flight has reached the phase (or `Raft`: as soon as the
//! configuration is joint). `run` prints what happened with seconds since the script's start.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::{Model, TICK_MS};
use crate::command::{Hold, MeshCommand};
use crate::formation::Formation;
use crate::id::MemberId;
use crate::role::Role;
use crate::state::MeshOutcome;

struct Script {
    model: Option<Model>,
    crash_at: Option<String>,
    out: String,
}

impl Script {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (verb, args) = words.split_first().ok_or("an empty command")?;
        let option = |key: &str| {
            args.iter()
                .find_map(|arg| arg.strip_prefix(key))
                .unwrap_or_default()
                .to_owned()
        };
        if *verb == "found" {
            self.model = Some(Model::found(args.first().ok_or("whom?")?, &option("zone=")));
            return Ok(());
        }
        let model = self.model.as_mut().ok_or("found a cluster first")?;
        let id = |at: usize| -> Result<MemberId, String> {
            let name = args.get(at).ok_or("a name is missing")?;
            model.id(name).ok_or(format!("no member {name}"))
        };
        let ids = |args: &[&str]| -> Result<Vec<MemberId>, String> {
            args.iter()
                .map(|name| model.id(name).ok_or(format!("no member {name}")))
                .collect()
        };
        let answer = match *verb {
            "join" => model.join(args[0], &option("zone="), args.contains(&"witness")),
            "run" => {
                let seconds: f64 = args[0].parse().map_err(|_| "want seconds")?;
                self.run((seconds * 1000.0) as u64);
                return Ok(());
            }
            "kill" | "start" => {
                for id in ids(args)? {
                    model.set_up(&id, *verb == "start");
                }
                return Ok(());
            }
            "part" => {
                for id in ids(args)? {
                    model.set_side(&id, 1);
                }
                return Ok(());
            }
            "heal" => {
                for id in model.nodes.keys().copied().collect::<Vec<_>>() {
                    model.set_side(&id, 0);
                }
                return Ok(());
            }
            "drain" | "promote" | "demote" | "free" => {
                let member = id(0)?;
                let witness = model
                    .state()
                    .and_then(|s| s.member(&member))
                    .is_some_and(|member| member.witness);
                let hold = match *verb {
                    "drain" => Some(Hold::Drained),
                    "promote" => Some(Hold::Pinned(if witness { Role::Witness } else { Role::Voter })),
                    "demote" => Some(Hold::Pinned(Role::Standby)),
                    _ => None,
                };
                model.propose(MeshCommand::Hold { member, hold })
            }
            "formation" => {
                let formation = Formation {
                    voters: args[0].parse().ok(),
                    standbys: args[1].parse().ok(),
                    ..Formation::default()
                };
                model.propose(MeshCommand::SetFormation { formation })
            }
            "leave" => {
                let member = id(0)?;
                model.propose(MeshCommand::Leave { member })
            }
            "expel" => {
                let member = id(0)?;
                model.propose(MeshCommand::Expel {
                    member,
                    reason: "by script".to_owned(),
                })
            }
            "catch-up" => {
                let (id, entries) = (id(0)?, args[1].parse().map_err(|_| "want entries")?);
                model.nodes.get_mut(&id).ok_or("gone")?.catch_up = entries;
                return Ok(());
            }
            "disk" => {
                let id = id(0)?;
                model.nodes.get_mut(&id).ok_or("gone")?.storage_ok = args[1] == "ok";
                return Ok(());
            }
            "load" => {
                model.load = args[0].parse().map_err(|_| "want entries")?;
                return Ok(());
            }
            "crash-at" => {
                self.crash_at = Some(args[0].to_owned());
                return Ok(());
            }
            "recover" => {
                let (survivor, keep) = (id(0)?, ids(&args[2..])?);
                model.recover(&survivor, &keep)
            }
            "show" => {
                self.show();
                return Ok(());
            }
            other => return Err(format!("no command {other}")),
        };
        match answer {
            None => writeln!(self.out, "  no quorum").map_err(|e| e.to_string())?,
            // Refusals are printed with what happened.
            Some(MeshOutcome::Refused(_)) => self.flush(),
            Some(_) => {}
        }
        Ok(())
    }

    fn run(&mut self, duration_ms: u64) {
        for _ in 0..duration_ms / TICK_MS {
            let Some(model) = self.model.as_mut() else { return };
            model.tick();
            let phase = model
                .state()
                .and_then(|state| state.in_flight())
                .map(|t| t.phase.to_string());
            let crash = match self.crash_at.as_deref() {
                Some("Raft") => model.raft.config.is_joint(),
                Some(at) => phase.as_deref() == Some(at),
                None => false,
            };
            let leader = model.raft.leader.filter(|_| crash);
            if let Some(leader) = leader {
                model.set_up(&leader, false);
                self.flush();
                self.crash_at = None;
                let (now_ms, name) = match self.model.as_ref() {
                    Some(model) => (model.now_ms, model.nodes[&leader].name.clone()),
                    None => return,
                };
                let _ = writeln!(self.out, "{:>6.1} killed leader {name}", now_ms as f64 / 1000.0);
            }
        }
        self.flush();
    }

    fn flush(&mut self) {
        let Some(model) = self.model.as_mut() else { return };
        for (at_ms, happening) in std::mem::take(&mut model.happenings) {
            let _ = writeln!(
                self.out,
                "{:>6.1} {}",
                at_ms as f64 / 1000.0,
                model.describe(&happening)
            );
        }
    }

    fn show(&mut self) {
        let Some(model) = self.model.as_ref() else { return };
        let leader = model
            .raft
            .leader
            .map_or("none".to_owned(), |id| model.nodes[&id].name.clone());
        let roles: Vec<_> = model
            .roles()
            .iter()
            .map(|(name, role)| format!("{name}={role}"))
            .collect();
        let chain = model.state().and_then(|state| state.chain());
        let (epoch, height) = chain.map_or((0, 0), |chain| (chain.epoch(), chain.height()));
        let _ = writeln!(
            self.out,
            "  leader {leader}, epoch {epoch}, {height} blocks, {}",
            roles.join(" ")
        );
    }
}

fn play(input: &str) -> String {
    let mut script = Script {
        model: None,
        crash_at: None,
        out: String::new(),
    };
    for line in input.lines() {
        if line.starts_with('#') || line.is_empty() {
            script.out.push_str(line);
            script.out.push('\n');
        } else if let Some(command) = line.strip_prefix("> ") {
            script.out.push_str(line);
            script.out.push('\n');
            if let Err(error) = script.line(command) {
                let _ = writeln!(script.out, "  error: {error}");
            }
        }
    }
    script.out
}

#[test]
fn golden_scripts() {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let directory = Path::new(&package).join("tests/golden");
    let files: BTreeSet<PathBuf> = std::fs::read_dir(&directory)
        .expect("tests/golden exists")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    assert!(
        files.len() >= 12,
        "only {} scripts in {}",
        files.len(),
        directory.display()
    );
    let mut different = Vec::new();
    for path in files {
        let before = std::fs::read_to_string(&path).expect("a readable script");
        let after = play(&before);
        assert!(!after.contains("  error: "), "{}:\n{after}", path.display());
        if before == after {
            continue;
        }
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, after).expect("a writable script");
        } else {
            let line = before.lines().zip(after.lines()).position(|(a, b)| a != b).unwrap_or(0);
            let (want, got) = (before.lines().nth(line), after.lines().nth(line));
            different.push(format!("{}:{}: want {want:?}, got {got:?}", path.display(), line + 1));
        }
    }
    assert!(
        different.is_empty(),
        "run with UPDATE_GOLDEN=1 if this is intended:\n{}",
        different.join("\n")
    );
}
