//! C's backupd and ours append to the same backup in turn.

use crate::folders::{FOLDERS, append, fill};
use crate::rig::{Engine, Mail};
use crate::world::World;

#[test]
fn c_and_ours_append_in_turn() {
    let Some(mut world) = World::new() else {
        return;
    };
    if !world.is_ours() {
        return;
    }
    let mut mail = Mail::new(11);
    let mut imap = world.source.add_user("anne");
    world.user("anne");
    fill(&mut imap, &mut mail, 120);
    for (turn, engine) in [
        Engine::Ours,
        Engine::C,
        Engine::Ours,
        Engine::C,
        Engine::Ours,
    ]
    .into_iter()
    .enumerate()
    {
        world.switch_to(engine);
        world.settle(&format!("turn {turn} of {engine:?}"));
        append(&mut imap, "INBOX", &[mail.small(), mail.any()]);
        imap.select("INBOX");
        imap.store(&format!("{}", turn + 1), "+FLAGS.SILENT (\\Seen \\Deleted)");
        imap.copy("3:4", FOLDERS[turn].0);
        imap.select(FOLDERS[turn + 1].0);
        imap.move_to("2", "INBOX");
    }
    world.settle("the last turn's changes");
}

#[test]
fn ours_takes_over_what_c_began_with_a_rename() {
    let Some(mut world) = World::new() else {
        return;
    };
    if !world.is_ours() {
        return;
    }
    let mut mail = Mail::new(12);
    let mut imap = world.source.add_user("anne");
    world.user("anne");
    fill(&mut imap, &mut mail, 40);
    world.switch_to(Engine::C);
    world.settle("C's first sync");
    imap.rename("INBOX/Sent", "INBOX/Outbox");
    imap.delete("INBOX/sp ace");
    world.sync("C's renames");
    // C's own verify fails on C's file now (O 10.5); ours has to go on from there and mend it by writing more.
    world.switch_to(Engine::Ours);
    append(&mut imap, "INBOX/Outbox", &[mail.small()]);
    world.sync("ours goes on");
    world.second_run_sends_nothing("ours goes on");
    world.c_lists_what_imap_has("ours goes on");
    world.c_reindexes_to_the_same("ours goes on");
}
