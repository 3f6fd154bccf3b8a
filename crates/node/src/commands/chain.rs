//! `chain`: reading, checking and exporting the record of membership and roles.

use std::io::Read;
use std::path::Path;

use revoada_core::chain::{BUNDLE_BYTES_MAX, Bundle, BundleError, Event, verify_bundle};
use serde_json::{Value, json};

use super::print_json;
use crate::admin::Client;
use crate::cli::{BundleFlag, ChainCommand, ChainExportArgs, ChainLogArgs, ChainShowArgs, ChainVerifyArgs, Output};
use crate::output::{ChainNames, CommandError, block_view, clean, log_table, print, show_block, show_genesis};

/// Does what was asked of the chain.
pub async fn chain(command: ChainCommand, data_dir: &Path) -> Result<(), CommandError> {
    match command {
        ChainCommand::Log(args) => log(args, data_dir).await,
        ChainCommand::Show(args) => show(args, data_dir).await,
        ChainCommand::Verify(args) => verify(args, data_dir).await,
        ChainCommand::Export(args) => export(args, data_dir).await,
    }
}

async fn read(flag: &BundleFlag, data_dir: &Path) -> Result<Bundle, CommandError> {
    match &flag.bundle {
        Some(path) => read_file(path),
        None => Ok(Client::connect(data_dir).await?.chain().await?),
    }
}

fn read_file(path: &Path) -> Result<Bundle, CommandError> {
    let mut raw = Vec::new();
    let limit = BUNDLE_BYTES_MAX as u64 + 1;
    std::fs::File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut raw))
        .map_err(|error| {
            CommandError::failed(
                format!("the bundle {} cannot be read: {error}", path.display()),
                "give a file that `engenho chain export` wrote",
            )
        })?;
    Bundle::from_json(&raw).map_err(|error| broken(&error))
}

/// A chain that does not hold: what fails first, and why.
fn broken(error: &BundleError) -> CommandError {
    CommandError::failed(
        clean(&why(error)),
        "the chain was damaged or forged, or is another cluster's: trust nothing in it and export it anew from a member",
    )
}

