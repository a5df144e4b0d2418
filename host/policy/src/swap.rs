//! Whether pages of this process can be swapped out.
//!
//! The engine can reset a slot of its pool by asking the kernel which pages a guest has written
//! (`pagemap_scan`), which halves the cost of a fresh instance. The engine asks for pages that are
//! *present*. A page that was written and then swapped out is not, so it is not reset, and the next
//! instance in the slot finds what the last one left there
//! (<https://github.com/bytecodealliance/wasmtime/issues/14357>). Instances must not see each
//! other's memory, so where pages can be swapped out the engine resets whole slots instead.
//!
//! This is decided once, when the engine is made. Swap that is turned on later is not noticed:
//! restart the gateway then.

use std::fs;
use std::path::Path;

/// Where the kernel lists areas of swap.
const SWAPS: &str = "/proc/swaps";
/// Which control groups this process is in.
const GROUPS: &str = "/proc/self/cgroup";
/// Where control groups are mounted, in version 2.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// Whether pages of this process can be swapped out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    /// They cannot: there is no swap, or none for this process.
    Off,
    /// They can, for this reason.
    On(&'static str),
}

/// Looks at this machine. What cannot be read is taken for swap.
#[must_use]
pub fn here() -> Swap {
    decide(fs::read_to_string(SWAPS).ok().as_deref(), is_forbidden)
}

/// `swaps` is the kernel's list of areas, if it can be read; `forbidden` whether the control groups
/// let this process use none of them.
fn decide(swaps: Option<&str>, forbidden: impl FnOnce() -> bool) -> Swap {
    let Some(swaps) = swaps else {
        return Swap::On("/proc/swaps cannot be read");
    };
    // The first line names the columns.
    let areas = swaps.lines().skip(1).filter(|line| !line.trim().is_empty());
    if areas.count() == 0 || forbidden() {
        Swap::Off
    } else {
        Swap::On("swap is on")
    }
}

/// Whether a control group (version 2) that this process is in, or one around it, has
/// `memory.swap.max` at 0.
fn is_forbidden() -> bool {
    let Ok(groups) = fs::read_to_string(GROUPS) else {
        return false;
    };
    let Some(group) = own_group(&groups) else {
        return false;
    };
    MOUNTS.iter().any(|mount| {
        let ancestors = group.ancestors();
        ancestors
            .map(|group| Path::new(mount).join(group))
            .any(|group| {
                let most = fs::read_to_string(group.join("memory.swap.max"));
                most.is_ok_and(|most| most.trim() == "0")
            })
    })
}

/// The control group of version 2, relative to where they are mounted.
fn own_group(groups: &str) -> Option<&Path> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(Path::new(path.trim_start_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";

    #[test]
    fn no_area_is_no_swap() {
        assert_eq!(decide(Some(HEADER), || false), Swap::Off);
        assert_eq!(decide(Some(""), || false), Swap::Off);
    }

    #[test]
    fn an_area_is_swap_unless_the_control_group_forbids_it() {
        let swaps = format!("{HEADER}/dev/zram0 partition 1048572 0 100\n");
        assert_eq!(decide(Some(&swaps), || false), Swap::On("swap is on"));
        assert_eq!(decide(Some(&swaps), || true), Swap::Off);
    }

    #[test]
    fn what_cannot_be_read_is_taken_for_swap() {
        assert!(matches!(decide(None, || false), Swap::On(_)));
    }

    #[test]
    fn the_group_is_that_of_version_2() {
        let groups = "4:memory:/old\n0::/system.slice/sluice.service\n";
        let group = Path::new("system.slice/sluice.service");
        assert_eq!(own_group(groups), Some(group));
        assert_eq!(own_group("0::/\n"), Some(Path::new("")));
        assert_eq!(own_group("4:memory:/old\n"), None);
    }
}
