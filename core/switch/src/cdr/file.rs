//! The file of call records: lines that are added, and files that make room for each other.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
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
    /// A sync went wrong of which [`Rotating::sync`] has not told yet. The system tells it once: the next one goes
    /// well, whatever became of the lines.
    sync_failed: bool,
}

impl Rotating {
    /// Opens or makes it; what was left of a line by a power cut is ended first.
    pub(super) fn open(path: PathBuf, max_size: u64, keep: u32) -> io::Result<Self> {
        let (file, size) = whole_lines(&path)?;
        Ok(Self {
            path,
            file,
            size,
            max_size,
            keep,
            sync_failed: false,
        })
    }

    /// Adds a line, whole or not at all.
    pub(super) fn write(&mut self, line: &str) -> io::Result<()> {
        self.follow()?;
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

    /// Has the disk take what was written.
    ///
    /// # Errors
    /// The disk did not take it, now or when another file took this one's place since the last call: any line since
    /// then may be lost.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let synced = self.sync_open();
        match std::mem::take(&mut self.sync_failed) {
            true => synced.and_then(|()| Err(io::Error::other("a sync before this one failed"))),
            false => synced,
        }
    }

    fn sync_open(&mut self) -> io::Result<()> {
        let synced = self.file.sync_data();
        self.sync_failed |= synced.is_err();
        synced
    }

    /// Others may move, remove or empty the file, as programs that rotate logs do: what is there under its name is what
    /// is written to.
    fn follow(&mut self) -> io::Result<()> {
        let (open, named) = (self.file.metadata()?, fs::metadata(&self.path));
        match named {
            Ok(named) if (named.dev(), named.ino()) == (open.dev(), open.ino()) => {
                self.size = named.len();
                return Ok(());
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(_) | Err(_) => {}
        }
        self.sync_open()?;
        (self.file, self.size) = whole_lines(&self.path)?;
        tracing::info!(path = %self.path.display(), "the file of call records was moved or removed; they go to a new one");
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.sync_open()?;
        let numbered = |number| older(&self.path, number);
        // Only as far as room is needed: what is tried again after a failure must not move them once more.
        let free = (1..self.keep).find(|number| !numbered(*number).exists());
        for number in (1..free.unwrap_or(self.keep)).rev() {
            fs::rename(numbered(number), numbered(number + 1))?;
        }
        match self.keep {
            0 => fs::remove_file(&self.path)?,
            _ => fs::rename(&self.path, numbered(1))?,
        }
        (self.file, self.size) = whole_lines(&self.path)?;
        Ok(())
    }
}

/// Opens or makes a file that ends with the end of a line, and tells its size in bytes.
fn whole_lines(path: &Path) -> io::Result<(File, u64)> {
    let mut file = append(path)?;
    let mut size = file.metadata()?.len();
    let mut last = [b'\n'];
    if size > 0 {
        file.read_exact_at(&mut last, size - 1)?;
    }
    if last != *b"\n" {
        file.write_all(b"\n")?;
        size += 1;
    }
    Ok((file, size))
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
/// From the second older one on, files that were written to last before that time are not read. Where an older one
/// cannot be read, that is logged: a second line of a call is less than no start.
///
/// # Errors
/// The file itself cannot be read.
pub(super) fn find(
    path: &Path,
    keep: u32,
    ids: &HashSet<u128>,
    since: Time,
) -> io::Result<HashMap<u128, String>> {
    let mut found = HashMap::new();
    search(path, ids, Time(0), &mut found)?;
    for number in 1..=keep {
        let path = older(path, number);
        // Stamps are of the wall clock, which may have been set meanwhile: hence the first two whatever they say.
        let since = if number > 1 { since } else { Time(0) };
        match search(&path, ids, since, &mut found) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                tracing::warn!(path = %path.display(), "an older file of call records cannot be read; calls whose lines are in it may get a second one: {error}");
            }
        }
    }
    Ok(found)
}

