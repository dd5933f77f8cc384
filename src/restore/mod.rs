//! restore: a backup back into a Cyrus server, or into files.
//!
//! In rooms of their own: `objects` (what was asked for) → `plan` (what goes where, a value that `-n` prints) →
//! `target` (what the server has) → `compare` (what is left to do) → `run` (done, mailbox by mailbox, in the lines of
//! `wire`). `extras` is what is not a message, which `gather` finds in the backup; `files` is what needs no server.
//!
//! Nothing is sent before everything that was asked for was found, and nothing is changed in a target before it
//! was asked what it has. The backup is only read, under a shared lock.

mod bodies;
mod compare;
mod extras;
mod files;
mod gather;
mod names;
mod objects;
pub mod options;
mod plan;
mod progress;
mod run;
mod show;
mod target;
mod wire;

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::csync::dlist::KvList;
use crate::csync_client::{
    Address, BadAddress, Client, ClientError, Compression, Connect, Credentials, Service,
    TlsSettings,
};
use crate::select::{NotATime, SelectError};
use crate::store::{Backup, Lock, StoreError};
use crate::tools::Site;
use crate::tools::target::resolve;
use crate::tools::terminal::{Terminal, exit};
use bodies::SendError;
use names::Destination;
use objects::{ChoiceError, choose};
use options::{Options, Request};
use plan::{Plan, Shape, plan};
use run::Run;
use show::Summary;

