//! Where a policy's allocations come from: a fixed piece of the memory that it
//! begins with, given out from one end and hardly ever taken back.
//!
//! An instance lives for one call, so there is next to nothing to reuse. What
//! counts is that the call does not grow its memory: the gateway has the
//! kernel make the new pages accessible and, when the slot is used again,
//! inaccessible. Measured, those two calls and the heap's bookkeeping were a
//! third of a whole decision. A call that needs more goes on with the standard
//! allocator, which grows the memory.

#![allow(
    unsafe_code,
    reason = "an allocator cannot be written without; what could go wrong here stays in the sandbox"
)]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::{Cell, UnsafeCell};
use std::alloc::System;

/// Pages that are not touched cost nothing.
const SIZE: usize = 256 * 1024;

struct Arena {
    bytes: UnsafeCell<[u8; SIZE]>,
    used: Cell<usize>,
}

// SAFETY: a policy has one thread; the target has no other.
unsafe impl Sync for Arena {}

// SAFETY: a block is either wholly inside of `bytes`, past all that was given
// out and not taken back before, and aligned because its address is; or it is
// the standard allocator's, which gets back what does not lie in `bytes`.
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
            // SAFETY: it was not allocated here, so the standard allocator did.
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
