//! Who stands behind a client certificate, a static token or a service account name.

use std::collections::BTreeMap;
use std::fmt::Write;

use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::attributes::Identity;

/// The key of [`Identity::extra`] that tells one credential from another.
pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";
/// Prefix of user names of service accounts.
pub const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";
/// Group of all service accounts, and with `:NAMESPACE` after it of those of a namespace.
pub const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
/// Most tokens a token file may hold.
pub const TOKENS_MAX: usize = 10_000;

/// Subject attribute that holds the user's UID (Kubernetes 1.34, `AllowParsingUserUIDFromCertAuth`).
const UID_OID: &str = "1.3.6.1.4.1.57683.2";

/// Why a client certificate names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is no X.509 certificate.
    #[error("the client certificate is not a valid X.509 certificate: {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// Its subject has no common name, or an empty one.
    #[error("the client certificate has no common name; the common name is the user name")]
    NoCommonName,
    /// A subject attribute is not a string.
    #[error("the client certificate's subject attribute {attribute} is not a string")]
    NotText {
        /// Which attribute.
        attribute: &'static str,
    },
    /// The UID attribute is empty or there are several.
    #[error("the client certificate must have at most one UID, and no empty one; it has {count}")]
    Uid {
        /// How many there are.
        count: usize,
    },
}

/// The identity in a certificate (DER) that was verified before: common name, organisations as groups, UID.
/// Groups that every authenticated user has are added later.
pub fn identity_from_certificate(der: &[u8]) -> Result<Identity, CertificateError> {
    let malformed = |reason: String| CertificateError::Malformed { reason };
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|e| malformed(e.to_string()))?;
    if !rest.is_empty() {
        return Err(malformed(format!("{} bytes follow it", rest.len())));
    }
    let subject = certificate.subject();
    // Of several common names the last is the name, as in Go.
    let user = match subject.iter_common_name().last() {
        Some(name) => name
            .as_str()
            .map_err(|_| CertificateError::NotText { attribute: "CN" })?,
        None => "",
    };
    if user.is_empty() {
        return Err(CertificateError::NoCommonName);
    }
    let mut groups = Vec::new();
    for group in subject.iter_organization() {
        let group = group
            .as_str()
            .map_err(|_| CertificateError::NotText { attribute: "O" })?;
        groups.push(group.to_owned());
    }
    let mut uids = Vec::new();
    for attribute in subject.iter_attributes() {
        if attribute.attr_type().to_id_string() == UID_OID {
            let uid = attribute
                .as_str()
                .map_err(|_| CertificateError::NotText { attribute: UID_OID })?;
            uids.push(uid.to_owned());
        }
    }
    if uids.len() > 1 || uids.first().is_some_and(String::is_empty) {
        return Err(CertificateError::Uid { count: uids.len() });
    }
    let mut credential = String::from("X509SHA256=");
    for byte in Sha256::digest(der) {
        // Writing to a string cannot fail.
        let _ = write!(credential, "{byte:02x}");
    }
    Ok(Identity {
        user: user.to_owned(),
        uid: uids.pop().unwrap_or_default(),
        groups,
        extra: [(CREDENTIAL_ID.to_owned(), vec![credential])].into(),
    })
}

/// User name of a service account.
pub fn service_account_user(namespace: &str, name: &str) -> String {
    format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}")
}

/// Namespace and name of the service account whose user name this is.
pub fn service_account_of(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

/// The identity of a service account, with its groups.
pub fn service_account_identity(namespace: &str, name: &str, uid: &str) -> Identity {
    Identity {
        user: service_account_user(namespace, name),
        uid: uid.to_owned(),
        groups: vec![SERVICE_ACCOUNTS.to_owned(), format!("{SERVICE_ACCOUNTS}:{namespace}")],
        ..Identity::default()
    }
}

/// Why a token file is unusable. Never quotes a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenFileError {
    /// A line has too few columns.
    #[error(
        "line {line} of the token file has {columns} column(s); write token,user,uid and, if wanted, \"group1,group2\""
    )]
    Columns {
        /// Line, from 1.
        line: u64,
        /// How many there are.
        columns: usize,
    },
    /// A line has no user name.
    #[error("line {line} of the token file names no user; the second column is the user name")]
    NoUser {
        /// Line, from 1.
        line: u64,
    },
    /// A line is not text or not CSV.
    #[error("line {line} of the token file cannot be read: {reason}")]
    Line {
        /// Line, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// A token stands there twice.
    #[error("line {line} of the token file repeats the token of line {first}; remove one of them")]
    Repeated {
        /// Line, from 1.
        line: u64,
        /// Where it stands first.
        first: u64,
    },
    /// There are too many tokens.
    #[error("the token file holds more than {TOKENS_MAX} tokens; use certificates or service accounts instead")]
    TooMany,
}