/// Until connected and logged in, as C's `client_timeout`.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("not found in backups.db")]
    UnknownBackup,
    #[error("{}", .0.explained())]
    Store(#[from] StoreError),
    #[error(transparent)]
    Choice(ChoiceError),
    #[error(transparent)]
    Select(#[from] SelectError),
    #[error(transparent)]
    Time(#[from] NotATime),
    #[error("{0:?} is no mailbox name")]
    NotAMailbox(String),
    #[error(transparent)]
    Address(#[from] BadAddress),
    #[error("{0}{hint}", hint = hint(.0))]
    Client(#[from] ClientError),
    #[error(transparent)]
    File(files::FileError),
    /// Printing failed: nothing more can be said on standard output.
    #[error(transparent)]
    Print(#[from] io::Error),
}

impl From<ChoiceError> for Failure {
    fn from(error: ChoiceError) -> Failure {
        match error {
            ChoiceError::Store(error) => Failure::Store(error),
            error => Failure::Choice(error),
        }
    }
}

impl From<files::FileError> for Failure {
    fn from(error: files::FileError) -> Failure {
        match error {
            files::FileError::Store(error) => Failure::Store(error),
            error => Failure::File(error),
        }
    }
}

/// Both servers let everybody in and then refuse every command of those who are no administrators.
fn hint(error: &ClientError) -> &'static str {
    match error {
        ClientError::Refused { command, answer }
            if command.starts_with("GET ")
                && (answer.starts_with("BAD") || answer.contains("Permission denied")) =>
        {
            " (who logs in must be among the admins of that server)"
        }
        _ => "",
    }
}

/// Restores; the exit code.
///
/// # Errors
/// Printing failed.
pub fn run(request: &Request, site: &Site, terminal: &mut Terminal<'_>) -> io::Result<u8> {
    let options = &request.options;
    if let Some(seconds) = options.delayed_startup {
        writeln!(
            terminal.err,
            "Waiting for {seconds} seconds for gdb attach..."
        )?;
        std::thread::sleep(Duration::from_secs(seconds));
    }
    let objects = match &options.input_file {
        None => request.objects.clone(),
        Some(file) => match read_objects(file) {
            Ok(objects) => objects,
            Err(error) => {
                let reason = format!("fopen {}: {}", file.display(), system_error(&error));
                tell_json(options, &reason, terminal)?;
                writeln!(terminal.err, "{reason}")?;
                return Ok(exit::FAILED);
            }
        },
    };
    let restore = Restore {
        request,
        options,
        site,
    };
    match restore.execute(&objects, terminal) {
        Ok(code) => {
            terminal.out.flush()?;
            Ok(code)
        }
        Err(Failure::Print(error)) => Err(error),
        Err(failure) => {
            tell_json(options, &failure, terminal)?;
            terminal.complain(&request.backup, failure)?;
            Ok(exit::FAILED)
        }
    }
}

/// Who reads JSON finds the reason there, too, when nothing was begun.
fn tell_json(
    options: &Options,
    reason: &impl ToString,
    terminal: &mut Terminal<'_>,
) -> io::Result<()> {
    match options.json {
        true => writeln!(terminal.out, "{}", show::error_json(reason.to_string())),
        false => Ok(()),
    }
}

/// As strerror(3) says it.
fn system_error(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    }
}

fn read_objects(file: &Path) -> io::Result<Vec<OsString>> {
    let mut text = Vec::new();
    match file == Path::new("-") {
        true => io::stdin().lock().read_to_end(&mut text)?,
        false => std::fs::File::open(file)?.read_to_end(&mut text)?,
    };
    Ok(objects::lines(&text))
}

struct Restore<'a> {
    request: &'a Request,
    options: &'a Options,
    site: &'a Site,
}

impl Restore<'_> {
    fn execute(&self, objects: &[OsString], terminal: &mut Terminal<'_>) -> Result<u8, Failure> {
        let (backup, userid) = self.open()?;
        let plan = self.plan(&backup, objects, terminal)?;
        if self.options.verbose > 0 {
            for remark in &plan.remarks {
                writeln!(terminal.err, "{remark}")?;
            }
        }
        if self.options.dry_run {
            return self.only_look(&plan, &backup, userid.as_deref(), terminal);
        }
        let mut summary = Summary {
            deleted: plan.deleted,
            ..Summary::default()
        };
        summary.failed.extend(plan.left_out.iter().cloned());
        let result = match self.options.to_files() {
            true => {
                let (files, quiet) = (&self.options.files, self.options.json);
                files::write(
                    &plan,
                    &backup,
                    files,
                    &self.site.namespace,
                    quiet,
                    &mut summary,
                )
                .map_err(Failure::from)
            }
            false => self.to_server(&plan, &backup, userid.as_deref(), &mut summary),
        };
        self.report(&summary, result, terminal)
    }

    fn open(&self) -> Result<(Backup, Option<String>), Failure> {
        let name = std::slice::from_ref(&self.request.backup);
        let (catalog, namespace) = (&self.site.catalog, &self.site.namespace);
        let found = resolve(catalog, namespace, self.request.mode, name)?;
        let found = found
            .into_iter()
            .next()
            .map_or(Ok(None), |(_, found)| found)?;
        let found = found.ok_or(Failure::UnknownBackup)?;
        let time = self.options.at.as_deref();
        let time = time.map(|time| self.site.clock.parse(time)).transpose()?;
        let lock = Lock::Shared { wait: false };
        let backup = patiently(self.options.wait, || match time {
            None => Backup::open(&found.path, lock),
            Some(time) => Backup::open_as_of(&found.path, lock, time),
        })?;
        let userid = match found.userid {
            Some(userid) => Some(userid).filter(|userid| userid != "%SHARED"),
            None => self.owner(&backup)?,
        };
        Ok((backup, userid))
    }

    /// Whose mailboxes a data file holds.
    fn owner(&self, backup: &Backup) -> Result<Option<String>, StoreError> {
        let mailboxes = backup.index().mailboxes()?;
        let mut owners = mailboxes.iter();
        Ok(owners.find_map(|m| names::owner(&m.mboxname, &self.site.namespace)))
    }

    fn plan(
        &self,
        backup: &Backup,
        objects: &[OsString],
        terminal: &mut Terminal<'_>,
    ) -> Result<Plan, Failure> {
        let (options, namespace) = (self.options, &self.site.namespace);
        let destination = self.destination()?;
        let selection = options.select.selection(namespace, &self.site.clock)?;
        let choice = choose(backup, objects, options, &selection, namespace)?;
        if options.verbose > 1 {
            for name in &choice.deleted {
                writeln!(terminal.err, "{name}: deleted, left out")?;
            }
        }
        let mut headers = HashMap::new();
        for chosen in &choice.chosen {
            if let Some(header) = backup.index().header(chosen.mailbox.id)? {
                headers.insert(chosen.mailbox.id, header.keys);
            }
        }
        let shape = Shape {
            destination: &destination,
            namespace,
            headers: &headers,
        };
        let mut plan = plan(choice, options, &shape);
        if !options.to_files() {
            gather::add(backup, options.beyond, &mut plan)?;
            if options.keep_uidvalidity {
                plan.intermediates = above(&plan, backup)?;
            }
        }
        Ok(plan)
    }

    fn destination(&self) -> Result<Destination, Failure> {
        let read = |text: &String| {
            names::destination(text, &self.site.namespace)
                .ok_or_else(|| Failure::NotAMailbox(text.clone()))
        };
        Ok(match (&self.options.dest_mailbox, &self.options.into) {
            (Some(name), _) => Destination::One(read(name)?),
            (None, Some(prefix)) => Destination::Below(read(prefix)?),
            (None, None) => Destination::Own {
                keep_deletedprefix: self.options.keep_deletedprefix,
            },
        })
    }

    /// `-n`: the plan, and with `--compare` what the target has of it.
    fn only_look(
        &self,
        plan: &Plan,
        backup: &Backup,
        user: Option<&str>,
        terminal: &mut Terminal<'_>,
    ) -> Result<u8, Failure> {
        let (mut compared, mut plan) = (Vec::new(), plan.clone());
        if self.options.compare && !self.options.to_files() {
            let mut client = self.connect()?;
            let todo = self.start(&mut client, backup, user).compare(&plan)?;
            compared = todo.compared();
            plan.extras = todo.extras().to_vec();
            // Whether it says goodbye is of no interest.
            let _ = client.exit();
        }
        let namespace = &self.site.namespace;
        match self.options.json {
            true => writeln!(
                terminal.out,
                "{}",
                show::plan_json(&plan, &compared, namespace)
            )?,
            false => show::print_plan(&plan, &compared, namespace, terminal.out)?,
        }
        terminal.out.flush()?;
        if self.options.verbose > 0 {
            writeln!(terminal.err, "do nothing (-n) specified, exiting now")?;
        }
        Ok(code(plan.left_out.is_empty()))
    }

    fn to_server(
        &self,
        plan: &Plan,
        backup: &Backup,
        user: Option<&str>,
        summary: &mut Summary,
    ) -> Result<(), Failure> {
        let mut client = self.connect()?;
        let mut run = self.start(&mut client, backup, user);
        let todo = run.compare(plan)?;
        run.carry_out(plan, todo, summary)?;
        client.exit()?;
        Ok(())
    }

    fn start<'r>(
        &'r self,
        client: &'r mut Client,
        backup: &'r Backup,
        user: Option<&'r str>,
    ) -> Run<'r> {
        Run {
            client,
            backup,
            options: self.options,
            namespace: &self.site.namespace,
            user,
        }
    }

    fn connect(&self) -> Result<Client, Failure> {
        let config = &self.site.config;
        let credentials = config.restore_credentials();
        let address = Address::parse(self.request.server.as_deref().unwrap_or_default())?;
        let mut services = match &credentials.port {
            Some(port) => vec![Service(port.clone())],
            None => vec![Service("csync".to_owned())],
        };
        if config.sync_try_imap && credentials.port.is_none() {
            services.push(Service("imap".to_owned()));
        }
        Ok(Client::open(&Connect {
            address: &address,
            services: &services,
            credentials: &Credentials {
                user: credentials.authname,
                password: credentials
                    .password
                    .map(|password| password.expose().to_owned()),
                realm: credentials.realm,
                mechanism: config.overflow("force_sasl_client_mech").map(str::to_owned),
            },
            tls: &TlsSettings {
                mode: self.options.tls.into(),
                ca_file: config.tls.client_ca_file.clone(),
                client_cert: config.tls.client_cert.clone(),
                client_key: config.tls.client_key.clone(),
            },
            compression: match self.options.require_compression {
                true => Compression::Required,
                false => Compression::Remote,
            },
            patience: CONNECT_PATIENCE,
            answer_patience: Duration::from_secs(config.sync_timeout),
        })?)
    }

    /// What was done, also when it ended early.
    fn report(
        &self,
        summary: &Summary,
        result: Result<(), Failure>,
        terminal: &mut Terminal<'_>,
    ) -> Result<u8, Failure> {
        let failure = result.err();
        let began = failure.is_none() || summary.messages > 0 || summary.created > 0;
        match self.options.json {
            true => {
                let error = failure.as_ref().map(Failure::to_string);
                writeln!(terminal.out, "{}", summary.json(error))?;
            }
            false if began => summary.print(terminal.out)?,
            false => {}
        }
        terminal.out.flush()?;
        for failed in &summary.failed {
            terminal.complain(OsStr::new(&failed.what), &failed.why)?;
        }
        if let Some(failure) = failure {
            terminal.complain(&self.request.backup, failure)?;
            return Ok(exit::FAILED);
        }
        Ok(code(summary.failed.is_empty()))
    }
}

/// Tries again while the backup is locked.
fn patiently(
    seconds: u64,
    open: impl Fn() -> Result<Backup, StoreError>,
) -> Result<Backup, StoreError> {
    let start = Instant::now();
    loop {
        match open() {
            Err(StoreError::Locked { .. }) if start.elapsed().as_secs() < seconds => {
                std::thread::sleep(Duration::from_millis(100));
            }
            other => return other,
        }
    }
}

/// The intermediate folders above mailboxes of the plan.
fn above(plan: &Plan, backup: &Backup) -> Result<Vec<(String, KvList)>, StoreError> {
    let all = backup.index().intermediates()?.into_iter();
    let is_above = |name: &str| {
        let mut mailboxes = plan.mailboxes.iter();
        mailboxes.any(|m| {
            m.target
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('.'))
        })
    };
    Ok(all
        .filter(|folder| is_above(&folder.mboxname))
        .map(|folder| (folder.mboxname, folder.keys))
        .collect())
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Failure {
        match error {
            SendError::Client(error) => Failure::Client(error),
            SendError::Store(error) => Failure::Store(error),
        }
    }
}

fn code(all_is_well: bool) -> u8 {
    match all_is_well {
        true => exit::OK,
        false => exit::FAILED,
    }
}
