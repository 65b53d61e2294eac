//! The blocks of the allocator.

use proptest::prelude::*;

use super::*;

fn chunks() -> Box<Chunks> {
    let mut chunks = Box::new(Chunks::new());
    chunks.add(map).unwrap();
    chunks
}

/// A block in use: its address, its size and the byte that all of it has.
type Used = (*mut u8, usize, u8);

fn take(chunks: &mut Chunks, size: usize, byte: u8) -> Used {
    let block = chunks.take(class_of(size)).unwrap();
    assert_eq!(block.address.addr() % UNIT, 0);
    // SAFETY: the block has at least this size.
    let bytes = unsafe { std::slice::from_raw_parts_mut(block.address, size) };
    assert!(!block.zero || bytes.iter().all(|byte| *byte == 0));
    bytes.fill(byte);
    (block.address, size, byte)
}

fn give(chunks: &mut Chunks, (address, size, byte): Used) {
    check((address, size, byte));
    // SAFETY: the block was taken with this size, and each is given once.
    unsafe { chunks.give(address, class_of(size)) };
}

fn check((address, size, byte): Used) {
    // SAFETY: the block is in use and has this size.
    let bytes = unsafe { std::slice::from_raw_parts(address, size) };
    assert!(bytes.iter().all(|one| *one == byte), "another block lies on it");
}

/// How much of the chunks was ever cut.
fn used(chunks: &Chunks) -> usize {
    let full: usize = (1..chunks.count).map(|index| FIRST << (index - 1)).sum();
    full + (chunks.fresh - chunks.newest().start)
}

#[test]
fn every_size_has_the_smallest_class_with_room_for_it() {
    for size in 1..=LARGEST {
        let class = class_of(size);
        assert!(class < CLASSES && size_of_class(class) >= size, "{size}");
        assert!(class == 0 || size_of_class(class - 1) < size, "{size}");
        assert_eq!(size_of_class(class) % UNIT, 0, "{size}");
    }
    assert_eq!(class_of(LARGEST), CLASSES - 1);
}