/// Static bearer tokens. Holds hashes only.
#[derive(Debug, Clone, Default)]
pub struct TokenTable {
    entries: Vec<([u8; 32], Identity)>,
    /// Lines without a token.
    empty: Vec<u64>,
}

impl TokenTable {
    /// Reads the text of a token file: CSV lines `token,user,uid[,"group1,group2"]`, as upstream's
    /// `--token-auth-file`. A line with an empty token is left out; a repeated token is an error here, where
    /// upstream lets the last one win.
    pub fn parse(text: &str) -> Result<Self, TokenFileError> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(text.as_bytes());
        let mut table = Self::default();
        let mut lines: BTreeMap<[u8; 32], u64> = BTreeMap::new();
        let mut record = csv::StringRecord::new();
        loop {
            let line = reader.position().line();
            match reader.read_record(&mut record) {
                Ok(false) => return Ok(table),
                Ok(true) => {}
                Err(error) => {
                    return Err(TokenFileError::Line {
                        line: error.position().map_or(line, csv::Position::line),
                        reason: "it is not UTF-8 text in columns".into(),
                    });
                }
            }
            let line = record.position().map_or(line, |at| line_of(text, at));
            if record.len() < 3 {
                return Err(TokenFileError::Columns {
                    line,
                    columns: record.len(),
                });
            }
            let column = |n: usize| record.get(n).unwrap_or_default();
            if column(0).is_empty() {
                table.empty.push(line);
                continue;
            }
            if column(1).is_empty() {
                return Err(TokenFileError::NoUser { line });
            }
            let hash = digest(column(0));
            if let Some(first) = lines.insert(hash, line) {
                return Err(TokenFileError::Repeated { line, first });
            }
            if table.entries.len() >= TOKENS_MAX {
                return Err(TokenFileError::TooMany);
            }
            let identity = Identity {
                user: column(1).to_owned(),
                uid: column(2).to_owned(),
                groups: column(3)
                    .split(',')
                    .filter(|g| !g.is_empty())
                    .map(str::to_owned)
                    .collect(),
                ..Identity::default()
            };
            table.entries.push((hash, identity));
        }
    }

    /// Whose token this is. Takes the same time whether and wherever the token is found.
    pub fn lookup(&self, token: &str) -> Option<&Identity> {
        let hash = digest(token);
        let mut found = None;
        for (at, (known, _)) in self.entries.iter().enumerate() {
            let difference = known.iter().zip(&hash).fold(0u8, |d, (a, b)| d | (a ^ b));
            if std::hint::black_box(difference) == 0 {
                found = Some(at);
            }
        }
        found.map(|at| &self.entries[at].1)
    }

    /// Lines that were left out because their token is empty: worth a warning.
    pub fn lines_without_token(&self) -> &[u64] {
        &self.empty
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// The line on which a record starts: its position is before any empty lines that were skipped.
fn line_of(text: &str, at: &csv::Position) -> u64 {
    let rest = usize::try_from(at.byte()).ok().and_then(|at| text.as_bytes().get(at..));
    let skipped = rest
        .unwrap_or_default()
        .iter()
        .take_while(|b| matches!(b, b'\r' | b'\n'));
    at.line() + skipped.filter(|b| **b == b'\n').count() as u64
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair};

    use super::*;

    fn certificate(subject: &[(DnType, DnValue)]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in subject {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    fn uid() -> DnType {
        DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 57683, 2])
    }

    #[test]
    fn certificates_name_user_group_and_uid() {
        let der = certificate(&[
            (DnType::OrganizationName, "system:masters".into()),
            (DnType::CommonName, "kubernetes-admin".into()),
            (uid(), "1234".into()),
        ]);
        let identity = identity_from_certificate(&der).expect("an identity");
        assert_eq!(identity.user, "kubernetes-admin");
        assert_eq!(identity.groups, ["system:masters"]);
        assert_eq!(identity.uid, "1234");
        let credential = &identity.extra[CREDENTIAL_ID][0];
        assert_eq!(credential.len(), "X509SHA256=".len() + 64);

        let none = certificate(&[(DnType::OrganizationName, "dev".into())]);
        assert_eq!(identity_from_certificate(&none), Err(CertificateError::NoCommonName));
        let empty = certificate(&[(DnType::CommonName, "u".into()), (uid(), "".into())]);
        assert_eq!(
            identity_from_certificate(&empty),
            Err(CertificateError::Uid { count: 1 })
        );
        let mut longer = der.clone();
        longer.push(0);
        for broken in [&der[..der.len() - 1], &longer, b"x", b""] {
            assert!(matches!(
                identity_from_certificate(broken),
                Err(CertificateError::Malformed { .. })
            ));
        }
    }

    #[test]
    fn service_account_names_are_taken_apart() {
        assert_eq!(service_account_of("system:serviceaccount:ns:bot"), Some(("ns", "bot")));
        for user in [
            "system:serviceaccount:ns:",
            "system:serviceaccount::bot",
            "system:serviceaccount:a:b:c",
            "bot",
        ] {
            assert_eq!(service_account_of(user), None, "{user}");
        }
        let bot = service_account_identity("ns", "bot", "u");
        assert_eq!(bot.groups, ["system:serviceaccounts", "system:serviceaccounts:ns"]);
    }

    #[test]
    fn token_files_are_upstreams_csv() {
        let table = TokenTable::parse(
            "t0ken,jane,1,\"dev,ops\"\r\n\nsecond,bob,2\n,nobody,3\n\"quo\"\"ted\",carl,,\"one\",ignored\nlast,dora,4,",
        )
        .expect("a table");
        assert_eq!(table.len(), 4);
        let jane = table.lookup("t0ken").expect("jane");
        assert_eq!((jane.user.as_str(), jane.uid.as_str()), ("jane", "1"));
        assert_eq!(jane.groups, ["dev", "ops"]);
        assert_eq!(table.lookup("second").map(|i| i.groups.len()), Some(0));
        assert_eq!(table.lookup("quo\"ted").map(|i| i.user.as_str()), Some("carl"));
        assert_eq!(table.lookup("last").map(|i| i.groups.len()), Some(0));
        for unknown in ["", "t0ke", "t0ken ", "T0KEN"] {
            assert_eq!(table.lookup(unknown), None, "{unknown:?}");
        }
        assert_eq!(table.lines_without_token(), [4]);
        assert!(!format!("{table:?}").contains("t0ken"));
    }

    #[test]
    fn wrong_token_files_name_the_line() {
        let error = |text: &str| TokenTable::parse(text).expect_err("refused");
        assert_eq!(error("a,b,1\nc,d\n"), TokenFileError::Columns { line: 2, columns: 2 });
        assert_eq!(error("a,b,1\n\n\nc,,1\n"), TokenFileError::NoUser { line: 4 });
        assert_eq!(
            error("a,b,1\nx,y,2\na,z,3\n"),
            TokenFileError::Repeated { line: 3, first: 1 }
        );
        let mut many = String::new();
        for n in 0..=TOKENS_MAX {
            many.push_str(&format!("token{n},user,uid\n"));
        }
        assert_eq!(error(&many), TokenFileError::TooMany);
        assert!(TokenTable::parse("").expect("empty").is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "[a-c,\"\n\r #]{0,60}") {
            if let Ok(table) = TokenTable::parse(&text) {
                prop_assert!(table.len() <= text.len());
            }
        }

        #[test]
        fn written_tokens_are_found(rows in proptest::collection::btree_map("[!-~]{1,12}", ("[!-~]{1,9}", "[!-~]{0,9}"), 1..8)) {
            let quote = |s: &str| format!("\"{}\"", s.replace('"', "\"\""));
            let text: String = rows.iter()
                .map(|(token, (user, uid))| format!("{},{},{}\n", quote(token), quote(user), quote(uid))).collect();
            let table = TokenTable::parse(&text).expect("a table");
            for (token, (user, uid)) in &rows {
                let found = table.lookup(token).expect("found");
                prop_assert_eq!((&found.user, &found.uid), (user, uid));
            }
        }

        #[test]
        fn any_bytes_are_no_certificate(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(identity_from_certificate(&bytes).is_err());
        }
    }
}
