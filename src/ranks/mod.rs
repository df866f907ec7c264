//! Several processes, ranks, that train one network together: what they tell each other.
//!
//! All that a run needs is [`Communicator::exchange`]: two ranks send and receive at the same time. Sums go through
//! recursive halving and doubling (Thakur, Rabenseifner, Gropp 2005, section 4.3): a rank sends and receives twice the numbers
//! in all, in two messages a level. Its first partner is the rank beside it, so that sums grow along one binary tree whose leaves
//! are the ranks in order, and every rank gets the same bits. [`crate::optimiser::add_shards`] continues the tree
//! downwards, over the shards of one rank.

mod local;
#[cfg(feature = "mpi")]
pub mod mpi;

pub use local::{Local, Lonely, local};

/// A rank among others. Their number is a power of two.
pub trait Communicator {
    /// Its number, from 0 on.
    fn rank(&self) -> usize;

    /// How many there are.
    fn count(&self) -> usize;

    /// Sends bytes to another rank, and receives some from it; the two need not be equally many. The other rank calls it at the
    /// same time: it sends as many bytes as this one receives, and the other way round. Returns when both are done.
    fn exchange(&self, partner: usize, send: &[u8], receive: &mut [u8]);
}

/// The levels of the tree over ranks, from its leaves on: how far the partner is.
fn levels(ranks: &dyn Communicator) -> Vec<usize> {
    let count = ranks.count();
    assert!(count.is_power_of_two(), "{count} ranks");
    (0..count.trailing_zeros())
        .map(|level| 1 << level)
        .collect()
}

/// What is below the smallest normal number counts as zero, see `shaders/optimiser/add_shards.wgsl`.
fn normal_or_zero(value: f32) -> f32 {
    match value.to_bits() & 0x7f80_0000 {
        0 => 0.0,
        _ => value,
    }
}

/// The sum of two numbers with the bits of [`crate::optimiser::add_shards`].
pub fn sum(a: f32, b: f32) -> f32 {
    normal_or_zero(normal_or_zero(a) + normal_or_zero(b))
}

/// Replaces numbers by their sums over all ranks.
pub fn sum_over(ranks: &dyn Communicator, numbers: &mut [f32]) {
    let mut own = 0..numbers.len();
    let mut received = vec![0.0f32; numbers.len().div_ceil(2)];
    // Both halves of what two partners had, from the largest on.
    let mut halves = Vec::new();
    for distance in levels(ranks) {
        let partner = ranks.rank() ^ distance;
        let middle = own.start + own.len() / 2;
        let (low, high) = (own.start..middle, middle..own.end);
        let (kept, sent) = match ranks.rank() < partner {
            true => (low, high),
            false => (high, low),
        };
        let received = &mut received[..kept.len()];
        let send = bytemuck::cast_slice(&numbers[sent.clone()]);
        ranks.exchange(partner, send, bytemuck::cast_slice_mut(received));
        for (number, other) in numbers[kept.clone()].iter_mut().zip(received) {
            *number = sum(*number, *other);
        }
        halves.push((kept.clone(), sent));
        own = kept;
    }
    for (distance, (own, others)) in levels(ranks).into_iter().zip(halves).rev() {
        let partner = ranks.rank() ^ distance;
        let received = &mut received[..others.len()];
        let send = bytemuck::cast_slice(&numbers[own]);
        ranks.exchange(partner, send, bytemuck::cast_slice_mut(received));
        numbers[others].copy_from_slice(received);
    }
}

/// What all ranks have, in their order; they may differ in length.
pub fn gather(ranks: &dyn Communicator, own: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![own.to_vec()];
    for distance in levels(ranks) {
        let partner = ranks.rank() ^ distance;
        let lengths: Vec<u64> = all.iter().map(|bytes| bytes.len() as u64).collect();
        let mut their_lengths = vec![0u64; lengths.len()];
        let to = bytemuck::cast_slice_mut(&mut their_lengths);
        ranks.exchange(partner, bytemuck::cast_slice(&lengths), to);
        let mut theirs = vec![0; their_lengths.iter().sum::<u64>() as usize];
        ranks.exchange(partner, &all.concat(), &mut theirs);
        let mut rest = &theirs[..];
        let mut cut = |length: &u64| {
            let (bytes, behind) = rest.split_at(*length as usize);
            rest = behind;
            bytes.to_vec()
        };
        let theirs: Vec<Vec<u8>> = their_lengths.iter().map(&mut cut).collect();
        all = match ranks.rank() < partner {
            true => [all, theirs].concat(),
            false => [theirs, all].concat(),
        };
    }
    all
}

