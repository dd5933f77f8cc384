//! `tar`: the tree of a mount as an archive on standard output, for machines without FUSE. Names,
//! sizes, times, links and order are those of `tar -C MOUNT -cf - .`, without the `./`; everything belongs to root, as in
//! a mount by root.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tar::{Builder, EntryType, Header};

use super::own_args::{Line, Tar};
use super::{Failure, target};
use crate::tools::Site;
use crate::tools::target::Mode;
use crate::tools::terminal::Terminal;
use crate::view::ViewError;
use crate::view::attr::{Attr, Kind};
use crate::view::inode::{Blocks, ROOT};
use crate::view::mails::Layout;
use crate::view::moments::Moments;
use crate::view::open::{self, How, LockMode};
use crate::view::ops::{Ops, Root};
use crate::view::tree::{Shape, Tree, TreeConfig};

/// How long to wait for a lock: like the other commands, as long as it takes.
const PATIENCE: Duration = Duration::from_secs(365 * 24 * 3600);

/// Bytes read at once.
const STEP: u32 = 1 << 20;

pub(super) fn run(
    args: &Tar,
    line: &Line,
    mode: Mode,
    site: &Site,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let backup = line.backup.as_os_str();
    let found = target(mode, backup, site)?;
    let ops = tree(
        args,
        line.at.as_deref(),
        &found.path,
        found.userid.as_deref(),
        site,
    )?;
    let mut archive = Archive {
        builder: Builder::new(&mut *terminal.out),
        ops: &ops,
        xattrs: args.xattrs,
        links: HashMap::new(),
        unread: Vec::new(),
    };
    archive.directory(Path::new(""), &ops.getattr(ROOT)?)?;
    archive.builder.finish()?;
    let unread = std::mem::take(&mut archive.unread);
    drop(archive);
    for (path, error) in &unread {
        terminal.complain(backup, format!("{}: {error}", path.display()))?;
    }
    match unread.len() {
        0 => Ok(()),
        left_out => Err(Failure::LeftOut(left_out)),
    }
}

fn tree(
    args: &Tar,
    at: Option<&str>,
    path: &Path,
    key: Option<&str>,
    site: &Site,
) -> Result<Ops, Failure> {
    let how = How {
        lock: match args.no_lock {
            true => LockMode::None,
            false => LockMode::Hold,
        },
        wait: PATIENCE,
        cache: None,
    };
    let at = at.map(|text| site.clock.parse(text));
    let at = at
        .transpose()
        .map_err(|error| Failure::Usage(error.to_string()))?;
    if at.is_some_and(|at| at > site.clock.now) {
        return Err(ViewError::NotYet.into());
    }
    let source = open::open(path, how, at)?;
    let config = TreeConfig {
        key,
        namespace: &site.namespace,
        shape: shape(args)?,
        past: at.is_some(),
        parent: ROOT,
        time: None,
    };
    let tree = Tree::open(source, &config, |_| Some(Blocks::Sole))?;
    let moments = Moments::new(site.clock.clone());
    Ok(Ops::new(Root::Sole(Arc::new(tree)), moments))
}

fn shape(args: &Tar) -> Result<Shape, Failure> {
    let layout = match args.layout.as_str() {
        "eml" => Layout::Eml,
        "maildir" => Layout::Maildir,
        other => {
            return Err(Failure::Usage(format!(
                "{other:?} is no layout: eml or maildir"
            )));
        }
    };
    let plain_chunks = match args.chunks.as_str() {
        "gz" => false,
        "plain" => true,
        other => {
            return Err(Failure::Usage(format!(
                "{other:?} is no form of chunks: gz or plain"
            )));
        }
    };
    Ok(Shape {
        layout,
        plain_chunks,
    })
}

/// An archive that is being written.
struct Archive<'a, W: Write> {
    builder: Builder<W>,
    ops: &'a Ops,
    xattrs: bool,
    /// Files with several names that are in the archive, by inode number.
    links: HashMap<u64, PathBuf>,
    /// What had to be left out.
    unread: Vec<(PathBuf, ViewError)>,
}

