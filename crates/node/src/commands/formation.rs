//! `formation`: the wanted shape of the control plane.

use std::path::Path;

use revoada_core::formation::{Formation, Spread};
use serde_json::json;

use super::print_json;
use crate::admin::Client;
use crate::cli::{FormationCommand, FormationSetArgs, Output, SpreadValue};
use crate::output::{CommandError, formation_words, plural, print};

/// Prints it, or changes and prints it.
pub async fn formation(command: FormationCommand, data_dir: &Path) -> Result<(), CommandError> {
    match command {
        FormationCommand::Get(flag) => {
            let client = Client::connect(data_dir).await?;
            let formation = client.formation().await?;
            show(&client, &formation, flag.output).await
        }
        FormationCommand::Set(args) => {
            if args.voters.is_none() && args.standbys.is_none() && args.spread.is_none() {
                return Err(CommandError::usage(
                    "nothing to set was given",
                    "give --voters, --standbys or --spread",
                ));
            }
            let client = Client::connect(data_dir).await?;
            let formation = changed(client.formation().await?, &args);
            client.set_formation(&formation).await?;
            show(&client, &formation, args.output.output).await
        }
    }
}

fn changed(mut formation: Formation, args: &FormationSetArgs) -> Formation {
    if let Some(voters) = args.voters {
        formation.voters = voters.0;
    }
    if let Some(standbys) = args.standbys {
        formation.standbys = standbys.0;
    }
    match args.spread {
        Some(SpreadValue::Zone) => formation.spread = Spread::Zone,
        Some(SpreadValue::None) => formation.spread = Spread::None,
        None => {}
    }
    formation
}

async fn show(client: &Client, formation: &Formation, output: Output) -> Result<(), CommandError> {
    let resolved = client.status().await?.cluster.formation;
    if output == Output::Json {
        return print_json(&json!({
            "voters": formation.voters,
            "standbys": formation.standbys,
            "spread": formation.spread,
            "resolved": { "voters": resolved.voters, "standbys": resolved.standbys },
        }));
    }
    let (voters, standbys) = (plural(resolved.voters, "voter"), plural(resolved.standbys, "standby"));
    print(&format!(
        "{}\nwith the present members: {voters}, {standbys}",
        formation_words(formation)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::OutputFlag;
    use crate::cli::values::Wanted;

    #[test]
    fn what_is_not_given_stays() {
        let args = |voters, standbys, spread| FormationSetArgs {
            voters,
            standbys,
            spread,
            output: OutputFlag { output: Output::Table },
        };
        let before = Formation {
            voters: Some(3),
            standbys: Some(1),
            spread: Spread::Zone,
        };
        assert_eq!(
            changed(before, &args(Some(Wanted(Some(5))), None, None)),
            Formation {
                voters: Some(5),
                ..before
            }
        );
        assert_eq!(
            changed(before, &args(None, Some(Wanted(None)), None)),
            Formation {
                standbys: None,
                ..before
            }
        );
        let spread = Formation {
            spread: Spread::None,
            ..before
        };
        assert_eq!(changed(before, &args(None, None, Some(SpreadValue::None))), spread);
    }
}
