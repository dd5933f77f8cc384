//! imapd.conf: the line grammar and the typed options. Read once, passed down as values
//! (spec: ondisk 1). Also the one place that turns root into the Cyrus user.
//!
//! `parse` knows lines, `options` names and types, `value` the types' spelling, `settings` which
//! line counts; [`Config`] is what the rest of the house sees.

mod error;
pub mod identity;
mod number;
mod options;
mod parse;
mod sections;
mod settings;
mod value;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

pub use error::ConfigError;
use number::{positive, small, unsigned};
pub use sections::{Credentials, Limits, PartitionSelect, Secret, SelectMode, Tls};
use settings::Settings;

use crate::types::{Namespace, VirtDomains};

/// Where imapd.conf is when nobody says otherwise.
pub const DEFAULT_PATH: &str = "/etc/imapd.conf";

/// Engines of backups.db that we take; a file of the second is recognised and refused with the way
/// to convert it, a new one is twoskip, which C reads whatever `backup_db` says.
const ENGINES: [&str; 2] = ["twoskip", "skiplist"];

/// What imapd.conf says to one program.
#[derive(Debug, Clone)]
pub struct Config {
    /// Base directory of the Cyrus installation.
    pub configdirectory: PathBuf,
    /// cyrusdb engine of backups.db: `twoskip`, `skiplist`, `sql` or `zeroskip`.
    pub backup_db: String,
    /// backups.db.
    pub backup_db_path: PathBuf,
    /// Where message bodies wait.
    pub backup_staging_path: PathBuf,
    /// Temporary files.
    pub temp_path: PathBuf,
    /// Status files of running processes.
    pub proc_path: PathBuf,
    /// `backuppartition-NAME`, sorted by name.
    pub backup_partitions: Vec<(String, PathBuf)>,
    /// How a partition is chosen for a new backup.
    pub partition_select: PartitionSelect,
    /// Partition of mailboxes that name none.
    pub defaultpartition: Option<String>,
    /// Which of the two directory hashes names of backups get.
    pub fulldirhash: bool,

    /// Seconds that deleted things are kept; `None` = for ever.
    pub backup_retention: Option<u64>,
    /// Chunks smaller than this are combined, KiB; 0 = none.
    pub backup_compact_minsize: u64,
    /// Chunks larger than this are split, KiB; 0 = none.
    pub backup_compact_maxsize: u64,
    /// Compacting starts when so many chunks would change; at least 1.
    pub backup_compact_work_threshold: u64,
    /// Compact and reindex leave the old files behind.
    pub backup_keep_previous: bool,

    /// Who may use backupd.
    pub admins: Vec<String>,
    /// Our name in banners and SASL.
    pub servername: String,
    /// Plain text passwords without TLS.
    pub allowplaintext: bool,
    /// SASL ANONYMOUS.
    pub allowanonymouslogin: bool,
    /// SASL security layers, bits.
    pub sasl_minimum_layer: u32,
    /// SASL security layers, bits.
    pub sasl_maximum_layer: u32,
    /// Realms whose users may come in.
    pub loginrealms: Vec<String>,
    /// Seconds that a failed login waits for its answer.
    pub failedloginpause: u64,
    /// User ids that log in are turned to lower case.
    pub username_tolower: bool,
    /// Seconds without a command until a session ends; at least 3.
    pub sync_timeout: u64,
    /// Longest literal in bytes; 0 = any.
    pub maxliteral: u64,
    /// Longest quoted string in bytes; 0 = any.
    pub maxquoted: u64,
    /// Longest atom in bytes; 0 = any.
    pub maxword: u64,
    /// What the peers of backupd may cost.
    pub limits: Limits,
    /// TLS.
    pub tls: Tls,
    /// `sync_authname` and its friends: with what `restore` logs in.
    pub sync: Credentials,
    /// `restore_authname` and its friends (3.0); see [`Config::restore_credentials`].
    pub restore: Credentials,
    /// Whether `restore` tries the IMAP port first.
    pub sync_try_imap: bool,

    /// What names mean.
    pub namespace: Namespace,

