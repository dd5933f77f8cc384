//! The pull parser over one complete line text: nothing is read that was not asked for, nothing is
//! copied that can be borrowed. Errors carry the offset and the rule that was broken.
//!
//! ```text
//! value   = nil / atom / quoted / literal / list / kvlist / file
//! list    = "(" [ value *( SP value ) ] ")"
//! kvlist  = "%(" [ key SP value *( SP key SP value ) ] ")"
//! file    = "%{" part SP guid SP size "}" CRLF          ; the octets are not in the text
//! literal = "{" number [ "+" ] "}" CRLF octets
//! quoted  = DQUOTE *( char / "\" char ) DQUOTE
//! key     = astring
//! ```
//! More than one SP is accepted between tokens, none is needed between a key and `(`, and a bare LF
//! does for CRLF (spec: csync 2.4, ondisk 4.2).

use std::borrow::Cow;

use super::value::{FileRef, KvList, Value, parse_u64};
use crate::csync::header::{LITERAL_HEADER, file_header, literal_header};

/// Deepest nesting of lists; real clients reach 6 (spec: csync 2.4).
pub const MAX_DEPTH: usize = 32;

/// A cursor in a line text.
#[derive(Clone, Debug)]
pub struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    token_limit: usize,
    files: bool,
}

/// Where in the line text which rule was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("offset {offset}: {rule}")]
pub struct DlistError {
    /// Bytes from the start of the line text.
    pub offset: usize,
    /// What is wrong there.
    pub rule: DlistRule,
}

/// The rules of the grammar that a text can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DlistRule {
    /// End of text, `)` or a control byte where a value should start.
    #[error("a value is missing")]
    MissingValue,
    /// A value is followed by something other than SP, `)` or the end.
    #[error("a space is missing after the value")]
    MissingSeparator,
    /// A list is not closed.
    #[error("a list is not closed")]
    Unclosed,
    /// More than [`MAX_DEPTH`] lists inside each other.
    #[error("lists are nested too deeply")]
    TooDeep,
    /// The text ends inside a quoted string, or a line end stands in it.
    #[error("a quoted string is not closed")]
    BadQuoted,
    /// Not `{n}` or `{n+}` and a line end, or fewer than n octets follow.
    #[error("a literal is malformed or cut short")]
    BadLiteral,
    /// Not `%{part guid size}` and a line end.
    #[error("the header of a file literal is malformed")]
    BadFile,
    /// A file literal where none may stand (only APPLY MESSAGE has them).
    #[error("a file literal is not allowed here")]
    UnexpectedFile,
    /// A token is longer than the parser's limit.
    #[error("a token is too long")]
    TokenTooLong,
    /// A key is not UTF-8.
    #[error("a key is not valid UTF-8")]
    BadKey,
    /// A list stands where a string or number is wanted, or the other way round.
    #[error("a value of another kind is wanted")]
    WrongKind,
    /// Not a decimal number, or one that does not fit.
    #[error("a number is wanted")]
    BadNumber,
    /// Something follows the complete value.
    #[error("unexpected text after the value")]
    TrailingText,
}

/// What [`Parser::list_item`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListEnd {
    /// The cursor is at one more element.
    Item,
    /// The `)` was read.
    End,
}

type Result<T> = std::result::Result<T, DlistError>;

/// True for the bytes that end an atom.
static ENDS_ATOM: [bool; 256] = {
    let mut table = [false; 256];
    let ends = b" \t\r\n()\"";
    let mut i = 0;
    while i < ends.len() {
        table[ends[i] as usize] = true;
        i += 1;
    }
    table
};

impl<'a> Parser<'a> {
    /// A parser at the start of `text`, with files allowed and tokens of any length.
    pub fn new(text: &'a [u8]) -> Parser<'a> {
        Parser::starting_at(text, 0)
    }

    /// A parser that starts at an offset of `text`, so that errors count from the text's start.
    pub fn starting_at(text: &'a [u8], offset: usize) -> Parser<'a> {
        Parser {
            text,
            at: offset.min(text.len()),
            token_limit: usize::MAX,
            files: true,
        }
    }

    /// Refuses atoms, quoted strings and literals of more than `bytes`.
    pub fn token_limit(self, bytes: usize) -> Parser<'a> {
        Parser {
            token_limit: bytes,
            ..self
        }
    }

    /// Refuses file literals.
    pub fn without_files(self) -> Parser<'a> {
        Parser {
            files: false,
            ..self
        }
    }

    /// The cursor: bytes from the start of the text.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// The whole text, not only what is left of it.
    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// Skips spaces and tells whether the text is used up.
    pub fn at_end(&mut self) -> bool {
        self.skip_spaces();
        self.at == self.text.len()
    }

    /// Fails if anything but spaces is left.
    pub fn finish(&mut self) -> Result<()> {
        if self.at_end() {
            Ok(())
        } else {
            self.fail(DlistRule::TrailingText)
        }
    }

    /// Reads one value of any kind as a tree.
    pub fn value(&mut self) -> Result<Value> {
        self.value_at_depth(0)
    }

