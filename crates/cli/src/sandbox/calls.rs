//! The system calls that reading a model takes; all others are refused by seccomp, whatever the file has done to the process.
//!
//! An allow-list: a call that a later kernel brings is refused without a change here. Calls are refused with an error, so that a
//! library that tries something harmless goes on without it.

use libc as number;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};
use std::collections::BTreeMap;
use std::io::ErrorKind;

/// Calls with any arguments: reading of what is open, memory, threads, the clock, and the end.
const ALLOWED: &[i64] = &[
    number::SYS_read,
    number::SYS_readv,
    number::SYS_pread64,
    number::SYS_preadv,
    number::SYS_lseek,
    number::SYS_close,
    number::SYS_fstat,
    number::SYS_newfstatat,
    number::SYS_statx,
    number::SYS_readlinkat,
    number::SYS_getdents64,
    number::SYS_getcwd,
    number::SYS_write,
    number::SYS_writev,
    number::SYS_munmap,
    number::SYS_mremap,
    number::SYS_madvise,
    number::SYS_brk,
    number::SYS_futex,
    number::SYS_set_robust_list,
    number::SYS_rseq,
    number::SYS_sched_yield,
    number::SYS_sched_getaffinity,
    number::SYS_sigaltstack,
    number::SYS_rt_sigaction,
    number::SYS_rt_sigprocmask,
    number::SYS_rt_sigreturn,
    number::SYS_gettid,
    number::SYS_getpid,
    number::SYS_tgkill,
    number::SYS_clock_gettime,
    number::SYS_clock_nanosleep,
    number::SYS_getrandom,
    number::SYS_restart_syscall,
    number::SYS_exit,
    number::SYS_exit_group,
];

/// The older names of some of them.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[i64] = &[number::SYS_stat, number::SYS_lstat, number::SYS_readlink, number::SYS_time];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[i64] = &[];

/// Flags of an opening for reading, all else being closed to it.
const OPEN_FORBIDDEN: i32 =
    number::O_ACCMODE | number::O_CREAT | number::O_TRUNC | number::O_APPEND | number::O_TMPFILE & !number::O_DIRECTORY;

/// Takes every call but the allowed ones from this thread and its children. What the kernel could not do, in words.
///
/// # Errors
/// The kernel has seccomp and refuses this filter.
pub fn filter() -> anyhow::Result<Option<String>> {
    let Ok(architecture) = TargetArch::try_from(std::env::consts::ARCH) else {
        return Ok(Some(format!("system calls (no filter for {})", std::env::consts::ARCH)));
    };
    // The newer call for a thread has its flags in memory, which a filter cannot read; without it the C library takes the older.
    let threads = SeccompFilter::new(
        BTreeMap::from([(number::SYS_clone3, vec![])]),
        SeccompAction::Allow,
        SeccompAction::Errno(number::ENOSYS as u32),
        architecture,
    )?;
    let refuse = SeccompAction::Errno(number::EPERM as u32);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().chain(ALLOWED_HERE).map(|call| (*call, vec![])).collect();
    rules.insert(number::SYS_openat, vec![masked(2, OPEN_FORBIDDEN as u64, number::O_RDONLY as u64)?]);
    rules.insert(number::SYS_clone, vec![masked(0, number::CLONE_THREAD as u64, number::CLONE_THREAD as u64)?]);
    // No memory that is executed, so that no code comes in from a file.
    for call in [number::SYS_mmap, number::SYS_mprotect] {
        rules.insert(call, vec![masked(2, number::PROT_EXEC as u64, 0)?]);
    }
    // A thread's name.
    rules.insert(number::SYS_prctl, vec![masked(0, u64::from(u32::MAX), number::PR_SET_NAME as u64)?]);
    // Whether a file is still open, which the standard library asks where it checks itself.
    rules.insert(number::SYS_fcntl, vec![masked(1, u64::from(u32::MAX), number::F_GETFD as u64)?]);
    // Passed by the first filter, which refuses it in its own way.
    rules.insert(number::SYS_clone3, vec![]);
    let rest = SeccompFilter::new(rules, refuse, SeccompAction::Allow, architecture)?;
    for filter in [threads, rest] {
        let program: BpfProgram = filter.try_into()?;
        match apply_filter(&program) {
            Ok(()) => {}
            Err(seccompiler::Error::Seccomp(error))
                if error.kind() == ErrorKind::InvalidInput || error.raw_os_error() == Some(number::ENOSYS) =>
            {
                return Ok(Some("system calls (this kernel has no seccomp)".to_owned()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// An argument whose bits under `mask` are `value`.
fn masked(argument: u8, mask: u64, value: u64) -> anyhow::Result<SeccompRule> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), value)?;
    Ok(SeccompRule::new(vec![condition])?)
}
