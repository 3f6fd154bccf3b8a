//! What a request weighs: seats it occupies, and for how long after its answer.

use crate::classify::Digest;

/// Nanoseconds of a second.
pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// Most seats of a list, and of a mutating request.
const LIST_SEATS_MAX: u64 = 100;
const MUTATING_SEATS_MAX: u64 = 10;
/// Bytes in memory that one seat stands for.
const BYTES_PER_SEAT: u64 = 100_000;
/// Lists out of memory are streamed: they hold no more than this at once.
const STREAMED_BYTES_MAX: u64 = 1_000_000;
/// Size of an object of which nothing is known.
const OBJECT_BYTES_MAX: u64 = 1_500_000;
/// Watches that occupy one seat while an event is delivered, and how long that takes.
const WATCHES_PER_SEAT: u64 = 10;
const EVENT_NS: u64 = 5_000_000;

/// An amount of work, in hundred-millionths of a second on one seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct SeatSeconds(pub i128);

impl SeatSeconds {
    const SCALE: i128 = 100_000_000;

    /// `seats` for `ns`, which may be negative.
    pub fn of(seats: f64, ns: f64) -> Self {
        let scaled = seats * ns * (Self::SCALE as f64) / SECOND_NS as f64;
        Self(if scaled.is_finite() { scaled.round() as i128 } else { 0 })
    }

    /// As a number of seat-seconds.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / Self::SCALE as f64
    }

    /// For how long `seats` are busy with it.
    pub fn per_seat_ns(self, seats: u64) -> u64 {
        let ns = self.0 as f64 / seats.max(1) as f64 * (SECOND_NS as f64 / Self::SCALE as f64);
        if ns > 0.0 { ns as u64 } else { 0 }
    }
}

impl std::ops::Add for SeatSeconds {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl std::ops::Sub for SeatSeconds {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl std::fmt::Display for SeatSeconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let whole = self.0.unsigned_abs();
        let scale = Self::SCALE.unsigned_abs();
        write!(f, "{sign}{}.{:08}ss", whole / scale, whole % scale)
    }
}

/// What a request is thought to weigh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkEstimate {
    /// Seats while it is executed.
    pub initial_seats: u64,
    /// Seats after its answer, while watchers are told.
    pub final_seats: u64,
    /// For how long they are occupied after the answer, nanoseconds.
    pub additional_latency_ns: u64,
}

impl WorkEstimate {
    /// A request that occupies one seat until it is answered.
    pub const ONE: Self = Self {
        initial_seats: 1,
        final_seats: 0,
        additional_latency_ns: 0,
    };

    /// Most seats at any time.
    pub fn max_seats(&self) -> u64 {
        self.initial_seats.max(self.final_seats)
    }
}

/// What is stored of the resource that a list is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListStats {
    /// Objects, in all namespaces.
    pub objects: u64,
    /// Bytes of an object on average.
    pub bytes_each: u64,
}

/// The parts of a list's or watch's query that tell what it costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Selection<'a> {
    /// `resourceVersion`
    pub revision: &'a str,
    /// `resourceVersionMatch`
    pub revision_match: &'a str,
    /// `limit`; `None` if it is no number.
    pub limit: Option<u64>,
    /// `continue`
    pub token: &'a str,
    /// Whether a label or field selector is given.
    pub selects: bool,
    /// `sendInitialEvents`
    pub initial_events: bool,
}

/// Estimates a request. `seats_max` is the level's bound (0: none), `stats` tells what is stored of the resource
/// (`None`: it isn't known), `watches` how many watches a change would reach.
pub fn estimate(
    digest: &Digest<'_>,
    selection: &Selection<'_>,
    seats_max: u64,
    stats: impl FnOnce() -> Option<ListStats>,
    watches: impl FnOnce() -> u64,
) -> WorkEstimate {
    match digest.verb {
        "list" | "watch" if digest.resource_request => WorkEstimate {
            initial_seats: list_seats(digest, selection, bound(seats_max, LIST_SEATS_MAX), stats),
            ..WorkEstimate::ONE
        },
        "create" | "update" | "patch" | "delete" => mutating(digest, bound(seats_max, MUTATING_SEATS_MAX), watches),
        _ => WorkEstimate::ONE,
    }
}

fn bound(level: u64, limit: u64) -> u64 {
    if level == 0 { limit } else { level.min(limit) }
}

fn list_seats(
    digest: &Digest<'_>,
    selection: &Selection<'_>,
    seats_max: u64,
    stats: impl FnOnce() -> Option<ListStats>,
) -> u64 {
    let Some(limit) = selection.limit else {
        // It will be refused.
        return seats_max;
    };
    let watch = digest.verb == "watch";
    if watch && !selection.initial_events && !matches!(selection.revision, "" | "0") {
        return 1;
    }
    let Some(mut stats) = stats() else { return 1 };
    if stats.bytes_each == 0 && stats.objects != 0 {
        stats.bytes_each = OBJECT_BYTES_MAX;
    }
    let from_memory = watch || is_from_memory(selection, limit);
    let limited = if limit > 0 {
        limit.min(stats.objects)
    } else {
        stats.objects
    };
    let objects = if !digest.name.is_empty() {
        1
    } else if !from_memory && selection.selects {
        limited.max(stats.objects / 2)
    } else {
        limited
    };
    let mut bytes = objects.saturating_mul(stats.bytes_each);
    if from_memory {
        bytes = bytes.min(STREAMED_BYTES_MAX);
    }
    bytes.div_ceil(BYTES_PER_SEAT).clamp(1, seats_max.max(1))
}

