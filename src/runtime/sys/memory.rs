//! Memory of a process that may need much of it at once and ends soon.

#![expect(
    unsafe_code,
    reason = "the allocator of glibc is told by calls that have no safe wrapper"
)]

/// Bytes that the heap grows by, and that large pages are asked for.
#[cfg(target_env = "gnu")]
const HEAP: i32 = 64 << 20;
/// Blocks of this size and more are not taken from the heap.
#[cfg(target_env = "gnu")]
const APART: i32 = 32 << 20;

/// Lets the heap lie in large pages, so that it costs hardly any page faults: a quarter of the time that a large
/// project takes goes into them otherwise. Only an advice: where the kernel does not take it, nothing is different.
///
/// The memory that is asked for is not used before something lies in it; a page of it is two megabytes, though, so this
/// is nothing for a process that stays.
#[cfg(target_env = "gnu")]
pub fn prefer_large_pages() {
    // SAFETY: the caller has started no thread that could allocate meanwhile; both are sizes that glibc takes.
    let taken = unsafe { libc::mallopt(libc::M_TOP_PAD, HEAP) };
    if taken == 0 {
        return;
    }
    // SAFETY: as above.
    let _ = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, APART) };
    // More than the heap has left: it grows.
    let block = Vec::<u8>::with_capacity(512 << 10);
    let start = block.as_ptr().addr().next_multiple_of(4096);
    // SAFETY: an increment of zero only asks where the heap ends.
    let end = unsafe { libc::sbrk(0) }.addr();
    let length = end.saturating_sub(start);
    if length == 0 || length > 2 * HEAP.unsigned_abs() as usize {
        return;
    }
    // SAFETY: from `start`, which lies in a block of the heap, to `end`, where the heap ends, all is heap and mapped; the
    // advice changes no byte of it.
    let _ = unsafe {
        libc::madvise(
            std::ptr::without_provenance_mut(start),
            length,
            libc::MADV_HUGEPAGE,
        )
    };
}

/// Does nothing where the allocator is another one.
#[cfg(not(target_env = "gnu"))]
pub fn prefer_large_pages() {}
