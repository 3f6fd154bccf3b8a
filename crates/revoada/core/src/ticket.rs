//! Tickets: the one line of text with which a machine joins a cluster.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use borsh::{BorshDeserialize, BorshSerialize};
use data_encoding::{Encoding, Specification};

use crate::id::{ClusterId, Hash32, MemberId};

/// What every ticket begins with; the digit is the format of the text.
const PREFIX: &str = "engenho1";
/// Version of the fields inside.
const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 4;
const CHECKSUM_CONTEXT: &str = "engenho 2026 ticket checksum v1";
const SECRET_CONTEXT: &str = "engenho 2026 ticket secret v1";

/// The longest text that is looked at; the longest ticket there can be is shorter.
pub const TICKET_TEXT_BYTES_MAX: usize = 8 * 1024;
/// The most addresses a ticket can carry.
pub const TICKET_ADDRESSES_MAX: usize = 16;
/// The longest address, in bytes.
pub const TICKET_ADDRESS_BYTES_MAX: usize = 255;

/// RFC 4648 base32 in lower case without padding: survives terminals, shells and reading aloud.
static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    specification.encoding().expect("the alphabet is valid")
});

/// What a newcomer needs: where members are, which cluster and key to expect there, and the secret that lets it in.
///
/// The text is `engenho1` and the base32 of: a version byte (1), the fields in Borsh, the first four bytes of
/// their BLAKE3 hash. The checksum finds typing errors; it protects nothing.
#[derive(Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Ticket {
    /// The cluster to join.
    pub cluster: ClusterId,
    /// The member that issued the ticket. Whoever answers must prove to be it, or to be admitted by the chain of
    /// this cluster, before the secret is sent.
    pub issuer: MemberId,
    /// Mesh addresses of some members as `host:port`, 1 to 16; IPv6 hosts in brackets.
    pub addresses: Vec<String>,
    /// Shown once to be admitted; the cluster stores only its [hash](Ticket::secret_hash).
    pub secret: [u8; 32],
    /// When the cluster stops honouring it, milliseconds since the Unix epoch.
    pub expires_ms: u64,
    /// Whether the newcomer is to be a witness.
    pub witness: bool,
}

/// Why a ticket was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// The text is something else.
    #[error("this is not a ticket: want text that begins with {PREFIX}, as printed by `engenho ticket`")]
    NotATicket,
    /// The text is longer than any ticket.
    #[error("this is not a ticket: it has {bytes} bytes, a ticket has at most {TICKET_TEXT_BYTES_MAX}")]
    TooLong {
        /// Length of the text.
        bytes: usize,
    },
    /// A character is missing, wrong or too many.
    #[error("the ticket is truncated or mistyped: copy it again, whole")]
    Damaged,
    /// The ticket was made by another version of engenho.
    #[error(
        "the ticket has format {version}, this engenho reads format {VERSION}: use the version that the cluster runs"
    )]
    UnsupportedVersion {
        /// Format of the ticket.
        version: u8,
    },
    /// The fields break a rule.
    #[error("the ticket is not valid: {problem}")]
    Invalid {
        /// Which rule.
        problem: String,
    },
}

/// Hash of a ticket's secret, as it stands in the replicated state.
pub fn secret_hash(secret: &[u8; 32]) -> Hash32 {
    Hash32(blake3::derive_key(SECRET_CONTEXT, secret))
}

impl Ticket {
    /// The text to hand over. There is no `Display`, so that no log shows a secret by accident.
    pub fn encode(&self) -> Result<String, TicketError> {
        self.validate()?;
        let mut bytes = vec![VERSION];
        borsh::to_writer(&mut bytes, self).map_err(|error| TicketError::Invalid {
            problem: error.to_string(),
        })?;
        let checksum = blake3::derive_key(CHECKSUM_CONTEXT, &bytes);
        bytes.extend_from_slice(&checksum[..CHECKSUM_BYTES]);
        Ok(format!("{PREFIX}{}", BASE32.encode(&bytes)))
    }

    /// Hash of the secret; see [`secret_hash`].
    pub fn secret_hash(&self) -> Hash32 {
        secret_hash(&self.secret)
    }

    /// Checks number and form of the addresses.
    pub fn validate(&self) -> Result<(), TicketError> {
        let count = self.addresses.len();
        if !(1..=TICKET_ADDRESSES_MAX).contains(&count) {
            let problem = format!("it has {count} addresses, want 1 to {TICKET_ADDRESSES_MAX}");
            return Err(TicketError::Invalid { problem });
        }
        match self.addresses.iter().find(|address| !is_host_port(address)) {
            None => Ok(()),
            Some(address) => {
                let shown: String = address.chars().take(80).collect();
                Err(TicketError::Invalid {
                    problem: format!("{shown:?} is not an address: want host:port"),
                })
            }
        }
    }
}

fn is_host_port(address: &str) -> bool {
    if address.len() > TICKET_ADDRESS_BYTES_MAX || !address.bytes().all(|byte| byte.is_ascii_graphic()) {
        return false;
    }
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or_else(|| {
            // A colon outside of brackets would leave open where the port begins.
            if host.contains(':') { "" } else { host }
        });
    !host.is_empty() && !port.starts_with(['0', '+']) && port.parse::<u16>().is_ok()
}

impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Self, TicketError> {
        let text = text.trim_ascii();
        if text.len() > TICKET_TEXT_BYTES_MAX {
            return Err(TicketError::TooLong { bytes: text.len() });
        }
        let body = text.strip_prefix(PREFIX).ok_or(TicketError::NotATicket)?;
        let raw = BASE32.decode(body.as_bytes()).map_err(|_| TicketError::Damaged)?;
        let (bytes, checksum) = raw.split_last_chunk::<CHECKSUM_BYTES>().ok_or(TicketError::Damaged)?;
        if blake3::derive_key(CHECKSUM_CONTEXT, bytes)[..CHECKSUM_BYTES] != *checksum {
            return Err(TicketError::Damaged);
        }
        let (version, fields) = bytes.split_first().ok_or(TicketError::Damaged)?;
        if *version != VERSION {
            return Err(TicketError::UnsupportedVersion { version: *version });
        }
        let ticket: Self = borsh::from_slice(fields).map_err(|error| TicketError::Invalid {
            problem: error.to_string(),
        })?;
        ticket.validate()?;
        Ok(ticket)
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("cluster", &self.cluster)
            .field("issuer", &self.issuer)
            .field("addresses", &self.addresses)
            .field("secret", &"(hidden)")
            .field("expires_ms", &self.expires_ms)
            .field("witness", &self.witness)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ticket() -> Ticket {
        Ticket {
            cluster: ClusterId([1; 32]),
            issuer: MemberId([2; 32]),
            addresses: vec!["10.0.0.1:7443".into(), "[fd00::1]:7443".into(), "a.example:7443".into()],
            secret: [0xee; 32],
            expires_ms: 1_700_000_000_000,
            witness: false,
        }
    }

    fn raw(bytes: &[u8]) -> String {
        let mut bytes = bytes.to_vec();
        let checksum = blake3::derive_key(CHECKSUM_CONTEXT, &bytes);
        bytes.extend_from_slice(&checksum[..4]);
        format!("{PREFIX}{}", BASE32.encode(&bytes))
    }

    #[test]
    fn errors_tell_what_is_wrong() {
        let text = ticket().encode().unwrap();
        let parse = |text: &str| text.parse::<Ticket>().unwrap_err();
        assert_eq!(parse("hello"), TicketError::NotATicket);
        assert_eq!(parse(""), TicketError::NotATicket);
        assert_eq!(parse(PREFIX), TicketError::Damaged);
        assert_eq!(parse(&text.to_uppercase()), TicketError::NotATicket);
        assert_eq!(
            parse(&text.repeat(100)),
            TicketError::TooLong {
                bytes: text.len() * 100
            }
        );
        for cut in PREFIX.len()..text.len() {
            assert_eq!(parse(&text[..cut]), TicketError::Damaged, "cut at {cut}");
        }
        for at in PREFIX.len()..text.len() {
            let other = if text.as_bytes()[at] == b'a' { "b" } else { "a" };
            let mistyped = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert_eq!(parse(&mistyped), TicketError::Damaged, "mistyped at {at}");
        }
        assert_eq!(
            parse(&raw(&[2, 1, 2, 3])),
            TicketError::UnsupportedVersion { version: 2 }
        );
        assert!(matches!(parse(&raw(&[1, 1, 2, 3])), TicketError::Invalid { .. }));
        assert_eq!(format!("\n {text} \n").parse(), Ok(ticket()));
    }

    #[test]
    fn addresses_are_checked_on_both_ways() {
        let good = ["h:1", "127.0.0.1:65535", "[::1]:7443", "node-1.example.com:7443"];
        let bad = [
            "",
            "h",
            ":1",
            "h:",
            "h:0",
            "h:65536",
            "h:+1",
            "h:01",
            "::1:7443",
            "[]:1",
            "h h:1",
            "h\u{e9}:1",
            "h:1\n",
        ];
        for address in good {
            assert!(
                Ticket {
                    addresses: vec![address.into()],
                    ..ticket()
                }
                .encode()
                .is_ok(),
                "{address}"
            );
        }
        for address in bad {
            let ticket = Ticket {
                addresses: vec![address.into()],
                ..ticket()
            };
            assert!(ticket.encode().is_err(), "{address}");
            let text = raw(&[vec![VERSION], borsh::to_vec(&ticket).unwrap()].concat());
            assert!(
                matches!(text.parse::<Ticket>(), Err(TicketError::Invalid { .. })),
                "{address}"
            );
        }
        assert!(
            Ticket {
                addresses: vec![],
                ..ticket()
            }
            .encode()
            .is_err()
        );
        assert!(
            Ticket {
                addresses: vec!["h:1".into(); 17],
                ..ticket()
            }
            .encode()
            .is_err()
        );
        let longest = Ticket {
            addresses: vec![format!("{}:7443", "h".repeat(250)); 16],
            ..ticket()
        };
        assert_eq!(longest.encode().unwrap().parse(), Ok(longest));
    }

    #[test]
    fn debug_hides_the_secret() {
        let text = format!("{:?}", ticket());
        assert!(text.contains("(hidden)") && !text.contains("238") && !text.contains("eeee"));
    }

    proptest! {
        #[test]
        fn round_trip(
            cluster: [u8; 32], issuer: [u8; 32], secret: [u8; 32], expires_ms: u64, witness: bool,
            ports in prop::collection::vec(1..=u16::MAX, 1..=16),
        ) {
            let addresses = ports.iter().map(|port| format!("10.1.2.3:{port}")).collect();
            let ticket =
                Ticket { cluster: ClusterId(cluster), issuer: MemberId(issuer), addresses, secret, expires_ms, witness };
            let text = ticket.encode().unwrap();
            prop_assert!(text.len() <= TICKET_TEXT_BYTES_MAX);
            prop_assert_eq!(text.parse::<Ticket>(), Ok(ticket));
        }

        #[test]
        fn arbitrary_text_never_panics(text in ".*", bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = text.parse::<Ticket>();
            let _ = format!("{PREFIX}{text}").parse::<Ticket>();
            let _ = raw(&bytes).parse::<Ticket>();
            let _ = raw(&[vec![VERSION], bytes].concat()).parse::<Ticket>();
        }
    }
}
