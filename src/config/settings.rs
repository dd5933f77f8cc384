//! Entries → checked values: service prefixes, old names, defaults (spec: ondisk 1.3 to 1.5). Pure.
//! Left out: what a value is good for (`Config`).

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::ConfigError;
use super::options::{self, Kind, Spec};
use super::parse::Entry;
use super::value;

/// Everything that imapd.conf says to one program. Known options have passed their type's check.
#[derive(Clone)]
pub(super) struct Settings {
    /// `ident_`, in lower case.
    prefix: String,
    known: HashMap<&'static str, Given>,
    overflow: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone)]
struct Given {
    value: Vec<u8>,
    /// It came as `ident_option`.
    prefixed: bool,
}

impl Settings {
    /// For the program or service called `ident`.
    pub(super) fn new(ident: &str) -> Settings {
        Settings {
            prefix: format!("{}_", ident.to_ascii_lowercase()),
            known: HashMap::new(),
            overflow: BTreeMap::new(),
        }
    }

    /// Takes one line of the file. `ident_option` wins over `option`, wherever it stands; either
    /// may stand there once. As in C, nobody looks at an `option` behind its `ident_option`.
    pub(super) fn add(&mut self, entry: Entry) -> Result<(), ConfigError> {
        let unprefixed = entry.key.strip_prefix(&self.prefix);
        let (spec, prefixed) = match unprefixed.and_then(options::find) {
            Some(spec) => (spec, true),
            None => match options::find(&entry.key) {
                Some(spec) => (spec, false),
                None => return self.add_overflow(entry),
            },
        };
        match self.known.get(spec.name) {
            Some(given) if given.prefixed && !prefixed => return Ok(()),
            Some(given) if given.prefixed == prefixed => return Err(twice(entry)),
            _ => {}
        }
        check(spec, &entry)?;
        let value = entry.value;
        self.known.insert(spec.name, Given { value, prefixed });
        Ok(())
    }

    fn add_overflow(&mut self, entry: Entry) -> Result<(), ConfigError> {
        if self.overflow.contains_key(&entry.key) {
            return Err(twice(entry));
        }
        self.overflow.insert(entry.key, entry.value);
        Ok(())
    }

    /// Moves values given under old names to the new ones, unless those are given as well; returns
    /// C's warnings.
    pub(super) fn rename_deprecated(&mut self) -> Vec<String> {
        let mut warnings = Vec::new();
        for options::Deprecated { old, new, since } in options::DEPRECATED {
            let Some(given) = self.known.remove(old) else {
                continue;
            };
            self.known.entry(new).or_insert(given);
            warnings.push(format!(
                "Option '{old}' is deprecated in favor of '{new}' since version {since}."
            ));
        }
        warnings
    }

    /// The value of an unknown key: `ident_key`, then `key`.
    pub(super) fn overflow(&self, key: &str) -> Option<&[u8]> {
        let prefixed = format!("{}{key}", self.prefix);
        let value = self
            .overflow
            .get(&prefixed)
            .or_else(|| self.overflow.get(key));
        value.map(Vec::as_slice)
    }

    /// All unknown keys that begin so, without that beginning, in alphabetical order.
    pub(super) fn overflow_below<'a>(
        &'a self,
        start: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.overflow
            .iter()
            .filter_map(move |(key, value)| Some((key.strip_prefix(start)?, value.as_slice())))
    }

    /// A text; `None` when it is neither given nor has a default. Bytes that are no UTF-8 are
    /// replaced: such text was meant for people (paths do not come this way).
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let bytes = self.bytes(name)?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A text's words.
    pub(super) fn words(&self, name: &str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        text.split_ascii_whitespace().map(str::to_owned).collect()
    }

    /// A path, byte by byte as it stands in the file.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        let bytes = self.bytes(name)?;
        Some(OsString::from_vec(bytes).into())
    }

    /// A switch.
    pub(super) fn switch(&self, name: &str) -> bool {
        self.typed(name, value::switch)
    }

    /// An integer.
    pub(super) fn int(&self, name: &str) -> i64 {
        self.typed(name, value::int)
    }

    /// Seconds; a bare number counts in `default_unit` seconds.
    pub(super) fn duration(&self, name: &str, default_unit: i64) -> i64 {
        self.typed(name, |text| value::duration(text, default_unit))
    }

    /// Bytes; a bare number counts in `default_unit` bytes.
    pub(super) fn size(&self, name: &str, default_unit: i64) -> i64 {
        self.typed(name, |text| value::size(text, default_unit))
    }

    /// One of the words of an enumeration.
    pub(super) fn word(&self, name: &str) -> String {
        let word = self.text(name).unwrap_or_default();
        match options::find(name).map(|spec| spec.kind) {
            Some(Kind::Enum(_)) => on_or_off(&word).to_owned(),
            _ => word,
        }
    }

    /// `add` has checked every value, and a test every default, so reading gives something.
    fn typed<T: Default>(&self, name: &str, read: impl FnOnce(&str) -> Option<T>) -> T {
        let value = self.text(name).and_then(|text| read(&text));
        debug_assert!(value.is_some(), "{name} has no value of this type");
        value.unwrap_or_default()
    }

    fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let spec = options::find(name);
        debug_assert!(spec.is_some(), "{name} is not in the table of options");
        let default = spec.map_or("", |spec| spec.default).as_bytes();
        let value = self
            .known
            .get(name)
            .map_or(default, |given| given.value.as_slice());
        if value.is_empty() {
            return None;
        }
        let expands = name != "configdirectory" && spec?.kind == Kind::Text;
        match strip_placeholder(value).filter(|_| expands) {
            Some(rest) => Some([&self.bytes("configdirectory")?, rest].concat()),
            None => Some(value.to_owned()),
        }
    }
}

