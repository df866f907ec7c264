//! Which numbers of the model decide: each is changed alone, down and up.

use serde::Serialize;

use super::accelerator::{Accelerator, Dataflow};
use super::activity::Activity;
use super::cost::{FormatCost, cost};
use super::format::Format;
use super::node::Node;
use super::workload::Workload;

/// Formats next to each other under one setting.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The setting, in words.
    pub setting: String,
    /// pJ of an image of the packed network.
    pub packed: f64,
    /// pJ of linear integers of the same bits by that.
    pub same_bits_ratio: f64,
    /// pJ of integers of 8 bits by that.
    pub int8_ratio: f64,
    /// Cycles of an image of the packed network.
    pub cycles: f64,
}

/// A number of the model, as it is changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sensitivity {
    /// What is changed.
    pub what: &'static str,
    /// Down, and up.
    pub points: [Point; 2],
}

impl Sensitivity {
    /// By how much the energy of the packed network moves between both ends.
    pub fn swing(&self) -> f64 {
        (self.points[0].packed - self.points[1].packed).abs()
    }
}

fn energy(cost: &FormatCost, skip: bool) -> [f64; 2] {
    match (skip, &cost.skipping) {
        (true, Some(skipping)) => [skipping.energy.total(), skipping.cycles],
        _ => [cost.energy.total(), cost.cycles],
    }
}

/// The formats under one setting. `skip`: with activations of zero left out.
pub fn point(
    setting: String,
    workload: &Workload,
    on: &Accelerator,
    node: &Node,
    activity: Option<&Activity>,
    skip: bool,
) -> Point {
    let formats = [Format::Packed, Format::SameBits, Format::Linear(8)];
    let [packed, same_bits, int8] =
        formats.map(|format| energy(&cost(workload, format, on, node, activity), skip));
    Point {
        setting,
        packed: packed[0],
        same_bits_ratio: same_bits[0] / packed[0],
        int8_ratio: int8[0] / packed[0],
        cycles: packed[1],
    }
}

/// A change of a process's numbers by a factor.
type Change = fn(&mut Node, f64);

/// Numbers of a process and the factors that they are changed by.
const CHANGES: [(&str, [f64; 2], Change); 5] = [
    ("energy of on-chip memory", [0.5, 2.0], |node, factor| {
        node.sram.iter_mut().for_each(|sram| sram.pj *= factor);
    }),
    ("energy of registers", [0.0, 2.0], |node, factor| {
        node.register_bit.pj *= factor;
    }),
    ("energy of shifts", [0.5, 2.0], |node, factor| {
        node.shift_stage_bit.pj *= factor;
    }),
    (
        "energy of integer multiplications",
        [0.5, 2.0],
        |node, factor| {
            node.multiply_int8.pj *= factor;
        },
    ),
    ("energy of integer additions", [0.5, 2.0], |node, factor| {
        node.add_int8.pj *= factor;
        node.add_int32.pj *= factor;
    }),
];

/// Every number changed alone, those that move the packed network's energy most first.
pub fn sensitivity(
    workload: &Workload,
    on: &Accelerator,
    node: &Node,
    activity: Option<&Activity>,
) -> Vec<Sensitivity> {
    let at = |setting: String, on: &Accelerator, node: &Node| {
        point(setting, workload, on, node, activity, false)
    };
    let mut all = Vec::new();
    for (what, factors, change) in CHANGES {
        let points = factors.map(|factor| {
            let mut node = node.clone();
            change(&mut node, factor);
            at(format!("x {factor}"), on, &node)
        });
        all.push(Sensitivity { what, points });
    }
    let dram = [node.dram.low, node.dram.high].map(|pj| {
        let mut node = node.clone();
        node.dram.pj = pj;
        at(format!("{pj} pJ"), on, &node)
    });
    all.push(Sensitivity {
        what: "energy of off-chip memory",
        points: dram,
    });
    let sram = [0.25, 4.0].map(|factor| {
        let sram_kib = on.sram_kib * factor;
        at(
            format!("{sram_kib} KiB"),
            &Accelerator { sram_kib, ..*on },
            node,
        )
    });
    all.push(Sensitivity {
        what: "size of on-chip memory",
        points: sram,
    });
    let batch = [1, 16].map(|batch| at(format!("{batch}"), &Accelerator { batch, ..*on }, node));
    all.push(Sensitivity {
        what: "batch",
        points: batch,
    });
    let halved = |n: u64| (n / 2).max(1);
    let size = [halved as fn(u64) -> u64, |n| 2 * n].map(|change| {
        let on = Accelerator {
            lanes: change(on.lanes),
            rows: change(on.rows),
            columns: change(on.columns),
            ..*on
        };
        let setting = match on.dataflow {
            Dataflow::Lanes => format!("{} lanes", on.lanes),
            _ => format!("{} x {}", on.rows, on.columns),
        };
        at(setting, &on, node)
    });
    all.push(Sensitivity {
        what: "elements",
        points: size,
    });
    if activity.is_some() {
        let skip = [false, true].map(|skip| {
            let setting = if skip { "left out" } else { "computed" };
            point(setting.to_owned(), workload, on, node, activity, skip)
        });
        all.push(Sensitivity {
            what: "activations of zero",
            points: skip,
        });
    }
    all.sort_by(|a, b| b.swing().total_cmp(&a.swing()));
    all
}

/// pJ of an image for on-chip memories of growing size: (KiB, by format).
pub fn sram_sweep(
    workload: &Workload,
    formats: &[Format],
    on: &Accelerator,
    node: &Node,
) -> Vec<(f64, Vec<f64>)> {
    (2..=14)
        .map(|power| {
            let sram_kib = f64::from(1 << power);
            let on = Accelerator { sram_kib, ..*on };
            let energy = |format: &Format| cost(workload, *format, &on, node, None).energy.total();
            (sram_kib, formats.iter().map(energy).collect())
        })
        .collect()
}
