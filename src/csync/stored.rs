//! The lines of a data file, which are csync lines with a time in front (spec: ondisk 4.2).
//!
//! ```text
//! line    = seconds SP "APPLY" SP dlist CRLF
//! comment = "#" *OCTET CRLF
//! ```

use super::command::{Apply, CommandError, parse_apply_at};
use super::dlist::{DlistError, DlistRule, Literal, Parser, print_number};

/// First line of each chunk.
pub const CHUNK_HEADER: &[u8] = b"# cyrus backup: chunk start\r\n";

/// One line of a chunk.
#[derive(Clone, Debug, PartialEq)]
pub enum StoredLine<'a> {
    /// Starts with `#`: the chunk header, or somebody's remark.
    Comment,
    /// A command that was applied.
    Apply {
        /// Unix seconds.
        time: i64,
        /// What was applied.
        apply: Apply<'a>,
    },
    /// Another verb: C reads and ignores such lines.
    Other {
        /// Unix seconds.
        time: i64,
        /// The verb as it stands there.
        verb: String,
    },
}

/// Parses the text of one line, as the fragmenter delivers it.
///
/// # Errors
/// [`CommandError`] with offsets into `line_text`.
pub fn parse_stored(line_text: &[u8]) -> Result<StoredLine<'_>, CommandError> {
    if line_text.starts_with(b"#") {
        return Ok(StoredLine::Comment);
    }
    let syntax = CommandError::syntax("data file");
    let mut parser = Parser::new(line_text);
    let seconds = parser.number().map_err(syntax)?;
    let rule = DlistRule::BadNumber;
    let time = i64::try_from(seconds).map_err(|_| syntax(DlistError { offset: 0, rule }))?;
    let verb = parser.atom().map_err(syntax)?;
    if verb != b"APPLY" {
        let verb = String::from_utf8_lossy(verb).into_owned();
        return Ok(StoredLine::Other { time, verb });
    }
    let apply = parse_apply_at(line_text, parser.offset())?;
    Ok(StoredLine::Apply { time, apply })
}

/// Appends the start of a line, up to where the name of the command follows.
pub fn print_stored_start(time: i64, out: &mut Vec<u8>) {
    print_number(time.max(0).cast_unsigned(), out);
    out.extend_from_slice(b" APPLY ");
}

/// Appends a whole line. Of file literals only the headers are printed, so an [`Apply::Message`]
/// with files is not for this function.
///
/// # Errors
/// That of the first bad record of a MAILBOX.
pub fn print_stored(time: i64, apply: &Apply<'_>, out: &mut Vec<u8>) -> Result<(), CommandError> {
    print_stored_start(time, out);
    apply.print(out, Literal::Sync)?;
    out.extend_from_slice(b"\r\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_commands_and_others() {
        assert_eq!(
            parse_stored(CHUNK_HEADER.trim_ascii_end()),
            Ok(StoredLine::Comment)
        );
        let line = b"1795458829 APPLY UNUSER anne";
        let apply = Apply::Unuser("anne".into());
        let mut printed = Vec::new();
        print_stored(1_795_458_829, &apply, &mut printed).unwrap();
        assert_eq!(printed.trim_ascii_end(), line);
        assert_eq!(
            parse_stored(line),
            Ok(StoredLine::Apply {
                time: 1_795_458_829,
                apply
            })
        );
        let other = StoredLine::Other {
            time: 5,
            verb: "GET".into(),
        };
        assert_eq!(parse_stored(b"5 GET USER anne"), Ok(other));
    }

    #[test]
    fn bad_lines_are_refused_with_their_offset() {
        for (line, at, wrong) in [
            ("", 0, DlistRule::MissingValue),
            ("APPLY UNUSER anne", 0, DlistRule::BadNumber),
            (
                "9223372036854775808 APPLY UNUSER anne",
                0,
                DlistRule::BadNumber,
            ),
            ("5", 1, DlistRule::MissingValue),
            ("5 APPLY UNUSER", 14, DlistRule::MissingValue),
            ("5 APPLY UNUSER (", 16, DlistRule::Unclosed),
        ] {
            let Err(CommandError::Syntax { offset, rule, .. }) = parse_stored(line.as_bytes())
            else {
                panic!("{line}");
            };
            assert_eq!((offset, rule), (at, wrong), "{line}");
        }
    }
}
