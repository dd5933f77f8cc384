//! Many sessions at a time. `CROWD=1000` for more of them; `make bench ONLY=crowd` puts C's beside ours.

use std::io::Write;
use std::time::Instant;

use crate::rig::{BackupServer, Crowd, Cyrus, Engine, crowd_user};

#[test]
fn sessions_that_come_all_at_once_all_finish_and_nothing_is_lost() {
    let Some(cyrus) = Cyrus::find() else { return };
    let count = std::env::var("CROWD")
        .ok()
        .and_then(|text| text.parse().ok());
    let count = count.unwrap_or(200);
    let mut server = BackupServer::with(
        cyrus,
        &format!(
            "backup_max_connections: {0}\nbackup_max_per_address: {0}\n",
            count + 10
        ),
    );
    let port = server.start(Engine::Ours);
    let crowd = Crowd::login(port, count);
    let begun = Instant::now();
    let latencies = crowd.replicate(|| {});
    println!(
        "{count} sessions in {:?}: half of the answers within {:?}, 99 % within {:?}, all within {:?}; {} KiB",
        begun.elapsed(),
        latencies.within(0.5),
        latencies.within(0.99),
        latencies.within(1.0),
        peak_memory(server.pid()),
    );
    let _ = std::io::stdout().flush();

    assert_eq!(server.backups().len(), count);
    for n in [0, count / 2, count - 1] {
        let user = crowd_user(n);
        let live = server.live_messages(&user);
        assert_eq!(live[&format!("user.{user}")].len(), 1, "{user}");
    }
    server.verify_with_c("after a crowd");
}

fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number
        .and_then(|number| number.parse().ok())
        .expect("a peak")
}
