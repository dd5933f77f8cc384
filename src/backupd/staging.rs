//! Message bodies between their arrival and the RECORD that says whose they are.
//!
//! `APPLY MESSAGE` names no owner (spec: csync 5.2), so a connection keeps what it received here by
//! GUID until RESTART or the end. Small bodies stay in memory, within a limit per connection and one
//! for the process; the rest goes into one spool file per connection that has no name on disk, so a
//! crash leaves nothing behind. Every body is hashed while it arrives: one that is not what its GUID
//! says never becomes visible. Nothing here is durable; that is the store's work.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::{FallocateFlags, fallocate};

use crate::types::{Guid, GuidHasher};

/// What an entry costs beside its octets; counted so that a million empty bodies are not free.
const ENTRY_COST: u64 = 160;

/// The bodies that one connection has received.
pub struct Staging {
    bodies: HashMap<Guid, StagedBody>,
    incoming: Option<Incoming>,
    spool: Spool,
    memory: MemoryShare,
}

/// One verified body.
pub struct StagedBody {
    /// The partition named by the client; of no meaning for a backup, kept for the data file.
    pub partition: Vec<u8>,
    /// Octets.
    pub size: u64,
    place: Place,
    is_stored: bool,
}

/// How the arrival of a body ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Stored, or already there.
    Kept,
    /// The octets hash to another GUID; nothing was stored.
    GuidMismatch {
        /// What the client said.
        stated: Guid,
        /// What the octets really are.
        found: Guid,
    },
    /// An earlier write failed, so the rest was thrown away (the error was told then).
    Lost,
}

/// Memory for staged bodies that all connections of the process share, in octets.
pub struct Budget {
    free: AtomicU64,
}

enum Place {
    Memory(Box<[u8]>),
    Spool { file: Arc<File>, offset: u64 },
}

struct Incoming {
    guid: Guid,
    partition: Vec<u8>,
    expected: u64,
    hasher: GuidHasher,
    target: Target,
}

enum Target {
    Memory(Vec<u8>),
    Spool {
        start: u64,
        written: u64,
    },
    /// Already held, or lost to a failed write: the octets are only counted and hashed.
    Nowhere {
        lost: bool,
    },
}

struct Spool {
    directory: PathBuf,
    file: Option<Arc<File>>,
    end: u64,
    /// Disk space of all connections, and how much of it is ours.
    budget: Arc<Budget>,
    used: u64,
}

struct MemoryShare {
    budget: Arc<Budget>,
    limit: u64,
    used: u64,
}

impl Staging {
    /// An empty staging whose spool file, when needed, is made in `directory` (created if missing).
    /// At most `memory_limit` octets stay in memory.
    /// Disk space comes out of `disk`.
    pub fn new(
        directory: PathBuf,
        memory_limit: u64,
        budget: Arc<Budget>,
        disk: Arc<Budget>,
    ) -> Staging {
        Staging {
            bodies: HashMap::new(),
            incoming: None,
            spool: Spool {
                directory,
                file: None,
                end: 0,
                budget: disk,
                used: 0,
            },
            memory: MemoryShare {
                budget,
                limit: memory_limit,
                used: 0,
            },
        }
    }

    /// The body with this GUID.
    pub fn get(&self, guid: &Guid) -> Option<&StagedBody> {
        self.bodies.get(guid)
    }

    /// These bodies are on stable storage in some backup. They stay at hand for further mailboxes, until
    /// the disk space is needed: then a mailbox that still wants one asks for it anew (spec: csync 8.5).
    pub fn note_stored(&mut self, guids: impl IntoIterator<Item = Guid>) {
        for guid in guids {
            if let Some(body) = self.bodies.get_mut(&guid) {
                body.is_stored = true;
            }
        }
    }

    fn drop_stored(&mut self) {
        let spool = &mut self.spool;
        self.bodies.retain(|_, body| match &body.place {
            Place::Spool { file, offset } if body.is_stored => {
                spool.punch(file, *offset, body.size);
                false
            }
            _ => true,
        });
    }

    /// Number of bodies held.
    pub fn len(&self) -> usize {
        self.bodies.len()
    }

    /// Nothing is held.
    pub fn is_empty(&self) -> bool {
        self.bodies.is_empty()
    }

    /// Forgets every body and gives memory and disk space back.
    pub fn clear(&mut self) {
        self.bodies = HashMap::new();
        self.incoming = None;
        self.spool.clear();
        self.memory.release_all();
    }