/// Adds the lines of one file, if it is there; `false` if it was written to last before that time.
fn search(
    path: &Path,
    ids: &HashSet<u128>,
    since: Time,
    found: &mut HashMap<u128, String>,
) -> io::Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    let stamp = file.metadata()?.modified()?.duration_since(UNIX_EPOCH);
    if Time(0) + stamp.unwrap_or_default() < since {
        return Ok(false);
    }
    let mut reader = BufReader::new(file);
    let mut bytes = Vec::new();
    while found.len() < ids.len() && reader.read_until(b'\n', &mut bytes)? > 0 {
        if let Some(id) = line::id(&bytes).filter(|id| ids.contains(id)) {
            found.insert(id, String::from_utf8_lossy(&bytes).into_owned());
        }
        bytes.clear();
    }
    Ok(true)
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
    fn a_file_that_others_move_remove_or_empty_is_made_anew_and_older_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cdr.jsonl");
        let at = |name: &str| folder.path().join(name);
        let read = |name: &str| fs::read_to_string(at(name)).ok();
        let mut file = Rotating::open(path.clone(), 10, 4).unwrap();
        for line in ["aaaaaa\n", "bbbbbb\n", "cccccc\n"] {
            file.write(line).unwrap();
        }
        fs::rename(&path, at("cdr.jsonl-2026")).unwrap();
        for line in ["dddddd\n", "eeeeee\n"] {
            file.write(line).unwrap();
        }
        assert_eq!(read("cdr.jsonl-2026").unwrap(), "cccccc\n");
        let names = ["cdr.jsonl", "cdr.jsonl.1", "cdr.jsonl.2", "cdr.jsonl.3"];
        let seen = names.map(|name| read(name).unwrap());
        assert_eq!(seen, ["eeeeee\n", "dddddd\n", "bbbbbb\n", "aaaaaa\n"]);
        fs::remove_file(&path).unwrap();
        file.write("ffffff\n").unwrap();
        assert_eq!(read("cdr.jsonl").unwrap(), "ffffff\n");
        File::create(&path).unwrap();
        file.write("gg\n").unwrap();
        file.write("hh\n").unwrap();
        assert_eq!(read("cdr.jsonl").unwrap(), "gg\nhh\n", "an empty one is not full");
        assert_eq!(read("cdr.jsonl.1").unwrap(), "dddddd\n");
    }

    #[test]
    fn older_files_are_not_moved_again_and_again_where_no_room_can_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cdr.jsonl");
        let mut file = Rotating::open(path.clone(), 10, 3).unwrap();
        for line in ["aaaaaa\n", "bbbbbb\n"] {
            file.write(line).unwrap();
        }
        // No file can take the name of a folder: the way out of every failing rename.
        fs::rename(older(&path, 1), older(&path, 2)).unwrap();
        fs::create_dir(older(&path, 1)).unwrap();
        fs::create_dir(older(&path, 3)).unwrap();
        fs::write(older(&path, 3).join("in"), "").unwrap();
        for _ in 0..3 {
            file.write("cccccc\n").unwrap_err();
        }
        assert_eq!(fs::read_to_string(older(&path, 2)).unwrap(), "aaaaaa\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "bbbbbb\n");
        fs::remove_dir_all(folder.path()).unwrap();
        for _ in 0..2 {
            file.write("cccccc\n").unwrap_err();
        }
        fs::create_dir(folder.path()).unwrap();
        file.write("dddddd\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "dddddd\n");
    }

    #[test]
    fn a_sync_that_fails_before_another_file_takes_the_place_is_told_of_by_the_next_one() {
        for moved_by_others in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("cdr.jsonl");
            // It takes what is written, and cannot be synced.
            std::os::unix::fs::symlink("/dev/null", &path).unwrap();
            let mut file = Rotating::open(path.clone(), 10, 2).unwrap();
            file.write("aaaaaa\n").unwrap();
            if moved_by_others {
                fs::remove_file(&path).unwrap();
                file.write("bbbbbb\n").unwrap_err();
            } else {
                file.rotate().unwrap_err();
                fs::remove_file(&path).unwrap();
            }
            // A disk that has told of its failure: from now on all goes well.
            file.file = append(&path).unwrap();
            file.write("cccccc\n").unwrap();
            file.sync().unwrap_err();
            file.sync().unwrap();
        }
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
        let found = |since| find(&path, 2, &HashSet::from([2, 4, 9]), since).unwrap();
        let known = found(Time(0));
        assert_eq!(known.len(), 2, "{known:?}");
        assert_eq!((&known[&2], &known[&4]), (&line(2), &line(4)));
        assert_eq!(found(Time(u64::MAX)).into_keys().collect::<Vec<_>>(), [4]);
        fs::remove_file(older(&path, 1)).unwrap();
        fs::create_dir(older(&path, 1)).unwrap();
        let known = found(Time(0));
        assert!(known.contains_key(&2), "what can be read is: {known:?}");
    }
}
