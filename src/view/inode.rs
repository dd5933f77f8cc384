//! Inode numbers: computed from the ids in the index, never handed out in the order of look-ups, so
//! they are the same after a remount and after a reindex, and any number the kernel still holds can
//! be resolved without a table of live inodes. Nothing is hashed into a number, so nothing collides.
//!
//! ```text
//! bit 63        44   43    42         32   31                      0
//! +---------------+------+--------------+--------------------------+
//! | block (20)    | kind | mailbox (11) | low (32)                 |
//! +---------------+------+--------------+--------------------------+
//! kind 0  a message      low = its UID
//! kind 0, mailbox 0      low = 2^31 + message id: a message that several mailboxes show as one file
//! kind 1  a folder       low = branch * 2^20 + 0 the mailbox itself, n = its n-th ancestor that is no
//!                              mailbox; 2^24 + n: cur, new or tmp of a maildir
//!                        low = 2^30 + branch: the list of its missing messages
//!                        low = 2^30 + 16 + UID: the calendar or address book object in a message
//!                        low = 2^31 + message id: a message whose UID another one has too
//! kind 1, mailbox 0      low = 1.. what every user has, 2^30 + row id: a sieve script,
//!                        2^31 + chunk id: a piece of the data file
//! ```
//!
//! A *block* holds 2048 mailbox ids. A mount of one user owns the lower half of the blocks: block n
//! holds the mailboxes from n * 2048. In a mount of all users each user has a block of his own, chosen
//! from his name ([`slots`]), and further blocks, given out when he is opened, if his mailbox ids go
//! beyond 2047: only those numbers may differ after a remount. The last quarter of the blocks is for
//! the trees of past moments ([`moment_slot`]).

use std::collections::BTreeSet;
use std::ops::Range;

/// The root of every mount; `FUSE_ROOT_ID`. No other file gets this number: it would be UID 1 of
/// mailbox 0, and mailbox ids start at 1.
pub const ROOT: u64 = 1;

const BLOCK_BITS: u32 = 20;
const MAILBOX_BITS: u32 = 11;
const BRANCH_BITS: u32 = 20;
const BOX: u32 = 1 << 24;
const LIST: u32 = 1 << 30;
const PART: u32 = LIST + 16;
const SCRIPT: u32 = 1 << 30;
const HIGH: u32 = 1 << 31;

/// The blocks that names may choose; the rest is for users with more than 2047 mailboxes.
const SLOTS: Range<u32> = 1..1 << (BLOCK_BITS - 1);

/// The blocks that moments may choose.
const MOMENTS: Range<u32> = 3 << (BLOCK_BITS - 2)..1 << BLOCK_BITS;

/// What an inode number stands for within one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Local {
    /// One of the directories that every user has.
    Fixed(Fixed),
    /// A piece of the data file, named by the chunk that starts it; 0 = bytes before the first.
    Piece(u32),
    /// A directory: a mailbox (`above` = 0), or the ancestor that many levels above it.
    Folder {
        /// Row id of the mailbox.
        mailbox: u32,
        /// The part of the tree it stands in.
        branch: Branch,
        /// Levels above the mailbox.
        above: u32,
    },
    /// `cur`, `new` or `tmp` of a mailbox shown as maildir.
    Box {
        /// Row id of the mailbox.
        mailbox: u32,
        /// Which one.
        which: MailBox,
    },
    /// The list of messages of a mailbox whose bodies the backup does not hold.
    Missing {
        /// Row id of the mailbox.
        mailbox: u32,
        /// The part of the tree it stands in.
        branch: Branch,
    },
    /// The calendar or address book object in a message.
    Part {
        /// Row id of the mailbox.
        mailbox: u32,
        /// UID of the message.
        uid: u32,
    },
    /// A sieve script.
    Script(u32),
    /// A message that several mailboxes show as one file.
    Shared {
        /// Row id of the message.
        message: u32,
    },
    /// A message.
    Mail {
        /// Row id of the mailbox.
        mailbox: u32,
        /// Its UID.
        uid: u32,
    },
    /// A message whose UID belongs to another message too (C's index allows that).
    Twin {
        /// Row id of the mailbox.
        mailbox: u32,
        /// Row id of the message.
        message: u32,
    },
}

