//! Which lines a backup needs so that it is the same as of every time from the horizon on.
//!
//! Lines from the first one behind the horizon on are *young* and stay as they are. Of the *old* ones
//! before, only the state counts that they have led to. That state is found by replaying them into
//! an index in memory, by the one definition of what they mean, with line numbers in the place of
//! chunk ids: each row then names the line that made it. What the state needs is
//!
//! * of a living mailbox its last MAILBOX line, and of each living record the line that said it last.
//!   A mailbox that was renamed after its last MAILBOX line gets one with its new name in the place
//!   of the last RENAME. So no old RENAME is needed;
//! * the last SIEVE, SUB, SEEN, QUOTA, ANNOTATION, ACTIVATE_SIEVE of each that is still there;
//! * of each body that one of these records, or a young one, refers to, the first copy whose octets
//!   are true.
//!
//! A mailbox deleted or a record expunged before the horizon is gone, with one exception: a mailbox
//! that a young MAILBOX line brings back, which has its old records again.
//!
//! Young is decided in file order: when clocks went backwards more may count as young, never less.

use std::collections::{HashMap, HashSet};

use crate::csync::command::{Apply, MailboxUpdate, Record};
use crate::csync::dlist::{FileRef, KvList, Value};
use crate::store::entry::{self, Entry};
use crate::store::error::{Result, StoreError};
use crate::store::index::{Index, Place, is_intermediate};
use crate::store::rewrite::{Line, Rewrite, Selection, Verdict};
use crate::store::scan::Visitor;
use crate::types::{Guid, GuidHasher};

/// What stays for the sake of a horizon.
#[derive(Default)]
pub struct Live {
    /// Number of the first young line.
    young: u64,
    /// There is none.
    all_old: bool,
    /// Old lines that stay, and what for.
    lines: HashMap<u64, Verdict>,
    /// The line that said a record (mailbox, UID) last.
    records: HashMap<(u32, u32), u64>,
    mailboxes: HashMap<String, u32>,
    /// Line and item of the copy of a body that stays.
    bodies: HashMap<Guid, (u64, u32)>,
}

impl Live {
    /// Goes over the backup once.
    pub(super) fn of(
        rewrite: &Rewrite,
        horizon: Option<i64>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Live> {
        let Some(horizon) = horizon else {
            return Ok(Live::default());
        };
        let state = Index::empty(rewrite.index().path())?;
        state.begin()?;
        let mut reading = Reading::new(&state, horizon);
        rewrite.read(&mut reading, progress)?;
        reading.failed.take().map_or(Ok(()), Err)?;
        reading.finish()
    }

    fn is_young(&self, line: u64) -> bool {
        line >= self.young
    }

    /// Everything was said before the horizon.
    pub(super) fn is_all_old(&self) -> bool {
        self.all_old
    }
}

impl Selection for Live {
    fn line(&self, line: Line<'_>) -> Verdict {
        if self.is_young(line.number) {
            return Verdict::Keep;
        }
        match (self.lines.get(&line.number), line.apply) {
            (Some(verdict), _) => verdict.clone(),
            (None, Apply::Mailbox(_)) => Verdict::ForRecords,
            (None, Apply::Unknown(_)) => Verdict::Keep,
            (None, _) => Verdict::Drop,
        }
    }

    fn record(&self, line: Line<'_>, uniqueid: &str, record: &Record) -> bool {
        let said = || {
            let mailbox = self.mailboxes.get(uniqueid)?;
            self.records.get(&(*mailbox, record.uid))
        };
        self.is_young(line.number) || said() == Some(&line.number)
    }

    fn body(&self, line: u64, item: u32, guid: &Guid) -> bool {
        self.is_young(line) || self.bodies.get(guid) == Some(&(line, item))
    }
}

/// What a line that has no row in the index is about.
#[derive(PartialEq, Eq, Hash)]
enum Thing {
    Subscription(String),
    Seen(String),
    Quota(String),
    Annotation(String, String, String),
    ActiveSieve,
    Intermediate(String),
}

/// Lines since the last header of a mailbox.
#[derive(Default)]
struct Since {
    rename: Option<u64>,
    unmailbox: Option<u64>,
}

struct Reading<'a> {
    state: &'a Index,
    horizon: i64,
    number: u64,
    young: Option<u64>,
    last: HashMap<Thing, u64>,
    since: HashMap<String, Since>,
    /// Mailboxes of young MAILBOX lines.
    touched: HashSet<String>,
    /// Bodies that young records refer to.
    wanted: HashSet<Guid>,
    /// First true copy of every body.
    bodies: HashMap<Guid, (u64, u32)>,
    /// First copies that are not what their GUIDs say.
    spoilt: HashMap<Guid, (u64, u32)>,
    item: u32,
    body: Option<(FileRef, u64, GuidHasher)>,
    /// True bodies of the line that passes by.
    come: Vec<FileRef>,
    failed: Option<StoreError>,
}

