//! What real clients sent and got (Cyrus 3.6.1): `testdata/replay`, one file per direction.

use std::collections::BTreeMap;
use std::path::Path;

use super::command::{Apply, Command, parse_apply, parse_command};
use super::crc::{SyncCrc, SyncCrcAnnot, Thrid};
use super::dlist::{FileRef, Literal, Parser, copy_with_literals};
use super::fragment::{Fragment, Fragmenter, Limits};
use crate::types::Guid;

/// A whole line: its text and its files.
#[derive(Debug, Default, PartialEq)]
struct Line {
    text: Vec<u8>,
    files: Vec<(FileRef, Vec<u8>)>,
}

/// All lines of a stream that is given in pieces.
fn lines<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Line> {
    let mut fragmenter = Fragmenter::new(Limits::default());
    let mut lines = Vec::new();
    let mut line = Line::default();
    for mut input in pieces {
        while let Some(fragment) = fragmenter.next(&mut input).unwrap() {
            match fragment {
                Fragment::Text(text) => line.text.extend_from_slice(text),
                Fragment::FileStart(file) => line.files.push((file, Vec::new())),
                Fragment::FileData(octets) => {
                    line.files.last_mut().unwrap().1.extend_from_slice(octets);
                }
                Fragment::FileEnd => {}
                Fragment::EndOfLine => lines.push(std::mem::take(&mut line)),
            }
        }
    }
    assert!(fragmenter.at_line_start(), "the stream ends inside a line");
    lines
}

fn streams(extension: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/replay");
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let wanted = paths.filter(|path| path.extension().is_some_and(|found| found == extension));
    let streams: BTreeMap<String, Vec<u8>> = wanted
        .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
        .collect();
    assert!(streams.len() > 40, "testdata/replay is incomplete");
    streams
}

#[test]
fn every_line_is_a_known_command() {
    let mut names = BTreeMap::new();
    for (path, stream) in streams("c2s") {
        for line in lines([&stream[..]]) {
            let text = String::from_utf8_lossy(&line.text);
            let command =
                parse_command(&line.text).unwrap_or_else(|e| panic!("{path}: {text}: {e}"));
            let name = match &command {
                Command::Apply(Apply::Unknown(_)) | Command::Unknown(_) | Command::Empty => {
                    panic!("{path}: {text}")
                }
                Command::Apply(apply) => {
                    if let Apply::Mailbox(update) = apply {
                        update.records.check().unwrap();
                    }
                    apply.name().to_owned()
                }
                _ => text.split(' ').next().unwrap().to_owned(),
            };
            *names.entry(name).or_insert(0) += 1;
        }
    }
    assert_eq!(
        (names["MAILBOX"], names["MESSAGE"], names["RESERVE"]),
        (64, 24, 12)
    );
    assert_eq!((names["GET"], names["RENAME"], names["QUOTA"]), (80, 6, 8));
}

#[test]
fn apply_lines_are_printed_as_they_came() {
    for (path, stream) in streams("c2s") {
        for line in lines([&stream[..]]) {
            let Some(text) = line.text.strip_prefix(b"APPLY ") else {
                continue;
            };
            let apply = parse_apply(text).unwrap();
            let mut printed = Vec::new();
            apply.print(&mut printed, Literal::NonSync).unwrap();
            let [printed, came] = [&printed, text].map(String::from_utf8_lossy);
            assert_eq!(printed, came, "{path}");
        }
    }
}

#[test]
fn lines_copied_for_a_data_file_mean_the_same() {
    for stream in streams("c2s").values() {
        for line in lines([&stream[..]]) {
            let Some(text) = line.text.strip_prefix(b"APPLY ") else {
                continue;
            };
            let apply = parse_apply(text).unwrap();
            let mut printed = Vec::new();
            apply.print(&mut printed, Literal::Sync).unwrap();
            let mut copied = Vec::new();
            copy_with_literals(text, &mut copied, Literal::Sync);
            assert_eq!(copied, printed);
        }
    }
}

#[test]
fn files_have_their_guid() {
    let mut count = 0;
    for stream in streams("c2s").values() {
        for (file, octets) in lines([&stream[..]]).into_iter().flat_map(|line| line.files) {
            assert_eq!(
                (file.guid, file.size),
                (Guid::of(&octets), octets.len() as u64)
            );
            count += 1;
        }
    }
    assert!(count > 300, "{count}");
}

