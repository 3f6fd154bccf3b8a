//! For tests and simulations: a disk in memory that fails on demand and, at a power cut, keeps any subset of what
//! wasn't synced.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, OpenMode};
use parking_lot::{Condvar, Mutex};

const SECTOR: usize = 512;

/// What the `n`th changing operation (write, allocate, set_len, sync, create, rename, remove, sync_dir) does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The power fails during operation `n`: it takes part in the lottery, everything later fails.
    PowerCut,
    /// Operation `n` and all later ones fail with EIO; a failed sync marks the pages clean, as Linux does.
    Eio,
    /// Operations that need space fail from `n` on.
    NoSpace,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Len(usize),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    /// What a power cut leaves for sure.
    durable: Vec<u8>,
    /// What reads see.
    cached: Vec<u8>,
    /// Since the last sync.
    dirty: Vec<Change>,
}

#[derive(Clone, Debug)]
enum DirChange {
    Link(PathBuf, usize),
    Rename(PathBuf, PathBuf, usize),
    Unlink(PathBuf),
}

#[derive(Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    dir_changes: Vec<DirChange>,
    dirs: BTreeSet<PathBuf>,
    ops: u64,
    fault: Option<(u64, Fault)>,
    off: bool,
    /// Syncs that may pass before the next is held back.
    passes: Option<u64>,
    syncing: usize,
}

/// The disk; clones share it.
#[derive(Clone, Default)]
pub struct FaultDisk(Arc<(Mutex<State>, Condvar)>);

/// A small deterministic generator; the seeds 0 and 1 mean "none" and "all".
pub struct Lottery(u64, u64);

impl Lottery {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed, seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn keep(&mut self) -> bool {
        self.1 ^= self.1 << 13;
        self.1 ^= self.1 >> 7;
        self.1 ^= self.1 << 17;
        match self.0 {
            0 => false,
            1 => true,
            _ => self.1 >> 40 & 1 == 1,
        }
    }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

fn write_into(bytes: &mut Vec<u8>, at: usize, data: &[u8]) {
    if bytes.len() < at + data.len() {
        bytes.resize(at + data.len(), 0);
    }
    bytes[at..at + data.len()].copy_from_slice(data);
}

impl State {
    /// Counts a changing operation. `Ok(true)` means: the power fails during it.
    fn op(&mut self, needs_space: bool) -> io::Result<bool> {
        if self.off {
            return Err(io::Error::other("the power is off"));
        }
        let n = self.ops;
        self.ops += 1;
        match self.fault {
            Some((at, Fault::PowerCut)) if n == at => {
                self.off = true;
                Ok(true)
            }
            Some((at, Fault::Eio)) if n >= at => Err(eio()),
            Some((at, Fault::NoSpace)) if n >= at && needs_space => Err(io::Error::from_raw_os_error(28)),
            _ => Ok(false),
        }
    }
}

impl State {
    /// Directories aren't part of the lottery: they are there, or not, as they were.
    fn rename_dir(&mut self, from: &Path, to: &Path) {
        let moved = |path: &Path| path.strip_prefix(from).ok().map(|rest| to.join(rest));
        let dirs = std::mem::take(&mut self.dirs);
        self.dirs = dirs.into_iter().map(|dir| moved(&dir).unwrap_or(dir)).collect();
        for names in [&mut self.names, &mut self.durable_names] {
            let all = std::mem::take(names);
            *names = all
                .into_iter()
                .map(|(path, inode)| (moved(&path).unwrap_or(path), inode))
                .collect();
        }
        for change in &mut self.dir_changes {
            match change {
                DirChange::Link(path, _) | DirChange::Unlink(path) => {
                    if let Some(moved) = moved(path) {
                        *path = moved;
                    }
                }
                DirChange::Rename(a, b, _) => {
                    for path in [a, b] {
                        if let Some(moved) = moved(path) {
                            *path = moved;
                        }
                    }
                }
            }
        }
    }
}

fn cut_error(cut: bool) -> io::Result<()> {
    if cut {
        Err(io::Error::other("the power failed"))
    } else {
        Ok(())
    }
}

impl FaultDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on everything fails, closing included: what its users still hold in memory never gets here.
    pub fn power_off(&self) {
        self.0.0.lock().off = true;
    }

