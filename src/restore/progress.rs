//! How far a restore is: a bar with rate and rest time where somebody watches, nothing elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// Counts octets; cheap when nobody watches.
pub struct Progress {
    bar: ProgressBar,
    watched: bool,
}

impl Progress {
    /// For so many octets; `quiet`: nobody wants to see it.
    pub fn new(octets: u64, quiet: bool) -> Progress {
        let watched = !quiet && std::io::stderr().is_terminal();
        let bar = match watched {
            true => ProgressBar::new(octets),
            false => ProgressBar::hidden(),
        };
        let style = "{msg:30!} {bar:25} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Progress { bar, watched }
    }

    /// Works on this mailbox now.
    pub fn mailbox(&self, name: &str) {
        if self.watched {
            self.bar.set_message(name.to_owned());
        }
    }

    /// So many octets are done, sent or not needed.
    pub fn add(&self, octets: u64) {
        if self.watched {
            self.bar.inc(octets);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