/// The parts of a user's tree that hold folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Branch {
    /// `mailboxes`: live messages of live mailboxes.
    Mailboxes = 0,
    /// `expunged`: what was deleted in any mailbox.
    Expunged = 1,
    /// `deleted`: the messages of deleted mailboxes.
    Deleted = 2,
}

/// The directories of a maildir.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailBox {
    /// All messages.
    Cur = 0,
    /// Empty.
    New = 1,
    /// Empty.
    Tmp = 2,
}

/// What every user has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fixed {
    /// The user's own directory.
    User = 1,
    /// `mailboxes` (`Maildir`)
    Mailboxes = 2,
    /// `chunks`
    Chunks = 3,
    /// `expunged`
    Expunged = 4,
    /// `deleted`
    Deleted = 5,
    /// `sieve`
    Sieve = 6,
    /// `mailboxes.json`
    MailboxList = 7,
    /// `seen.json`
    Seen = 8,
    /// `subscriptions.txt`
    Subscriptions = 9,
    /// `Maildir/cur`
    Cur = 10,
    /// `Maildir/new`
    New = 11,
    /// `Maildir/tmp`
    Tmp = 12,
}

impl Branch {
    /// All of them.
    pub const ALL: [Branch; 3] = [Branch::Mailboxes, Branch::Expunged, Branch::Deleted];
}

impl MailBox {
    /// All of them.
    pub const ALL: [MailBox; 3] = [MailBox::Cur, MailBox::New, MailBox::Tmp];

    /// Name of the directory.
    pub fn name(self) -> &'static str {
        match self {
            MailBox::Cur => "cur",
            MailBox::New => "new",
            MailBox::Tmp => "tmp",
        }
    }
}

impl Fixed {
    const ALL: [Fixed; 12] = [
        Fixed::User,
        Fixed::Mailboxes,
        Fixed::Chunks,
        Fixed::Expunged,
        Fixed::Deleted,
        Fixed::Sieve,
        Fixed::MailboxList,
        Fixed::Seen,
        Fixed::Subscriptions,
        Fixed::Cur,
        Fixed::New,
        Fixed::Tmp,
    ];
}

/// The blocks of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocks {
    /// The only user of the mount: his directory is the root, and local = global block.
    Sole,
    /// One of many users: his local block n is the n-th of these.
    Shared(Vec<u32>),
}

/// Number of blocks that mailbox ids up to `highest` need.
pub fn blocks_needed(highest: u32) -> u32 {
    (highest >> MAILBOX_BITS) + 1
}

/// The first number that users' extra blocks are taken from, and how many there are.
pub fn extra_blocks() -> Range<u32> {
    SLOTS.end..MOMENTS.start
}

/// The block (20 bits) that an inode number lies in: tells the user in a mount of many.
pub fn block_of(ino: u64) -> u32 {
    (ino >> (64 - BLOCK_BITS)) as u32
}

impl Blocks {
    /// The inode number; `None` when the ids are beyond what can be numbered (message or chunk ids
    /// from 2^31, mailboxes beyond the blocks): such an index is not one that we or C wrote.
    pub fn encode(&self, local: Local) -> Option<u64> {
        let (kind, mailbox, low) = match local {
            Local::Fixed(Fixed::User) if *self == Blocks::Sole => return Some(ROOT),
            Local::Fixed(fixed) => (1, 0, fixed as u32),
            Local::Piece(chunk) => (1, 0, HIGH.checked_add(chunk)?),
            Local::Script(id) if id >= SCRIPT => return None,
            Local::Script(id) => (1, 0, SCRIPT + id),
            Local::Shared { message } => (0, 0, HIGH.checked_add(message)?),
            Local::Folder { above, .. } if above >= 1 << BRANCH_BITS => return None,
            Local::Folder {
                mailbox,
                branch,
                above,
            } => (1, real(mailbox)?, (branch as u32) << BRANCH_BITS | above),
            Local::Box { mailbox, which } => (1, real(mailbox)?, BOX + which as u32),
            Local::Missing { mailbox, branch } => (1, real(mailbox)?, LIST + branch as u32),
            Local::Part { uid, .. } if uid >= HIGH - PART => return None,
            Local::Part { mailbox, uid } => (1, real(mailbox)?, PART + uid),
            Local::Twin { mailbox, message } => (1, real(mailbox)?, HIGH.checked_add(message)?),
            Local::Mail { mailbox, uid } => (0, real(mailbox)?, uid),
        };
        let block = match self {
            Blocks::Sole => Some(mailbox >> MAILBOX_BITS).filter(|b| *b < SLOTS.end)?,
            Blocks::Shared(blocks) => *blocks.get((mailbox >> MAILBOX_BITS) as usize)?,
        };
        let mailbox = mailbox & ((1 << MAILBOX_BITS) - 1);
        Some(
            u64::from(block) << (64 - BLOCK_BITS)
                | kind << (32 + MAILBOX_BITS)
                | u64::from(mailbox) << 32
                | u64::from(low),
        )
    }

