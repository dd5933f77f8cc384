//! Seek points: does inflating that starts there give what it gives when it comes from the chunk's
//! start? A few octets at each tell.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use super::finding::Damage;
use crate::store::index::SeekPoint;
use crate::store::member::MemberReader;

/// So many octets are compared.
const SAMPLE: u64 = 32;

/// The points of a chunk while its octets pass by.
pub(super) struct Points<'a> {
    points: &'a [SeekPoint],
    /// The octets behind each, as many as have passed.
    samples: Vec<Vec<u8>>,
    /// Those before have their samples.
    next: usize,
    /// Where the next octets stand.
    here: u64,
}

impl<'a> Points<'a> {
    pub(super) fn new(points: &'a [SeekPoint]) -> Points<'a> {
        Points {
            points,
            samples: vec![Vec::new(); points.len()],
            next: 0,
            here: 0,
        }
    }

    /// Takes the next inflated octets.
    pub(super) fn take(&mut self, octets: &[u8]) {
        let end = self.here + octets.len() as u64;
        while let Some(point) = self
            .points
            .get(self.next)
            .filter(|point| point.offset < end)
        {
            let sample = &mut self.samples[self.next];
            let from = (point.offset + sample.len() as u64).saturating_sub(self.here) as usize;
            let want = SAMPLE as usize - sample.len();
            let piece = &octets[from.min(octets.len())..];
            sample.extend_from_slice(&piece[..want.min(piece.len())]);
            if sample.len() < SAMPLE as usize {
                break;
            }
            self.next += 1;
        }
        self.here = end;
    }

    /// The points from which something else comes; `readable`: the chunk has passed to its end.
    pub(super) fn finish(
        self,
        file: &Arc<File>,
        length: u64,
        readable: bool,
    ) -> io::Result<Vec<Damage>> {
        let mut wrong = Vec::new();
        for (point, sample) in self.points.iter().zip(&self.samples) {
            let beyond = readable && point.offset > self.here;
            if beyond || !sample.is_empty() && !gives(file, length, *point, sample)? {
                wrong.push(Damage::SeekPoint {
                    byte: point.offset,
                    file_offset: point.file_offset,
                });
            }
        }
        Ok(wrong)
    }
}

fn gives(file: &Arc<File>, length: u64, point: SeekPoint, sample: &[u8]) -> io::Result<bool> {
    let file = Arc::clone(file);
    let mut reader = MemberReader::resume(file, point.file_offset, length, point.offset);
    let mut octets = vec![0; sample.len()];
    match reader.read_exact(&mut octets) {
        Ok(()) => Ok(octets == sample),
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            ) =>
        {
            Ok(false)
        }
        Err(e) => Err(e),
    }
}
