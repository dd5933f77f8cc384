//! What is beside the live messages: deleted ones, deleted mailboxes, scripts, lists, and the other
//! ways to show it.

use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::Duration;

use cyrusbackup::types::Guid;

use crate::metadata::xattr;
use crate::support::{
    LOG_TIME, Mount, Scratch, can_mount, files, fixture, has, message, on_a_terminal, sh,
};

/// A MAILBOX line; `records` as (UID, octets, flags).
pub fn mailbox(name: &str, kind: &str, records: &[(u32, &[u8], &str)]) -> String {
    let record = |(uid, octets, flags): &(u32, &[u8], &str)| {
        format!(
            "%(UID {uid} MODSEQ {uid} LAST_UPDATED {LOG_TIME} FLAGS ({flags}) INTERNALDATE \
             1600000000 SIZE {} GUID {})",
            octets.len(),
            Guid::of(octets)
        )
    };
    let records: Vec<_> = records.iter().map(record).collect();
    format!(
        "MAILBOX %(UNIQUEID {} MBOXNAME {name} MBOXTYPE {kind} LAST_UID 9 HIGHESTMODSEQ 9 RECENTUID 0 \
         RECENTTIME 0 LAST_APPENDDATE 0 POP3_LAST_LOGIN 0 UIDVALIDITY 1 PARTITION default \
         ACL \"anne\tlrs\t\" OPTIONS P RECORD ({}))",
        Guid::of(name.as_bytes()),
        records.join(" ")
    )
}

fn anne() -> Scratch {
    let scratch = Scratch::empty("anne_AAAAAA");
    let bodies: Vec<_> = (0..5).map(|n| message(n, 500)).collect();
    let octets: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
    let inbox = [
        (1, octets[0], "\\Seen"),
        (2, octets[1], ""),
        (3, octets[2], "\\Flagged $x"),
    ];
    let copy = [(7, octets[0], "\\Seen")];
    let gone = [(1, octets[3], "")];
    let inbox = mailbox("user.anne", "NIL", &inbox);
    let lines = [
        inbox.as_str(),
        &mailbox("user.anne.Copy", "NIL", &copy),
        &mailbox("user.anne.Gone", "NIL", &gone),
        &mailbox(
            "DELETED.user.anne.Old.Sub.5F0A1B2C",
            "NIL",
            &[(4, octets[4], "")],
        ),
        "SUB %(USERID anne MBOXNAME user.anne.Copy)",
        "SIEVE %(USERID anne FILENAME vacation.script LAST_UPDATE 1500000000 CONTENT \"keep;\")",
    ];
    scratch.log(LOG_TIME, &octets, &lines);
    let unique = Guid::of(b"user.anne");
    let expunge = format!("EXPUNGE %(MBOXNAME user.anne UNIQUEID {unique} UID (2))");
    scratch.log(LOG_TIME + 60, &[], &[&expunge, "UNMAILBOX user.anne.Gone"]);
    scratch
}

#[test]
fn expunged_messages_and_deleted_mailboxes_have_their_own_places() {
    if !can_mount() {
        return;
    }
    let scratch = anne();
    let mount = Mount::new(&scratch.spec(), "ro");
    let found = files(mount.path())
        .into_iter()
        .filter(|path| !path.starts_with("chunks"));
    let found: Vec<_> = found
        .map(|path| path.to_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        found,
        [
            "deleted/Gone@2023-11-14T221420Z/1.eml",
            "deleted/Old/Sub@2020-07-11T200356Z/4.eml",
            "expunged/INBOX/2.eml",
            "mailboxes/Copy/7.eml",
            "mailboxes/INBOX/1.eml",
            "mailboxes/INBOX/3.eml",
            "mailboxes.json",
            "seen.json",
            "sieve/vacation.sieve",
            "subscriptions.txt",
        ]
    );
    assert!(mount.read("expunged/INBOX/2.eml").unwrap() == message(1, 500));
    assert!(mount.read("deleted/Gone@2023-11-14T221420Z/1.eml").unwrap() == message(3, 500));
    // C's index: UID 2 of INBOX is expunged, the mailbox Tmp is deleted.
    let carol = fixture("carol");
    let mount = Mount::new(&carol.spec(), "ro");
    assert_eq!(mount.list("expunged/INBOX"), ["2.eml"]);
    assert!(mount.list("deleted")[0].starts_with("Tmp@"));
}

