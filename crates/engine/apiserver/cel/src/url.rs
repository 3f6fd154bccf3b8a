//! URLs as far as expressions take them apart.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::text::quote_go;

/// Letters a path is not written with.
const PATH: AsciiSet = CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'[')
    .add(b']')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    .add(b'%')
    .add(b'?')
    .add(b'#');

/// A URL in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Before the first colon, small letters.
    pub scheme: String,
    /// Host and port.
    pub host: String,
    /// What is decoded of the path.
    pub path: String,
    /// The path as it was written, if that is a way to write it.
    raw_path: String,
    /// After the question mark, as it was written.
    pub query: String,
    /// The whole as it was written.
    pub text: String,
}

impl Url {
    /// Reads a URL that is absolute or a path, or says why it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fails = |why: &str| format!("parse {}: {why}", quote_go(text));
        if text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
            return Err(fails("net/url: invalid control character in URL"));
        }
        if text.is_empty() {
            return Err(fails("empty url"));
        }
        let (scheme, rest) = split_scheme(text).map_err(fails)?;
        // A fragment is of no interest, and is not read where only absolute URLs are.
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if !rest.starts_with('/') {
            if !scheme.is_empty() {
                return Ok(Self {
                    scheme,
                    host: String::new(),
                    path: String::new(),
                    raw_path: String::new(),
                    query: query.to_owned(),
                    text: text.to_owned(),
                });
            }
            return Err(fails("invalid URI for request"));
        }
        let mut host = String::new();
        let mut path = rest;
        let has_host = !scheme.is_empty() || !rest.starts_with("///");
        if let Some(after) = rest.strip_prefix("//").filter(|_| has_host) {
            let (authority, after) = after.split_at(after.find('/').unwrap_or(after.len()));
            host = read_host(authority).map_err(|why| fails(&why))?;
            path = after;
        }
        let decoded = decode(path).map_err(|why| fails(&why))?;
        Ok(Self {
            scheme,
            host,
            path: decoded,
            raw_path: path.to_owned(),
            query: query.to_owned(),
            text: text.to_owned(),
        })
    }

    /// The host without its port, and without brackets.
    pub fn hostname(&self) -> &str {
        if let Some(rest) = self.host.strip_prefix('[') {
            return rest.split_once(']').map_or(rest, |(host, _)| host);
        }
        self.host.rsplit_once(':').map_or(self.host.as_str(), |(host, _)| host)
    }

    /// The port, empty if there is none.
    pub fn port(&self) -> &str {
        let after = match self.host.rsplit_once(']') {
            Some((_, after)) => after,
            None => &self.host,
        };
        after.rsplit_once(':').map_or("", |(_, port)| port)
    }

    /// The path as it is sent.
    pub fn escaped_path(&self) -> String {
        let plain = utf8_percent_encode(&self.path, &PATH).to_string();
        let is_way_to_write = |path: &str| {
            path.bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte))
        };
        if self.raw_path != plain && is_way_to_write(&self.raw_path) {
            return self.raw_path.clone();
        }
        plain
    }

    /// The parameters of the query; those that cannot be read are left out.
    pub fn query_values(&self) -> BTreeMap<String, Vec<String>> {
        let mut values = BTreeMap::<String, Vec<String>>::new();
        for pair in self
            .query
            .split('&')
            .filter(|pair| !pair.is_empty() && !pair.contains(';'))
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = |text: &str| decode(&text.replace('+', " ")).ok();
            if let (Some(name), Some(value)) = (decoded(name), decoded(value)) {
                values.entry(name).or_default().push(value);
            }
        }
        values
    }
}

fn split_scheme(text: &str) -> Result<(String, &str), &'static str> {
    for (at, letter) in text.char_indices() {
        match letter {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme"),
            ':' => return Ok((text[..at].to_ascii_lowercase(), &text[at + 1..])),
            _ => break,
        }
    }
    Ok((String::new(), text))
}

fn read_host(authority: &str) -> Result<String, String> {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let port = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or("missing ']' in host")?.1,
        None => host.rfind(':').map_or("", |at| &host[at..]),
    };
    let valid = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()));
    if !valid {
        return Err(format!("invalid port {} after host", quote_go(port)));
    }
    if let Some(odd) = host.chars().find(|letter| " <>\"\\^`{|}".contains(*letter)) {
        return Err(format!("invalid character {} in host name", quote_go(&odd.to_string())));
    }
    decode(host)
}

fn decode(text: &str) -> Result<String, String> {
    let bytes = text.as_bytes();
    for (at, _) in text.match_indices('%') {
        let digits = bytes.get(at + 1..at + 3);
        if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            let end = (at + 3).min(text.len());
            let shown = text.get(at..end).unwrap_or("%");
            return Err(format!("invalid URL escape {}", quote_go(shown)));
        }
    }
    Ok(percent_decode_str(text).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let url = Url::parse("https://user@[::1]:80/a b?k=1&k=2&x+y=%20#f").unwrap();
        assert_eq!((url.scheme.as_str(), url.host.as_str()), ("https", "[::1]:80"));
        assert_eq!((url.hostname(), url.port()), ("::1", "80"));
        assert_eq!(url.escaped_path(), "/a%20b");
        assert_eq!(url.query_values()["k"], ["1", "2"]);
        assert_eq!(url.query_values()["x y"], [" "]);
        let path = Url::parse("/path").unwrap();
        assert_eq!((path.hostname(), path.port(), path.scheme.as_str()), ("", "", ""));
        assert_eq!(Url::parse("https://example.com").unwrap().escaped_path(), "");
        assert_eq!(Url::parse("https://e.com/a%2Fb").unwrap().escaped_path(), "/a%2Fb");
    }

    #[test]
    fn what_is_none() {
        for (text, why) in [
            (
                "../relative-path",
                "parse \"../relative-path\": invalid URI for request",
            ),
            (":x", "parse \":x\": missing protocol scheme"),
            (
                "https://a b.com/",
                "parse \"https://a b.com/\": invalid character \" \" in host name",
            ),
            ("https://a:x/", "parse \"https://a:x/\": invalid port \":x\" after host"),
            ("/%zz", "parse \"/%zz\": invalid URL escape \"%zz\""),
            ("", "parse \"\": empty url"),
        ] {
            assert_eq!(Url::parse(text).unwrap_err(), why);
        }
    }
}
