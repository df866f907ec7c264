//! The model of hardware: it agrees with counts, with published simulators where their numbers are recorded, and with a
//! layer worked out by hand.

use crate::common::checks::random_networks;
use gtc::export::Program;
use gtc::op::integers::Form;
use gtc::pack::{PackedModel, unpacked};
use gtc::reference;
use gtc::rng::Philox;
use gtc::simulate::{
    Accelerator, Activity, Dataflow, Energy, Format, Meter, NODES, Node, Product, Workload, cost,
    point, sensitivity, sram_sweep,
};
use safetensors::tensor::SafeTensors;

const LENET5: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/lenet5.gtc");

fn lenet5() -> PackedModel {
    gtc::pack::load(LENET5.as_ref()).unwrap()
}

fn workload(model: &PackedModel) -> Workload {
    let network = model.network();
    Workload::new(&Program::new(model, &network).unwrap())
}

fn near(a: f64, b: f64) {
    assert!(
        (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-9),
        "{a} {b}"
    );
}

fn lanes(lanes: u64) -> Accelerator {
    Accelerator {
        lanes,
        ..Accelerator::default()
    }
}

fn array(dataflow: Dataflow, rows: u64, columns: u64) -> Accelerator {
    Accelerator {
        dataflow,
        rows,
        columns,
        ..Accelerator::default()
    }
}

fn products(workload: &Workload) -> Vec<Product> {
    workload.works.iter().filter_map(|w| w.product).collect()
}

/// Products of three layers of LeNet-5 as SCALE-Sim 3.0.0 was given them on an array of 16 x 16, and the cycles that it
/// reported.
#[test]
fn cycles_of_arrays_are_those_that_scale_sim_reported() {
    let workload = workload(&lenet5());
    let layers = &products(&workload)[..3];
    let recorded = [
        (Dataflow::OutputStationary, [3959, 8479, 26559]),
        (Dataflow::WeightStationary, [2487, 14079, 75199]),
    ];
    for (dataflow, reported) in recorded {
        for (layer, reported) in layers.iter().zip(reported) {
            let flow = array(dataflow, 16, 16).flow(layer, 1, 1.0);
            assert!(flow.cycles.abs_diff(reported) <= 1, "{flow:?} {reported}");
        }
    }
}

/// Cycles that Verilog of LeNet-5 took in simulation, with lanes that read one activation together.
#[test]
fn cycles_of_lanes_are_those_of_simulated_verilog() {
    let workload = workload(&lenet5());
    let node = Node::by_name("45nm").unwrap();
    for (count, simulated) in [
        (10, 229_364.0),
        (20, 130_984.0),
        (25, 95_004.0),
        (50, 55_054.0),
    ] {
        let cost = cost(&workload, Format::Packed, &lanes(count), &node, None);
        let error = (cost.cycles - simulated) / simulated;
        assert!(
            error.abs() < 0.01,
            "{count} lanes: {} {simulated}",
            cost.cycles
        );
    }
}

#[test]
fn weight_bytes_are_those_of_the_packed_file() {
    let file = std::fs::read(LENET5).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let bytes = |part: &str| -> usize {
        let names = tensors.names();
        let named = names.iter().filter(|name| name.ends_with(part));
        named
            .map(|name| tensors.tensor(name).unwrap().data().len())
            .sum()
    };
    let node = Node::by_name("45nm").unwrap();
    let cost = cost(
        &workload(&lenet5()),
        Format::Packed,
        &lanes(16),
        &node,
        None,
    );
    assert_eq!(cost.weight_bytes as usize, bytes(".codes"));
    assert_eq!(cost.table_bytes as usize, bytes(".bias") + bytes(".shift"));
}

