//! Certificates are renewed while they are valid, without a restart and whoever keeps the authority's key by then.
//!
//! Architecture, section 4: certificates are renewed online at two thirds of their life; pain 10 of the peers
//! (k3s#10865, #8762). While a member reaches no replica it cannot be helped, so a gap counts only in runs whose faults
//! are short; at the end, when all faults are over, every endpoint shows a valid certificate in every run.

use std::collections::BTreeMap;

use super::Broken;
use crate::facts::Facts;
use crate::record::{Certificate, Stamp};

/// Name of the invariant.
pub const NAME: &str = "certificates: an endpoint's certificate is renewed before it ends";

pub(super) fn check(facts: &Facts<'_>) -> Result<(), Broken> {
    let record = facts.record;
    let mut shown: BTreeMap<u16, Vec<Certificate>> = BTreeMap::new();
    for certificate in &record.certificates {
        shown.entry(certificate.machine).or_default().push(*certificate);
    }
    for (machine, all) in &shown {
        let ends = record
            .power
            .iter()
            .filter(|power| power.machine == *machine && !power.up);
        let ends: Vec<Stamp> = ends.map(|power| power.at).collect();
        for (n, certificate) in all.iter().enumerate() {
            // Until the next one, the end of the process, or the end of the run.
            let next = all.get(n + 1).map(|next| next.at);
            let stopped = ends.iter().copied().find(|at| *at > certificate.at);
            let last = next.is_none() && stopped.is_none();
            let until = next.into_iter().chain(stopped).min().unwrap_or(record.ended);
            let matters = record.certificates_last || (last && takes_part(facts, *machine));
            if matters && until.at_ms > certificate.until_ms {
                let what = format!(
                    "machine {machine} shows a certificate that ended at {} ms until {} ms",
                    certificate.until_ms, until.at_ms
                );
                return Err(Broken::new(NAME, until, what));
            }
        }
    }
    Ok(())
}

/// Whether it is a member of the history that goes on, to the end.
fn takes_part(facts: &Facts<'_>, machine: u16) -> bool {
    let finals = &facts.record.finals;
    finals
        .iter()
        .any(|last| last.machine == machine && last.running && last.halted.is_none() && last.epoch == facts.surviving)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_all;
    use crate::testing::good;

    fn certificate(machine: u16, at: Stamp, life_ms: u64) -> Certificate {
        Certificate {
            at,
            machine,
            until_ms: at.at_ms + life_ms,
        }
    }

    #[test]
    fn a_certificate_that_is_over_at_the_end() {
        let mut record = good();
        let begun = record.pictures[0].at;
        let long = record.ended.at_ms - begun.at_ms + 1;
        record.certificates.push(certificate(0, begun, long));
        assert_eq!(check_all(&record), []);
        record.certificates[0].until_ms = record.ended.at_ms - 1;
        assert_eq!(check_all(&record)[0].invariant, NAME);
        // Renewed in time.
        let at = record.certificates[0].at;
        record.certificates.push(certificate(
            0,
            Stamp {
                order: at.order + 1,
                ..at
            },
            long,
        ));
        assert_eq!(check_all(&record), []);
    }

    #[test]
    fn a_gap_counts_when_nothing_excuses_it() {
        let mut record = good();
        let begun = record.pictures[0].at;
        let late = Stamp {
            at_ms: begun.at_ms + 2,
            order: begun.order + 1,
        };
        record.certificates.push(certificate(0, begun, 1));
        record.certificates.push(certificate(0, late, record.ended.at_ms));
        assert_eq!(check_all(&record), []);
        record.certificates_last = true;
        assert_eq!(check_all(&record)[0].invariant, NAME);
    }
}