#[test]
fn untagged_answers_are_dlists() {
    let mut count = 0;
    for (path, stream) in streams("s2c") {
        for line in lines([&stream[..]]) {
            let data = line
                .text
                .strip_prefix(b"* ")
                .filter(|text| text.contains(&b'('));
            let Some(data) = data.filter(|text| !text.starts_with(b"OK")) else {
                continue;
            };
            let mut parser = Parser::new(data);
            parser.key().unwrap();
            let start = parser.offset();
            let value = parser.value().unwrap_or_else(|e| panic!("{path}: {e}"));
            parser.finish().unwrap();
            let mut printed = b" ".to_vec();
            value.print(&mut printed, Literal::NonSync);
            let [printed, came] = [&printed, &data[start..]].map(String::from_utf8_lossy);
            assert_eq!(printed, came, "{path}");
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}

/// The first sync of a mailbox has all its records, so the sums must be the client's.
#[test]
fn sums_are_those_of_the_client() {
    let mut count = 0;
    for (path, stream) in streams("c2s")
        .iter()
        .filter(|(path, _)| path.contains("-01-initial"))
    {
        for line in lines([&stream[..]]) {
            let Ok(Command::Apply(Apply::Mailbox(update))) = parse_command(&line.text) else {
                continue;
            };
            let mut sum = SyncCrc::new();
            let mut annotations = SyncCrcAnnot::new(Thrid::Unpadded);
            for record in update.records.iter() {
                let record = record.unwrap();
                sum.toggle(&record);
                annotations.toggle(&record);
            }
            let name = &update.mboxname;
            assert_eq!(
                Some(sum.value()),
                update.header.get_u32("SYNC_CRC"),
                "{path} {name}"
            );
            let wanted = update.header.get_u32("SYNC_CRC_ANNOT");
            assert_eq!(Some(annotations.value()), wanted, "{path} {name}");
            count += 1;
        }
    }
    assert!(count > 10, "{count}");
}

#[test]
fn pieces_of_any_length_give_the_same_lines() {
    for (path, stream) in streams("c2s")
        .iter()
        .filter(|(_, stream)| stream.len() < 20_000)
    {
        let whole = lines([&stream[..]]);
        for length in [1, 2, 3, 7, 64] {
            assert_eq!(
                lines(stream.chunks(length)),
                whole,
                "{path} in pieces of {length}"
            );
        }
    }
}

/// A stand-in for a fuzzer that runs everywhere: streams with bytes changed, removed, doubled or
/// moved must never panic, loop, or lose the next line.
#[test]
fn mutated_streams_never_panic() {
    let streams: Vec<Vec<u8>> = streams("c2s")
        .into_values()
        .filter(|stream| stream.len() < 6_000)
        .collect();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..4_000 {
        let mut stream = streams[round % streams.len()].clone();
        for _ in 0..=random.below(3) {
            mutate(&mut stream, &mut random);
        }
        survive(&stream, 1 + random.below(400));
    }
}

fn survive(stream: &[u8], piece: usize) {
    let mut fragmenter = Fragmenter::new(Limits {
        token: 512,
        header: 256,
    });
    let mut text = Vec::new();
    let mut steps = 0;
    for mut input in stream.chunks(piece) {
        loop {
            steps += 1;
            assert!(
                steps < 10 * stream.len() + 100,
                "the fragmenter does not get on"
            );
            match fragmenter.next(&mut input) {
                Ok(None) => break,
                Ok(Some(Fragment::Text(bytes))) => text.extend_from_slice(bytes),
                Ok(Some(Fragment::EndOfLine)) => understand(&std::mem::take(&mut text)),
                Ok(Some(_)) => {}
                Err(_) => {
                    text.clear();
                    fragmenter.resync();
                }
            }
        }
        assert!(input.is_empty());
    }
    assert_eq!(fragmenter.offset(), stream.len() as u64);
}

/// What parses must print, and what is printed must parse to the same.
fn understand(text: &[u8]) {
    let Ok(Command::Apply(apply)) = parse_command(text) else {
        return;
    };
    let mut printed = Vec::new();
    if matches!(apply, Apply::Unknown(_)) || apply.print(&mut printed, Literal::Sync).is_err() {
        return;
    }
    let mut again = Vec::new();
    parse_apply(&printed)
        .unwrap()
        .print(&mut again, Literal::Sync)
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&again),
        String::from_utf8_lossy(&printed)
    );
}

fn mutate(stream: &mut Vec<u8>, random: &mut Random) {
    const SPECIAL: &[u8] = b"\"{}()%\\ \r\n\0+9\xff";
    let at = random.below(stream.len());
    let until = stream.len().min(at + 1 + random.below(12));
    match random.below(5) {
        0 => stream[at] = random.below(256) as u8,
        1 => stream[at] = SPECIAL[random.below(SPECIAL.len())],
        2 => stream.insert(at, SPECIAL[random.below(SPECIAL.len())]),
        3 if stream.len() > 20 => drop(stream.drain(at..until)),
        _ => {
            let copy = stream[at..until].to_vec();
            let to = random.below(stream.len());
            stream.splice(to..to, copy);
        }
    }
}

/// xorshift: the same mutations on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}