    /// A body of `size` octets begins. Fails when the spool file cannot be made; the octets may then
    /// still be pushed, they are thrown away.
    pub fn begin(&mut self, guid: Guid, partition: Vec<u8>, size: u64) -> io::Result<()> {
        let (target, outcome) = if self.bodies.contains_key(&guid) {
            (Target::Nowhere { lost: false }, Ok(()))
        } else if self.memory.take(size.saturating_add(ENTRY_COST)) {
            (Target::Memory(Vec::new()), Ok(()))
        } else {
            if !self.spool.has_room(size) {
                self.drop_stored();
            }
            match self.spool.open(size) {
                Ok(()) => (
                    Target::Spool {
                        start: self.spool.end,
                        written: 0,
                    },
                    Ok(()),
                ),
                Err(error) => (Target::Nowhere { lost: true }, Err(error)),
            }
        };
        let hasher = GuidHasher::default();
        self.incoming = Some(Incoming {
            guid,
            partition,
            expected: size,
            hasher,
            target,
        });
        outcome
    }

    /// The next octets of the body. After an error the rest may still be pushed; it is thrown away.
    pub fn push(&mut self, octets: &[u8]) -> io::Result<()> {
        let Some(incoming) = &mut self.incoming else {
            return Ok(());
        };
        incoming.hasher.update(octets);
        let outcome = match &mut incoming.target {
            Target::Memory(buffer) => {
                buffer.extend_from_slice(octets);
                Ok(())
            }
            Target::Spool { start, written } => self
                .spool
                .write_at(octets, *start + *written)
                .inspect(|()| {
                    *written += octets.len() as u64;
                }),
            Target::Nowhere { .. } => Ok(()),
        };
        if outcome.is_err() {
            incoming.target = Target::Nowhere { lost: true };
        }
        outcome
    }

    /// The body is complete.
    pub fn finish(&mut self) -> Arrival {
        let Some(Incoming {
            guid,
            partition,
            expected,
            hasher,
            target,
        }) = self.incoming.take()
        else {
            return Arrival::Lost;
        };
        let found = hasher.finish();
        let matches = found == guid;
        match target {
            Target::Nowhere { lost: true } => return Arrival::Lost,
            Target::Nowhere { lost: false } => {}
            Target::Memory(_) if !matches => self.memory.give_back(expected + ENTRY_COST),
            Target::Memory(buffer) => {
                let size = buffer.len() as u64;
                let place = Place::Memory(buffer.into_boxed_slice());
                self.bodies.insert(
                    guid,
                    StagedBody {
                        partition,
                        size,
                        place,
                        is_stored: false,
                    },
                );
            }
            // A mismatch leaves `end` where it was: the next body overwrites this one.
            Target::Spool { start, written } if matches => {
                if let Some(file) = &self.spool.file {
                    let place = Place::Spool {
                        file: Arc::clone(file),
                        offset: start,
                    };
                    self.bodies.insert(
                        guid,
                        StagedBody {
                            partition,
                            size: written,
                            place,
                            is_stored: false,
                        },
                    );
                    self.spool.end = start + written;
                }
            }
            Target::Spool { .. } => self.spool.give_back(expected),
        }
        if matches {
            Arrival::Kept
        } else {
            Arrival::GuidMismatch {
                stated: guid,
                found,
            }
        }
    }
}

impl StagedBody {
    /// Writes all octets to `out`.
    pub fn copy_to(&self, out: &mut dyn Write) -> io::Result<()> {
        match &self.place {
            Place::Memory(octets) => out.write_all(octets),
            Place::Spool { .. } => {
                let copied = io::copy(&mut self.reader(), out)?;
                if copied == self.size {
                    return Ok(());
                }
                Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("staging file ended after {copied} of {} octets", self.size),
                ))
            }
        }
    }

    /// The octets from the start; may be called any number of times.
    pub fn reader(&self) -> impl Read + '_ {
        BodyReader {
            body: self,
            position: 0,
        }
    }
}

struct BodyReader<'a> {
    body: &'a StagedBody,
    position: u64,
}

impl Read for BodyReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.body.size - self.position;
        let wanted = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = match &self.body.place {
            Place::Memory(octets) => {
                let from = octets.get(self.position as usize..).unwrap_or_default();
                buf[..wanted].copy_from_slice(&from[..wanted]);
                wanted
            }
            Place::Spool { file, offset } => {
                file.read_at(&mut buf[..wanted], offset + self.position)?
            }
        };
        self.position += read as u64;
        Ok(read)
    }
}