/// Values may be passwords: keys only.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut known: Vec<_> = self.known.keys().collect();
        known.sort();
        f.debug_struct("Settings")
            .field("prefix", &self.prefix)
            .field("known", &known)
            .field("overflow", &self.overflow.keys())
            .finish()
    }
}

fn twice(entry: Entry) -> ConfigError {
    ConfigError::Twice {
        key: entry.key,
        line: entry.line,
    }
}

fn check(spec: &Spec, entry: &Entry) -> Result<(), ConfigError> {
    let text = String::from_utf8_lossy(&entry.value);
    let well_formed = match spec.kind {
        Kind::Text => true,
        Kind::Switch => value::switch(&text).is_some(),
        Kind::Int => value::int(&text).is_some(),
        Kind::Duration => value::duration(&text, 1).is_some(),
        Kind::Kibibytes | Kind::Bytes => value::size(&text, 1).is_some(),
        Kind::Enum(words) => words.contains(&on_or_off(&text)),
        Kind::Choice(words) => words.contains(&text.as_ref()),
    };
    if well_formed {
        return Ok(());
    }
    // Without the service's prefix, and an enumeration's `t` shows as `on`.
    let (key, line) = (spec.name.to_owned(), entry.line);
    let value = match spec.kind {
        Kind::Enum(_) => on_or_off(&text).to_owned(),
        _ => text.into_owned(),
    };
    Err(match spec.kind {
        Kind::Switch => ConfigError::NonSwitch { key, line },
        Kind::Duration => ConfigError::Duration { value, key, line },
        Kind::Enum(_) | Kind::Choice(_) => ConfigError::Choice { value, key, line },
        _ => ConfigError::NonInteger { key, line },
    })
}

fn on_or_off(word: &str) -> &str {
    match word {
        "1" | "yes" | "t" | "true" => "on",
        "0" | "no" | "f" | "false" => "off",
        word => word,
    }
}

