//! The memory of the program: the allocator of the Rust code.
//!
//! Most calls of the program make some thousand small allocations, live for two milliseconds and end. So a block is cut from the rest of
//! a large chunk, and a freed block waits in the list of its size for the next one of that size. There are no headers, nothing is
//! merged, and nothing returns to the kernel. Verbs that stay do not grow: what they use is at most the sum, over all sizes, of the most
//! blocks of that size that ever existed at once. Large blocks are left to the C library, which returns them.
//!
//! After a clone both processes share their pages, and the first write to each copies it. So a new process does not write to blocks that
//! are older than it: it does not reuse them, and leaves them as they are when they are freed ([`begin_anew`]).
//!
//! Only the binary uses it (`main.rs`); tests have the allocator of the C library.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

/// What every block is aligned to, and the smallest block, in bytes.
const UNIT: usize = 16;
/// Up to this size there is one class of blocks for each multiple of [`UNIT`]; above it four for each doubling.
const FINE: usize = 1 << 10;
const FINE_CLASSES: usize = FINE / UNIT;
/// The largest block, in bytes.
const LARGEST: usize = 32 << 10;
const CLASSES: usize = FINE_CLASSES + 4 * (LARGEST / FINE).ilog2() as usize;
const PAGE: usize = 4096;
/// The first chunk, in bytes: a page of it costs nothing until it is used. Each following chunk is twice as large as the one before.
const FIRST: usize = 256 << 10;
/// More than an address space has room for.
const CHUNKS: usize = 40;

/// The class of a block of this size, which is at most [`LARGEST`].
const fn class_of(size: usize) -> usize {
    let last = size.saturating_sub(1);
    if last < FINE {
        return last / UNIT;
    }
    let doubling = last.ilog2() as usize;
    let quarter = last >> (doubling - 2) & 3;
    FINE_CLASSES + 4 * (doubling - FINE.ilog2() as usize) + quarter
}

/// The bytes of a block of a class.
const fn size_of_class(class: usize) -> usize {
    if class < FINE_CLASSES {
        return (class + 1) * UNIT;
    }
    let (doubling, quarter) = ((class - FINE_CLASSES) / 4, (class - FINE_CLASSES) % 4);
    (5 + quarter) << (FINE.ilog2() as usize + doubling - 2)
}

/// A freed block.
struct Free {
    next: *mut Free,
}

/// A block that was cut or taken from a list.
struct Block {
    address: *mut u8,
    /// Whether nothing was ever written to it.
    zero: bool,
}

/// The chunks and what is free in them.
struct Chunks {
    /// All chunks, the newest last. Blocks are cut from that one only.
    all: [Range<usize>; CHUNKS],
    count: usize,
    /// What is left of the newest chunk starts here.
    rest: usize,
    /// From here on nothing was ever written to the newest chunk.
    fresh: usize,
    /// A list for each class.
    free: [*mut Free; CLASSES],
    /// The parts of the chunks that are older than this process, if it was cloned.
    old: [Range<usize>; CHUNKS],
}

impl Chunks {
    const fn new() -> Self {
        Chunks {
            all: [const { 0..0 }; CHUNKS],
            count: 0,
            rest: 0,
            fresh: 0,
            free: [ptr::null_mut(); CLASSES],
            old: [const { 0..0 }; CHUNKS],
        }
    }

    /// A block of this class; none if there is no memory.
    fn take(&mut self, class: usize) -> Option<Block> {
        let list = self.free.get_mut(class)?;
        if !list.is_null() {
            let block = *list;
            // SAFETY: blocks in a list are free and their first word is the link, see `give`.
            *list = unsafe { (*block).next };
            return Some(Block {
                address: block.cast(),
                zero: false,
            });
        }
        self.cut(size_of_class(class))
    }

    fn cut(&mut self, size: usize) -> Option<Block> {
        if self.newest().end - self.rest < size {
            self.add(map)?;
        }
        let address = self.rest;
        self.rest += size;
        let zero = address >= self.fresh;
        self.fresh = self.fresh.max(self.rest);
        Some(Block {
            address: ptr::with_exposed_provenance_mut(address),
            zero,
        })
    }

    fn newest(&self) -> Range<usize> {
        let newest = self.count.checked_sub(1).and_then(|index| self.all.get(index));
        newest.cloned().unwrap_or(0..0)
    }

    /// Adds a chunk of new memory. What is left of the one before, less than [`LARGEST`], stays unused.
    fn add(&mut self, new: impl FnOnce(usize) -> Option<usize>) -> Option<()> {
        let size = FIRST.checked_shl(self.count as u32)?;
        let entry = self.all.get_mut(self.count)?;
        let start = new(size)?;
        *entry = start..start + size;
        self.count += 1;
        (self.rest, self.fresh) = (start, start);
        Some(())
    }

    /// Takes a block back.
    ///
    /// # Safety
    ///
    /// The block is one of [`Chunks::take`] of this class, and nothing uses it any more.
    unsafe fn give(&mut self, address: *mut u8, class: usize) {
        if self.is_old(address) {
            return;
        }
        if address.addr() + size_of_class(class) == self.rest {
            self.rest = address.addr();
            return;
        }
        if let Some(list) = self.free.get_mut(class) {
            let block = address.cast::<Free>();
            // SAFETY: a block has room for a link and is aligned to more; the caller guarantees that it is unused.
            unsafe { block.write(Free { next: *list }) };
            *list = block;
        }
    }

