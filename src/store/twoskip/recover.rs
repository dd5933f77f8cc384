//! Undoing what did not commit (spec: ondisk 3.8, steps 1 and 2).
//!
//! Used after a crash and to abort. May itself be interrupted at any point: the header says DIRTY
//! until all is done, and every step may be done again.

use super::chain;
use super::error::{Fault, damaged};
use super::header::Header;
use super::media::Media;

/// Makes the file what it was at the last commit. The caller holds the exclusive lock.
///
/// Reads heads and keys only: a damaged value is no reason to give up the others.
pub(super) fn roll_back(media: &dyn Media, header: &mut Header) -> Result<(), Fault> {
    if media.len()? < header.current_size {
        return damaged(
            header.current_size,
            "the file is shorter than its header says",
        );
    }
    let view = header.view(media);
    let links = chain::links(&view)?;
    // Only now: a file that cannot be rolled back is left as it is.
    if !header.is_dirty() {
        header.mark_dirty(media)?;
    }
    chain::for_each_backwards(&links, |link, next| {
        let record = view.record(link.offset)?;
        let mut mended = record.clone();
        for pointer in &mut mended.pointers[..2] {
            if *pointer >= header.current_size {
                *pointer = 0;
            }
        }
        for list in link.upper_lists() {
            mended.pointers[list + 1] = next[list];
        }
        if mended != record {
            media.write_at(mended.offset, &mended.head())?;
        }
        Ok(())
    })?;
    media.set_len(header.current_size)?;
    media.sync()?;
    header.num_records = links.len() as u64 - 1;
    header.mark_clean(media)
}