    /// From the `at`th changing operation on.
    pub fn set_fault(&self, at: u64, fault: Fault) {
        self.0.0.lock().fault = Some((at, fault));
    }

    /// The disk works again.
    pub fn clear_fault(&self) {
        self.0.0.lock().fault = None;
    }

    /// Changing operations so far.
    pub fn ops(&self) -> u64 {
        self.0.0.lock().ops
    }

    /// Holds syncs back until `false`.
    pub fn stall(&self, stalled: bool) {
        self.0.0.lock().passes = stalled.then_some(0);
        self.0.1.notify_all();
    }

    /// Lets one sync pass and waits until the next is held back.
    pub fn step(&self) {
        {
            let mut state = self.0.0.lock();
            state.passes = Some(1);
            self.0.1.notify_all();
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
            while state.passes == Some(1) {
                assert!(!self.0.1.wait_until(&mut state, deadline).timed_out(), "no sync passed");
            }
        }
        self.wait_for_stall();
    }

    /// Waits until a sync is held back.
    pub fn wait_for_stall(&self) {
        let mut state = self.0.0.lock();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while state.syncing == 0 {
            assert!(!self.0.1.wait_until(&mut state, deadline).timed_out(), "no sync came");
        }
    }

    /// The disk as it is found when the power is back.
    pub fn after_power_cut(&self, seed: u64) -> Self {
        let state = self.0.0.lock();
        let mut lottery = Lottery::new(seed);
        let mut inodes = Vec::new();
        for inode in &state.inodes {
            let mut bytes = inode.durable.clone();
            for change in &inode.dirty {
                match change {
                    Change::Len(len) => {
                        if lottery.keep() {
                            bytes.resize(*len, 0);
                        }
                    }
                    Change::Write(at, data) => {
                        let mut start = *at;
                        while start < at + data.len() {
                            let end = ((start / SECTOR + 1) * SECTOR).min(at + data.len());
                            if lottery.keep() {
                                write_into(&mut bytes, start, &data[start - at..end - at]);
                            }
                            start = end;
                        }
                    }
                }
            }
            inodes.push(Inode {
                durable: bytes.clone(),
                cached: bytes,
                dirty: Vec::new(),
            });
        }
        let mut names = state.durable_names.clone();
        for change in &state.dir_changes {
            if lottery.keep() {
                match change {
                    DirChange::Link(path, inode) => {
                        names.insert(path.clone(), *inode);
                    }
                    DirChange::Rename(from, to, inode) => {
                        names.remove(from);
                        names.insert(to.clone(), *inode);
                    }
                    DirChange::Unlink(path) => {
                        names.remove(path);
                    }
                }
            }
        }
        let durable_names = names.clone();
        let dirs = state.dirs.clone();
        let state = State {
            inodes,
            names,
            durable_names,
            dirs,
            ..State::default()
        };
        Self(Arc::new((Mutex::new(state), Condvar::new())))
    }

    /// Changes bytes behind the back of everybody.
    pub fn edit(&self, path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.0.0.lock();
        let inode = state.names[path];
        let inode = &mut state.inodes[inode];
        edit(&mut inode.cached);
        inode.durable = inode.cached.clone();
    }

    /// An independent copy; what is cached counts as durable in it.
    pub fn copy(&self) -> Self {
        let state = self.0.0.lock();
        let settle = |inode: &Inode| Inode {
            durable: inode.cached.clone(),
            cached: inode.cached.clone(),
            dirty: Vec::new(),
        };
        let copy = State {
            inodes: state.inodes.iter().map(settle).collect(),
            names: state.names.clone(),
            durable_names: state.names.clone(),
            dirs: state.dirs.clone(),
            ..State::default()
        };
        Self(Arc::new((Mutex::new(copy), Condvar::new())))
    }

    /// A file's content as it is read.
    pub fn read_file(&self, path: &Path) -> Vec<u8> {
        let state = self.0.0.lock();
        state.inodes[state.names[path]].cached.clone()
    }

    /// All files.
    pub fn files(&self) -> Vec<PathBuf> {
        self.0.0.lock().names.keys().cloned().collect()
    }

    /// As the trait.
    pub fn arc(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }
}

