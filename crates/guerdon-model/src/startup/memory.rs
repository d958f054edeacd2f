//! The memory that this process occupies.

use std::path::Path;

use crate::load::files::read_text;

/// The resident memory of the process in bytes; `None` where the system does not report it in
/// `/proc`.
pub(crate) fn resident_bytes() -> Option<u64> {
    parse(&read_text(Path::new("/proc/self/status")).ok()?)
}

fn parse(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_of_linux_is_read() {
        assert_eq!(parse("Name:\tguerdon\nVmRSS:\t  123456 kB\nThreads:\t4\n"), Some(126_418_944));
        assert_eq!([parse(""), parse("VmRSS:\tmany kB"), parse("VmRSS:\t1 MB")], [None; 3]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_occupies_memory() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
