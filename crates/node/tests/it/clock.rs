//! A machine whose clock is an hour off: it is told so, and the others go on.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use engenho_harness::{Cluster, MemberProcess, eventually};

use crate::support::{READY, SETTLED, alone, binary, create};

/// Where libfaketime is, which gives one process another wall clock.
fn faketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?;
    let candidates = folders
        .flatten()
        .map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    candidates
        .chain([PathBuf::from("/usr/lib/faketime/libfaketime.so.1")])
        .find(|file| file.is_file())
}

fn with_clock(member: &mut MemberProcess, library: &std::path::Path, offset: &str) {
    let library = library.to_string_lossy().into_owned();
    // Only the wall clock is wrong; a machine's monotonic one is what it is.
    member.environment = [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME", offset),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
}

#[test]
fn a_clock_that_is_an_hour_off_is_named() {
    alone(async || {
        let Some(library) = faketime() else {
            eprintln!("skipped: there is no libfaketime; scripts/install-test-tools.sh gets it");
            return Ok(());
        };
        let mut cluster = Cluster::start(binary(), 3).await?;
        for (name, offset) in [("ahead", "+1h"), ("behind", "-1h")] {
            let ticket = cluster.running()?.ticket(1).await?;
            let mut member = MemberProcess::new(binary(), cluster.root(), name);
            with_clock(&mut member, &library, offset);
            member.join(&ticket, false)?;
            let status = member.exit(Duration::from_secs(40)).await?;
            let said = member.log_tail(10);
            ensure!(
                !status.success() && said.contains("clock"),
                "{name} ended with {status}:\n{said}"
            );
        }
        ensure!(cluster.status().await?.members.len() == 3);

        // A voter comes back with a wrong clock: it says so, nothing is lost, and with the right clock all is well.
        let voter = cluster.member_mut("n3")?;
        voter.stop(Duration::from_secs(10)).await?;
        with_clock(voter, &library, "+1h");
        voter.up()?;
        let log = voter.log();
        eventually("it says that the clocks differ", Duration::from_secs(30), async || {
            let text = std::fs::read_to_string(&log)?;
            ensure!(text.contains("clock"), "it does not");
            Ok(())
        })
        .await
        .with_context(|| cluster.tails(20))?;
        create(&cluster.member("n1")?.api()?, "meanwhile").await?;
        let voter = cluster.member_mut("n3")?;
        voter.kill().await?;
        voter.environment.clear();
        voter.up()?;
        voter.ready(READY).await?;
        cluster.settled(SETTLED).await?;
        cluster.finish().await
    });
}
