//! The metrics as text, in the format 0.0.4 of Prometheus.

use std::fmt::{Display, Write};

use super::{COMMIT_BOUNDS, Metrics};

/// Upper bounds of the buckets of a backup's age: an hour, then days.
const AGE_BOUNDS: [u64; 8] = [
    3_600, 21_600, 86_400, 172_800, 604_800, 1_209_600, 2_592_000, 7_776_000,
];

/// The page; `ages` are those of all backups, in seconds.
pub(super) fn page(metrics: &Metrics, ages: &[u64]) -> String {
    let mut page = Page(String::new());
    let version = env!("CARGO_PKG_VERSION");
    page.gauge(
        "build_info",
        "The version that runs.",
        &[(&format!("{{version=\"{version}\"}}"), 1)],
    );
    let m = metrics;
    page.gauge(
        "connections",
        "Connections open now.",
        &[("", m.connected.get())],
    );
    page.counter(
        "connections_total",
        "Connections accepted.",
        &[("", m.connections.get())],
    );
    page.counter(
        "connections_refused_total",
        "Connections beyond backup_max_connections or backup_max_per_address.",
        &[("", m.refused.get())],
    );
    page.counter(
        "logins_total",
        "Logins, by how they ended.",
        &[
            ("{result=\"ok\"}", m.logins.get()),
            ("{result=\"failed\"}", m.failed_logins.get()),
        ],
    );
    page.counter(
        "commands_total",
        "GET, APPLY and what was not understood, by the answer.",
        &[
            ("{reply=\"ok\"}", m.replies_ok.get()),
            ("{reply=\"no\"}", m.replies_no.get()),
            ("{reply=\"bad\"}", m.replies_bad.get()),
        ],
    );
    page.counter(
        "received_bytes_total",
        "Bytes from clients, as on the wire.",
        &[("", m.received.get())],
    );
    page.counter(
        "sent_bytes_total",
        "Bytes to clients, as on the wire.",
        &[("", m.sent.get())],
    );
    page.counter(
        "messages_total",
        "Messages stored.",
        &[("", m.messages.get())],
    );
    page.counter(
        "message_bytes_total",
        "Bytes of messages stored, before compression.",
        &[("", m.message_octets.get())],
    );
    page.counter(
        "stored_bytes_total",
        "Bytes that data files have grown by.",
        &[("", m.stored.get())],
    );
    page.gauge(
        "open_backups",
        "Backups open for appending now.",
        &[("", m.open_backups.get())],
    );
    page.counter(
        "recoveries_total",
        "Backups put right after a crash.",
        &[("", m.recoveries.get())],
    );
    page.counter(
        "repairs_total",
        "Mailboxes asked for in full, because sums differed or messages are missing.",
        &[("", m.repairs.get())],
    );
    let commits: Vec<u64> = m
        .commits
        .buckets
        .iter()
        .map(|bucket| bucket.get())
        .collect();
    let bounds: Vec<f64> = COMMIT_BOUNDS
        .iter()
        .map(|&bound| bound as f64 / 1e3)
        .collect();
    page.histogram(
        "commit_seconds",
        "How long changes took to reach stable storage.",
        &bounds,
        &commits,
        m.commits.micros.get() as f64 / 1e6,
    );
    let bounds: Vec<f64> = AGE_BOUNDS.iter().map(|&bound| bound as f64).collect();
    page.histogram(
        "last_success_age_seconds",
        "How long ago each backup was last asked for or changed by a client, with success.",
        &bounds,
        &counted(ages),
        ages.iter().sum::<u64>() as f64,
    );
    page.0
}

/// How many ages are in each bucket.
fn counted(ages: &[u64]) -> Vec<u64> {
    let mut buckets = vec![0; AGE_BOUNDS.len() + 1];
    for age in ages {
        let bucket = AGE_BOUNDS.iter().position(|bound| age <= bound);
        buckets[bucket.unwrap_or(AGE_BOUNDS.len())] += 1;
    }
    buckets
}

struct Page(String);

impl Page {
    fn counter(&mut self, name: &str, help: &str, values: &[(&str, u64)]) {
        self.head(name, "counter", help);
        values
            .iter()
            .for_each(|(labels, value)| self.line(&format!("{name}{labels}"), value));
    }

    fn gauge(&mut self, name: &str, help: &str, values: &[(&str, u64)]) {
        self.head(name, "gauge", help);
        values
            .iter()
            .for_each(|(labels, value)| self.line(&format!("{name}{labels}"), value));
    }

    /// `counts` has one more than `bounds`.
    fn histogram(&mut self, name: &str, help: &str, bounds: &[f64], counts: &[u64], sum: f64) {
        self.head(name, "histogram", help);
        let mut all = 0;
        let bounds = bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(counts) {
            all += count;
            self.line(&format!("{name}_bucket{{le=\"{bound}\"}}"), all);
        }
        self.line(&format!("{name}_sum"), sum);
        self.line(&format!("{name}_count"), all);
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            self.0,
            "# HELP cyrusbackup_{name} {help}\n# TYPE cyrusbackup_{name} {kind}"
        );
    }

    fn line(&mut self, name: &str, value: impl Display) {
        let _ = writeln!(self.0, "cyrusbackup_{name} {value}");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::Work;
    use super::*;

    #[test]
    fn what_was_counted_stands_on_the_page() {
        let metrics = Arc::new(Metrics::default());
        let open = metrics.connect();
        drop(metrics.connect());
        metrics.login(true);
        metrics.login(false);
        let mut held = metrics.hold();
        held.worked(&Work {
            messages: 3,
            message_octets: 3000,
            stored: 1000,
            commits: vec![Duration::from_millis(3), Duration::from_secs(100)],
            open: 2,
            ..Work::default()
        });
        let text = page(&metrics, &[10, 100_000, 1_000_000_000]);
        for line in [
            "cyrusbackup_connections 1",
            "cyrusbackup_connections_total 2",
            "cyrusbackup_logins_total{result=\"ok\"} 1",
            "cyrusbackup_logins_total{result=\"failed\"} 1",
            "cyrusbackup_messages_total 3",
            "cyrusbackup_stored_bytes_total 1000",
            "cyrusbackup_open_backups 2",
            "cyrusbackup_commit_seconds_bucket{le=\"0.002\"} 0",
            "cyrusbackup_commit_seconds_bucket{le=\"0.005\"} 1",
            "cyrusbackup_commit_seconds_bucket{le=\"30\"} 1",
            "cyrusbackup_commit_seconds_bucket{le=\"+Inf\"} 2",
            "cyrusbackup_commit_seconds_sum 100.003",
            "cyrusbackup_commit_seconds_count 2",
            "cyrusbackup_last_success_age_seconds_bucket{le=\"3600\"} 1",
            "cyrusbackup_last_success_age_seconds_bucket{le=\"172800\"} 2",
            "cyrusbackup_last_success_age_seconds_bucket{le=\"+Inf\"} 3",
        ] {
            assert!(text.lines().any(|have| have == line), "{line}:\n{text}");
        }
        drop((open, held));
        let text = page(&metrics, &[]);
        assert!(text.contains("cyrusbackup_connections 0\n"));
        assert!(text.contains("cyrusbackup_open_backups 0\n"));
        let named = |kind| text.lines().filter(|line| line.starts_with(kind)).count();
        assert_eq!(named("# HELP "), named("# TYPE "));
    }
}
