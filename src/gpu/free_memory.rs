//! How much memory a process could still take.

/// Bytes that this process could still take. A driver of the CPU gives more, and the process is killed
/// when it uses them.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn free_memory() -> Option<u64> {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    // Its own free memory would count files in the page cache as taken.
    let group = system.cgroup_limits();
    let group = group.map(|limits| limits.total_memory.saturating_sub(limits.rss));
    let free = system.available_memory();
    let least = [group, address_space()]
        .into_iter()
        .flatten()
        .fold(free, u64::min);
    (free > 0).then_some(least)
}

/// What `ulimit -v` leaves this process for buffers: half of it, because a driver on the CPU compiles kernels too.
#[cfg(target_os = "linux")]
fn address_space() -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the call writes into the structure that it is given.
    let failed = unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) } != 0;
    if failed || limit.rlim_cur == libc::RLIM_INFINITY {
        return None;
    }
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = pages.split_whitespace().next()?.parse().ok()?;
    // SAFETY: a question without arguments in memory.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(1) as u64;
    Some(limit.rlim_cur.saturating_sub(pages * page) / 2)
}

#[cfg(not(any(target_os = "linux", target_arch = "wasm32")))]
fn address_space() -> Option<u64> {
    None
}

#[cfg(target_arch = "wasm32")]
pub(super) fn free_memory() -> Option<u64> {
    None
}
