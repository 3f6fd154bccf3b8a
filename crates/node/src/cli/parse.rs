//! From arguments, environment and settings file to a [`Cli`], with errors of one line and a hint.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};

use clap::builder::BoolishValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches};

use super::Cli;
use super::settings::{Settings, config_path};
use crate::output::CommandError;

/// Why there is nothing to run.
#[derive(Debug)]
pub enum Stop {
    /// Help or version was asked for.
    Help(clap::Error),
    /// Wrong usage.
    Usage(CommandError),
}

/// The whole command line, before the settings file is known.
pub fn command() -> Command {
    let log_is_filter = std::env::var("ENGENHO_LOG").is_ok_and(|value| !matches!(value.as_str(), "json" | "text"));
    let level_is_set = std::env::var_os("ENGENHO_LOG_LEVEL").is_some();
    adjust(Cli::command(), &mut |arg| {
        let arg = match arg.get_action() {
            ArgAction::SetTrue => arg.value_parser(BoolishValueParser::new()),
            _ => arg,
        };
        match arg.get_long().filter(|_| !arg.is_hide_set()).map(str::to_owned) {
            // By the name of the flag it is the form of the log, by custom it is the filter: it can be either.
            Some(long) if long == "log" && log_is_filter => arg,
            Some(long) if long == "log-level" && log_is_filter && !level_is_set => arg.env("ENGENHO_LOG"),
            Some(long) => arg.env(variable(&long)).hide_env_values(true),
            None => arg,
        }
    })
}

fn variable(long: &str) -> String {
    format!("ENGENHO_{}", long.replace('-', "_").to_uppercase())
}

fn adjust(command: Command, change: &mut dyn FnMut(Arg) -> Arg) -> Command {
    command
        .mut_args(&mut *change)
        .mut_subcommands(|subcommand| adjust(subcommand, change))
}

/// Every long flag that a settings file can hold.
fn keys(command: &Command) -> BTreeSet<String> {
    let own = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set())
        .filter_map(Arg::get_long)
        .filter(|long| !matches!(*long, "config" | "help" | "version"));
    let mut keys: BTreeSet<String> = own.map(str::to_owned).collect();
    keys.extend(command.get_subcommands().flat_map(keys_of));
    keys
}

fn keys_of(command: &Command) -> BTreeSet<String> {
    keys(command)
}

/// The file's values become the defaults of the flags they name.
fn with_settings(command: Command, settings: &Settings) -> Result<Command, CommandError> {
    let mut wrong = None;
    let command = adjust(command, &mut |arg| {
        let Some((long, values)) = arg.get_long().and_then(|long| settings.values.get_key_value(long)) else {
            return arg;
        };
        if values.len() != 1 && !matches!(arg.get_action(), ArgAction::Append) {
            wrong = Some(long.clone());
            return arg;
        }
        arg.required(false).default_values(values.clone())
    });
    match wrong {
        None => Ok(command),
        Some(long) => Err(CommandError::usage(
            format!("the settings file {} gives `{long}` a list", settings.path.display()),
            format!("write `{long} = ...` with one value"),
        )),
    }
}

/// Parses the arguments of the process, its name first.
pub fn parse(arguments: &[OsString]) -> Result<Cli, Stop> {
    let mut command = command();
    let mut settings = Settings::default();
    if let Some(path) = config_path(arguments, std::env::var_os("ENGENHO_CONFIG")) {
        settings = Settings::read(&path, &keys(&command)).map_err(Stop::Usage)?;
        command = with_settings(command, &settings).map_err(Stop::Usage)?;
    }
    command
        .try_get_matches_from_mut(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(|error| {
            match error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
                true => Stop::Usage(describe(&error, &command, arguments, &settings)),
                false => Stop::Help(error),
            }
        })
}

/// The parser's error in two lines.
fn describe(error: &clap::Error, command: &Command, arguments: &[OsString], settings: &Settings) -> CommandError {
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n");
    let first = paragraphs.next().unwrap_or_default();
    let mut message = one_line(first.strip_prefix("error: ").unwrap_or(first));
    if let Some(origin) = origin(error, arguments, settings) {
        message = format!("{message} ({origin})");
    }
    let tips: Vec<_> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("tip: "))
        .collect();
    let hint = match tips.is_empty() {
        false => tips.join("; "),
        true => format!("see `{} --help`", invoked(command, arguments)),
    };
    CommandError::usage(message, hint)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Where a refused value came from, unless it stands on the command line.
