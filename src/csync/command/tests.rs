//! Commands by examples: what is taken, what is refused and in which words.

use super::*;
use crate::csync::dlist::{DlistRule, KvList, Literal};
use crate::types::{Guid, MboxName};

const EMPTY: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

fn name(name: &str) -> MboxName {
    MboxName::new(name).unwrap()
}

fn parsed(line: &str) -> Command<'_> {
    parse_command(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn refused(line: &str) -> CommandError {
    parse_command(line.as_bytes()).expect_err(line)
}

fn mailbox(items: &str) -> Result<MailboxUpdate<'static>, CommandError> {
    let line: &'static str = format!("MAILBOX %({items})").leak();
    match parse_apply(line.as_bytes())? {
        Apply::Mailbox(update) => Ok(update),
        other => panic!("{other:?}"),
    }
}

fn records(list: &str) -> Result<Vec<Record>, CommandError> {
    mailbox(&format!("UNIQUEID u MBOXNAME user.x RECORD {list}"))?
        .records
        .iter()
        .collect()
}

#[test]
fn verbs_in_any_case() {
    assert_eq!(parsed("noop"), Command::Noop);
    assert_eq!(parsed("Restart "), Command::Restart);
    assert_eq!(parsed("EXIT"), Command::Exit);
    assert_eq!(parsed("starttls"), Command::Starttls);
    assert_eq!(
        parsed("compress DEFLATE"),
        Command::Compress("DEFLATE".into())
    );
    for empty in ["", " ", " NOOP"] {
        assert_eq!(parsed(empty), Command::Empty);
    }
    assert_eq!(parsed("C01 CAPABILITY"), Command::Unknown("C01".into()));
    assert_eq!(
        parsed("get User anne"),
        Command::Get(Get::User("anne".into()))
    );
    assert_eq!(
        parsed("apply unuser anne"),
        Command::Apply(Apply::Unuser("anne".into()))
    );
}

#[test]
fn authentication_arguments() {
    let command = |mech: &str, initial: Option<&str>| {
        let (mech, initial) = (mech.to_owned(), initial.map(str::to_owned));
        Command::Authenticate { mech, initial }
    };
    assert_eq!(parsed("authenticate plain"), command("PLAIN", None));
    assert_eq!(
        parsed("AUTHENTICATE SCRAM-SHA-1 ="),
        command("SCRAM-SHA-1", Some("="))
    );
    assert_eq!(
        parsed("AUTHENTICATE PLAIN AHJl"),
        command("PLAIN", Some("AHJl"))
    );
    assert_eq!(
        refused("AUTHENTICATE \"PLAIN\""),
        CommandError::InvalidMechanism
    );
}

#[test]
fn wrong_arguments_are_told_in_the_words_of_c() {
    for (line, words) in [
        ("NOOP x", "Unexpected extra arguments to Noop"),
        ("COMPRESS", "Missing required argument to Compress"),
        ("COMPRESS A B", "Unexpected extra arguments to Compress"),
        ("AUTHENTICATE", "Missing required argument to Authenticate"),
        (
            "AUTHENTICATE A B C",
            "Unexpected extra arguments to Authenticate",
        ),
        ("AUTHENTICATE \"A\"", "Invalid mechanism"),
        (
            "GET USER",
            "Failed to parse GET line: offset 8: a value is missing",
        ),
        (
            "GET",
            "Failed to parse GET line: offset 3: a value is missing",
        ),
        (
            "APPLY",
            "Failed to parse APPLY line: offset 5: a value is missing",
        ),
        (
            "APPLY SUB %(A",
            "Failed to parse APPLY line: offset 13: a value is missing",
        ),
        (
            "RESTORE MAILBOX (",
            "Failed to parse RESTORE line: offset 17: a list is not closed",
        ),
        (
            "GET USER a b",
            "Failed to parse GET line: offset 11: unexpected text after the value",
        ),
        ("GET USER NIL", "bad parameters: USER is no UTF-8 text"),
        ("GET USER (a)", "bad parameters: USER is no UTF-8 text"),
        (
            "APPLY SUB %(USERID a)",
            "bad parameters: MBOXNAME is missing",
        ),
        ("APPLY SUB x", "bad parameters: SUB needs a key-value list"),
    ] {
        assert_eq!(refused(line).to_string(), words, "{line}");
    }
}

