//! Many csync sessions at once, each with a user of its own: what a fleet of mail servers does after its
//! network was gone.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cyrusbackup::types::Guid;

use super::csync::Csync;
use super::mail::Mail;

/// A session that has to wait longer than this for an answer has failed.
const PATIENCE: Duration = Duration::from_secs(120);
/// Small stacks: there are a thousand threads.
const STACK: usize = 256 << 10;

/// Sessions that are logged in and have said nothing yet.
pub struct Crowd(Vec<Csync>);

/// How long the answers took, shortest first.
pub struct Latencies(Vec<Duration>);

impl Crowd {
    pub fn login(port: u16, count: usize) -> Crowd {
        let one = |_| {
            let csync = Csync::login(port);
            csync.patience(PATIENCE);
            csync
        };
        Crowd((0..count).map(one).collect())
    }

    /// All sessions go through a small replication at once; `look` is called now and then meanwhile. Panics
    /// when one of them fails.
    pub fn replicate(self, mut look: impl FnMut()) -> Latencies {
        let threads: Vec<JoinHandle<Vec<Duration>>> = self
            .0
            .into_iter()
            .enumerate()
            .map(|(n, csync)| {
                std::thread::Builder::new()
                    .stack_size(STACK)
                    .spawn(move || session(csync, n))
                    .expect("a thread")
            })
            .collect();
        let mut all = Vec::new();
        for thread in threads {
            // Each ends by itself: every answer has its time limit.
            while !thread.is_finished() {
                look();
                std::thread::sleep(Duration::from_millis(50));
            }
            all.extend(thread.join().expect("a session that ends well"));
        }
        all.sort();
        Latencies(all)
    }
}

impl Latencies {
    /// The time within which this share of all answers came.
    pub fn within(&self, share: f64) -> Duration {
        let last = self.0.len() - 1;
        self.0[(last as f64 * share) as usize]
    }
}

/// The name of the n-th user.
pub fn crowd_user(n: usize) -> String {
    format!("crowd{n}")
}

fn session(mut csync: Csync, n: usize) -> Vec<Duration> {
    let user = crowd_user(n);
    let body = Mail::new(n as u64).small();
    let (guid, size) = (Guid::of(&body), body.len());
    let mailbox = format!(
        "APPLY MAILBOX %(UNIQUEID u-{user} MBOXNAME user.{user} SYNC_CRC 0 SYNC_CRC_ANNOT 0 LAST_UID 1 \
         HIGHESTMODSEQ 2 RECENTUID 0 RECENTTIME 0 LAST_APPENDDATE 1700000000 POP3_LAST_LOGIN 0 \
         UIDVALIDITY 1700000001 PARTITION default ACL \"\" OPTIONS P RECORD (%(UID 1 MODSEQ 2 \
         LAST_UPDATED 1700000000 FLAGS () INTERNALDATE 1700000000 SIZE {size} GUID {guid})))\r\n"
    );
    let message = [
        format!("APPLY MESSAGE (%{{default {guid} {size}}}\r\n").as_bytes(),
        &body,
        b")\r\n",
    ]
    .concat();
    let get = format!("GET USER {user}\r\n");
    let reserve =
        format!("APPLY RESERVE %(PARTITION default MBOXNAME (user.{user}) GUID ({guid}))\r\n");
    let commands: [&[u8]; 6] = [
        get.as_bytes(),
        reserve.as_bytes(),
        &message,
        mailbox.as_bytes(),
        get.as_bytes(),
        b"EXIT\r\n",
    ];
    commands
        .iter()
        .map(|command| {
            let begun = Instant::now();
            csync.send(command).expect("a server that listens");
            let answer = csync.answer();
            assert!(
                answer.is_ok(),
                "{user}: {answer:?} to {}",
                command.escape_ascii()
            );
            begun.elapsed()
        })
        .collect()
}
