//! Backs up Maildirs: pushes them over csync as `sync_client` would push the mailboxes of an IMAP server.
//!
//! ```text
//! push_maildir /run/csync.sock anne ~/Maildir
//! push_maildir --login repl --password-file secret backup.example.com:2005 anne ~/Maildir
//! push_maildir --login repl --password-file secret backup.example.com:2005 --users /home/vmail --jobs 4
//! ```
//!
//! A Maildir has no UIDs; they are kept in a file beside it (`--state`). Run again, it sends what changed. It
//! leaves out what a Maildir does not have: subscriptions, annotations, scripts.

mod folder;
mod push;
mod state;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result};
use clap::Parser;
use cyrusbackup::csync_client::Client;

/// Push Maildirs into a Cyrus backup.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The backup server: HOST:PORT, or the path of a unix socket.
    server: String,
    /// The user whose mail this is.
    #[arg(requires = "maildir", required_unless_present = "users")]
    user: Option<String>,
    /// The Maildir; its subfolders (`.Sent`, `.Archive.2024`) are pushed as well.
    maildir: Option<PathBuf>,
    /// Instead of one user: every Maildir below this directory, each the user of its name.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["user", "state"])]
    users: Option<PathBuf>,
    /// Users that are pushed at the same time, each over a connection of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
    /// An admin of the backup server; a unix socket needs none.
    #[arg(long)]
    login: Option<String>,
    /// File with the password of the admin; else the variable CSYNC_PASSWORD has it.
    #[arg(long)]
    password_file: Option<PathBuf>,
    /// Where UIDs and modseqs are kept between runs [default: MAILDIR/cyrus-state.json].
    #[arg(long)]
    state: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let users = users(&arguments)?;
    let (queue, failed) = (Mutex::new(users.into_iter()), Mutex::new(0_usize));
    let next = || queue.lock().ok().and_then(|mut queue| queue.next());
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            scope.spawn(|| {
                while let Some((user, maildir)) = next() {
                    match back_up(&arguments, &user, &maildir) {
                        Ok(sent) => println!(
                            "{user}: {} messages and {} mailboxes sent",
                            sent.messages, sent.mailboxes
                        ),
                        Err(error) => {
                            eprintln!("{user}: {error:#}");
                            failed.lock().map(|mut failed| *failed += 1).unwrap_or(());
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or(1);
    anyhow::ensure!(
        failed == 0,
        "{failed} users are not backed up; run it again"
    );
    Ok(())
}

/// Who is to be pushed, in the order of their names.
fn users(arguments: &Arguments) -> Result<Vec<(String, PathBuf)>> {
    if let (Some(user), Some(maildir)) = (&arguments.user, &arguments.maildir) {
        return Ok(vec![(user.clone(), maildir.clone())]);
    }
    let dir = arguments.users.as_deref().context("--users DIR")?;
    let mut users = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if path.join("cur").is_dir() {
            let name = name.with_context(|| format!("{}: no UTF-8", path.display()))?;
            users.push((name.to_owned(), path));
        }
    }
    anyhow::ensure!(!users.is_empty(), "{} holds no Maildir", dir.display());
    users.sort();
    Ok(users)
}

fn back_up(arguments: &Arguments, user: &str, maildir: &Path) -> Result<push::Sent> {
    let beside = || maildir.join("cyrus-state.json");
    let state_file = arguments.state.clone().unwrap_or_else(beside);
    let state = state::State::update(&state_file, user, maildir)?;
    let mut client = Client::connect(&arguments.server)?;
    if client.wants_login() {
        let login = arguments.login.as_deref();
        let login = login.context("the server wants a login: use --login ADMIN")?;
        client.login(login, &password(arguments)?)?;
    }
    let sent = push::push(&mut client, user, &state)?;
    client.exit()?;
    Ok(sent)
}

fn password(arguments: &Arguments) -> Result<String> {
    let Some(file) = &arguments.password_file else {
        return std::env::var("CSYNC_PASSWORD")
            .context("use --password-file FILE, or set CSYNC_PASSWORD");
    };
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
