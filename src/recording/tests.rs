//! The passes, without a device.

use std::collections::HashMap;

use super::copies::{self, Step};
use super::cores::{self, Shared};
use super::memory::{self, Block};
use super::{Call, Dispatch, Exchange, Grid, Output, Recording, Write, submissions};
use crate::gpu::{Buffer, Core, Kernel, Path, ReadsTextures, TEXELS_PER_ROW, Tiles};
use crate::kernels;
use crate::tensor::Tensor;

/// What a row of memory holds: the buffer that lies there, by its number, and which write it is from.
type Content = Option<(usize, usize)>;

/// Follows a recording through its passes as a device would, row by row of every buffer, working memory and texture copy, and
/// fails where a call reads what is no longer there, or writes where it reads something else.
pub(crate) fn follow(recording: &Recording) {
    let calls: Vec<&Call> = recording.calls().collect();
    let with_copies = copies::insert(recording);
    let (steps, forms) = (&with_copies.steps, &with_copies.forms);
    let blocks = memory::blocks(steps, &calls, forms, &recording.twins);
    let mut slabs = Vec::new();
    let places = memory::place(&mut slabs, &blocks);

    let buffers = recording.buffers();
    let number = |buffer: &Buffer| {
        let found = buffers.iter().position(|known| known.same(buffer));
        found.expect("it is in the list")
    };
    // Behind the slabs, every other buffer has memory of its own.
    let place_of = |buffer: &Buffer| match blocks.iter().position(|block| block.has(buffer)) {
        Some(at) => places[at],
        None => slabs.len() + number(buffer),
    };
    // The first row of the second buffer of a block is not the first of its place.
    let first_row = |buffer: &Buffer| -> usize {
        let block = blocks.iter().find(|block| block.has(buffer));
        let before = block.map(|block| block.buffers.iter().take_while(|b| !b.same(buffer)));
        before.map_or(0, |before| before.map(|b| b.rows() as usize).sum())
    };
    let rows_of = |tensor: &Tensor| {
        let first = first_row(&tensor.buffer);
        super::call::rows_of(tensor).map(move |row| first + row as usize)
    };
    let are_twins = |a: &Buffer, b: &Buffer| {
        let mut twins = recording.twins.iter();
        twins.any(|pair| [a, b].iter().all(|x| pair.iter().any(|half| half.same(x))))
    };
    let mut rows = slabs.clone();
    rows.extend(buffers.iter().map(Buffer::rows));
    let mut memory: Vec<Vec<Content>> = rows.iter().map(|n| vec![None; *n as usize]).collect();
    for (n, buffer) in buffers
        .iter()
        .enumerate()
        .filter(|(_, b)| !b.is_transient())
    {
        memory[place_of(buffer)].fill(Some((n, 0)));
    }
    // By place, kind of numbers and row.
    let mut textures: HashMap<(usize, usize, usize), Content> = HashMap::new();
    let mut copy = |memory: &[Vec<Content>], copy: &copies::Copy, what: &str| {
        let place = place_of(&copy.buffer);
        for row in copy.rows.clone().map(|row| row as usize) {
            let content = memory[place][row];
            let own = content.is_some_and(|(owner, _)| owner == number(&copy.buffer));
            assert!(own, "{what} of {:?}, row {row}: {content:?}", copy.buffer);
            textures.insert((place, copy.numbers as usize, row), content);
        }
        textures.clone()
    };
    let mut seen = HashMap::new();
    for once in &with_copies.once {
        seen = copy(&memory, once, "the first copy");
    }
    // Their buffers are given up.
    for once in &with_copies.once {
        memory[place_of(&once.buffer)].fill(None);
    }
    let mut writes = 0;
    for step in steps {
        match step {
            Step::Copy(made) => seen = copy(&memory, made, "a copy"),
            Step::Clear(buffer) => {
                writes += 1;
                memory[place_of(buffer)][first_row(buffer)..][..buffer.rows() as usize]
                    .fill(Some((number(buffer), writes)));
            }
            Step::Exchange(exchange) => {
                writes += 1;
                for tensor in exchange.tensors() {
                    for row in rows_of(tensor) {
                        memory[place_of(&tensor.buffer)][row] =
                            Some((number(&tensor.buffer), writes));
                    }
                }
            }
            Step::Call(at) => {
                let (call, form) = (calls[*at], forms[*at]);
                let name = format!("{} {}", call.label, call.kernel.name);
                for tensor in call.inputs() {
                    let place = place_of(&tensor.buffer);
                    for row in rows_of(tensor) {
                        let present = memory[place][row];
                        let key = (place, call.kernel.numbers as usize, row);
                        let read = match form.reads_textures() {
                            true => seen.get(&key).copied().flatten(),
                            false => present,
                        };
                        let own = read.is_some_and(|(owner, _)| owner == number(&tensor.buffer));
                        assert!(own, "{name} reads {:?}, row {row}: {read:?}", tensor.buffer);
                        let fresh = read == present || recording.is_constant(&tensor.buffer);
                        assert!(
                            fresh,
                            "{name} reads an old texture copy of {:?}",
                            tensor.buffer
                        );
                    }
                    for output in call.outputs() {
                        let apart = place_of(&output.buffer) != place;
                        let same = output.buffer.same(&tensor.buffer);
                        let beside = are_twins(&output.buffer, &tensor.buffer);
                        assert!(apart || same || beside, "{name} writes over what it reads");
                    }
                }
                // Browsers refuse memory that is bound twice if one binding writes it.
                for (at, output) in call.writes.iter().enumerate() {
                    let place = place_of(&output.tensors[0].buffer);
                    let before = call.writes[..at].iter();
                    let apart = |other: &Output| place_of(&other.tensors[0].buffer) != place;
                    assert!(before.clone().all(apart), "{name} binds memory twice");
                }
                writes += 1;
                for output in call.outputs() {
                    let place = place_of(&output.buffer);
                    for row in rows_of(output) {
                        memory[place][row] = Some((number(&output.buffer), writes));
                    }
                }
            }
        }
    }
    let split = submissions::split(steps, &calls, 1 << 30);
    assert!(
        split.iter().flat_map(Clone::clone).eq(0..steps.len()),
        "every step once"
    );
}

