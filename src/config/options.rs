//! The options of imapd.conf that we know, with types and defaults of Cyrus 3.6.1 (spec: ondisk
//! 1.5). Every other key is legal, too, and kept as it is.

/// What a value must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Anything; `{configdirectory}` at its start is replaced.
    Text,
    /// On or off.
    Switch,
    /// An integer.
    Int,
    /// Seconds, printed like `7d`; a bare number counts in the unit of the asker.
    Duration,
    /// KiB as an integer, or a size like `10M`.
    Kibibytes,
    /// Bytes as an integer, or a size like `128K`.
    Bytes,
    /// One of these words, where `1 yes t true` also say `on`, and `0 no f false` say `off`.
    Enum(&'static [&'static str]),
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// One option.
#[derive(Debug)]
pub(super) struct Spec {
    /// In lower case.
    pub(super) name: &'static str,
    /// Its type.
    pub(super) kind: Kind,
    /// Its value when nothing is said; empty = none.
    pub(super) default: &'static str,
}

/// An old name of an option.
#[derive(Debug)]
pub(super) struct Deprecated {
    /// The old name; also in [`OPTIONS`].
    pub(super) old: &'static str,
    /// What replaces it.
    pub(super) new: &'static str,
    /// The Cyrus version that renamed it.
    pub(super) since: &'static str,
}

/// Finds an option by its name in lower case.
pub(super) fn find(name: &str) -> Option<&'static Spec> {
    OPTIONS.iter().find(|option| option.name == name)
}

const fn option(name: &'static str, kind: Kind, default: &'static str) -> Spec {
    Spec {
        name,
        kind,
        default,
    }
}

/// All options that we know.
pub(super) const OPTIONS: &[Spec] = &[
    // Places.
    option("configdirectory", Kind::Text, ""),
    option("backup_db", BACKUP_DB, "twoskip"),
    option("backup_db_path", Kind::Text, ""),
    option("backup_staging_path", Kind::Text, ""),
    option("temp_path", Kind::Text, "/tmp"),
    option("proc_path", Kind::Text, ""),
    option("defaultpartition", Kind::Text, ""),
    option("fulldirhash", Kind::Switch, "no"),
    // Choosing a partition.
    option("partition_select_mode", SELECT_MODE, "freespace-most"),
    option("partition_select_exclude", Kind::Text, ""),
    option("partition_select_usage_reinit", Kind::Int, "0"),
    option("partition_select_soft_usage_limit", Kind::Int, "0"),
    // What is kept.
    option("backup_retention", Kind::Duration, "7d"),
    option("backup_retention_days", Kind::Duration, ""),
    option("backup_compact_minsize", Kind::Kibibytes, "0"),
    option("backup_compact_maxsize", Kind::Kibibytes, "0"),
    option("backup_compact_work_threshold", Kind::Int, "1"),
    option("backup_keep_previous", Kind::Switch, "no"),
    // Who may come in.
    option("admins", Kind::Text, ""),
    option("servername", Kind::Text, ""),
    option("allowplaintext", Kind::Switch, "no"),
    option("allowanonymouslogin", Kind::Switch, "no"),
    option("sasl_minimum_layer", Kind::Int, "0"),
    option("sasl_maximum_layer", Kind::Int, "256"),
    option("loginrealms", Kind::Text, ""),
    option("failedloginpause", Kind::Duration, "3s"),
    option("username_tolower", Kind::Switch, "yes"),
    option("unix_group_enable", Kind::Switch, "yes"),
    option("sync_timeout", Kind::Duration, "30m"),
    // What peers may cost: ours, C does not know them.
    option("backup_max_connections", Kind::Int, "1000"),
    option("backup_max_per_address", Kind::Int, "100"),
    option("backup_login_timeout", Kind::Duration, "60s"),
    option("backup_staging_limit", Kind::Bytes, "0"),
    option("backup_staging_memory", Kind::Bytes, "16M"),
    option("backup_staging_memory_of_all", Kind::Bytes, "256M"),
    option("backup_staging_disk", Kind::Bytes, "64G"),
    option("maxliteral", Kind::Bytes, "131072"),
    option("maxquoted", Kind::Bytes, "131072"),
    option("maxword", Kind::Bytes, "131072"),
    option("literalminus", Kind::Switch, "no"),
    // TLS.
    option("tls_server_cert", Kind::Text, ""),
    option("tls_cert_file", Kind::Text, ""),
    option("tls_server_key", Kind::Text, ""),
    option("tls_key_file", Kind::Text, ""),
    option("tls_server_ca_dir", Kind::Text, ""),
    option("tls_server_ca_file", Kind::Text, ""),
    option("tls_server_dhparam", Kind::Text, ""),
    option("tls_client_ca_dir", Kind::Text, ""),
    option("tls_ca_path", Kind::Text, ""),
    option("tls_client_ca_file", Kind::Text, ""),
    option("tls_ca_file", Kind::Text, ""),
    option("tls_client_cert", Kind::Text, ""),
    option("tls_client_key", Kind::Text, ""),
    option("tls_client_certs", CLIENT_CERTS, "optional"),
    option("tls_ciphers", Kind::Text, "DEFAULT"),
    option("tls_cipher_list", Kind::Text, "DEFAULT"),
    option("tls_crl_file", Kind::Text, ""),
    option("tls_eccurve", Kind::Text, "prime256v1"),
    option("tls_prefer_server_ciphers", Kind::Switch, "no"),
    option("tls_required", Kind::Switch, "no"),
    option("tls_versions", Kind::Text, "tls1_0 tls1_1 tls1_2 tls1_3"),
    // How we come in elsewhere.
    option("sync_authname", Kind::Text, ""),
    option("sync_password", Kind::Text, ""),
    option("sync_realm", Kind::Text, ""),
    option("sync_port", Kind::Text, ""),
    option("sync_try_imap", Kind::Switch, "yes"),
    option("restore_authname", Kind::Text, ""),
    option("restore_password", Kind::Text, ""),
    option("restore_realm", Kind::Text, ""),
    // Names.
    option("virtdomains", VIRTDOMAINS, "off"),
    option("defaultdomain", Kind::Text, "internal"),
    option("unixhierarchysep", Kind::Switch, "yes"),
    option("altnamespace", Kind::Switch, "yes"),
    option("userprefix", Kind::Text, "Other Users"),
    option("sharedprefix", Kind::Text, "Shared Folders"),
    option("crossdomains", Kind::Switch, "no"),
    option("crossdomains_onlyother", Kind::Switch, "no"),
    option("deletedprefix", Kind::Text, "DELETED"),
    // The process.
    option("cyrus_user", Kind::Text, ""),
    option("cyrus_group", Kind::Text, ""),
    option("umask", Kind::Text, "077"),
    option("syslog_prefix", Kind::Text, ""),
    option("syslog_facility", Kind::Text, ""),
    option("debug", Kind::Switch, "no"),
    option("telemetry_bysessionid", Kind::Switch, "no"),
    // Known, and of no consequence to us.
    option("xbackup_enabled", Kind::Switch, "no"),
    option("skiplist_unsafe", Kind::Switch, "no"),
];

