//! What a process costs, from the kernel's own books in `/proc`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// Ticks of the kernel's clock in a second, as every Linux tells programs.
const TICKS: u64 = 100;

/// Its share of the machine's memory in bytes: shared pages are divided among their users.
pub fn memory(pid: u32) -> Result<u64> {
    kilobytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

/// The most memory that it ever had at once, in bytes.
pub fn peak_memory(pid: u32) -> Result<u64> {
    kilobytes(&format!("/proc/{pid}/status"), "VmHWM:")
}

/// Processor time used so far, in user mode and in the kernel.
pub fn processor_time(pid: u32) -> Result<Duration> {
    times(&format!("/proc/{pid}/stat"))
}

/// The same of one thread, by its path below `/proc`, which `/proc/thread-self` names.
pub fn processor_time_of_thread(thread: &Path) -> Result<Duration> {
    times(&format!("/proc/{}/stat", thread.display()))
}

fn times(path: &str) -> Result<Duration> {
    let text = std::fs::read_to_string(path).with_context(|| format!("failed to read {path}"))?;
    let ticks = ticks(&text).with_context(|| format!("{path} is not as documented"))?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS))
}

fn ticks(stat: &str) -> Option<u64> {
    // The name of the program comes in parentheses and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn kilobytes(path: &str, name: &str) -> Result<u64> {
    let text = std::fs::read_to_string(path).with_context(|| format!("failed to read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.with_context(|| format!("{path} has no line {name}"))?;
    let number = value.trim().trim_end_matches(" kB").parse::<u64>();
    Ok(number.with_context(|| format!("{name} is not a number"))? * 1024)
}

#[cfg(test)]
mod tests {
    use super::{memory, peak_memory, processor_time, ticks};

    #[test]
    fn both_times_count_whatever_the_program_is_called() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 1 0 0 0 30 12 0 0 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat), Some(42));
    }

    #[test]
    fn this_process_has_a_cost() {
        let own = std::process::id();
        assert!(memory(own).unwrap() > 0);
        assert!(peak_memory(own).unwrap() > 0);
        processor_time(own).unwrap();
    }
}
