//! Label selectors: upstream's whole grammar, with its error texts.

use engenho_validation::names;
use serde_json::{Value, json};

/// How a label must stand to the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Equals,
    NotEquals,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

/// Conditions that must all hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector(Vec<Requirement>);

impl Requirement {
    fn new(key: &str, operator: Operator, values: Vec<String>) -> Result<Self, String> {
        let wrong = names::qualified(key);
        if !wrong.is_empty() {
            return Err(format!("<nil>: Invalid value: {key:?}: {}", wrong.join("; ")));
        }
        if matches!(operator, Operator::GreaterThan | Operator::LessThan)
            && values.iter().any(|v| v.parse::<i64>().is_err())
        {
            return Err(format!(
                "values[0]: Invalid value: {:?}: for 'Gt', 'Lt' operators, the value must be an integer",
                values.first().map_or("", String::as_str)
            ));
        }
        for (i, value) in values.iter().enumerate() {
            let wrong = names::label_value(value);
            if !wrong.is_empty() {
                return Err(format!(
                    "values[{i}][{key}]: Invalid value: {value:?}: {}",
                    wrong.join("; ")
                ));
            }
        }
        Ok(Self {
            key: key.into(),
            operator,
            values,
        })
    }

    /// Whether the labels of an object meet the condition.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        let have = label(&self.key);
        let listed = || have.is_some_and(|have| self.values.iter().any(|v| v == have));
        match self.operator {
            Operator::In | Operator::Equals => listed(),
            Operator::NotIn | Operator::NotEquals => !listed(),
            Operator::Exists => have.is_some(),
            Operator::DoesNotExist => have.is_none(),
            Operator::GreaterThan | Operator::LessThan => {
                let numbers = have
                    .and_then(|h| h.parse::<i64>().ok())
                    .zip(self.values.first().and_then(|v| v.parse().ok()));
                numbers.is_some_and(|(have, want): (i64, i64)| {
                    if self.operator == Operator::GreaterThan {
                        have > want
                    } else {
                        have < want
                    }
                })
            }
        }
    }
}

impl LabelSelector {
    /// Parses `key=value,key in (a,b),!key,...`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let tokens = scan(text);
        let mut parser = Parser { tokens: &tokens, at: 0 };
        parser.selector().map(Self)
    }

    /// The conditions as LabelSelectorRequirements, in the order of their keys; what these cannot say is left out.
    pub fn requirements(&self) -> Vec<Value> {
        let mut sorted: Vec<&Requirement> = self.0.iter().collect();
        sorted.sort_by(|a, b| a.key.cmp(&b.key));
        let requirement = |requirement: &Requirement| {
            let operator = match requirement.operator {
                Operator::In | Operator::Equals => "In",
                Operator::NotIn | Operator::NotEquals => "NotIn",
                Operator::Exists => "Exists",
                Operator::DoesNotExist => "DoesNotExist",
                Operator::GreaterThan | Operator::LessThan => return None,
            };
            let mut told = json!({"key": requirement.key, "operator": operator});
            if !requirement.values.is_empty() {
                told["values"] = requirement.values.as_slice().into();
            }
            Some(told)
        };
        sorted.into_iter().filter_map(requirement).collect()
    }

    /// Whether everything matches.
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the labels of an object match.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|r| r.matches(&label))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Symbol,
    End,
}

type Token = (Kind, String);

