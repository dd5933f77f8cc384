//! What parses prints, and what is printed parses to the same; skipping agrees with parsing.
#![no_main]

use cyrusbackup::csync::dlist::{Literal, Parser, copy_with_literals};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let mut reader = Parser::new(text);
    let mut skipper = Parser::new(text);
    let value = reader.value();
    assert_eq!(
        value.as_ref().map(drop),
        skipper.skip_value().as_ref().map(drop)
    );
    let Ok(value) = value else { return };
    assert_eq!(reader.offset(), skipper.offset());

    let mut printed = b" ".to_vec();
    value.print(&mut printed, Literal::NonSync);
    let mut again = b" ".to_vec();
    Parser::new(&printed)
        .value()
        .unwrap()
        .print(&mut again, Literal::NonSync);
    assert_eq!(again, printed);

    let mut sync = b" ".to_vec();
    value.print(&mut sync, Literal::Sync);
    let mut copied = Vec::new();
    copy_with_literals(&printed, &mut copied, Literal::Sync);
    assert_eq!(copied, sync);
});