/// A row of a texture copy, in floats.
const ROW: usize = 4 * TEXELS_PER_ROW as usize;

/// A call that reads and writes these tensors. What the kernel would do with them does not matter.
fn call(recording: &mut Recording, kernel: &'static Kernel, reads: &[&Tensor], write: Write<'_>) {
    recording.dispatch(Dispatch {
        kernel,
        label: "call",
        constants: &[],
        params: &[0; 16],
        reads,
        writes: &[write],
        schedule: false,
        grid: Grid::Threads(1),
        flops: 1,
    });
}

fn tensor(rows: usize) -> Tensor {
    Tensor::transient("tensor", &[rows, ROW])
}

/// What a list does, a letter a step.
fn letters(recording: &Recording) -> String {
    let steps = copies::insert(recording).steps;
    let letter = |step: &Step| match step {
        Step::Call(_) => 'c',
        Step::Copy(_) => 'm',
        Step::Clear(_) => '0',
        Step::Exchange(_) => 'x',
    };
    steps.iter().map(letter).collect()
}

/// A kernel that always reads texture copies, where there are some.
const READS_TEXTURES: &Kernel = &crate::op::conv::entries::CONV_FORWARD;

#[test]
fn a_buffer_is_copied_before_the_first_read_after_a_write() {
    assert_eq!(READS_TEXTURES.textures, ReadsTextures::Always);
    let [x, y, z] = [2, 2, 2].map(tensor);
    let record = |path| {
        let mut list = Recording::new(path);
        list.clear(&x.buffer);
        call(&mut list, READS_TEXTURES, &[&x], Write::New(&y));
        call(&mut list, READS_TEXTURES, &[&x, &y], Write::New(&z));
        call(
            &mut list,
            READS_TEXTURES,
            &[&z.range(0..1)],
            Write::New(&y.range(0..1)),
        );
        // Only the first row of y is new, but its copy is old as a whole; the second row is copied anew, with the
        // whole of y before.
        call(&mut list, READS_TEXTURES, &[&y.range(1..2)], Write::New(&z));
        call(&mut list, READS_TEXTURES, &[&y], Write::Update(&z));
        list
    };
    for path in [Path::CpuSampled, Path::CpuStorage, Path::CpuSubgroup] {
        assert_eq!(letters(&record(path)), "0mcmmcmccmmc");
        follow(&record(path));
    }
    assert_eq!(letters(&record(Path::Gpu)), "0ccccc");
    follow(&record(Path::Gpu));
}

