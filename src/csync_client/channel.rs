//! The octets of a connection: buffers, and the layers under them (TLS, then deflate; spec: csync 1.5).

use std::io::{self, Read, Write};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// Sent at once, and read at once.
const BLOCK: usize = 64 << 10;

/// What a connection is made of.
pub(super) trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// A buffered connection. Nobody reads while another writes: csync takes turns.
pub(super) struct Channel {
    stream: Box<dyn Stream>,
    deflate: Option<Deflate>,
    /// Octets for the reader, from `at`.
    input: Vec<u8>,
    at: usize,
    output: Vec<u8>,
}

struct Deflate {
    inflate: Decompress,
    deflate: Compress,
    /// Came from the stream and is not inflated yet.
    waiting: Vec<u8>,
}

impl Channel {
    pub(super) fn new(stream: Box<dyn Stream>) -> Channel {
        Channel {
            stream,
            deflate: None,
            input: Vec::new(),
            at: 0,
            output: Vec::with_capacity(BLOCK),
        }
    }

    /// Puts a layer over the stream. What the peer said before is done with by then: an octet that waits
    /// would be one that somebody slipped in before the layer.
    pub(super) fn wrap<E>(
        self,
        layer: impl FnOnce(Box<dyn Stream>) -> Result<Box<dyn Stream>, E>,
    ) -> Result<Channel, E> {
        layer(self.stream).map(Channel::new)
    }

    /// Compresses from now on.
    pub(super) fn compress(&mut self) {
        self.deflate = Some(Deflate {
            inflate: Decompress::new(false),
            deflate: Compress::new(Compression::default(), false),
            waiting: self.input.split_off(self.at),
        });
        self.input.clear();
        self.at = 0;
    }

    /// The octets that are there, waiting for the first of them; empty at the end of the stream.
    pub(super) fn fill(&mut self) -> io::Result<&[u8]> {
        if self.at == self.input.len() {
            self.at = 0;
            match &mut self.deflate {
                None => read_some(&mut *self.stream, &mut self.input)?,
                Some(deflate) => deflate.read(&mut *self.stream, &mut self.input)?,
            }
        }
        Ok(&self.input[self.at..])
    }

    /// Takes so many of them.
    pub(super) fn consume(&mut self, count: usize) {
        self.at += count;
    }

    /// Sends, perhaps later.
    pub(super) fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        for piece in octets.chunks(BLOCK) {
            self.output.extend_from_slice(piece);
            if self.output.len() >= BLOCK {
                self.push(FlushCompress::None)?;
            }
        }
        Ok(())
    }

    /// Sends what waits.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.push(FlushCompress::Sync)?;
        self.stream.flush()
    }

    fn push(&mut self, flush: FlushCompress) -> io::Result<()> {
        match &mut self.deflate {
            None => self.stream.write_all(&self.output)?,
            Some(deflate) => deflate.write(&mut *self.stream, &self.output, flush)?,
        }
        self.output.clear();
        Ok(())
    }
}

/// Replaces `buffer` by what comes; nothing at the end.
fn read_some(stream: &mut dyn Stream, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.resize(BLOCK, 0);
    let read = loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // As rustls says it when a peer closes without a goodbye, which Cyrus does.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break Ok(0),
            other => break other,
        }
    };
    buffer.truncate(*read.as_ref().unwrap_or(&0));
    read.map(drop)
}

impl Deflate {
    fn read(&mut self, stream: &mut dyn Stream, clear: &mut Vec<u8>) -> io::Result<()> {
        clear.clear();
        clear.reserve(BLOCK);
        loop {
            let before = self.inflate.total_in();
            self.inflate
                .decompress_vec(&self.waiting, clear, FlushDecompress::Sync)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let used = (self.inflate.total_in() - before) as usize;
            self.waiting.drain(..used);
            if !clear.is_empty() {
                return Ok(());
            }
            if self.waiting.is_empty() {
                read_some(stream, &mut self.waiting)?;
                if self.waiting.is_empty() {
                    return Ok(());
                }
            }
        }
    }

    fn write(
        &mut self,
        stream: &mut dyn Stream,
        mut octets: &[u8],
        flush: FlushCompress,
    ) -> io::Result<()> {
        let mut packed = Vec::with_capacity(BLOCK);
        loop {
            let before = self.deflate.total_in();
            self.deflate
                .compress_vec(octets, &mut packed, flush)
                .map_err(io::Error::other)?;
            octets = &octets[(self.deflate.total_in() - before) as usize..];
            // Room left means that nothing waits inside.
            let done = octets.is_empty() && packed.len() < packed.capacity();
            stream.write_all(&packed)?;
            packed.clear();
            if done {
                return Ok(());
            }
        }
    }
}

/// Two halves as one stream.
pub(super) struct Duplex<R, W>(pub(super) R, pub(super) W);

impl<R: Read, W> Read for Duplex<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R, W: Write> Write for Duplex<R, W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.1.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.1.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn both_ends_compress() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let far = listener.accept().unwrap().0;
        let (mut near, mut far) = (Channel::new(Box::new(near)), Channel::new(Box::new(far)));
        near.compress();
        far.compress();
        let octets: Vec<u8> = (0..3_000_000u32)
            .map(|n| (n.wrapping_mul(n) >> 7) as u8)
            .collect();
        let sent = octets.clone();
        let writer = std::thread::spawn(move || {
            near.write(&sent).unwrap();
            near.flush().unwrap();
            near
        });
        let mut got = Vec::new();
        while got.len() < octets.len() {
            let piece = far.fill().unwrap().to_vec();
            assert!(!piece.is_empty());
            far.consume(piece.len());
            got.extend(piece);
        }
        assert!(got == octets);
        drop(writer.join().unwrap());
        assert!(far.fill().unwrap().is_empty());
    }
}
