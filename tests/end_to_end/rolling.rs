//! `sync_client -r`: the client follows the server's log, as installations run it.

use crate::folders::{append, fill};
use crate::rig::Mail;
use crate::world::World;

#[test]
fn rolling_replication_keeps_up() {
    let Some(mut world) = World::new() else {
        return;
    };
    let mut mail = Mail::new(21);
    world.user("anne");
    world.user("bob");
    world.shared("team");
    let mut anne = world.source.add_user("anne");
    let mut bob = world.source.add_user("bob");
    let mut rolling = world.source.roll();
    fill(&mut anne, &mut mail, 60);
    append(&mut bob, "INBOX", &[mail.small(), mail.small()]);
    world.source.admin().create("team");
    world
        .source
        .admin()
        .set_acl("team", "anyone", "lrswipkxtecdan");
    rolling.settle();
    world.check("rolling: first mail");

    append(&mut bob, "team", &[mail.small()]);
    anne.select("INBOX");
    anne.store("1:3", "+FLAGS.SILENT (\\Seen)");
    anne.move_to("2", "INBOX/Sent");
    anne.copy("1", "team");
    rolling.settle();
    world.check("rolling: flags, move, copy");

    anne.rename("INBOX/Archive", "INBOX/Attic");
    anne.delete("INBOX/sp ace");
    anne.subscribe("INBOX/Sent");
    let mut sieve = world.source.sieve("anne");
    sieve.put("script", "keep;");
    sieve.activate("script");
    world.source.admin().set_quota("user/bob", "STORAGE 100000");
    rolling.settle();
    // C's backupd keeps the lock while the client is idle (W 14, 15); from ours every tool may have it.
    let rolling = world.is_ours().then_some(rolling);
    world.check("rolling: rename, delete, subscribe, sieve, quota");
    drop(rolling);

    world.second_run_sends_nothing("after rolling");
}

#[test]
fn sieve_mode() {
    let Some(mut world) = World::new() else {
        return;
    };
    let mut imap = world.source.add_user("anne");
    append(&mut imap, "INBOX", &[Mail::new(22).small()]);
    world.user("anne");
    world.settle("first sync");
    world.source.sieve("anne").put("script", "keep;");
    let run = world.source.sync(&["-s", "anne"]);
    assert_eq!(run.code, Some(0), "sync_client -s\n{}{}", run.out, run.err);
    let sent: Vec<String> = world
        .proxy
        .take()
        .iter()
        .flat_map(|transcript| transcript.commands("APPLY SIEVE "))
        .collect();
    assert_eq!(sent.len(), 1, "{sent:?}");
    world.second_run_sends_nothing("after -s");
    world.check("after -s");
}
