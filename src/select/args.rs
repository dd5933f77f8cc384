//! The options that select messages, for every program that has them.

use clap::Args;

use super::parse::{size, text};
use super::{
    Clock, Field, FlagTest, HeaderTest, MailboxPattern, NotAMailbox, NotATime, Selection, Span,
    UidSet,
};
use crate::types::{Guid, Namespace};

/// Which messages; all that is given must hold.
///
/// TIME is 2026-10-01, 2026-10-01T09:30, 2026-10-01T09:30:00Z, @1790000000, today, yesterday, now,
/// or how long ago: 3d, 12h, 1w2d. Without a zone it is local time, and a date is its first moment.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which messages (all that is given must hold)")]
pub struct SelectArgs {
    /// In this mailbox: user/anne/Sub, or INBOX/Sub (repeatable; deleted ones by their old name)
    #[arg(long, value_name = "NAME")]
    pub mailbox: Vec<String>,
    /// In this mailbox or below it (repeatable)
    #[arg(long, value_name = "NAME")]
    pub tree: Vec<String>,
    /// This message (repeatable)
    #[arg(long, value_name = "GUID")]
    pub guid: Vec<Guid>,
    /// These UIDs: 5 or 1:7,9,20:*
    #[arg(long, value_name = "SET")]
    pub uid: Option<UidSet>,
    /// TEXT in the header field From, decoded; case does not count
    #[arg(long, value_name = "TEXT", value_parser = text)]
    pub from: Vec<String>,
    /// TEXT in To, Cc or Bcc
    #[arg(long, value_name = "TEXT", value_parser = text)]
    pub to: Vec<String>,
    /// TEXT in Subject
    #[arg(long, value_name = "TEXT", value_parser = text)]
    pub subject: Vec<String>,
    /// TEXT in Message-ID
    #[arg(long, value_name = "TEXT", value_parser = text)]
    pub message_id: Vec<String>,
    /// TEXT in any header field, as 'List-Id: TEXT'
    #[arg(long, value_name = "FIELD: TEXT", value_parser = header)]
    pub header: Vec<HeaderTest>,
    /// Arrived (INTERNALDATE) at TIME or later
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub since: Option<String>,
    /// Arrived before TIME
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub before: Option<String>,
    /// Sent (header field Date) at TIME or later
    #[arg(long, value_name = "TIME")]
    pub sent_since: Option<String>,
    /// Sent before TIME
    #[arg(long, value_name = "TIME")]
    pub sent_before: Option<String>,
    /// With this flag: seen, flagged, '$Forwarded' (repeatable)
    #[arg(long, value_name = "FLAG", value_parser = text)]
    pub flag: Vec<String>,
    /// Without this flag (repeatable)
    #[arg(long, value_name = "FLAG", value_parser = text)]
    pub no_flag: Vec<String>,
    /// SIZE or larger: 500, 20k, 5M
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub min_size: Option<u64>,
    /// SIZE or smaller
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_size: Option<u64>,
    /// Only expunged messages
    #[arg(long)]
    pub expunged: bool,
    /// Only messages that are not expunged
    #[arg(long, conflicts_with = "expunged")]
    pub not_expunged: bool,
    /// Expunged at TIME or later, as far as the backup heard
    #[arg(long, value_name = "TIME", conflicts_with = "not_expunged")]
    pub expunged_since: Option<String>,
    /// Expunged before TIME
    #[arg(long, value_name = "TIME", conflicts_with = "not_expunged")]
    pub expunged_until: Option<String>,
    /// Only in deleted mailboxes
    #[arg(long)]
    pub deleted: bool,
    /// Only in mailboxes that are not deleted
    #[arg(long, conflicts_with = "deleted")]
    pub not_deleted: bool,
    /// In mailboxes deleted at TIME or later
    #[arg(long, value_name = "TIME", conflicts_with = "not_deleted")]
    pub deleted_since: Option<String>,
    /// In mailboxes deleted before TIME
    #[arg(long, value_name = "TIME", conflicts_with = "not_deleted")]
    pub deleted_until: Option<String>,
}

/// An option whose value makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum SelectError {
    #[error(transparent)]
    Time(#[from] NotATime),
    #[error(transparent)]
    Mailbox(#[from] NotAMailbox),
}

impl SelectArgs {
    /// What the options ask for.
    pub fn selection(
        &self,
        namespace: &Namespace,
        clock: &Clock,
    ) -> Result<Selection, SelectError> {
        let mailboxes = |names: &[String], tree| {
            let parse = |name: &String| MailboxPattern::parse(name, tree, namespace);
            names.iter().map(parse).collect::<Result<Vec<_>, _>>()
        };
        let span = |since: &Option<String>, until: &Option<String>| {
            let read = |text: &Option<String>| text.as_deref().map(|t| clock.parse(t)).transpose();
            Ok::<_, NotATime>(Span {
                since: read(since)?,
                until: read(until)?,
            })
        };
        let mut patterns = mailboxes(&self.mailbox, false)?;
        patterns.extend(mailboxes(&self.tree, true)?);
        let wanted = self.flag.iter().map(|flag| FlagTest::new(flag, true));
        let unwanted = self.no_flag.iter().map(|flag| FlagTest::new(flag, false));
        Ok(Selection {
            mailboxes: patterns,
            guids: self.guid.iter().copied().collect(),
            uids: self.uid.clone(),
            headers: self.header_tests(),
            arrived: span(&self.since, &self.before)?,
            sent: span(&self.sent_since, &self.sent_before)?,
            flags: wanted.chain(unwanted).collect(),
            min_size: self.min_size,
            max_size: self.max_size,
            expunged: yes_or_no(self.expunged, self.not_expunged),
            expunged_at: span(&self.expunged_since, &self.expunged_until)?,
            deleted: yes_or_no(self.deleted, self.not_deleted),
            deleted_at: span(&self.deleted_since, &self.deleted_until)?,
        })
    }

    fn header_tests(&self) -> Vec<HeaderTest> {
        let named = |name: &str| Field::Named(name.to_owned());
        let fields = [
            (&self.from, named("from")),
            (&self.to, Field::Recipient),
            (&self.subject, named("subject")),
            (&self.message_id, named("message-id")),
        ];
        let tests = fields.into_iter().flat_map(|(texts, field)| {
            let test = move |text: &String| HeaderTest::new(field.clone(), text);
            texts.iter().map(test)
        });
        tests.chain(self.header.iter().cloned()).collect()
    }
}

fn yes_or_no(yes: bool, no: bool) -> Option<bool> {
    (yes || no).then_some(yes)
}

fn header(words: &str) -> Result<HeaderTest, String> {
    let (name, value) = words
        .split_once(':')
        .filter(|(name, _)| !name.trim().is_empty())
        .ok_or_else(|| format!("{words:?} has no field name: write 'List-Id: TEXT'"))?;
    let name = Field::Named(name.trim().to_owned());
    Ok(HeaderTest::new(name, &text(value)?))
}
