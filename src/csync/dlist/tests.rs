//! The grammar by examples, and print → parse → print over any value.

use proptest::prelude::*;

use super::*;
use crate::types::Guid;

const EMPTY: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

fn parse(text: &str) -> Result<Value, DlistError> {
    parse_bytes(text.as_bytes())
}

fn parse_bytes(text: &[u8]) -> Result<Value, DlistError> {
    let mut parser = Parser::new(text);
    let value = parser.value()?;
    parser.finish()?;
    Ok(value)
}

fn printed(value: &Value, literal: Literal) -> Vec<u8> {
    let mut out = Vec::new();
    value.print(&mut out, literal);
    out
}

#[test]
fn values_of_all_kinds() {
    let atom = |word: &str| Value::atom(word);
    let file = FileRef {
        partition: b"p".to_vec(),
        guid: Guid::of(b""),
        size: 3,
    };
    for (text, value) in [
        ("NIL", Value::Nil),
        ("nil", atom("nil")),
        ("\"NIL\"", Value::string("NIL")),
        ("\\Seen", atom("\\Seen")),
        ("a]*{%", atom("a]*{%")),
        ("%x", atom("%x")),
        ("\"\"", Value::string("")),
        ("\"a \\\" \\\\ \\x\"", Value::string("a \" \\ x")),
        ("{3}\r\n\r\n)", Value::string("\r\n)")),
        ("{3+}\n\0\u{e9}", Value::string("\0\u{e9}")),
        ("()", Value::List(vec![])),
        ("%()", Value::KvList(KvList::default())),
        ("(  NIL   a  )", Value::List(vec![Value::Nil, atom("a")])),
        (
            "(() %())",
            Value::List(vec![Value::List(vec![]), Value::KvList(KvList::default())]),
        ),
        (&format!("%{{p {EMPTY} 3}}\r\n"), Value::File(file.clone())),
        (
            &format!("(%{{p {EMPTY} 3}}\n NIL)"),
            Value::List(vec![Value::File(file), Value::Nil]),
        ),
    ] {
        assert_eq!(parse(text), Ok(value), "{text:?}");
    }
}

#[test]
fn kvlists_keep_order_and_duplicates() {
    let list = parse("%(B 1 A(x) \"C D\" %() B NIL NIL 2)").unwrap();
    let items = list.as_kvlist().unwrap();
    let keys: Vec<&str> = items.0.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["B", "A", "C D", "B", "NIL"]);
    assert_eq!(items.get_u32("B"), Some(1));
    assert_eq!(items.get("A").unwrap().as_list().unwrap().len(), 1);
}

#[test]
fn broken_rules_are_told_with_their_offset() {
    use DlistRule::*;
    for (text, offset, rule) in [
        ("", 0, MissingValue),
        ("  ", 2, MissingValue),
        (")", 0, MissingValue),
        ("(a", 2, Unclosed),
        ("(a (", 4, Unclosed),
        ("%(A)", 3, MissingSeparator),
        ("%(A )", 4, MissingValue),
        ("%(A 1 (b) 2)", 6, WrongKind),
        ("%(\u{e9} 1)", 5, MissingValue),
        ("(a(b))", 2, MissingSeparator),
        ("(\"a\"b)", 4, MissingSeparator),
        ("(a\tb)", 2, MissingSeparator),
        ("(a \r\nb)", 3, MissingValue),
        ("a b", 2, TrailingText),
        ("a)", 1, TrailingText),
        ("\"a", 0, BadQuoted),
        ("\"a\\", 0, BadQuoted),
        ("\"a\r\n\"", 0, BadQuoted),
        ("\"a\\\nb\"", 0, BadQuoted),
        ("{3}\r\nab", 0, BadLiteral),
        ("{a}\r\n", 0, BadLiteral),
        ("{3}ab", 0, BadLiteral),
        ("{18446744073709551616}\r\n", 0, BadLiteral),
        ("%{p guid 3}\r\n", 0, BadFile),
        (&format!("%{{p {EMPTY}0 3}}\r\n"), 0, BadFile),
        (&format!("%{{p {EMPTY} 3}}"), 0, BadFile),
    ] {
        let wanted = if text == "%(\u{e9} 1)" {
            Ok(())
        } else {
            Err(DlistError { offset, rule })
        };
        assert_eq!(parse(text).map(drop), wanted, "{text:?}");
    }
    let key = parse_bytes(b"%(\xe9 1)");
    assert_eq!(
        key,
        Err(DlistError {
            offset: 2,
            rule: BadKey
        })
    );
}

#[test]
fn depth_is_limited() {
    let nested = |depth: usize| "(".repeat(depth) + &")".repeat(depth);
    assert!(parse(&nested(MAX_DEPTH)).is_ok());
    let error = DlistError {
        offset: MAX_DEPTH + 1,
        rule: DlistRule::TooDeep,
    };
    for depth in [MAX_DEPTH + 1, 1_000_000] {
        assert_eq!(parse(&nested(depth)), Err(error));
        assert_eq!(
            Parser::new(nested(depth).as_bytes()).skip_value(),
            Err(error)
        );
    }
    let kvlists = "%(A ".repeat(100_000);
    assert_eq!(parse(&kvlists).unwrap_err().rule, DlistRule::TooDeep);
}

