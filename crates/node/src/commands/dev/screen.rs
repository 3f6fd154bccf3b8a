//! What a person sees of a development cluster: a drawn screen on a terminal, plain lines elsewhere.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write};

use super::super::now_ms;
use crate::admin::api::FullStatus;
use crate::output::{rfc3339, status_table};

/// How many of the last events stay on the screen.
const EVENTS: usize = 16;

/// The output of `dev`.
pub struct Screen {
    drawn: bool,
    pinned: Vec<String>,
    events: VecDeque<String>,
    status: String,
}

impl Screen {
    /// `may_draw`: nobody else writes to the terminal.
    pub fn new(may_draw: bool) -> Self {
        Self {
            drawn: may_draw && std::io::stdout().is_terminal(),
            pinned: Vec::new(),
            events: VecDeque::new(),
            status: String::new(),
        }
    }

    /// Something happened.
    pub fn say(&mut self, text: &str) {
        let stamped = format!("{} {text}", rfc3339(now_ms() / 1000 * 1000));
        if !self.drawn {
            return write(&stamped);
        }
        for line in stamped.lines() {
            self.events.push_back(line.to_owned());
        }
        while self.events.len() > EVENTS {
            self.events.pop_front();
        }
        self.draw();
    }

    /// What stays at the top: where members are reached.
    pub fn pin(&mut self, text: &str) {
        if !self.drawn {
            return write(text);
        }
        self.pinned.push(text.to_owned());
        self.draw();
    }

    /// The present status; elsewhere than on a terminal only its changes are said.
    pub fn show(&mut self, status: &FullStatus) {
        if self.drawn {
            self.status = status_table(status, false, now_ms());
            self.draw();
        }
    }

    fn draw(&self) {
        let events = self.events.iter().cloned().collect::<Vec<_>>().join("\n");
        write(&format!(
            "\u{1b}[H\u{1b}[2J{}\n\n{}\n{events}\n\nCtrl-C stops all members",
            self.pinned.join("\n"),
            self.status
        ));
    }
}

fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    // The members run on when nobody looks.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
