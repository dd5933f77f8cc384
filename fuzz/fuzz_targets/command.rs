//! No text of a line is too strange for a command, and an APPLY that is printed means the same.
#![no_main]

use cyrusbackup::csync::command::{Apply, Command, parse_apply, parse_command};
use cyrusbackup::csync::dlist::Literal;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line_text: &[u8]| {
    let Ok(Command::Apply(apply)) = parse_command(line_text) else {
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
    assert_eq!(again, printed);
});
