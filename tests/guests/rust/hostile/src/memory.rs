//! Values that say they are larger than the guest, and a heap that lets them be returned.

use std::alloc::{GlobalAlloc, Layout, System};

/// Never frees. A value that was made up would otherwise be freed after it was returned.
struct Keep;

#[global_allocator]
static HEAP: Keep = Keep;

// SAFETY: allocation is the system's; not to free is always sound.
unsafe impl GlobalAlloc for Keep {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

/// `length` bytes at `address`, whatever is there.
pub(crate) fn bytes_at(address: usize, length: usize) -> Vec<u8> {
    // SAFETY: none. Nothing here reads them; that the host survives reading them is the test.
    unsafe { Vec::from_raw_parts(address as *mut u8, length, length) }
}

/// The same as text.
pub(crate) fn text_at(address: usize, length: usize) -> String {
    // SAFETY: as above.
    unsafe { String::from_utf8_unchecked(bytes_at(address, length)) }
}

/// Of all that a value needs only once, the place: `Clone` would copy what it points to.
pub(crate) struct Shared {
    address: usize,
    length: usize,
}

impl Shared {
    /// `length` letters.
    pub(crate) fn new(length: usize) -> Self {
        let text = "x".repeat(length).leak();
        Self {
            address: text.as_ptr() as usize,
            length,
        }
    }

    pub(crate) fn text(&self) -> String {
        text_at(self.address, self.length)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        bytes_at(self.address, self.length)
    }
}
