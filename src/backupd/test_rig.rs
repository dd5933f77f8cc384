//! Settings for tests: the user `repl` with password `secret` is an administrator, the store is a fake.

use std::sync::Arc;
use std::time::Duration;

use super::auth::Admins;
use super::auth::fake::Passwords;
use super::service::fake::Asked;
use super::settings::Settings;
use super::staging::Budget;

pub(crate) const LOGIN: &str = "AUTHENTICATE PLAIN AHJlcGwAc2VjcmV0\r\n";
pub(crate) const PAUSE: Duration = Duration::from_secs(3);

pub(crate) struct Rig {
    pub(crate) settings: Arc<Settings>,
    pub(crate) asked: Asked,
    _dir: tempfile::TempDir,
}

impl Rig {
    pub(crate) fn new() -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let asked = Asked::default();
        let services = asked.clone();
        let settings = Settings {
            servername: "backup.example".into(),
            trusted_user: "cyrus".into(),
            admins: Admins::new(&["repl".into(), "cyrus".into()], true),
            authority: Some(Box::new(Passwords::new())),
            tls: None,
            failed_login_pause: PAUSE,
            staging_path: dir.path().to_owned(),
            staging_memory: 1000,
            staging_budget: Arc::new(Budget::new(1 << 20)),
            staging_limit: 0,
            token_limit: 128 << 10,
            staging_disk: Arc::new(Budget::new(1 << 30)),
            refusals: Default::default(),
            metrics: Default::default(),
            telemetry: Default::default(),
            line_limit: 256 << 20,
            services: Box::new(move || services.service()),
        };
        Rig {
            settings: Arc::new(settings),
            asked,
            _dir: dir,
        }
    }
}
