//! The settings file: TOML whose keys are the long flags.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::output::CommandError;

/// The largest file that is read, bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where a file's values stand.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The file.
    pub path: PathBuf,
    /// Values by key; a list has several.
    pub values: BTreeMap<String, Vec<String>>,
}

/// The file named by `--config` or `ENGENHO_CONFIG`. Looked up before the arguments are parsed, because the file
/// supplies their defaults.
pub fn config_path(arguments: &[OsString], environment: Option<OsString>) -> Option<PathBuf> {
    let mut rest = arguments.iter().skip(1);
    let mut found = None;
    while let Some(argument) = rest.next() {
        match argument.to_str() {
            Some("--") => break,
            Some("--config") => found = rest.next().map(PathBuf::from),
            Some(text) => {
                if let Some(path) = text.strip_prefix("--config=") {
                    found = Some(PathBuf::from(path));
                }
            }
            None => {}
        }
    }
    found.or_else(|| environment.filter(|path| !path.is_empty()).map(PathBuf::from))
}

impl Settings {
    /// Reads a file whose keys must all be `known`.
    pub fn read(path: &Path, known: &BTreeSet<String>) -> Result<Self, CommandError> {
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
            .map_err(|error| {
                CommandError::usage(
                    format!("the settings file {} cannot be read: {error}", path.display()),
                    "give a readable TOML file with --config, or leave it out",
                )
            })?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(CommandError::usage(
                format!(
                    "the settings file {} is longer than {FILE_BYTES_MAX} bytes",
                    path.display()
                ),
                "give a TOML file whose keys are the long flags",
            ));
        }
        Self::parse(path, &text, known)
    }

    fn parse(path: &Path, text: &str, known: &BTreeSet<String>) -> Result<Self, CommandError> {
        let table: toml::Table = toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            let at = line.map_or_else(String::new, |line| format!(" line {line}:"));
            CommandError::usage(
                format!(
                    "the settings file {} is not TOML:{at} {}",
                    path.display(),
                    error.message()
                ),
                "write one `flag = value` a line, text in quotes",
            )
        })?;
        let mut values = BTreeMap::new();
        for (key, value) in table {
            if !known.contains(&key) {
                let hint = match known.get(&key.replace('_', "-").to_lowercase()) {
                    Some(right) => format!("write it as `{right}`"),
                    None => "the keys are the long flags without their dashes; see `engenho up --help`".to_owned(),
                };
                return Err(CommandError::usage(
                    format!("the settings file {} has the unknown key `{key}`", path.display()),
                    hint,
                ));
            }
            let texts = match value {
                toml::Value::Array(list) => list.iter().map(scalar).collect(),
                single => scalar(&single).map(|text| vec![text]),
            };
            let Some(texts) = texts else {
                return Err(CommandError::usage(
                    format!(
                        "the settings file {}: `{key}` is neither text, number, true, false nor a list of those",
                        path.display()
                    ),
                    format!("write it as the flag --{key} takes it, in quotes"),
                ));
            };
            values.insert(key, texts);
        }
        Ok(Self {
            path: path.to_path_buf(),
            values,
        })
    }
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> BTreeSet<String> {
        ["name", "label", "no-discovery", "uses"].map(str::to_owned).into()
    }

    fn parse(text: &str) -> Result<Settings, CommandError> {
        Settings::parse(Path::new("/etc/e.toml"), text, &known())
    }

    #[test]
    fn values_become_texts() {
        let settings = parse("name = 'a'\nlabel = ['a=b', 'c=d']\nno-discovery = true\nuses = 3\n").unwrap();
        assert_eq!(settings.values["label"], ["a=b", "c=d"]);
        assert_eq!(settings.values["no-discovery"], ["true"]);
        assert_eq!(settings.values["uses"], ["3"]);
    }

    #[test]
    fn mistakes_are_named_with_the_file() {
        let error = parse("nane = 'a'").unwrap_err();
        assert_eq!(
            error.message,
            "the settings file /etc/e.toml has the unknown key `nane`"
        );
        assert_eq!(error.exit_code(), 2);
        assert_eq!(
            parse("no_discovery = true").unwrap_err().hint,
            "write it as `no-discovery`"
        );
        assert!(parse("name = 'a'\nname").unwrap_err().message.contains("line 2:"));
        assert!(
            parse("[name]\nx = 1")
                .unwrap_err()
                .message
                .contains("`name` is neither")
        );
        assert!(parse("label = [['a']]").is_err());
    }

    #[test]
    fn the_file_is_found_before_parsing() {
        let find = |line: &str| {
            let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            config_path(&arguments, Some("env".into())).map(|path| path.display().to_string())
        };
        assert_eq!(find("engenho up --config a"), Some("a".into()));
        assert_eq!(find("engenho --config=b up"), Some("b".into()));
        assert_eq!(find("engenho up"), Some("env".into()));
        assert_eq!(find("engenho join -- --config=b"), Some("env".into()));
        assert_eq!(config_path(&[], Some(OsString::new())), None);
    }
}
