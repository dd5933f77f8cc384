//! SYNC_CRC and SYNC_CRC_ANNOT, the sums over the live records of a mailbox (spec: csync 7.1).
//!
//! Both are XORs, so a record is put in and taken out by the same call, in any order. Records with
//! `\Expunged` count for nothing.

use super::command::Record;
use super::dlist::{KvList, Value};
use crate::types::Guid;

/// SYNC_CRC: uids, modseqs, dates, flags and GUIDs. The same in all versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncCrc(u32);

impl SyncCrc {
    /// The sum of an empty mailbox, 0.
    pub fn new() -> SyncCrc {
        SyncCrc::default()
    }

    /// Puts the record in, or takes it out.
    pub fn toggle(&mut self, record: &Record) {
        if !record.expunged {
            self.0 ^= record_crc(record);
        }
    }

    /// The sum as it stands in SYNC_CRC.
    pub fn value(self) -> u32 {
        self.0
    }
}

/// How a sender counts the thread id, which the wire always shows with 16 digits. Nothing on the
/// wire tells the version: try both, and on a mismatch only log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thrid {
    /// As on the wire (master).
    Padded,
    /// Without leading zeros (up to 3.12).
    Unpadded,
}

/// SYNC_CRC_ANNOT: the annotations of the records, as many of them as came on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncCrcAnnot {
    crc: u32,
    thrid: Thrid,
}

impl SyncCrcAnnot {
    /// The sum of an empty mailbox, 12345678.
    pub fn new(thrid: Thrid) -> SyncCrcAnnot {
        SyncCrcAnnot {
            crc: 12_345_678,
            thrid,
        }
    }

    /// Puts the annotations of the record in, or takes them out.
    pub fn toggle(&mut self, record: &Record) {
        if record.expunged {
            return;
        }
        let annotations = record.annotations.as_ref().and_then(Value::as_list);
        for annotation in annotations
            .unwrap_or_default()
            .iter()
            .filter_map(Value::as_kvlist)
        {
            self.crc ^= annotation_crc(record.uid, annotation, self.thrid);
        }
    }

    /// The sum as it stands in SYNC_CRC_ANNOT.
    pub fn value(self) -> u32 {
        self.crc
    }
}

fn record_crc(record: &Record) -> u32 {
    let Record {
        uid,
        modseq,
        last_updated,
        internaldate,
        ref guid,
        ..
    } = *record;
    let flags = record.flags.iter().map(String::as_str);
    self::record(uid, modseq, last_updated, flags, internaldate, guid)
}

/// The part of one live record in SYNC_CRC: crc32 of
/// `"<uid> <modseq> <last_updated> (<flagcrc>) <internaldate> <guid>"`, where flagcrc is the XOR of
/// the crc32 of each lower-cased flag.
pub fn record<'f>(
    uid: u32,
    modseq: u64,
    last_updated: i64,
    flags: impl Iterator<Item = &'f str>,
    internaldate: i64,
    guid: &Guid,
) -> u32 {
    // C prints dates with an unsigned format, here as on the wire.
    let (last_updated, internaldate) = (last_updated.cast_unsigned(), internaldate.cast_unsigned());
    let flags = flags_crc(flags);
    let text = format!("{uid} {modseq} {last_updated} ({flags}) {internaldate} {guid}");
    crc32fast::hash(text.as_bytes())
}

fn flags_crc<'f>(flags: impl Iterator<Item = &'f str>) -> u32 {
    flags
        .map(|flag| crc32fast::hash(flag.to_ascii_lowercase().as_bytes()))
        .fold(0, |all, crc| all ^ crc)
}