impl<'a> Reading<'a> {
    fn new(state: &'a Index, horizon: i64) -> Reading<'a> {
        Reading {
            state,
            horizon,
            number: 0,
            young: None,
            last: HashMap::new(),
            since: HashMap::new(),
            touched: HashSet::new(),
            wanted: HashSet::new(),
            bodies: HashMap::new(),
            spoilt: HashMap::new(),
            item: 0,
            body: None,
            come: Vec::new(),
            failed: None,
        }
    }

    fn is_young(&mut self, time: i64) -> bool {
        if time > self.horizon && self.young.is_none() {
            self.young = Some(self.number);
        }
        self.young.is_some()
    }

    fn young_line(&mut self, apply: &Apply<'_>) {
        if let Apply::Mailbox(update) = apply {
            self.touched.insert(update.uniqueid.clone());
            for record in update.records.iter().map_while(std::result::Result::ok) {
                self.wanted.insert(record.guid);
            }
        }
    }

    fn old_line(&mut self, apply: &Apply<'_>, time: i64) -> Result<()> {
        match apply {
            Apply::Mailbox(update) => self.header(update),
            Apply::Rename(rename) => {
                let number = self.number;
                self.note_names(rename.old.as_str(), |since| since.rename = Some(number))?;
            }
            Apply::Unmailbox(name) => {
                let number = self.number;
                self.note_names(name.as_str(), |since| since.unmailbox = Some(number))?;
            }
            _ => {}
        }
        if let Some(thing) = thing(apply) {
            self.last.insert(thing, self.number);
        }
        let place = Place {
            chunk_id: self.number.cast_signed(),
            offset: 0,
            time,
        };
        self.state.apply(apply, place)
    }

    fn header(&mut self, update: &MailboxUpdate<'_>) {
        self.since.remove(&update.uniqueid);
        if is_intermediate(update) {
            let thing = Thing::Intermediate(update.uniqueid.clone());
            self.last.insert(thing, self.number);
        }
    }

    /// The living mailboxes of this name.
    fn note_names(&mut self, name: &str, note: impl Fn(&mut Since)) -> Result<()> {
        let mailboxes = self.state.mailboxes_by_name(name)?;
        let folders = self.state.intermediates()?.into_iter();
        let folders = folders.filter(|folder| folder.mboxname == name);
        let ids = mailboxes.into_iter().map(|mailbox| mailbox.uniqueid);
        for id in ids.chain(folders.map(|folder| folder.uniqueid)) {
            note(self.since.entry(id).or_default());
        }
        Ok(())
    }

    fn message_line(&mut self, time: i64) {
        let items: Vec<Value> = std::mem::take(&mut self.come)
            .into_iter()
            .map(Value::File)
            .collect();
        if !self.is_young(time) {
            let applied = self.old_line(&Apply::Message(items), time);
            self.failed = self.failed.take().or(applied.err());
        }
    }

    fn next_line(&mut self) {
        self.number += 1;
        self.item = 0;
        self.body = None;
        self.come.clear();
    }

    /// Asks the state what it needs.
    fn finish(self) -> Result<Live> {
        let Reading {
            state,
            mut wanted,
            mut bodies,
            spoilt,
            since,
            touched,
            last,
            ..
        } = self;
        let mut live = Live {
            young: self.young.unwrap_or(self.number),
            all_old: self.young.is_none(),
            ..Live::default()
        };
        for (place, mailbox) in (0..).zip(state.mailboxes()?) {
            if mailbox.deleted.is_some() && !touched.contains(&mailbox.uniqueid) {
                continue;
            }
            for record in state.records(mailbox.id)? {
                if record.expunged.is_none() {
                    let line = record.chunk_id.cast_unsigned();
                    live.records.insert((place, record.uid), line);
                    wanted.insert(record.guid);
                }
            }
            let since = since.get(&mailbox.uniqueid);
            let keys = state.header(mailbox.id)?.map(|header| header.keys);
            match (since.and_then(|since| since.rename), keys) {
                (Some(rename), Some(keys)) => live.instead(rename, header_line(keys)),
                _ => {
                    let line = mailbox.last_chunk_id.cast_unsigned();
                    live.lines.insert(line, Verdict::Keep);
                }
            }
            // Brought back later: until then it was away.
            let away = mailbox.deleted.and(since.and_then(|since| since.unmailbox));
            live.lines.extend(away.map(|line| (line, Verdict::Keep)));
            live.mailboxes.insert(mailbox.uniqueid, place);
        }
        let there = things_there(state)?;
        for folder in state.intermediates()? {
            let renamed = since.get(&folder.uniqueid).and_then(|since| since.rename);
            let line = last.get(&Thing::Intermediate(folder.uniqueid));
            match (renamed, line) {
                (Some(rename), _) => live.instead(rename, folder_line(folder.keys)),
                (None, Some(&line)) => {
                    live.lines.insert(line, Verdict::Keep);
                }
                (None, None) => {}
            }
        }
        let needed = last.into_iter().filter(|(thing, _)| there.contains(thing));
        live.lines
            .extend(needed.map(|(_, line)| (line, Verdict::Keep)));
        for script in state
            .sieve()?
            .iter()
            .filter(|script| script.deleted.is_none())
        {
            live.lines
                .insert(script.chunk_id.cast_unsigned(), Verdict::Keep);
        }
        // One that is wanted and only there spoilt is damage, which is not to go without a word.
        for (guid, at) in spoilt {
            bodies.entry(guid).or_insert(at);
        }
        bodies.retain(|guid, _| wanted.contains(guid));
        live.bodies = bodies;
        Ok(live)
    }
}

impl Live {
    fn instead(&mut self, line: u64, command: Vec<u8>) {
        match self.lines.get_mut(&line) {
            Some(Verdict::Instead(commands)) => commands.push(command),
            _ => {
                self.lines.insert(line, Verdict::Instead(vec![command]));
            }
        }
    }
}

impl Visitor for Reading<'_> {
    fn file(&mut self, file: &FileRef, _offset: u64) {
        self.body = Some((file.clone(), file.size, GuidHasher::default()));
        self.file_data(&[]);
    }

