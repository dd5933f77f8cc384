//! A big user, and then every kind of change, each followed by all of `World::settle`.

use crate::folders::{append, fill};
use crate::rig::Mail;
use crate::world::World;

#[test]
fn every_change_is_backed_up() {
    let Some(mut world) = World::new() else {
        return;
    };
    change_everything(&mut world, 330);
}

#[test]
fn two_thousand_messages() {
    let Some(mut world) = World::new() else {
        return;
    };
    world.be_thorough(false);
    change_everything(&mut world, 2000);
    world.be_thorough(true);
    world.settle("all changes of 2000 messages");
}

fn change_everything(world: &mut World, messages: usize) {
    let mut mail = Mail::new(messages as u64);
    let mut imap = world.source.add_user("anne.b");
    world.user("anne.b");
    fill(&mut imap, &mut mail, messages);
    world.settle("first sync");

    let bodies: Vec<_> = (0..5).map(|_| mail.any()).collect();
    append(&mut imap, "INBOX", &bodies);
    append(&mut imap, "INBOX/Entw&APw-rfe", &bodies[..2]);
    world.settle("append");

    imap.select("INBOX");
    imap.store("1:9", "+FLAGS.SILENT (\\Seen \\Flagged $Label1 NonJunk)");
    imap.store("3:5", "-FLAGS.SILENT (\\Seen custom)");
    world.settle("flags");

    imap.copy("1:20", "INBOX/Archive/2025");
    world.settle("copy");

    imap.move_to("21:24", "INBOX/&ZeVnLIqe-");
    world.settle("move");

    imap.expunge("25:27");
    imap.select("INBOX/Sent");
    imap.expunge("1:3,7");
    world.settle("expunge");

    imap.rename("INBOX/Archive/2024", "INBOX/Old &AOk-t&AOk-");
    world.settle("rename of a folder with children");

    imap.delete("INBOX/sp ace");
    world.settle("delayed delete");

    imap.create("INBOX/sp ace");
    append(&mut imap, "INBOX/sp ace", &[mail.small()]);
    world.settle("a new folder of the same name");

    imap.subscribe("INBOX");
    imap.subscribe("INBOX/Sent");
    imap.subscribe("INBOX/Entw&APw-rfe");
    world.settle("subscribe");
    imap.unsubscribe("INBOX/Sent");
    world.settle("unsubscribe");

    imap.set_acl("INBOX/Sent", "anyone", "lrs");
    imap.set_acl("INBOX/Archive", "bob", "lrswi");
    world.settle("acl");

    imap.set_metadata("INBOX/Sent", "/shared/comment", "what I sent");
    imap.set_metadata("INBOX", "/shared/comment", "for all");
    imap.select("INBOX/Archive");
    imap.annotate("2:4", "/comment", "look here");
    world.settle("annotations");

    world
        .source
        .admin()
        .set_quota("user/anne.b", "STORAGE 4000000 MESSAGE 100000");
    world.settle("quota");
    world
        .source
        .admin()
        .set_quota("user/anne.b", "STORAGE 5000000");
    world.settle("another quota");
    world.source.admin().set_quota("user/anne.b", "");
    world.settle("no quota");
}

#[test]
fn sieve_scripts() {
    let Some(mut world) = World::new() else {
        return;
    };
    let _imap = world.source.add_user("sue");
    world.user("sue");
    let mut sieve = world.source.sieve("sue");
    sieve.put("first", "keep;");
    world.settle("put");
    sieve.activate("first");
    world.settle("activate");
    // Lines make a literal, and what C writes as a literal Debian's C cannot read again (O 10.1).
    if world.is_ours() {
        sieve.put(
            "second",
            "# Gr\u{fc}\u{df}e\r\nrequire \"fileinto\";\r\nfileinto \"INBOX/Sent\";\r\n",
        );
        world.settle("put lines");
        sieve.activate("second");
        world.settle("activate another");
        sieve.delete("first");
        world.settle("delete");
    }
    sieve.put("third", "discard;");
    sieve.activate("");
    world.settle("deactivate");
    sieve.put("third", "stop;");
    world.settle("replace");
}