    /// What the number stands for; `None` for a number that [`Blocks::encode`] never gives.
    pub fn decode(&self, ino: u64) -> Option<Local> {
        if ino == ROOT {
            return (*self == Blocks::Sole).then_some(Local::Fixed(Fixed::User));
        }
        let block = block_of(ino);
        let local_block = match self {
            Blocks::Sole => Some(block).filter(|block| *block < SLOTS.end)?,
            Blocks::Shared(blocks) => blocks.iter().position(|b| *b == block)? as u32,
        };
        let is_mail = ino >> (32 + MAILBOX_BITS) & 1 == 0;
        let mailbox = (ino >> 32) as u32 & ((1 << MAILBOX_BITS) - 1);
        let mailbox = local_block << MAILBOX_BITS | mailbox;
        let low = ino as u32;
        match (is_mail, mailbox) {
            (true, 0) => low
                .checked_sub(HIGH)
                .map(|message| Local::Shared { message }),
            (true, mailbox) => Some(Local::Mail { mailbox, uid: low }),
            (false, 0) => decode_fixed(low),
            (false, mailbox) => decode_folder(mailbox, low),
        }
    }
}

fn real(mailbox: u32) -> Option<u32> {
    (mailbox != 0).then_some(mailbox)
}

fn decode_fixed(low: u32) -> Option<Local> {
    if let Some(chunk) = low.checked_sub(HIGH) {
        return Some(Local::Piece(chunk));
    }
    if let Some(id) = low.checked_sub(SCRIPT) {
        return Some(Local::Script(id));
    }
    let known = Fixed::ALL.into_iter().find(|fixed| *fixed as u32 == low);
    known.map(Local::Fixed)
}

fn decode_folder(mailbox: u32, low: u32) -> Option<Local> {
    if let Some(message) = low.checked_sub(HIGH) {
        return Some(Local::Twin { mailbox, message });
    }
    if let Some(uid) = low.checked_sub(PART) {
        return Some(Local::Part { mailbox, uid });
    }
    let branch = |number: u32| Branch::ALL.get(number as usize).copied();
    if let Some(number) = low.checked_sub(LIST) {
        let branch = branch(number)?;
        return Some(Local::Missing { mailbox, branch });
    }
    if let Some(number) = low.checked_sub(BOX) {
        let which = MailBox::ALL.get(number as usize).copied()?;
        return Some(Local::Box { mailbox, which });
    }
    Some(Local::Folder {
        mailbox,
        branch: branch(low >> BRANCH_BITS)?,
        above: low & ((1 << BRANCH_BITS) - 1),
    })
}

/// The block of a past moment's tree: the hash of its name, or the next one that `taken` does not
/// know. `None` when all are taken.
pub fn moment_slot(name: &str, taken: impl Fn(u32) -> bool) -> Option<u32> {
    let count = MOMENTS.end - MOMENTS.start;
    let first = (fnv(name) % u64::from(count)) as u32;
    let mut slots = (0..count).map(|n| MOMENTS.start + (first + n) % count);
    slots.find(|slot| !taken(*slot))
}

/// Whether a block belongs to the tree of a past moment.
pub fn is_moment(block: u32) -> bool {
    MOMENTS.contains(&block)
}

