//! An inflated chunk of a data file, read line by line as the store does.
#![no_main]

use cyrusbackup::csync::command::Apply;
use cyrusbackup::csync::fragment::{Fragment, Fragmenter, Limits};
use cyrusbackup::store::entry::{self, Entry};
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
    let Entry::Apply(time, apply) = entry::parse(text) else {
        return;
    };
    let mut printed = entry::prefix(time).into_bytes();
    if matches!(apply, Apply::Unknown(_)) || entry::print(&apply, &mut printed).is_err() {
        return;
    }
    assert!(matches!(entry::parse(&printed), Entry::Apply(again, _) if again == time));
}
