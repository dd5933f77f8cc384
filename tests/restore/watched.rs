//! A restore that somebody watches: a bar with rate and rest time on a terminal, nothing of it elsewhere.

use std::time::Duration;

use crate::rig::{Append, Mail, on_a_terminal, our_binary};
use crate::world::World;

#[test]
fn a_terminal_shows_how_far_it_is() {
    let Some(world) = World::new() else { return };
    let mut mail = Mail::new(5);
    let mut imap = world.source.add_user("anne");
    let bodies: Vec<Vec<u8>> = (0..50).map(|_| mail.sized(60_000)).collect();
    let appends = bodies.iter().map(|body| Append {
        flags: "",
        date: None,
        body,
    });
    imap.append("INBOX", &appends.collect::<Vec<_>>());
    world.sync(&["-u", "anne"]);
    let target = world.target(&["anne"]);
    let server = format!("127.0.0.1:{}", target.sync_port());
    let restore = |options: &[&str]| {
        let mut command = world.backup.instance.command(our_binary("restore"));
        command.args(options).args([&server, "anne", "user/anne"]);
        let (status, drawn) = on_a_terminal(&command, Duration::from_secs(120));
        assert!(status.success(), "{status}: {drawn}");
        drawn
    };
    let drawn = restore(&[]);
    // The folder, octets done of all, octets a second, the rest time: as somebody sees it for a moment.
    let bar = drawn.split('\r').find(|line| line.contains(" left"));
    let bar = bar.unwrap_or_else(|| panic!("no bar: {drawn:?}"));
    for part in ["user.anne", " MiB", "/s, ", "s left"] {
        assert!(bar.contains(part), "{bar:?} in {drawn:?}");
    }
    // Then it is wiped out, and the summary stays.
    let rest = drawn.rsplit(" left").next().unwrap();
    assert!(
        rest.contains("\u{1b}[2K") && rest.contains("restored: 50 messages"),
        "{rest:?}"
    );

    // What a script asks for is not drawn over.
    let drawn = restore(&["--json", "--duplicates"]);
    assert!(
        !drawn.contains(" left") && !drawn.contains('\u{1b}'),
        "{drawn:?}"
    );
}