fn scan(text: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some(&(start, c)) = chars.peek() {
        if matches!(c, ' ' | '\t' | '\r' | '\n') {
            chars.next();
            continue;
        }
        let special = |c: char| matches!(c, '=' | '!' | '(' | ')' | ',' | '<' | '>');
        let mut end = start;
        if special(c) {
            // Two-character operators are longest matches.
            for len in [2, 1] {
                let Some(piece) = text.get(start..start + len) else {
                    continue;
                };
                if matches!(piece, "==" | "!=" | "=" | "!" | "(" | ")" | "," | "<" | ">") {
                    end = start + len;
                    break;
                }
            }
            out.push((Kind::Symbol, text[start..end].to_owned()));
        } else {
            end = text[start..]
                .find(|c: char| special(c) || matches!(c, ' ' | '\t' | '\r' | '\n'))
                .map_or(text.len(), |n| start + n);
            out.push((Kind::Word, text[start..end].to_owned()));
        }
        while chars.peek().is_some_and(|(at, _)| *at < end) {
            chars.next();
        }
    }
    out.push((Kind::End, String::new()));
    out
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> (Kind, &str) {
        let (kind, text) = &self.tokens[self.at.min(self.tokens.len() - 1)];
        (*kind, text)
    }

    fn next(&mut self) -> (Kind, String) {
        let (kind, text) = self.peek();
        let token = (kind, text.to_owned());
        self.at += 1;
        token
    }

    fn selector(&mut self) -> Result<Vec<Requirement>, String> {
        let mut out = Vec::new();
        loop {
            match self.peek() {
                (Kind::Word, _) | (Kind::Symbol, "!") => {
                    out.push(
                        self.requirement()
                            .map_err(|e| format!("unable to parse requirement: {e}"))?,
                    );
                    match self.next() {
                        (Kind::End, _) => return Ok(out),
                        (Kind::Symbol, s) if s == "," => match self.peek() {
                            (Kind::Word, _) | (Kind::Symbol, "!") => {}
                            (_, found) => return Err(format!("found '{found}', expected: identifier after ','")),
                        },
                        (_, found) => return Err(format!("found '{found}', expected: ',' or 'end of string'")),
                    }
                }
                (Kind::End, _) => return Ok(out),
                (_, found) => return Err(format!("found '{found}', expected: !, identifier, or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let negated = self.peek() == (Kind::Symbol, "!");
        if negated {
            self.next();
        }
        let (kind, key) = self.next();
        if kind != Kind::Word {
            return Err(format!("found '{key}', expected: identifier"));
        }
        let wrong = names::qualified(&key);
        if !wrong.is_empty() {
            return Err(format!("<nil>: Invalid value: {key:?}: {}", wrong.join("; ")));
        }
        if negated {
            return Requirement::new(&key, Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.peek(), (Kind::End, _) | (Kind::Symbol, ",")) {
            return Requirement::new(&key, Operator::Exists, Vec::new());
        }
        let (kind, text) = self.next();
        let operator = match (kind, text.as_str()) {
            (Kind::Word, "in") => Operator::In,
            (Kind::Word, "notin") => Operator::NotIn,
            (Kind::Symbol, "=" | "==") => Operator::Equals,
            (Kind::Symbol, "!=") => Operator::NotEquals,
            (Kind::Symbol, ">") => Operator::GreaterThan,
            (Kind::Symbol, "<") => Operator::LessThan,
            (_, found) => return Err(format!("found '{found}', expected: in, notin, =, ==, !=, gt, lt")),
        };
        let values = match operator {
            Operator::In | Operator::NotIn => self.value_list()?,
            _ => match self.peek() {
                (Kind::End, _) | (Kind::Symbol, ",") => vec![String::new()],
                _ => match self.next() {
                    (Kind::Word, value) => vec![value],
                    (_, found) => return Err(format!("found '{found}', expected: identifier")),
                },
            },
        };
        Requirement::new(&key, operator, values)
    }

    fn value_list(&mut self) -> Result<Vec<String>, String> {
        match self.next() {
            (Kind::Symbol, s) if s == "(" => {}
            (_, found) => return Err(format!("found '{found}' expected: '('")),
        }
        let mut values = Vec::new();
        let mut wants_value = true;
        loop {
            match self.next() {
                (Kind::Word, value) if wants_value => {
                    values.push(value);
                    wants_value = false;
                }
                (Kind::Symbol, s) if s == "," => {
                    if wants_value {
                        values.push(String::new());
                    }
                    wants_value = true;
                }
                (Kind::Symbol, s) if s == ")" => {
                    if wants_value {
                        values.push(String::new());
                    }
                    values.sort();
                    values.dedup();
                    return Ok(values);
                }
                (_, found) => return Err(format!("found '{found}', expected: ',', ')' or identifier")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let parsed = LabelSelector::parse(selector).expect("a selector");
        parsed.matches(|key| labels.iter().find(|(k, _)| *k == key).map(|(_, v)| *v))
    }

    #[test]
    fn the_grammar_is_upstreams() {
        let labels = [("env", "prod"), ("tier", "web"), ("n", "5")];
        for yes in [
            "",
            "env",
            "env=prod",
            "env==prod",
            "env in (prod, dev)",
            "!x",
            "x!=1",
            "env,tier=web",
            "n>4",
            "n < 6",
            "x notin (a)",
        ] {
            assert!(matches(yes, &labels), "{yes}");
        }
        for no in ["x", "!env", "env!=prod", "env notin (prod)", "env=", "env in ()", "n>5"] {
            assert!(!matches(no, &labels), "{no}");
        }
        assert!(matches("env in ()", &[("env", "")]));
        for bad in [
            "env in prod",
            "env=prod,",
            "=x",
            "a b",
            "a in (b",
            "a=(",
            "-a=1",
            "a>x",
            "a=b c",
        ] {
            assert!(LabelSelector::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = LabelSelector::parse(&text);
        }
    }
}