#[test]
fn scripts_and_lists_are_files() {
    if !can_mount() {
        return;
    }
    let scratch = anne();
    let mount = Mount::new(&scratch.spec(), "ro");
    assert_eq!(mount.read("sieve/vacation.sieve").unwrap(), b"keep;");
    let script = mount.join("sieve/vacation.sieve").metadata().unwrap();
    assert_eq!((script.len(), script.mtime()), (5, 1_500_000_000));
    let text = |name: &str| String::from_utf8(mount.read(name).unwrap()).unwrap();
    assert_eq!(
        text("subscriptions.txt"),
        "# mailbox\tpath\nuser.anne.Copy\tmailboxes/Copy\n"
    );
    let all: serde_json::Value = serde_json::from_str(&text("mailboxes.json")).unwrap();
    let inbox = &all["mailboxes"][0];
    assert_eq!(inbox["path"], "mailboxes/INBOX");
    assert_eq!(inbox["acl"], "anne\tlrs\t");
    assert!(inbox["header"].as_str().unwrap().contains("UIDVALIDITY 1"));
    assert_eq!(
        all["mailboxes"][3]["path"],
        "deleted/Old/Sub@2020-07-11T200356Z"
    );
    let seen: serde_json::Value = serde_json::from_str(&text("seen.json")).unwrap();
    assert!(seen.is_array());
}

#[test]
fn calendars_and_address_books_show_their_objects() {
    if !can_mount() {
        return;
    }
    let scratch = Scratch::empty("anne_AAAAAA");
    let event =
        b"Content-Type: text/calendar\r\n\r\nBEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n".as_slice();
    let card =
        b"Content-Type: text/vcard; version=3.0\r\n\r\nBEGIN:VCARD\r\nEND:VCARD\r\n".as_slice();
    let lines = [
        mailbox("user.anne.#calendars.Default", "c", &[(1, event, "")]),
        mailbox("user.anne.#addressbooks.Default", "a", &[(1, card, "")]),
    ];
    scratch.log(LOG_TIME, &[event, card], &[&lines[0], &lines[1]]);
    let mount = Mount::new(&scratch.spec(), "ro");
    let calendar = "mailboxes/#calendars/Default";
    assert_eq!(mount.list(calendar), ["1.eml", "1.ics"]);
    assert_eq!(mount.read(&format!("{calendar}/1.eml")).unwrap(), event);
    let ics = mount.read(&format!("{calendar}/1.ics")).unwrap();
    assert_eq!(ics, b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n");
    let vcf = mount.read("mailboxes/#addressbooks/Default/1.vcf").unwrap();
    assert_eq!(vcf, b"BEGIN:VCARD\r\nEND:VCARD\r\n");
    // What Cyrus knows stands at the message.
    let guid = |name: &str| xattr(&mount.join(format!("{calendar}/{name}")), "user.cyrus.guid");
    assert_eq!(guid("1.eml"), Some(Guid::of(event).to_string()));
    assert_eq!(guid("1.ics"), None);
}

#[test]
fn one_message_in_several_mailboxes_is_one_file() {
    if !can_mount() {
        return;
    }
    let scratch = anne();
    let mount = Mount::new(&scratch.spec(), "ro");
    let meta = |path: &str| mount.join(path).metadata().unwrap();
    let (one, copy) = (meta("mailboxes/INBOX/1.eml"), meta("mailboxes/Copy/7.eml"));
    assert_eq!((one.ino(), one.nlink()), (copy.ino(), 2));
    let copy = mount.join("mailboxes/Copy/7.eml");
    assert_eq!(xattr(&copy, "user.cyrus.flags").as_deref(), Some("\\Seen"));
    assert_eq!(xattr(&copy, "user.cyrus.uid"), None);
    // rsync -H keeps it one file.
    if has("rsync") {
        let out = tempfile::tempdir().unwrap();
        let from = format!("{}/", mount.path().display());
        sh(Command::new("rsync").args(["-aH", &from]).arg(out.path()));
        let copied = out.path().join("mailboxes/INBOX/1.eml").metadata().unwrap();
        assert_eq!(copied.nlink(), 2);
        sh(Command::new("chmod").args(["-R", "u+w"]).arg(out.path()));
    }
}

#[test]
fn a_maildir_is_read_by_mutt_and_python() {
    if !can_mount() {
        return;
    }
    let scratch = anne();
    let mount = Mount::new(&scratch.spec(), "layout=maildir");
    let maildir = mount.join("Maildir");
    assert_eq!(mount.list("Maildir"), [".Copy", "cur", "new", "tmp"]);
    let names = mount.list("Maildir/cur");
    assert_eq!(names.len(), 2);
    assert!(
        names[0].ends_with(":2,S") && names[1].ends_with(":2,F"),
        "{names:?}"
    );
    let by_crate = maildir::Maildir::from(maildir.clone());
    let flags: Vec<_> = by_crate
        .list_cur()
        .map(|m| m.unwrap().flags().to_owned())
        .collect();
    assert_eq!(flags, ["S", "F"]);
    if has("python3") {
        let script = "import mailbox, sys\n\
                      box = mailbox.Maildir(sys.argv[1], create=False)\n\
                      print(sorted(m['Subject'] + ' ' + m.get_flags() for m in box), box.list_folders())\n";
        let said = sh(Command::new("python3").args(["-c", script]).arg(&maildir));
        assert_eq!(said, "['message 0 S', 'message 2 F'] ['Copy']\n");
    }
    if has("mutt") {
        // It asks no question if its own folder is there.
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("Mail")).unwrap();
        let mut mutt = Command::new("mutt");
        mutt.args(["-n", "-F", "/dev/null", "-R"])
            .args(["-e", "set index_format='%s/%Z/'", "-e", "push <exit>", "-f"])
            .arg(&maildir)
            .env("HOME", home.path());
        let (status, drawn) = on_a_terminal(&mutt, Duration::from_secs(120));
        assert!(status.success(), "{status}: {drawn}");
        assert!(
            drawn.contains("message 0/") && drawn.contains("message 2/"),
            "{drawn}"
        );
    }
}

