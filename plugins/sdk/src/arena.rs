//! Allocator of a policy: it allocates from a fixed part of the initial memory, in one direction,
//! and reuses almost nothing.
//!
//! An instance lives for one call, so there is almost nothing to reuse. It matters that a call does
//! not grow its memory: the gateway would make the kernel map new pages, and unmap them before the
//! next call. Measurements showed that these two system calls and the bookkeeping of a heap took a
//! third of a decision. A call that needs more memory uses the standard allocator, which grows it.

#![allow(
    unsafe_code,
    reason = "an allocator cannot be written without; what could go wrong here stays in the sandbox"
)]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::{Cell, UnsafeCell};
use std::alloc::System;

/// Size in bytes. Untouched pages cost nothing.
const SIZE: usize = 256 * 1024;

struct Arena {
    bytes: UnsafeCell<[u8; SIZE]>,
    used: Cell<usize>,
}

// SAFETY: a policy has one thread, and the target has no other.
unsafe impl Sync for Arena {}

// SAFETY: a block lies either inside of `bytes`, behind all blocks that are in use, and is aligned
// because its address is. Or it comes from the standard allocator, which frees every block outside
// of `bytes`.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.bytes.get() as usize;
        let block = (base + self.used.get())
            .checked_next_multiple_of(layout.align())
            .map(|start| start - base)
            .and_then(|start| Some((start, start.checked_add(layout.size())?)));
        match block {
            Some((start, end)) if end <= SIZE => {
                self.used.set(end);
                // SAFETY: `start` is not past the end of `bytes`.
                unsafe { self.bytes.get().cast::<u8>().add(start) }
            }
            // SAFETY: the caller's promises are passed on.
            _ => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let base = self.bytes.get() as usize;
        let start = (block as usize).wrapping_sub(base);
        if start >= SIZE {
            // SAFETY: the block lies outside of `bytes`, so the standard allocator made it.
            unsafe { System.dealloc(block, layout) }
        } else if start + layout.size() == self.used.get() {
            self.used.set(start);
        }
    }
}

#[global_allocator]
static ARENA: Arena = Arena {
    bytes: UnsafeCell::new([0; SIZE]),
    used: Cell::new(0),
};