/// The second convolution of LeNet-5 (5 x 5, 20 to 50 channels, 12 x 12 pixels, a pool behind it), from the numbers of the
/// table.
#[test]
fn a_layer_by_hand() {
    let model = lenet5();
    let packed = &model.layers[1];
    assert_eq!((packed.shape, packed.bits), ([50, 5, 5, 20], 1));
    let (workload, node) = (workload(&model), Node::by_name("45nm").unwrap());
    let on = lanes(16);
    let layer = |format: Format| cost(&workload, format, &on, &node, None).layers[1].clone();
    let conv2 = layer(Format::Packed);
    assert_eq!((conv2.macs, conv2.accumulator_bits), (64 * 50 * 500, 17));
    // Four passes of 16 outputs: 64 positions of 500 terms each.
    near(conv2.cycles, 4.0 * 64.0 * 500.0);
    near(conv2.utilisation, 1_600_000.0 / (128_000.0 * 16.0));
    // 1 bit for each of 1,600,000 products, and for each of 3,200 sums a bias of 32 and a shift of 8 bits.
    near(conv2.traffic.weights, 1_600_000.0 + 3200.0 * 40.0);
    // 32,000 activations of 8 bits four times; the pool leaves 4 x 4 x 50.
    near(conv2.traffic.activations, (4.0 * 32_000.0 + 800.0) * 8.0);
    // 0.03 + 0.07 (17 - 8) / 24 for an addition of 17 bits, 8 bits of a sign.
    let add = 0.05625;
    let places = {
        let (low, high) = (packed.shift.iter().min(), packed.shift.iter().max());
        f64::from(high.unwrap() - low.unwrap() + 1)
    };
    let shift = 0.002606 * 17.0 * places.log2().ceil();
    // Each of the 800 results of the pool took three comparisons of 8 bits.
    let arithmetic =
        1_600_000.0 * (add + 8.0 * 0.000563) + 3200.0 * (2.0 * add + shift) + 2400.0 * 0.03;
    near(conv2.energy.arithmetic, arithmetic);
    near(conv2.energy.registers, 1_600_000.0 * 17.0 * 0.009);
    // All layers: 500 + 25,000 + 400,000 + 5,000 weights in 2, 1, 1 and 2 bits, in words of 32; 580 outputs of 5 bytes.
    let bytes: f64 = [(500, 0), (25_000, 1), (400_000, 2), (5_000, 3)]
        .map(|(weights, layer)| 4.0 * f64::from((weights * model.layers[layer].bits).div_ceil(32)))
        .iter()
        .sum();
    let memory = bytes + 5.0 * 580.0;
    // Between 32 KiB at 20 pJ and 1 MiB at 100 pJ, of 64 bits.
    let slope = 5f64.ln() / 32f64.ln();
    let bit = 20.0 * (memory / 32768.0).powf(slope) / 64.0;
    near(conv2.energy.weights, conv2.traffic.weights * bit);
    // The most that is kept at once: 12 x 12 x 20 and 4 x 4 x 50 numbers, or the image and the former.
    let kept = (784.0f64 + 2880.0).max(2880.0 + 800.0);
    let bit = 10.0 * (kept / 8192.0f64).sqrt() / 64.0;
    near(conv2.energy.activations, conv2.traffic.activations * bit);
    near(conv2.energy.off_chip, 0.0);
    // The bound: 25,000 bits and 50 tables once, 2,880 numbers in, 800 out.
    let weights = conv2.energy.weights / conv2.traffic.weights;
    near(conv2.bound.weights, (25_000.0 + 50.0 * 40.0) * weights);
    near(conv2.bound.activations, (2880.0 + 800.0) * 8.0 * bit);
    near(conv2.bound.arithmetic, arithmetic);
    // Integers of 8 bits: 0.2 pJ, sums of 24 bits.
    let int8 = layer(Format::Linear(8));
    assert_eq!(int8.accumulator_bits, 24);
    let add = 0.03 + 0.07 * 16.0 / 24.0;
    let shift = 0.002606 * 24.0 * places.log2().ceil();
    near(
        int8.energy.arithmetic,
        1_600_000.0 * (0.2 + add) + 3200.0 * (2.0 * add + shift) + 2400.0 * 0.03,
    );
    // Floats: more than 1 MiB of weights lies off-chip, each fetched once.
    let float = layer(Format::Float32);
    near(float.traffic.off_chip, 25_050.0 * 32.0);
    near(float.energy.off_chip, 25_050.0 * 32.0 * 1950.0 / 64.0);
}

