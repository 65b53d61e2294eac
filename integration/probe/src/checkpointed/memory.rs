//! Private and shared memory, changed pages of a program file, protections, a counter.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Part, sys};

const SIZE: usize = 4 << 20;
const PAGE: usize = 4096;

pub struct Memory {
    counter: u64,
    filled: Vec<u8>,
    /// A private mapping of the probe's own file, some pages of which have been changed.
    changed: &'static mut [u8],
    protected: &'static mut [u8],
    /// Shared with a child, which counts in it.
    shared: &'static AtomicU64,
}

impl Memory {
    pub fn new() -> Self {
        let both = libc::PROT_READ | libc::PROT_WRITE;
        let program = File::open("/proc/self/exe").expect("the program");
        let changed = sys::map(16 * PAGE, both, libc::MAP_PRIVATE, program.as_raw_fd());
        for page in [1, 5, 6] {
            changed[page * PAGE..(page + 1) * PAGE].copy_from_slice(&sys::pattern(PAGE, page as u32));
        }
        let protected = sys::map(2 * PAGE, both, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1);
        protected.copy_from_slice(&sys::pattern(2 * PAGE, 3));
        // SAFETY: the second page of a mapping of two; it is only read from now on, by check() after another mprotect(2).
        sys::done(unsafe { libc::mprotect(protected.as_mut_ptr().add(PAGE).cast(), PAGE, libc::PROT_NONE) });
        let shared = sys::map(PAGE, both, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1);
        // SAFETY: a page is aligned and large enough, and every access is atomic.
        let shared = unsafe { AtomicU64::from_ptr(shared.as_mut_ptr().cast()) };
        sys::fork(|| {
            loop {
                shared.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Memory {
            counter: 0,
            filled: sys::pattern(SIZE, 1),
            changed,
            protected,
            shared,
        }
    }

    /// The permissions of the two pages, from /proc/self/maps.
    fn permissions(&self) -> Vec<String> {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let start = self.protected.as_ptr() as usize;
        let of = |address: usize| {
            maps.lines().find_map(|line| {
                let (range, rest) = line.split_once(' ')?;
                let (from, to) = range.split_once('-')?;
                let number = |text| usize::from_str_radix(text, 16).ok();
                (number(from)?..number(to)?)
                    .contains(&address)
                    .then(|| rest[..4].to_owned())
            })
        };
        [start, start + PAGE]
            .map(|address| of(address).unwrap_or_default())
            .into()
    }
}

impl Part for Memory {
    fn check(&mut self) -> Result<(), String> {
        self.counter += 1;
        Ok(())
    }

    fn same(&mut self) -> Value {
        json!({
            "filled": sys::hash(&self.filled),
            "changed": sys::hash(self.changed),
            "readable": sys::hash(&self.protected[..PAGE]),
            "permissions": self.permissions(),
        })
    }

    fn grows(&mut self) -> Value {
        json!({ "counter": self.counter, "shared": self.shared.load(Ordering::Relaxed) })
    }
}
