//! imapd.conf → what the sessions share.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use cyrusbackup::backupd::auth::{Admins, Authority, Shield};
use cyrusbackup::backupd::sasl::{Sasl, SaslOptions};
use cyrusbackup::backupd::service::{ServiceFactory, StoreService};
use cyrusbackup::backupd::settings::Settings;
use cyrusbackup::backupd::staging::Budget;
use cyrusbackup::backupd::telemetry::Telemetry;
use cyrusbackup::backupd::tls::TlsServer;
use cyrusbackup::config::Config;
use cyrusbackup::store::Placement;
use cyrusbackup::tools::zone;
use cyrusbackup::types::VirtDomains;

/// A MAILBOX line of five million records.
const LINE_LIMIT: u64 = 2 << 30;

/// What imapd.conf says cannot be done.
#[derive(Debug, thiserror::Error)]
#[error("imapd.conf")]
pub struct Unusable;

/// TLS from the first octet was asked for.
pub fn without_certificate() -> anyhow::Error {
    let text = "TLS from the first octet needs a certificate: tls_server_cert and tls_server_key";
    anyhow::anyhow!(text).context(Unusable)
}

/// Without peers of the network nobody logs in, and libsasl2 need not be there. `service` is the name
/// under which we run.
pub fn settings(
    config: &Arc<Config>,
    placement: &Arc<Placement>,
    service: &str,
    networked: bool,
) -> anyhow::Result<Settings> {
    let authority = match networked {
        true => Some(authority(config).context(Unusable)?),
        false => None,
    };
    let tls = TlsServer::load(&config.tls).context("TLS cannot be used");
    let tls = tls.context(Unusable)?;
    let limits = &config.limits;
    Ok(Settings {
        servername: config.servername.clone(),
        trusted_user: config
            .cyrus_user
            .clone()
            .unwrap_or_else(|| "cyrus".to_owned()),
        admins: Admins::new(&config.admins, config.username_tolower),
        authority,
        tls,
        failed_login_pause: Duration::from_secs(config.failedloginpause),
        staging_path: config.backup_staging_path.clone(),
        staging_memory: limits.staging_memory,
        staging_budget: Arc::new(Budget::new(limits.staging_memory_of_all)),
        staging_disk: Arc::new(Budget::new(limits.staging_disk)),
        refusals: Default::default(),
        staging_limit: limits.staging,
        token_limit: limits.token,
        line_limit: LINE_LIMIT,
        metrics: Default::default(),
        telemetry: Telemetry {
            directory: config.configdirectory.join("log"),
            service: service.to_owned(),
            by_session_id: config.telemetry_bysessionid,
            servername: config.servername.clone(),
            zone: zone::local(),
            ..Telemetry::default()
        },
        services: services(config, placement),
    })
}

fn authority(config: &Arc<Config>) -> anyhow::Result<Box<dyn Authority>> {
    let lookup = Arc::clone(config);
    let sasl = Sasl::load(SaslOptions {
        servername: config.servername.clone(),
        allow_plaintext: config.allowplaintext,
        minimum_layer: config.sasl_minimum_layer,
        tls_required: config.tls.required,
        realms: match config.namespace.virtdomains {
            VirtDomains::Off => Some(config.loginrealms.clone()),
            VirtDomains::Userid | VirtDomains::On => None,
        },
        lookup: Box::new(move |plugin, option| {
            lookup.sasl_option(plugin, option).map(str::to_owned)
        }),
    })?;
    let shield = Shield {
        strength: config.tls.server_cert.as_ref().map_or(0, |_| 256),
        certificate: None,
    };
    if sasl.mechanisms(&shield).is_empty() {
        tracing::warn!(
            "no login is possible: SASL offers neither PLAIN, LOGIN nor SCRAM; see sasl_mech_list and \
             allowplaintext in imapd.conf, and whether libsasl2-modules is installed"
        );
    }
    Ok(Box::new(sasl))
}

/// The store behind the sessions.
fn services(config: &Config, placement: &Arc<Placement>) -> ServiceFactory {
    let placement = Arc::clone(placement);
    let namespace = config.namespace.clone();
    Box::new(move || Box::new(StoreService::new(Arc::clone(&placement), namespace.clone())))
}
