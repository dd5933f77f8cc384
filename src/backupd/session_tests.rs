//! Sessions fed with byte strings: every row of the tables of csync 1.3 and 1.6, in every split.

use std::sync::Arc;
use std::time::Duration;

use flate2::{Compress, Compression, FlushCompress};

use super::channel::Channel;
use super::deflate::Deflate;
use super::peer::Peer;
use super::session::Session;
use super::step::{Next, Step};
use super::test_rig::{LOGIN, PAUSE, Rig};
use crate::types::Guid;

const STRANGER: Peer = Peer::Address(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

impl Rig {
    fn session(&self, peer: Peer) -> Session {
        Session::new(Arc::clone(&self.settings), peer)
    }

    fn channel(&self, peer: Peer) -> Channel {
        Channel::new(self.session(peer))
    }

    /// What a fresh peer gets for `input`, which may come in pieces of `size`.
    fn transcript(&self, peer: Peer, input: &[u8], size: usize) -> (String, Step) {
        let mut channel = self.channel(peer);
        let (mut out, mut last) = (
            Vec::new(),
            Step {
                next: Next::Read,
                delay: Duration::ZERO,
            },
        );
        for mut part in input.chunks(size) {
            while !part.is_empty() || channel.has_more() {
                let step = channel.feed(&mut part, &mut out).unwrap();
                last = Step {
                    next: step.next,
                    delay: last.delay + step.delay,
                };
                if step.next == Next::Close {
                    return (text(&out), last);
                }
            }
        }
        (text(&out), last)
    }

    /// C: and S: lines in turn, over every way to split the stream.
    fn expect(&self, peer: Peer, dialogue: &[(&str, &str)]) {
        let input: String = dialogue.iter().map(|(said, _)| *said).collect();
        let answers: String = dialogue.iter().map(|(_, answer)| *answer).collect();
        for size in [1, 3, 17, input.len().max(1)] {
            assert_eq!(
                self.transcript(peer, input.as_bytes(), size).0,
                answers,
                "by {size}"
            );
        }
    }
}

fn text(out: &[u8]) -> String {
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn banners() {
    let rig = Rig::new();
    let mut out = Vec::new();
    rig.session(STRANGER).greet(&mut out);
    let version = env!("CARGO_PKG_VERSION");
    let last = format!("* OK backup.example Cyrus backup server cyrusbackup {version}\r\n");
    assert_eq!(
        text(&out),
        format!("* SASL PLAIN\r\n* COMPRESS DEFLATE\r\n{last}")
    );
    out.clear();
    rig.session(Peer::Trusted).greet(&mut out);
    assert_eq!(text(&out), last);
}

#[test]
fn before_login() {
    Rig::new().expect(
        STRANGER,
        &[
            ("NOOP\r\n", "OK Noop completed\r\n"),
            ("GET USER anne\r\n", "NO Please authenticate first\r\n"),
            ("GET USER\r\n", "NO Please authenticate first\r\n"),
            ("APPLY MESSAGE ()\r\n", "NO Please authenticate first\r\n"),
            ("RESTART\r\n", "OK Restarting\r\n"),
            ("\r\n", "BAD Null command\r\n"),
            (" GET USER x\r\n", "BAD Null command\r\n"),
            ("NOOP x\r\n", "BAD Unexpected extra arguments to Noop\r\n"),
            (
                "RESTORE\r\n",
                "BAD IMAP_PROTOCOL_ERROR Unrecognized command\r\n",
            ),
            (
                "STARTTLS\r\n",
                "BAD IMAP_PROTOCOL_ERROR Unrecognized command\r\n",
            ),
            (
                "C01 CAPABILITY\r\n",
                "BAD IMAP_PROTOCOL_ERROR Unrecognized command\r\n",
            ),
            (
                "COMPRESS\r\n",
                "BAD Missing required argument to Compress\r\n",
            ),
            (
                "COMPRESS FOO\r\n",
                "NO Unknown compression algorithm: FOO\r\n",
            ),
            ("exit\r\n", "OK Finished\r\n"),
        ],
    );
}

#[test]
fn authenticate_errors_as_in_the_capture() {
    let rig = Rig::new();
    rig.expect(
        STRANGER,
        &[
            (
                "AUTHENTICATE PLAIN AHJlcGwAd3Jvbmc=\r\n",
                "NO authentication failure\r\n",
            ),
            ("AUTHENTICATE PLAIN =\r\n", "NO bad protocol / cancel\r\n"),
            (
                "AUTHENTICATE PLAIN !!notbase64\r\n",
                "NO bad protocol / cancel\r\n",
            ),
            ("AUTHENTICATE NOSUCH\r\n", "NO no mechanism available\r\n"),
            ("AUTHENTICATE \"PLAIN\"\r\n", "BAD Invalid mechanism\r\n"),
            (
                "AUTHENTICATE\r\n",
                "BAD Missing required argument to Authenticate\r\n",
            ),
            ("AUTHENTICATE PLAIN\r\n", "+ \r\n"),
            ("*\r\n", "BAD Client canceled authentication\r\n"),
            ("NOOP\r\n", "OK Noop completed\r\n"),
            ("AUTHENTICATE PLAIN\r\n", "+ \r\n"),
            ("AHJlcGwAc2VjcmV0\r\n", "OK Success (no protection)\r\n"),
            ("AUTHENTICATE PLAIN\r\n", "BAD Already authenticated\r\n"),
            ("EXIT\r\n", "OK Finished\r\n"),
        ],
    );
    let (_, step) = rig.transcript(STRANGER, b"AUTHENTICATE PLAIN AHJlcGwAd3Jvbmc=\r\n", 7);
    assert_eq!(
        step,
        Step {
            next: Next::Read,
            delay: PAUSE
        }
    );
    let (answers, step) = rig.transcript(STRANGER, &b"AUTHENTICATE X\r\n".repeat(100), 4096);
    assert_eq!((answers.lines().count(), step.next), (10, Next::Close));
    assert_eq!(step.delay, 10 * PAUSE);
}

#[test]
fn who_is_no_admin_is_denied_and_hung_up_on() {
    let rig = Rig::new();
    // anne; repl acting as anne; anne acting as repl.
    for plain in [
        "AGFubmUAc2VjcmV0",
        "YW5uZQByZXBsAHNlY3JldA==",
        "cmVwbABhbm5lAHNlY3JldA==",
    ] {
        let login = format!("AUTHENTICATE PLAIN {plain}\r\n");
        let input = format!("{login}GET USER anne\r\nNOOP\r\nEXIT\r\nNOOP\r\n");
        let (answers, step) = rig.transcript(STRANGER, input.as_bytes(), 9);
        let denied = "NO Permission denied\r\n".repeat(3);
        assert_eq!(answers, format!("OK Success (no protection)\r\n{denied}"));
        assert_eq!(step.next, Next::Close);
    }
    assert!(rig.asked.take().is_empty());
}

#[test]
fn an_imap_probe_is_hung_up_on() {
    let (answer, step) = Rig::new().transcript(STRANGER, b"C01 CAPABILITY\r\n", 4);
    assert!(answer.starts_with("BAD "));
    assert_eq!(step.next, Next::Close);
}

#[test]
fn after_login() {
    let rig = Rig::new();
    let bad = "BAD IMAP_PROTOCOL_ERROR Unrecognized command\r\n";
    rig.expect(
        STRANGER,
        &[
            (LOGIN, "OK Success (no protection)\r\n"),
            ("NOOP\r\n", "OK Noop completed\r\n"),
            ("noop\n", "OK Noop completed\r\n"),
            ("NOOP x\r\n", "BAD Unexpected extra arguments to Noop\r\n"),
            ("\r\n", "BAD Null command\r\n"),
            (" GET USER x\r\n", "BAD Null command\r\n"),
            ("RESTORE\r\n", bad),
            ("RESTORE MAILBOX %(X {3+}\r\na\r\n)\r\n", bad),
            ("STARTTLS\r\n", bad),
            ("C01 CAPABILITY\r\n", bad),
            ("RESTART\r\n", "OK Restarting\r\n"),
            (
                "COMPRESS\r\n",
                "BAD Missing required argument to Compress\r\n",
            ),
            (
                "COMPRESS FOO\r\n",
                "NO Unknown compression algorithm: FOO\r\n",
            ),
            ("get user anne\r\n", "OK Success\r\n"),
            (
                "GET NOSUCH x\r\n",
                "NO IMAP_PROTOCOL_ERROR Unknown command NOSUCH\r\n",
            ),
            (
                "APPLY NOSUCH x\r\n",
                "NO IMAP_PROTOCOL_ERROR Unknown command\r\n",
            ),
            (
                "APPLY CAPABILITIES (FOO)\r\n",
                "* ENABLED ()\r\nOK Success\r\n",
            ),
            ("APPLY FORCE %()\r\n", "OK Success\r\n"),
            ("APPLY MESSAGE ()\r\n", "OK Success\r\n"),
            ("APPLY UNUSER anne\r\n", "OK Success\r\n"),
            ("EXIT\r\n", "OK Finished\r\n"),
        ],
    );
    assert!(
        rig.asked
            .take()
            .ends_with(&["Unuser(\"anne\")".into(), "close".into()])
    );
}

#[test]
fn bad_lines_are_consumed_to_their_end() {
    let rig = Rig::new();
    let body = "NOOP\r\nEXIT\r\n";
    let (right, wrong) = (Guid::of(body.as_bytes()), Guid::of(b""));
    let file = |guid: &str| format!("%{{default {guid} {}}}\r\n{body}", body.len());
    let two = format!(
        "APPLY MESSAGE ({} {})\r\n",
        file(&wrong.to_string()),
        file(&right.to_string())
    );
    let long = format!("APPLY MESSAGE ({} NIL)\r\n", file(&"a".repeat(50)));
    let outside = format!("APPLY SUB %(USERID {})\r\n", file(&right.to_string()));
    let reserve = format!("APPLY RESERVE %(PARTITION p MBOXNAME () GUID ({wrong} {right}))\r\n");
    let open = "APPLY SUB %(USERID \"anne\r\n";
    let parse = |line: &str| {
        let (answers, _) = rig.transcript(Peer::Trusted, format!("{line}{reserve}").as_bytes(), 5);
        let (first, rest) = answers.split_once("\r\n").unwrap();
        assert_eq!(rest, "OK Success\r\n", "{line}");
        (first.to_owned(), rig.asked.take().remove(0))
    };
    let (answer, staged) = parse(&two);
    assert!(
        answer.starts_with("NO IMAP_PROTOCOL_ERROR guid mismatch"),
        "{answer}"
    );
    assert_eq!(staged, "Reserve: 1 of 2 staged");
    for line in [
        &long,
        open,
        "APPLY SUB\r\n",
        "GET USER\r\n",
        "APPLY SUB %(USERID\r\n",
    ] {
        let (answer, staged) = parse(line);
        assert!(answer.starts_with("BAD "), "{line}: {answer}");
        assert_eq!(staged, "Reserve: 0 of 2 staged");
    }
    for line in [
        &outside,
        "APPLY MESSAGE (x y)\r\n",
        "APPLY SUB %(USERID anne)\r\n",
    ] {
        let (answer, staged) = parse(line);
        assert!(
            answer.starts_with("NO IMAP_PROTOCOL_BAD_PARAMETERS "),
            "{line}: {answer}"
        );
        assert_eq!(staged, "Reserve: 0 of 2 staged");
    }
}

#[test]
fn staged_bodies_live_until_restart() {
    let rig = Rig::new();
    let bodies: Vec<Vec<u8>> = (1..30u8).map(|n| vec![n; usize::from(n) * 20]).collect();
    let mut input = b"APPLY MESSAGE (NIL".to_vec();
    let mut guids = String::new();
    for body in &bodies {
        let guid = Guid::of(body);
        input.extend_from_slice(format!(" %{{default {guid} {}}}\r\n", body.len()).as_bytes());
        input.extend_from_slice(body);
        guids += &format!(" {guid}");
    }
    let reserve = format!(
        "APPLY RESERVE %(PARTITION p MBOXNAME () GUID ({}))\r\n",
        guids.trim()
    );
    input.extend_from_slice(format!(")\r\n{reserve}RESTART\r\n{reserve}").as_bytes());
    for size in [1, 100, input.len()] {
        let (answers, _) = rig.transcript(Peer::Trusted, &input, size);
        assert_eq!(
            answers,
            "OK Success\r\nOK Success\r\nOK Restarting\r\nOK Success\r\n"
        );
        let (before, after) = ("Reserve: 29 of 29 staged", "Reserve: 0 of 29 staged");
        assert_eq!(rig.asked.take(), [before, "restart", after]);
    }
}

#[test]
fn a_full_staging_disk_sends_the_client_away_for_now() {
    let mut rig = Rig::new();
    let settings = Arc::get_mut(&mut rig.settings).unwrap();
    settings.staging_path = "/proc/no/such/place".into();
    settings.staging_memory = 0;
    let file = format!("%{{default {} 4}}\r\nmail", Guid::of(b"mail"));
    let input = format!("APPLY MESSAGE ({file} {file})\r\nNOOP\r\n");
    let (answers, _) = rig.transcript(Peer::Trusted, input.as_bytes(), 6);
    let (first, rest) = answers.split_once("\r\n").unwrap();
    assert!(first.starts_with("NO IMAP_MAILBOX_LOCKED "), "{first}");
    assert_eq!(rest, "OK Noop completed\r\n");
}

#[test]
fn a_long_mailbox_line_is_parsed_from_disk() {
    let rig = Rig::new();
    let record = format!(
        "%(UID 1 MODSEQ 1 LAST_UPDATED 1 FLAGS () INTERNALDATE 1 SIZE 1 GUID {})",
        Guid::of(b"")
    );
    let count = 20_000;
    let records = vec![record.as_str(); count].join(" ");
    let input = format!("APPLY MAILBOX %(UNIQUEID u MBOXNAME user.anne RECORD ({records}))\r\n");
    assert!(input.len() > 2 << 20);
    let (answers, _) = rig.transcript(Peer::Trusted, input.as_bytes(), 100_000);
    assert_eq!(answers, "OK Success\r\n");
    assert_eq!(rig.asked.take(), [format!("Mailbox: {count} records")]);
}

#[test]
fn junk_costs_nothing_and_gets_one_answer() {
    let rig = Rig::new();
    let part = vec![b'x'; 64 << 10];
    let mut channel = rig.channel(Peer::Trusted);
    let mut out = Vec::new();
    for _ in 0..1600 {
        channel.feed(&mut &part[..], &mut out).unwrap();
    }
    assert!(out.is_empty());
    channel.feed(&mut &b"\r\nNOOP\r\n"[..], &mut out).unwrap();
    let lines: Vec<&str> = std::str::from_utf8(&out).unwrap().lines().collect();
    assert!(
        lines[0].starts_with("BAD IMAP_PROTOCOL_ERROR "),
        "{lines:?}"
    );
    assert_eq!(lines[1..], ["OK Noop completed"]);

    let mut channel = rig.channel(STRANGER);
    let (mut out, mut sent) = (Vec::new(), 0);
    loop {
        let step = channel.feed(&mut &part[..], &mut out).unwrap();
        sent += part.len();
        if step.next == Next::Close {
            break;
        }
        assert!(sent < 10 << 20);
    }
    assert_eq!(text(&out), "BAD Too much data before login\r\n");
}

#[test]
fn an_overlong_line_of_a_command_is_refused() {
    let rig = Rig::new();
    let words = b"word ".repeat(1 << 20);
    for (start, limit) in [(&b"GET MAILBOXES ("[..], 64), (b"APPLY MAILBOX (", 256)] {
        let mut channel = rig.channel(Peer::Trusted);
        let mut out = Vec::new();
        channel.feed(&mut &start[..], &mut out).unwrap();
        for _ in 0..limit / 4 {
            channel.feed(&mut &words[..], &mut out).unwrap();
        }
        channel.feed(&mut &b")\r\nNOOP\r\n"[..], &mut out).unwrap();
        let answers = text(&out);
        assert_eq!(
            answers,
            "BAD IMAP_PROTOCOL_ERROR Line too long\r\nOK Noop completed\r\n"
        );
    }
    assert!(rig.asked.take().is_empty());
}

#[test]
fn lines_of_a_stranger_stay_short() {
    let rig = Rig::new();
    let long = "x".repeat(10_000);
    let input = format!("{long}\r\nGET USER {long}\r\nAUTHENTICATE PLAIN\r\n{long}\r\nNOOP\r\n");
    let (answers, _) = rig.transcript(STRANGER, input.as_bytes(), 1000);
    assert_eq!(
        answers.lines().collect::<Vec<_>>(),
        [
            "BAD IMAP_PROTOCOL_ERROR Unrecognized command",
            "BAD Line too long",
            "+ ",
            "NO bad protocol / cancel",
            "OK Noop completed",
        ]
    );
}

#[test]
fn compression_starts_after_its_line_in_any_split() {
    let rig = Rig::new();
    let mut coded = Vec::with_capacity(4096);
    let clear = b"NOOP\r\nCOMPRESS DEFLATE\r\nGET USER much\r\nGET USER much\r\nEXIT\r\n";
    let mut compress = Compress::new(Compression::default(), false);
    compress
        .compress_vec(clear, &mut coded, FlushCompress::Sync)
        .unwrap();
    let mut input = format!("{LOGIN}COMPRESS DEFLATE\r\n").into_bytes();
    input.extend_from_slice(&coded);
    for size in [1, 10, input.len()] {
        let mut channel = rig.channel(STRANGER);
        let mut wire = Vec::new();
        'all: for mut part in input.chunks(size) {
            while !part.is_empty() || channel.has_more() {
                if channel.feed(&mut part, &mut wire).unwrap().next == Next::Close {
                    break 'all;
                }
            }
        }
        let start = b"OK Success (no protection)\r\nOK DEFLATE active\r\n";
        let mut rest = wire.strip_prefix(start).unwrap();
        let (mut peer, mut part, mut answers) = (Deflate::new(), Vec::new(), Vec::new());
        while !rest.is_empty() {
            peer.inflate(&mut rest, &mut part).unwrap();
            answers.extend_from_slice(&part);
        }
        let much = format!("* LSUB {}\r\nOK Success\r\n", "x".repeat(100_000));
        let active = "NO Compression already active: DEFLATE\r\n";
        assert_eq!(
            text(&answers),
            format!("OK Noop completed\r\n{active}{much}{much}OK Finished\r\n")
        );
    }
    let mut channel = rig.channel(Peer::Trusted);
    let mut out = Vec::new();
    channel
        .feed(&mut &b"COMPRESS DEFLATE\r\n"[..], &mut out)
        .unwrap();
    assert!(
        channel
            .feed(&mut &b"\xff\xff\xff\xff plain text"[..], &mut out)
            .is_err()
    );
}

#[test]
fn much_output_is_written_before_more_is_read() {
    let rig = Rig::new();
    let input = b"GET USER much\r\n".repeat(1000);
    let (mut channel, mut rest, mut writes) = (rig.channel(Peer::Trusted), &input[..], 0);
    while !rest.is_empty() {
        let mut out = Vec::new();
        channel.feed(&mut rest, &mut out).unwrap();
        assert!(out.len() < 300_000);
        writes += 1;
    }
    assert_eq!(writes, 1000);
}

#[test]
fn idle_is_told_once_and_close_always() {
    let rig = Rig::new();
    let mut channel = rig.channel(Peer::Trusted);
    channel.idle();
    channel
        .feed(&mut &b"GET META anne\r\n"[..], &mut Vec::new())
        .unwrap();
    channel.idle();
    channel.idle();
    channel
        .feed(&mut &b"APPLY SUB %(USERID an"[..], &mut Vec::new())
        .unwrap();
    channel.close();
    channel.close();
    assert_eq!(rig.asked.take(), ["Meta(\"anne\")", "idle", "close"]);
}

proptest::proptest! {
    #[test]
    fn no_bytes_break_a_session(input: Vec<u8>, size in 1usize..50, trusted: bool) {
        let rig = Rig::new();
        let peer = if trusted { Peer::Trusted } else { STRANGER };
        let mut channel = rig.channel(peer);
        let mut out = Vec::new();
        for mut part in input.chunks(size) {
            while !part.is_empty() {
                match channel.feed(&mut part, &mut out) {
                    Ok(Step { next: Next::Read | Next::Compress, .. }) => {}
                    _ => return Ok(()),
                }
            }
        }
    }
}