fn why(error: &BundleError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

async fn log(args: ChainLogArgs, data_dir: &Path) -> Result<(), CommandError> {
    let bundle = read(&args.bundle, data_dir).await?;
    if args.output.output == Output::Json {
        let names = ChainNames::of(&bundle);
        let blocks: Vec<Value> = bundle
            .blocks
            .iter()
            .map(|block| block_view(&bundle, block, &names))
            .collect();
        return print_json(
            &json!({ "clusterId": bundle.genesis.cluster_id(), "genesis": bundle.genesis, "blocks": blocks }),
        );
    }
    print(&log_table(&bundle))
}

async fn show(args: ChainShowArgs, data_dir: &Path) -> Result<(), CommandError> {
    let bundle = read(&args.bundle, data_dir).await?;
    let json = args.output.output == Output::Json;
    if args.index == 0 {
        return match json {
            true => print_json(&json!({ "index": 0, "hash": bundle.genesis.cluster_id(), "genesis": bundle.genesis })),
            false => print(&show_genesis(&bundle)),
        };
    }
    let Some(block) = bundle.blocks.iter().find(|block| block.index == args.index) else {
        return Err(CommandError::failed(
            format!(
                "there is no block {}: the chain has {}",
                args.index,
                bundle.blocks.len()
            ),
            "see `engenho chain log` for those there are",
        ));
    };
    match json {
        true => print_json(&block_view(&bundle, block, &ChainNames::of(&bundle))),
        false => print(&show_block(&bundle, block)),
    }
}

async fn verify(args: ChainVerifyArgs, data_dir: &Path) -> Result<(), CommandError> {
    let (text, value, error) = match read(&args.bundle, data_dir).await {
        Ok(bundle) => verdict(&bundle, args.cluster),
        Err(error) if args.bundle.bundle.is_some() => (String::new(), refusal(None, &error), Some(error)),
        Err(error) => return Err(error),
    };
    match args.output.output {
        Output::Json => print_json(&value)?,
        _ if error.is_none() => print(&text)?,
        _ => {}
    }
    error.map_or(Ok(()), Err)
}

/// The line, the JSON, and the error if it does not hold.
fn verdict(bundle: &Bundle, cluster: Option<revoada_core::ClusterId>) -> (String, Value, Option<CommandError>) {
    match verify_bundle(bundle, cluster) {
        Ok(verified) => {
            let value = json!({
                "ok": true,
                "clusterId": verified.cluster,
                "clusterChecked": cluster.is_some(),
                "blocks": verified.blocks,
                "sealed": verified.sealed,
                "unsealed": verified.unsealed,
                "head": verified.head,
                "epoch": verified.state.epoch(),
                "recoveries": bundle.blocks.iter().filter(|block| matches!(block.event, Event::Recover { .. })).count(),
                "signers": verified.signers,
            });
            (verified.to_string(), value, None)
        }
        Err(error) => {
            let command = broken(&error);
            (String::new(), refusal(error.index, &command), Some(command))
        }
    }
}

fn refusal(block: Option<u64>, error: &CommandError) -> Value {
    json!({ "ok": false, "block": block, "error": error.message })
}

async fn export(args: ChainExportArgs, data_dir: &Path) -> Result<(), CommandError> {
    let bundle = Client::connect(data_dir).await?.chain().await?;
    let json = bundle.to_json().map_err(|error| broken(&error))?;
    if args.out.as_os_str() == "-" {
        return print(&json);
    }
    revoada_log::write_file(&revoada_log::OsDisk, &args.out, json.as_bytes()).map_err(|error| {
        CommandError::failed(
            format!("{} cannot be written: {error}", args.out.display()),
            "give a file in a directory that can be written with --out",
        )
    })?;
    print(&format!(
        "{} blocks of cluster {} written to {}",
        bundle.blocks.len(),
        bundle.genesis.cluster_id(),
        args.out.display()
    ))
}

#[cfg(test)]
mod tests {
    use revoada_core::ClusterId;

    use super::*;
    use crate::output::example_bundle;

    /// Runs `chain verify --bundle` on a file with that content, where there is no data directory.
    fn verify_file(content: &str, cluster: Option<ClusterId>) -> Result<(), CommandError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chain.json");
        std::fs::write(&path, content).unwrap();
        let mut line: Vec<std::ffi::OsString> =
            ["engenho", "chain", "verify", "--data-dir", "/nonexistent", "--bundle"]
                .map(Into::into)
                .into();
        line.push(path.into());
        if let Some(cluster) = cluster {
            line.extend(["--cluster".into(), cluster.to_string().into()]);
        }
        super::super::execute(crate::cli::parse(&line).unwrap())
    }

    #[test]
    fn a_good_chain_passes_offline() {
        let bundle = example_bundle();
        let json = bundle.to_json().unwrap();
        verify_file(&json, None).unwrap();
        verify_file(&json, Some(bundle.genesis.cluster_id())).unwrap();
        let (text, value, error) = verdict(&bundle, None);
        assert_eq!(
            text,
            format!("ok: 4 blocks, 3 sealed, head {}", bundle.blocks[3].hash())
        );
        assert_eq!(
            (error, &value["unsealed"], &value["clusterChecked"]),
            (None, &json!([3]), &json!(false))
        );
    }

    #[test]
    fn tampering_is_found_and_named() {
        let good = example_bundle();
        let cluster = good.genesis.cluster_id();
        let refused = |bundle: &Bundle| {
            let error = verify_file(&bundle.to_json().unwrap(), Some(cluster)).unwrap_err();
            assert_eq!(error.exit_code(), 1);
            error.message
        };
        let bent = |change: &dyn Fn(&mut Bundle)| {
            let mut bundle = good.clone();
            change(&mut bundle);
            refused(&bundle)
        };
        let dropped = bent(&|bundle| drop(bundle.blocks.remove(1)));
        assert!(dropped.starts_with("block 2: "), "{dropped}");
        assert!(bent(&|bundle| bundle.blocks.swap(0, 1)).starts_with("block 1: "));
        assert!(bent(&|bundle| bundle.blocks[1].reason = "another".into()).starts_with("block 2: "));
        assert!(bent(&|bundle| bundle.seals[0].signatures[0].signature[5] ^= 1).starts_with("block 1: the seal"));
        assert!(bent(&|bundle| bundle.genesis.created_ms += 1).contains("the genesis is that of cluster"));
        let cut = bent(&|bundle| {
            bundle.blocks.pop();
            bundle.seals.pop();
        });
        assert!(
            cut.contains("the checkpoint covers genesis and 4 blocks, the bundle has 3"),
            "{cut}"
        );
        let (_, value, error) = verdict(&good, Some(ClusterId([9; 32])));
        assert_eq!((value["ok"].clone(), error.unwrap().exit_code()), (json!(false), 1));
    }

    #[test]
    fn every_flipped_byte_is_found() {
        let good = example_bundle();
        let json = good.to_json().unwrap();
        let cluster = good.genesis.cluster_id();
        // Each place once would take seconds in a build for tests; these meet every kind of field.
        for at in (0..json.len() - 1).step_by(7) {
            let mut bytes = json.clone().into_bytes();
            bytes[at] ^= 1;
            let held = Bundle::from_json(&bytes).is_ok_and(|bundle| verify_bundle(&bundle, Some(cluster)).is_ok());
            assert!(!held, "byte {at}");
        }
    }

    #[test]
    fn what_is_no_bundle_is_refused() {
        for content in ["", "{}", "garbage", "[1,2]"] {
            let error = verify_file(content, None).unwrap_err();
            assert_eq!(error.exit_code(), 1, "{content}");
        }
        let arguments = ["engenho", "chain", "verify", "--bundle", "/nonexistent/x"].map(Into::into);
        let error = super::super::execute(crate::cli::parse(&arguments).unwrap()).unwrap_err();
        assert!(error.message.contains("/nonexistent/x cannot be read"));
    }
}
