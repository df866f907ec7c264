//! One dispatch for the same call of two networks, as text: workgroups of the first network, then those of the second.

use super::{Family, Kernel};

/// Which operands of a call are others for the second network. Both buffers of such an operand lie side by side and are
/// bound as one, so that the second one begins in its middle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Twins {
    /// The uniform block: both are bound, each in a multiple of 16 bytes.
    pub params: bool,
    /// `a`, `b`, `c`, `d`
    pub inputs: [bool; 4],
    /// 0 to 3
    pub outputs: [bool; 4],
}

/// Kernels with barriers that depend on no uniform block.
const WAITS_ANYWAY: [&str; 1] = ["norm_combine"];

/// The declaration of the uniform block in every kernel.
const PARAMS: &str = "@group(0) @binding(0) var<uniform> params: Params;";
/// The same for two networks.
const BOTH_PARAMS: &str = "struct OfNetwork { @align(16) params: Params }
@group(0) @binding(0) var<uniform> networks: array<OfNetwork, 2>;";

impl Twins {
    /// The most operands that can be others.
    pub const ALL: Self = Self {
        params: true,
        inputs: [true; 4],
        outputs: [true; 4],
    };

    /// Whether one dispatch can do two calls of a kernel, whose uniform blocks are the `same` or not. The kernel must leave a
    /// dimension of the grid for the number of the network. WGSL allows barriers only where all threads of a workgroup come
    /// along, and does not know that all have the same number: so with blocks that differ, no barrier may stand under a
    /// condition that depends on them.
    pub fn are_possible(kernel: &Kernel, same: bool) -> bool {
        let mut texts = kernel.shared.iter().chain([&kernel.text]);
        match kernel.family {
            Family::Matrix(_) => same,
            Family::Elementwise => {
                kernel.text.contains("thread_index(")
                    && (same
                        || WAITS_ANYWAY.contains(&kernel.name)
                        || !texts.any(|text| text.contains("workgroupBarrier")))
            }
            Family::MatrixPacked | Family::MatrixVector => false,
        }
    }

    /// The text of a kernel, made to do the calls of two networks.
    pub fn text(&self, text: &str) -> String {
        let (before, rest) = text.split_once("fn main(").expect("a kernel has a main");
        let (arguments, body) = rest.split_once(") {").expect("main has a body");
        // Products count tiles along x and ranges of the depth along z, others threads along x and y.
        let number = match arguments.contains("builtin(global_invocation_id) id") {
            true => "id.z",
            false => "group.y",
        };
        let mut text = format!(
            "{before}fn main({arguments}) {{\n    network = {number};\n{body}\n\nvar<private> network: u32;\n"
        );
        if self.params {
            debug_assert!(text.contains(PARAMS));
            text = text.replace(PARAMS, BOTH_PARAMS);
            text = text.replace("params.", "networks[network].params.");
        }
        let inputs = ["a", "b", "c", "d"].map(|name| format!("input_{name}"));
        let outputs = ["0", "1", "2", "3"].map(|name| format!("output_{name}"));
        let operands = inputs.iter().zip(self.inputs);
        for (name, apart) in operands.chain(outputs.iter().zip(self.outputs)) {
            if apart {
                let middle = format!("network * (arrayLength(&{name}) / 2u)");
                text = text.replace(
                    &format!("{name}[texel]"),
                    &format!("{name}[texel + {middle}]"),
                );
            }
        }
        text
    }
}

/// The text of a kernel that reads one half of a piece of memory and writes the other: WebGPU lets no dispatch use a buffer
/// for reading alone that it also writes elsewhere.
pub fn read_write(text: &str) -> String {
    text.replace("var<storage, read> ", "var<storage, read_write> ")
}
