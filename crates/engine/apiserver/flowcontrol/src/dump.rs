//! What the debug endpoints show, as tables of text.

use crate::levels::{Level, Levels};
use crate::queues::Request;
use crate::work::SECOND_NS;

/// Columns are at least so wide.
const WIDTH_MIN: usize = 8;

/// Rows of cells, each column as wide as its widest cell.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        // The comma belongs to the cell, one space parts it from the next.
        cells
            .map(|cell| cell.chars().count() + 2)
            .max()
            .unwrap_or(0)
            .max(WIDTH_MIN)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            out.push_str(cell);
            if column + 1 < row.len() {
                out.push(',');
                let pad = widths[column].saturating_sub(cell.chars().count() + 1);
                out.extend(std::iter::repeat_n(' ', pad));
            }
        }
        out.push('\n');
    }
    out
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).into()
}

impl Levels {
    /// One row a level.
    pub fn dump_priority_levels(&self) -> String {
        let mut rows = vec![row([
            "PriorityLevelName",
            "ActiveQueues",
            "IsIdle",
            "IsQuiescing",
            "WaitingRequests",
            "ExecutingRequests",
            "DispatchedRequests",
            "RejectedRequests",
            "TimedoutRequests",
            "CancelledRequests",
        ])];
        for (name, level) in self.iter() {
            let queues = &level.queues;
            let active = queues.queues.values().filter(|queue| !queue.waiting.is_empty()).count();
            rows.push(vec![
                name.to_owned(),
                active.to_string(),
                queues.is_idle().to_string(),
                level.quiescing.to_string(),
                queues.waiting.to_string(),
                queues.executing.to_string(),
                queues.dispatched.to_string(),
                queues.rejected.to_string(),
                "0".to_owned(),
                queues.cancelled.to_string(),
            ]);
        }
        table(&rows)
    }

    /// One row a queue that is in use.
    pub fn dump_queues(&self) -> String {
        let mut rows = vec![row([
            "PriorityLevelName",
            "Index",
            "PendingRequests",
            "ExecutingRequests",
            "SeatsInUse",
            "NextDispatchR",
            "InitialSeatsSum",
            "MaxSeatsSum",
            "TotalWorkSum",
        ])];
        for (name, level) in self.iter() {
            for (index, queue) in &level.queues.queues {
                rows.push(vec![
                    name.to_owned(),
                    index.to_string(),
                    queue.waiting.len().to_string(),
                    queue.executing.to_string(),
                    queue.seats_in_use.to_string(),
                    queue.next_dispatch_r.to_string(),
                    queue.initial_seats_waiting.to_string(),
                    queue.seats_waiting.to_string(),
                    queue.work_waiting.to_string(),
                ]);
            }
        }
        table(&rows)
    }

    /// One row a request; `time` writes a moment of the clock that requests are timed with.
    pub fn dump_requests(&self, details: bool, time: &dyn Fn(u64) -> String) -> String {
        let mut header = row([
            "PriorityLevelName",
            "FlowSchemaName",
            "QueueIndex",
            "RequestIndexInQueue",
            "FlowDistingsher",
            "ArriveTime",
            "InitialSeats",
            "FinalSeats",
            "AdditionalLatency",
            "StartTime",
        ]);
        if details {
            header.extend(row([
                "UserName",
                "Verb",
                "APIPath",
                "Namespace",
                "Name",
                "APIVersion",
                "Resource",
                "SubResource",
            ]));
        }
        let mut rows = vec![header];
        for (name, level) in self.iter() {
            for request in level.queues.requests.values() {
                rows.push(request_row(name, level, request, details, time));
            }
        }
        table(&rows)
    }
}

fn request_row(
    name: &str,
    level: &Level,
    request: &Request,
    details: bool,
    time: &dyn Fn(u64) -> String,
) -> Vec<String> {
    let queue = request.queue.and_then(|at| level.queues.queues.get(&at));
    let position = queue.and_then(|queue| {
        let mut waiting = queue.waiting.iter();
        waiting.position(|id| {
            level
                .queues
                .requests
                .get(id)
                .is_some_and(|other| std::ptr::eq(other, request))
        })
    });
    let index = |index: Option<i64>| index.unwrap_or(-1).to_string();
    let about = &request.about;
    let mut cells = vec![
        name.to_owned(),
        request.schema.to_string(),
        index(request.queue.map(i64::from)),
        index(position.and_then(|position| i64::try_from(position).ok())),
        about.distinguisher.clone(),
        time(request.arrived_ns),
        request.estimate.initial_seats.to_string(),
        request.estimate.final_seats.to_string(),
        duration(request.estimate.additional_latency_ns),
        request
            .started_ns
            .map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), time),
    ];
    if details {
        let about = [
            &about.user,
            &about.verb,
            &about.path,
            &about.namespace,
            &about.name,
            &about.api_version,
            &about.resource,
            &about.subresource,
        ];
        // Paths and names are the client's: they do not get to begin a row.
        cells.extend(about.map(|text| text.replace(|c: char| c.is_control() || c == ',', " ")));
    }
    cells
}

/// Nanoseconds as upstream writes durations.
fn duration(ns: u64) -> String {
    let trim = |number: f64, digits: usize| {
        let text = format!("{number:.digits$}");
        let text = if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.')
        } else {
            &text
        };
        text.to_owned()
    };
    match ns {
        0 => "0s".to_owned(),
        1..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => format!("{}µs", trim(ns as f64 / 1e3, 3)),
        1_000_000..SECOND_NS => format!("{}ms", trim(ns as f64 / 1e6, 6)),
        _ => format!("{}s", trim(ns as f64 / 1e9, 9)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, WorkEstimate};

    #[test]
    fn tables_are_aligned() {
        let mut levels = Levels::new(0, 10);
        let digest = Digest {
            user: "u",
            verb: "get",
            path: "/x\n,y",
            ..Digest::default()
        };
        let found = levels.classify(&digest);
        levels.start(0, &found, &digest, WorkEstimate::ONE);
        let text = levels.dump_priority_levels();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("PriorityLevelName, ActiveQueues, IsIdle, IsQuiescing,"));
        assert!(lines[1].starts_with("catch-all,         0,            false,  false,"));
        assert!(lines[1].ends_with("0,                0"), "{}", lines[1]);
        let text = levels.dump_requests(true, &|ns| format!("t{ns}"));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[1].contains("catch-all,      -1,"), "{}", lines[1]);
        assert!(lines[1].contains("/x  y,"), "{}", lines[1]);
        assert!(levels.dump_queues().starts_with("PriorityLevelName, Index,"));
    }

    #[test]
    fn durations_are_gos() {
        assert_eq!(
            [0, 7, 1_500, 5_000_000, 2_500_000_000].map(duration),
            ["0s", "7ns", "1.5µs", "5ms", "2.5s"]
        );
    }
}
