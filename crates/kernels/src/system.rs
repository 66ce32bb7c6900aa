//! The two requests to Linux that the standard library does not have: larger pages, and the use of AMX tiles.

/// A system call of x86-64 Linux.
///
/// # Safety
/// The call must not touch memory that Rust relies on.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
unsafe fn call(number: usize, arguments: [usize; 3]) -> isize {
    let result: isize;
    // SAFETY: this function's contract; the kernel clobbers rcx and r11 alone.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") arguments[0], in("rsi") arguments[1], in("rdx") arguments[2],
            out("rcx") _, out("r11") _,
            options(nostack)
        );
    }
    result
}

/// Asks for pages of 2 MiB for a buffer, which spares look-ups of addresses. A hint: where the system has none, nothing changes.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) fn advise_large_pages(start: *const u8, bytes: usize) {
    const MADVISE: usize = 28;
    const HUGEPAGE: usize = 14;
    const PAGE: usize = 4096;
    const WORTH: usize = 4 << 20;
    if bytes < WORTH {
        return;
    }
    let first = start.addr().next_multiple_of(PAGE);
    let end = (start.addr() + bytes) / PAGE * PAGE;
    // SAFETY: whole pages of a live buffer of ours; the advice changes no contents. An error leaves ordinary pages.
    let _ = unsafe { call(MADVISE, [first, end - first, HUGEPAGE]) };
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(crate) fn advise_large_pages(_start: *const u8, _bytes: usize) {}

/// Asks for the use of AMX tile data, whose state is `state` (`arch_prctl`, ARCH_REQ_XCOMP_PERM).
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) fn request_state(state: usize) -> bool {
    const ARCH_PRCTL: usize = 158;
    const REQUEST_PERMISSION: usize = 0x1023;
    // SAFETY: the call reads no memory of ours; it changes what this process may use and nothing else.
    unsafe { call(ARCH_PRCTL, [REQUEST_PERMISSION, state, 0]) == 0 }
}

/// Other systems lend it on first use.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(crate) fn request_state(_state: usize) -> bool {
    true
}
