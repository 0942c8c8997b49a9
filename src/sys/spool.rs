//! Text that is too much to be held in memory while it grows: set down in a file as it comes, and
//! brought into order when it is whole.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::core::layout::temporary;

/// A growing text in a file that has no name any more: it is gone with this value or with the
/// process.
pub struct Spool {
    file: File,
    /// What is not yet in the file.
    tail: Vec<u8>,
    /// Length of what is in the file, in bytes.
    settled: u64,
}

/// A part of the file to be made.
pub enum Part {
    Text(Vec<u8>),
    /// As [`Spool::add`] gave it.
    Spooled(Range<u64>),
}

/// Bytes held before they are written, and copied at once. Below the size from which the
/// allocator asks the kernel, so that it is the same memory again each time.
const HELD: usize = 64 << 10;
/// Times that another process may take the name between two calls.
const NAME_TRIES: u32 = 8;

impl Spool {
    /// In `dir`, where nobody else sees it.
    pub fn new(dir: &Path) -> io::Result<Self> {
        // The same name for everybody, so that a crash leaves one at most and the next spool takes
        // it away. Whoever loses its name to another in between still holds its file.
        let path = dir.join(".spool.nolapse-new");
        let mut tries = 0;
        let file = loop {
            remove(&path)?;
            match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < NAME_TRIES => {
                    tries += 1;
                }
                opened => break opened?,
            }
        };
        remove(&path)?;
        Ok(Self { file, tail: Vec::with_capacity(HELD), settled: 0 })
    }

    /// Adds `text` at the end, and says where that is.
    pub fn add(&mut self, text: &[u8]) -> io::Result<Range<u64>> {
        if self.tail.len() + text.len() > HELD {
            self.settle()?;
        }
        let start = self.settled + self.tail.len() as u64;
        if text.len() > HELD {
            self.file.write_all_at(text, self.settled)?;
            self.settled += text.len() as u64;
        } else {
            self.tail.extend_from_slice(text);
        }
        Ok(start..start + text.len() as u64)
    }

    /// Puts a file with `parts` in the place of what lies at `path`: whole, and with `mode` before
    /// it has its name. Not durable, as what grows in a spool is remade after a crash.
    pub fn replace(
        mut self,
        path: &Path,
        mode: u32,
        parts: impl IntoIterator<Item = Part>,
    ) -> io::Result<()> {
        self.settle()?;
        let temporary = temporary(path).ok_or(io::ErrorKind::InvalidInput)?;
        remove(&temporary)?;
        let written = self.write(&temporary, mode, parts).and_then(|()| std::fs::rename(&temporary, path));
        if written.is_err() {
            // What went wrong first is what is told.
            let _ = remove(&temporary);
        }
        written
    }

    fn write(self, path: &PathBuf, mode: u32, parts: impl IntoIterator<Item = Part>) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        // What was held is free for what is copied.
        let mut held = self.tail;
        let mut file = BufWriter::with_capacity(HELD, file);
        let mut ahead: Option<Range<u64>> = None;
        for part in parts {
            match (part, &mut ahead) {
                // What follows itself is copied in one go.
                (Part::Spooled(range), Some(before)) if before.end == range.start => before.end = range.end,
                (Part::Spooled(range), before) => {
                    if let Some(before) = before.replace(range) {
                        copy(&self.file, before, &mut held, &mut file)?;
                    }
                }
                (Part::Text(text), before) => {
                    if let Some(before) = before.take() {
                        copy(&self.file, before, &mut held, &mut file)?;
                    }
                    file.write_all(&text)?;
                }
            }
        }
        if let Some(before) = ahead {
            copy(&self.file, before, &mut held, &mut file)?;
        }
        file.flush()
    }

    fn settle(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.tail, self.settled)?;
        self.settled += self.tail.len() as u64;
        self.tail.clear();
        Ok(())
    }
}

fn copy(from: &File, range: Range<u64>, held: &mut Vec<u8>, to: &mut impl Write) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let length = usize::try_from(range.end - at).unwrap_or(HELD).min(HELD);
        held.resize(length, 0);
        from.read_exact_at(held, at)?;
        to.write_all(held)?;
        at += length as u64;
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_out_in_the_order_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("status.json");
        std::fs::write(&path, "old").unwrap();
        let mut spool = Spool::new(dir.path()).unwrap();
        let lengths = [5, HELD - 3, 7, 2 * HELD + 1, 0, 9];
        let texts: Vec<_> =
            lengths.into_iter().zip(b'a'..).map(|(length, byte)| vec![byte; length]).collect();
        let ranges: Vec<_> = texts.iter().map(|text| spool.add(text).unwrap()).collect();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "the spool has no name");
        let order = [3, 0, 1, 2, 5, 4];
        let parts = std::iter::once(Part::Text(b"<".to_vec()))
            .chain(order.iter().map(|at| Part::Spooled(ranges[*at].clone())))
            .chain([Part::Text(b">".to_vec())]);
        spool.replace(&path, 0o644, parts).unwrap();
        let expected: Vec<u8> = [&b"<"[..]]
            .into_iter()
            .chain(order.iter().map(|at| &texts[*at][..]))
            .chain([&b">"[..]])
            .flatten()
            .copied()
            .collect();
        assert_eq!(std::fs::read(&path).unwrap(), expected);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_directory_that_is_gone_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let (gone, path) = (dir.path().join("gone"), dir.path().join("gone/status.json"));
        assert_eq!(Spool::new(&gone).err().unwrap().kind(), io::ErrorKind::NotFound);
        let spool = Spool::new(dir.path()).unwrap();
        assert_eq!(spool.replace(&path, 0o644, []).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
