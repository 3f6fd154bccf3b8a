//! Counters of a log.

use std::time::Duration;

/// Number of buckets of [`LogStats::batch_sizes`].
pub const BATCH_BUCKETS: usize = 12;

/// Counters since the log was opened, and its present size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Entries made durable.
    pub entries_appended: u64,
    /// Frames written, one per batch and one per new segment.
    pub frames: u64,
    /// Syncs of segment files.
    pub fsyncs: u64,
    /// Bytes written, frame headers included, preallocation not.
    pub bytes_written: u64,
    /// Time spent in syncs of batches.
    pub fsync_total: Duration,
    /// The longest sync of a batch.
    pub fsync_max: Duration,
    /// Frames by number of calls they commit: bucket `i` counts up to `2^i` calls, the last bucket all above.
    pub batch_sizes: [u64; BATCH_BUCKETS],
    /// Segment files.
    pub segments: usize,
    /// Entries that can be read.
    pub entries: u64,
    /// Bytes waiting for the writer.
    pub queued_bytes: usize,
    /// Bytes of entries in memory.
    pub cached_bytes: usize,
}

impl LogStats {
    pub(crate) fn count_batch(&mut self, calls: usize) {
        let bucket = calls.max(1).next_power_of_two().trailing_zeros() as usize;
        self.batch_sizes[bucket.min(BATCH_BUCKETS - 1)] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_fall_into_their_bucket() {
        let mut stats = LogStats::default();
        for calls in [1, 2, 3, 4, 5, 1024, 1025, 1_000_000] {
            stats.count_batch(calls);
        }
        assert_eq!(stats.batch_sizes, [1, 1, 2, 1, 0, 0, 0, 0, 0, 0, 1, 2]);
    }
}