/// The same layer without the activations of zero of one image: lanes lose cycles, weights, arithmetic and registers in
/// the same part, an array only arithmetic.
#[test]
fn zeros_left_out_by_hand() {
    let model = lenet5();
    let network = model.network();
    let program = Program::new(&model, &network).unwrap();
    let (workload, node) = (Workload::new(&program), Node::by_name("45nm").unwrap());
    let mut meter = Meter::new(&program, &workload);
    meter.add(&input_of(&model));
    let activity = meter.finish();
    let zeros = activity.works[1].zero_macs as f64 / 1_600_000.0;
    assert!((0.05..0.95).contains(&zeros), "{zeros}");
    let conv2 = |on: &Accelerator| {
        let cost = cost(&workload, Format::Packed, on, &node, Some(&activity));
        let layer = cost.layers[1].clone();
        (layer.energy, layer.skipping.unwrap(), layer.traffic.weights)
    };
    let multiply_adds = 1_600_000.0 * (0.05625 + 8.0 * 0.000563);
    let (all, left, bits) = conv2(&lanes(16));
    near(
        left.energy.arithmetic,
        all.arithmetic - zeros * multiply_adds,
    );
    near(left.energy.registers, all.registers * (1.0 - zeros));
    near(
        left.energy.weights,
        all.weights * (bits - zeros * 1_600_000.0) / bits,
    );
    near(left.energy.activations, all.activations);
    near(left.cycles, 128_000.0 * (1.0 - zeros));
    let (all, left, _) = conv2(&array(Dataflow::OutputStationary, 16, 16));
    near(
        left.energy.arithmetic,
        all.arithmetic - zeros * multiply_adds,
    );
    near(left.energy.total(), all.total() - zeros * multiply_adds);
    near(left.cycles, 8480.0);
}

/// The same bits in linear integers differ in nothing but arithmetic.
#[test]
fn the_control_differs_in_arithmetic_alone() {
    let (workload, node) = (workload(&lenet5()), Node::by_name("45nm").unwrap());
    let of = |format| cost(&workload, format, &lanes(16), &node, None);
    let (packed, linear) = (of(Format::Packed), of(Format::SameBits));
    assert_eq!(packed.weight_bytes, linear.weight_bytes);
    assert_eq!(packed.cycles, linear.cycles);
    for (packed, linear) in packed.layers.iter().zip(&linear.layers) {
        assert_eq!(packed.traffic, linear.traffic);
        assert!(linear.energy.arithmetic >= packed.energy.arithmetic);
    }
}

#[test]
fn memories_that_are_too_small_send_traffic_off_the_chip() {
    let (workload, node) = (workload(&lenet5()), Node::by_name("45nm").unwrap());
    let at = |sram_kib: f64, batch: u64| {
        let on = Accelerator {
            sram_kib,
            batch,
            ..Accelerator::default()
        };
        cost(&workload, Format::Packed, &on, &node, None)
    };
    let fits = at(1024.0, 1);
    assert!(!fits.weights_off_chip && fits.energy.off_chip == 0.0);
    let small = at(16.0, 1);
    assert!(small.weights_off_chip);
    let bits = small.layers.iter().map(|layer| layer.traffic.off_chip);
    let weights: u64 = products(&workload)
        .iter()
        .map(|p| p.weights() * u64::from(p.bits))
        .sum();
    near(bits.sum(), (weights + 580 * 40) as f64);
    // Four images share what is fetched.
    near(at(16.0, 4).energy.off_chip, small.energy.off_chip / 4.0);
    // 51 bytes hold neither the activations nor the 500 terms of an output of the second convolution: every position
    // fetches all weights and tables, and 2,880 numbers come from outside, 800 go there.
    let conv2 = at(0.05, 1).layers[1].traffic.off_chip;
    near(conv2, 1_600_000.0 + 3200.0 * 40.0 + (2880.0 + 800.0) * 8.0);
    // 1024 lanes need 800 cycles for the first dense layer; its 400,000 weights and 500 tables come with 12.8 GB/s at
    // 500 MHz, 204.8 bits a cycle.
    let wide = |sram_kib: f64| {
        let on = Accelerator {
            sram_kib,
            ..lanes(1024)
        };
        let layer = cost(&workload, Format::Packed, &on, &node, None).layers[2].clone();
        [layer.compute_cycles, layer.cycles]
    };
    assert_eq!(wide(1024.0), [800.0, 800.0]);
    assert_eq!(wide(16.0), [800.0, (420_000.0f64 / 204.8).ceil()]);
}

