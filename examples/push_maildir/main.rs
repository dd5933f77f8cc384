//! Backs up a Maildir: pushes it over csync as `sync_client` would push the mailboxes of an IMAP server.
//!
//! ```text
//! push_maildir /run/csync.sock anne ~/Maildir
//! push_maildir --login repl --password-file secret backup.example.com:2005 anne ~/Maildir
//! ```
//!
//! A Maildir has no UIDs; they are kept in a file beside it (`--state`). Run again, it sends what changed. It
//! leaves out what a Maildir does not have: subscriptions, annotations, scripts.

mod folder;
mod push;
mod state;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use cyrusbackup::csync_client::Client;

/// Push a Maildir into a Cyrus backup.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The backup server: HOST:PORT, or the path of a unix socket.
    server: String,
    /// The user whose mail this is.
    user: String,
    /// The Maildir; its subfolders (`.Sent`, `.Archive.2024`) are pushed as well.
    maildir: PathBuf,
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
    let state_file = arguments
        .state
        .clone()
        .unwrap_or_else(|| arguments.maildir.join("cyrus-state.json"));
    let mut state = state::State::load(&state_file)?;
    for folder in folder::scan(&arguments.user, &arguments.maildir)? {
        state.take(&folder)?;
    }
    // Saved before anything is sent: a run that is cut short must not give a UID twice.
    state.save(&state_file)?;

    let mut client = Client::connect(&arguments.server)?;
    if client.wants_login() {
        let user = arguments
            .login
            .as_deref()
            .context("the server wants a login: use --login ADMIN")?;
        client.login(user, &password(&arguments)?)?;
    }
    let sent = push::push(&mut client, &arguments.user, &state)?;
    client.exit()?;
    println!(
        "{}: {} messages and {} mailboxes sent",
        arguments.user, sent.messages, sent.mailboxes
    );
    Ok(())
}

fn password(arguments: &Arguments) -> Result<String> {
    let Some(file) = &arguments.password_file else {
        return std::env::var("CSYNC_PASSWORD")
            .context("use --password-file FILE, or set CSYNC_PASSWORD");
    };
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
