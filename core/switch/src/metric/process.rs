//! What the kernel knows about this process.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};

use super::catalogue::{
    PROCESS_CPU, PROCESS_MAX_FDS, PROCESS_OPEN_FDS, PROCESS_RESIDENT, PROCESS_START, PROCESS_THREADS,
    PROCESS_VIRTUAL,
};
use super::exposition::Exposition;

/// Adds the process's metrics; what the kernel does not tell is left out.
pub(super) fn add(to: &mut Exposition, start: SystemTime) {
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        let seconds = |time: nix::sys::time::TimeVal| {
            Duration::from_micros(u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0))
        };
        to.number(
            &PROCESS_CPU,
            &[],
            (seconds(usage.user_time()) + seconds(usage.system_time())).as_secs_f64(),
        );
    }
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        for (field, metric, factor) in [
            ("VmRSS:", &PROCESS_RESIDENT, 1024),
            ("VmSize:", &PROCESS_VIRTUAL, 1024),
            ("Threads:", &PROCESS_THREADS, 1),
        ] {
            if let Some(value) = number_after(&status, field) {
                to.count(metric, &[], value * factor);
            }
        }
    }
    if let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") {
        to.size(&PROCESS_OPEN_FDS, &[], descriptors.count());
    }
    if let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
        to.count(&PROCESS_MAX_FDS, &[], limit);
    }
    to.number(
        &PROCESS_START,
        &[],
        start.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
    );
}

fn number_after(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}
