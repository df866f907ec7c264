//! How buffers keep floats, and the texts through which kernels read and write them.

use half::f16;

const HALVES: &str = include_str!("../../shaders/shared/halves.wgsl");

/// How a buffer keeps its numbers. Kernels compute with `f32` whatever it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Storage {
    /// As they are, 32 bits each.
    #[default]
    Float,
    /// Times 2^exponent, as IEEE binary16 of 16 bits: eleven significant bits, if that is 2^-14 to 65,504; smaller
    /// ones have fewer bits, larger ones become 65,504. Gradients are small, and an exponent brings them into that range: the
    /// loss scale of training with mixed precision (Micikevicius et al. 2018, arXiv 1710.03740).
    Half {
        /// What numbers are scaled by.
        exponent: i32,
    },
}

impl Storage {
    /// Bytes of a number.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Float => 4,
            Self::Half { .. } => 2,
        }
    }

    /// The words of numbers stored like this.
    pub fn encode(self, numbers: &[f32]) -> Vec<u32> {
        let Self::Half { exponent } = self else {
            return numbers.iter().map(|number| number.to_bits()).collect();
        };
        let half = |number: &f32| {
            let scaled = number * (exponent as f32).exp2();
            let most = f16::MAX.to_f32();
            let kept = match scaled.is_finite() {
                true => f16::from_f32(scaled.clamp(-most, most)),
                false => f16::NAN,
            };
            u32::from(kept.to_bits())
        };
        let pairs = numbers.chunks(2);
        let word = |pair: &[f32]| half(&pair[0]) | pair.get(1).map_or(0, half) << 16;
        pairs.map(word).collect()
    }

    /// The first `count` numbers of words stored like this.
    pub fn decode(self, words: &[u32], count: usize) -> Vec<f32> {
        let Self::Half { exponent } = self else {
            let words = words.iter().take(count);
            return words.map(|word| f32::from_bits(*word)).collect();
        };
        let back = (-exponent as f32).exp2();
        let halves = words
            .iter()
            .flat_map(|word| [*word as u16, (*word >> 16) as u16]);
        let numbers = halves.map(|half| f16::from_bits(half).to_f32() * back);
        numbers.take(count).collect()
    }
}

/// How the operands of a kernel call are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Operands {
    /// `a`, `b`, `c`, `d`
    pub inputs: [Storage; 4],
    /// 0 to 3
    pub outputs: [Storage; 4],
}

impl Operands {
    /// The exponent of operand `a`. In products, gradients are never operand `b`.
    pub(super) fn exponent(&self) -> i32 {
        match self.inputs[0] {
            Storage::Float => 0,
            Storage::Half { exponent } => exponent,
        }
    }

    /// The text that defines how a kernel reads and writes buffers, for operands stored like this; `text` is that for
    /// floats. With `raw` it reads `a` as it is stored, times its power of two.
    pub(super) fn text(&self, text: &str, raw: bool) -> String {
        let mut text = text.to_owned();
        let names = ["a", "b", "c", "d"].map(|name| format!("input_{name}"));
        let inputs = names.iter().zip(self.inputs);
        let names = ["0", "1", "2", "3"].map(|name| format!("output_{name}"));
        let outputs = names.iter().zip(self.outputs);
        let mut halves = false;
        for (name, storage) in inputs.chain(outputs) {
            let Storage::Half { exponent } = storage else {
                continue;
            };
            halves = true;
            let [scale, mut back] = [exponent, -exponent].map(factor);
            if raw && name == "input_a" {
                back.clear();
            }
            let mut replace = |from: String, to: String| {
                debug_assert!(text.contains(&from), "{from}");
                text = text.replace(&from, &to);
            };
            replace(
                format!("{name}: array<Texel>"),
                format!("{name}: array<vec2u>"),
            );
            replace(
                format!("return {name}[texel]"),
                format!("return from_halves({name}[texel]){back}"),
            );
            if name.starts_with("output") {
                replace(
                    format!("{name}[texel] = value"),
                    format!("{name}[texel] = to_halves(value{scale})"),
                );
            }
        }
        match halves {
            true => text + "\n" + HALVES,
            false => text,
        }
    }
}

/// " * 2^exponent" in WGSL.
fn factor(exponent: i32) -> String {
    match exponent {
        0 => String::new(),
        exponent => format!(" * 0x1p{exponent}f"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_keep_eleven_bits_of_what_they_can_hold() {
        let plain = Storage::Half { exponent: 0 };
        let kept = |storage: Storage, number: f32| storage.decode(&storage.encode(&[number]), 1)[0];
        assert_eq!(kept(plain, 1.0 + 1.0 / 1024.0), 1.0 + 1.0 / 1024.0);
        assert_eq!(kept(plain, 1.0 + 1.0 / 8192.0), 1.0);
        assert_eq!(kept(plain, 1e6), 65504.0, "too large");
        assert_eq!(kept(plain, -1e6), -65504.0, "too large");
        assert!(kept(plain, f32::NAN).is_nan());
        assert!(kept(plain, f32::INFINITY).is_nan());
        let small = 3.0 / 65536.0 / 65536.0;
        assert_eq!(kept(plain, small), 0.0, "too small");
        assert_eq!(kept(Storage::Half { exponent: 15 }, small), small);
        assert_eq!(kept(Storage::Float, 1e-30), 1e-30);
    }

    #[test]
    fn an_odd_number_of_halves_fills_whole_words() {
        let storage = Storage::Half { exponent: 3 };
        let numbers = [1.0, -2.0, 0.5];
        let words = storage.encode(&numbers);
        assert_eq!(words.len(), 2);
        assert_eq!(storage.decode(&words, 3), numbers);
    }
}
