//! The session: ask what the backup has, reserve, send messages, send records (spec: csync 6).

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use cyrusbackup::csync::command::Record;
use cyrusbackup::csync::crc::SyncCrc;
use cyrusbackup::csync::dlist::{KvList, Literal, Value};
use cyrusbackup::csync_client::{Answer, Client, Message};
use cyrusbackup::types::Guid;

use super::folder::octets;
use super::state::{Kept, Mailbox, State};

const PARTITION: &str = "default";
/// Octets that one APPLY MESSAGE may hold in memory here.
const BLOCK: usize = 8 << 20;

/// How much was new to the backup.
#[derive(Default)]
pub struct Sent {
    pub messages: usize,
    pub mailboxes: usize,
}

/// What the backup says of one mailbox.
struct Known {
    last_uid: u32,
    highestmodseq: u64,
    sync_crc: u32,
}

/// Brings the backup of a user to this state.
pub fn push(client: &mut Client, user: &str, state: &State) -> Result<Sent> {
    let answer = client.command(&with_string("GET USER ", user))?;
    let mut sent = Sent::default();
    for (mboxname, mailbox) in &state.mailboxes {
        let known = known(&answer, &mailbox.uniqueid);
        let crc = sync_crc(mailbox)?;
        let unchanged = known.as_ref().is_some_and(|known| {
            (known.last_uid, known.highestmodseq, known.sync_crc)
                == (mailbox.last_uid, mailbox.highestmodseq, crc.value())
        });
        if unchanged {
            continue;
        }
        let known = known.unwrap_or(Known {
            last_uid: 0,
            highestmodseq: 0,
            sync_crc: 0,
        });
        sent.messages += send_messages(client, &answer, mailbox, &known)?;
        client.command(&apply_mailbox(mboxname, mailbox, &known, crc)?)?;
        sent.mailboxes += 1;
    }
    Ok(sent)
}

fn known(answer: &Answer, uniqueid: &str) -> Option<Known> {
    let mailbox = answer
        .kvlists("MAILBOX")
        .find(|mailbox| mailbox.get_str("UNIQUEID") == Some(uniqueid))?;
    Some(Known {
        last_uid: mailbox.get_u32("LAST_UID")?,
        highestmodseq: mailbox.get_u64("HIGHESTMODSEQ")?,
        sync_crc: mailbox.get_u32("SYNC_CRC").unwrap_or(0),
    })
}

/// Sends the bodies that the backup lacks; returns how many.
fn send_messages(
    client: &mut Client,
    answer: &Answer,
    mailbox: &Mailbox,
    known: &Known,
) -> Result<usize> {
    let new = |kept: &&Kept| kept.uid > known.last_uid && !kept.expunged;
    let mut seen = BTreeSet::new();
    let wanted: Vec<&Kept> = mailbox
        .messages
        .iter()
        .filter(new)
        .filter(|kept| seen.insert(&kept.guid))
        .collect();
    let missing = missing(client, answer, &wanted)?;
    let mut block: Vec<(Guid, Vec<u8>)> = Vec::new();
    for kept in wanted
        .iter()
        .filter(|kept| missing.contains(kept.guid.as_str()))
    {
        let octets = octets(&kept.path)?;
        let guid = Guid::of(&octets);
        anyhow::ensure!(
            guid.to_string() == kept.guid,
            "{} has changed since it was scanned",
            kept.path.display()
        );
        block.push((guid, octets));
        if block.len() == 1024
            || block.iter().map(|(_, octets)| octets.len()).sum::<usize>() > BLOCK
        {
            send_block(client, &mut block)?;
        }
    }
    send_block(client, &mut block)?;
    Ok(missing.len())
}