#[test]
fn shared_mailboxes() {
    let Some(mut world) = World::new() else {
        return;
    };
    let mut mail = Mail::new(3);
    let mut anne = world.source.add_user("anne");
    let mut bob = world.source.add_user("bob");
    world.user("anne");
    world.user("bob");
    for name in ["team", "team/dev", "team/Gr&APw-ppe"] {
        world.source.admin().create(name);
        world
            .source
            .admin()
            .set_acl(name, "anyone", "lrswipkxtecdan");
        let bodies: Vec<_> = (0..10).map(|_| mail.small()).collect();
        append(&mut anne, name, &bodies);
        world.shared(name);
    }
    world.settle("first sync of shared mailboxes");

    bob.select("team/dev");
    bob.store("1:4", "+FLAGS.SILENT (\\Seen)");
    bob.store("2", "+FLAGS.SILENT (\\Flagged)");
    world.settle("seen by another user");

    bob.copy("5:6", "INBOX");
    bob.move_to("7", "INBOX");
    world.settle("moved out of a shared mailbox");
}

#[test]
fn all_users() {
    let Some(mut world) = World::new() else {
        return;
    };
    let mut mail = Mail::new(4);
    for user in ["anne", "bob.c"] {
        let mut imap = world.source.add_user(user);
        world.user(user);
        append(&mut imap, "INBOX", &[mail.small(), mail.small()]);
    }
    let run = world.source.sync(&["-A"]);
    assert_eq!(run.code, Some(0), "sync_client -A\n{}{}", run.out, run.err);
    world.second_run_sends_nothing("after -A");
    world.check("after -A");
}

#[test]
fn a_message_moved_away_and_back_is_live() {
    let Some(mut world) = World::new() else {
        return;
    };
    if !world.is_ours() {
        return; // C reports it as expunged (O 10.2).
    }
    let mut mail = Mail::new(5);
    let mut imap = world.source.add_user("anne");
    world.user("anne");
    imap.create("INBOX/Other");
    append(
        &mut imap,
        "INBOX",
        &[mail.small(), mail.small(), mail.small()],
    );
    world.settle("first sync");
    imap.select("INBOX");
    imap.move_to("2", "INBOX/Other");
    world.settle("moved away");
    imap.select("INBOX/Other");
    imap.move_to("1", "INBOX");
    world.sync("moved back");
    world.second_run_sends_nothing("moved back");
    // C's reindex keeps "expunged" (O 10.2): its rows are not a measure here.
    world.backup.verify_with_c("moved back");
    world.c_lists_what_imap_has("moved back");
}

#[test]
fn an_intermediate_folder_is_kept() {
    let Some(mut world) = World::new() else {
        return;
    };
    if !world.is_ours() {
        return; // C refuses it (W 5.5).
    }
    let mut imap = world.source.add_user("anne");
    world.user("anne");
    imap.create("INBOX/only/children/here");
    append(
        &mut imap,
        "INBOX/only/children/here",
        &[Mail::new(6).small()],
    );
    world.settle("first sync");
    imap.rename("INBOX/only/children", "INBOX/only/others");
    world.settle("rename below it");
}

#[test]
fn compression_is_used_when_nothing_strips_it() {
    let Some(mut world) = World::new() else {
        return;
    };
    let mut imap = world.source.add_user("anne");
    append(&mut imap, "INBOX", &[Mail::new(7).small()]);
    world.user("anne");
    world.proxy.keep_compress();
    // -z: sync_client gives up when it cannot compress.
    let run = world.source.sync(&["-z", "-u", "anne"]);
    assert_eq!(run.code, Some(0), "sync_client -z\n{}{}", run.out, run.err);
    world.check("after a compressed session");
}

#[test]
fn plain_and_scram_log_in() {
    let Some(mut world) = World::new() else {
        return;
    };
    let mut imap = world.source.add_user("anne");
    append(&mut imap, "INBOX", &[Mail::new(8).small()]);
    world.user("anne");
    for mechanism in ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"] {
        world.source.force_mechanism(mechanism);
        let run = world.source.sync(&["-u", "anne"]);
        assert_eq!(run.code, Some(0), "{mechanism}: {}{}", run.out, run.err);
        let sessions = world.proxy.take();
        let logins: Vec<String> = sessions
            .iter()
            .flat_map(|transcript| transcript.commands("AUTHENTICATE "))
            .collect();
        assert_eq!(logins.len(), 1, "{mechanism}: {logins:?}");
        assert!(
            logins[0].starts_with(&format!("AUTHENTICATE {mechanism} ")),
            "{logins:?}"
        );
    }
}
