//! A service of Cyrus' master(8): its socket, its status messages, its rules for coming and going
//! (spec: ondisk 8).
//!
//! One process serves many connections here, where C has one process for each. It stays READY in the eyes
//! of the master, counts every connection with one message, and says UNAVAILABLE when it takes no more:
//! after `-U` connections, when idle for `-T` seconds, at SIGHUP, or because its program was replaced.
//! Sessions that are open then go on to their end.
//!
//! Siblings share the listening socket, so its flags are not ours to change: a thread takes turns with
//! them by C's lock file and accepts without O_NONBLOCK.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{SockFlag, accept4};
use nix::unistd::pipe2;
use tokio::sync::mpsc;

const STATUS: i32 = 3;
const SOCKET: i32 = 4;

const UNAVAILABLE: i32 = 2;
const CONNECTION_MULTI: i32 = 4;

/// How long a process waits before it looks again whether it is its turn to accept, in milliseconds.
const TURN: u16 = 250;

/// What the master gave this process.
pub struct Master {
    status: File,
    socket: OwnedFd,
    /// Who accepts next; without the file nobody waits.
    turns: Option<File>,
    program: Program,
    /// Connections to take in all.
    uses: u32,
}

/// Connections that the accepting thread has taken; dropping it ends the thread.
pub(crate) struct Taken {
    connections: mpsc::Receiver<OwnedFd>,
    pub(crate) socket: Arc<OwnedFd>,
    /// Its end is the signal.
    until: Option<OwnedFd>,
}

/// The service's name where the master started this process with a socket.
pub fn service() -> Option<String> {
    let is_daemon = std::env::var_os("CYRUS_ISDAEMON").is_some();
    let name = std::env::var("CYRUS_SERVICE").ok();
    name.filter(|name| !is_daemon && !name.is_empty())
}

impl Master {
    /// Takes descriptors 3 and 4. Call it once, before anything else could have such descriptors.
    pub fn inherit(service: &str, configdirectory: &Path, uses: u32) -> io::Result<Master> {
        for descriptor in [STATUS, SOCKET] {
            // SAFETY: only looked at; EBADF says that it is not there.
            let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(descriptor) };
            fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        let id = std::env::var("CYRUS_ID").unwrap_or_else(|_| "0".to_owned());
        let turns = configdirectory.join(format!("socket/{service}-{id}.lock"));
        // SAFETY: both are open, as just seen, and the caller promises that nobody else owns them.
        let (status, socket) = unsafe { (File::from_raw_fd(STATUS), OwnedFd::from_raw_fd(SOCKET)) };
        Ok(Master {
            status,
            socket,
            turns: open_turns(&turns),
            program: Program::running()?,
            uses: uses.max(1),
        })
    }

    /// Accepts in a thread of its own from now on.
    pub(crate) fn start(self) -> io::Result<Taken> {
        let socket = Arc::new(self.socket.try_clone()?);
        let (ended, until) = pipe2(OFlag::O_CLOEXEC)?;
        let (sender, connections) = mpsc::channel(1);
        std::thread::Builder::new()
            .name("accept".to_owned())
            .spawn(move || self.accept_all(&ended, &sender))?;
        Ok(Taken {
            connections,
            socket,
            until: Some(until),
        })
    }

    fn accept_all(mut self, ended: &OwnedFd, taken: &mpsc::Sender<OwnedFd>) {
        for _ in 0..self.uses {
            match self.accept(ended) {
                Ok(Some(connection)) => {
                    self.tell(CONNECTION_MULTI);
                    if taken.blocking_send(connection).is_err() {
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::error!("accept failed: {error}");
                    break;
                }
            }
        }
        self.tell(UNAVAILABLE);
    }

    /// The next connection; `None` when this process shall take no more.
    fn accept(&mut self, ended: &OwnedFd) -> io::Result<Option<OwnedFd>> {
        loop {
            let Some(_turn) = self.turn(ended)? else {
                return Ok(None);
            };
            let mut both = [
                PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
                PollFd::new(ended.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut both, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            if both[1].any() == Some(true) {
                return Ok(None);
            }
            if self.program.was_replaced() {
                tracing::info!(
                    "the program was replaced, leaving the next connection to the new one"
                );
                return Ok(None);
            }
            match accept4(self.socket.as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
                // SAFETY: a new descriptor, nobody else's.
                Ok(raw) => return Ok(Some(unsafe { OwnedFd::from_raw_fd(raw) })),
                Err(Errno::EINTR | Errno::EAGAIN | Errno::ECONNABORTED | Errno::EPROTO) => {}
                Err(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                    tracing::error!("accept failed: too many open files");
                    std::thread::sleep(std::time::Duration::from_millis(u64::from(TURN)));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for the turn to accept; `None` when told to end meanwhile.
    fn turn(&self, ended: &OwnedFd) -> io::Result<Option<Turn<'_>>> {
        loop {
            match set_lock(self.turns.as_ref(), libc::F_WRLCK) {
                Ok(()) => return Ok(Some(Turn(self.turns.as_ref()))),
                Err(Errno::EAGAIN | Errno::EACCES | Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let mut end = [PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
            if poll(&mut end, TURN).unwrap_or(0) > 0 {
                return Ok(None);
            }
        }
    }

    /// The master only counts; one that is gone has ended us by a signal already.
    fn tell(&mut self, message: i32) {
        let mut octets = [0; 8];
        octets[..4].copy_from_slice(&message.to_ne_bytes());
        octets[4..].copy_from_slice(&std::process::id().to_ne_bytes());
        if let Err(error) = self.status.write_all(&octets) {
            tracing::warn!("cannot tell the master about message {message}: {error}");
        }
    }
}

impl Taken {
    /// No more shall be taken; those that were come out of [`Taken::next`] still.
    pub(crate) fn end(&mut self) {
        self.until = None;
    }

    /// The next one, until the thread has ended.
    pub(crate) async fn next(&mut self) -> Option<OwnedFd> {
        self.connections.recv().await
    }
}

/// The right to accept, given back when dropped.
struct Turn<'a>(Option<&'a File>);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Unlocking cannot fail on an open file, and the end of the process unlocks too.
        let _ = set_lock(self.0, libc::F_UNLCK);
    }
}

/// A POSIX lock, since that is what C's processes take.
fn set_lock(file: Option<&File>, kind: i32) -> Result<(), Errno> {
    let Some(file) = file else { return Ok(()) };
    let lock = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_SETLK(&lock)).map(drop)
}

fn open_turns(path: &PathBuf) -> Option<File> {
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path);
    opened
        .inspect_err(|error| tracing::warn!("cannot open {}: {error}", path.display()))
        .ok()
}

/// The file that this process was started from.
struct Program {
    path: PathBuf,
    state: (u64, u64, u64, i64, i64),
}

impl Program {
    fn running() -> io::Result<Program> {
        let path = std::env::current_exe()?;
        let state = state(&path)?;
        Ok(Program { path, state })
    }

    fn was_replaced(&self) -> bool {
        state(&self.path).ok() != Some(self.state)
    }
}

fn state(path: &Path) -> io::Result<(u64, u64, u64, i64, i64)> {
    let meta = std::fs::metadata(path)?;
    Ok((
        meta.dev(),
        meta.ino(),
        meta.len(),
        meta.mtime(),
        meta.mtime_nsec(),
    ))
}