    /// File mode creation mask.
    pub umask: u32,
    /// The user to become when started as root.
    pub cyrus_user: Option<String>,
    /// The group to become.
    pub cyrus_group: Option<String>,
    /// In front of the program's name in syslog.
    pub syslog_prefix: Option<String>,
    /// `MAIL`, `LOCAL6`, …
    pub syslog_facility: Option<String>,
    /// Log debug messages as well.
    pub debug: bool,
    /// Telemetry files are named by session, not by process.
    pub telemetry_bysessionid: bool,

    /// To be logged when there is a log: old names in use.
    pub warnings: Vec<String>,
    settings: Settings,
}

impl Config {
    /// Reads imapd.conf for the program (`ctl_backups`, …) or service called `ident`. With
    /// `CYRUS_PREFIX` in the environment, files below that directory are preferred.
    pub fn load(file: &Path, ident: &str) -> Result<Config, ConfigError> {
        let mut config = Config::read(file, ident, &mut read_file)?;
        if config.servername.is_empty() {
            config.servername = hostname();
        }
        Ok(config)
    }

    /// As [`Config::load`], with the files from `read`; pure. `servername` stays empty when the
    /// file does not say it.
    pub fn read(
        file: &Path,
        ident: &str,
        read: &mut dyn FnMut(&Path) -> Result<Vec<u8>, ConfigError>,
    ) -> Result<Config, ConfigError> {
        let mut settings = Settings::new(ident);
        parse::parse(file, read, &mut |entry| settings.add(entry))?;
        let warnings = settings.rename_deprecated();
        Config::new(settings, warnings)
    }

    fn new(settings: Settings, warnings: Vec<String>) -> Result<Config, ConfigError> {
        let s = &settings;
        let configdirectory = s
            .path("configdirectory")
            .ok_or(ConfigError::NoConfigdirectory)?;
        let path = |name, default: &str| {
            s.path(name)
                .unwrap_or_else(|| configdirectory.join(default))
        };
        let temp_path = s.path("temp_path").unwrap_or_default();
        let engine = s.word("backup_db");
        if !ENGINES.contains(&engine.as_str()) {
            return Err(ConfigError::Engine { engine });
        }
        Ok(Config {
            backup_db: engine,
            backup_db_path: path("backup_db_path", "backups.db"),
            backup_staging_path: s
                .path("backup_staging_path")
                .unwrap_or_else(|| temp_path.join("backup")),
            proc_path: path("proc_path", "proc"),
            backup_partitions: backup_partitions(s),
            partition_select: PartitionSelect::new(s),
            defaultpartition: defaultpartition(s)?,
            fulldirhash: s.switch("fulldirhash"),
            backup_retention: positive(s.duration("backup_retention", 86400)),
            backup_compact_minsize: unsigned(s.size("backup_compact_minsize", 1024)) / 1024,
            backup_compact_maxsize: unsigned(s.size("backup_compact_maxsize", 1024)) / 1024,
            backup_compact_work_threshold: unsigned(s.int("backup_compact_work_threshold")).max(1),
            backup_keep_previous: s.switch("backup_keep_previous"),
            admins: s.words("admins"),
            servername: s.text("servername").unwrap_or_default(),
            allowplaintext: s.switch("allowplaintext"),
            allowanonymouslogin: s.switch("allowanonymouslogin"),
            sasl_minimum_layer: small(s.int("sasl_minimum_layer")),
            sasl_maximum_layer: small(s.int("sasl_maximum_layer")),
            loginrealms: s.words("loginrealms"),
            failedloginpause: unsigned(s.duration("failedloginpause", 1)),
            username_tolower: s.switch("username_tolower"),
            sync_timeout: unsigned(s.duration("sync_timeout", 1)).max(3),
            maxliteral: unsigned(s.size("maxliteral", 1)),
            maxquoted: unsigned(s.size("maxquoted", 1)),
            maxword: unsigned(s.size("maxword", 1)),
            limits: Limits::new(s),
            tls: Tls::new(s),
            sync: Credentials {
                authname: s.text("sync_authname"),
                password: s.text("sync_password").map(Secret),
                realm: s.text("sync_realm"),
                port: s.text("sync_port"),
            },
            restore: Credentials {
                authname: s.text("restore_authname"),
                password: s.text("restore_password").map(Secret),
                realm: s.text("restore_realm"),
                port: None,
            },
            sync_try_imap: s.switch("sync_try_imap"),
            namespace: namespace(s),
            umask: umask(&s.text("umask").unwrap_or_default()),
            cyrus_user: s.text("cyrus_user"),
            cyrus_group: s.text("cyrus_group"),
            syslog_prefix: s.text("syslog_prefix"),
            syslog_facility: s.text("syslog_facility"),
            debug: s.switch("debug"),
            telemetry_bysessionid: s.switch("telemetry_bysessionid"),
            configdirectory,
            temp_path,
            warnings,
            settings,
        })
    }

