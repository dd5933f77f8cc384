//! The header of a message as people read it: encoded words decoded, folds taken out. Parsing is
//! the crate mail-parser's.

use mail_parser::{HeaderName, HeaderValue, MessageParser};

/// The fields that a listing shows, and the others for tests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// The field Date in unix seconds.
    pub date: Option<i64>,
    fields: Vec<(String, String)>,
}

/// A field to look into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// Any of To, Cc and Bcc.
    Recipient,
    /// This one, in any case.
    Named(String),
}

/// A text that must stand somewhere in a field. Case does not count, and any blanks are one space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderTest {
    field: Field,
    text: String,
}

impl Header {
    /// Reads a message, or the beginning of one.
    pub fn parse(octets: &[u8]) -> Header {
        // mail-parser wants an empty line behind the last field.
        let closed = [octets, b"\r\n\r\n"].concat();
        let parser = MessageParser::new()
            .header_date(HeaderName::Date)
            .default_header_text();
        let Some(message) = parser.parse_headers(&closed) else {
            return Header::default();
        };
        let mut header = Header::default();
        for field in message.headers() {
            match &field.value {
                HeaderValue::DateTime(date) => header.date = Some(date.to_timestamp()),
                HeaderValue::Text(text) => {
                    let name = field.name.as_str().to_ascii_lowercase();
                    header.fields.push((name, one_line(text)));
                }
                HeaderValue::TextList(texts) => {
                    let name = field.name.as_str().to_ascii_lowercase();
                    header.fields.push((name, one_line(&texts.join(", "))));
                }
                _ => {}
            }
        }
        header
    }

    /// The first field of this name, decoded, on one line.
    pub fn get<'a>(&'a self, name: &str) -> Option<&'a str> {
        self.all(name).next()
    }

    fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.fields
            .iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, text)| text.as_str())
    }

    /// Only these fields are kept; a listing of many messages needs few.
    pub fn keep(&mut self, names: &[&str]) {
        self.fields
            .retain(|(name, _)| names.iter().any(|kept| kept.eq_ignore_ascii_case(name)));
    }
}

impl HeaderTest {
    /// This text in this field; the empty text holds when the field is there at all.
    pub fn new(field: Field, text: &str) -> HeaderTest {
        HeaderTest {
            field,
            text: one_line(text).to_lowercase(),
        }
    }

    /// The header passes.
    pub fn holds(&self, header: &Header) -> bool {
        let names = match &self.field {
            Field::Recipient => &["to", "cc", "bcc"][..],
            Field::Named(name) => &[name.as_str()],
        };
        names
            .iter()
            .flat_map(|name| header.all(name))
            .any(|value| value.to_lowercase().contains(&self.text))
    }
}

/// Blanks, line ends and control characters in a row are one space: what people compare, and what
/// may go to a terminal.
fn one_line(text: &str) -> String {
    let blank = |c: char| c.is_whitespace() || c.is_control();
    let words = text.split(blank).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAIL: &[u8] = b"From: =?ISO-8859-1?Q?J=F6rg?= <joerg@example.com>\r\n\
        To: Anne\r\n <anne@example.com>\r\n\
        Cc: =?utf-8?B?w4lyaWM=?= <eric@example.com>\r\n\
        Subject: =?UTF-8?Q?Gr=C3=BC=C3=9Fe_?=\r\n =?UTF-8?Q?aus_Wien?= and \t folded\r\n\
        Message-ID: <A1@Host.example>\r\n\
        Date: Thu, 01 Oct 2026 09:30:00 +0200\r\n\
        X-Odd: caf\xe9 \x1b[31m\r\n\r\nSubject: in the body\r\n";

    #[test]
    fn fields_are_decoded_unfolded_and_harmless() {
        let header = Header::parse(MAIL);
        assert_eq!(header.get("from"), Some("Jörg <joerg@example.com>"));
        assert_eq!(header.get("To"), Some("Anne <anne@example.com>"));
        assert_eq!(header.get("subject"), Some("Grüße aus Wien and folded"));
        assert_eq!(header.get("message-id"), Some("<A1@Host.example>"));
        assert_eq!(header.date, Some(1_790_839_800));
        assert!(!header.get("x-odd").unwrap().contains('\u{1b}'));
        assert_eq!(Header::parse(b""), Header::default());
        let torn = Header::parse(b"Subject: torn");
        assert_eq!(torn.get("subject"), Some("torn"));
        let bare = Header::parse(b"Subject: a\nFrom: b\n\nbody: c");
        assert_eq!((bare.get("from"), bare.get("body")), (Some("b"), None));
    }

    #[test]
    fn tests_look_into_their_field() {
        let header = Header::parse(MAIL);
        for (field, text, holds) in [
            (Field::Recipient, "ANNE <anne", true),
            (Field::Recipient, "éric", true),
            (Field::Recipient, "joerg", false),
            (Field::Named("SUBJECT".to_owned()), "GRÜSSE", false),
            (Field::Named("SUBJECT".to_owned()), "grüße  AUS", true),
            (Field::Named("subject".to_owned()), "body", false),
            (Field::Named("message-id".to_owned()), "a1@host", true),
            (Field::Named("x-none".to_owned()), "", false),
            (Field::Named("x-odd".to_owned()), "", true),
        ] {
            assert_eq!(HeaderTest::new(field, text).holds(&header), holds, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_octets_have_a_header(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
            for (_, text) in Header::parse(&octets).fields {
                prop_assert!(!text.contains(|c: char| c.is_control()));
            }
        }
    }
}
