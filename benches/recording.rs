//! What a client sends for a Maildir, octet by octet, so that two servers can be given exactly the same. csync has
//! no pipelining: each command is sent when the one before it was answered (spec: csync 3).

use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use cyrusbackup::csync_client::Client;

use crate::push_maildir::{push, state::State};
use crate::rig::Csync;

/// The commands of one session, without its login.
#[derive(Clone, Default)]
pub struct Recording {
    commands: Vec<Vec<u8>>,
}

impl Recording {
    /// Of the first push of a Maildir into an empty backup.
    pub fn of(user: &str, maildir: &Path) -> Result<Recording> {
        let state = State::update(&maildir.join("cyrus-state.json"), user, maildir)?;
        let tape = Tape::default();
        let mut client = Client::start(Box::new(Yes(true)), Box::new(tape.clone()))?;
        push::push(&mut client, user, &state)?;
        client.exit()?;
        let mut commands = tape.0.lock().ok().context("the tape")?.clone();
        commands.retain(|command| !command.is_empty());
        Ok(Recording { commands })
    }

    /// Only asks for a user, and goes.
    pub fn of_a_look(user: &str) -> Recording {
        Recording {
            commands: vec![
                format!("GET USER {user}\r\n").into_bytes(),
                b"EXIT\r\n".to_vec(),
            ],
        }
    }

    /// Changes something small for a user: the backup is opened, written to, synced and closed.
    pub fn of_a_subscription(user: &str) -> Recording {
        let subscribe = format!("APPLY SUB %(USERID {user} MBOXNAME user.{user}.folder)\r\n");
        Recording {
            commands: vec![subscribe.into_bytes(), b"EXIT\r\n".to_vec()],
        }
    }

    /// Octets of all commands.
    pub fn octets(&self) -> u64 {
        self.commands
            .iter()
            .map(|command| command.len() as u64)
            .sum()
    }

    /// Says it to a server; how long that took, login not included.
    pub fn replay(&self, port: u16) -> Result<Duration> {
        let mut connection = Csync::login(port);
        // Storing a whole mailbox takes minutes where it is a hundred thousand messages.
        connection.patience(Duration::from_secs(1200));
        let started = Instant::now();
        for command in &self.commands {
            connection.send(command)?;
            let answer = connection.answer();
            anyhow::ensure!(
                answer.is_ok(),
                "{:?}: {answer:?}",
                String::from_utf8_lossy(&command[..command.len().min(60)])
            );
        }
        Ok(started.elapsed())
    }
}

/// Takes down what is written; a flush ends a command.
#[derive(Clone, Default)]
struct Tape(Arc<Mutex<Vec<Vec<u8>>>>);

impl Write for Tape {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        let mut commands = self.0.lock().map_err(|_| std::io::ErrorKind::Other)?;
        if commands.is_empty() {
            commands.push(Vec::new());
        }
        if let Some(last) = commands.last_mut() {
            last.extend_from_slice(octets);
        }
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0
            .lock()
            .map_err(|_| std::io::ErrorKind::Other)?
            .push(Vec::new());
        Ok(())
    }
}

/// A banner that wants no login, and then `OK` to everything.
struct Yes(bool);

impl Read for Yes {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let line: &[u8] = if std::mem::take(&mut self.0) {
            b"* OK tape\r\n"
        } else {
            b"OK yes\r\n"
        };
        out[..line.len()].copy_from_slice(line);
        Ok(line.len())
    }
}
