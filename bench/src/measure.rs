//! What a process and a thread cost: CPU time, memory, context switches. Linux only, all of it
//! safe.

use std::{fs, sync::OnceLock, time::Duration};

use nix::{
    sys::{
        resource::{UsageWho, getrusage},
        time::TimeValLike,
    },
    time::{ClockId, clock_gettime},
    unistd::Pid,
};

/// CPU time of this process so far, user and system, all threads (getrusage).
pub fn process_cpu() -> Duration {
    // Fails only for a bad `who`, which an enum cannot be.
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("getrusage of this process");
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(micros.unsigned_abs())
}

/// CPU time of the calling thread so far. One syscall.
pub fn thread_cpu() -> Duration {
    // Every Linux has this clock.
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("the clock of this thread");
    Duration::from(time)
}

/// CPU time of another process of this user so far; zero when it is gone.
pub fn cpu_of(process: u32) -> Duration {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(process.cast_signed()));
    clock.and_then(clock_gettime).map_or(Duration::ZERO, Duration::from)
}

/// Time that all cores of the machine together were busy so far, in steps of 10 ms (/proc/stat);
/// zero where /proc does not tell.
pub fn machine_busy() -> Duration {
    busy(&fs::read_to_string("/proc/stat").unwrap_or_default())
}

/// Processes that ran or wanted to run, on average over the last minute (/proc/loadavg).
pub fn load_average() -> f64 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}

/// Resident memory of this process in MB (10^6 bytes), from VmRSS, which may lag by some pages a
/// thread; 0 where /proc does not tell.
pub fn rss_mb() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    field(&status, "VmRSS:").map_or(0.0, |kib| kib as f64 * 1024.0 / 1e6)
}

/// Peak resident memory of this process in MB (10^6 bytes), from VmHWM; 0 where /proc does not
/// tell.
pub fn peak_rss_mb() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    field(&status, "VmHWM:").map_or(0.0, |kib| kib as f64 * 1024.0 / 1e6)
}

/// Memory of this process that no file backs, in bytes, from smaps_rollup: exact, unlike the counter
/// that VmRSS shows; 0 where /proc does not tell.
pub fn anonymous_bytes() -> u64 {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    field(&rollup, "Anonymous:").map_or(0, |kib| kib * 1024)
}

/// Runs what it is given; how many allocations this thread made meanwhile.
pub type CountAllocations = fn(&mut dyn FnMut()) -> u64;

/// Tells how to ask the allocator; once, before anything is measured.
pub(crate) fn count_allocations_by(count: CountAllocations) {
    // A second call would come from a second `main`.
    let _ = ALLOCATIONS.set(count);
}

/// Runs `work` and tells how many allocations this thread made meanwhile; nothing in a program
/// whose allocator does not count.
pub fn allocations(work: &mut dyn FnMut()) -> Option<u64> {
    ALLOCATIONS.get().map(|count| count(work))
}

/// A thread of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its number, unique while it lives.
    pub id: u32,
    /// Its name, cut to 15 characters by the kernel.
    pub name: String,
    /// How often it gave up the processor by itself so far. An exporter that sleeps well adds none
    /// while it is idle.
    pub voluntary_switches: u64,
}

/// The threads of this process, in no order.
pub fn threads() -> Vec<Thread> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks
        .filter_map(|task| {
            let status = fs::read_to_string(task.path().join("status")).ok()?;
            thread(task.file_name().to_str()?.parse().ok()?, &status)
        })
        .collect()
}

/// Columns of the terminal that stdout is; `None` if it is none, or does not tell.
pub fn terminal_columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// What a report of figures must name to be worth anything: kernel, processor, cores.
pub fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("unknown processor", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("Linux {}, {model}, {cores} cores", kernel.trim())
}

/// What is not idle time or waiting for a disk: user, nice, system, interrupts and soft interrupts.
/// Time that a hypervisor took away is nobody's.
fn busy(stat: &str) -> Duration {
    let cpu = stat.lines().next().and_then(|line| line.strip_prefix("cpu "));
    let ticks = cpu.unwrap_or_default().split_whitespace().map(|n| n.parse().unwrap_or(0));
    let busy = ticks.enumerate().filter(|(index, _)| matches!(index, 0..=2 | 5 | 6));
    Duration::from_millis(busy.map(|(_, ticks): (_, u64)| ticks).sum::<u64>() * TICK_MS)
}

fn thread(id: u32, status: &str) -> Option<Thread> {
    let name = status.lines().next()?.strip_prefix("Name:")?.trim().to_owned();
    Some(Thread { id, name, voluntary_switches: field(status, "voluntary_ctxt_switches:")? })
}

/// The number after `key` at the start of a line.
fn field(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

static ALLOCATIONS: OnceLock<CountAllocations> = OnceLock::new();
/// USER_HZ, 100 on every architecture that Rust's Linux targets know.
const TICK_MS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tspanwire\nVmPeak:\t  900 kB\nVmHWM:\t  500 kB\n\
        voluntary_ctxt_switches:\t17\nnonvoluntary_ctxt_switches:\t3\n";

    #[test]
    fn the_fields_of_a_status_file_are_found_by_their_whole_key() {
        assert_eq!(field(STATUS, "VmHWM:"), Some(500));
        let thread = thread(4, STATUS).unwrap();
        assert_eq!(
            (thread.id, thread.name.as_str(), thread.voluntary_switches),
            (4, "spanwire", 17)
        );
        assert_eq!(field(STATUS, "VmSwap:"), None);
    }

    #[test]
    fn a_machine_is_busy_with_what_is_not_idle_and_not_waiting() {
        let stat = "cpu  1 2 3 1000 2000 4 5 3000 0 0\ncpu0 1 2 3 1000 2000 4 5 3000 0 0\n";
        assert_eq!(busy(stat), Duration::from_millis(150));
        assert_eq!(busy(""), Duration::ZERO);
        assert!(machine_busy() > Duration::ZERO);
    }

    #[test]
    fn the_cpu_time_of_a_process_is_readable_from_outside() {
        assert!(cpu_of(std::process::id()) > Duration::ZERO);
        assert!(cpu_of(std::process::id()) <= process_cpu() + Duration::from_secs(1));
        assert!(rss_mb() > 0.1 && rss_mb() <= peak_rss_mb() + 1.0);
    }

    #[test]
    fn a_busy_thread_costs_cpu_time_of_thread_and_process() {
        let (thread, process) = (thread_cpu(), process_cpu());
        while thread_cpu() - thread < Duration::from_millis(5) {}
        assert!(process_cpu() > process);
        assert!(peak_rss_mb() > 0.1);
        assert!(anonymous_bytes() > 0);
        assert!(threads().len() >= 2, "the test harness has a main thread and this one");
    }
}
