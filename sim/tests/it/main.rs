//! The simulation as it is run from the command line. Everything else rests on the first test.

use std::process::{Command, Output};

fn sim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sim")).args(args).output().unwrap()
}

fn text(output: &Output) -> String {
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn a_seed_gives_the_same_trace_twice_byte_for_byte() {
    for args in [
        ["--seed", "4", "--trace"].as_slice(),
        &["--scenario", "power-cut-everywhere", "--seed", "1", "--trace"],
    ] {
        let (first, second) = (sim(args), sim(args));
        let trace = |output: &Output| {
            let all = String::from_utf8_lossy(&output.stdout).into_owned();
            // The last line tells how long it really took.
            all.lines()
                .filter(|line| !line.starts_with("seed "))
                .collect::<Vec<_>>()
                .join("\n")
        };
        assert!(trace(&first).lines().count() > 300, "{}", text(&first));
        assert!(trace(&first) == trace(&second), "{args:?} gives two different traces");
    }
    let other = sim(&["--seed", "5", "--trace"]);
    assert_ne!(sim(&["--seed", "4", "--trace"]).stdout, other.stdout);
}

#[test]
fn without_faults_nothing_is_broken() {
    let output = sim(&["--scenario", "fair-weather", "--seed", "3"]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("healed after"), "{}", text(&output));
}

#[test]
fn the_core_is_played_too() {
    let output = sim(&["--core", "--seeds", "0..20", "--check-replay"]);
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn wrong_usage_is_told() {
    let output = sim(&["--scenario", "no-such-thing"]);
    assert!(!output.status.success());
    assert!(
        text(&output).contains("no scenario \"no-such-thing\"; see `sim --list`"),
        "{}",
        text(&output)
    );
    assert!(text(&sim(&["--list"])).contains("two-partitions"));
}
