//! The table of field numbers: parsed once, when the first protobuf body arrives.

use std::collections::BTreeMap;
use std::sync::OnceLock;

static TABLE: &str = include_str!("fields.txt");

/// When a zero value is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// A zero means absent.
    Omit,
    /// A zero was meant, or is always written.
    Keep,
    /// The fields of the message belong to the one around it.
    Inline,
}

/// One field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// JSON name.
    pub name: &'static str,
    /// Type code, as the head of the table explains.
    pub code: &'static str,
    /// When a zero value is left out.
    pub presence: Presence,
}

/// Fields of a message by number.
pub type Message = BTreeMap<u64, Field>;

/// The message of that name, e.g. `core.v1.Pod`.
pub fn message(name: &str) -> Option<&'static Message> {
    static PARSED: OnceLock<BTreeMap<&'static str, Message>> = OnceLock::new();
    PARSED.get_or_init(|| parse(TABLE)).get(name)
}

/// Name of a kind's message.
pub fn name_of(group: &str, version: &str, kind: &str) -> String {
    if kind == "DeleteOptions" {
        return "meta.v1.DeleteOptions".into();
    }
    let package = if group.is_empty() {
        "core"
    } else {
        group.split('.').next().unwrap_or_default()
    };
    format!("{package}.{version}.{kind}")
}

fn parse(table: &'static str) -> BTreeMap<&'static str, Message> {
    let mut messages = BTreeMap::new();
    let mut current: Option<&'static str> = None;
    for line in table.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        let Some(rest) = line.strip_prefix(' ') else {
            current = Some(line);
            messages.insert(line, Message::new());
            continue;
        };
        let mut words = rest.split(' ');
        let (Some(number), Some(name), Some(code)) =
            (words.next().and_then(|n| n.parse().ok()), words.next(), words.next())
        else {
            continue;
        };
        let presence = match words.next() {
            Some("^") => Presence::Inline,
            Some(_) => Presence::Keep,
            None => Presence::Omit,
        };
        if let Some(fields) = current.and_then(|c| messages.get_mut(c)) {
            fields.insert(number, Field { name, code, presence });
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_a_known_type() {
        let all = parse(TABLE);
        assert!(all.len() > 400);
        for (message, fields) in &all {
            for field in fields.values() {
                let code = field.code.trim_start_matches(['[', '{', 'L']);
                let special = code.starts_with('$') || matches!(code, "s" | "b" | "t" | "i" | "d");
                assert!(special || all.contains_key(code), "{message}.{}: {code}", field.name);
            }
        }
    }
}