/// Whether a list is answered with what memory holds of the newest state.
fn is_from_memory(selection: &Selection<'_>, limit: u64) -> bool {
    match selection.revision_match {
        "NotOlderThan" => true,
        "" => {
            let exact = limit > 0 && !matches!(selection.revision, "" | "0");
            selection.token.is_empty() && !exact
        }
        _ => false,
    }
}

fn mutating(digest: &Digest<'_>, seats_max: u64, watches: impl FnOnce() -> u64) -> WorkEstimate {
    // A token is made for a service account, whose watchers hear nothing of it.
    if digest.resource == "serviceaccounts" && digest.subresource == "token" {
        return WorkEstimate::ONE;
    }
    let watches = watches();
    if watches < WATCHES_PER_SEAT {
        return WorkEstimate::ONE;
    }
    let seats = watches.div_ceil(WATCHES_PER_SEAT);
    let work = SeatSeconds::of(seats as f64, EVENT_NS as f64);
    let final_seats = seats.min(seats_max.max(1));
    WorkEstimate {
        initial_seats: 1,
        final_seats,
        additional_latency_ns: work.per_seat_ns(final_seats),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(name: &str, selection: Selection<'_>, seats_max: u64, objects: u64, bytes_each: u64) -> u64 {
        let digest = Digest {
            resource_request: true,
            verb: "list",
            resource: "pods",
            name,
            ..Digest::default()
        };
        let stats = || Some(ListStats { objects, bytes_each });
        estimate(&digest, &selection, seats_max, stats, || 0).initial_seats
    }

    #[test]
    fn lists_weigh_what_they_hold_in_memory() {
        let all = Selection {
            limit: Some(0),
            ..Selection::default()
        };
        assert_eq!(list("", all, 0, 10, 1000), 1);
        assert_eq!(list("", all, 0, 450, 1000), 5);
        // Streamed out of memory: a megabyte at a time.
        assert_eq!(list("", all, 0, 100_000, 10_000), 10);
        let old = Selection {
            revision: "7",
            revision_match: "Exact",
            ..all
        };
        assert_eq!(list("", old, 0, 100_000, 10_000), 100);
        assert_eq!(list("", old, 8, 100_000, 10_000), 8);
        assert_eq!(list("", Selection { limit: Some(50), ..old }, 0, 100_000, 10_000), 5);
        assert_eq!(
            list(
                "",
                Selection {
                    limit: Some(50),
                    selects: true,
                    ..old
                },
                0,
                1000,
                10_000
            ),
            50
        );
        assert_eq!(list("one", old, 0, 100_000, 10_000), 1);
        assert_eq!(list("", Selection::default(), 7, 1, 1), 7);
    }

    #[test]
    fn watches_weigh_like_the_lists_they_begin_with() {
        let digest = Digest {
            resource_request: true,
            verb: "watch",
            resource: "pods",
            ..Digest::default()
        };
        let seats = |selection: Selection<'_>| {
            let stats = || {
                Some(ListStats {
                    objects: 500,
                    bytes_each: 1000,
                })
            };
            estimate(&digest, &selection, 0, stats, || 0).initial_seats
        };
        let plain = Selection {
            limit: Some(0),
            ..Selection::default()
        };
        assert_eq!(seats(plain), 5);
        assert_eq!(seats(Selection { revision: "9", ..plain }), 1);
        assert_eq!(
            seats(Selection {
                revision: "9",
                initial_events: true,
                ..plain
            }),
            5
        );
    }

    #[test]
    fn changes_weigh_as_much_as_those_who_watch() {
        let weigh = |resource, subresource, watches: u64, seats_max| {
            let digest = Digest {
                resource_request: true,
                verb: "create",
                resource,
                subresource,
                ..Digest::default()
            };
            estimate(&digest, &Selection::default(), seats_max, || None, || watches)
        };
        assert_eq!(weigh("pods", "", 9, 0), WorkEstimate::ONE);
        let told = weigh("pods", "", 95, 0);
        assert_eq!((told.final_seats, told.additional_latency_ns), (10, 5_000_000));
        // The same work, narrower and longer.
        let told = weigh("pods", "", 1000, 5);
        assert_eq!((told.final_seats, told.additional_latency_ns), (5, 100_000_000));
        assert_eq!(weigh("serviceaccounts", "token", 1000, 0), WorkEstimate::ONE);
    }

    #[test]
    fn amounts_read_as_upstream_writes_them() {
        assert_eq!(SeatSeconds::of(2.0, 1.5e9).to_string(), "3.00000000ss");
        assert_eq!(SeatSeconds::of(1.0, -3e6).to_string(), "-0.00300000ss");
    }
}
