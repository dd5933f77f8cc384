//! How `compact`, `reindex` and `verify` say what became of a backup: `CMD NAME: STATUS`, or a JSON
//! object (spec: ondisk 7.2). Their progress on a terminal.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::options::Options;
use super::outcome::Outcome;
use crate::store::StoreError;
use crate::tools::render::Json;
use crate::tools::target::Target;
use crate::tools::terminal::Terminal;

/// The status of a command that could not be done. What the disk or SQLite refused, or is wrong with a
/// file, and where, goes to standard error: C's words for it, "System I/O error", help nobody.
pub(super) fn failure(
    error: &StoreError,
    target: &Target,
    terminal: &mut Terminal<'_>,
) -> io::Result<(Outcome, String)> {
    if let StoreError::Io { .. } | StoreError::Index { .. } | StoreError::InvalidFormat { .. } =
        error
    {
        terminal.complain(target.name(), error.detail())?;
    }
    Ok(match Outcome::of(error) {
        Outcome::Locked => (Outcome::Locked, "locked".to_owned()),
        outcome => (outcome, format!("failed ({error})")),
    })
}

/// Prints the line or object.
pub(super) fn print(
    command: &str,
    status: &str,
    options: &Options,
    target: &Target,
    terminal: &mut Terminal<'_>,
) -> io::Result<()> {
    print_with(command, status, Vec::new(), options, target, terminal)
}

/// The same; the object also has what is damaged, if anything is.
pub(super) fn print_with(
    command: &str,
    status: &str,
    damage: Vec<Json>,
    options: &Options,
    target: &Target,
    terminal: &mut Terminal<'_>,
) -> io::Result<()> {
    if options.json {
        let object = Json::object()
            .with("command", Json::text(command))
            .with("userid", target.userid.as_deref().map(Json::text))
            .with("fname", Json::os_text(target.path.as_os_str()))
            .with("status", Json::text(status))
            .with(
                "damage",
                (!damage.is_empty()).then_some(Json::Array(damage)),
            );
        return writeln!(terminal.out, "{object}");
    }
    write!(terminal.out, "{command} ")?;
    terminal.out.write_all(target.name().as_bytes())?;
    writeln!(terminal.out, ": {status}")
}

/// A bar on standard error; nothing where that is no terminal.
pub(super) fn progress(command: &str, target: &Target) -> ProgressBar {
    bar(command, &target.name().to_string_lossy())
}

/// The same for a backup of this name.
pub(super) fn bar(command: &str, name: &str) -> ProgressBar {
    styled(ProgressBar::new(0), "{prefix} {wide_bar} {percent}% {eta}")
        .with_prefix(format!("{command} {name}"))
}

/// Something turns, counts and shows the time where nobody knows how long it will take.
pub(super) fn spinner(command: &str) -> ProgressBar {
    let spinner = styled(
        ProgressBar::new_spinner(),
        "{prefix} {spinner} {msg} {elapsed}",
    );
    if !spinner.is_hidden() {
        spinner.enable_steady_tick(Duration::from_millis(100));
    }
    spinner.with_prefix(command.to_owned())
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    // The templates are ours, so they are right.
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