impl Budget {
    /// `octets` for everybody together.
    pub fn new(octets: u64) -> Budget {
        Budget {
            free: AtomicU64::new(octets),
        }
    }

    fn take(&self, octets: u64) -> bool {
        self.free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| {
                free.checked_sub(octets)
            })
            .is_ok()
    }

    fn give_back(&self, octets: u64) {
        self.free.fetch_add(octets, Ordering::Relaxed);
    }
}

impl MemoryShare {
    fn take(&mut self, octets: u64) -> bool {
        let fits = self
            .used
            .checked_add(octets)
            .is_some_and(|used| used <= self.limit);
        if !fits || !self.budget.take(octets) {
            return false;
        }
        self.used += octets;
        true
    }

    fn give_back(&mut self, octets: u64) {
        self.used -= octets;
        self.budget.give_back(octets);
    }

    fn release_all(&mut self) {
        self.give_back(self.used);
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.release_all();
    }
}

impl Spool {
    fn has_room(&self, octets: u64) -> bool {
        self.budget.free.load(Ordering::Relaxed) >= octets
    }

    fn open(&mut self, octets: u64) -> io::Result<()> {
        if !self.budget.take(octets) {
            return Err(io::Error::other("the space for staged bodies is used up"));
        }
        self.used += octets;
        self.make_file().inspect_err(|_| self.give_back(octets))
    }

    fn give_back(&mut self, octets: u64) {
        self.used -= octets;
        self.budget.give_back(octets);
    }

    fn clear(&mut self) {
        self.file = None;
        self.end = 0;
        self.give_back(self.used);
    }

    /// Gives the space of a body back to the file system, as far as that can.
    fn punch(&mut self, file: &File, offset: u64, octets: u64) {
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        if octets > 0
            && let Err(error) = fallocate(file, flags, offset.cast_signed(), octets.cast_signed())
        {
            tracing::debug!("staging: no hole: {error}");
        }
        self.give_back(octets);
    }