/// Zeros counted one by one, in plain loops over every product.
#[test]
fn zeros_are_counted_exactly() {
    let mut models = vec![lenet5()];
    models.extend((0..12).flat_map(random_networks).map(|(_, model)| model));
    let mut padded = 0;
    for model in &models {
        let network = model.network();
        let program = Program::new(model, &network).unwrap();
        let workload = Workload::new(&program);
        let mut meter = Meter::new(&program, &workload);
        let input = input_of(model);
        meter.add(&input);
        let activity = meter.finish();
        let values = reference::values(model, &input);
        let counted = workload.works.iter().zip(&activity.works);
        for (work, counted) in counted.filter(|(work, _)| work.product.is_some()) {
            let step = program.steps.iter().find(|s| s.name == work.name).unwrap();
            let Form::Product { shape, groups } = &step.form else {
                panic!("{} is no product", step.name)
            };
            let layer = step.layer.unwrap();
            let weights = unpacked(&layer.codes, layer.bits, layer.zero);
            let x = &values[step.reads[0].value];
            let stored = shape.input_channels.next_multiple_of(4);
            let inputs = shape.input_channels / groups;
            let (mut macs, mut zero, mut idle) = (0, 0, 0);
            for (i, weight) in weights.iter().enumerate() {
                let (o, c) = (i / (weights.len() / shape.output_channels), i % inputs);
                let (u, v) = (
                    i / inputs / shape.kernel_width % shape.kernel_height,
                    i / inputs % shape.kernel_width,
                );
                let channel = o / (shape.output_channels / groups) * inputs + c;
                for row in 0..shape.output_height() {
                    for column in 0..shape.output_width() {
                        let y = (row * shape.stride + u) as i64 - shape.padding[0] as i64;
                        let x_at = (column * shape.stride + v) as i64 - shape.padding[1] as i64;
                        let inside = (0..shape.input_height as i64).contains(&y)
                            && (0..shape.input_width as i64).contains(&x_at);
                        if !inside {
                            continue;
                        }
                        let pixel = y as usize * shape.input_width + x_at as usize;
                        let activation = x[pixel * stored + channel];
                        macs += 1;
                        zero += u64::from(activation == 0);
                        idle += u64::from(activation == 0 || *weight == 0);
                    }
                }
            }
            padded += u32::from(shape.padding != [0, 0]);
            assert_eq!(
                (counted.macs, counted.zero_macs, counted.idle_macs),
                (macs, zero, idle),
                "{}: {}",
                workload.name,
                work.name
            );
            assert_eq!(work.product.unwrap().macs, macs);
        }
        assert!(activity.works.iter().all(|w| w.zeros <= w.numbers));
    }
    assert!(padded > 3, "{padded} layers with padding");
}

fn input_of(model: &PackedModel) -> Vec<i32> {
    let mut rng = Philox::new(9, 1);
    let network = model.network();
    let numbers: usize = network.input.iter().product();
    match model.table.is_empty() {
        true => {
            let latent: Vec<f32> = (0..numbers).map(|_| rng.normal() as f32).collect();
            model.latent_input(&latent)
        }
        false => {
            let image: Vec<u8> = (0..numbers).map(|_| rng.below(256) as u8).collect();
            model.image_input(&image)
        }
    }
}

fn check_energy(energy: &Energy, what: &str) {
    for (part, name) in energy.parts().into_iter().zip(Energy::PARTS) {
        assert!(part.is_finite() && part >= 0.0, "{what}: {name} {part}");
    }
}

/// What must hold for every network, accelerator and format.
fn check(workload: &Workload, on: &Accelerator, node: &Node, activity: &Activity, what: &str) {
    for format in Format::ALL {
        let what = format!("{what}, {}, {on:?}", format.name());
        let cost = cost(workload, format, on, node, Some(activity));
        let mut energy = Energy::default();
        let mut cycles = 0.0;
        for layer in &cost.layers {
            let skipping = layer.skipping.unwrap();
            for energy in [&layer.energy, &layer.bound, &skipping.energy] {
                check_energy(energy, &what);
            }
            let (least, all) = (layer.bound.total(), layer.energy.total());
            assert!(
                least <= all * (1.0 + 1e-12),
                "{what}, {}: {least} {all}",
                layer.name
            );
            let left = skipping.energy.total();
            assert!(
                left <= all * (1.0 + 1e-12),
                "{what}, {}: {left} {all}",
                layer.name
            );
            assert!(skipping.cycles <= layer.cycles, "{what}, {}", layer.name);
            assert!(
                layer.compute_cycles <= layer.cycles,
                "{what}, {}",
                layer.name
            );
            assert!(
                (0.0..=1.0).contains(&layer.utilisation),
                "{what}, {}",
                layer.name
            );
            let traffic = layer.traffic;
            for bits in [traffic.weights, traffic.activations, traffic.off_chip] {
                assert!(bits.is_finite() && bits >= 0.0, "{what}, {}", layer.name);
            }
            energy += layer.energy;
            cycles += layer.cycles;
        }
        assert_eq!(energy, cost.energy, "{what}");
        assert_eq!(cycles, cost.cycles, "{what}");
        near(
            cost.energy.total(),
            cost.layers.iter().map(|l| l.energy.total()).sum(),
        );
    }
}

