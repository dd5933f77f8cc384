//! An inflated chunk of a data file, read line by line as the store does.
#![no_main]

use cyrusbackup::csync::command::Apply;
use cyrusbackup::csync::fragment::{Fragment, Fragmenter, Limits};
use cyrusbackup::csync::stored::{StoredLine, parse_stored, print_stored};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|chunk: &[u8]| {
    let mut fragmenter = Fragmenter::new(Limits::default());
    let mut input = chunk;
    let mut text = Vec::new();
    loop {
        match fragmenter.next(&mut input) {
            Ok(None) => break,
            Ok(Some(Fragment::Text(bytes))) => text.extend_from_slice(bytes),
            Ok(Some(Fragment::EndOfLine)) => line(&std::mem::take(&mut text)),
            Ok(Some(_)) => {}
            Err(_) => {
                text.clear();
                fragmenter.resync();
            }
        }
    }
});

fn line(text: &[u8]) {
    let Ok(StoredLine::Apply { time, apply }) = parse_stored(text) else {
        return;
    };
    let mut printed = Vec::new();
    if matches!(apply, Apply::Unknown(_)) || print_stored(time, &apply, &mut printed).is_err() {
        return;
    }
    let again = parse_stored(printed.strip_suffix(b"\r\n").unwrap());
    assert!(
        matches!(again, Ok(StoredLine::Apply { time: t, .. }) if t == time),
        "{again:?}"
    );
}
