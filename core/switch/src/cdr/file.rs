//! The file of call records: lines that are added, and files that make room for each other.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use cordboard_model::Time;

use super::line;

/// A file that makes room when it is full.
pub(super) struct Rotating {
    pub(super) path: PathBuf,
    file: File,
    size: u64,
    max_size: u64,
    keep: u32,
}

impl Rotating {
    /// Opens or makes it; what was left of a line by a power cut is ended first.
    pub(super) fn open(path: PathBuf, max_size: u64, keep: u32) -> io::Result<Self> {
        let mut file = append(&path)?;
        let mut size = file.metadata()?.len();
        let mut last = [b'\n'];
        if size > 0 {
            file.read_exact_at(&mut last, size - 1)?;
        }
        if last != *b"\n" {
            file.write_all(b"\n")?;
            size += 1;
        }
        Ok(Self {
            path,
            file,
            size,
            max_size,
            keep,
        })
    }

    /// Adds a line, whole or not at all.
    pub(super) fn write(&mut self, line: &str) -> io::Result<()> {
        let length = line.len() as u64;
        if self.size > 0 && self.size + length > self.max_size {
            self.rotate()?;
        }
        // What was left of a line by a full disk must not spoil the next one.
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            let _ = self.file.set_len(self.size); // the same trouble; the first error says more
            return Err(error);
        }
        self.size += length;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let numbered = |number| older(&self.path, number);
        for number in (1..self.keep).rev() {
            if numbered(number).exists() {
                fs::rename(numbered(number), numbered(number + 1))?;
            }
        }
        match self.keep {
            0 => fs::remove_file(&self.path)?,
            _ => fs::rename(&self.path, numbered(1))?,
        }
        self.file = append(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

/// The name of an older file; 1 is the youngest.
fn older(path: &Path, number: u32) -> PathBuf {
    PathBuf::from(format!("{}.{number}", path.display()))
}

/// The lines of the records with these ids, written not before a time, in the file and in up to `keep` older ones.
/// From the second older one on, files that were written to last before that time are not read.
pub(super) fn find(path: &Path, keep: u32, ids: &[u128], since: Time) -> io::Result<HashMap<u128, String>> {
    let mut found = HashMap::new();
    for number in 0..=keep {
        let opened = match number {
            0 => File::open(path),
            number => File::open(older(path, number)),
        };
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        // The stamp is of the wall clock, which may have been set meanwhile: hence the first two whatever it says.
        let stamp = file.metadata()?.modified()?.duration_since(UNIX_EPOCH);
        if number > 1 && Time(0) + stamp.unwrap_or_default() < since {
            break;
        }
        let mut reader = BufReader::new(file);
        let mut bytes = Vec::new();
        while found.len() < ids.len() && reader.read_until(b'\n', &mut bytes)? > 0 {
            if let Some(id) = line::id(&bytes).filter(|id| ids.contains(id)) {
                found.insert(id, String::from_utf8_lossy(&bytes).into_owned());
            }
            bytes.clear();
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_files_are_numbered_and_the_eldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cdr.jsonl");
        let mut file = Rotating::open(path.clone(), 10, 2).unwrap();
        for line in ["aaaaaa\n", "bbbbbb\n", "cc\n", "dddddd\n", "eeeeee\n"] {
            file.write(line).unwrap();
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).ok();
        assert_eq!(read("cdr.jsonl").unwrap(), "eeeeee\n");
        assert_eq!(read("cdr.jsonl.1").unwrap(), "dddddd\n");
        assert_eq!(read("cdr.jsonl.2").unwrap(), "bbbbbb\ncc\n");
        assert_eq!(read("cdr.jsonl.3"), None);
        drop(file);
        let mut again = Rotating::open(path, 10, 2).unwrap();
        again.write("ff\n").unwrap();
        assert_eq!(
            read("cdr.jsonl").unwrap(),
            "eeeeee\nff\n",
            "it goes on where it was"
        );
    }

    #[test]
    fn a_line_that_was_cut_is_ended_before_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cdr.jsonl");
        fs::write(&path, "{\"id\":\"00").unwrap();
        let mut file = Rotating::open(path.clone(), 1000, 2).unwrap();
        file.write("bb\n").unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "{\"id\":\"00\nbb\n");
    }

    #[test]
    fn lines_are_found_in_older_files_too_but_not_in_those_of_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cdr.jsonl");
        let line = |id: u128| line::line(&crate::cdr::tests::record(id));
        let mut file = Rotating::open(path.clone(), 10, 2).unwrap();
        for id in 1..=4 {
            file.write(&line(id)).unwrap();
        }
        let found = |since| find(&path, 2, &[2, 4, 9], since).unwrap();
        let known = found(Time(0));
        assert_eq!(known.len(), 2, "{known:?}");
        assert_eq!((&known[&2], &known[&4]), (&line(2), &line(4)));
        assert_eq!(found(Time(u64::MAX)).into_keys().collect::<Vec<_>>(), [4]);
    }
}
