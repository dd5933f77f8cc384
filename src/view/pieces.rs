//! `chunks/`: the data file cut at the starts of its gzip members, so that `cat chunks/*.gz` is the
//! data file again, byte for byte. Bytes that no indexed chunk covers (left by a crash: spec ondisk
//! 4.1) belong to the piece before them, or to piece 0 when nothing is before them. Pure.

use super::source::Chunk;

/// A piece of the data file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Id of the chunk that starts it; 0 for bytes before the first chunk.
    pub chunk: u32,
    /// File name; sorts like the offsets.
    pub name: String,
    /// First byte in the data file.
    pub offset: u64,
    /// Number of bytes.
    pub len: u64,
    /// When the chunk ended, in unix seconds.
    pub time: i64,
}

/// Cuts a data file of `len` bytes. Chunks said to start behind the end (the file was cut) become
/// empty pieces. `None` when a chunk's id is not from 1 to 2^31 - 1: no writer gives such ids.
pub fn cut(mut chunks: Vec<Chunk>, len: u64) -> Option<Vec<Piece>> {
    chunks.sort_by_key(|chunk| (chunk.offset, chunk.id));
    let mut starts = Vec::with_capacity(chunks.len() + 1);
    let first = chunks.first().map_or(len, |chunk| chunk.offset.min(len));
    if first > 0 {
        let time = chunks.first().map_or(0, |chunk| chunk.time);
        starts.push((0, 0, time));
    }
    for chunk in &chunks {
        let id = u32::try_from(chunk.id).ok();
        let id = id.filter(|id| (1..1 << 31).contains(id))?;
        starts.push((id, chunk.offset.min(len), chunk.time));
    }
    let ordered = starts.is_sorted_by_key(|start| start.0);
    let width = digits(starts.iter().map(|start| start.0).max().unwrap_or(0));
    let ends = starts.iter().skip(1).map(|start| start.1).chain([len]);
    let pieces = starts.iter().zip(ends).enumerate();
    let pieces = pieces.map(|(place, (&(chunk, offset, time), end))| Piece {
        chunk,
        name: name(place, chunk, width, ordered),
        offset,
        len: end - offset,
        time,
    });
    Some(pieces.collect())
}

/// The inflated chunks, for `chunks=plain`: those whose length the index knows. `None` as [`cut`].
pub fn plain(mut chunks: Vec<Chunk>) -> Option<Vec<Piece>> {
    chunks.sort_by_key(|chunk| chunk.id);
    let width = digits(
        chunks
            .last()
            .map_or(0, |c| u32::try_from(c.id).unwrap_or(0)),
    );
    let known = chunks
        .iter()
        .filter_map(|chunk| Some((chunk, chunk.length?)));
    known
        .map(|(chunk, len)| {
            let id = u32::try_from(chunk.id).ok();
            let id = id.filter(|id| (1..1 << 31).contains(id))?;
            Some(Piece {
                chunk: id,
                name: format!("{id:0width$}.txt"),
                offset: chunk.offset,
                len,
                time: chunk.time,
            })
        })
        .collect()
}

/// `00000017.gz`. Ids grow with the offsets in every file that we or C write; should they not, the
/// place in the file goes first.
fn name(place: usize, chunk: u32, width: usize, ordered: bool) -> String {
    match ordered {
        true => format!("{chunk:0width$}.gz"),
        false => format!("{place:08}-{chunk}.gz"),
    }
}

fn digits(id: u32) -> usize {
    id.to_string().len().max(8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunk(id: i64, offset: u64) -> Chunk {
        let time = 1000 + id;
        let length = Some(offset * 2);
        Chunk {
            id,
            offset,
            length,
            time,
        }
    }

    fn cut_named(chunks: Vec<Chunk>, len: u64) -> Vec<(String, u64, u64)> {
        let pieces = cut(chunks, len).unwrap();
        let named = pieces.into_iter().map(|p| (p.name, p.offset, p.len));
        named.collect()
    }

    #[test]
    fn members_and_the_bytes_around_them() {
        let named = |name: &str, offset, len| (name.to_owned(), offset, len);
        assert_eq!(
            cut_named(vec![chunk(1, 0), chunk(2, 100)], 150),
            [named("00000001.gz", 0, 100), named("00000002.gz", 100, 50)]
        );
        assert_eq!(
            cut_named(vec![chunk(3, 10)], 50),
            [named("00000000.gz", 0, 10), named("00000003.gz", 10, 40)]
        );
        assert_eq!(
            cut_named(vec![chunk(1, 0), chunk(2, 100)], 60),
            [named("00000001.gz", 0, 60), named("00000002.gz", 60, 0)]
        );
        assert_eq!(cut_named(vec![], 5), [named("00000000.gz", 0, 5)]);
        assert_eq!(cut_named(vec![], 0), []);
        assert_eq!(cut(vec![chunk(0, 0)], 5), None);
        assert_eq!(cut(vec![chunk(1 << 31, 0)], 5), None);
    }

    #[test]
    fn inflated_chunks() {
        let mut open = chunk(3, 9);
        open.length = None;
        let pieces = plain(vec![open, chunk(2, 5), chunk(1, 0)]).unwrap();
        let found: Vec<_> = pieces.iter().map(|p| (p.name.as_str(), p.len)).collect();
        assert_eq!(found, [("00000001.txt", 0), ("00000002.txt", 10)]);
        assert_eq!(plain(vec![chunk(1 << 31, 5)]), None);
    }

    proptest! {
        /// Names sort like offsets, and the pieces tile the file: that is `cat chunks/*.gz`.
        #[test]
        fn pieces_tile_the_file(
            offsets in proptest::collection::btree_set(0u64..1000, 0..20),
            first_id in 1i64..200_000_000,
            shuffle: bool,
            len in 0u64..1000,
        ) {
            let ids = first_id..;
            let mut chunks: Vec<_> = ids.zip(&offsets).map(|(id, o)| chunk(id, *o)).collect();
            if shuffle {
                for (n, chunk) in chunks.iter_mut().enumerate() {
                    chunk.id = first_id + (n as i64 * 7) % 20;
                }
            }
            let pieces = cut(chunks, len).unwrap();
            let mut by_name = pieces.clone();
            by_name.sort_by(|a, b| a.name.cmp(&b.name));
            prop_assert_eq!(&by_name, &pieces);
            let end = by_name.iter().fold(0, |at, piece| {
                assert_eq!(piece.offset, at);
                at + piece.len
            });
            prop_assert_eq!(end, len);
        }
    }
}
