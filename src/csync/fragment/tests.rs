//! The fragmenter by examples, and over every split of streams made to confuse it.

use proptest::prelude::*;

use super::*;
use crate::types::Guid;

const EMPTY: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

/// A fragment that owns its bytes, or an error after which the line was given up.
#[derive(Clone, Debug, PartialEq)]
enum Event {
    Text(String),
    Start(u64),
    Data(String),
    End,
    Eol,
    Error(u64, FragmentRule),
}

use Event::{Data, End, Eol, Error, Start, Text};

/// All events of a stream in pieces, with neighbouring text and data joined.
fn events<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limits: Limits) -> Vec<Event> {
    let mut fragmenter = Fragmenter::new(limits);
    let mut events = Vec::new();
    let mut total = 0;
    for mut input in pieces {
        total += input.len() as u64;
        loop {
            let event = match fragmenter.next(&mut input) {
                Ok(None) => break,
                Ok(Some(Fragment::Text(bytes))) => Text(lossy(bytes)),
                Ok(Some(Fragment::FileStart(file))) => Start(file.size),
                Ok(Some(Fragment::FileData(bytes))) => Data(lossy(bytes)),
                Ok(Some(Fragment::FileEnd)) => End,
                Ok(Some(Fragment::EndOfLine)) => Eol,
                Err(error) => {
                    assert_eq!(fragmenter.next(&mut input), Err(error), "errors stay");
                    fragmenter.resync();
                    Error(error.offset, error.rule)
                }
            };
            push(&mut events, event);
        }
        assert!(input.is_empty());
        assert_eq!(fragmenter.offset(), total);
        assert!(fragmenter.header.len() <= limits.header.max(LITERAL_HEADER));
    }
    events
}

/// Appends an event. How much text came before an error depends on the split: it is left out.
fn push(events: &mut Vec<Event>, event: Event) {
    if matches!((events.last(), &event), (Some(Text(_)), Error(..))) {
        events.pop();
    }
    match (events.last_mut(), event) {
        (Some(Text(text)), Text(more)) | (Some(Data(text)), Data(more)) => text.push_str(&more),
        (_, event) => events.push(event),
    }
}