impl Disk for FaultDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.0.lock();
        state.dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.0.0.lock();
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside
            .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
            .collect())
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.0.0.lock();
        let inode = match (mode, state.names.get(path)) {
            (OpenMode::Create, Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (OpenMode::Create, None) => {
                let cut = state.op(true)?;
                let inode = state.inodes.len();
                state.inodes.push(Inode::default());
                state.names.insert(path.to_owned(), inode);
                state.dir_changes.push(DirChange::Link(path.to_owned(), inode));
                cut_error(cut)?;
                inode
            }
            (_, Some(inode)) => *inode,
            (_, None) => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(FaultFile {
            disk: self.clone(),
            inode,
            writable: mode != OpenMode::Read,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.0.lock();
        let cut = state.op(false)?;
        if state.dirs.contains(from) {
            state.rename_dir(from, to);
            return cut_error(cut);
        }
        let inode = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), inode);
        state
            .dir_changes
            .push(DirChange::Rename(from.to_owned(), to.to_owned(), inode));
        cut_error(cut)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.0.lock();
        let cut = state.op(false)?;
        state.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        state.dir_changes.push(DirChange::Unlink(path.to_owned()));
        cut_error(cut)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.0.lock();
        let cut = state.op(false)?;
        cut_error(cut)?;
        let state = &mut *state;
        let inside = |path: &Path| path.parent() == Some(dir);
        state.dir_changes.retain(|change| match change {
            DirChange::Link(path, _) | DirChange::Rename(path, _, _) | DirChange::Unlink(path) => !inside(path),
        });
        state.durable_names.retain(|path, _| !inside(path));
        let synced = state.names.iter().filter(|(path, _)| inside(path));
        state
            .durable_names
            .extend(synced.map(|(path, inode)| (path.clone(), *inode)));
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.0.0.lock();
        Ok(state.names.contains_key(path) || state.dirs.contains(path))
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        Ok(1 << 30)
    }
}

struct FaultFile {
    disk: FaultDisk,
    inode: usize,
    writable: bool,
}

impl FaultFile {
    fn change(&self, needs_space: bool, change: impl FnOnce(&mut Inode)) -> io::Result<()> {
        assert!(self.writable, "change to a file opened for reading");
        let mut state = self.disk.0.0.lock();
        let cut = state.op(needs_space)?;
        change(&mut state.inodes[self.inode]);
        cut_error(cut)
    }
}

impl DiskFile for FaultFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.0.0.lock();
        let bytes = &state.inodes[self.inode].cached;
        let from = bytes.get(offset as usize..).unwrap_or_default();
        let n = from.len().min(buf.len());
        buf[..n].copy_from_slice(&from[..n]);
        Ok(n)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let at = offset as usize;
        let grows = at + data.len() > self.disk.0.0.lock().inodes[self.inode].cached.len();
        self.change(grows, |inode| {
            write_into(&mut inode.cached, at, data);
            inode.dirty.push(Change::Write(at, data.to_vec()));
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.change(true, |inode| {
            let len = inode.cached.len().max(len as usize);
            inode.cached.resize(len, 0);
            inode.dirty.push(Change::Len(len));
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(false, |inode| {
            inode.cached.resize(len as usize, 0);
            inode.dirty.push(Change::Len(len as usize));
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.0.0.lock();
        state.syncing += 1;
        self.disk.0.1.notify_all();
        while state.passes == Some(0) {
            self.disk.0.1.wait(&mut state);
        }
        if let Some(passes) = &mut state.passes {
            *passes -= 1;
            self.disk.0.1.notify_all();
        }
        state.syncing -= 1;
        let cut = match state.op(false) {
            Ok(cut) => cut,
            Err(error) => {
                // The pages are clean now, though the disk never saw them.
                state.inodes[self.inode].dirty.clear();
                return Err(error);
            }
        };
        cut_error(cut)?;
        // Only what is dirty reaches the disk: pages that a failed sync marked clean don't.
        let inode = &mut state.inodes[self.inode];
        for change in std::mem::take(&mut inode.dirty) {
            match change {
                Change::Write(at, data) => write_into(&mut inode.durable, at, &data),
                Change::Len(len) => inode.durable.resize(len, 0),
            }
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.0.0.lock().inodes[self.inode].cached.len() as u64)
    }
}