#[test]
fn copies_move_up_to_others_and_constants_are_copied_once() {
    let kept: Vec<Tensor> = (0..3).map(|_| Tensor::kept("kept", &[1, ROW])).collect();
    let constant = Tensor::kept("constant", &[1, ROW]);
    let [y, z] = [1, 1].map(tensor);
    let mut list = Recording::new(Path::CpuStorage);
    list.constant(&constant.buffer);
    call(
        &mut list,
        READS_TEXTURES,
        &[&kept[0], &constant],
        Write::New(&y),
    );
    call(
        &mut list,
        READS_TEXTURES,
        &[&kept[1], &constant],
        Write::New(&z),
    );
    call(&mut list, READS_TEXTURES, &[&kept[2], &y], Write::New(&z));
    assert_eq!(letters(&list), "mmmccmc");
    assert_eq!(copies::insert(&list).once.len(), 1);
    follow(&list);
}

#[test]
fn what_reads_each_number_once_reads_the_buffer() {
    let [x, y] = [1, 1].map(tensor);
    let once = kernels::all()
        .into_iter()
        .find(|k| k.textures == ReadsTextures::Never);
    let mut list = Recording::new(Path::CpuStorage);
    list.clear(&x.buffer);
    call(
        &mut list,
        once.expect("there is one"),
        &[&x],
        Write::New(&y),
    );
    let form = copies::insert(&list).forms[0];
    assert_eq!((form, letters(&list)), (Path::Gpu, "0c".to_owned()));
    let list = list.all_in_textures();
    let form = copies::insert(&list).forms[0];
    assert_eq!((form, letters(&list)), (Path::CpuStorage, "0mc".to_owned()));
}

#[test]
fn working_memory_is_shared_by_what_lives_at_other_times() {
    let chain: Vec<Tensor> = (1..=6).map(tensor).collect();
    let mut list = Recording::new(Path::Gpu);
    list.clear(&chain[0].buffer);
    for pair in chain.windows(2) {
        call(&mut list, READS_TEXTURES, &[&pair[0]], Write::New(&pair[1]));
    }
    let calls: Vec<&Call> = list.calls().collect();
    let found = copies::insert(&list);
    let blocks = memory::blocks(&found.steps, &calls, &found.forms, &[]);
    let mut slabs = Vec::new();
    memory::place(&mut slabs, &blocks);
    assert_eq!(slabs, [6, 5], "two of a chain live at a time");
    // Another plan finds them there.
    let mut again = slabs.clone();
    memory::place(&mut again, &blocks);
    assert_eq!(again, slabs);
    follow(&list);
}

#[test]
fn no_two_lives_share_a_place_at_one_time() {
    let mut rng = crate::rng::Philox::new(1, 0);
    for _ in 0..100 {
        let blocks: Vec<Block> = (0..30)
            .map(|_| {
                let [from, length] = [(); 2].map(|()| rng.below(40) as usize);
                let rows = 1 + rng.below(9) as usize;
                let halves = 1 + rng.below(2) as usize;
                Block {
                    buffers: vec![Buffer::transient("", rows * ROW); halves],
                    life: from..=from + length,
                }
            })
            .collect();
        let mut slabs = vec![3, 3];
        let places = memory::place(&mut slabs, &blocks);
        for (i, block) in blocks.iter().enumerate() {
            assert!(slabs[places[i]] >= block.rows());
            for (j, other) in blocks.iter().enumerate().skip(i + 1) {
                let (life, other) = (&block.life, &other.life);
                let apart = life.end() < other.start() || other.end() < life.start();
                assert!(apart || places[i] != places[j]);
            }
        }
    }
}

