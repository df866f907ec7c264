//! Philox 4x32-10, a counter-based random number generator (Salmon et al., SC 2011): the same
//! numbers on every platform, and any of them without making those before.

const ROUNDS: usize = 10;
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Philox {
    key: [u32; 2],
    stream: u64,
    block_index: u64,
    ready: [u32; 4],
    used: usize,
}

impl Philox {
    /// Stream number `stream` of a seed; streams do not overlap.
    pub fn new(seed: u64, stream: u64) -> Self {
        Self {
            key: [seed as u32, (seed >> 32) as u32],
            stream,
            block_index: 0,
            ready: [0; 4],
            used: 4,
        }
    }

    /// The four numbers of one counter: the function all the rest is made of.
    pub fn block(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
        for _ in 0..ROUNDS {
            let a = u64::from(counter[0]) * u64::from(MULTIPLIERS[0]);
            let b = u64::from(counter[2]) * u64::from(MULTIPLIERS[1]);
            counter = [
                (b >> 32) as u32 ^ counter[1] ^ key[0],
                b as u32,
                (a >> 32) as u32 ^ counter[3] ^ key[1],
                a as u32,
            ];
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        counter
    }

    /// The next 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            let (low, high) = (self.block_index, self.stream);
            let counter = [
                low as u32,
                (low >> 32) as u32,
                high as u32,
                (high >> 32) as u32,
            ];
            self.ready = Self::block(counter, self.key);
            self.block_index += 1;
            self.used = 0;
        }
        self.used += 1;
        self.ready[self.used - 1]
    }

    /// Uniform in 0 (included) to 1 (excluded), with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        let high = u64::from(self.next_u32() >> 5);
        let low = u64::from(self.next_u32() >> 6);
        ((high << 26) | low) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Normal numbers of mean zero, those that `normal` would give one after another, made by all
    /// cores: 15 million take one of them half a second.
    pub fn fill_normal(mut self, values: &mut [f32], deviation: f64) {
        /// Fewer are not worth a thread.
        const LEAST: usize = 1 << 14;
        // A platform without threads knows no parallelism.
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
        let part = values.len().div_ceil(threads).max(LEAST);
        let fill = |mut rng: Self, values: &mut [f32]| {
            for value in values {
                *value = (deviation * rng.normal()) as f32;
            }
        };
        let (own, others) = values.split_at_mut(part.min(values.len()));
        std::thread::scope(|scope| {
            let own_rng = self.clone();
            for others in others.chunks_mut(part) {
                self.skip_normals(part as u64);
                let rng = self.clone();
                scope.spawn(move || fill(rng, others));
            }
            fill(own_rng, own);
        });
    }

    /// A normal number takes one block.
    fn skip_normals(&mut self, count: u64) {
        self.block_index += count;
    }

    /// Uniform in 0 to `n` - 1, every value equally likely (Lemire 2019). `n` must be positive.
    pub fn below(&mut self, n: u32) -> u32 {
        let threshold = n.wrapping_neg() % n;
        loop {
            let product = u64::from(self.next_u32()) * u64::from(n);
            if product as u32 >= threshold {
                return (product >> 32) as u32;
            }
        }
    }

    /// A uniformly random order of 0 to `count` - 1 (Fisher and Yates).
    pub fn permutation(&mut self, count: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..count as u32).collect();
        for i in (1..count).rev() {
            order.swap(i, self.below(i as u32 + 1) as usize);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::Philox;

    /// Known answers published with Random123 (kat_vectors, philox4x32 with 10 rounds).
    #[test]
    fn published_vectors() {
        for (counter, key, answer) in [
            (
                [0; 4],
                [0; 2],
                [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
            ),
            (
                [u32::MAX; 4],
                [u32::MAX; 2],
                [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
            ),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ] {
            assert_eq!(Philox::block(counter, key), answer);
        }
    }

    #[test]
    fn normal_numbers_have_mean_zero_and_variance_one() {
        let mut rng = Philox::new(3, 0);
        let n = 20_000;
        let draws: Vec<f64> = (0..n).map(|_| rng.normal()).collect();
        let mean = draws.iter().sum::<f64>() / f64::from(n);
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(n);
        assert!(mean.abs() < 0.03, "{mean}");
        assert!((variance - 1.0).abs() < 0.03, "{variance}");
    }

    #[test]
    fn all_cores_make_the_numbers_of_one() {
        let mut one = Philox::new(5, 9);
        for count in [1, 100, 3 * (1 << 14) + 7] {
            let want: Vec<f32> = (0..count).map(|_| (0.5 * one.normal()) as f32).collect();
            let mut got = vec![0.0; count];
            Philox::new(5, 9).fill_normal(&mut got, 0.5);
            assert!(got == want, "{count} numbers");
            one = Philox::new(5, 9);
        }
    }

    #[test]
    fn a_permutation_holds_every_index_once_and_depends_on_the_stream() {
        let order = Philox::new(1, 2).permutation(1000);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().enumerate().all(|(i, v)| i as u32 == *v));
        assert_ne!(order, Philox::new(1, 3).permutation(1000));
        assert_eq!(order, Philox::new(1, 2).permutation(1000));
    }
}