impl<W: Write> Archive<'_, W> {
    /// A directory and what is in it, in the order in which a mount lists it.
    fn directory(&mut self, path: &Path, attr: &Attr) -> Result<(), Failure> {
        self.attributes(attr)?;
        let mut header = header(attr, EntryType::Directory);
        let mut name = path.as_os_str().to_owned();
        name.push(if name.is_empty() { "./" } else { "/" });
        self.builder.append_data(&mut header, &name, io::empty())?;
        let mut entries = Vec::new();
        let mut from = 2;
        loop {
            self.ops.readdir(attr.ino, from, |entry| {
                from = entry.next;
                entries.push((entry.name.to_owned(), entry.attr));
                entries.len() < 10_000
            })?;
            if entries.is_empty() {
                return Ok(());
            }
            for (name, attr) in std::mem::take(&mut entries) {
                let path = path.join(name);
                match attr.kind {
                    Kind::Dir => self.directory(&path, &attr)?,
                    Kind::File => self.file(path, &attr)?,
                }
            }
        }
    }

    fn file(&mut self, path: PathBuf, attr: &Attr) -> Result<(), Failure> {
        if let Some(first) = self.links.get(&attr.ino) {
            let mut header = header(attr, EntryType::Link);
            header.set_size(0);
            self.builder.append_link(&mut header, &path, first)?;
            return Ok(());
        }
        // The first read tells whether a message is damaged; a header cannot be taken back.
        let first = match self.ops.read(attr.ino, 0, STEP) {
            Ok(first) => first.as_slice().to_vec(),
            Err(error) => {
                self.unread.push((path, error));
                return Ok(());
            }
        };
        self.attributes(attr)?;
        let mut header = header(attr, EntryType::Regular);
        let octets = Octets {
            ops: self.ops,
            ino: attr.ino,
            at: 0,
            end: attr.size,
            step: first,
            used: 0,
        };
        self.builder.append_data(&mut header, &path, octets)?;
        if attr.nlink > 1 {
            self.links.insert(attr.ino, path);
        }
        Ok(())
    }

    fn attributes(&mut self, attr: &Attr) -> Result<(), Failure> {
        if !self.xattrs {
            return Ok(());
        }
        let mut all = Vec::new();
        for name in self.ops.listxattr(attr.ino)?.split(|byte| *byte == 0) {
            if let Ok(name) = std::str::from_utf8(name)
                && !name.is_empty()
            {
                let value = self.ops.getxattr(attr.ino, name)?;
                all.push((format!("SCHILY.xattr.{name}"), value));
            }
        }
        let all = all
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()));
        self.builder.append_pax_extensions(all)?;
        Ok(())
    }
}

fn header(attr: &Attr, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(attr.size);
    header.set_mode(match attr.kind {
        Kind::Dir => 0o500,
        Kind::File => 0o400,
    });
    header.set_uid(0);
    header.set_gid(0);
    // tar has no times before 1970.
    header.set_mtime(u64::try_from(attr.mtime).unwrap_or(0));
    header
}

/// A file as a stream.
struct Octets<'a> {
    ops: &'a Ops,
    ino: u64,
    /// Where `step` ends.
    at: u64,
    end: u64,
    step: Vec<u8>,
    used: usize,
}

impl Read for Octets<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.used == self.step.len() {
            self.at += self.step.len() as u64;
            if self.at >= self.end {
                return Ok(0);
            }
            let data = self.ops.read(self.ino, self.at, STEP);
            // Only a piece of the data file can fail in its middle: the disk does.
            let data = data.map_err(io::Error::other)?;
            (self.step, self.used) = (data.as_slice().to_vec(), 0);
        }
        let n = (&self.step[self.used..]).read(out)?;
        self.used += n;
        Ok(n)
    }
}
