//! What a process has cost so far, as the kernel counts it.

use std::fs;

/// CPU seconds, of user and system together, that a process, its threads and its children have used.
pub fn cpu_seconds(pid: u32) -> f64 {
    let family = std::iter::once(pid).chain(children(pid));
    family.map(|pid| threads(pid).unwrap_or_default()).sum()
}

/// Bytes of a process that are in memory.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}

/// Of every thread that is alive: `schedstat` counts nanoseconds, where `stat` has ticks of 10 ms.
fn threads(pid: u32) -> Option<f64> {
    let mut sum = 0.0;
    for entry in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let folder = entry.ok()?.path();
        let exact = fs::read_to_string(folder.join("schedstat")).ok();
        let nanoseconds = exact.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
        sum += match nanoseconds {
            Some(nanoseconds) => nanoseconds / 1e9,
            None => ticks(&fs::read_to_string(folder.join("stat")).ok()?)? / 100.0,
        };
    }
    Some(sum)
}

/// User and system time in a `stat` line.
fn ticks(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let mut next = || fields.next()?.parse::<f64>().ok();
    Some(next()? + next()?)
}

fn children(parent: u32) -> Vec<u32> {
    let parent_of = |pid: u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    let entries = fs::read_dir("/proc").expect("Linux");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}