#[test]
fn tokens_and_files_can_be_refused() {
    for text in ["abcd", "\"abcd\"", "{4}\r\nabcd"] {
        assert!(Parser::new(text.as_bytes()).token_limit(4).value().is_ok());
        let error = Parser::new(text.as_bytes())
            .token_limit(3)
            .value()
            .unwrap_err();
        assert_eq!(error.rule, DlistRule::TokenTooLong);
    }
    let file = format!("(%{{p {EMPTY} 3}}\r\n)");
    let error = Parser::new(file.as_bytes())
        .without_files()
        .value()
        .unwrap_err();
    assert_eq!(
        error,
        DlistError {
            offset: 1,
            rule: DlistRule::UnexpectedFile
        }
    );
}

#[test]
fn records_are_pulled_without_a_tree() {
    let text = b"MAILBOX %(RECORD (%(UID 1) %(UID 2 X (a \"b)\")) ) Z {1}\r\n))";
    let mut parser = Parser::starting_at(text, 8);
    let mut uids = Vec::new();
    parser.kvlist_start().unwrap();
    assert!(parser.more().unwrap());
    assert_eq!(parser.key().unwrap(), "RECORD");
    parser.list_start().unwrap();
    while parser.list_item().unwrap() == ListEnd::Item {
        parser.kvlist_start().unwrap();
        while parser.more().unwrap() {
            match &*parser.key().unwrap() {
                "UID" => uids.push(parser.number().unwrap()),
                _ => assert_eq!(parser.skip_value().unwrap(), b"(a \"b)\")"),
            }
        }
    }
    assert_eq!(uids, [1, 2]);
    assert!(parser.more().unwrap());
    assert_eq!(parser.atom().unwrap(), b"Z");
    assert_eq!(parser.string().unwrap().as_deref(), Some(&b")"[..]));
    assert!(!parser.more().unwrap());
    assert!(parser.at_end());
}

fn any_value() -> impl Strategy<Value = Value> {
    let octets = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..12),
        "[ -~]{0,12}".prop_map(String::into_bytes),
        Just(b"NIL".to_vec()),
        Just(vec![b'x'; 1024]),
    ];
    let file = ("[a-z]{1,5}", any::<u32>(), any::<u8>()).prop_map(|(partition, size, octet)| {
        let guid = Guid::of(&[octet]);
        Value::File(FileRef {
            partition: partition.into_bytes(),
            guid,
            size: size.into(),
        })
    });
    let leaf = prop_oneof![
        Just(Value::Nil),
        octets.clone().prop_map(Value::Atom),
        octets.prop_map(Value::String),
        any::<u64>().prop_map(Value::number),
        file,
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            prop::collection::vec(("[ -~é]{0,6}", inner), 0..6)
                .prop_map(|items| Value::KvList(KvList(items))),
        ]
    })
}

/// Atoms and strings of the same octets are one to a reader, unless they spell NIL.
fn assert_same(left: &Value, right: &Value) {
    match (left, right) {
        (Value::List(left), Value::List(right)) => {
            assert_eq!(left.len(), right.len());
            left.iter()
                .zip(right)
                .for_each(|(left, right)| assert_same(left, right));
        }
        (Value::KvList(left), Value::KvList(right)) => {
            assert_eq!(left.0.len(), right.0.len());
            for ((key, left), (other_key, right)) in left.0.iter().zip(&right.0) {
                assert_eq!(key, other_key);
                assert_same(left, right);
            }
        }
        (Value::Nil, _) | (_, Value::Nil) | (Value::File(_), _) => assert_eq!(left, right),
        _ => assert_eq!(left.as_bytes().unwrap(), right.as_bytes().unwrap()),
    }
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(value in any_value()) {
        let sync = printed(&value, Literal::Sync);
        let read = parse_bytes(&sync).unwrap();
        assert_same(&value, &read);
        prop_assert_eq!(&printed(&read, Literal::Sync), &sync);

        let non_sync = printed(&value, Literal::NonSync);
        prop_assert_eq!(&parse_bytes(&non_sync).unwrap(), &read);
        let mut copied = Vec::new();
        let spaced = [b" ", &non_sync[..]].concat();
        copy_with_literals(&spaced, &mut copied, Literal::Sync);
        prop_assert_eq!(&copied[1..], &sync);

        let mut parser = Parser::new(&sync);
        prop_assert_eq!(parser.skip_value(), Ok(&sync[..]));
    }

    #[test]
    fn any_text_is_read_or_refused(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                " ", "(", ")", "%(", "%{", "{2}\r\n", "{9+}\n", "\"", "\\", "NIL", "a", "7", "\r\n",
                "\u{e9}", "\0", "%{p da39a3ee5e6b4b0d3255bfef95601890afd80709 3}\r\n",
            ]),
            0..24,
        ),
    ) {
        let text = pieces.concat();
        let mut reader = Parser::new(text.as_bytes());
        let value = reader.value();
        let mut skipper = Parser::new(text.as_bytes());
        let skipped = skipper.skip_value();
        prop_assert_eq!(value.as_ref().map(drop), skipped.as_ref().map(drop));
        if let Ok(value) = value {
            prop_assert_eq!(reader.offset(), skipper.offset());
            assert_same(&value, &parse_bytes(&printed(&value, Literal::Sync)).unwrap());
        }
    }
}