#[test]
fn get_commands() {
    let get = |line: &str| match parse_command(format!("GET {line}").as_bytes()) {
        Ok(Command::Get(get)) => get,
        other => panic!("{other:?}"),
    };
    let two = vec![name("user.a"), name("user.a.b c")];
    assert_eq!(
        get("MAILBOXES (user.a \"user.a.b c\")"),
        Get::Mailboxes(two)
    );
    assert_eq!(
        get("MAILBOXES user.a"),
        Get::Mailboxes(vec![name("user.a")])
    );
    assert_eq!(get("MAILBOXES ()"), Get::Mailboxes(vec![]));
    assert_eq!(get("FULLMAILBOX user.a"), Get::FullMailbox(name("user.a")));
    assert_eq!(get("META {4+}\r\nanne"), Get::Meta("anne".into()));
    assert_eq!(get("QUOTA user.a"), Get::Quota("user.a".into()));
    assert_eq!(get("ANNOTATION \"\""), Get::Annotation(String::new()));
    assert_eq!(
        get("UNIQUEIDS (a b)"),
        Get::UniqueIds(vec!["a".into(), "b".into()])
    );
    let sieve = Get::FetchSieve {
        userid: "a".into(),
        filename: "x.script".into(),
    };
    assert_eq!(get("FETCH_SIEVE %(USERID a FILENAME x.script)"), sieve);
    let fetch = format!("FETCH %(MBOXNAME user.a PARTITION NIL UNIQUEID u GUID {EMPTY} UID 7)");
    let Get::Fetch {
        mboxname,
        partition: None,
        uniqueid,
        guid,
        uid: 7,
    } = get(&fetch)
    else {
        panic!("{fetch}")
    };
    assert_eq!(
        (mboxname, uniqueid.as_str(), guid),
        (name("user.a"), "u", Guid::of(b""))
    );
    assert_eq!(get("Fancy (a)"), Get::Unknown("FANCY".into()));
}

#[test]
fn messages_are_files_or_nil() {
    let file = format!("%{{default {EMPTY} 0}}\r\n");
    let count = |list: &str| match parse_apply(format!("MESSAGE {list}").as_bytes())? {
        Apply::Message(elements) => Ok(elements.len()),
        other => panic!("{other:?}"),
    };
    assert_eq!(count("()"), Ok(0));
    assert_eq!(count(&format!("(NIL {file} {file})")), Ok(3));
    for bad in ["(x)", "x", "NIL", "%()"] {
        assert!(
            matches!(count(bad), Err(CommandError::BadParameters { .. })),
            "{bad}"
        );
    }
}

#[test]
fn files_elsewhere_are_bad_parameters() {
    let file = format!("%{{default {EMPTY} 0}}\r\n");
    for line in [
        format!("GET USER {file}"),
        format!("APPLY UNUSER {file}"),
        format!("APPLY SIEVE %(USERID u FILENAME f LAST_UPDATE 1 CONTENT {file})"),
        format!("APPLY MAILBOX %(UNIQUEID u MBOXNAME user.x X {file} RECORD ())"),
        format!("APPLY MAILBOX %(UNIQUEID u MBOXNAME user.x RECORD (%(UID 1 X {file})))"),
    ] {
        let error = refused(&line);
        assert!(
            matches!(error, CommandError::BadParameters { .. }),
            "{line}: {error}"
        );
    }
}

