//! The COMPRESS DEFLATE layer (spec: csync 1.5): raw deflate in both directions, flushed so that the
//! peer can read every reply at once. Without sockets and without the session.
//!
//! A compressor costs some 300 KB. Idle connections should not: short replies leave as stored blocks,
//! which need none, and the one made for a long reply is dropped by [`Deflate::shrink`]. That is
//! allowed, since every reply starts on a byte boundary and refers to nothing before it.

use std::io;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Replies up to this length are stored, not compressed.
const STORED_LIMIT: usize = 512;
/// A stored block holds a 16 bit length; one is enough for [`STORED_LIMIT`].
const STORED_HEADER: usize = 5;
/// Inflated octets handed on at a time.
const STEP: usize = 64 << 10;

/// Both directions of one compressed connection.
pub(crate) struct Deflate {
    inflate: Decompress,
    deflate: Option<Compress>,
}

impl Deflate {
    /// Two fresh streams.
    pub(crate) fn new() -> Deflate {
        Deflate {
            inflate: Decompress::new(false),
            deflate: None,
        }
    }

    /// Inflates from the front of `input` until about 64 KiB are in `clear` (which is cleared first)
    /// or all of `input` is used. An empty `clear` means: more input is needed.
    pub(crate) fn inflate(&mut self, input: &mut &[u8], clear: &mut Vec<u8>) -> io::Result<()> {
        clear.clear();
        clear.reserve(STEP);
        loop {
            let (consumed, produced) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self
                .inflate
                .decompress_vec(input, clear, FlushDecompress::Sync)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let consumed = (self.inflate.total_in() - consumed) as usize;
            *input = &input[consumed..];
            if status == Status::StreamEnd && !input.is_empty() {
                let text = "octets after the end of the deflate stream";
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            let stuck = consumed == 0 && self.inflate.total_out() == produced;
            if stuck || input.is_empty() || clear.len() == clear.capacity() {
                return Ok(());
            }
        }
    }

    /// Appends `reply`, compressed and flushed, to `out`.
    pub(crate) fn deflate(&mut self, reply: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match u16::try_from(reply.len()) {
            Ok(0) => Ok(()),
            Ok(len) if reply.len() <= STORED_LIMIT => {
                store(reply, len, out);
                Ok(())
            }
            _ => self.compress(reply, out),
        }
    }

    /// Gives the memory of the compressor back while the peer is idle.
    pub(crate) fn shrink(&mut self) {
        self.deflate = None;
    }

    fn compress(&mut self, mut reply: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let deflate = self
            .deflate
            .get_or_insert_with(|| Compress::new(Compression::fast(), false));
        // Forget the history: stored blocks may have gone out since, unseen by the compressor.
        deflate.reset();
        loop {
            out.reserve(reply.len() / 4 + STORED_LIMIT);
            let before = deflate.total_in();
            deflate
                .compress_vec(reply, out, FlushCompress::Sync)
                .map_err(io::Error::other)?;
            reply = &reply[(deflate.total_in() - before) as usize..];
            // Room left over says that the flush is complete.
            if reply.is_empty() && out.len() < out.capacity() {
                return Ok(());
            }
        }
    }
}

impl Default for Deflate {
    fn default() -> Deflate {
        Deflate::new()
    }
}

/// One stored block, RFC 1951 section 3.2.4, starting and ending on a byte boundary.
fn store(reply: &[u8], len: u16, out: &mut Vec<u8>) {
    out.reserve(STORED_HEADER + reply.len());
    out.push(0);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&(!len).to_le_bytes());
    out.extend_from_slice(reply);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inflate_all(deflate: &mut Deflate, mut input: &[u8]) -> Vec<u8> {
        let (mut clear, mut all) = (Vec::new(), Vec::new());
        loop {
            deflate.inflate(&mut input, &mut clear).unwrap();
            if clear.is_empty() {
                assert!(input.is_empty());
                return all;
            }
            all.extend_from_slice(&clear);
        }
    }

    #[test]
    fn the_blocks_of_the_capture() {
        let mut layer = Deflate::new();
        let blocks: [(&[u8], &[u8]); 2] = [
            (
                b"rw\rQ\xf0u\rqT\xc8\xcb/.M\xce(-N-\xe2\xe5\x02\x00\x00\x00\xff\xff",
                b"GET META nosuchuser\r\n",
            ),
            (
                b"r\x8d\xf0\x0c\xe1\xe5\x02\x00\x00\x00\xff\xff",
                b"EXIT\r\n",
            ),
        ];
        for (coded, clear) in blocks {
            assert_eq!(inflate_all(&mut layer, coded), clear);
        }
    }

    #[test]
    fn replies_of_every_length_in_one_stream() {
        let (mut ours, mut peer) = (Deflate::new(), Deflate::new());
        let text: Vec<u8> = (0..400_000u32)
            .map(|n| (n.wrapping_mul(n) >> 7) as u8)
            .collect();
        for len in [1, 12, 511, 512, 513, 20, 600, 65_536, 3, 400_000, 0, 7] {
            for reply in [&text[..len], &vec![b'x'; len]] {
                let mut wire = Vec::new();
                ours.deflate(reply, &mut wire).unwrap();
                assert_eq!(inflate_all(&mut peer, &wire), reply, "{len}");
            }
            ours.shrink();
        }
    }

    #[test]
    fn a_bomb_inflates_in_steps_and_junk_is_refused() {
        let mut bomb = Vec::with_capacity(1 << 20);
        let mut compress = Compress::new(Compression::best(), false);
        compress
            .compress_vec(&vec![0; 50 << 20], &mut bomb, FlushCompress::Sync)
            .unwrap();
        let (mut layer, mut clear, mut total) = (Deflate::new(), Vec::new(), 0);
        let mut input = &bomb[..];
        loop {
            layer.inflate(&mut input, &mut clear).unwrap();
            assert!(clear.capacity() <= 2 * STEP);
            total += clear.len();
            if clear.is_empty() {
                break;
            }
        }
        assert_eq!(total, 50 << 20);
        let mut junk = &b"\xff\xff\xff\xff junk"[..];
        assert!(Deflate::new().inflate(&mut junk, &mut clear).is_err());
    }
}