    /// What the file says to a key that is not one of Cyrus' own options; the service's own
    /// (`ident_key`) first. `None` also for a value that is no UTF-8.
    pub fn overflow(&self, key: &str) -> Option<&str> {
        std::str::from_utf8(self.settings.overflow(key)?).ok()
    }

    /// A SASL option (`mech_list`, `sasldb_path`, …), for a plugin or in general: looks for
    /// `sasl_PLUGIN_OPTION`, then `sasl_OPTION`.
    pub fn sasl_option(&self, plugin: Option<&str>, option: &str) -> Option<&str> {
        let lower = |text: &str| text.to_ascii_lowercase();
        plugin
            .and_then(|plugin| self.overflow(&format!("sasl_{}_{}", lower(plugin), lower(option))))
            .or_else(|| self.overflow(&format!("sasl_{}", lower(option))))
    }

    /// With what `restore` logs in: each of `restore_*`, or else `sync_*`. (C 3.6 reads only the
    /// latter, 3.0 only the former.)
    pub fn restore_credentials(&self) -> Credentials {
        self.restore.clone().or(&self.sync)
    }
}

/// The only place where configuration files are opened.
fn read_file(path: &Path) -> Result<Vec<u8>, ConfigError> {
    if let Some(mut prefixed) = std::env::var_os("CYRUS_PREFIX") {
        prefixed.push(path);
        if let Ok(text) = std::fs::read(prefixed) {
            return Ok(text);
        }
    }
    std::fs::read(path).map_err(|error| ConfigError::Open {
        path: path.display().to_string(),
        reason: match Errno::from_raw(error.raw_os_error().unwrap_or_default()) {
            Errno::UnknownErrno => error.to_string(),
            errno => errno.desc().to_owned(),
        },
    })
}

/// As gethostname(2); the file saves us an unsafe block.
fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// Without `{configdirectory}`, as in C: these are not among its own options.
fn backup_partitions(settings: &Settings) -> Vec<(String, PathBuf)> {
    settings
        .overflow_below("backuppartition-")
        .map(|(name, path)| (name.to_owned(), OsStr::from_bytes(path).into()))
        .collect()
}

fn defaultpartition(settings: &Settings) -> Result<Option<String>, ConfigError> {
    match settings.text("defaultpartition") {
        Some(name) if !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Err(ConfigError::Defaultpartition)
        }
        name => Ok(name.map(|name| name.to_ascii_lowercase())),
    }
}

fn namespace(settings: &Settings) -> Namespace {
    Namespace {
        unixhierarchysep: settings.switch("unixhierarchysep"),
        virtdomains: match settings.word("virtdomains").as_str() {
            "userid" => VirtDomains::Userid,
            "on" => VirtDomains::On,
            _ => VirtDomains::Off,
        },
        defaultdomain: settings.text("defaultdomain").unwrap_or_default(),
        deletedprefix: settings.text("deletedprefix").unwrap_or_default(),
    }
}

