//! Inflating that can stop at the border of a deflate block, and start at one with the 32 KB before it:
//! what a stream without flushes needs to be entered in its middle. The engine is the one behind
//! flate2, which offers neither; so this file calls it by its C interface, and is the only one that does.

use std::io;

use libz_rs_sys::{
    Z_BLOCK, Z_BUF_ERROR, Z_NO_FLUSH, Z_OK, Z_STREAM_END, inflate, inflateEnd, inflateInit2_,
    inflatePrime, inflateSetDictionary, z_stream, zlibVersion,
};

/// So far back a deflate stream may refer.
pub(super) const WINDOW: usize = 32 << 10;

/// Raw deflate, no zlib or gzip around it.
const RAW: i32 = -15;

/// An inflating stream.
pub(super) struct BlockInflate {
    /// In a box, since the engine may remember where it is.
    stream: Box<z_stream>,
    stop_at_borders: bool,
}

// SAFETY: what the stream points to is its own, allocated by the engine and used by nobody else.
unsafe impl Send for BlockInflate {}

/// What one call did.
pub(super) struct Step {
    /// Compressed bytes used.
    pub used: usize,
    /// Uncompressed bytes given.
    pub given: usize,
    /// The deflate stream has ended.
    pub ended: bool,
}

impl BlockInflate {
    /// From the start of a stream, stopping at the border of each block.
    pub fn by_blocks() -> io::Result<BlockInflate> {
        BlockInflate::new(true)
    }

    /// From a border. Of the byte before the next one, the upper `bits` are not used yet; `window` is what
    /// was inflated before.
    pub fn within(bits: u8, byte: u8, window: &[u8]) -> io::Result<BlockInflate> {
        let mut inflating = BlockInflate::new(false)?;
        let stream = &mut *inflating.stream;
        if bits > 7 || window.len() > WINDOW {
            return Err(invalid());
        }
        if bits > 0 {
            // SAFETY: the stream was initialised.
            let done = unsafe { inflatePrime(stream, bits.into(), (byte >> (8 - bits)).into()) };
            check(done)?;
        }
        // SAFETY: the stream was initialised, and the window is as long as we say.
        let done = unsafe { inflateSetDictionary(stream, window.as_ptr(), window.len() as u32) };
        check(done)?;
        Ok(inflating)
    }

    fn new(stop_at_borders: bool) -> io::Result<BlockInflate> {
        let mut stream = Box::<z_stream>::default();
        let size = size_of::<z_stream>() as i32;
        // SAFETY: the stream is ours, with the allocator that its default has; version and size are
        // those of the crate it comes from.
        check(unsafe { inflateInit2_(&mut *stream, RAW, zlibVersion(), size) })?;
        Ok(BlockInflate {
            stream,
            stop_at_borders,
        })
    }

    /// Inflates some of `input` into `out`; neither may be longer than 4 GB.
    pub fn step(&mut self, input: &[u8], out: &mut [u8]) -> io::Result<Step> {
        let stream = &mut *self.stream;
        stream.next_in = input.as_ptr();
        stream.avail_in = input.len() as u32;
        stream.next_out = out.as_mut_ptr();
        stream.avail_out = out.len() as u32;
        let flush = match self.stop_at_borders {
            true => Z_BLOCK,
            false => Z_NO_FLUSH,
        };
        // SAFETY: the stream was initialised, input and output are as long as we say.
        let done = unsafe { inflate(stream, flush) };
        let ended = done == Z_STREAM_END;
        // No progress is for the caller to judge.
        if !ended && done != Z_BUF_ERROR {
            check(done)?;
        }
        Ok(Step {
            used: input.len() - stream.avail_in as usize,
            given: out.len() - stream.avail_out as usize,
            ended,
        })
    }

    /// At the border of a block that is not the last one: how many bits of the last byte are not used.
    pub fn border(&self) -> Option<u8> {
        let state = self.stream.data_type;
        (state & 128 != 0 && state & 64 == 0).then_some((state & 7) as u8)
    }
}

impl Drop for BlockInflate {
    fn drop(&mut self) {
        // SAFETY: the stream was initialised, and is not used after this.
        unsafe { inflateEnd(&mut *self.stream) };
    }
}

fn check(done: i32) -> io::Result<()> {
    match done {
        Z_OK => Ok(()),
        _ => Err(invalid()),
    }
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the deflate stream is damaged")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::DeflateEncoder;

    use super::*;

    #[test]
    fn any_border_is_a_place_to_start() {
        let mut x = 7u32;
        let text: Vec<u8> = (0..600_000)
            .map(|n: u32| {
                x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                match n % 7000 < 3000 {
                    true => (x >> 24) as u8,
                    false => b"lighthouse "[n as usize % 11],
                }
            })
            .collect();
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(6));
        encoder.write_all(&text).unwrap();
        let deflated = encoder.finish().unwrap();

        let mut inflating = BlockInflate::by_blocks().unwrap();
        let (mut at, mut back, mut borders) = (0, Vec::new(), Vec::new());
        let mut out = vec![0; 10_000];
        loop {
            let step = inflating.step(&deflated[at..], &mut out).unwrap();
            at += step.used;
            back.extend_from_slice(&out[..step.given]);
            if step.ended {
                break;
            }
            if let Some(bits) = inflating.border() {
                borders.push((at, bits, back.len()));
            }
        }
        assert!(back == text);
        assert!(borders.len() > 10 && borders.iter().any(|border| border.1 > 0));

        for (at, bits, produced) in borders {
            let window = &text[produced.saturating_sub(WINDOW)..produced];
            let before = deflated.get(at.wrapping_sub(1)).copied().unwrap_or(0);
            let mut inflating = BlockInflate::within(bits, before, window).unwrap();
            let mut rest = vec![0; text.len() - produced];
            let (mut used, mut given) = (at, 0);
            while given < rest.len() {
                let step = inflating
                    .step(&deflated[used..], &mut rest[given..])
                    .unwrap();
                assert!(step.used + step.given > 0);
                (used, given) = (used + step.used, given + step.given);
            }
            assert!(rest == text[produced..]);
        }
    }
}