fn origin(error: &clap::Error, arguments: &[OsString], settings: &Settings) -> Option<String> {
    if !matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) {
        return None;
    }
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let long = shown.strip_prefix("--")?.split([' ', '=']).next()?;
    let given = arguments
        .iter()
        .filter_map(|argument| argument.to_str())
        .any(|argument| {
            let flag = argument.split('=').next().unwrap_or_default();
            flag.strip_prefix("--") == Some(long) || (long == "output" && argument.starts_with("-o"))
        });
    if given {
        return None;
    }
    let name = variable(long);
    if std::env::var_os(&name).is_some() {
        return Some(format!("from {name} in the environment"));
    }
    let set = settings.values.contains_key(long);
    set.then(|| format!("from `{long}` in {}", settings.path.display()))
}

/// The command that was meant, as `engenho chain show`.
fn invoked(command: &Command, arguments: &[OsString]) -> String {
    let mut words = vec![command.get_name().to_owned()];
    let mut at = command;
    for argument in arguments.iter().skip(1) {
        if let Some(next) = at
            .get_subcommands()
            .find(|next| OsStr::new(next.get_name()) == argument)
        {
            words.push(next.get_name().to_owned());
            at = next;
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::{Command as Parsed, Output};
    use super::*;

    fn arguments(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    fn refused(line: &str) -> CommandError {
        match parse(&arguments(line)) {
            Err(Stop::Usage(error)) => error,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_command_has_examples() {
        fn check(command: &Command) {
            for sub in command.get_subcommands() {
                let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Examples:"), "{}", sub.get_name());
                check(sub);
            }
        }
        check(&command());
    }

    #[test]
    fn every_flag_has_its_variable() {
        fn check(command: &Command) {
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                if let Some(long) = arg.get_long() {
                    assert_eq!(arg.get_env(), Some(OsStr::new(&variable(long))), "{long}");
                }
            }
            command.get_subcommands().for_each(check);
        }
        if std::env::var_os("ENGENHO_LOG").is_none() {
            check(&command());
        }
    }

    #[test]
    fn errors_are_two_lines() {
        let error = refused("engenho up --api localhost:1");
        assert!(
            error
                .message
                .starts_with("invalid value 'localhost:1' for '--api <ADDR:PORT>': want an IP")
        );
        assert_eq!(error.hint, "see `engenho up --help`");
        assert_eq!(error.exit_code(), 2);
        let error = refused("engenho statsu");
        assert_eq!(error.hint, "a similar subcommand exists: 'status'");
        let error = refused("engenho join");
        assert_eq!(
            error.message,
            "the following required arguments were not provided: <TICKET>"
        );
        assert_eq!(error.hint, "see `engenho join --help`");
        let error = refused("engenho up --log xml");
        assert!(
            error.message.contains("[possible values: json, text]"),
            "{}",
            error.message
        );
        assert!(
            refused("engenho chain show x")
                .hint
                .contains("engenho chain show --help")
        );
        for line in [
            "engenho up --label a",
            "engenho up --taint a=b:Never",
            "engenho up --pod-cidr 10.0.0.1/8",
            "engenho up --runtime embedded",
            "engenho ticket --uses 0",
            "engenho ticket --expires 1",
            "engenho dev --nodes 0",
            "engenho formation set --voters 4",
            "engenho chain verify --cluster abc",
            "engenho kubeconfig --group g",
            "engenho kubeconfig --merge --out x",
            "engenho up --name Upper",
            "engenho completion tcsh",
        ] {
            assert!(!refused(line).message.contains('\n'), "{line}");
        }
    }

    /// What one command line comes to in an environment of its own: this test binary runs itself, because a
    /// process's environment cannot be changed safely while its other threads read it.
    fn parsed_in(line: &str, environment: &[(&str, &str)]) -> String {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ENGENHO_")) {
            child.env_remove(name);
        }
        let child = child
            .args([
                "--exact",
                "cli::parse::tests::print_what_is_parsed",
                "--ignored",
                "--nocapture",
            ])
            .env("TEST_LINE", line)
            .envs(environment.iter().copied());
        let output = child.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let printed = text.split("<<").nth(1).and_then(|rest| rest.split(">>").next());
        printed.unwrap_or_else(|| panic!("{text}")).to_owned()
    }

    #[test]
    #[ignore = "run by the tests of the environment, in a process of its own"]
    fn print_what_is_parsed() {
        let Ok(line) = std::env::var("TEST_LINE") else { return };
        let printed = match parse(&arguments(&line)) {
            Ok(cli) => match cli.command {
                Parsed::Up(args) => {
                    let (node, log) = (&args.node, &args.node.log);
                    format!("{} {} {:?} {}", node.zone, node.no_discovery, log.log, log.log_level)
                }
                _ => cli.common.data_dir.display().to_string(),
            },
            Err(Stop::Usage(error)) => format!("error {} {}", error.exit_code(), error.message),
            Err(Stop::Help(_)) => "help".to_owned(),
        };
        println!("<<{printed}>>");
    }

    #[test]
    fn flag_then_environment_then_file_then_default() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e.toml");
        std::fs::write(&path, "data-dir = '/from/file'\n").unwrap();
        let environment = [
            ("ENGENHO_DATA_DIR", "/from/environment"),
            ("ENGENHO_CONFIG", path.to_str().unwrap()),
        ];
        assert_eq!(
            parsed_in("engenho leave --data-dir /from/flag", &environment),
            "/from/flag"
        );
        assert_eq!(parsed_in("engenho leave", &environment), "/from/environment");
        assert_eq!(parsed_in("engenho leave", &environment[1..]), "/from/file");
        let with_flag = format!("engenho leave --config {}", path.display());
        assert_eq!(parsed_in(&with_flag, &[]), "/from/file");
        assert_ne!(parsed_in("engenho leave", &[]), "/from/file");
    }

    #[test]
    fn the_environment_is_typed_and_blamed() {
        let up = |environment: &[(&str, &str)]| parsed_in("engenho up", environment);
        assert_eq!(
            up(&[("ENGENHO_ZONE", "z"), ("ENGENHO_NO_DISCOVERY", "1")]),
            "z true Text info"
        );
        assert_eq!(up(&[("ENGENHO_NO_DISCOVERY", "false")]), " false Text info");
        assert_eq!(
            parsed_in("engenho ticket", &[("ENGENHO_EXPIRES", "soon")]),
            "error 2 invalid value 'soon' for '--expires <DURATION>': want a duration, as 90s, 30m, 24h, 30d or 1h30m \
             (from ENGENHO_EXPIRES in the environment)"
        );
    }

    #[test]
    fn one_variable_is_form_or_filter_of_the_log() {
        let up = |environment: &[(&str, &str)]| parsed_in("engenho up", environment);
        assert_eq!(up(&[("ENGENHO_LOG", "json")]), " false Json info");
        assert_eq!(
            up(&[("ENGENHO_LOG", "warn,revoada=debug")]),
            " false Text warn,revoada=debug"
        );
        assert_eq!(
            up(&[("ENGENHO_LOG", "debug"), ("ENGENHO_LOG_LEVEL", "warn")]),
            " false Text warn"
        );
    }

    #[test]
    fn help_is_no_error() {
        for line in [
            "engenho --help",
            "engenho up --help",
            "engenho --version",
            "engenho chain log -h",
        ] {
            assert!(matches!(parse(&arguments(line)), Err(Stop::Help(_))), "{line}");
        }
    }

    #[test]
    fn output_has_a_short_flag_and_an_alias() {
        let output = |line: &str| match parse(&arguments(line)).unwrap().command {
            Parsed::Status(args) => args.output.output,
            other => panic!("{other:?}"),
        };
        assert_eq!(output("engenho status -o json"), Output::Json);
        assert_eq!(output("engenho status -ojson"), Output::Json);
        assert_eq!(output("engenho status -o text"), Output::Table);
        assert_eq!(output("engenho status"), Output::Table);
    }

    #[test]
    fn the_file_gives_defaults_and_flags_win() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e.toml");
        std::fs::write(
            &path,
            "zone = 'file'\nlabel = ['a=b', 'c=d']\nno-discovery = true\ndata-dir = '/d'\nuses = 7\nout = 'x'\n",
        )
        .unwrap();
        let cli = |rest: &str| parse(&arguments(&format!("engenho {rest} --config {}", path.display())));
        let parsed = cli("up").unwrap();
        assert_eq!(parsed.common.data_dir, std::path::Path::new("/d"));
        let Parsed::Up(args) = parsed.command else { panic!() };
        assert_eq!(
            (args.node.zone.as_str(), args.node.label.len(), args.node.no_discovery),
            ("file", 2, true)
        );
        let Parsed::Up(args) = cli("up --zone flag --label x=y").unwrap().command else {
            panic!()
        };
        assert_eq!((args.node.zone.as_str(), args.node.label.len()), ("flag", 1));
        let Parsed::Ticket(args) = cli("ticket").unwrap().command else {
            panic!()
        };
        assert_eq!(args.uses, 7);
        assert!(cli("chain export").is_ok());

        std::fs::write(&path, "zone = ['a', 'b']\n").unwrap();
        let Err(Stop::Usage(error)) = cli("up") else { panic!() };
        assert!(error.message.ends_with("gives `zone` a list"));
        std::fs::write(&path, "uses = 0\n").unwrap();
        let Err(Stop::Usage(error)) = cli("ticket") else {
            panic!()
        };
        assert!(
            error.message.contains(&format!("from `uses` in {}", path.display())),
            "{}",
            error.message
        );
        std::fs::write(&path, "stop-with-stdin = true\n").unwrap();
        assert!(matches!(cli("up"), Err(Stop::Usage(_))));
        assert!(matches!(
            parse(&arguments("engenho up --config /nonexistent")),
            Err(Stop::Usage(_))
        ));
    }
}
