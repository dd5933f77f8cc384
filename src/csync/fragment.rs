//! Bytes in any split → fragments of lines: what is text of the line, what are octets of a file
//! literal, where the line ends. Reads data files as well as the wire.
//!
//! Literals, quoted strings and all size limits are settled here, before anything has a meaning, so
//! octets of a message can never turn into a command. Nothing is buffered but the header of one
//! literal, and nothing is copied: fragments are slices of the input. How long a whole line may
//! grow is the caller's decision; it can give up on a line with [`Fragmenter::resync`].
//!
//! A `{` or `%{` counts only as first byte of a value, that is after SP or `(`; a `"` opens a quoted
//! string anywhere outside of one (spec: csync 2.4). A line that starts with `#` is a comment of a
//! data file and is text to its end (spec: ondisk 4.2).

use super::dlist::FileRef;
use super::header::{LITERAL_HEADER, file_header, file_size, literal_header};

/// A piece of a line. Neighbouring `Text` and `FileData` may be split anywhere, as the input was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fragment<'a> {
    /// Bytes of the line text: all of the line but file octets and the final CRLF or LF. The octets
    /// of literals and the header `%{…}` CRLF of files belong to it.
    Text(&'a [u8]),
    /// A file literal begins; directly after the `Text` that ended with its header.
    FileStart(FileRef),
    /// The next octets of the file.
    FileData(&'a [u8]),
    /// All octets of the file have been delivered.
    FileEnd,
    /// The line is complete.
    EndOfLine,
}

/// Limits on what a peer may send without a pause to check it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one atom, quoted string or literal. Files are not limited.
    pub token: usize,
    /// Bytes of the header of a file literal, `%{` to LF.
    pub header: usize,
}

impl Default for Limits {
    /// Tokens of 128 KiB, as C allows since 3.8.3 (spec: csync 2.4), and headers of 1 KiB.
    fn default() -> Limits {
        Limits {
            token: 128 * 1024,
            header: 1024,
        }
    }
}

/// Which rule the stream broke, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset} of the stream: {rule}")]
pub struct FragmentError {
    /// Bytes from the start of the stream.
    pub offset: u64,
    /// What is wrong there.
    pub rule: FragmentRule,
}

/// The rules a stream can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FragmentRule {
    /// An atom, quoted string or literal over [`Limits::token`].
    #[error("a token is longer than the limit")]
    TokenTooLong,
    /// A line end inside a quoted string.
    #[error("a quoted string is not closed before the end of the line")]
    OpenQuote,
    /// `{` starts a value, but it is no `{n}` or `{n+}` with a line end.
    #[error("the header of a literal is malformed")]
    BadLiteral,
    /// `%{` starts a value, but it is no `%{part guid size}` with a line end.
    #[error("the header of a file literal is malformed")]
    BadFile,
}

/// Cuts a stream of bytes into fragments.
#[derive(Clone, Debug)]
pub struct Fragmenter {
    limits: Limits,
    state: State,
    /// Bytes taken from the input so far.
    offset: u64,
    /// The last two bytes of the line before the cursor, as far as they decide whether a value
    /// starts here; zero after a quoted string, literal or file, and at the start of a line.
    last: [u8; 2],
    /// Length of the token the cursor is in.
    token: usize,
    /// The header that is being collected.
    header: Vec<u8>,
    /// A CR at the end of the input is held back until we know whether LF follows.
    held_cr: bool,
    at_line_start: bool,
    resyncing: bool,
    failed: Option<FragmentError>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Plain,
    Comment,
    Quoted { escaped: bool },
    LiteralHeader,
    FileHeader,
    Literal { left: u64 },
    File { file: Option<FileRef>, left: u64 },
}

type Step<'a> = Result<Option<Fragment<'a>>, FragmentRule>;

impl Fragmenter {
    /// A fragmenter at the start of a line.
    pub fn new(limits: Limits) -> Fragmenter {
        Fragmenter {
            limits,
            state: State::Plain,
            offset: 0,
            last: [0; 2],
            token: 0,
            header: Vec::new(),
            held_cr: false,
            at_line_start: true,
            resyncing: false,
            failed: None,
        }
    }