/// Octal digits; Cyrus does not mind others.
fn umask(text: &str) -> u32 {
    let digits = text.chars().filter_map(|c| c.to_digit(8));
    digits.fold(0, |mask, digit| (mask << 3 | digit) & 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config_for(ident: &str, text: &str) -> Result<Config, ConfigError> {
        let text = format!("{text}\nconfigdirectory: /c\n");
        Config::read(Path::new("F"), ident, &mut |_| Ok(text.clone().into()))
    }

    fn config(text: &str) -> Config {
        config_for("backupd", text).unwrap()
    }

    #[test]
    fn an_almost_empty_file_gives_the_defaults_of_cyrus() {
        let config = config("");
        assert_eq!(config.backup_db, "twoskip");
        assert_eq!(config.backup_db_path, Path::new("/c/backups.db"));
        assert_eq!(config.backup_staging_path, Path::new("/tmp/backup"));
        assert_eq!(config.proc_path, Path::new("/c/proc"));
        assert!(config.backup_partitions.is_empty());
        assert_eq!(config.partition_select.mode, SelectMode::FreespaceMost);
        assert_eq!(config.backup_retention, Some(7 * 86400));
        assert_eq!(config.backup_compact_minsize, 0);
        assert_eq!(config.backup_compact_work_threshold, 1);
        assert_eq!(config.sync_timeout, 1800);
        assert_eq!(config.failedloginpause, 3);
        assert_eq!(config.maxquoted, 131_072);
        assert_eq!(config.namespace, Namespace::default());
        assert_eq!(config.umask, 0o77);
        assert_eq!(config.tls.server_cert, None);
        assert!(config.sync_try_imap && !config.allowplaintext && !config.fulldirhash);
        assert!(config.admins.is_empty() && config.warnings.is_empty());
    }

    #[test]
    fn engines_without_a_file_of_ours_are_refused() {
        for engine in ["sql", "zeroskip"] {
            let error = config_for("backupd", &format!("backup_db: {engine}\n")).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with(&format!("cyrusdb backend {engine} not supported")));
            assert_eq!(error.exit_code(), 78);
        }
    }

    #[test]
    fn every_option_arrives() {
        let config = config(
            "backup_db: skiplist\nbackup_db_path: /d\ntemp_path: {configdirectory}/t\n\
             backuppartition-B: /b/\nbackuppartition-a: {configdirectory}/x\n\
             partition_select_mode: random\npartition_select_exclude: a, b\tc\n\
             partition_select_usage_reinit: 0x10\npartition_select_soft_usage_limit: 90\n\
             backup_retention: 0\nbackup_compact_minsize: 10\nbackup_compact_maxsize: 1M\n\
             backup_compact_work_threshold: -5\nbackup_keep_previous: t\nfulldirhash: 1\n\
             sync_timeout: 1\nadmins: a  b\nservername: s\nallowplaintext: yes\n\
             sasl_minimum_layer: 1\nsasl_maximum_layer: 2\nloginrealms: x y\n\
             failedloginpause: 0\nvirtdomains: userid\ndefaultdomain: d.org\n\
             unixhierarchysep: no\ndeletedprefix: GONE\numask: 0x27\ncyrus_user: u\n\
             cyrus_group: g\nsyslog_prefix: p\nsyslog_facility: LOCAL1\ndebug: on\n\
             telemetry_bysessionid: y\nproc_path: /p\nmaxquoted: 1\nmaxword: 2\nmaxliteral: 3K\n\
             tls_cert_file: /cert\ntls_server_key: /key\nsync_authname: sa\nsync_password: sp\n\
             sync_port: 7\nsync_try_imap: no\nrestore_authname: ra\nallowanonymouslogin: t\n\
             username_tolower: f\ndefaultpartition: Main\n",
        );
        let path = Path::new;
        assert_eq!(config.backup_db, "skiplist");
        assert_eq!(config.backup_db_path, path("/d"));
        assert_eq!(config.backup_staging_path, path("/c/t/backup"));
        assert_eq!(
            config.backup_partitions,
            [
                ("a".to_owned(), "{configdirectory}/x".into()),
                ("b".to_owned(), "/b/".into())
            ]
        );
        assert_eq!(
            config.partition_select,
            PartitionSelect {
                mode: SelectMode::Random,
                exclude: ["a", "b", "c"].map(str::to_owned).to_vec(),
                usage_reinit: 16,
                soft_usage_limit: 90,
            }
        );
        assert_eq!(config.backup_retention, None);
        assert_eq!(config.backup_compact_minsize, 10);
        assert_eq!(config.backup_compact_maxsize, 1024);
        assert_eq!(config.backup_compact_work_threshold, 1);
        assert!(config.backup_keep_previous && config.fulldirhash && config.allowplaintext);
        assert_eq!(config.sync_timeout, 3);
        assert_eq!(config.admins, ["a", "b"]);
        assert_eq!(config.servername, "s");
        assert_eq!(
            (config.sasl_minimum_layer, config.sasl_maximum_layer),
            (1, 2)
        );
        assert_eq!(config.loginrealms, ["x", "y"]);
        assert_eq!(config.failedloginpause, 0);
        assert_eq!(
            config.namespace,
            Namespace {
                unixhierarchysep: false,
                virtdomains: VirtDomains::Userid,
                defaultdomain: "d.org".to_owned(),
                deletedprefix: "GONE".to_owned(),
            }
        );
        assert_eq!(config.umask, 0o27);
        assert_eq!(config.cyrus_user.as_deref(), Some("u"));
        assert_eq!(config.cyrus_group.as_deref(), Some("g"));
        assert_eq!(config.syslog_prefix.as_deref(), Some("p"));
        assert_eq!(config.syslog_facility.as_deref(), Some("LOCAL1"));
        assert!(config.debug && config.telemetry_bysessionid && config.allowanonymouslogin);
        assert!(!config.username_tolower && !config.sync_try_imap);
        assert_eq!(config.proc_path, path("/p"));
        assert_eq!(
            (config.maxquoted, config.maxword, config.maxliteral),
            (1, 2, 3072)
        );
        assert_eq!(config.tls.server_cert.as_deref(), Some(path("/cert")));
        assert_eq!(config.tls.server_key.as_deref(), Some(path("/key")));
        assert_eq!(config.warnings.len(), 1);
        assert_eq!(config.defaultpartition.as_deref(), Some("main"));
        let credentials = config.restore_credentials();
        assert_eq!(credentials.authname.as_deref(), Some("ra"));
        assert_eq!(
            credentials.password.as_ref().map(Secret::expose),
            Some("sp")
        );
        assert_eq!(credentials.port.as_deref(), Some("7"));
    }

    #[test]
    fn options_of_one_program() {
        let text = "sync_authname: all\nrestore_sync_authname: mine\nrestore_authname: old";
        let for_restore = config_for("restore", text).unwrap();
        assert_eq!(for_restore.sync.authname.as_deref(), Some("mine"));
        assert_eq!(for_restore.restore.authname.as_deref(), Some("old"));
        assert_eq!(config(text).sync.authname.as_deref(), Some("all"));
    }

    #[test]
    fn sasl_options_go_from_special_to_general() {
        let config = config(
            "sasl_mech_list: A\nsasl_scram_mech_list: B\nbackupd_sasl_mech_list: C\n\
             sasl_pwcheck_method: auxprop\n",
        );
        assert_eq!(config.sasl_option(None, "mech_list"), Some("C"));
        assert_eq!(config.sasl_option(Some("SCRAM"), "mech_list"), Some("B"));
        assert_eq!(config.sasl_option(Some("plain"), "mech_list"), Some("C"));
        assert_eq!(config.sasl_option(None, "pwcheck_method"), Some("auxprop"));
        assert_eq!(config.sasl_option(None, "other"), None);
        assert_eq!(config.overflow("sasl_pwcheck_method"), Some("auxprop"));
    }

    #[test]
    fn what_is_wrong_with_the_whole_file() {
        let mut read = |_: &Path| Ok(b"admins: a\n".to_vec());
        let error = Config::read(Path::new("F"), "x", &mut read).unwrap_err();
        assert_eq!(error, ConfigError::NoConfigdirectory);
        assert_eq!(error.exit_code(), 78);
        let error = config_for("x", "defaultpartition: a/b").unwrap_err();
        assert_eq!(error, ConfigError::Defaultpartition);
    }

    #[test]
    fn loading_reads_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("imapd.conf");
        std::fs::write(&file, "configdirectory: /c\n@include: other\n").unwrap();
        let error = Config::load(&file, "x").unwrap_err();
        assert_eq!(
            error.to_string(),
            "can't open configuration file other: No such file or directory"
        );
        std::fs::write(&file, "configdirectory: /c\n").unwrap();
        let config = Config::load(&file, "x").unwrap();
        assert!(!config.servername.is_empty());
    }

    #[test]
    fn paths_need_not_be_utf8() {
        let mut read = |_: &Path| Ok(b"configdirectory: /\xe9\n".to_vec());
        let config = Config::read(Path::new("F"), "x", &mut read).unwrap();
        assert_eq!(
            config.configdirectory,
            Path::new(OsStr::from_bytes(b"/\xe9"))
        );
    }

    #[test]
    fn debug_output_holds_no_passwords() {
        let config = config("sync_password: geheim\nsasl_x_password: geheim\n");
        assert!(!format!("{config:?}").contains("geheim"));
    }
}
