//! Memory for kernels: aligned, lazily resident buffers, and slices that threads write in disjoint parts.

use crate::system::advise_large_pages;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// Alignment of every buffer: one cache line, one vector register, one tile row.
const ALIGNMENT: usize = 64;
/// Alignment that is asked of the allocator. It gives large zeroed memory of this alignment straight from the operating
/// system, page by page as it is written; to align it more, it would write all of it.
const ALLOCATED: usize = 16;

/// Plain numbers without padding, for which any bits are a value.
pub(crate) trait Number: Copy + Send + Sync {}
impl Number for u8 {}
impl Number for u16 {}
impl Number for u32 {}
impl Number for f32 {}
impl Number for [f32; 2] {}

/// Words as numbers of one or two words.
pub(crate) fn from_words<T: Number>(words: &[u32]) -> &[T] {
    const { assert!(align_of::<T>() <= align_of::<u32>() && size_of::<T>().is_multiple_of(size_of::<u32>())) };
    // SAFETY: the size and alignment fit by the check above, and `Number`s are plain: any bits are a value.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words) / size_of::<T>()) }
}

/// The same to write.
pub(crate) fn from_words_mut<T: Number>(words: &mut [u32]) -> &mut [T] {
    const { assert!(align_of::<T>() <= align_of::<u32>() && size_of::<T>().is_multiple_of(size_of::<u32>())) };
    // SAFETY: as above, and the borrow is unique.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), size_of_val(words) / size_of::<T>()) }
}

/// A zeroed buffer whose pages become resident when they are first written.
///
/// ```text
/// allocated                                      allocated + len + SPARE
/// | up to SPARE bytes | start … start + len      |
/// ```
pub(crate) struct Aligned<T: Number> {
    allocated: NonNull<u8>,
    start: NonNull<T>,
    len: usize,
}

/// Bytes before `start` at the most.
const SPARE: usize = ALIGNMENT - ALLOCATED;

// SAFETY: it owns its memory, like a Vec.
unsafe impl<T: Number> Send for Aligned<T> {}
// SAFETY: shared references only read.
unsafe impl<T: Number> Sync for Aligned<T> {}

impl<T: Number> Aligned<T> {
    pub(crate) fn zeroed(len: usize) -> Self {
        if len == 0 {
            return Self { allocated: NonNull::dangling(), start: NonNull::dangling(), len };
        }
        let layout = Self::layout(len);
        // SAFETY: the layout's size is not zero.
        let allocated = unsafe { alloc_zeroed(layout) };
        let Some(allocated) = NonNull::new(allocated) else { handle_alloc_error(layout) };
        let skipped = allocated.addr().get().wrapping_neg() % ALIGNMENT;
        debug_assert!(skipped <= SPARE);
        // SAFETY: the address is a multiple of ALLOCATED, so at most SPARE bytes are skipped, which the layout has to spare.
        let start = unsafe { allocated.add(skipped) }.cast::<T>();
        advise_large_pages(start.as_ptr().cast(), len * size_of::<T>());
        Self { allocated, start, len }
    }

    fn layout(len: usize) -> Layout {
        len.checked_mul(size_of::<T>())
            .and_then(|bytes| bytes.checked_add(SPARE))
            .and_then(|bytes| Layout::from_size_align(bytes, ALLOCATED).ok())
            .expect("invariant: buffer sizes were checked against the memory limit")
    }

    pub(crate) fn as_slice(&self) -> &[T] {
        // SAFETY: `start` is valid for `len` initialised numbers (dangling and aligned when empty).
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: as above, and the borrow is unique.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// Room for at least `len` numbers; old contents are lost when it grows.
    pub(crate) fn grow(&mut self, len: usize) {
        if self.len < len {
            *self = Self::zeroed(len);
        }
    }
}

impl<T: Number> Default for Aligned<T> {
    fn default() -> Self {
        Self::zeroed(0)
    }
}

impl<T: Number> Drop for Aligned<T> {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: allocated in `zeroed` with this layout.
            unsafe { dealloc(self.allocated.as_ptr(), Self::layout(self.len)) };
        }
    }
}

/// A mutable slice whose parts are written by several threads; each part by one of them.
#[derive(Clone, Copy)]
pub(crate) struct Disjoint<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: `part`'s contract makes all concurrent accesses disjoint.
unsafe impl<T: Send> Send for Disjoint<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Disjoint<'_, T> {}

impl<'a, T> Disjoint<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// The places `from .. from + len`.
    ///
    /// # Safety
    /// No other live part may overlap this one.
    #[inline(always)]
    pub(crate) unsafe fn part(self, from: usize, len: usize) -> &'a mut [T] {
        assert!(from <= self.len && len <= self.len - from, "part {from}+{len} of {}", self.len);
        // SAFETY: within the slice by the check above; unique by this function's contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_zeroed_and_keep_what_is_written() {
        for len in [0, 1, 63, 64, 1000] {
            let mut buffer = Aligned::<f32>::zeroed(len);
            assert_eq!(buffer.as_slice().len(), len);
            assert!(buffer.as_slice().iter().all(|&x| x == 0.0));
            assert!(len == 0 || (buffer.as_slice().as_ptr() as usize).is_multiple_of(ALIGNMENT));
            buffer.as_mut_slice().iter_mut().enumerate().for_each(|(i, x)| *x = i as f32);
            assert_eq!(buffer.as_slice().last().copied().unwrap_or(0.0), len.saturating_sub(1) as f32);
        }
    }

    /// Bytes of this process in memory.
    #[cfg(target_os = "linux")]
    fn resident() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_becomes_resident_when_it_is_written() {
        let before = resident();
        let mut buffer = Aligned::<u16>::zeroed(1 << 29);
        let allocated = resident();
        assert!(allocated < before + (256 << 20), "{before} bytes became {allocated} by a buffer that nobody wrote");
        buffer.as_mut_slice()[1 << 28..][..48 << 20].fill(1);
        let written = resident();
        assert!(written > allocated + (32 << 20), "{allocated} bytes became {written} by writing 96 MiB");
    }

    #[test]
    #[should_panic(expected = "part 3+2 of 4")]
    fn a_part_outside_the_slice_panics() {
        let mut numbers = [0u8; 4];
        // SAFETY: the only part.
        unsafe { Disjoint::new(&mut numbers).part(3, 2) };
    }
}
