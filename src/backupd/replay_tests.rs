//! What a master client sent to C's backupd in 48 sessions, which build on one another, given to
//! ours with a real store: every command gets an answer that a client accepts, in the form that it
//! accepts (spec: csync 3), and a session that changed nothing then changes nothing now.

use std::path::Path;
use std::sync::Arc;

use super::auth::Admins;
use super::peer::Peer;
use super::service::StoreService;
use super::session::Session;
use super::settings::Settings;
use super::staging::Budget;
use super::step::Next;
use crate::config::Config;
use crate::csync::response::{Code, Reply};
use crate::store::Placement;

fn settings(dir: &Path) -> (Arc<Settings>, Arc<Placement>) {
    let home = dir.display();
    let conf = dir.join("imapd.conf");
    let text = format!(
        "configdirectory: {home}/conf\nbackuppartition-default: {home}/part\nservername: x\n\
         backup_staging_path: {home}/stage\n"
    );
    std::fs::write(&conf, text).unwrap();
    std::fs::create_dir(dir.join("conf")).unwrap();
    let config = Config::load(&conf, "backupd").unwrap();
    let placement = Arc::new(Placement::new(&config));
    let (shared, namespace) = (Arc::clone(&placement), config.namespace.clone());
    let settings = Settings {
        servername: "x".into(),
        trusted_user: "cyrus".into(),
        admins: Admins::new(&["cyrus".into()], true),
        authority: None,
        tls: None,
        failed_login_pause: std::time::Duration::ZERO,
        staging_path: dir.join("stage"),
        staging_memory: 100_000,
        staging_budget: Arc::new(Budget::new(1 << 20)),
        staging_disk: Arc::new(Budget::new(1 << 30)),
        refusals: Default::default(),
        metrics: Default::default(),
        telemetry: Default::default(),
        staging_limit: 0,
        token_limit: 128 << 10,
        line_limit: 256 << 20,
        services: Box::new(move || {
            Box::new(StoreService::new(Arc::clone(&shared), namespace.clone()))
        }),
    };
    (Arc::new(settings), placement)
}

/// A recording may hold several connections, one after the other.
fn replay(settings: &Arc<Settings>, stream: &[u8]) -> String {
    let mut input = stream;
    let mut out = Vec::new();
    while !input.is_empty() {
        // The peer is trusted: who it is was settled in the first line.
        assert!(
            input.starts_with(b"AUTHENTICATE "),
            "the session ended early"
        );
        let login = input.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        input = &input[login..];
        let mut session = Session::new(Arc::clone(settings), Peer::Trusted);
        while !input.is_empty() {
            if session.feed(&mut input, &mut out).next == Next::Close {
                break;
            }
        }
        session.close();
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Lines without the octets of literals.
fn finals(answers: &str) -> Vec<Reply> {
    let lines = answers.split("\r\n").filter(|line| !line.starts_with("* "));
    lines
        .filter_map(|line| Reply::parse(line.as_bytes()))
        .collect()
}

fn length_of_all(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.path() {
        path if path.is_dir() => length_of_all(&path),
        path if path.extension().is_some() => 0,
        path => path.metadata().unwrap().len(),
    });
    sizes.sum()
}

fn sessions(mode: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/replay");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    paths.sort();
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    paths.retain(|path| name(path).contains(&format!("-{mode}-")) && name(path).ends_with(".c2s"));
    paths
        .iter()
        .map(|path| (name(path), std::fs::read(path).unwrap()))
        .collect()
}

#[test]
fn the_recorded_sessions_of_a_master_client_end_well() {
    for mode in ["r", "u"] {
        let dir = tempfile::tempdir().unwrap();
        let (settings, _) = settings(dir.path());
        let sessions = sessions(mode);
        assert_eq!(sessions.len(), 24);
        for (name, stream) in sessions {
            let before = length_of_all(&dir.path().join("part"));
            let answers = replay(&settings, &stream);
            let replies = finals(&answers);
            assert!(!replies.is_empty(), "{name}");
            for reply in replies {
                let fine = matches!(
                    &reply,
                    Reply::Ok(_) | Reply::No(Code::MailboxNonexistent, _)
                );
                assert!(fine, "{name}: {reply:?}");
            }
            assert!(
                !answers.contains("+}\r\n"),
                "{name}: a client takes {{n}} only"
            );
            let applied = String::from_utf8_lossy(&stream).contains("\nAPPLY ");
            if !applied {
                assert_eq!(length_of_all(&dir.path().join("part")), before, "{name}");
            }
        }
    }
}