/// crc32 of `"<uid> <entry> <userid> "` followed by the value. USERID NIL counts as empty.
fn annotation_crc(uid: u32, annotation: &KvList, thrid: Thrid) -> u32 {
    let octets = |key| {
        annotation
            .get(key)
            .and_then(Value::as_bytes)
            .unwrap_or_default()
    };
    let entry = octets("ENTRY");
    let mut value = octets("VALUE");
    if thrid == Thrid::Unpadded && entry == b"/vendor/cmu/cyrus-imapd/thrid" {
        let zeros = value.iter().take_while(|&&digit| digit == b'0').count();
        value = &value[zeros..];
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(format!("{uid} ").as_bytes());
    crc.update(entry);
    crc.update(b" ");
    crc.update(octets("USERID"));
    crc.update(b" ");
    crc.update(value);
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csync::command::{Apply, parse_apply};

    fn records(list: &str) -> Vec<Record> {
        let line = format!("MAILBOX %(UNIQUEID u MBOXNAME user.x RECORD ({list}))");
        let Ok(Apply::Mailbox(update)) = parse_apply(line.as_bytes()) else {
            panic!("{line}");
        };
        update.records.iter().map(Result::unwrap).collect()
    }

    fn record(uid: u32, modseq: u64, date: i64, flags: &str, guid: &str) -> Record {
        let text = format!(
            "%(UID {uid} MODSEQ {modseq} LAST_UPDATED {date} FLAGS ({flags}) \
             INTERNALDATE {date} SIZE 142 GUID {guid})"
        );
        records(&text).remove(0)
    }

    /// Spec csync 16, capture 01 (3.6.1).
    #[test]
    fn sync_crc_of_361() {
        let date = 1_795_458_556;
        let all = [
            record(1, 6, date, "", "8eb579e6cc93d98e510500fcdc7032ac0f3d09a0"),
            record(
                2,
                7,
                date,
                "\\Seen",
                "1af429ed6d40e7420f481cfdf186a5b462926621",
            ),
            record(3, 8, date, "", "7032939dc1d43abd54e37acf37e298aeac48104a"),
        ];
        assert_eq!(
            all.each_ref().map(record_crc),
            [215_661_446, 3_876_590_913, 2_404_807_673]
        );
        assert_eq!(flags_crc(["\\Seen"].into_iter()), 3_201_761_491);
        let mut sum = SyncCrc::new();
        assert_eq!(sum.value(), 0);
        all.iter().for_each(|record| sum.toggle(record));
        assert_eq!(sum.value(), 1_688_001_854);
        all.iter().for_each(|record| sum.toggle(record));
        assert_eq!(sum.value(), 0);
    }

    /// Spec csync 16, capture 80 (master).
    #[test]
    fn sync_crc_of_master() {
        let date = 1_795_459_714;
        let one = record(
            1,
            6,
            date,
            "KwA \\Seen",
            "0aae7636fc4dd58e088013aa39ece621241969a9",
        );
        let two = record(2, 7, date, "", "9d9a64746f2a17aeb96379b74643684c9627be23");
        let gone = record(
            3,
            8,
            date,
            "\\Expunged",
            "9d9a64746f2a17aeb96379b74643684c9627be23",
        );
        assert_eq!(
            flags_crc(one.flags.iter().map(String::as_str)),
            1_608_467_455
        );
        assert_eq!(
            [record_crc(&one), record_crc(&two)],
            [104_033_728, 2_270_494_664]
        );
        let mut sum = SyncCrc::new();
        [one, two, gone]
            .iter()
            .for_each(|record| sum.toggle(record));
        assert_eq!(sum.value(), 2_171_048_456);
    }

    /// Spec csync 16, capture 18 `user.anne.Sent` (3.6.1).
    #[test]
    fn sync_crc_annot_with_user_annotations() {
        let list = "%(UID 1 MODSEQ 9 LAST_UPDATED 0 FLAGS () INTERNALDATE 0 SIZE 1 \
             GUID 8eb579e6cc93d98e510500fcdc7032ac0f3d09a0 ANNOTATIONS (\
             %(ENTRY /vendor/cmu/cyrus-imapd/thrid USERID \"\" MODSEQ 0 VALUE 5c84bf26d067a825) \
             %(ENTRY /vendor/cmu/cyrus-imapd/savedate USERID \"\" MODSEQ 0 VALUE 1795458556) \
             %(ENTRY /vendor/cmu/cyrus-imapd/createdmodseq USERID NIL MODSEQ 0 VALUE 9) \
             %(ENTRY /comment USERID \"\" MODSEQ 9 VALUE sh) \
             %(ENTRY /comment USERID anne MODSEQ 9 VALUE \"per msg\")))";
        let mut sum = SyncCrcAnnot::new(Thrid::Unpadded);
        assert_eq!(sum.value(), 12_345_678);
        sum.toggle(&records(list)[0]);
        assert_eq!(sum.value(), 1_910_376_187);
    }

    /// Spec csync 16, capture 80 (master): the thread id counts with its leading zero.
    #[test]
    fn sync_crc_annot_of_master() {
        let guid = "0aae7636fc4dd58e088013aa39ece621241969a9";
        let record = |uid: u32, nsec: u32, createdmodseq: u32, thrid: &str| {
            let annotation = |name: &str, value: &str| {
                format!(
                    "%(ENTRY /vendor/cmu/cyrus-imapd/{name} USERID \"\" MODSEQ 0 VALUE {value})"
                )
            };
            let text = format!(
                "%(UID {uid} MODSEQ 6 LAST_UPDATED 0 FLAGS () INTERNALDATE 0 SIZE 1 GUID {guid} \
                 ANNOTATIONS ({} {} {} {}))",
                annotation("internaldate.nsec", &nsec.to_string()),
                annotation("createdmodseq", &createdmodseq.to_string()),
                annotation("savedate", "1795459714"),
                annotation("thrid", thrid),
            );
            records(&text).remove(0)
        };
        let all = [
            record(1, 586_651_340, 6, "9b5dafd7f724de9c"),
            record(2, 642_387_478, 7, "0c69bd9564431cbc"),
        ];
        let sum = |thrid| {
            let mut sum = SyncCrcAnnot::new(thrid);
            all.iter().for_each(|record| sum.toggle(record));
            sum.value()
        };
        assert_eq!(sum(Thrid::Padded), 171_968_965);
        assert_ne!(sum(Thrid::Unpadded), 171_968_965);
    }
}
