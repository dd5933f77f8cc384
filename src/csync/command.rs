//! Typed commands from a line text, and back (spec: csync 1.6, 4, 5).
//!
//! What a command does to a backup, and what is answered, is not decided here. Values whose meaning
//! is of no concern to a backup (unknown header keys, quota resources) stay [`Value`]s so that they
//! can be stored and echoed.
//!
//! Verbs, GET sub-commands and APPLY names are matched in any case, keys in exact case.

mod apply;
mod error;
mod fields;
mod get;
mod mailbox;
mod print;
mod record;

use super::dlist::{Parser, Value};
pub use apply::{Apply, Rename, Reserve, Seen, parse_apply};
pub use error::CommandError;
pub use get::Get;
pub use mailbox::{MailboxUpdate, Records, Since};
pub use record::Record;

/// One command of a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Command<'a> {
    /// `NOOP`
    Noop,
    /// `RESTART`
    Restart,
    /// `EXIT`
    Exit,
    /// `STARTTLS`
    Starttls,
    /// `COMPRESS algorithm`, as the client wrote it.
    Compress(String),
    /// `AUTHENTICATE mech [initial]`
    Authenticate {
        /// Upper-cased name of the mechanism.
        mech: String,
        /// The initial response in base64; `=` stands for an empty one.
        initial: Option<String>,
    },
    /// `GET …`
    Get(Get),
    /// `APPLY …`
    Apply(Apply<'a>),
    /// `RESTORE …`, which only a live server understands.
    Restore {
        /// Upper-cased sub-command.
        name: String,
        /// Its argument.
        value: Value,
    },
    /// Any other verb, as the client wrote it.
    Unknown(String),
    /// An empty line, or one that starts with a space.
    Empty,
}

/// Parses the text of one line.
///
/// # Errors
/// [`CommandError`]; the `Display` texts are those C answers where C has one.
pub fn parse_command(line_text: &[u8]) -> Result<Command<'_>, CommandError> {
    let end = memchr::memchr(b' ', line_text).unwrap_or(line_text.len());
    let verb = &line_text[..end];
    if verb.is_empty() {
        return Ok(Command::Empty);
    }
    let arguments = Arguments {
        text: line_text,
        at: end,
    };
    match verb.to_ascii_uppercase().as_slice() {
        b"NOOP" => arguments.none("Noop", Command::Noop),
        b"RESTART" => arguments.none("Restart", Command::Restart),
        b"EXIT" => arguments.none("Exit", Command::Exit),
        b"STARTTLS" => arguments.none("Starttls", Command::Starttls),
        b"COMPRESS" => compress(&arguments),
        b"AUTHENTICATE" => authenticate(&arguments),
        b"GET" => get::parse(arguments.parser()).map(Command::Get),
        b"APPLY" => apply::parse(arguments.parser()).map(Command::Apply),
        b"RESTORE" => restore(arguments.parser()),
        _ => Ok(Command::Unknown(String::from_utf8_lossy(verb).into_owned())),
    }
}

fn compress(arguments: &Arguments<'_>) -> Result<Command<'static>, CommandError> {
    match arguments.words().as_slice() {
        [] => Err(CommandError::MissingArgument { verb: "Compress" }),
        [algorithm] => Ok(Command::Compress(
            String::from_utf8_lossy(algorithm).into_owned(),
        )),
        _ => Err(CommandError::ExtraArguments { verb: "Compress" }),
    }
}

/// authenticate = "AUTHENTICATE" SP atom [ SP base64 / "=" ] (spec: csync 1.3)
fn authenticate(arguments: &Arguments<'_>) -> Result<Command<'static>, CommandError> {
    let words = arguments.words();
    let Some((mech, rest)) = words.split_first() else {
        return Err(CommandError::MissingArgument {
            verb: "Authenticate",
        });
    };
    let is_mech = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !mech.iter().all(is_mech) {
        return Err(CommandError::InvalidMechanism);
    }
    let initial = match rest {
        [] => None,
        [word] => Some(String::from_utf8_lossy(word).into_owned()),
        _ => {
            return Err(CommandError::ExtraArguments {
                verb: "Authenticate",
            });
        }
    };
    let mech = String::from_utf8_lossy(mech).to_ascii_uppercase();
    Ok(Command::Authenticate { mech, initial })
}

fn restore(mut parser: Parser<'_>) -> Result<Command<'_>, CommandError> {
    let syntax = CommandError::syntax("RESTORE");
    let name = parser.key().map_err(syntax)?.to_ascii_uppercase();
    let value = parser.value().map_err(syntax)?;
    parser.finish().map_err(syntax)?;
    Ok(Command::Restore { name, value })
}

/// What follows the verb.
struct Arguments<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Arguments<'a> {
    fn words(&self) -> Vec<&'a [u8]> {
        self.text[self.at..]
            .split(|&byte| byte == b' ')
            .filter(|word| !word.is_empty())
            .collect()
    }

    fn none(&self, verb: &'static str, command: Command<'a>) -> Result<Command<'a>, CommandError> {
        match self.words().as_slice() {
            [] => Ok(command),
            _ => Err(CommandError::ExtraArguments { verb }),
        }
    }

    fn parser(&self) -> Parser<'a> {
        Parser::starting_at(self.text, self.at)
    }
}

#[cfg(test)]
mod tests;