    /// Skips one value of any kind, checked but not copied, and returns its bytes.
    pub fn skip_value(&mut self) -> Result<&'a [u8]> {
        self.skip_spaces();
        let start = self.at;
        self.skip_at_depth(0)?;
        Ok(&self.text[start..self.at])
    }

    /// Reads a key; the bare word NIL is a key like any other.
    pub fn key(&mut self) -> Result<Cow<'a, str>> {
        self.skip_spaces();
        let start = self.at;
        let bad_key = DlistError {
            offset: start,
            rule: DlistRule::BadKey,
        };
        let key = match self.token()? {
            Token::Nil => Cow::Borrowed("NIL"),
            Token::Atom(word) => Cow::Borrowed(str::from_utf8(word).map_err(|_| bad_key)?),
            Token::String(Cow::Borrowed(octets)) => {
                Cow::Borrowed(str::from_utf8(octets).map_err(|_| bad_key)?)
            }
            Token::String(Cow::Owned(octets)) => {
                Cow::Owned(String::from_utf8(octets).map_err(|_| bad_key)?)
            }
            _ => {
                return Err(DlistError {
                    offset: start,
                    rule: DlistRule::WrongKind,
                });
            }
        };
        match self.peek() {
            Some(b' ' | b'(') | None => Ok(key),
            Some(_) => self.fail(DlistRule::MissingSeparator),
        }
    }

    /// Reads a word without interpreting it: `NIL` is the word NIL.
    pub fn atom(&mut self) -> Result<&'a [u8]> {
        self.skip_spaces();
        let start = self.at;
        match self.token()? {
            Token::Nil => Ok(b"NIL"),
            Token::Atom(word) => self.separated(word),
            _ => Err(DlistError {
                offset: start,
                rule: DlistRule::WrongKind,
            }),
        }
    }

    /// Reads an atom, quoted string or literal; `None` for NIL.
    pub fn string(&mut self) -> Result<Option<Cow<'a, [u8]>>> {
        self.skip_spaces();
        let start = self.at;
        let string = match self.token()? {
            Token::Nil => None,
            Token::Atom(word) => Some(Cow::Borrowed(word)),
            Token::String(octets) => Some(octets),
            _ => {
                return Err(DlistError {
                    offset: start,
                    rule: DlistRule::WrongKind,
                });
            }
        };
        self.separated(string)
    }

    /// Reads a decimal number of at most 64 bits.
    pub fn number(&mut self) -> Result<u64> {
        self.skip_spaces();
        let offset = self.at;
        let string = self.string()?;
        let number = string.as_deref().and_then(parse_u64);
        number.ok_or(DlistError {
            offset,
            rule: DlistRule::BadNumber,
        })
    }

    /// Reads the `(` of a list; its elements follow, each announced by [`Parser::list_item`].
    pub fn list_start(&mut self) -> Result<()> {
        self.start_of(|token| matches!(token, Token::List))
    }

    /// Reads the `%(` of a key-value list; keys follow, each announced by [`Parser::list_item`].
    pub fn kvlist_start(&mut self) -> Result<()> {
        self.start_of(|token| matches!(token, Token::KvList))
    }

    fn start_of(&mut self, wanted: impl Fn(&Token<'a>) -> bool) -> Result<()> {
        self.skip_spaces();
        let offset = self.at;
        let token = self.token()?;
        if wanted(&token) {
            Ok(())
        } else {
            Err(DlistError {
                offset,
                rule: DlistRule::WrongKind,
            })
        }
    }

    /// Goes to the next element of the list that was started, or reads its `)`.
    pub fn list_item(&mut self) -> Result<ListEnd> {
        self.skip_spaces();
        match self.peek() {
            Some(b')') => {
                self.at += 1;
                self.separated(ListEnd::End)
            }
            Some(_) => Ok(ListEnd::Item),
            None => self.fail(DlistRule::Unclosed),
        }
    }

    /// As [`Parser::list_item`]: is there one more element?
    pub fn more(&mut self) -> Result<bool> {
        Ok(self.list_item()? == ListEnd::Item)
    }

    fn value_at_depth(&mut self, depth: usize) -> Result<Value> {
        self.skip_spaces();
        let value = match self.token()? {
            Token::Nil => Value::Nil,
            Token::Atom(word) => Value::Atom(word.to_vec()),
            Token::String(octets) => Value::String(octets.into_owned()),
            Token::File(file) => Value::File(file),
            Token::List => return self.list_at_depth(depth + 1),
            Token::KvList => return self.kvlist_at_depth(depth + 1),
        };
        self.separated(value)
    }

    fn list_at_depth(&mut self, depth: usize) -> Result<Value> {
        self.check_depth(depth)?;
        let mut values = Vec::new();
        while self.more()? {
            values.push(self.value_at_depth(depth)?);
        }
        Ok(Value::List(values))
    }

    fn kvlist_at_depth(&mut self, depth: usize) -> Result<Value> {
        self.check_depth(depth)?;
        let mut items = Vec::new();
        while self.more()? {
            let key = self.key()?.into_owned();
            items.push((key, self.value_at_depth(depth)?));
        }
        Ok(Value::KvList(KvList(items)))
    }

    fn skip_at_depth(&mut self, depth: usize) -> Result<()> {
        self.skip_spaces();
        match self.token()? {
            Token::List => {
                self.check_depth(depth + 1)?;
                while self.more()? {
                    self.skip_at_depth(depth + 1)?;
                }
                Ok(())
            }
            Token::KvList => {
                self.check_depth(depth + 1)?;
                while self.more()? {
                    self.key()?;
                    self.skip_at_depth(depth + 1)?;
                }
                Ok(())
            }
            _ => self.separated(()),
        }
    }

    fn check_depth(&self, depth: usize) -> Result<()> {
        if depth <= MAX_DEPTH {
            Ok(())
        } else {
            self.fail(DlistRule::TooDeep)
        }
    }

    fn token(&mut self) -> Result<Token<'a>> {
        match self.peek() {
            Some(b'(') => {
                self.at += 1;
                Ok(Token::List)
            }
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal(),
            Some(b'%') => match self.text.get(self.at + 1) {
                Some(b'(') => {
                    self.at += 2;
                    Ok(Token::KvList)
                }
                Some(b'{') => self.file(),
                _ => self.word(),
            },
            Some(b')' | b'\t' | b'\r' | b'\n') | None => self.fail(DlistRule::MissingValue),
            Some(_) => self.word(),
        }
    }

    fn word(&mut self) -> Result<Token<'a>> {
        let rest = &self.text[self.at..];
        let end = rest.iter().position(|&byte| ENDS_ATOM[usize::from(byte)]);
        let word = &rest[..end.unwrap_or(rest.len())];
        self.check_length(word.len())?;
        self.at += word.len();
        Ok(if word == b"NIL" {
            Token::Nil
        } else {
            Token::Atom(word)
        })
    }

    fn quoted(&mut self) -> Result<Token<'a>> {
        let start = self.at + 1;
        let mut unescaped: Option<Vec<u8>> = None;
        let mut at = start;
        loop {
            match self.text.get(at) {
                Some(b'"') => break,
                Some(b'\r' | b'\n') | None => return self.fail(DlistRule::BadQuoted),
                Some(b'\\') => {
                    let Some(&escaped) = self.text.get(at + 1) else {
                        return self.fail(DlistRule::BadQuoted);
                    };
                    if matches!(escaped, b'\r' | b'\n') {
                        return self.fail(DlistRule::BadQuoted);
                    }
                    let before = &self.text[start..at];
                    unescaped
                        .get_or_insert_with(|| before.to_vec())
                        .push(escaped);
                    at += 2;
                }
                Some(&byte) => {
                    if let Some(octets) = &mut unescaped {
                        octets.push(byte);
                    }
                    at += 1;
                }
            }
            self.check_length(at - start)?;
        }
        self.at = at + 1;
        let borrowed = &self.text[start..at];
        Ok(Token::String(
            unescaped.map_or(Cow::Borrowed(borrowed), Cow::Owned),
        ))
    }

    fn literal(&mut self) -> Result<Token<'a>> {
        let rest = &self.text[self.at..];
        let parsed = memchr::memchr(b'\n', &rest[..rest.len().min(LITERAL_HEADER)])
            .and_then(|lf| Some((literal_header(&rest[..=lf])?, lf + 1)));
        let Some((size, header)) = parsed else {
            return self.fail(DlistRule::BadLiteral);
        };
        let Some(octets) = usize::try_from(size)
            .ok()
            .and_then(|n| rest[header..].get(..n))
        else {
            return self.fail(DlistRule::BadLiteral);
        };
        self.check_length(octets.len())?;
        self.at += header + octets.len();
        Ok(Token::String(Cow::Borrowed(octets)))
    }

    fn file(&mut self) -> Result<Token<'a>> {
        if !self.files {
            return self.fail(DlistRule::UnexpectedFile);
        }
        let rest = &self.text[self.at..];
        let Some(lf) = memchr::memchr(b'\n', rest) else {
            return self.fail(DlistRule::BadFile);
        };
        let Some(file) = file_header(&rest[..=lf]) else {
            return self.fail(DlistRule::BadFile);
        };
        self.at += lf + 1;
        Ok(Token::File(file))
    }

    fn check_length(&self, length: usize) -> Result<()> {
        if length <= self.token_limit {
            Ok(())
        } else {
            self.fail(DlistRule::TokenTooLong)
        }
    }

    /// After a value: SP, `)` or the end of the text.
    fn separated<T>(&self, value: T) -> Result<T> {
        match self.peek() {
            None | Some(b' ' | b')') => Ok(value),
            Some(_) => self.fail(DlistRule::MissingSeparator),
        }
    }

    fn skip_spaces(&mut self) {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn fail<T>(&self, rule: DlistRule) -> Result<T> {
        Err(DlistError {
            offset: self.at,
            rule,
        })
    }
}

enum Token<'a> {
    Nil,
    Atom(&'a [u8]),
    String(Cow<'a, [u8]>),
    List,
    KvList,
    File(FileRef),
}