/// Old names that administrators still have in their files.
pub(super) const DEPRECATED: &[Deprecated] = &[
    deprecated("backup_retention_days", "backup_retention", "3.1.8"),
    deprecated("tls_ca_file", "tls_client_ca_file", "2.5.0"),
    deprecated("tls_ca_path", "tls_client_ca_dir", "2.5.0"),
    deprecated("tls_cert_file", "tls_server_cert", "2.5.0"),
    deprecated("tls_cipher_list", "tls_ciphers", "2.5.0"),
    deprecated("tls_key_file", "tls_server_key", "2.5.0"),
];

const fn deprecated(old: &'static str, new: &'static str, since: &'static str) -> Deprecated {
    Deprecated { old, new, since }
}

const BACKUP_DB: Kind = Kind::Choice(&["skiplist", "sql", "twoskip", "zeroskip"]);
const SELECT_MODE: Kind = Kind::Choice(&[
    "random",
    "freespace-most",
    "freespace-percent-most",
    "freespace-percent-weighted",
    "freespace-percent-weighted-delta",
]);
const CLIENT_CERTS: Kind = Kind::Enum(&["off", "optional", "require"]);
const VIRTDOMAINS: Kind = Kind::Enum(&["off", "userid", "on"]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_old_ones_lead_to_new_ones_of_the_same_kind() {
        for (i, option) in OPTIONS.iter().enumerate() {
            assert_eq!(option.name, option.name.to_ascii_lowercase());
            assert!(OPTIONS[..i].iter().all(|other| other.name != option.name));
        }
        for Deprecated { old, new, .. } in DEPRECATED {
            assert_eq!(find(old).unwrap().kind, find(new).unwrap().kind, "{old}");
        }
    }
}
