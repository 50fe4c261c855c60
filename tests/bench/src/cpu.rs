//! What a server process used: processor time to the nanosecond, and memory at its peak.

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;
use std::fs::read_to_string;
use std::time::Duration;

/// Ticks per second of /proc/PID/stat: fixed for user space on every Linux (proc(5), USER_HZ).
const TICKS: u64 = 100;

/// Processor time of a process, of all its threads, those that ended included.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    /// From the process's CPU clock, in nanoseconds.
    pub(crate) total: Duration,
    /// User and system part in clock ticks: coarse, but it shows the proportion.
    pub(crate) user: Duration,
    /// See `user`.
    pub(crate) system: Duration,
}

impl Used {
    /// So far.
    pub(crate) fn by(pid: Pid) -> Result<Self> {
        let clock =
            clock_getcpuclockid(pid).with_context(|| format!("process {pid} has no CPU clock: has it ended?"))?;
        let total = Duration::from(clock.now()?);
        let stat = read_to_string(format!("/proc/{pid}/stat"))?;
        // The name may hold anything; the fields count from the last bracket: state is number 3, utime 14, stime 15.
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11);
        let mut ticks = || -> Result<Duration> {
            let ticks: u64 = fields.next().context("a short /proc/PID/stat")?.parse()?;
            Ok(Duration::from_millis(ticks * 1000 / TICKS))
        };
        Ok(Self { total, user: ticks()?, system: ticks()? })
    }

    /// Since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            total: self.total.saturating_sub(earlier.total),
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }
}

/// The most resident memory that the process has had, in octets (VmHWM).
pub(crate) fn peak_memory(pid: Pid) -> Result<u64> {
    let status = read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM in /proc/PID/status")?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes * 1024)
}

/// Keeps this thread, and what it starts from now on, on one core.
pub(crate) fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core).with_context(|| format!("there cannot be a core {core}"))?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("cannot run on core {core}: does it exist?"))
}

/// The model name of the processor.
pub(crate) fn model() -> String {
    let text = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    name.trim_start_matches([' ', '\t', ':']).to_owned()
}

/// The version of the kernel.
pub(crate) fn kernel() -> String {
    read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows() {
        let me = Pid::this();
        let before = Used::by(me).unwrap();
        let mut sum = 0_u64;
        for number in 0..20_000_000_u64 {
            sum = std::hint::black_box(sum.wrapping_add(number));
        }
        let used = Used::by(me).unwrap().since(before);
        assert!(used.total > Duration::from_micros(100), "{used:?}");
        assert!(peak_memory(me).unwrap() > 100_000);
    }
}