#[test]
fn random_networks_add_up_on_random_accelerators() {
    let mut networks: Vec<(String, PackedModel)> = (0..15).flat_map(random_networks).collect();
    assert!(networks.len() > 15, "{} networks", networks.len());
    networks.push(("lenet5".to_owned(), lenet5()));
    let nodes: Vec<Node> = NODES
        .iter()
        .map(|(n, _)| Node::by_name(n).unwrap())
        .collect();
    let mut rng = Philox::new(22, 0);
    let mut below = |n: u32| u64::from(rng.below(n));
    for (name, model) in &networks {
        let network = model.network();
        let program = Program::new(model, &network).unwrap();
        let workload = Workload::new(&program);
        assert_eq!(workload.operations(), model.operations(), "{name}");
        let mut meter = Meter::new(&program, &workload);
        meter.add(&input_of(model));
        let activity = meter.finish();
        for dataflow in Dataflow::ALL {
            for _ in 0..4 {
                let on = Accelerator {
                    dataflow,
                    lanes: 1 + below(70),
                    rows: 1 + below(20),
                    columns: 1 + below(20),
                    // From 2 bytes to 1 MiB.
                    sram_kib: (below(20) as f64 - 9.0).exp2(),
                    batch: 1 + below(9),
                };
                let node = &nodes[below(2) as usize];
                check(&workload, &on, node, &activity, name);
                let all = sensitivity(&workload, &on, node, Some(&activity));
                for point in all.iter().flat_map(|row| &row.points) {
                    assert!(point.packed.is_finite() && point.packed > 0.0, "{name}");
                }
            }
        }
    }
}

#[test]
fn more_lanes_never_take_more_cycles() {
    let node = Node::by_name("7nm").unwrap();
    let mut models = vec![lenet5()];
    models.extend((0..10).flat_map(random_networks).map(|(_, model)| model));
    for model in &models {
        let workload = workload(model);
        for sram_kib in [0.01, 4.0, 1024.0] {
            let mut before = f64::INFINITY;
            for lanes in 1..=66 {
                let on = Accelerator {
                    lanes,
                    sram_kib,
                    ..Accelerator::default()
                };
                let cycles = cost(&workload, Format::Packed, &on, &node, None).cycles;
                assert!(cycles <= before, "{}: {lanes} lanes", workload.name);
                before = cycles;
            }
        }
    }
}

/// Sensitivity and sweep give what a cost with the changed number gives.
#[test]
fn sensitivity_changes_one_number_at_a_time() {
    let (workload, node) = (workload(&lenet5()), Node::by_name("45nm").unwrap());
    let on = lanes(16);
    let all = sensitivity(&workload, &on, &node, None);
    let base = cost(&workload, Format::Packed, &on, &node, None).energy;
    let of = |what: &str| &all.iter().find(|row| row.what == what).unwrap().points;
    let memory = of("energy of on-chip memory");
    near(memory[0].packed, base.total() - 0.5 * base.on_chip());
    near(memory[1].packed, base.total() + base.on_chip());
    let registers = of("energy of registers");
    near(registers[0].packed, base.total() - base.registers);
    near(registers[1].packed, base.total() + base.registers);
    // Weights fit: off-chip memory and the batch change nothing.
    for what in ["energy of off-chip memory", "batch"] {
        let points = of(what);
        near(points[0].packed, base.total());
        near(points[1].packed, base.total());
    }
    let swings: Vec<f64> = all.iter().map(|row| row.swing()).collect();
    assert!(swings.is_sorted_by(|a, b| a >= b), "{swings:?}");
    let sweep = sram_sweep(&workload, &[Format::Packed], &on, &node);
    let at = |kib: f64| sweep.iter().find(|(at, _)| *at == kib).unwrap().1[0];
    near(at(1024.0), base.total());
    // The cliff: 55 KiB of weights.
    assert!(at(32.0) > 1.2 * at(64.0), "{} {}", at(32.0), at(64.0));
    let plain = point(String::new(), &workload, &on, &node, None, false);
    near(plain.packed, base.total());
}
