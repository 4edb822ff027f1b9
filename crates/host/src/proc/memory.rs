//! Whether a second app fits into memory beside the first.

use super::below;
use std::fs;
use std::path::Path;

/// Whether a release may be started beside the running one, whose minder is `minder`: what is available must be
/// 1.2 times the running app's peak, because a new release seldom needs exactly what the old one did.
///
/// # Errors
/// With a sentence that says what is needed and what there is.
pub fn memory_allows_overlap(minder: u32) -> Result<(), String> {
    let peak: u64 = below(minder).iter().filter_map(|stat| peak_of(stat.pid)).sum();
    let free = available().ok_or("/proc/meminfo does not say how much memory is available")?;
    fits(peak, free)
}

fn fits(peak: u64, free: u64) -> Result<(), String> {
    let needed = peak + peak / 5;
    if free >= needed {
        return Ok(());
    }
    let mb = |bytes: u64| bytes / 1_000_000;
    Err(format!(
        "a second app beside the running one needs {} MB (1.2 times its peak of {} MB), {} MB are available",
        mb(needed),
        mb(peak),
        mb(free)
    ))
}

/// The most that `pid` ever had resident, in bytes.
fn peak_of(pid: u32) -> Option<u64> {
    kilobytes(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmHWM:")
}

/// What can be had without swapping, in bytes: of the machine, or of our control group if that has less.
fn available() -> Option<u64> {
    let machine = kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")?;
    Some(group_room().map_or(machine, |group| group.min(machine)))
}

fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1_024)
}

/// What our control group (version 2) may still take; nothing if it has no limit.
fn group_room() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let folder = Path::new("/sys/fs/cgroup").join(path);
    let number = |file: &str| fs::read_to_string(folder.join(file)).ok()?.trim().parse::<u64>().ok();
    Some(number("memory.max")?.saturating_sub(number("memory.current")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_needs_a_fifth_more_than_the_peak_and_says_so() {
        assert_eq!(fits(100_000_000, 120_000_000), Ok(()));
        let text = fits(100_000_000, 119_000_000).unwrap_err();
        assert!(text.contains("needs 120 MB") && text.contains("119 MB are available"), "{text}");
    }

    #[test]
    fn this_machine_says_what_it_has() {
        assert!(available().unwrap() > 0 && peak_of(std::process::id()).unwrap() > 0);
        assert_eq!(memory_allows_overlap(std::process::id()), Ok(()));
    }
}