/// The GUIDs to send. As from sync_client, there is no RESERVE when the backup is empty (spec: csync 5.2).
fn missing(client: &mut Client, answer: &Answer, wanted: &[&Kept]) -> Result<BTreeSet<String>> {
    let names: Vec<Value> = answer
        .kvlists("MAILBOX")
        .filter_map(|mailbox| mailbox.get("MBOXNAME"))
        .cloned()
        .collect();
    if names.is_empty() || wanted.is_empty() {
        return Ok(wanted.iter().map(|kept| kept.guid.clone()).collect());
    }
    let mut reserve = KvList::default();
    reserve.push("PARTITION", Value::string(PARTITION));
    reserve.push("MBOXNAME", Value::List(names));
    reserve.push(
        "GUID",
        Value::List(
            wanted
                .iter()
                .map(|kept| Value::string(kept.guid.as_str()))
                .collect(),
        ),
    );
    let mut line = b"APPLY RESERVE ".to_vec();
    reserve.print(&mut line, Literal::NonSync);
    let answer = client.command(&line)?;
    let guids = answer.named("MISSING").filter_map(Value::as_list).flatten();
    Ok(guids.filter_map(Value::as_str).map(str::to_owned).collect())
}

fn send_block(client: &mut Client, block: &mut Vec<(Guid, Vec<u8>)>) -> Result<()> {
    if block.is_empty() {
        return Ok(());
    }
    let messages = block.iter().map(|(guid, octets)| Message {
        partition: PARTITION,
        guid: *guid,
        octets,
    });
    client.send_messages(&messages.collect::<Vec<_>>())?;
    block.clear();
    Ok(())
}

fn apply_mailbox(
    mboxname: &str,
    mailbox: &Mailbox,
    known: &Known,
    crc: SyncCrc,
) -> Result<Vec<u8>> {
    let owner = mboxname
        .split('.')
        .nth(1)
        .context("a mailbox of a user")?
        .replace('^', ".");
    let mut header = KvList::default();
    header.push("UNIQUEID", Value::string(mailbox.uniqueid.as_str()));
    header.push("MBOXNAME", Value::string(mboxname));
    header.push("SYNC_CRC", Value::number(crc.value().into()));
    // Of a mailbox without annotations.
    header.push("SYNC_CRC_ANNOT", Value::number(12_345_678));
    header.push("LAST_UID", Value::number(mailbox.last_uid.into()));
    header.push("HIGHESTMODSEQ", Value::number(mailbox.highestmodseq));
    header.push("RECENTUID", Value::number(0));
    header.push("RECENTTIME", Value::number(0));
    header.push(
        "LAST_APPENDDATE",
        Value::number(mailbox.last_appenddate.cast_unsigned()),
    );
    header.push("POP3_LAST_LOGIN", Value::number(0));
    header.push("POP3_SHOW_AFTER", Value::number(0));
    header.push("UIDVALIDITY", Value::number(mailbox.uidvalidity.into()));
    header.push("PARTITION", Value::string(PARTITION));
    header.push("ACL", Value::string(format!("{owner}\tlrswipkxtecdan\t")));
    header.push("OPTIONS", Value::string(""));
    let mut line = b"APPLY MAILBOX %(".to_vec();
    header.print_items(&mut line, Literal::NonSync);
    line.extend_from_slice(b" RECORD (");
    // A message that went before it was ever sent has no body there and needs none: its UID is simply unused.
    let told = |kept: &&Kept| {
        kept.modseq > known.highestmodseq && !(kept.expunged && kept.uid > known.last_uid)
    };
    for (place, kept) in mailbox.messages.iter().filter(told).enumerate() {
        if place > 0 {
            line.push(b' ');
        }
        record(kept)?.print(&mut line, Literal::NonSync);
    }
    line.extend_from_slice(b"))");
    Ok(line)
}

fn sync_crc(mailbox: &Mailbox) -> Result<SyncCrc> {
    let mut crc = SyncCrc::new();
    for kept in &mailbox.messages {
        crc.toggle(&record(kept)?);
    }
    Ok(crc)
}

fn record(kept: &Kept) -> Result<Record> {
    Ok(Record {
        uid: kept.uid,
        modseq: kept.modseq,
        last_updated: kept.last_updated,
        flags: kept.flags.clone(),
        expunged: kept.expunged,
        internaldate: kept.internaldate,
        size: Some(kept.size),
        guid: Guid::from_hex(kept.guid.as_bytes()).context("a GUID of the state file")?,
        annotations: None,
        other: KvList::default(),
    })
}

fn with_string(command: &str, argument: &str) -> Vec<u8> {
    let mut line = command.as_bytes().to_vec();
    Value::string(argument).print(&mut line, Literal::NonSync);
    line
}
