//! The reference judges what the program decides, so the program must not call it; and both must agree.

use std::path::{Path, PathBuf};

use gtc::levels::{LevelRule, rounded_factor};
use gtc::op::ConvShape;
use gtc::{pack, reference};
use proptest::prelude::*;

/// Every Rust file below a folder.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

/// The lines of a file that are compiled into the program: no comments, nothing from the test module at
/// the end on.
fn production_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line.split("//").next().unwrap_or(line)))
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
}

fn mentions_reference(line: &str) -> bool {
    let path = line.contains("reference::");
    let import = line.trim_start().starts_with("use ") && line.contains("reference");
    path || import
}

/// Whether a file of an operation's folder holds definitions or cases of its kernels.
fn judges_operation(path: &Path) -> bool {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let operation = path.components().any(|part| part.as_os_str() == "op");
    operation
        && ["plain", "reference", "cases"]
            .iter()
            .any(|end| stem.ends_with(end))
}

#[test]
fn the_program_does_not_call_the_reference() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let judges = [source.join("reference"), source.join("verify")];
    let mut found = Vec::new();
    let mut files = 0;
    for path in rust_files(&source) {
        if judges.iter().any(|folder| path.starts_with(folder)) || judges_operation(&path) {
            continue;
        }
        files += 1;
        let text = std::fs::read_to_string(&path).unwrap();
        for (number, line) in production_lines(&text) {
            if mentions_reference(line) {
                found.push(format!("{}:{number}: {line}", path.display()));
            }
        }
    }
    assert!(files > 50, "only {files} files were read");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn uses_of_the_reference_are_seen() {
    let seen = [
        "    let levels = reference::levels(&weights, c, s);",
        "use crate::reference;",
        "use crate::{pack, reference};",
    ];
    for line in seen {
        assert!(production_lines(line).any(|(_, line)| mentions_reference(line)));
    }
    let unseen = [
        "pub mod reference;",
        "/// See [`crate::reference::levels`].",
        "#[cfg(test)]\nmod tests {\n    use crate::reference;\n}",
    ];
    for text in unseen {
        assert!(!production_lines(text).any(|(_, line)| mentions_reference(line)));
    }
}

/// Both decide about one weight, and about the same weight with the other sign.
fn same_exponent(weight: f64, quantiser: [f32; 2]) {
    let rule = LevelRule::new(quantiser);
    for weight in [weight, -weight] {
        let wanted = reference::exponent(weight, rule.intercept, rule.slope);
        assert_eq!(
            rule.exponent(weight),
            wanted,
            "weight {weight:e}, {quantiser:?}"
        );
    }
}

/// The f32 numbers next to one, and the number itself.
fn neighbours(middle: f32) -> [f32; 5] {
    let up = middle.next_up();
    let down = middle.next_down();
    [down.next_down(), down, middle, up, up.next_up()]
}

#[test]
fn weights_around_epsilon_and_zero_agree() {
    for weight in neighbours(1e-6).into_iter().chain(neighbours(0.0)) {
        for quantiser in [[1e-4, 1.0], [-3.0, 0.0], [200.0, 1.0], [0.5, 0.0]] {
            same_exponent(weight.into(), quantiser);
        }
    }
    for weight in [1e-6, f64::from(f32::MAX), f64::from(f32::MIN_POSITIVE)] {
        same_exponent(weight, [0.0, 1.0]);
    }
}

#[test]
fn a_rule_without_a_slope_rounds_halves_alike() {
    for doubled in -300..=300 {
        for intercept in neighbours(doubled as f32 / 2.0) {
            same_exponent(1.0, [intercept, 0.0]);
        }
    }
}

proptest! {
    #[test]
    fn exponents_agree(weight in -8f32..8.0, small in -1e-5f32..1e-5, c in -20f32..20.0, s in -0.5f32..1.5) {
        same_exponent(weight.into(), [c, s]);
        same_exponent(small.into(), [c, s]);
    }

    /// At the weight for which c + s log2(|w| + ε) lies halfway between two exponents, and next to it.
    #[test]
    fn exponents_agree_at_the_edges_between_levels(e in -16i32..8, c in -4f64..4.0, s in 0.1f64..1.5) {
        let [c, s] = [c as f32, s as f32];
        let size = ((f64::from(e) + 0.5 - f64::from(c)) / f64::from(s)).exp2() - 1e-6;
        prop_assume!(size > 0.0 && size < f64::from(f32::MAX));
        for weight in neighbours(size as f32) {
            same_exponent(weight.into(), [c, s]);
        }
    }

    #[test]
    fn ranges_agree(weights in prop::collection::vec(prop_oneof![Just(0f32), -1f32..1.0, -1e-5f32..1e-5], 0..40),
                    c in -4f32..4.0, s in 0f32..1.5) {
        let wide: Vec<f64> = weights.iter().map(|w| f64::from(*w)).collect();
        let wanted = reference::levels(&wide, c.into(), s.into());
        let range = LevelRule::new([c, s]).range(wide.iter().copied());
        prop_assert_eq!([range.low, range.top], [wanted.low.exponent, wanted.top.exponent]);
        prop_assert_eq!(f64::from(range.bits()), wanted.bits);
    }

    #[test]
    fn factors_agree(gamma in -4f64..4.0, small in -2e-6f64..2e-6, k in -20i32..20) {
        let edge = (f64::from(k) + 0.5).exp2();
        for exact in [gamma, small, 0.0, 1e-6, -1e-6, edge, -edge, edge.next_down(), edge.next_up()] {
            prop_assert_eq!(rounded_factor(exact), reference::rounded_factor(exact), "{}", exact);
        }
    }

    #[test]
    fn codes_agree(codes in prop::collection::vec(0u8..64, 0..50), bits in 1u32..=6, zero: bool) {
        let codes: Vec<u8> = codes.iter().map(|code| code & ((1 << bits) - 1)).collect();
        let zero = zero && bits > 1;
        prop_assert_eq!(pack::unpacked(&codes, bits, zero), reference::packed_unpack(&codes, bits, zero));
    }

    #[test]
    fn taps_agree(batch in 1usize..3, height in 1usize..9, width in 1usize..9, kernel_height in 1usize..4,
                  kernel_width in 1usize..4, stride in 1usize..4, padding in 0usize..3) {
        prop_assume!(height + 2 * padding >= kernel_height && width + 2 * padding >= kernel_width);
        let shape = ConvShape {
            batch,
            input_height: height,
            input_width: width,
            input_channels: 3,
            output_channels: 2,
            kernel_height,
            kernel_width,
            stride,
            padding: [padding; 2],
        };
        prop_assert_eq!(shape.taps(), reference::taps(&shape));
    }
}