/// As a user who is not root, since Dovecot opens no mail for root. What it wants to write goes elsewhere.
#[test]
fn a_maildir_is_opened_by_dovecot() {
    if !can_mount() || !nix::unistd::geteuid().is_root() || !has("doveadm") {
        return;
    }
    let scratch = anne();
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let (uid, gid) = (nobody.uid, nobody.gid);
    let options = format!("layout=maildir,allow_other,uid={uid},gid={gid}");
    let mount = Mount::new(&scratch.spec(), &options);
    let out = tempfile::tempdir().unwrap();
    let own = out.path().join("own");
    std::fs::create_dir(&own).unwrap();
    for dir in [out.path(), &own] {
        std::os::unix::fs::chown(dir, Some(uid.as_raw()), Some(gid.as_raw())).unwrap();
    }
    let (maildir, own) = (mount.join("Maildir"), own.display().to_string());
    let conf = out.path().join("dovecot.conf");
    let text = format!(
        "mail_location = maildir:{}:INDEX={own}:CONTROL={own}\nfirst_valid_uid = 1\nlog_path = /dev/stderr\n\
         base_dir = {own}/run\nssl = no\nmail_uid = {uid}\nmail_gid = {gid}\nmail_home = {own}\n",
        maildir.display()
    );
    std::fs::write(&conf, text).unwrap();
    let doveadm = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={uid}"));
        command.args([&format!("--regid={gid}"), "--clear-groups", "doveadm", "-c"]);
        sh(command
            .arg(&conf)
            .args(args)
            .env("HOME", &own)
            .env("USER", "nobody"))
    };
    let mut names: Vec<_> = doveadm(&["mailbox", "list"])
        .lines()
        .map(str::to_owned)
        .collect();
    names.sort();
    assert_eq!(names, ["Copy", "INBOX"]);
    let subjects = doveadm(&[
        "-f",
        "tab",
        "fetch",
        "hdr.subject flags",
        "mailbox",
        "INBOX",
        "all",
    ]);
    assert!(
        subjects.contains("message 0\t\\Seen") && subjects.contains("message 2\t\\Flagged"),
        "{subjects}"
    );
}

#[test]
fn chunks_can_be_shown_inflated() {
    if !can_mount() {
        return;
    }
    let scratch = anne();
    let mount = Mount::new(&scratch.spec(), "chunks=plain");
    let pieces = mount.list("chunks");
    assert_eq!(pieces, ["00000001.txt", "00000002.txt"]);
    let text: Vec<u8> = pieces
        .iter()
        .flat_map(|piece| mount.read(&format!("chunks/{piece}")).unwrap())
        .collect();
    let zcat = Command::new("zcat")
        .stdin(std::fs::File::open(scratch.path()).unwrap())
        .output();
    assert!(text == zcat.unwrap().stdout);
}