#[derive(Debug, Clone)]
enum Action {
    Take(usize),
    Give(usize),
    Resize(usize, usize),
    BeginAnew,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let size = || prop_oneof![4 => 1..200usize, 1 => 1..=LARGEST];
    let action = prop_oneof![
        8 => size().prop_map(Action::Take),
        6 => any::<usize>().prop_map(Action::Give),
        3 => (any::<usize>(), size()).prop_map(|(which, size)| Action::Resize(which, size)),
        1 => Just(Action::BeginAnew),
    ];
    proptest::collection::vec(action, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn blocks_never_overlap(actions in actions()) {
        let mut chunks = chunks();
        let mut blocks: Vec<Used> = Vec::new();
        for (number, action) in actions.into_iter().enumerate() {
            let byte = number as u8 | 1;
            match action {
                Action::Take(size) => blocks.push(take(&mut chunks, size, byte)),
                Action::Give(which) if !blocks.is_empty() => {
                    let block = blocks.swap_remove(which % blocks.len());
                    give(&mut chunks, block);
                }
                Action::Resize(which, size) if !blocks.is_empty() => {
                    let which = which % blocks.len();
                    let (address, old, _) = blocks[which];
                    check(blocks[which]);
                    if chunks.resize(address, class_of(old), class_of(size)) {
                        // SAFETY: the block has this size now.
                        unsafe { address.write_bytes(byte, size) };
                        blocks[which] = (address, size, byte);
                    }
                }
                Action::BeginAnew => chunks.begin_anew(),
                Action::Give(_) | Action::Resize(..) => {}
            }
        }
        blocks.into_iter().for_each(check);
    }

    #[test]
    fn work_that_repeats_needs_no_more_memory(sizes in proptest::collection::vec(1..=LARGEST, 1..60)) {
        let mut chunks = chunks();
        let mut round = |order: fn(&mut Vec<Used>)| {
            let mut blocks: Vec<_> = sizes.iter().map(|size| take(&mut chunks, *size, 7)).collect();
            order(&mut blocks);
            blocks.into_iter().for_each(|block| give(&mut chunks, block));
            used(&chunks)
        };
        let first = round(|_| {});
        for _ in 0..3 {
            prop_assert_eq!(round(|blocks| blocks.rotate_left(1)), first);
            prop_assert_eq!(round(|blocks| blocks.reverse()), first);
        }
    }
}

#[test]
fn the_last_block_grows_and_shrinks_where_it_is() {
    let mut chunks = chunks();
    let (address, ..) = take(&mut chunks, 100, 1);
    assert!(chunks.resize(address, class_of(100), class_of(5000)));
    let (next, ..) = take(&mut chunks, 16, 2);
    assert!(next.addr() >= address.addr() + 5000);
    assert!(
        !chunks.resize(address, class_of(5000), class_of(100)),
        "it is not the last"
    );
    assert!(chunks.resize(next, class_of(16), class_of(LARGEST)));
    assert!(chunks.resize(next, class_of(LARGEST), class_of(16)));
    let after = take(&mut chunks, 32, 3);
    assert_eq!(after.0.addr(), next.addr() + 16);
    // What was cut and given back is not taken for fresh.
    assert!(!chunks.take(class_of(64)).unwrap().zero);
}

#[test]
fn a_new_process_writes_to_no_block_that_is_older() {
    let mut chunks = chunks();
    let (kept, given): (Vec<_>, Vec<_>) = (0..200)
        .map(|number| take(&mut chunks, 16 + number * 8, 5))
        .partition(|(_, size, _)| size % 16 == 0);
    let (free, later) = given.split_at(50);
    free.iter().for_each(|block| give(&mut chunks, *block));
    let image = |chunks: &Chunks| {
        let Range { start, end } = chunks.all[0];
        // SAFETY: the chunk is mapped, and nothing writes to it meanwhile.
        unsafe { std::slice::from_raw_parts(ptr::with_exposed_provenance::<u8>(start), end - start) }.to_vec()
    };
    chunks.begin_anew();
    let before = image(&chunks);
    let anew = chunks.rest - chunks.all[0].start;
    later.iter().chain(&kept).for_each(|block| give(&mut chunks, *block));
    for size in [16, 100, 1000, 5000] {
        let new = take(&mut chunks, size, 9);
        let again = take(&mut chunks, size, 9);
        give(&mut chunks, new);
        assert_eq!(take(&mut chunks, size, 9).0, new.0, "its own blocks are reused");
        assert!(new.0.addr() >= chunks.all[0].start + anew && again.0 != new.0);
    }
    assert_eq!(image(&chunks)[..anew], before[..anew]);
    assert_eq!(anew % PAGE, 0, "new blocks share no page with older ones");
}

#[test]
fn the_allocator_serves_all_sizes_and_several_threads() {
    let work = |seed: usize| {
        let mut kept: Vec<(*mut u8, Layout)> = Vec::new();
        for number in 0..2000 {
            let size = 1 + (number * 7919 + seed * 104_729) % (3 * LARGEST);
            let layout = Layout::from_size_align(size, if number % 5 == 0 { 64 } else { 8 }).unwrap();
            // SAFETY: each block is used within its size, and given back once with its layout.
            unsafe {
                let block = Allocator.alloc_zeroed(layout);
                assert_eq!(block.addr() % layout.align(), 0);
                assert!(block.read() == 0 && block.add(size - 1).read() == 0);
                block.write_bytes(seed as u8 + 1, size);
                let (half, new) = (
                    size / 2 + 1,
                    Layout::from_size_align(size / 2 + 1, layout.align()).unwrap(),
                );
                let block = Allocator.realloc(block, layout, half);
                assert!(block.read() == seed as u8 + 1 && block.add(half - 1).read() == seed as u8 + 1);
                kept.push((block, new));
                if number % 3 == 0 {
                    let (old, layout) = kept.swap_remove(number % kept.len());
                    assert_eq!(old.read(), seed as u8 + 1);
                    Allocator.dealloc(old, layout);
                }
            }
        }
        for (block, layout) in kept {
            // SAFETY: as above.
            unsafe { Allocator.dealloc(block, layout) };
        }
    };
    std::thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || work(seed));
        }
    });
}