/// Every command once as C's client writes it; what is printed is what came.
#[test]
fn apply_commands_round_trip() {
    for line in [
        &format!("RESERVE %(PARTITION default MBOXNAME (user.a user.b) GUID ({EMPTY}))"),
        &format!("MESSAGE (NIL %{{default {EMPTY} 0}}\r\n)"),
        "MAILBOX %(UNIQUEID u MBOXNAME user.a ACL \"anne\tlrs\t\" X-NEW (a %()) RECORD ())",
        "MAILBOX %(UNIQUEID u MBOXNAME user.a SINCE_MODSEQ 5 SINCE_CRC 6 SINCE_CRC_ANNOT 7 RECORD ())",
        "MAILBOX %(JMAPID NIL UNIQUEID u MBOXNAME user.a MBOXTYPE ei HIGHESTMODSEQ 7)",
        "UNMAILBOX \"user.a.b c\"",
        "RENAME %(OLDMBOXNAME user.a NEWMBOXNAME user.b PARTITION NIL UIDVALIDITY 7)",
        "RENAME %(OLDMBOXNAME user.a NEWMBOXNAME user.a PARTITION p2 UIDVALIDITY 7)",
        "EXPUNGE %(MBOXNAME user.a UNIQUEID u UID (1 2 4294967295))",
        "SUB %(USERID a.b MBOXNAME user.a^b.Sent)",
        "UNSUB %(USERID anne MBOXNAME user.anne.Sent)",
        "SEEN %(USERID c UNIQUEID u LASTREAD 1795458722 LASTUID 1 LASTCHANGE 1 SEENUIDS 1:5,7)",
        "SEEN %(USERID c UNIQUEID u LASTREAD 0 LASTUID 0 LASTCHANGE 0 SEENUIDS \"\")",
        "QUOTA %(ROOT user.anne LIMIT 4294967295 STORAGE 10000 MESSAGE 500 MODSEQ 32)",
        "UNQUOTA user.anne",
        "SIEVE %(USERID a FILENAME x.script LAST_UPDATE 5 CONTENT {4}\r\n\0\r\n\")",
        "UNSIEVE %(USERID a FILENAME x.script)",
        "ACTIVATE_SIEVE %(USERID a FILENAME x.bc)",
        "UNACTIVATE_SIEVE %(USERID a)",
        "ANNOTATION %(MBOXNAME \"\" ENTRY /comment USERID \"\" VALUE {5}\r\ncafé)",
        "UNANNOTATION %(MBOXNAME user.a ENTRY /comment USERID a)",
        "UNUSER NIL.x",
        "FORCE %()",
        "CAPABILITIES (SIEVE-MAILBOX REPLICATION-ARCHIVE)",
    ] {
        let apply = parse_apply(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(line.starts_with(apply.name()));
        assert!(!matches!(apply, Apply::Unknown(_)), "{line}");
        let mut printed = Vec::new();
        apply.print(&mut printed, Literal::Sync).unwrap();
        assert_eq!(String::from_utf8(printed).unwrap(), line);
    }
}

#[test]
fn local_names_and_unknown_ones() {
    let apply = |line: &'static str| parse_apply(line.as_bytes()).unwrap();
    assert_eq!(
        apply("LOCAL_UNMAILBOX user.a"),
        Apply::Unmailbox(name("user.a"))
    );
    assert_eq!(apply("local_unuser a"), Apply::Unuser("a".into()));
    let rename = "RENAME %(OLDMBOXNAME user.a NEWMBOXNAME user.b PARTITION p UIDVALIDITY 1)";
    let local: &'static str = format!("LOCAL_{rename}").leak();
    assert_eq!(apply(local), parse_apply(rename.as_bytes()).unwrap());
    let Apply::Mailbox(update) = apply("LOCAL_MAILBOX %(UNIQUEID u MBOXNAME user.a RECORD ())")
    else {
        panic!()
    };
    assert!(update.local);
    assert_eq!(apply("LOCAL_SUB x"), Apply::Unknown("LOCAL_SUB".into()));
    assert_eq!(
        apply("Teleport (not even closed"),
        Apply::Unknown("TELEPORT".into())
    );
}

#[test]
fn a_mailbox_needs_identity_name_and_records() {
    assert!(
        mailbox("UNIQUEID u MBOXNAME user.x RECORD ()")
            .unwrap()
            .records
            .is_present()
    );
    let intermediate = mailbox("UNIQUEID u MBOXNAME user.x MBOXTYPE ei").unwrap();
    assert!(!intermediate.records.is_present());
    assert_eq!(intermediate.records.iter().count(), 0);
    for (items, key) in [
        ("MBOXNAME user.x RECORD ()", "UNIQUEID"),
        ("UNIQUEID NIL MBOXNAME user.x RECORD ()", "UNIQUEID"),
        ("UNIQUEID \"\" MBOXNAME user.x RECORD ()", "UNIQUEID"),
        ("UNIQUEID {1}\r\n\n MBOXNAME user.x RECORD ()", "UNIQUEID"),
        ("UNIQUEID u RECORD ()", "MBOXNAME"),
        ("UNIQUEID u MBOXNAME {1}\r\n\0 RECORD ()", "MBOXNAME"),
        ("uniqueid u MBOXNAME user.x RECORD ()", "UNIQUEID"),
        ("UNIQUEID u MBOXNAME user.x", "RECORD"),
        ("UNIQUEID u MBOXNAME user.x MBOXTYPE e", "RECORD"),
        ("UNIQUEID u MBOXNAME user.x RECORD NIL", "RECORD"),
        ("UNIQUEID u MBOXNAME user.x RECORD %()", "RECORD"),
        (
            "UNIQUEID u MBOXNAME user.x LAST_UID x RECORD ()",
            "LAST_UID",
        ),
        (
            "UNIQUEID u MBOXNAME user.x LAST_UID 4294967296 RECORD ()",
            "LAST_UID",
        ),
        (
            "UNIQUEID u MBOXNAME user.x HIGHESTMODSEQ 18446744073709551616 RECORD ()",
            "HIGHESTMODSEQ",
        ),
        (
            "UNIQUEID u MBOXNAME user.x SINCE_MODSEQ x RECORD ()",
            "SINCE_MODSEQ",
        ),
    ] {
        match mailbox(items) {
            Err(CommandError::BadParameters { key: found, .. }) => {
                assert_eq!(found, key, "{items}")
            }
            other => panic!("{items}: {other:?}"),
        }
    }
}

#[test]
fn the_header_is_kept_in_order_and_without_records() {
    let update = mailbox(
        "RECORD (%(UID 1)) Z 1 UNIQUEID u SINCE_MODSEQ 8 MBOXNAME user.x \
         SINCE_CRC 9 A {3+}\r\na\0b Z 2 RECORD () SINCE_CRC_ANNOT NIL",
    )
    .unwrap();
    let keys: Vec<&str> = update
        .header
        .0
        .iter()
        .map(|(key, _)| key.as_str())
        .collect();
    assert_eq!(keys, ["Z", "UNIQUEID", "MBOXNAME", "A", "Z"]);
    assert_eq!(
        update.header.get("A").unwrap().as_bytes(),
        Some(&b"a\0b"[..])
    );
    assert_eq!(
        update.since,
        Some(Since {
            modseq: 8,
            crc: Some(9),
            crc_annot: None
        })
    );
    // The first of equal keys wins.
    assert_eq!(update.records.iter().count(), 1);
    assert!(!update.local);
}

#[test]
fn records_in_any_key_order() {
    let list = format!(
        "(%(GUID {EMPTY} FLAGS (\\Deleted \\Answered \\Expunged \\Seen NIL a]b) X (1) SIZE 9 \
         INTERNALDATE 18446744073709551615 LAST_UPDATED 5 MODSEQ 18446744073709551615 UID 7 UID 8 \
         ANNOTATIONS (%(ENTRY /e USERID NIL VALUE {{1+}}\r\n\0))))"
    );
    let record = records(&list).unwrap().remove(0);
    assert_eq!(
        (record.uid, record.modseq, record.size),
        (7, u64::MAX, Some(9))
    );
    assert_eq!((record.last_updated, record.internaldate), (5, -1));
    assert_eq!(
        record.flags,
        ["\\Deleted", "\\Answered", "\\Seen", "NIL", "a]b"]
    );
    assert!(record.expunged);
    let mut other = KvList::default();
    other.push("X", Value::List(vec![Value::number(1)]));
    assert_eq!(record.other, other);
    let mut printed = Vec::new();
    record.print(&mut printed, Literal::Sync);
    let wanted = format!(
        "%(UID 7 MODSEQ 18446744073709551615 LAST_UPDATED 5 \
         FLAGS (\\Deleted \\Answered \\Expunged \\Seen \"NIL\" a]b) \
         INTERNALDATE 18446744073709551615 SIZE 9 GUID {EMPTY} \
         ANNOTATIONS (%(ENTRY /e USERID NIL VALUE {{1}}\r\n\0)) X (1))"
    );
    assert_eq!(String::from_utf8(printed).unwrap(), wanted);
}

/// A flag with a space or parenthesis in it must not become two when it is printed.
#[test]
fn regression_strange_flags_stay_one_word() {
    let list = format!(
        "(%(UID 1 MODSEQ 1 LAST_UPDATED 1 FLAGS (\"a b\" \"c)\") INTERNALDATE 1 GUID {EMPTY}))"
    );
    let record = records(&list).unwrap().remove(0);
    let mut printed = b"(".to_vec();
    record.print(&mut printed, Literal::Sync);
    printed.push(b')');
    assert_eq!(
        records(str::from_utf8(&printed).unwrap()).unwrap(),
        [record]
    );
}

#[test]
fn bad_records_are_named_and_end_the_list() {
    let good = format!("UID 1 MODSEQ 2 LAST_UPDATED 3 INTERNALDATE 4 GUID {EMPTY}");
    assert!(records(&format!("(%({good}))")).is_ok());
    for (items, key) in [
        (good.replace("UID 1 ", ""), "UID"),
        (good.replace("UID 1", "UID NIL"), "UID"),
        (good.replace("UID 1", "UID 4294967296"), "UID"),
        (good.replace("MODSEQ 2", "MODSEQ -2"), "MODSEQ"),
        (good.replace("MODSEQ 2", "MODSEQ (2)"), "MODSEQ"),
        (good.replace("LAST_UPDATED 3 ", ""), "LAST_UPDATED"),
        (good.replace("INTERNALDATE 4 ", ""), "INTERNALDATE"),
        (good.replace(EMPTY, &EMPTY[1..]), "GUID"),
        (good.replace(EMPTY, &EMPTY.repeat(100)), "GUID"),
        (good.clone() + " FLAGS x", "FLAGS"),
        (good.clone() + " FLAGS ((x))", "FLAGS"),
        (good.clone() + " SIZE x", "SIZE"),
    ] {
        let all = mailbox(&format!(
            "UNIQUEID u MBOXNAME user.x RECORD (%({items}) %({good}))"
        ));
        let update = all.unwrap_or_else(|error| panic!("{items}: {error}"));
        let Err(CommandError::BadParameters { key: found, .. }) = update.records.check() else {
            panic!("{items}")
        };
        assert_eq!(found, key, "{items}");
        assert_eq!(update.records.iter().count(), 1, "{items}");
    }
    let element = mailbox("UNIQUEID u MBOXNAME user.x RECORD (x)")
        .unwrap()
        .records
        .check();
    assert!(matches!(element, Err(CommandError::BadParameters { .. })));
}

#[test]
fn syntax_errors_in_records_count_from_the_start_of_the_line() {
    let line = "APPLY MAILBOX %(UNIQUEID u MBOXNAME user.x RECORD (%(UID 1 (";
    let rule = DlistRule::WrongKind;
    assert_eq!(
        refused(line),
        CommandError::Syntax {
            verb: "APPLY",
            offset: 59,
            rule
        }
    );
}

#[test]
fn restore_is_kept_as_a_value() {
    let Command::Restore { name, value } = parsed("restore mailbox %(UNIQUEID NIL RECORD ())")
    else {
        panic!()
    };
    assert_eq!(name, "MAILBOX");
    assert!(value.as_kvlist().unwrap().get("UNIQUEID").unwrap().is_nil());
}
