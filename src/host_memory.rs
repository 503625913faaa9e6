//! How much more memory this process can use, and allocations that fail with an error.
//!
//! Operating systems promise more memory than they have, and kill a process that then uses it. Large sizes are
//! therefore compared with what is [`available`] before they are allocated.

use std::mem::size_of;

use crate::{Error, Result};

/// Kept free for allocations that are not checked: threads, drivers, scratch memory.
const RESERVE: u64 = 64 << 20;

/// Smaller allocations are not checked.
const SMALL: u64 = 16 << 20;

/// Bytes that this process can still use, if known: what the machine has left, swap space included, within the
/// process's own limits (`ulimit -v` and `-d`) and those of its control groups.
pub fn available() -> Option<u64> {
    let left = [machine(), limits::of_process(), limits::of_groups()].into_iter().flatten().min()?;
    Some(left.saturating_sub(RESERVE))
}

/// Checks that `bytes` for `what` are available; `advice` says what needs less.
///
/// # Errors
/// [`Error::Memory`] when less is available.
pub fn check(what: &str, bytes: u64, advice: &str) -> Result<()> {
    if bytes < SMALL {
        return Ok(());
    }
    match available() {
        Some(available) if available < bytes => Err(Error::Memory {
            what: what.into(),
            needed: bytes,
            available: Some(available),
            advice: advice.into(),
        }),
        _ => Ok(()),
    }
}

/// An empty vector with capacity for `elements`.
///
/// # Errors
/// [`Error::Memory`] when there is too little memory.
pub fn reserved<T>(what: &str, elements: usize, advice: &str) -> Result<Vec<T>> {
    let mut values = Vec::new();
    match values.try_reserve_exact(elements) {
        Ok(()) => Ok(values),
        Err(_) => Err(refused(what, elements as u64 * size_of::<T>() as u64, advice)),
    }
}

/// Bytes of a cache line. Vectors of a tensor that starts with one do not extend over two.
const CACHE_LINE: usize = 64;

/// How many more elements memory needs so that a tensor in it can start with a cache line.
pub(crate) const fn alignment_elements<T>() -> usize {
    CACHE_LINE / size_of::<T>()
}

/// The first place in `memory` from which `elements` elements start with a cache line, if there is one with room for them.
pub(crate) fn aligned_start<T>(memory: &[T], elements: usize) -> usize {
    memory.as_ptr().align_offset(CACHE_LINE).min(memory.len() - elements)
}

/// The error that the system refused `bytes` for `what`.
pub(crate) fn refused(what: &str, bytes: u64, advice: &str) -> Error {
    Error::Memory { what: what.into(), needed: bytes, available: None, advice: advice.into() }
}

/// The memory that the machine has left.
fn machine() -> Option<u64> {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let known = sysinfo::IS_SUPPORTED_SYSTEM && system.total_memory() > 0;
    known.then(|| system.available_memory().saturating_add(system.free_swap()))
}

#[cfg(target_os = "linux")]
mod limits {
    use std::fs;
    use std::path::Path;

    use procfs::process::{LimitValue, Process};
    use procfs::{ProcResult, ProcessCGroups};

    /// The memory that the limits of address space and of data leave.
    pub fn of_process() -> Option<u64> {
        let read = || -> ProcResult<_> {
            let process = Process::myself()?;
            Ok((process.limits()?, process.statm()?))
        };
        let (limits, pages) = read().ok()?;
        let left = |limit, pages: u64| match limit {
            LimitValue::Unlimited => None,
            LimitValue::Value(limit) => Some(u64::saturating_sub(limit, pages * procfs::page_size())),
        };
        let space = left(limits.max_address_space.soft_limit, pages.size);
        space.into_iter().chain(left(limits.max_data_size.soft_limit, pages.data)).min()
    }

    /// The memory that the limits of the process's control groups leave.
    pub fn of_groups() -> Option<u64> {
        let groups = Process::myself().and_then(|process| process.cgroups()).ok()?;
        of_groups_below(Path::new("/sys/fs/cgroup"), &groups)
    }

    /// The names of a control group's files in one version of control groups.
    struct Names {
        limit: &'static str,
        used: &'static str,
        // The part of the used memory that the system drops when memory is short: cached files.
        caches: [&'static str; 2],
    }

    const V1: Names = Names {
        limit: "memory.limit_in_bytes",
        used: "memory.usage_in_bytes",
        caches: ["total_active_file", "total_inactive_file"],
    };
    const V2: Names =
        Names { limit: "memory.max", used: "memory.current", caches: ["active_file", "inactive_file"] };

