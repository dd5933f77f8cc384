//! The header of a mailbox in the form that clients require in GET answers (spec: csync 3.3).

use crate::csync::dlist::{KvList, Value};
pub(super) use crate::store::header::{from_row, mailbox_line};

/// What an intermediate mailbox has no keys for and clients require (spec: csync 5.5). A PARTITION
/// other than NIL would make 3.12 rename it to itself on every run.
const INTERMEDIATE: [(&str, Filler); 9] = [
    ("PARTITION", Filler::Nil),
    ("ACL", Filler::Empty),
    ("OPTIONS", Filler::Empty),
    ("UIDVALIDITY", Filler::Zero),
    ("LAST_UID", Filler::Zero),
    ("RECENTUID", Filler::Zero),
    ("RECENTTIME", Filler::Zero),
    ("POP3_LAST_LOGIN", Filler::Zero),
    ("SYNC_CRC", Filler::Zero),
];

enum Filler {
    Nil,
    Empty,
    Zero,
}

/// Adds the keys that clients require and intermediates lack.
pub(super) fn complete_intermediate(mut keys: KvList) -> KvList {
    for (key, filler) in INTERMEDIATE {
        if keys.get(key).is_none() {
            let value = match filler {
                Filler::Nil => Value::Nil,
                Filler::Empty => Value::string(""),
                Filler::Zero => Value::number(0),
            };
            keys.push(key, value);
        }
    }
    keys
}
