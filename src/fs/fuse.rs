//! Between the kernel and [`Ops`]: translates, decides nothing. The only file that knows fuser.
//!
//! Settings, with their reasons in spec crates 1.2-1.3: attributes come with directory listings
//! (readdirplus), nothing is opened, closed or flushed (each would be a round trip per file), and
//! the kernel may keep everything, since a mounted view never changes.

use std::ffi::OsStr;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, InitFlags, IoctlFlags,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};

use crate::view::ViewError;
use crate::view::attr::{Attr, Kind};
use crate::view::ops::{Entry, Ops, Statfs};

/// How long the kernel may believe what it was told: nothing changes before the unmount.
const TTL: Duration = Duration::from_secs(24 * 3600);

/// Inode numbers are never used again for another file.
const GENERATION: Generation = Generation(0);

/// Requests that may wait in the kernel for read-ahead.
const MAX_BACKGROUND: u16 = 64;

/// The owner and mode bits that all files show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Permission bits that no file has.
    pub umask: u16,
}

/// A tree as fuser wants it.
pub struct Adapter {
    ops: Arc<Ops>,
    owner: Owner,
    xattrs: bool,
}

impl Adapter {
    /// Shows this tree, all of it owned by `owner`, with extended attributes or without.
    pub fn new(ops: Arc<Ops>, owner: Owner, xattrs: bool) -> Adapter {
        Adapter { ops, owner, xattrs }
    }

    fn attr(&self, attr: &Attr) -> FileAttr {
        let (kind, perm) = match attr.kind {
            Kind::File => (FileType::RegularFile, 0o444),
            Kind::Dir => (FileType::Directory, 0o555),
        };
        let mtime = time(attr.mtime);
        FileAttr {
            ino: INodeNo(attr.ino),
            size: attr.size,
            blocks: attr.blocks(),
            atime: mtime,
            mtime,
            // The log says in which second something changed. A program that began its last dump in that
            // second must not think that it has seen it.
            ctime: time(attr.ctime) + Duration::from_nanos(999_999_999),
            crtime: mtime,
            kind,
            perm: perm & !self.owner.umask,
            nlink: attr.nlink,
            uid: self.owner.uid,
            gid: self.owner.gid,
            rdev: 0,
            blksize: Statfs::BLOCK,
            flags: 0,
        }
    }

    /// Logs what needs to be, and gives the errno.
    fn fail(&self, request: &str, ino: INodeNo, error: &ViewError) -> Errno {
        self.ops.complain(request, ino.0, error);
        Errno::from_i32(error.errno())
    }
}

fn time(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    match seconds < 0 {
        true => UNIX_EPOCH - distance,
        false => UNIX_EPOCH + distance,
    }
}

impl Filesystem for Adapter {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Each is used if this kernel has it.
        for capability in [
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_EXPLICIT_INVAL_DATA,
            InitFlags::FUSE_EXPORT_SUPPORT,
        ] {
            let _ = config.add_capabilities(capability);
        }
        let _ = config.set_max_background(MAX_BACKGROUND);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        // All our names are UTF-8, so another name is no file of ours.
        let name = name.to_str().ok_or(ViewError::NotFound);
        match name.and_then(|name| self.ops.lookup(parent.0, name)) {
            Ok(attr) => reply.entry(&TTL, &self.attr(&attr), GENERATION),
            Err(error) => reply.error(self.fail("lookup", parent, &error)),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.ops.getattr(ino.0) {
            Ok(attr) => reply.attr(&TTL, &self.attr(&attr)),
            Err(error) => reply.error(self.fail("getattr", ino, &error)),
        }
    }

    /// ENOSYS here makes the kernel open files without asking.
    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    /// ENOSYS here makes the kernel open directories without asking, and keep their listings.
    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    /// ENOSYS here makes the kernel close files without telling.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.ops.read(ino.0, offset, size) {
            Ok(data) => reply.data(data.as_slice()),
            Err(error) => reply.error(self.fail("read", ino, &error)),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = self
            .ops
            .readdir(ino.0, offset, |Entry { name, attr, next }| {
                let kind = self.attr(&attr).kind;
                !reply.add(INodeNo(attr.ino), next, kind, name)
            });
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(self.fail("readdir", ino, &error)),
        }
    }

    fn readdirplus(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let listed = self
            .ops
            .readdir(ino.0, offset, |Entry { name, attr, next }| {
                let attr = self.attr(&attr);
                !reply.add(attr.ino, next, name, &TTL, &attr, GENERATION)
            });
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(self.fail("readdirplus", ino, &error)),
        }
    }

    fn statfs(&self, _: &Request, ino: INodeNo, reply: ReplyStatfs) {
        match self.ops.statfs() {
            // A read-only file system is always full.
            Ok(Statfs { blocks, files }) => {
                let size = Statfs::BLOCK;
                reply.statfs(blocks, 0, 0, files, 0, size, Statfs::NAME_MAX, size);
            }
            Err(error) => reply.error(self.fail("statfs", ino, &error)),
        }
    }

    /// Some programs ask each file whether it is a terminal.
    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        if !self.xattrs {
            // The kernel never asks again.
            return reply.error(Errno::ENOSYS);
        }
        let name = name.to_str().ok_or(ViewError::NoAttribute);
        let value = name.and_then(|name| self.ops.getxattr(ino.0, name));
        self.reply_xattr(ino, value, size, reply);
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        if !self.xattrs {
            return reply.error(Errno::ENOSYS);
        }
        self.reply_xattr(ino, self.ops.listxattr(ino.0), size, reply);
    }
}

impl Adapter {
    /// Size 0 asks how much room is needed.
    fn reply_xattr(
        &self,
        ino: INodeNo,
        value: Result<Vec<u8>, ViewError>,
        size: u32,
        reply: ReplyXattr,
    ) {
        let value = value.and_then(|value| match value.len() > size as usize && size > 0 {
            true => Err(ViewError::Range),
            false => Ok(value),
        });
        match value {
            Ok(value) if size == 0 => reply.size(value.len() as u32),
            Ok(value) => reply.data(&value),
            Err(error) => reply.error(self.fail("xattr", ino, &error)),
        }
    }
}