/// The same of as many numbers of each, one behind the other.
pub fn gather_numbers(ranks: &dyn Communicator, own: &[f32]) -> Vec<f32> {
    let mut all = own.to_vec();
    for distance in levels(ranks) {
        let partner = ranks.rank() ^ distance;
        let mut theirs = vec![0.0f32; all.len()];
        let to = bytemuck::cast_slice_mut(&mut theirs);
        ranks.exchange(partner, bytemuck::cast_slice(&all), to);
        all = match ranks.rank() < partner {
            true => [all, theirs].concat(),
            false => [theirs, all].concat(),
        };
    }
    all
}

/// What rank 0 has.
pub fn from_first(ranks: &dyn Communicator, own: &[u8]) -> Vec<u8> {
    let own = if ranks.rank() == 0 { own } else { &[] };
    gather(ranks, own).swap_remove(0)
}

/// Whether it is so on any rank.
pub fn any(ranks: &dyn Communicator, own: bool) -> bool {
    let mut any = u8::from(own);
    for distance in levels(ranks) {
        let mut other = [0];
        ranks.exchange(ranks.rank() ^ distance, &[any], &mut other);
        any |= other[0];
    }
    any > 0
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::rng::Philox;

    /// What every rank returns.
    fn on<T: Send>(count: usize, run: impl Fn(&Local) -> T + Sync) -> Vec<T> {
        let ranks = local(count);
        std::thread::scope(|scope| {
            let run = &run;
            let threads: Vec<_> = ranks
                .into_iter()
                .map(|rank| scope.spawn(move || run(&rank)))
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        })
    }

    /// Gradients of a shard: numbers whose sums depend on their order.
    fn shard(number: usize, length: usize) -> Vec<f32> {
        let mut rng = Philox::new(number as u64, 1);
        let draw = |i| rng.normal() as f32 * [1e4, 1.0, 1e-4, 1e-38][i % 4];
        (0..length).map(draw).collect()
    }

    /// The sum of these shards along the tree.
    fn tree(shards: std::ops::Range<usize>, length: usize) -> Vec<f32> {
        if shards.len() == 1 {
            return shard(shards.start, length);
        }
        let middle = shards.start + shards.len() / 2;
        let [a, b] = [shards.start..middle, middle..shards.end].map(|half| tree(half, length));
        a.iter().zip(&b).map(|(a, b)| sum(*a, *b)).collect()
    }

    fn bits(numbers: &[f32]) -> Vec<u32> {
        numbers.iter().map(|v| v.to_bits()).collect()
    }

    #[test]
    fn any_number_of_ranks_adds_shards_along_one_tree() {
        const SHARDS: usize = 8;
        for length in [0, 1, 3, 7, 1000] {
            let wanted = bits(&tree(0..SHARDS, length));
            for count in [1, 2, 4, 8] {
                let found = on(count, |ranks| {
                    let own = SHARDS / count;
                    let first = ranks.rank() * own;
                    let mut numbers = tree(first..first + own, length);
                    sum_over(ranks, &mut numbers);
                    bits(&numbers)
                });
                assert!(found.iter().all(|f| *f == wanted), "{length} on {count}");
            }
        }
        // The order matters: else the test would show nothing.
        let in_a_row = (1..SHARDS).fold(shard(0, 1000), |all, number| {
            let next = shard(number, 1000);
            all.iter().zip(&next).map(|(a, b)| sum(*a, *b)).collect()
        });
        assert_ne!(bits(&in_a_row), bits(&tree(0..SHARDS, 1000)));
    }

    #[test]
    fn sums_have_no_numbers_that_devices_treat_differently() {
        let tiny = f32::from_bits(1);
        assert_eq!(sum(tiny, -0.0).to_bits(), 0);
        assert_eq!(
            sum(f32::MIN_POSITIVE, -1.5 * f32::MIN_POSITIVE).to_bits(),
            0
        );
        assert_eq!(sum(f32::MIN_POSITIVE, tiny), f32::MIN_POSITIVE);
        assert!(sum(f32::NAN, 1.0).is_nan());
    }

    #[test]
    fn what_is_gathered_comes_in_the_order_of_ranks() {
        for count in [1, 2, 4, 8] {
            let words = |rank: usize| vec![rank as u8; rank % 3];
            let found = on(count, |ranks| {
                let rank = ranks.rank();
                let all = gather(ranks, &words(rank));
                let numbers = gather_numbers(ranks, &[rank as f32, 0.5]);
                let first = from_first(ranks, &[7 + rank as u8]);
                let last = any(ranks, rank + 1 == count);
                (all, numbers, first, last, any(ranks, false))
            });
            let all: Vec<Vec<u8>> = (0..count).map(words).collect();
            let numbers: Vec<f32> = (0..count).flat_map(|r| [r as f32, 0.5]).collect();
            assert!(
                found
                    .iter()
                    .all(|f| *f == (all.clone(), numbers.clone(), vec![7], true, false))
            );
        }
    }
}