fn lossy(bytes: &[u8]) -> String {
    // Byte by byte, so that a split inside of a character makes no difference.
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

fn whole(stream: &str) -> Vec<Event> {
    events([stream.as_bytes()], Limits::default())
}

fn text(text: &str) -> Event {
    Text(text.to_owned())
}

#[test]
fn lines_end_at_crlf_or_lf() {
    let wanted = [
        text("NOOP"),
        Eol,
        text("EXIT"),
        Eol,
        Eol,
        Eol,
        text("a\rb\r"),
        Eol,
        text("x"),
    ];
    assert_eq!(whole("NOOP\r\nEXIT\n\r\n\na\rb\r\r\nx"), wanted);
}

#[test]
fn files_are_taken_out_and_their_headers_stay() {
    let header = format!("%{{p {EMPTY} 4}}\r\n");
    let stream = format!("APPLY MESSAGE (NIL {header}a{{\n) %{{p {EMPTY} 0}}\n)\r\nNOOP\r\n");
    let wanted = [
        text(&format!("APPLY MESSAGE (NIL {header}")),
        Start(4),
        Data("a{\n)".into()),
        End,
        text(&format!(" %{{p {EMPTY} 0}}\n")),
        Start(0),
        End,
        text(")"),
        Eol,
        text("NOOP"),
        Eol,
    ];
    assert_eq!(whole(&stream), wanted);
}

#[test]
fn the_file_is_the_one_of_the_header() {
    let mut fragmenter = Fragmenter::new(Limits::default());
    let stream = format!("* MESSAGE %{{default {EMPTY} 4294967295}}\r\n");
    let mut input = stream.as_bytes();
    let mut start = None;
    while let Some(fragment) = fragmenter.next(&mut input).unwrap() {
        start = Some(fragment);
    }
    let guid = Guid::of(b"");
    let file = FileRef {
        partition: b"default".to_vec(),
        guid,
        size: 4_294_967_295,
    };
    assert_eq!(start, Some(Fragment::FileStart(file)));
}

#[test]
fn literals_hide_line_ends_quotes_and_headers() {
    let line = "A {7+}\r\n\r\n\"{9}% B (\"x {5}\\\"%{\") ({2}\n\r\n {1+}\r\n\n)";
    assert_eq!(whole(&format!("{line}\r\nN")), [text(line), Eol, text("N")]);
}

#[test]
fn braces_and_percents_count_only_at_the_start_of_a_value() {
    for line in [
        "A a{5}",
        "A }{5} %a %%{1}",
        "A \"{5}\"{5} (\"%{\"%{)",
        "{5+}",
        "%{a",
        "A %x{1} %(",
    ] {
        assert_eq!(whole(&format!("{line}\r\n")), [text(line), Eol], "{line}");
    }
}

#[test]
fn comments_are_text() {
    let line = "# it's a {comment} with \"one quote and %{this";
    assert_eq!(
        whole(&format!("{line}\r\n#\n#\r\nA")),
        [text(line), Eol, text("#"), Eol, text("#"), Eol, text("A")]
    );
}

#[test]
fn bad_lines_are_skipped_with_all_their_octets() {
    use FragmentRule::*;
    let guid = "g".repeat(4000);
    for (line, rule) in [
        ("A \"a\r\n".to_owned(), OpenQuote),
        ("A \"a\\\r\n".to_owned(), OpenQuote),
        ("A {x}\r\n".to_owned(), BadLiteral),
        ("A {5\r\n".to_owned(), BadLiteral),
        (
            "A {00000000000000000000000000000000000005}\r\n".to_owned(),
            BadLiteral,
        ),
        (
            "A {131073+}\r\n".to_owned() + &"\n".repeat(131_073) + " {1+}\r\n\n\r\n",
            TokenTooLong,
        ),
        ("A %{a b c}\r\n".to_owned(), BadFile),
        ("A %{a over-long 3}\r\n\r\nB \"\n".to_owned(), BadFile),
        (
            format!("A %{{a {EMPTY}00 1}}\r\n\n %{{a {EMPTY} 3}}\r\n\n\n\n\r\n"),
            BadFile,
        ),
        (format!("A %{{a {guid} 3}}\r\n"), BadFile),
    ] {
        let all = whole(&format!("{line}NOOP\r\n"));
        assert!(
            matches!(all[0], Error(_, found) if found == rule),
            "{line:.60}: {all:.200?}"
        );
        // The octets of `over-long` reach up to the quote, which stays open to the next line end.
        assert_eq!(all[1..], [Eol, text("NOOP"), Eol], "{line:.60}");
    }
}

#[test]
fn endless_tokens_fail_at_the_limit_and_take_no_memory() {
    let limits = Limits {
        token: 1000,
        header: 100,
    };
    for start in ["", "APPLY (", "A \"", "A \"\\\"", "A b"] {
        let mut stream = start.to_owned();
        stream.push_str(&"x".repeat(100_000));
        stream.push_str("\r\nNOOP\r\n");
        let all = events([stream.as_bytes()], limits);
        let Error(offset, FragmentRule::TokenTooLong) = all[0] else {
            panic!("{all:.200?}")
        };
        assert!((1000..=1010).contains(&offset), "{start}: {offset}");
        assert_eq!(all[1..], [Eol, text("NOOP"), Eol], "{start}");
        for length in [1, 999, 1000, 1001, 4096] {
            let pieces = stream.as_bytes().chunks(length);
            assert_eq!(events(pieces, limits), all, "{start} by {length}");
        }
    }
    let fits = format!("{0} \"{0}\" ({0})\r\n", "x".repeat(1000));
    assert_eq!(
        events([fits.as_bytes()], limits),
        [text(fits.trim_end()), Eol]
    );
}

#[test]
fn resync_between_lines_does_nothing() {
    let mut fragmenter = Fragmenter::new(Limits::default());
    let mut input = &b"NOOP\r\n\r\n"[..];
    fragmenter.resync();
    assert_eq!(
        fragmenter.next(&mut input),
        Ok(Some(Fragment::Text(b"NOOP")))
    );
    assert!(!fragmenter.at_line_start());
    fragmenter.resync();
    assert_eq!(fragmenter.next(&mut input), Ok(Some(Fragment::EndOfLine)));
    assert!(fragmenter.at_line_start());
    fragmenter.resync();
    assert_eq!(fragmenter.next(&mut input), Ok(Some(Fragment::EndOfLine)));
}

/// Pieces that mean something to a fragmenter, in any order.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("\r\n".to_owned()),
        Just(format!("%{{p {EMPTY} 3}}\r\n")),
        Just("%{p short 2}\r\n".to_owned()),
        prop::sample::select(vec![
            " ",
            "(",
            ")",
            "%(",
            "%",
            "%{",
            "{",
            "{3}\r\n",
            "{2+}\n",
            "{99}\r\n",
            "{9",
            "\"",
            "\\",
            "\r",
            "\n",
            "#",
            "A",
            "long_atom",
            "\t",
            "\u{e9}",
            "\0",
            "}",
            "+",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat().into_bytes())
}

/// One command line whose text and files are known.
fn known_line() -> impl Strategy<Value = (Vec<u8>, Vec<Event>)> {
    let item = prop_oneof![
        "[a-z]{1,8}".prop_map(|atom| (atom, None)),
        "\"[a-z (){%]{0,8}\"".prop_map(|quoted| (quoted, None)),
        "[a-z\r\n\"{]{0,8}".prop_map(|octets| (format!("{{{}+}}\r\n{octets}", octets.len()), None)),
        "[a-z\r\n\"{]{0,8}"
            .prop_map(|octets| { (format!("%{{p {EMPTY} {}}}\r\n", octets.len()), Some(octets)) }),
    ];
    prop::collection::vec(item, 0..12).prop_map(|items| {
        let mut stream = "A (".to_owned();
        let mut events = vec![text("A (")];
        for (i, (item, octets)) in items.into_iter().enumerate() {
            let item = if i > 0 { format!(" {item}") } else { item };
            stream.push_str(&item);
            push(&mut events, Text(item));
            if let Some(octets) = octets {
                stream.push_str(&octets);
                events.push(Start(octets.len() as u64));
                if !octets.is_empty() {
                    events.push(Data(octets));
                }
                events.push(End);
            }
        }
        stream.push_str(")\r\n");
        push(&mut events, text(")"));
        events.push(Eol);
        (stream.into_bytes(), events)
    })
}

/// The stream cut at these places, taken modulo its length.
fn cut<'a>(stream: &'a [u8], places: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|at| at % (stream.len() + 1)).collect();
    places.sort_unstable();
    let mut pieces = Vec::new();
    let mut from = 0;
    for at in places {
        pieces.push(&stream[from..at]);
        from = at;
    }
    pieces.push(&stream[from..]);
    pieces
}