    fn make_file(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            std::fs::create_dir_all(&self.directory)?;
            self.file = Some(Arc::new(tempfile::tempfile_in(&self.directory)?));
            self.end = 0;
        }
        Ok(())
    }

    fn write_at(&self, octets: &[u8], offset: u64) -> io::Result<()> {
        match &self.file {
            Some(file) => file.write_all_at(octets, offset),
            None => Err(io::Error::other("the staging file is not open")),
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staging(memory: u64, budget: &Arc<Budget>) -> (Staging, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("not/yet/there");
        let disk = Arc::new(Budget::new(1 << 30));
        (Staging::new(path, memory, Arc::clone(budget), disk), dir)
    }

    #[test]
    fn disk_space_is_limited_and_what_is_stored_makes_room() {
        let dir = tempfile::tempdir().unwrap();
        let (memory, disk) = (Arc::new(Budget::new(0)), Arc::new(Budget::new(1000)));
        let path = dir.path().to_owned();
        let mut staging = Staging::new(path, 0, memory, Arc::clone(&disk));
        let bodies: Vec<Vec<u8>> = (0..4u8).map(|n| vec![n; 400]).collect();
        let guids: Vec<Guid> = bodies.iter().map(|body| Guid::of(body)).collect();
        assert_eq!(stage(&mut staging, &bodies[0]), Arrival::Kept);
        assert_eq!(stage(&mut staging, &bodies[1]), Arrival::Kept);
        let refused = staging.begin(guids[2], b"default".to_vec(), 400);
        assert!(refused.is_err() && staging.finish() == Arrival::Lost);
        staging.note_stored([guids[0]]);
        assert!(staging.get(&guids[0]).is_some(), "there is room enough yet");
        assert_eq!(stage(&mut staging, &bodies[2]), Arrival::Kept);
        assert!(staging.get(&guids[0]).is_none());
        assert_eq!(read(&staging, &bodies[1]).0, bodies[1]);
        assert_eq!(read(&staging, &bodies[2]).0, bodies[2]);
        drop(staging);
        assert_eq!(disk.free.load(Ordering::Relaxed), 1000);
    }

    fn stage(staging: &mut Staging, body: &[u8]) -> Arrival {
        staging
            .begin(Guid::of(body), b"default".to_vec(), body.len() as u64)
            .unwrap();
        body.chunks(7).for_each(|part| staging.push(part).unwrap());
        staging.finish()
    }

    fn read(staging: &Staging, body: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let staged = staging.get(&Guid::of(body)).unwrap();
        let (mut copied, mut read) = (Vec::new(), Vec::new());
        staged.copy_to(&mut copied).unwrap();
        staged.reader().read_to_end(&mut read).unwrap();
        (copied, read)
    }

    #[test]
    fn bodies_spill_to_disk_and_read_back() {
        let budget = Arc::new(Budget::new(10_000));
        let (mut staging, dir) = staging(1000, &budget);
        let bodies: Vec<Vec<u8>> = (0..20u8).map(|n| vec![n; usize::from(n) * 50]).collect();
        for body in &bodies {
            assert_eq!(stage(&mut staging, body), Arrival::Kept);
        }
        for body in &bodies {
            assert_eq!(read(&staging, body), (body.clone(), body.clone()));
        }
        let left = std::fs::read_dir(dir.path().join("not/yet/there"))
            .unwrap()
            .count();
        assert_eq!(left, 0, "the spool file has no name");
        staging.clear();
        assert!(staging.get(&Guid::of(&bodies[3])).is_none());
        assert_eq!(budget.free.load(Ordering::Relaxed), 10_000);
        assert_eq!(stage(&mut staging, &bodies[19]), Arrival::Kept);
    }

    #[test]
    fn a_wrong_guid_is_dropped_and_its_space_reused() {
        for memory in [0, 100_000] {
            let budget = Arc::new(Budget::new(100_000));
            let (mut staging, _dir) = staging(memory, &budget);
            let guid = Guid::of(b"something else");
            staging.begin(guid, b"p".to_vec(), 3).unwrap();
            staging.push(b"abc").unwrap();
            assert_eq!(
                staging.finish(),
                Arrival::GuidMismatch {
                    stated: guid,
                    found: Guid::of(b"abc")
                }
            );
            assert!(staging.get(&guid).is_none());
            assert!(staging.is_empty());
            assert_eq!((staging.spool.end, staging.memory.used), (0, 0));
            assert_eq!(stage(&mut staging, b"next"), Arrival::Kept);
            assert_eq!(read(&staging, b"next").0, b"next");
        }
    }

    #[test]
    fn connections_share_one_budget() {
        let budget = Arc::new(Budget::new(1000));
        let (mut one, _one_dir) = staging(900, &budget);
        let (mut two, _two_dir) = staging(900, &budget);
        stage(&mut one, &[1; 600]);
        stage(&mut two, &[2; 600]);
        assert!(one.spool.file.is_none());
        assert!(two.spool.file.is_some(), "no memory left in the process");
        drop(one);
        drop(two);
        assert_eq!(budget.free.load(Ordering::Relaxed), 1000);
    }

    #[test]
    fn a_full_disk_loses_the_body_and_nothing_else() {
        let budget = Arc::new(Budget::new(0));
        let disk = Arc::new(Budget::new(1 << 30));
        let mut staging = Staging::new("/proc/no/such/place".into(), 1000, budget, disk);
        assert!(staging.begin(Guid::of(b"abc"), b"p".to_vec(), 3).is_err());
        staging.push(b"abc").unwrap();
        assert_eq!(staging.finish(), Arrival::Lost);
        assert!(staging.is_empty());

        let budget = Arc::new(Budget::new(0));
        let (mut staging, _dir) = self::staging(1000, &budget);
        stage(&mut staging, b"first");
        staging.spool.file = Some(Arc::new(
            File::options().write(true).open("/dev/full").unwrap(),
        ));
        staging
            .begin(Guid::of(b"second"), b"p".to_vec(), 6)
            .unwrap();
        assert!(staging.push(b"sec").is_err());
        staging.push(b"ond").unwrap();
        assert_eq!(staging.finish(), Arrival::Lost);
        assert_eq!(read(&staging, b"first").0, b"first");
    }

    #[test]
    fn a_claimed_size_costs_nothing_before_the_octets_come() {
        let budget = Arc::new(Budget::new(u64::MAX));
        let (mut staging, _dir) = staging(u64::MAX, &budget);
        staging
            .begin(Guid::of(b""), b"p".to_vec(), u64::from(u32::MAX))
            .unwrap();
        staging.clear();
        assert_eq!(budget.free.load(Ordering::Relaxed), u64::MAX);
    }

    #[test]
    fn the_same_body_twice_is_held_once() {
        let budget = Arc::new(Budget::new(10_000));
        let (mut staging, _dir) = staging(10_000, &budget);
        assert_eq!(stage(&mut staging, b"again"), Arrival::Kept);
        let used = staging.memory.used;
        assert_eq!(stage(&mut staging, b"again"), Arrival::Kept);
        assert_eq!((staging.len(), staging.memory.used), (1, used));
    }
}
