//! Parts of a backup, each compared with what IMAP had then: one message, a folder, a tree, a deleted folder, what
//! was expunged, somebody else's folder, a moment in the past.

use crate::rig::{Append, Imap, Mail, Source};
use crate::world::{World, ask, content};

fn append(imap: &mut Imap, mailbox: &str, bodies: &[Vec<u8>], flags: &str) {
    let appends: Vec<Append<'_>> = bodies
        .iter()
        .map(|body| Append {
            flags,
            date: Some("02-Mar-2026 10:00:00 +0000"),
            body,
        })
        .collect();
    imap.append(mailbox, &appends);
}

fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap().as_secs() as i64
}

/// A moment between what was and what comes: the backup counts in whole seconds.
fn moment() -> i64 {
    let moment = now();
    while now() == moment {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    moment
}

#[test]
fn every_part_comes_back_as_it_was() {
    let Some(world) = World::new() else { return };
    let mut mail = Mail::new(5);
    let mut imap = world.source.add_user("anne");
    let mut bodies: Vec<Vec<u8>> = (0..12).map(|_| mail.small()).collect();
    for folder in ["INBOX/P", "INBOX/P/Q", "INBOX/P/Q/R", "INBOX/Other"] {
        imap.create(folder);
    }
    append(&mut imap, "INBOX", &bodies[..6], "\\Seen work");
    append(&mut imap, "INBOX/P", &bodies[6..8], "\\Flagged");
    append(&mut imap, "INBOX/P/Q", &bodies[8..9], "");
    append(&mut imap, "INBOX/P/Q/R", &bodies[9..11], "");
    append(&mut imap, "INBOX/Other", &bodies[11..12], "");
    world.sync(&["-u", "anne"]);
    let whole = |imap: &mut Imap| {
        let names = [
            "INBOX",
            "INBOX/P",
            "INBOX/P/Q",
            "INBOX/P/Q/R",
            "INBOX/Other",
        ];
        names.map(|name| content(imap, name))
    };
    let [inbox, p, q, r, _] = whole(&mut imap);
    let before_move = moment();

    imap.select("INBOX");
    imap.move_to("1:2", "INBOX/Other");
    world.sync(&["-u", "anne"]);
    let after_move = moment();
    let [moved_inbox, .., moved_other] = whole(&mut imap);
    imap.select("INBOX");
    imap.expunge("3:4");
    imap.delete("INBOX/P/Q/R");
    world.sync(&["-u", "anne"]);
    let expunged: Vec<_> = inbox
        .iter()
        .filter(|line| !content(&mut imap, "INBOX").contains(line) && !moved_other.contains(line))
        .cloned()
        .collect();
    assert_eq!(expunged.len(), 2);

    let target = world.target(&["anne", "bob"]);
    target.admin().create("user/anne");
    target.admin().create("user/bob");
    let server = format!("127.0.0.1:{}", target.sync_port());
    let mut anne = target.imap("anne");

    // One message, with its flags and date, where it was and elsewhere.
    let guid = imap.messages("INBOX/P")[0].guid.clone();
    world.restored(&format!("{server} anne {guid}"));
    assert_eq!(
        content(&mut anne, "INBOX/P"),
        p.iter()
            .filter(|l| l.starts_with(&guid))
            .cloned()
            .collect::<Vec<_>>()
    );
    world.restored(&format!("-M user/anne/One {server} anne {guid}"));
    assert_eq!(content(&mut anne, "INBOX/One").len(), 1);
    assert!(
        p.contains(&content(&mut anne, "INBOX/One")[0]),
        "date and flags are kept"
    );

    // The rest of the folder; the one that is there is not doubled.
    let said = world.restored(&format!("{server} anne user/anne/P"));
    assert!(said.contains("left out: 1 messages"), "{said}");
    assert_eq!(content(&mut anne, "INBOX/P"), p);

    // A tree: living folders only, beside the living one.
    world.restored(&format!(
        "-r --into user/anne/RESTORED {server} anne user/anne/P"
    ));
    assert_eq!(content(&mut anne, "INBOX/RESTORED/P"), p);
    assert_eq!(content(&mut anne, "INBOX/RESTORED/P/Q"), q);
    assert!(!anne.list().contains(&"INBOX/RESTORED/P/Q/R".to_owned()));

    // Beside, under a name as people write it. The server has these bodies: none is sent again.
    let said = world.restored(&format!(
        "--json --into user/anne/Zur\u{fc}ck {server} anne user/anne/P"
    ));
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let counts = ["restored", "bodies_sent"].map(|key| said[key].as_u64());
    assert_eq!(counts, [Some(2), Some(0)]);
    assert_eq!(content(&mut anne, "INBOX/Zur&APw-ck/P"), p);

    // The deleted folder, by the name it had.
    world.restored(&format!("{server} anne user/anne/P/Q/R"));
    assert_eq!(content(&mut anne, "INBOX/P/Q/R"), r);
    world.restored(&format!(
        "--deleted-since @{} --into user/anne/Gone {server} anne",
        after_move + 1
    ));
    assert_eq!(content(&mut anne, "INBOX/Gone/P/Q/R"), r);

    // And as the deleted folder that it is, where only an administrator sees it.
    world.restored(&format!("-D {server} anne user/anne/P/Q/R"));
    let listed = target.admin().list();
    let deleted = |name: &&String| name.starts_with("DELETED/user/anne/P/Q/R/");
    assert_eq!(listed.iter().filter(deleted).count(), 1, "{listed:?}");

    // What was expunged since then; it is visible and not \Deleted.
    world.restored(&format!(
        "--expunged-since @{} --into user/anne/Back {server} anne user/anne",
        after_move + 1
    ));
    assert_eq!(content(&mut anne, "INBOX/Back"), expunged);
    world.restored(&format!(
        "-x --into user/anne/Back2 {server} anne user/anne"
    ));
    let all_expunged = content(&mut anne, "INBOX/Back2");
    assert_eq!(
        all_expunged.len(),
        4,
        "moved away counts as expunged: {all_expunged:#?}"
    );

    // Somebody else's folder into mine: readable there.
    world.restored(&format!(
        "--into user/bob/FromAnne {server} anne user/anne/P"
    ));
    assert_eq!(content(&mut target.imap("bob"), "INBOX/FromAnne/P"), p);

    // Before and after the move.
    world.restored(&format!(
        "--at @{before_move} -X --into user/anne/Before {server} anne user/anne"
    ));
    assert_eq!(content(&mut anne, "INBOX/Before"), inbox);
    world.restored(&format!(
        "--at @{after_move} -X --into user/anne/After {server} anne user/anne user/anne/Other"
    ));
    assert_eq!(content(&mut anne, "INBOX/After"), moved_inbox);
    assert_eq!(content(&mut anne, "INBOX/After/Other"), moved_other);

    // What was moved away, by the time of it; later nothing was moved.
    let moved: Vec<_> = inbox
        .iter()
        .filter(|line| !moved_inbox.contains(line))
        .cloned()
        .collect();
    let between = format!(
        "--expunged-since @{} --expunged-until @{}",
        before_move + 1,
        after_move + 1
    );
    let said = world.restored(&format!(
        "{between} --into user/anne/Moved {server} anne user/anne"
    ));
    assert!(said.starts_with("restored: 2 "), "{said}");
    assert_eq!(content(&mut anne, "INBOX/Moved"), moved);
    let none = format!("--deleted-until @{after_move} -n {server} anne");
    assert!(!world.restore(&none).out.contains("user/anne/P/Q/R"));
    let some = format!("--deleted-until @{} -n {server} anne", now() + 1);
    assert!(world.restored(&some).contains("user/anne/P/Q/R"));

    // By what stands in headers: number 7 is the one in P whose subject is Gr\u{fc}\u{df}e, encoded.
    let seventh = cyrusbackup::types::Guid::of(&bodies[6]).to_string();
    for (place, criteria, found) in [
        ("S1", "--subject gr\u{fc}\u{df}e", 1),
        (
            "S2",
            "--from anne@example --since 2026-03-02 --before 2026-03-03",
            2,
        ),
        ("S3", "--to bob@example --since 2026-03-03", 0),
        ("S4", "--from bob@example", 0),
    ] {
        let line = format!("{criteria} -r --into user/anne/{place} {server} anne user/anne/P");
        let said = world.restore(&line);
        let there = format!("INBOX/{place}/P");
        let back = match anne.list().contains(&there) {
            true => content(&mut anne, &there),
            false => Vec::new(),
        };
        assert_eq!(back.len(), found, "{criteria}: {said:?}");
        assert!(back.iter().all(|line| p.contains(line)), "{criteria}");
        assert!(found != 1 || back[0].starts_with(&seventh), "{criteria}");
    }
    bodies.truncate(1);
    let text = String::from_utf8_lossy(&bodies[0]).into_owned();
    let id = text
        .split("Message-ID: <")
        .nth(1)
        .unwrap()
        .split('>')
        .next()
        .unwrap()
        .to_owned();
    world.restored(&format!(
        "--message-id {id} --not-expunged --into user/anne/Found {server} anne"
    ));
    assert_eq!(content(&mut anne, "INBOX/Found/Other").len(), 1);
    assert_eq!(
        ask(&mut anne, &["STATUS INBOX (MESSAGES)"]),
        ["* STATUS INBOX (MESSAGES 0)"]
    );
}

#[test]
fn acls_and_annotations_of_what_exists_change_only_when_asked_for() {
    let Some(world) = World::new() else { return };
    let mut mail = Mail::new(6);
    let mut imap = world.source.add_user("anne");
    imap.create("INBOX/A");
    append(&mut imap, "INBOX/A", &[mail.small()], "");
    imap.set_metadata("INBOX/A", "/shared/comment", "old words");
    imap.set_acl("INBOX/A", "bob", "lrs");
    world.sync(&["-u", "anne"]);

    let target = world.target(&["anne"]);
    target.admin().create("user/anne");
    let mut anne = target.imap("anne");
    anne.create("INBOX/A");
    anne.set_metadata("INBOX/A", "/shared/comment", "new words");
    let server = format!("127.0.0.1:{}", target.sync_port());
    let commands = ["GETMETADATA INBOX/A /shared/comment", "GETACL INBOX/A"];
    let before = ask(&mut anne, &commands);
    world.restored(&format!("{server} anne user/anne/A"));
    assert_eq!(ask(&mut anne, &commands), before);
    let said = world.restored(&format!("--acl --annotations {server} anne user/anne/A"));
    assert!(
        said.contains("set: acl (1)") && said.contains("set: annotations (1)"),
        "{said}"
    );
    assert_eq!(ask(&mut anne, &commands), ask(&mut imap, &commands));
    assert_eq!(content(&mut anne, "INBOX/A").len(), 1);
    // A new mailbox gets both, and C's target would have crashed (csync 12.5).
    world.restored(&format!("--into user/anne/New {server} anne user/anne/A"));
    let told = ask(
        &mut anne,
        &[
            "GETMETADATA INBOX/New/A /shared/comment",
            "GETACL INBOX/New/A",
        ],
    );
    assert!(
        told[0].contains("old words") && told[1].contains("bob lrs"),
        "{told:?}"
    );
}

#[test]
fn who_is_there_with_another_identity_gets_new_uids_and_it_is_said() {
    let Some(world) = World::new() else { return };
    let mut mail = Mail::new(8);
    let mut imap = world.source.add_user("anne");
    append(&mut imap, "INBOX", &[mail.small(), mail.small()], "");
    imap.select("INBOX");
    imap.expunge("1");
    world.sync(&["-u", "anne"]);
    let target = world.target(&["anne"]);
    // As autocreate does when somebody logs in before the restore.
    target.admin().create("user/anne");
    let server = format!("127.0.0.1:{}", target.sync_port());
    let said = world.restored(&format!("-U -X {server} anne user/anne"));
    assert!(said.contains("new UIDs: user.anne, "), "{said}");
    // The second time nothing is missing; it is still not what was asked for.
    let again = world.restored(&format!("-U -X {server} anne user/anne"));
    assert!(
        again.contains("kept: user.anne as it is, since "),
        "{again}"
    );
    assert!(!again.contains("new UIDs"), "{again}");
    let plan = world.restored(&format!("-n --compare -U -X {server} anne user/anne"));
    assert!(plan.contains("; exists with another identity, "), "{plan}");
    // Without -U nobody asked for the identity.
    let again = world.restored(&format!("-X {server} anne user/anne"));
    assert!(!again.contains("kept:"), "{again}");
    assert_eq!(target.imap("anne").messages("INBOX")[0].uid, 1);
    assert_eq!(
        content(&mut target.imap("anne"), "INBOX"),
        content(&mut imap, "INBOX")
    );
}

#[test]
fn each_thing_that_is_no_message_comes_alone() {
    let Some(world) = World::new() else { return };
    let mut mail = Mail::new(7);
    let mut imap = world.source.add_user("anne");
    imap.subscribe("INBOX");
    let mut admin = world.source.admin();
    admin.set_quota("user/anne", "STORAGE 90000");
    admin.create("team");
    admin.set_acl("team", "anyone", "lrswipkxtecdan");
    append(&mut imap, "team", &[mail.small(), mail.small()], "");
    imap.select("team");
    imap.store("1", "+FLAGS.SILENT (\\Seen)");
    imap.command("UNSELECT");
    let mut sieve = world.source.sieve("anne");
    sieve.put("first", "keep;");
    sieve.activate("first");
    world.sync(&["-u", "anne"]);
    world.sync(&["-m", "team"]);
    let target = world.target(&["anne"]);
    target.admin().create("user/anne");
    let server = format!("127.0.0.1:{}", target.sync_port());
    world.restored(&format!("-U -a {server} %SHARED"));

    let things = [
        ("--sieve", "sieve script first.script"),
        ("--subscriptions", "subscription to user.anne"),
        ("--seen", "seen state of "),
        ("--quota", "quota of user.anne"),
    ];
    let had = beside_messages(&world.source);
    let mut has = beside_messages(&target);
    for (place, (option, described)) in things.iter().enumerate() {
        assert_ne!(has[place], had[place], "{option}");
        let plan = world.restored(&format!("-n {option} {server} anne"));
        for (other, text) in things {
            assert_eq!(plan.contains(text), other == *option, "{option}: {plan}");
        }
        assert_eq!(beside_messages(&target), has, "-n {option}");
        let said = world.restored(&format!("{option} {server} anne"));
        assert!(said.contains("set: "), "{option}: {described}: {said}");
        has[place] = had[place].clone();
        assert_eq!(beside_messages(&target), has, "{option}");
        let again = world.restored(&format!("{option} {server} anne"));
        assert!(!again.contains("set: "), "{option}: {again}");
    }
}

/// Scripts, subscriptions, what anne saw of the shared mailbox, quota.
fn beside_messages(server: &Source) -> [Vec<String>; 4] {
    let mut anne = server.imap("anne");
    [
        server.sieve("anne").ask("LISTSCRIPTS"),
        ask(&mut anne, &["LSUB \"\" \"*\""]),
        ask(&mut anne, &["STATUS team (UNSEEN)"]),
        ask(&mut anne, &["GETQUOTAROOT INBOX"])
            .iter()
            .map(|line| limit(line))
            .collect(),
    ]
}

/// `* QUOTA user/anne (STORAGE 3 90000)` without what is used of it.
fn limit(line: &str) -> String {
    let mut words: Vec<&str> = line.split(' ').collect();
    if words.len() == 6 {
        words.remove(4);
    }
    words.join(" ")
}