proptest! {
    #[test]
    fn any_split_gives_the_same_fragments(
        stream in soup(),
        places in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let limits = Limits { token: 9, header: 70 };
        let unsplit = events([&stream[..]], limits);
        prop_assert_eq!(&events(cut(&stream, &places), limits), &unsplit);
        prop_assert_eq!(&events(stream.chunks(1), limits), &unsplit);
    }

    #[test]
    fn known_lines_come_out_as_they_were_made(
        lines in prop::collection::vec(known_line(), 1..4),
        places in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let stream: Vec<u8> = lines.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let wanted: Vec<Event> = lines.into_iter().flat_map(|(_, events)| events).collect();
        prop_assert_eq!(events(cut(&stream, &places), Limits::default()), wanted);
    }

    /// After any line, good or bad but closed, the next one is in sync again.
    #[test]
    fn giving_up_a_line_keeps_the_next(mut stream in known_line(), at in any::<usize>()) {
        stream.0.extend_from_slice(b"NOOP\r\n");
        let mut fragmenter = Fragmenter::new(Limits::default());
        let mut input = &stream.0[..];
        let steps = at % stream.1.len();
        for _ in 0..steps {
            fragmenter.next(&mut input).unwrap();
        }
        fragmenter.resync();
        if !fragmenter.at_line_start() {
            prop_assert_eq!(fragmenter.next(&mut input), Ok(Some(Fragment::EndOfLine)));
            prop_assert_eq!(fragmenter.next(&mut input), Ok(Some(Fragment::Text(b"NOOP"))));
        }
    }
}