#[test]
fn a_list_is_cut_before_a_submission_grows_too_long() {
    let mut list = Recording::new(Path::Gpu);
    let [x, y] = [1, 1].map(tensor);
    for flops in [3, 3, 9, 1, 1] {
        list.dispatch(Dispatch {
            kernel: READS_TEXTURES,
            label: "call",
            constants: &[],
            params: &[0; 16],
            reads: &[&x],
            writes: &[Write::New(&y)],
            schedule: false,
            grid: Grid::Threads(1),
            flops,
        });
    }
    let calls: Vec<&Call> = list.calls().collect();
    let steps = copies::insert(&list).steps;
    let split = |most| submissions::split(&steps, &calls, most);
    assert_eq!(
        split(6),
        [0..2, 2..3, 3..5],
        "one call may be too long alone"
    );
    assert_eq!(split(100), vec![0..5; 1]);
}

#[test]
fn products_get_cores_and_others_do_not() {
    let [x, y] = [1, 1].map(tensor);
    let mut list = Recording::new(Path::Gpu);
    call(&mut list, &crate::op::add::ADD, &[&x], Write::New(&y));
    let product = |size| Dispatch {
        kernel: READS_TEXTURES,
        label: "product",
        constants: &[],
        params: &[0; 16],
        reads: &[],
        writes: &[],
        schedule: false,
        grid: Grid::Product { size, splits: 2 },
        flops: 1 << 40,
    };
    list.dispatch(product([65, 64]));
    assert_eq!(
        cores::choose(&list, &Tiles::default(), None),
        [
            Shared {
                core: None,
                groups: [1, 1, 1]
            },
            Shared {
                core: Some(Core::Workgroup {
                    rows: 16,
                    columns: 16
                }),
                groups: [2, 1, 2]
            },
        ]
    );
    assert_eq!(cores::most_cores(&list, None), 3);
    // What was measured goes before the table, for the product that it was measured of.
    let name = list.calls().last().and_then(Call::product_name);
    let depth = (1u64 << 40) / (2 * 65 * 64);
    let wanted = format!("conv_forward 65x64, depth {depth} in 2 ranges");
    assert_eq!(name.as_deref(), Some(wanted.as_str()));
    let tile_of = |name: &str, tile: &str| {
        let tiles = Tiles::new([(name.to_owned(), tile.to_owned())]);
        let core = cores::choose(&list, &tiles, None)[1].core;
        core.map(Core::tile_name).unwrap_or_default()
    };
    assert_eq!(tile_of(&wanted, "128x64"), "128x64");
    assert_eq!(tile_of(&wanted, "1x1"), "64x64", "no tile of this product");
    assert_eq!(tile_of("another", "128x64"), "64x64");
    let list = Recording::new(Path::CpuSubgroup).with_core(99);
    let mut list = list;
    list.dispatch(product([64, 64]));
    let ways = READS_TEXTURES.cores(Path::CpuSubgroup, 64);
    assert_eq!(cores::most_cores(&list, None), ways.len());
    assert_eq!(
        cores::choose(&list, &Tiles::default(), None)[0].core,
        ways.last().copied()
    );
}

#[test]
fn what_came_from_other_processes_is_copied_again() {
    let [x, y, z] = [2, 2, 2].map(|rows| Tensor::kept("tensor", &[rows, ROW]));
    let mut list = Recording::new(Path::CpuStorage);
    call(&mut list, READS_TEXTURES, &[&x], Write::New(&y));
    list.exchange(Exchange {
        sums: vec![x.clone()],
        gathers: Vec::new(),
    });
    call(&mut list, READS_TEXTURES, &[&x], Write::New(&z));
    follow(&list);
    assert_eq!(letters(&list), "mcxmc");
    let calls: Vec<&Call> = list.calls().collect();
    let steps = copies::insert(&list).steps;
    // It is a submission of its own, wherever it stands.
    assert_eq!(
        submissions::split(&steps, &calls, 1 << 30),
        [0..2, 2..3, 3..5]
    );
    assert_eq!(
        submissions::split(&steps[..3], &calls, 1 << 30),
        [0..2, 2..3]
    );
}
