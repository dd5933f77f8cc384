//! A stream gives the same fragments and errors however it is split, and all of it is used up.
#![no_main]

use cyrusbackup::csync::fragment::{Fragment, FragmentError, Fragmenter, Limits};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, PartialEq)]
enum Event {
    Text(Vec<u8>),
    Data(Vec<u8>),
    Start(u64),
    FileEnd,
    EndOfLine,
    Error(FragmentError),
}

fn events<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Event> {
    let mut fragmenter = Fragmenter::new(Limits {
        token: 64,
        header: 96,
    });
    let mut events = Vec::new();
    for mut input in pieces {
        loop {
            let event = match fragmenter.next(&mut input) {
                Ok(None) => break,
                Ok(Some(Fragment::Text(bytes))) => Event::Text(bytes.to_vec()),
                Ok(Some(Fragment::FileStart(file))) => Event::Start(file.size),
                Ok(Some(Fragment::FileData(bytes))) => Event::Data(bytes.to_vec()),
                Ok(Some(Fragment::FileEnd)) => Event::FileEnd,
                Ok(Some(Fragment::EndOfLine)) => Event::EndOfLine,
                Err(error) => {
                    fragmenter.resync();
                    Event::Error(error)
                }
            };
            push(&mut events, event);
        }
        assert!(input.is_empty());
    }
    events
}

/// Joins neighbours; how much text came before an error depends on the split.
fn push(events: &mut Vec<Event>, event: Event) {
    if matches!(
        (events.last(), &event),
        (Some(Event::Text(_)), Event::Error(_))
    ) {
        events.pop();
    }
    match (events.last_mut(), event) {
        (Some(Event::Text(bytes)), Event::Text(more)) => bytes.extend(more),
        (Some(Event::Data(bytes)), Event::Data(more)) => bytes.extend(more),
        (_, event) => events.push(event),
    }
}

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (piece, stream) = input;
    let whole = events([&stream[..]].into_iter());
    assert_eq!(events(stream.chunks(1)), whole);
    assert_eq!(events(stream.chunks(usize::from(piece).max(1))), whole);
});