fn strip_placeholder(value: &[u8]) -> Option<&[u8]> {
    const PLACEHOLDER: &[u8] = b"{configdirectory}";
    let (start, rest) = value.split_at_checked(PLACEHOLDER.len())?;
    start.eq_ignore_ascii_case(PLACEHOLDER).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The settings of `cyr_info` after these lines, or the error.
    fn settings(lines: &[&str]) -> Result<Settings, String> {
        let mut settings = Settings::new("Cyr_Info");
        for (i, line) in lines.iter().enumerate() {
            let (key, value) = line.split_once(": ").unwrap();
            let entry = Entry {
                key: key.to_ascii_lowercase(),
                value: value.into(),
                line: i + 1,
            };
            settings.add(entry).map_err(|error| error.to_string())?;
        }
        settings.rename_deprecated();
        Ok(settings)
    }

    #[test]
    fn the_services_own_option_wins() {
        for lines in [
            &["admins: a", "cyr_info_admins: b"] as &[&str],
            &["Cyr_Info_admins: b", "admins: a"],
            &["admins: a", "cyr_info_admins: b", "admins: c"],
        ] {
            let settings = settings(lines).unwrap();
            assert_eq!(settings.text("admins").as_deref(), Some("b"), "{lines:?}");
        }
    }

    #[test]
    fn a_plain_option_behind_the_services_own_is_not_even_checked() {
        let lines = ["cyr_info_debug: yes", "debug: zz", "debug: no"];
        assert!(settings(&lines).unwrap().switch("debug"));
    }

    #[test]
    fn the_prefix_of_another_service_is_an_unknown_key() {
        let settings = settings(&["imap_debug: zz", "cyr_info_cyr_info_debug: zz"]).unwrap();
        assert!(!settings.switch("debug"));
        assert_eq!(settings.overflow("imap_debug"), Some(&b"zz"[..]));
    }

    #[test]
    fn unknown_keys_are_kept_and_the_services_own_wins() {
        let settings = settings(&["foo: a", "cyr_info_foo: b", "bar: c"]).unwrap();
        assert_eq!(settings.overflow("foo"), Some(&b"b"[..]));
        assert_eq!(settings.overflow("bar"), Some(&b"c"[..]));
        assert_eq!(settings.overflow("baz"), None);
    }

    #[test]
    fn wrong_lines_in_the_words_of_c() {
        for (lines, error) in [
            (
                &["debug: yes", "debug: zz"] as &[&str],
                "option 'debug' was specified twice in config file (second occurrence on line 2)",
            ),
            (
                &["CYR_info_admins: a", "Cyr_Info_Admins: b"],
                "option 'cyr_info_admins' was specified twice in config file (second occurrence \
                 on line 2)",
            ),
            (
                &["foo: a", "FOO: b"],
                "option 'foo' was specified twice in config file (second occurrence on line 2)",
            ),
            (&["debug: YES"], "non-switch value for debug in line 1"),
            (
                &["cyr_info_maxword: 5x"],
                "non-integer value for maxword in line 1",
            ),
            (
                &["admins: a", "sync_timeout: 1w"],
                "unparsable duration '1w' for sync_timeout in line 2",
            ),
            (
                &["virtdomains: ON"],
                "invalid value 'ON' for virtdomains in line 1",
            ),
            (
                &["backup_db: flat"],
                "invalid value 'flat' for backup_db in line 1",
            ),
            (
                &["tls_client_certs: yes"],
                "invalid value 'on' for tls_client_certs in line 1",
            ),
        ] {
            assert_eq!(settings(lines).unwrap_err(), error, "{lines:?}");
        }
    }

    #[test]
    fn enumerations_know_yes_and_no() {
        for (value, word) in [
            ("yes", "on"),
            ("t", "on"),
            ("1", "on"),
            ("no", "off"),
            ("false", "off"),
            ("userid", "userid"),
        ] {
            let settings = settings(&[&format!("virtdomains: {value}")]).unwrap();
            assert_eq!(settings.word("virtdomains"), word);
        }
    }

    #[test]
    fn old_names_count_when_the_new_one_is_not_given() {
        const DAY: i64 = 86400;
        for (lines, days) in [
            (&["backup_retention_days: 5"] as &[&str], 5),
            (&["backup_retention_days: 5", "backup_retention: 6d"], 6),
            (&["backup_retention: 6", "backup_retention_days: 5"], 6),
            (
                &["cyr_info_backup_retention_days: 3", "backup_retention: 9d"],
                9,
            ),
            (&[], 7),
        ] {
            let settings = settings(lines).unwrap();
            assert_eq!(
                settings.duration("backup_retention", DAY),
                days * DAY,
                "{lines:?}"
            );
        }
    }

    #[test]
    fn old_names_are_told() {
        let mut settings = settings(&[]).unwrap();
        settings
            .add(Entry {
                key: "tls_cert_file".to_owned(),
                value: b"/x".to_vec(),
                line: 1,
            })
            .unwrap();
        assert_eq!(
            settings.rename_deprecated(),
            [
                "Option 'tls_cert_file' is deprecated in favor of 'tls_server_cert' since version 2.5.0."
            ]
        );
        assert_eq!(settings.text("tls_server_cert").as_deref(), Some("/x"));
    }

    #[test]
    fn the_placeholder_counts_at_the_start_of_known_texts_only() {
        let settings = settings(&[
            "temp_path: {ConfigDirectory}/t",
            "servername: a{configdirectory}",
            "sync_port: {configdirectory}",
            "backuppartition-x: {configdirectory}/x",
            "configdirectory: /c",
        ])
        .unwrap();
        assert_eq!(settings.path("temp_path"), Some("/c/t".into()));
        assert_eq!(
            settings.text("servername").as_deref(),
            Some("a{configdirectory}")
        );
        assert_eq!(settings.text("sync_port").as_deref(), Some("/c"));
        let partitions: Vec<_> = settings.overflow_below("backuppartition-").collect();
        assert_eq!(partitions, [("x", &b"{configdirectory}/x"[..])]);
    }

    #[test]
    fn configdirectory_itself_is_not_expanded() {
        let settings = settings(&["configdirectory: {configdirectory}/a"]).unwrap();
        assert_eq!(
            settings.path("configdirectory"),
            Some("{configdirectory}/a".into())
        );
    }

    #[test]
    fn every_default_passes_the_check_of_its_type() {
        for spec in options::OPTIONS {
            let entry = Entry {
                key: spec.name.to_owned(),
                value: spec.default.into(),
                line: 0,
            };
            if !spec.default.is_empty() {
                assert_eq!(check(spec, &entry), Ok(()));
            }
        }
    }

    #[test]
    fn debug_output_holds_no_values() {
        let settings = settings(&["sync_password: secret", "bk_sync_password: secret"]).unwrap();
        let text = format!("{settings:?}");
        assert!(text.contains("bk_sync_password") && !text.contains("secret"));
    }
}