    fn file_data(&mut self, octets: &[u8]) {
        let Some((file, left, mut hasher)) = self.body.take() else {
            return;
        };
        hasher.update(octets);
        let left = left.saturating_sub(octets.len() as u64);
        if left > 0 {
            self.body = Some((file, left, hasher));
            return;
        }
        let at = (self.number, self.item);
        if hasher.finish() == file.guid {
            self.bodies.entry(file.guid).or_insert(at);
            self.come.push(file);
        } else {
            self.spoilt.entry(file.guid).or_insert(at);
        }
        self.item += 1;
    }

    fn line(&mut self, _offset: u64, text: &[u8]) -> bool {
        match entry::parse(text) {
            Entry::Apply(time, Apply::Message(_)) => self.message_line(time),
            Entry::Apply(time, apply) if self.is_young(time) => self.young_line(&apply),
            Entry::Apply(time, apply) => {
                let applied = self.old_line(&apply, time);
                self.failed = self.failed.take().or(applied.err());
            }
            Entry::Horizon(..) => {}
            Entry::Other(_) => {
                if let Some(time) = entry::message_time(text) {
                    self.message_line(time);
                }
            }
        }
        self.next_line();
        self.failed.is_none()
    }

    fn cut(&mut self, _offset: u64, text: &[u8]) {
        if let Some(time) = entry::message_time(text) {
            self.message_line(time);
        }
        self.next_line();
    }
}

/// What the last line counts of, where the index does not tell which line it was.
fn thing(apply: &Apply<'_>) -> Option<Thing> {
    Some(match apply {
        Apply::Sub { mboxname, .. } => Thing::Subscription(mboxname.as_str().to_owned()),
        Apply::Seen(seen) => Thing::Seen(seen.uniqueid.clone()),
        Apply::Quota { root, .. } => Thing::Quota(root.clone()),
        Apply::Annotation {
            mboxname,
            entry,
            userid,
            ..
        } => Thing::Annotation(mboxname.clone(), entry.clone(), userid.clone()),
        Apply::ActivateSieve { .. } => Thing::ActiveSieve,
        _ => return None,
    })
}

/// Of these the state has something.
fn things_there(state: &Index) -> Result<HashSet<Thing>> {
    let mut there = HashSet::new();
    let subscriptions = state.subscriptions()?.into_iter();
    let subscribed = subscriptions.filter(|row| row.unsubscribed.is_none());
    there.extend(subscribed.map(|row| Thing::Subscription(row.mboxname)));
    there.extend(
        state
            .seen()?
            .into_iter()
            .map(|row| Thing::Seen(row.uniqueid)),
    );
    there.extend(
        state
            .quotas()?
            .into_iter()
            .map(|(root, _)| Thing::Quota(root)),
    );
    let annotations = state.annotations()?.into_iter();
    there.extend(annotations.map(|a| Thing::Annotation(a.mboxname, a.entry, a.userid)));
    if state.active_sieve()?.is_some() {
        there.insert(Thing::ActiveSieve);
    }
    Ok(there)
}

/// `MAILBOX` with a header and no records.
fn header_line(mut keys: KvList) -> Vec<u8> {
    keys.0.retain(|(key, _)| key != "RECORD");
    keys.push("RECORD", Value::List(Vec::new()));
    folder_keys("MAILBOX ", keys, "")
}

/// The same for a folder that has none (see [`entry`]).
fn folder_line(keys: KvList) -> Vec<u8> {
    folder_keys("RESERVE %(MAILBOX ", keys, ")")
}

fn folder_keys(before: &str, keys: KvList, after: &str) -> Vec<u8> {
    let mut line = before.as_bytes().to_vec();
    Value::KvList(keys).print(&mut line, crate::csync::dlist::Literal::Sync);
    line.extend_from_slice(after.as_bytes());
    line
}
