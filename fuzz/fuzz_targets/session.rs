//! A whole session on a real store: octets in, replies out. Every line gets one final reply, and afterwards
//! the store can be opened and answers as before.
#![no_main]

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cyrusbackup::backupd::auth::Admins;
use cyrusbackup::backupd::service::StoreService;
use cyrusbackup::backupd::peer::Peer;
use cyrusbackup::backupd::session::Session;
use cyrusbackup::backupd::settings::Settings;
use cyrusbackup::backupd::step::Next;
use cyrusbackup::backupd::staging::Budget;
use cyrusbackup::config::Config;
use cyrusbackup::store::Placement;
use libfuzzer_sys::fuzz_target;

/// Replies that a thousand octets of commands may cause at most.
const AMPLIFICATION: usize = 1 << 20;

fuzz_target!(|stream: &[u8]| {
    let dir = tempfile::tempdir_in(base()).expect("a directory");
    let settings = settings(dir.path());
    // A stranger first: nothing may reach the store.
    let stranger = Peer::Address([127, 0, 0, 1].into());
    talk(&settings, stranger, stream, stream.len());
    assert!(!dir.path().join("part").exists(), "a stranger wrote a backup");

    talk(&settings, Peer::Trusted, stream, stream.len());
    let asked = b"GET USER anne\r\nGET META anne\r\n";
    let before = talk(&settings, Peer::Trusted, asked, asked.len());
    // The same again in pieces changes nothing that breaks.
    talk(&settings, Peer::Trusted, stream, 7);
    let after = talk(&settings, Peer::Trusted, asked, asked.len());
    assert!(before.ends_with(b"OK Success\r\n"), "{}", before.escape_ascii());
    assert!(after.ends_with(b"OK Success\r\n"), "{}", after.escape_ascii());
});

/// All replies of one session.
fn talk(settings: &Arc<Settings>, peer: Peer, stream: &[u8], piece: usize) -> Vec<u8> {
    let mut session = Session::new(Arc::clone(settings), peer);
    let mut out = Vec::new();
    session.greet(&mut out);
    let mut replies = Vec::new();
    for mut input in stream.chunks(piece.max(1)) {
        while !input.is_empty() {
            out.clear();
            let left = input.len();
            let step = session.feed(&mut input, &mut out);
            replies.extend_from_slice(&out);
            if step.next == Next::Close {
                return replies;
            }
            assert!(input.len() < left || !out.is_empty(), "no progress");
        }
    }
    session.close();
    assert!(replies.len() < AMPLIFICATION + 1000 * stream.len());
    replies
}

fn settings(dir: &Path) -> Arc<Settings> {
    let text = format!(
        "configdirectory: {0}\nbackuppartition-default: {0}/part\nbackup_staging_path: {0}/staging\n",
        dir.display()
    );
    let config = Config::read(Path::new("imapd.conf"), "backupd", &mut |_| Ok(text.clone().into()));
    let config = config.expect("a configuration");
    let placement = Arc::new(Placement::new(&config));
    let namespace = config.namespace.clone();
    Arc::new(Settings {
        servername: "fuzz".to_owned(),
        trusted_user: "cyrus".to_owned(),
        admins: Admins::new(&[], true),
        authority: None,
        tls: None,
        failed_login_pause: Duration::ZERO,
        staging_path: config.backup_staging_path.clone(),
        staging_memory: 4 << 10,
        staging_budget: Arc::new(Budget::new(64 << 10)),
        staging_disk: Arc::new(Budget::new(1 << 20)),
        refusals: Default::default(),
        metrics: Default::default(),
        telemetry: Default::default(),
        staging_limit: 0,
        token_limit: 128 << 10,
        line_limit: 1 << 20,
        services: Box::new(move || {
            Box::new(StoreService::new(Arc::clone(&placement), namespace.clone()))
        }),
    })
}

/// Memory rather than a disk: each run makes some files and syncs them.
fn base() -> &'static Path {
    static BASE: OnceLock<&Path> = OnceLock::new();
    BASE.get_or_init(|| {
        let shm = Path::new("/dev/shm");
        if shm.is_dir() { shm } else { Path::new("/tmp") }
    })
}
