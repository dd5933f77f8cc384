//! The table for people and the JSON for programs.

use std::fmt::Write;

use serde::Serialize;

use crate::limits::{Limits, Needs};
use crate::measure::{Sample, Spread};

/// One line of the table: ours beside a rival or a limit.
#[derive(Debug, Serialize)]
pub struct Row {
    /// What was done.
    pub work: String,
    /// To what it is compared: C's program, ext4, a raw library.
    pub rival: &'static str,
    /// Pairs of runs.
    pub runs: usize,
    /// Seconds.
    pub wall: Pair,
    /// Seconds.
    pub cpu: Option<Pair>,
    /// Octets.
    pub peak: Option<Pair>,
    /// Octets.
    pub disk: Option<Pair>,
    /// The ratios that DESIGN wants.
    pub wanted: Vec<Wanted>,
    /// Seconds that one core needs for the octets alone; see [`crate::limits`].
    pub limit: Option<f64>,
}

/// A ratio that is to be reached.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Wanted {
    pub figure: Figure,
    pub at_most: f64,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Figure {
    Wall,
    Memory,
    Disk,
}

/// Both sides of a figure.
#[derive(Debug, Serialize)]
pub struct Pair {
    pub ours: Spread,
    pub theirs: Spread,
    /// Ours divided by theirs, run by run.
    pub ratio: Spread,
}

impl Row {
    /// A row of the samples that were taken in turn.
    pub fn new(
        work: impl Into<String>,
        rival: &'static str,
        wanted: Option<f64>,
        (ours, theirs): (Vec<Sample>, Vec<Sample>),
    ) -> Row {
        let pair = |figure: fn(&Sample) -> Option<f64>| Pair::of(&ours, &theirs, figure);
        let zero = Spread {
            min: 0.0,
            median: 0.0,
            max: 0.0,
        };
        Row {
            work: work.into(),
            rival,
            runs: ours.len(),
            wall: pair(|sample| Some(sample.wall)).unwrap_or(Pair {
                ours: zero,
                theirs: zero,
                ratio: zero,
            }),
            cpu: pair(|sample| sample.cpu),
            peak: pair(|sample| sample.peak),
            disk: pair(|sample| sample.disk),
            wanted: Vec::new(),
            limit: None,
        }
        .wanting(Figure::Wall, wanted)
    }

    /// With a ratio that is to be reached, if one is.
    pub fn wanting(mut self, figure: Figure, at_most: Option<f64>) -> Row {
        let wanted = at_most.map(|at_most| Wanted { figure, at_most });
        self.wanted.extend(wanted);
        self
    }

    /// How many of the wanted ratios were not reached.
    pub fn missed(&self) -> usize {
        let missed = |wanted: &&Wanted| !self.reaches(wanted);
        self.wanted.iter().filter(missed).count()
    }

    fn reaches(&self, wanted: &Wanted) -> bool {
        let pair = match wanted.figure {
            Figure::Wall => Some(&self.wall),
            Figure::Memory => self.peak.as_ref(),
            Figure::Disk => self.disk.as_ref(),
        };
        pair.is_some_and(|pair| pair.ratio.median <= wanted.at_most)
    }

    /// With what one core needs for the octets alone.
    pub fn beside_limit(self, limits: &Limits, needs: Needs) -> Row {
        Row {
            limit: Some(limits.seconds(needs)),
            ..self
        }
    }
}

impl Pair {
    fn of(ours: &[Sample], theirs: &[Sample], figure: fn(&Sample) -> Option<f64>) -> Option<Pair> {
        let both = || {
            ours.iter()
                .filter_map(figure)
                .zip(theirs.iter().filter_map(figure))
        };
        Some(Pair {
            ours: Spread::of(both().map(|(a, _)| a))?,
            theirs: Spread::of(both().map(|(_, b)| b))?,
            ratio: Spread::of(both().map(|(a, b)| a / b.max(1e-9)))?,
        })
    }
}

/// All rows, Markdown.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| work | beside | n | wall ours | theirs | ratio (min-max) | wanted | CPU ratio | peak ours | theirs | disk ratio | limit |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let ratio = &row.wall.ratio;
        let wanted: Vec<String> = row
            .wanted
            .iter()
            .map(|wanted| {
                let of = match wanted.figure {
                    Figure::Wall => "",
                    Figure::Memory => "memory ",
                    Figure::Disk => "disk ",
                };
                let done = if row.reaches(wanted) { "ok" } else { "MISSED" };
                format!("{of}<= {} {done}", wanted.at_most)
            })
            .collect();
        let wanted = wanted.join(", ");
        let part = |pair: &Option<Pair>| {
            pair.as_ref()
                .map_or(String::new(), |pair| ratio_text(pair.ratio.median))
        };
        let memory = row.peak.as_ref().map_or(String::new(), |pair| {
            format!(" ({})", ratio_text(pair.ratio.median))
        });
        let peak = |side: fn(&Pair) -> f64| {
            row.peak
                .as_ref()
                .map_or(String::new(), |pair| size(side(pair)))
        };
        let limit = row.limit.map_or(String::new(), |limit| {
            let times = row.wall.ours.median / limit.max(1e-9);
            format!("{} (x {times:.1})", time(limit))
        });
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} ({}-{}) | {wanted} | {} | {} | {}{memory} | {} | {limit} |",
            row.work,
            row.rival,
            row.runs,
            time(row.wall.ours.median),
            time(row.wall.theirs.median),
            ratio_text(ratio.median),
            ratio_text(ratio.min),
            ratio_text(ratio.max),
            part(&row.cpu),
            peak(|pair| pair.ours.median),
            peak(|pair| pair.theirs.median),
            part(&row.disk),
        );
    }
    text
}

fn ratio_text(ratio: f64) -> String {
    match ratio {
        r if r < 0.01 => format!("{r:.4}"),
        r if r < 0.1 => format!("{r:.3}"),
        r => format!("{r:.2}"),
    }
}

/// Seconds, with a unit that fits.
pub fn time(seconds: f64) -> String {
    match seconds {
        s if s < 0.001 => format!("{:.0} us", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

/// Octets, with a unit that fits.
pub fn size(octets: f64) -> String {
    match octets {
        o if o < 1e6 => format!("{:.0} kB", o / 1e3),
        o if o < 1e9 => format!("{:.1} MB", o / 1e6),
        o => format!("{:.2} GB", o / 1e9),
    }
}