    /// The least memory that the groups and their parents leave. In a container, the names of groups may be the
    /// host's, and only the outermost group is visible.
    pub(super) fn of_groups_below(root: &Path, groups: &ProcessCGroups) -> Option<u64> {
        let left = groups.0.iter().flat_map(|group| {
            let is_v1 = group.controllers.iter().any(|controller| controller == "memory");
            let (folder, names) = if is_v1 { (root.join("memory"), &V1) } else { (root.into(), &V2) };
            let counts = is_v1 || group.hierarchy == 0;
            let path = group.pathname.trim_start_matches('/');
            let around = Path::new(path).ancestors().filter(move |_| counts);
            around.filter_map(|group| names.left(&folder.join(group))).collect::<Vec<_>>()
        });
        left.min()
    }

    impl Names {
        fn left(&self, group: &Path) -> Option<u64> {
            let read = |name: &str| fs::read_to_string(group.join(name)).ok();
            let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
            let (limit, used) = (number(self.limit)?, number(self.used)?);
            let statistics = read("memory.stat").unwrap_or_default();
            let cached = statistics.lines().filter_map(|line| line.split_once(' '));
            let cached = cached.filter(|(name, _)| self.caches.contains(name));
            let cached: u64 = cached.filter_map(|(_, bytes)| bytes.trim().parse::<u64>().ok()).sum();
            Some(limit.saturating_sub(used.saturating_sub(cached)))
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod limits {
    pub fn of_process() -> Option<u64> {
        None
    }

    pub fn of_groups() -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_is_refused_in_one_line() {
        check("everything", SMALL - 1, "less").unwrap();
        let Some(available) = available() else { return };
        check("a part", available / 2, "less").unwrap();
        let error = check("everything", u64::MAX, "less").unwrap_err().to_string();
        let start = "everything needs 17592186044416 MiB of memory, and ";
        assert!(error.starts_with(start) && error.ends_with(" MiB are left for it; try less"), "{error}");
        let error = reserved::<u64>("a vector", usize::MAX / 16, "less").unwrap_err().to_string();
        assert!(error.ends_with(" MiB of memory, which the system refuses; try less"), "{error}");
    }

    #[cfg(target_os = "linux")]
    mod groups {
        use std::fs;
        use std::path::Path;

        use procfs::{FromBufRead, ProcessCGroups};

        use crate::host_memory::limits::of_groups_below;

        fn write(root: &Path, group: &str, files: [(&str, &str); 3]) {
            fs::create_dir_all(root.join(group)).unwrap();
            for (name, content) in files {
                fs::write(root.join(group).join(name), content).unwrap();
            }
        }

        fn left(root: &Path, groups: &str) -> Option<u64> {
            of_groups_below(root, &ProcessCGroups::from_buf_read(groups.as_bytes()).unwrap())
        }

        #[test]
        fn the_narrowest_group_counts_without_its_copies_of_files() {
            let place = tempfile::tempdir().unwrap();
            let root = place.path();
            assert_eq!(left(root, "0::/user/run"), None);
            let statistics = "anon 500\nactive_file 200\ninactive_file 100\nfile 300\n";
            let files = [("memory.max", "1000\n"), ("memory.current", "800\n"), ("memory.stat", statistics)];
            write(root, "user/run", files);
            assert_eq!(left(root, "0::/user/run"), Some(500));
            let unlimited = [("memory.max", "max\n"), ("memory.current", "900\n"), ("memory.stat", "")];
            write(root, "user", unlimited);
            assert_eq!(left(root, "0::/user/run"), Some(500));
            let narrow = [("memory.max", "950\n"), ("memory.current", "900\n"), ("memory.stat", "")];
            write(root, "user", narrow);
            assert_eq!(left(root, "0::/user/run"), Some(50));
            assert_eq!(left(root, "0::/other"), None);
        }

        #[test]
        fn groups_of_the_first_version_count_too() {
            let place = tempfile::tempdir().unwrap();
            let root = place.path();
            let files = [
                ("memory.limit_in_bytes", "1000"),
                ("memory.usage_in_bytes", "800"),
                ("memory.stat", "cache 300\ntotal_active_file 60\ntotal_inactive_file 40\n"),
            ];
            write(root, "memory", files);
            let groups = "4:memory:/the/hosts/name\n3:cpu:/\n0::/\n";
            assert_eq!(left(root, groups), Some(300));
            assert_eq!(left(root, "3:cpu:/\n0::/\n"), None);
        }
    }
}
