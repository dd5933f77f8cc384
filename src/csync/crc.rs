//! SYNC_CRC (placeholder until branch csync lands)
use crate::types::Guid;
/// part of one record
pub fn record<'a>(
    uid: u32,
    modseq: u64,
    last_updated: i64,
    flags: impl Iterator<Item = &'a str>,
    internaldate: i64,
    guid: &Guid,
) -> u32 {
    let f = flags.fold(0, |c, f| {
        c ^ crc32fast::hash(f.to_ascii_lowercase().as_bytes())
    });
    crc32fast::hash(format!("{uid} {modseq} {last_updated} ({f}) {internaldate} {guid}").as_bytes())
}