    /// Changes the class of a block where it is: possible if it was the last to be cut, and the chunk has room.
    fn resize(&mut self, address: *mut u8, old: usize, new: usize) -> bool {
        if old == new {
            return true;
        }
        let end = address.addr() + size_of_class(new);
        if address.addr() + size_of_class(old) != self.rest || end > self.newest().end || self.is_old(address) {
            return false;
        }
        self.rest = end;
        self.fresh = self.fresh.max(end);
        true
    }

    fn is_old(&self, address: *mut u8) -> bool {
        let old = self.old.iter().take_while(|range| range.end != 0);
        old.into_iter().any(|range| range.contains(&address.addr()))
    }

    /// From here on blocks that exist or are free now are not written to.
    fn begin_anew(&mut self) {
        let newest = self.newest();
        self.rest = self.rest.next_multiple_of(PAGE).min(newest.end);
        for (old, chunk) in self.old.iter_mut().zip(&self.all).take(self.count) {
            *old = match *chunk == newest {
                true => chunk.start..self.rest,
                false => chunk.clone(),
            };
        }
        self.free = [ptr::null_mut(); CLASSES];
    }
}

/// Memory for another chunk, in bytes, all zero; its address.
fn map(size: usize) -> Option<usize> {
    // SAFETY: a new mapping concerns no memory that is in use.
    let address = unsafe {
        libc::mmap(
            ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    (address != libc::MAP_FAILED).then(|| address.expose_provenance())
}

/// Chunks for all threads, and the memory of the first one, for which no call is needed. It begins on the page of the lists.
#[repr(C, align(4096))]
struct Heap {
    busy: AtomicBool,
    chunks: UnsafeCell<Chunks>,
    first: UnsafeCell<[u128; FIRST / UNIT]>,
}

// SAFETY: `with` lets in one thread at a time; the pointers in it lead to memory that belongs to no thread.
unsafe impl Sync for Heap {}

static HEAP: Heap = Heap {
    busy: AtomicBool::new(false),
    chunks: UnsafeCell::new(Chunks::new()),
    first: UnsafeCell::new([0; FIRST / UNIT]),
};

impl Heap {
    fn with<T>(&self, work: impl FnOnce(&mut Chunks) -> T) -> T {
        let alone = is_single_threaded();
        while !alone && self.busy.swap(true, Ordering::Acquire) {
            std::thread::yield_now();
        }
        // SAFETY: there is no other thread, or it waits for `busy`; `work` is one of the functions of this file, which do not come
        // back here, and no signal handler allocates.
        let result = work(unsafe { &mut *self.chunks.get() });
        if !alone {
            self.busy.store(false, Ordering::Release);
        }
        result
    }
}

/// Whether the process has one thread, as glibc knows it (sys/single_threaded.h). False is always right.
fn is_single_threaded() -> bool {
    #[cfg(quick_c_library_start)]
    {
        unsafe extern "C" {
            static __libc_single_threaded: libc::c_char;
        }
        // SAFETY: glibc changes it only while there is one thread.
        unsafe { (&raw const __libc_single_threaded).read() != 0 }
    }
    #[cfg(not(quick_c_library_start))]
    false
}

/// Called in a new process, a copy of a process with one thread: from here on it does not write to the blocks that exist, and so copies
/// no page for them.
pub fn begin_anew() {
    // SAFETY: nothing else uses it, because this is the only thread.
    unsafe { (*HEAP.chunks.get()).begin_anew() };
}

/// The allocator, see [`GlobalAlloc`].
pub struct Allocator;

fn is_small(size: usize, layout: Layout) -> bool {
    size <= LARGEST && layout.align() <= UNIT
}

impl Allocator {
    fn take(size: usize) -> Option<Block> {
        HEAP.with(|chunks| {
            if chunks.count == 0 {
                chunks.add(|_| Some(HEAP.first.get().expose_provenance()))?;
            }
            chunks.take(class_of(size))
        })
    }
}

// SAFETY: blocks do not overlap, are as large as their class, which is at least the size that was asked for, and aligned to UNIT: the
// sizes of all classes are multiples of it, and so are the starts of all chunks. The class follows from the layout, which the caller repeats.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !is_small(layout.size(), layout) {
            // SAFETY: as required of the caller.
            return unsafe { System.alloc(layout) };
        }
        Self::take(layout.size()).map_or(ptr::null_mut(), |block| block.address)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !is_small(layout.size(), layout) {
            // SAFETY: as required of the caller.
            return unsafe { System.alloc_zeroed(layout) };
        }
        let Some(block) = Self::take(layout.size()) else {
            return ptr::null_mut();
        };
        if !block.zero {
            // SAFETY: the block has room for the layout, and is the caller's.
            unsafe { block.address.write_bytes(0, layout.size()) };
        }
        block.address
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        if !is_small(layout.size(), layout) {
            // SAFETY: as required of the caller; such blocks come from there.
            return unsafe { System.dealloc(address, layout) };
        }
        // SAFETY: as required of the caller.
        HEAP.with(|chunks| unsafe { chunks.give(address, class_of(layout.size())) });
    }

    unsafe fn realloc(&self, address: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        match (is_small(layout.size(), layout), is_small(size, layout)) {
            // SAFETY: as required of the caller; such blocks come from there.
            (false, false) => return unsafe { System.realloc(address, layout, size) },
            (true, true) if HEAP.with(|chunks| chunks.resize(address, class_of(layout.size()), class_of(size))) => {
                return address;
            }
            _ => {}
        }
        // SAFETY: the caller guarantees that the size is valid for the alignment; the blocks are different and as long as what is
        // copied; the old one is not used after it.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                ptr::copy_nonoverlapping(address, new, layout.size().min(size));
                self.dealloc(address, layout);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests;