/// A block for each of these names, which must be sorted and unique: the hash of the name (FNV-1a),
/// or the next free one. A name added or removed leaves the blocks of the others alone, unless two
/// hashes meet (1 in 100 when one name joins 5,000).
///
/// Returns `None` when there are more names than blocks (524,287).
pub fn slots<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Vec<u32>> {
    let mut taken = BTreeSet::new();
    let mut slots = Vec::new();
    for name in names {
        if taken.len() as u32 >= SLOTS.end - SLOTS.start {
            return None;
        }
        let mut slot = SLOTS.start + (fnv(name) % u64::from(SLOTS.end - SLOTS.start)) as u32;
        while !taken.insert(slot) {
            slot += 1;
            if slot == SLOTS.end {
                slot = SLOTS.start;
            }
        }
        slots.push(slot);
    }
    Some(slots)
}

fn fnv(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_local() -> impl Strategy<Value = Local> {
        let mailbox = 1u32..6000;
        prop_oneof![
            Just(Local::Fixed(Fixed::User)),
            (0u32..1 << 31).prop_map(Local::Piece),
            (0usize..12).prop_map(|n| Local::Fixed(Fixed::ALL[n])),
            (mailbox.clone(), 0usize..3, 0u32..40).prop_map(|(mailbox, branch, above)| {
                let branch = Branch::ALL[branch];
                Local::Folder {
                    mailbox,
                    branch,
                    above,
                }
            }),
            (mailbox.clone(), 0usize..3).prop_map(|(mailbox, which)| Local::Box {
                mailbox,
                which: MailBox::ALL[which]
            }),
            (mailbox.clone(), 0usize..3).prop_map(|(mailbox, branch)| Local::Missing {
                mailbox,
                branch: Branch::ALL[branch]
            }),
            (mailbox.clone(), 0u32..1 << 29)
                .prop_map(|(mailbox, uid)| Local::Part { mailbox, uid }),
            (0u32..1 << 30).prop_map(Local::Script),
            (0u32..1 << 31).prop_map(|message| Local::Shared { message }),
            (mailbox.clone(), any::<u32>()).prop_map(|(mailbox, uid)| Local::Mail { mailbox, uid }),
            (mailbox, 0u32..1 << 31)
                .prop_map(|(mailbox, message)| Local::Twin { mailbox, message }),
        ]
    }

    proptest! {
        /// A round trip in both kinds of mount proves that no two files share a number.
        #[test]
        fn every_number_means_one_file(local in any_local()) {
            for blocks in [Blocks::Sole, Blocks::Shared(vec![77, 600_000, 5])] {
                let ino = blocks.encode(local).unwrap();
                prop_assert_eq!(blocks.decode(ino), Some(local));
                let is_root = blocks == Blocks::Sole && local == Local::Fixed(Fixed::User);
                prop_assert_eq!(ino == ROOT, is_root);
            }
        }

        #[test]
        fn decoding_any_number_is_safe_and_exact(ino: u64) {
            for blocks in [Blocks::Sole, Blocks::Shared(vec![0, 1, 2, 3])] {
                if let Some(local) = blocks.decode(ino) {
                    prop_assert_eq!(blocks.encode(local), Some(ino));
                }
            }
        }
    }

    #[test]
    fn ids_beyond_the_scheme_are_refused() {
        assert_eq!(Blocks::Sole.encode(Local::Piece(1 << 31)), None);
        assert_eq!(
            Blocks::Sole.encode(Local::Mail { mailbox: 0, uid: 1 }),
            None
        );
        let one_block = Blocks::Shared(vec![9]);
        let far = Local::Mail {
            mailbox: 2048,
            uid: 1,
        };
        assert_eq!(one_block.encode(far), None);
        assert_eq!(blocks_needed(2047), 1);
        assert_eq!(blocks_needed(2048), 2);
    }

    #[test]
    fn slots_are_unique_and_stay_when_a_name_joins() {
        let names: Vec<String> = (0..5000).map(|n| format!("user{n:05}")).collect();
        let before = slots(names.iter().map(String::as_str)).unwrap();
        let unique: BTreeSet<_> = before.iter().collect();
        assert_eq!(unique.len(), names.len());

        let with_newcomer = std::iter::once("aaa").chain(names.iter().map(String::as_str));
        let after = slots(with_newcomer).unwrap();
        let moved = before.iter().zip(&after[1..]).filter(|(a, b)| a != b);
        assert_eq!(moved.count(), 0);
    }
}
