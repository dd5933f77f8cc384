//! JSON as the C tools print it: keys in the order given, two blanks of indent, one value per line
//! (spec: ondisk 7.2, 7.4).

use std::ffi::OsStr;
use std::fmt;

use super::real;

/// A JSON value that keeps the order of its keys.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// A whole number.
    Int(i64),
    /// A real number; must be finite (see [`Json::real`]).
    Real(f64),
    /// A string.
    Text(String),
    /// `[…]`.
    Array(Vec<Json>),
    /// `{…}`.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// An object without keys; [`Json::with`] adds them.
    pub fn object() -> Json {
        Json::Object(Vec::new())
    }

    /// Adds a key to an object. `None` leaves it out, which is what C does with values that JSON
    /// cannot hold.
    pub fn with(mut self, key: &str, value: impl Into<Option<Json>>) -> Json {
        if let (Json::Object(members), Some(value)) = (&mut self, value.into()) {
            members.push((key.to_owned(), value));
        }
        self
    }

    /// A whole number of any kind; beyond 63 bits it stops at the largest.
    pub fn int(value: impl TryInto<i64>) -> Json {
        Json::Int(value.try_into().unwrap_or(i64::MAX))
    }

    /// A string.
    pub fn text(value: impl Into<String>) -> Json {
        Json::Text(value.into())
    }

    /// A string of the system; none if it is not UTF-8.
    pub fn os_text(value: &OsStr) -> Option<Json> {
        value.to_str().map(Json::text)
    }

    /// A real; none if it is not finite.
    pub fn real(value: f64) -> Option<Json> {
        value.is_finite().then_some(Json::Real(value))
    }

    fn print(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        match self {
            Json::Int(value) => write!(f, "{value}"),
            Json::Real(value) => f.write_str(real(*value).as_deref().unwrap_or("null")),
            Json::Text(text) => print_text(f, text),
            Json::Array(items) => {
                let items = items.iter().map(|item| (None, item));
                print_lines(f, depth, ('[', ']'), items)
            }
            Json::Object(members) => {
                let members = members
                    .iter()
                    .map(|(key, value)| (Some(key.as_str()), value));
                print_lines(f, depth, ('{', '}'), members)
            }
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.print(f, 0)
    }
}

fn print_lines<'a>(
    f: &mut fmt::Formatter<'_>,
    depth: usize,
    (open, close): (char, char),
    items: impl Iterator<Item = (Option<&'a str>, &'a Json)>,
) -> fmt::Result {
    write!(f, "{open}")?;
    let mut first = true;
    for (key, value) in items {
        let comma = if first { "" } else { "," };
        first = false;
        write!(f, "{comma}\n{:width$}", "", width = 2 * (depth + 1))?;
        if let Some(key) = key {
            print_text(f, key)?;
            f.write_str(": ")?;
        }
        value.print(f, depth + 1)?;
    }
    if !first {
        write!(f, "\n{:width$}", "", width = 2 * depth)?;
    }
    write!(f, "{close}")
}

fn print_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\u{8}' => f.write_str("\\b")?,
            '\u{c}' => f.write_str("\\f")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c < ' ' => write!(f, "\\u{:04X}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn layout_is_c_s() {
        let value = Json::object()
            .with("id", Json::int(7u64))
            .with("ratio", Json::real(100.0))
            .with("gone", Json::real(f64::NAN))
            .with("empty", Json::Array(vec![]))
            .with("none", Json::object())
            .with(
                "list",
                Json::Array(vec![Json::int(1), Json::text("a\"\\\u{1}\té")]),
            );
        let expected = "{\n  \"id\": 7,\n  \"ratio\": 100.0,\n  \"empty\": [],\n  \"none\": {},\n  \
                        \"list\": [\n    1,\n    \"a\\\"\\\\\\u0001\\té\"\n  ]\n}";
        assert_eq!(value.to_string(), expected);
    }

    proptest! {
        #[test]
        fn any_text_reads_back(key in ".*", text in ".*") {
            let printed = Json::object().with(&key, Json::text(&text)).to_string();
            let read: serde_json::Value = serde_json::from_str(&printed).expect("valid JSON");
            prop_assert_eq!(read[&key].as_str(), Some(text.as_str()));
        }

        #[test]
        fn any_real_reads_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            if let Some(json) = Json::real(value) {
                let read: serde_json::Value = serde_json::from_str(&json.to_string()).expect("JSON");
                // serde_json's default reader may be off by the last bit.
                let close = read.as_f64().expect("a number");
                prop_assert!((close - value).abs() <= value.abs() * 1e-15, "{} {}", close, value);
                prop_assert_eq!(json.to_string().parse::<f64>().expect("a number"), value);
            }
        }
    }
}
