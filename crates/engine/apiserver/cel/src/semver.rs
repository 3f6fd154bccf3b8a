//! Semantic versions (semver.org), as they are read, normalised and compared.

use std::cmp::Ordering;

/// A semantic version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Changes that break.
    pub major: u64,
    /// Changes that add.
    pub minor: u64,
    /// Changes that mend.
    pub patch: u64,
    pre: Vec<Part>,
    build: Vec<String>,
}

/// A part of what comes before a release.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Text(String),
}

fn number(text: &str, what: &str) -> Result<u64, String> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "Invalid character(s) found in {what} number {}",
            crate::text::quote_go(text)
        ));
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(format!(
            "{} number must not contain leading zeroes {}",
            capital(what),
            crate::text::quote_go(text)
        ));
    }
    text.parse().map_err(|_| {
        let why = if text.is_empty() {
            "invalid syntax"
        } else {
            "value out of range"
        };
        format!("strconv.ParseUint: parsing {}: {why}", crate::text::quote_go(text))
    })
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
        .unwrap_or_default()
}

impl Version {
    /// Reads a version.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("Version string empty".to_owned());
        }
        let mut parts = text.splitn(3, '.');
        let (Some(major), Some(minor), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("No Major.Minor.Patch elements found".to_owned());
        };
        let (rest, build) = rest
            .split_once('+')
            .map_or((rest, None), |(rest, build)| (rest, Some(build)));
        let (patch, pre) = rest
            .split_once('-')
            .map_or((rest, None), |(patch, pre)| (patch, Some(pre)));
        let major = number(major, "major")?;
        let minor = number(minor, "minor")?;
        let patch = number(patch, "patch")?;
        let pre = pre.map_or(Ok(Vec::new()), |all| all.split('.').map(part).collect())?;
        let build = build.map_or(Ok(Vec::new()), |all| all.split('.').map(metadata).collect())?;
        Ok(Self {
            major,
            minor,
            patch,
            pre,
            build,
        })
    }

    /// Reads a version that may have a `v` before it, zeros before its numbers, and only one or two of them.
    pub fn parse_normalized(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let mut parts: Vec<String> = text.splitn(3, '.').map(without_zeros).collect();
        if parts.len() < 3 {
            if parts.last().is_some_and(|last| last.contains(['+', '-'])) {
                return Err("short version cannot contain PreRelease/Build meta data".to_owned());
            }
            parts.resize(3, "0".to_owned());
        }
        Self::parse(&parts.join("."))
    }

    /// The order of versions; what they were built from does not matter.
    pub fn compare(&self, other: &Self) -> Ordering {
        let numbers = |of: &Self| (of.major, of.minor, of.patch);
        let released = other.pre.is_empty().cmp(&self.pre.is_empty()).reverse();
        numbers(self)
            .cmp(&numbers(other))
            .then(released)
            .then_with(|| self.pre.cmp(&other.pre))
    }
}

fn without_zeros(part: &str) -> String {
    if part.len() < 2 {
        return part.to_owned();
    }
    let short = part.trim_start_matches('0');
    if short.starts_with(|c: char| c.is_ascii_digit()) {
        short.to_owned()
    } else {
        format!("0{short}")
    }
}

fn is_alphanumeric(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn part(text: &str) -> Result<Part, String> {
    if text.is_empty() {
        return Err("Prerelease is empty".to_owned());
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        if text.len() > 1 && text.starts_with('0') {
            return Err(format!(
                "Numeric PreRelease version must not contain leading zeroes {}",
                crate::text::quote_go(text)
            ));
        }
        return number(text, "prerelease").map(Part::Number);
    }
    if is_alphanumeric(text) {
        return Ok(Part::Text(text.to_owned()));
    }
    Err(format!(
        "Invalid character(s) found in prerelease {}",
        crate::text::quote_go(text)
    ))
}

fn metadata(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("Build meta data is empty".to_owned());
    }
    if !is_alphanumeric(text) {
        return Err(format!(
            "Invalid character(s) found in build meta data {}",
            crate::text::quote_go(text)
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order() {
        let ascending = [
            "0.1.2",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0",
            "1.2.3",
        ];
        for pair in ascending.windows(2) {
            let [a, b] = [pair[0], pair[1]].map(|text| Version::parse(text).unwrap());
            assert_eq!(a.compare(&b), Ordering::Less, "{pair:?}");
            assert_eq!(b.compare(&a), Ordering::Greater, "{pair:?}");
        }
        let built = Version::parse("1.0.0+a").unwrap();
        assert_eq!(built.compare(&Version::parse("1.0.0+b").unwrap()), Ordering::Equal);
    }

    #[test]
    fn reading() {
        for bad in [
            "", "1", "1.0", "v1.0.0", "01.0.0", "1.0.0-", "1.0.0-01", "1.0.0+", "1.0.x", "1..0",
        ] {
            assert!(Version::parse(bad).is_err(), "{bad}");
        }
        for (text, numbers) in [
            ("v1.0", (1, 0, 0)),
            ("01.01.01", (1, 1, 1)),
            ("0", (0, 0, 0)),
            ("1.2.3-x", (1, 2, 3)),
        ] {
            let version = Version::parse_normalized(text).unwrap();
            assert_eq!((version.major, version.minor, version.patch), numbers, "{text}");
        }
        assert!(Version::parse_normalized("1.0-alpha").is_err());
    }
}
