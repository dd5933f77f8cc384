//! C's restore and ours, the same command from the same backup into two servers of the same kind: what they say, and
//! what IMAP then shows. What differs on purpose is named by its number in docs/DIFFERENCES.md.

use crate::rig::{Append, Mail, Source, our_binary};
use crate::world::{World, content, see};

const C: &str = "/usr/lib/cyrus/bin/restore";

struct Pair {
    world: World,
    c: Source,
    ours: Source,
}

impl Pair {
    fn new() -> Option<Pair> {
        let world = World::new()?;
        let mut mail = Mail::new(11);
        let mut imap = world.source.add_user("anne");
        imap.create("INBOX/Sub");
        for (folder, flags) in [("INBOX", "\\Flagged work"), ("INBOX/Sub", "\\Seen")] {
            let bodies: Vec<Vec<u8>> = (0..5).map(|_| mail.small()).collect();
            let appends = bodies.iter().map(|body| Append {
                flags,
                date: Some("02-Mar-2026 10:00:00 +0000"),
                body,
            });
            imap.append(folder, &appends.collect::<Vec<_>>());
        }
        imap.select("INBOX");
        imap.expunge("2");
        imap.command("UNSELECT");
        world.sync(&["-u", "anne"]);
        let targets = [(); 2].map(|()| {
            let target = world.target(&["anne", "bob"]);
            target.admin().create("user/bob");
            target
        });
        let [c, ours] = targets;
        Some(Pair { world, c, ours })
    }

    /// Runs both; they must say the same on standard error and end the same. `SERVER` is each one's.
    #[track_caller]
    fn same(&self, line: &str) {
        let with =
            |target: &Source| line.replace("SERVER", &format!("127.0.0.1:{}", target.sync_port()));
        let theirs = self.world.restore_with(C, &with(&self.c));
        let ours = self
            .world
            .restore_with(our_binary("restore"), &with(&self.ours));
        assert_eq!((ours.code, ours.err), (theirs.code, theirs.err), "{line}");
    }

    #[track_caller]
    fn same_content(&self, user: &str, mailbox: &str) -> Vec<String> {
        let theirs = content(&mut self.c.imap(user), mailbox);
        let ours = content(&mut self.ours.imap(user), mailbox);
        assert_eq!(ours, theirs, "{mailbox}");
        ours
    }
}

#[test]
fn mailboxes_come_back_as_with_c() {
    let Some(pair) = Pair::new() else { return };
    pair.same("-v SERVER anne user/anne");
    pair.same("-v SERVER anne user/anne/Sub");
    assert_eq!(pair.same_content("anne", "INBOX").len(), 4);
    assert_eq!(pair.same_content("anne", "INBOX/Sub").len(), 5);
}

/// D60
#[test]
fn with_u_the_same_identity_and_more_of_it() {
    let Some(pair) = Pair::new() else { return };
    pair.same("-U -v SERVER anne user/anne");
    let folders = ["INBOX"];
    let source = see(&mut pair.world.source.imap("anne"), &folders);
    let theirs = see(&mut pair.c.imap("anne"), &folders);
    let ours = see(&mut pair.ours.imap("anne"), &folders);
    assert_eq!(ours, source);
    assert_eq!(
        theirs["INBOX"].len(),
        source["INBOX"].len(),
        "C keeps UIDs, too"
    );
}

/// D56
#[test]
fn a_second_run_doubles_nothing() {
    let Some(pair) = Pair::new() else { return };
    for _ in 0..2 {
        pair.same("-v SERVER anne user/anne user/anne/Sub");
    }
    assert_eq!(
        content(&mut pair.c.imap("anne"), "INBOX/Sub").len(),
        10,
        "C's does"
    );
    assert_eq!(content(&mut pair.ours.imap("anne"), "INBOX/Sub").len(), 5);
}

/// D57
#[test]
fn expunged_messages_become_visible() {
    let Some(pair) = Pair::new() else { return };
    pair.same("-v -x SERVER anne user/anne");
    assert_eq!(
        content(&mut pair.c.imap("anne"), "INBOX"),
        [""; 0],
        "C's stay invisible"
    );
    let back = content(&mut pair.ours.imap("anne"), "INBOX");
    assert_eq!(back.len(), 1);
    assert!(
        !back[0].contains("Deleted") && back[0].contains("work"),
        "{back:?}"
    );
}

/// D58, D59
#[test]
fn a_message_into_another_mailbox_keeps_date_and_flags() {
    let Some(pair) = Pair::new() else { return };
    let guid = pair.world.source.imap("anne").messages("INBOX")[0]
        .guid
        .clone();
    pair.same(&format!("-v -M user.bob.New SERVER anne {guid}"));
    let bob = pair.ours.imap("bob").bodies("INBOX/New");
    assert_eq!(bob.len(), 1);
    assert!(
        bob[0].internaldate.starts_with("02-Mar-2026")
            || bob[0].internaldate.starts_with(" 2-Mar-2026"),
        "{bob:?}"
    );
    assert!(bob[0].flags.contains(&"work".to_owned()), "{bob:?}");
    // The whole folder: anne's rights are of no use to bob.
    pair.same("-v -M user.bob.Folder SERVER anne user/anne/Sub");
    assert!(
        !pair
            .c
            .imap("bob")
            .list()
            .contains(&"INBOX/Folder".to_owned()),
        "C's is anne's"
    );
    assert_eq!(pair.ours.imap("bob").messages("INBOX/Folder").len(), 5);
}

#[test]
fn local_operations_only() {
    let Some(pair) = Pair::new() else { return };
    pair.same("-L -v SERVER anne user/anne");
    assert_eq!(pair.same_content("anne", "INBOX").len(), 4);
}

/// Without our tables in the index.
#[test]
fn what_c_wrote_comes_back_too() {
    let Some(pair) = Pair::new() else { return };
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/fixtures/carol");
    let copy = pair.world.backup.instance.dir().join("carol");
    for suffix in ["", ".index"] {
        let copy = format!("{}{suffix}", copy.display());
        std::fs::copy(format!("{fixture}{suffix}"), &copy).unwrap();
        pair.world.backup.instance.give_to_cyrus(copy.as_ref());
    }
    for target in [&pair.c, &pair.ours] {
        target.instance.add_password("carol", crate::rig::PASSWORD);
    }
    pair.same(&format!(
        "-v -f {} SERVER user/carol user/carol/Sub",
        copy.display()
    ));
    assert_eq!(pair.ours.admin().list(), pair.c.admin().list());
    let messages = |target: &Source| {
        let mut admin = target.admin();
        admin.set_acl("user/carol", "admin", "lrs");
        content(&mut admin, "user/carol")
    };
    assert_eq!(messages(&pair.ours), messages(&pair.c));
    let server = format!("127.0.0.1:{}", pair.ours.sync_port());
    let again = pair
        .world
        .restored(&format!("-a --everything -f {} {server}", copy.display()));
    assert!(again.starts_with("restored: 0 messages"), "{again}");
    assert!(again.contains("set: subscriptions (1)"), "{again}");
}
