//! How long ranks take to tell each other numbers: `mpirun -n 4 BENCH` with the program that
//! `cargo bench --features mpi --bench ranks --no-run` names. The first rank prints, for each size, the best mean of a few rounds.

use std::time::{Duration, Instant};

use gtc::ranks::mpi::World;
use gtc::ranks::{Communicator, any, gather_numbers, sum_over};

const BLOCKS: usize = 8;
const ROUNDS: usize = 5;

/// The time of a round, the best of many blocks of them. Ranks do not begin a round together: one may be ahead by a message that
/// has arrived, which evens out over a block.
fn best(ranks: &dyn Communicator, mut round: impl FnMut()) -> Duration {
    let mut least = Duration::MAX;
    for _ in 0..BLOCKS {
        any(ranks, false);
        let start = Instant::now();
        for _ in 0..ROUNDS {
            round();
        }
        least = least.min(start.elapsed() / ROUNDS as u32);
    }
    least
}

fn main() {
    let ranks = World::join().expect("an MPI that lets threads be");
    let first = ranks.rank() == 0;
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let nothing = best(&ranks, || {
        any(&ranks, false);
    });
    if first {
        println!(
            "{} ranks, a byte: {:.3} ms",
            ranks.count(),
            milliseconds(nothing)
        );
    }
    for floats in [1 << 10, 1 << 14, 1 << 18, 1 << 20, 1 << 22, 15 << 20] {
        let mut numbers = vec![1.0f32; floats];
        let sum = best(&ranks, || {
            sum_over(&ranks, &mut numbers);
            numbers.fill(1.0);
        });
        let part = vec![1.0f32; floats / ranks.count()];
        let gather = best(&ranks, || {
            gather_numbers(&ranks, &part);
        });
        if first {
            let bytes = 4.0 * floats as f64;
            println!(
                "{:9} KiB: sum {:9.3} ms ({:6.2} GB/s), gather {:9.3} ms",
                4 * floats / 1024,
                milliseconds(sum),
                2.0 * bytes / sum.as_secs_f64() / 1e9,
                milliseconds(gather),
            );
        }
    }
}
