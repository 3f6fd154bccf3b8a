//! Query strings, read as Go's `url.ParseQuery` reads them: a broken pair is dropped, the rest counts.

use percent_encoding::percent_decode_str;

/// Decoded pairs in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses the part of a URL after the question mark.
    pub fn parse(text: &str) -> Self {
        let pairs = text
            .split('&')
            .filter(|p| !p.is_empty() && !p.contains(';'))
            .filter_map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                Some((decode(key)?, decode(value)?))
            });
        Self(pairs.collect())
    }

    /// First value of `key`; empty if there is none.
    pub fn get(&self, key: &str) -> &str {
        self.find(key).unwrap_or_default()
    }

    /// First value of `key`.
    pub fn find(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// All values of `key`.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// A boolean as upstream converts one: absent, `0` and any spelling of `false` mean no, all else means yes.
    pub fn bool(&self, key: &str) -> Option<bool> {
        self.find(key)
            .map(|v| !(v.is_empty() && key != "watch" || v == "0" || v.eq_ignore_ascii_case("false")))
    }
}

fn decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(found) = bytes[at..].iter().position(|b| *b == b'%') {
        let digits = bytes.get(at + found + 1..at + found + 3)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        at += found + 3;
    }
    let spaced = text.replace('+', " ");
    Some(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_pairs_are_dropped() {
        let q = Query::parse("a=1;b=2&labelSelector=%zz&limit=1&limit=2&x=a%20b+c&empty");
        assert_eq!(q.get("a"), "");
        assert_eq!(q.find("labelSelector"), None);
        assert_eq!(q.get("limit"), "1");
        assert_eq!(q.get("x"), "a b c");
        assert_eq!(q.find("empty"), Some(""));
    }
}
