//! The release binary as the linker made it.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::golden::{AS_SHIPPED, is_as_shipped};
use crate::harness::{Bundle, runtime};
use crate::need;

const ORDER: &str = include_str!("../../src/sys/order.txt");

/// Where the linker put each symbol, from lld's map: `VMA LMA Size Align Symbol`; a symbol has an alignment of 1.
pub fn addresses(map: &Path) -> HashMap<String, u64> {
    let text = fs::read_to_string(map).expect("read the linker's map");
    let symbol = |line: &str| {
        let mut words = line.split_whitespace();
        let address = u64::from_str_radix(words.next()?, 16).ok()?;
        let name = words.nth(3)?;
        Some((name.to_owned(), address))
    };
    text.lines().filter_map(symbol).collect()
}

/// The compiler that the list was made with, from its first line, and ours.
fn compilers() -> (String, String) {
    let first = ORDER.lines().next().unwrap_or_default();
    let listed = first.strip_prefix("# ").expect("the compiler's version").to_owned();
    let output = Command::new("rustc").arg("--version").output();
    let ours = output.map_or_else(
        |error| error.to_string(),
        |output| String::from_utf8(output.stdout).unwrap(),
    );
    (listed, ours.trim().to_owned())
}

/// The list names symbols, which change with the compiler and the dependencies; the linker ignores those that it does not
/// find. `integration/bench/order` makes it anew.
#[test]
fn functions_are_in_the_order_of_their_first_use() {
    let map = runtime().with_extension("map");
    need!(map.is_file(), "the linker map of the runtime");
    need!(is_as_shipped(), AS_SHIPPED);
    let (listed, ours) = compilers();
    need!(
        listed == ours,
        format!("the compiler of the list of functions, {listed}")
    );
    let addresses = addresses(&map);
    let names: Vec<_> = ORDER.lines().filter(|line| !line.starts_with('#')).collect();
    let found: Vec<u64> = names.iter().filter_map(|name| addresses.get(*name).copied()).collect();
    assert!(
        found.len() * 100 >= names.len() * 95,
        "of {} functions that src/sys/order.txt lists the binary has {}: run integration/bench/order",
        names.len(),
        found.len()
    );
    // Functions of the C library move with the section that holds them, so not every pair is in order.
    let ascending = found.windows(2).filter(|pair| pair[0] <= pair[1]).count();
    assert!(
        ascending * 100 >= found.len() * 90,
        "only {ascending} of {} functions come after the one listed before them",
        found.len()
    );
}

/// A tenth of the file, which only a panic that does not abort would read.
#[test]
fn the_release_binary_has_no_tables_for_unwinding() {
    let map = runtime().with_extension("map");
    need!(map.is_file(), "the linker map of the runtime");
    let addresses = addresses(&map);
    assert!(addresses.contains_key(".text"), "{map:?} does not list the sections");
    for section in [".eh_frame", ".eh_frame_hdr", ".gcc_except_table"] {
        assert!(!addresses.contains_key(section), "{section}");
    }
}

/// glibc's own start would execute CPUID 43 times, each a trap on a virtual machine.
#[test]
fn the_c_library_starts_without_questions_to_the_processor() {
    let map = runtime().with_extension("map");
    need!(map.is_file(), "the linker map of the runtime");
    // The tests are linked with the same library.
    // SAFETY: a constant string.
    let version = unsafe { std::ffi::CStr::from_ptr(libc::gnu_get_libc_version()) };
    need!(
        version == c"2.36",
        "a glibc whose start src/entry/c_library.rs can replace"
    );
    assert!(
        addresses(&map).contains_key("__libc_start_main"),
        "{map:?} lists no start"
    );
    let text = fs::read_to_string(&map).expect("read the linker's map");
    assert!(!text.contains("libc-start.o"), "glibc's own start is linked");
}

/// To look for the callers of an error, without those tables, would end the program before it has told the error.
#[test]
fn an_error_is_told_although_backtraces_are_requested() {
    let bundle = Bundle::new();
    let output = bundle.orlop(["state", "none"]).env("RUST_BACKTRACE", "full").run();
    output.fails_with("container does not exist");
}