    /// Takes bytes off the front of `input` and tells what they are; `None` when all of it is used
    /// up and more is needed.
    ///
    /// # Errors
    /// A line with an error is lost; how much of its text came out before depends on how the input
    /// was split. The same error comes again until [`Fragmenter::resync`] is called.
    pub fn next<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<Fragment<'a>>, FragmentError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        loop {
            match self.step(input) {
                Ok(Some(Fragment::EndOfLine)) => {
                    self.resyncing = false;
                    return Ok(Some(Fragment::EndOfLine));
                }
                Ok(None) => return Ok(None),
                // Each error has moved the state to where the line goes on.
                Ok(Some(_)) | Err(_) if self.resyncing => {}
                Ok(fragment) => return Ok(fragment),
                Err(rule) => {
                    let error = FragmentError {
                        offset: self.offset,
                        rule,
                    };
                    self.failed = Some(error);
                    return Err(error);
                }
            }
        }
    }

    /// Bytes taken from the input so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Is the cursor between two lines?
    pub fn at_line_start(&self) -> bool {
        self.at_line_start
    }

    /// Gives up on the line the cursor is in: [`Fragmenter::next`] swallows its rest, the octets of
    /// literals and files in it included, and then returns `EndOfLine`. Between two lines this does
    /// nothing.
    pub fn resync(&mut self) {
        self.failed = None;
        self.resyncing = !self.at_line_start;
    }

    fn step<'a>(&mut self, input: &mut &'a [u8]) -> Step<'a> {
        match &mut self.state {
            State::File { file, left } => {
                if let Some(file) = file.take() {
                    return Ok(Some(Fragment::FileStart(file)));
                }
                if *left == 0 {
                    self.state = State::Plain;
                    return Ok(Some(Fragment::FileEnd));
                }
                let octets = take_up_to(input, left);
                self.offset += octets.len() as u64;
                Ok((!octets.is_empty()).then_some(Fragment::FileData(octets)))
            }
            State::Literal { left: 0 } => {
                self.state = State::Plain;
                self.step(input)
            }
            State::Literal { left } => {
                let octets = take_up_to(input, left);
                self.offset += octets.len() as u64;
                Ok(text(octets))
            }
            _ if input.is_empty() => Ok(None),
            State::Plain => self.plain(input),
            State::Comment => self.comment(input),
            State::Quoted { escaped } => {
                let escaped = *escaped;
                self.quoted(input, escaped)
            }
            State::LiteralHeader => self.literal_header(input),
            State::FileHeader => self.file_header(input),
        }
    }

    /// Text outside of strings, literals and files. The three bytes that can change that are rare,
    /// so memchr does the work.
    fn plain<'a>(&mut self, input: &mut &'a [u8]) -> Step<'a> {
        if self.held_cr {
            self.held_cr = false;
            if input[0] != b'\n' {
                self.last = [0, b'\r'];
                self.token = 0;
                return Ok(Some(Fragment::Text(b"\r")));
            }
        }
        if self.at_line_start && input[0] == b'#' {
            self.at_line_start = false;
            self.state = State::Comment;
            return self.comment(input);
        }
        let mut searched = 0;
        loop {
            let Some(found) = memchr::memchr3(b'"', b'{', b'\n', &input[searched..]) else {
                return self.plain_text(input, input.len());
            };
            let at = searched + found;
            match input[at] {
                b'\n' if at == 0 => return Ok(Some(self.end_of_line(input))),
                b'\n' => return self.plain_text(input, at),
                b'"' => {
                    self.check_atoms(input, at)?;
                    return Ok(self.open(input, at + 1, State::Quoted { escaped: false }));
                }
                _ => {}
            }
            if let Some(state) = self.value_start(input, at) {
                self.check_atoms(input, at)?;
                self.header.clear();
                if state == State::FileHeader {
                    self.header.push(b'%');
                }
                self.header.push(b'{');
                return Ok(self.open(input, at + 1, state));
            }
            searched = at + 1;
        }
    }

    /// Does the `{` at `at` start a literal, or with the `%` before it a file?
    fn value_start(&self, input: &[u8], at: usize) -> Option<State> {
        let before = |n: usize| match at.checked_sub(n) {
            Some(i) => input[i],
            None => self.last[2 + at - n],
        };
        match [before(2), before(1)] {
            [_, b' ' | b'('] => Some(State::LiteralHeader),
            [b' ' | b'(', b'%'] => Some(State::FileHeader),
            _ => None,
        }
    }

    /// Takes `length` > 0 bytes of text without any special meaning; a CR at the end is held back.
    fn plain_text<'a>(&mut self, input: &mut &'a [u8], length: usize) -> Step<'a> {
        let bytes = &input[..length];
        let kept = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        self.check_atoms(input, kept.len())?;
        self.held_cr = kept.len() < bytes.len();
        self.at_line_start = false;
        self.last = match kept {
            [.., a, b] => [*a, *b],
            [b] => [self.last[1], *b],
            [] => self.last,
        };
        self.take(input, length);
        if kept.is_empty() {
            self.step(input)
        } else {
            Ok(text(kept))
        }
    }

    /// Checks the length of the atoms in the next `length` bytes of plain text and keeps the length
    /// of the last one. Looks at few bytes: a stretch shorter than the limit cannot hide a token
    /// over it. On failure the bytes up to the limit are taken.
    fn check_atoms(&mut self, input: &mut &[u8], length: usize) -> Result<(), FragmentRule> {
        let limit = self.limits.token.max(1);
        let mut from = 0;
        loop {
            let rest = &input[from..length];
            let room = limit - self.token;
            let window = &rest[..rest.len().min(room.saturating_add(1))];
            match window.iter().rposition(|&byte| is_delimiter(byte)) {
                Some(at) => {
                    from += at + 1;
                    self.token = 0;
                }
                None if rest.len() > room => {
                    self.token = 0;
                    self.last = [0; 2];
                    self.at_line_start = false;
                    self.take(input, from + room);
                    return Err(FragmentRule::TokenTooLong);
                }
                None => {
                    self.token += rest.len();
                    return Ok(());
                }
            }
        }
    }

    /// Takes `length` bytes, the last of which opens a string or a header.
    fn open<'a>(
        &mut self,
        input: &mut &'a [u8],
        length: usize,
        state: State,
    ) -> Option<Fragment<'a>> {
        self.at_line_start = false;
        self.state = state;
        self.token = 0;
        self.last = [0; 2];
        Some(Fragment::Text(self.take(input, length)))
    }

    fn end_of_line<'a>(&mut self, input: &mut &'a [u8]) -> Fragment<'a> {
        self.take(input, 1);
        self.state = State::Plain;
        self.token = 0;
        self.last = [0; 2];
        self.at_line_start = true;
        Fragment::EndOfLine
    }

    fn comment<'a>(&mut self, input: &mut &'a [u8]) -> Step<'a> {
        if self.held_cr && input[0] != b'\n' {
            self.held_cr = false;
            return Ok(Some(Fragment::Text(b"\r")));
        }
        self.held_cr = false;
        let length = match memchr::memchr(b'\n', input) {
            Some(0) => return Ok(Some(self.end_of_line(input))),
            Some(at) => at,
            None => input.len(),
        };
        let bytes = self.take(input, length);
        let kept = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        self.held_cr = kept.len() < bytes.len();
        if kept.is_empty() {
            self.step(input)
        } else {
            Ok(text(kept))
        }
    }

    fn quoted<'a>(&mut self, input: &mut &'a [u8], escaped: bool) -> Step<'a> {
        let mut at = 0;
        let mut escaped = escaped;
        let end = loop {
            let Some(&byte) = input.get(at) else {
                break None;
            };
            match byte {
                b'\r' | b'\n' => {
                    self.state = State::Plain;
                    self.token = 0;
                    self.take(input, at);
                    return Err(FragmentRule::OpenQuote);
                }
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => break Some(at),
                _ => {}
            }
            if self.token + at == self.limits.token {
                self.token = 0;
                self.take(input, at + 1);
                self.state = State::Quoted { escaped };
                return Err(FragmentRule::TokenTooLong);
            }
            at += 1;
        };
        match end {
            Some(at) => {
                self.state = State::Plain;
                self.token = 0;
                Ok(text(self.take(input, at + 1)))
            }
            None => {
                self.token += at;
                self.state = State::Quoted { escaped };
                Ok(text(self.take(input, at)))
            }
        }
    }

    fn literal_header<'a>(&mut self, input: &mut &'a [u8]) -> Step<'a> {
        let Some(bytes) = self.collect_header(input, LITERAL_HEADER) else {
            return Err(FragmentRule::BadLiteral);
        };
        if !self.header.ends_with(b"\n") {
            return Ok(text(self.take(input, bytes)));
        }
        let Some(size) = literal_header(&self.header) else {
            self.give_up_header(input, bytes);
            return Err(FragmentRule::BadLiteral);
        };
        let bytes = self.take(input, bytes);
        self.state = State::Literal { left: size };
        if size > self.limits.token as u64 {
            return Err(FragmentRule::TokenTooLong);
        }
        Ok(text(bytes))
    }

    fn file_header<'a>(&mut self, input: &mut &'a [u8]) -> Step<'a> {
        let Some(bytes) = self.collect_header(input, self.limits.header) else {
            return Err(FragmentRule::BadFile);
        };
        if !self.header.ends_with(b"\n") {
            return Ok(text(self.take(input, bytes)));
        }
        if let Some(file) = file_header(&self.header) {
            let left = file.size;
            self.state = State::File {
                file: Some(file),
                left,
            };
            return Ok(text(self.take(input, bytes)));
        }
        match file_size(&self.header) {
            Some(left) => {
                self.take(input, bytes);
                self.state = State::File { file: None, left };
            }
            None => self.give_up_header(input, bytes),
        }
        Err(FragmentRule::BadFile)
    }

    /// Adds input up to its LF to the header and says how many bytes that are; they are not taken
    /// yet. `None` when the header gets too long: then they are taken, as plain text.
    fn collect_header(&mut self, input: &mut &[u8], limit: usize) -> Option<usize> {
        let room = limit.saturating_sub(self.header.len());
        let window = &input[..input.len().min(room)];
        let length = memchr::memchr(b'\n', window).map_or(window.len(), |lf| lf + 1);
        self.header.extend_from_slice(&input[..length]);
        if self.header.len() >= limit && !self.header.ends_with(b"\n") {
            self.state = State::Plain;
            self.take(input, length);
            return None;
        }
        Some(length)
    }

    /// A complete header that says nothing: its LF is the end of the line then.
    fn give_up_header(&mut self, input: &mut &[u8], bytes: usize) {
        self.state = State::Plain;
        self.take(input, bytes - 1);
    }

    fn take<'a>(&mut self, input: &mut &'a [u8], length: usize) -> &'a [u8] {
        let (taken, rest) = input.split_at(length);
        *input = rest;
        self.offset += length as u64;
        taken
    }
}

/// Bytes that end an atom; the quote and LF are found by other means.
fn is_delimiter(byte: u8) -> bool {
    matches!(byte, b' ' | b'(' | b')' | b'\t' | b'\r')
}

fn text(bytes: &[u8]) -> Option<Fragment<'_>> {
    (!bytes.is_empty()).then_some(Fragment::Text(bytes))
}

fn take_up_to<'a>(input: &mut &'a [u8], left: &mut u64) -> &'a [u8] {
    let length = usize::try_from(*left)
        .unwrap_or(usize::MAX)
        .min(input.len());
    let (taken, rest) = input.split_at(length);
    *input = rest;
    *left -= length as u64;
    taken
}

#[cfg(test)]
mod tests;
