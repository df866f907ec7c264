//! Cases of Muon.

use super::{Case, Expected, Tolerance, noise};
use crate::kernels;
use crate::optimiser::{
    self, Muon, MuonLayer, MuonMemory, NEWTON_SCHULZ, Schedule, newton_schulz, unit_norm,
};
use crate::reference;

/// (stored outputs, inputs of an output): the smallest, more outputs than inputs, one of more spans than a workgroup
/// has threads.
const MATRICES: [[usize; 2]; 4] = [[4, 4], [20, 12], [8, 100], [64, 4_400]];
/// Floats before, between and behind the matrices.
const GAP: usize = 8;
const RATE: f64 = 0.05;

pub(super) fn cases() -> Vec<Case> {
    let mut groups: Vec<Vec<[usize; 2]>> = MATRICES.iter().map(|sides| vec![*sides]).collect();
    groups.push(MATRICES.to_vec());
    groups
        .into_iter()
        .flat_map(|sides| {
            [
                momentum(&sides),
                unit(&sides),
                polynomial(&sides),
                step(&sides),
            ]
        })
        .collect()
}

fn name(sides: &[[usize; 2]]) -> String {
    match sides {
        [[rows, columns]] => format!("{rows} x {columns}"),
        _ => format!("{} matrices", sides.len()),
    }
}

fn layers(sides: &[[usize; 2]]) -> Muon {
    let mut end = 0;
    let layer = |sides: &[usize; 2]| {
        let start = end + GAP;
        end = start + sides[0] * sides[1];
        MuonLayer {
            weights: start..end,
            rows: sides[0],
            norm: (sides[0] as f64).sqrt(),
        }
    };
    Muon {
        layers: sides.iter().map(layer).collect(),
    }
}

fn arena(muon: &Muon) -> usize {
    muon.layers[muon.layers.len() - 1].weights.end + GAP
}

fn squares(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum()
}

/// Sums of squares of updates and weights, as `momentum` leaves them: (spans, 4).
fn partial(muon: &Muon, weights: &[f64], updates: &[f64]) -> Vec<f64> {
    let spans = muon.spans().into_iter();
    spans
        .flat_map(|[first, count, _, update]| {
            let of = |values: &[f64], first: usize| squares(&values[4 * first..][..4 * count]);
            [of(updates, update), of(weights, first), 0.0, 0.0]
        })
        .collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}

const NEAR: Tolerance = Tolerance {
    absolute: 1e-6,
    relative: 1e-5,
};

fn momentum(sides: &[[usize; 2]]) -> Case {
    let muon = layers(sides);
    let known = muon.clone();
    let (floats, updates) = (arena(&muon), muon.updates());
    let spans = muon.spans().len();
    Case {
        kernel: &kernels::MOMENTUM,
        name: name(sides),
        inputs: vec![noise("w", floats), noise("g", floats)],
        input_shapes: vec![vec![floats]; 2],
        output_shapes: vec![vec![floats], vec![updates], vec![spans, 4]],
        initial: vec![Some(noise("m", floats)), None, None],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| {
            let memory = MuonMemory {
                updates: o[1].clone(),
                partial: o[2].clone(),
                ..MuonMemory::new(recording, &muon)
            };
            optimiser::momentum(recording, "case", &memory, [&i[0], &i[1]], &o[0]);
        }),
        expected: Box::new(move |i, before| {
            let mut new = before[0].clone();
            let mut updates = Vec::new();
            for layer in &known.layers {
                let at = layer.weights.clone();
                let [m, u] = reference::momentum(&i[1][at.clone()], &before[0][at.clone()]);
                new[at].copy_from_slice(&m);
                updates.extend(u);
            }
            let partial = partial(&known, &i[0], &updates);
            [new, updates, partial]
                .map(|values| Expected {
                    values,
                    tolerance: NEAR,
                })
                .into()
        }),
    }
}

fn unit(sides: &[[usize; 2]]) -> Case {
    let muon = layers(sides);
    let known = muon.clone();
    let updates = noise("u", muon.updates());
    let table = partial(&muon, &vec![0.0; arena(&muon)], &wide(&updates));
    Case {
        initial: vec![Some(updates.clone())],
        ..Case::new(
            &kernels::UNIT_NORM,
            name(sides),
            vec![(narrow(&table), vec![table.len() / 4, 4])],
            vec![vec![updates.len()]],
            Box::new(move |recording, i, o| {
                let memory = MuonMemory {
                    updates: o[0].clone(),
                    partial: i[0].clone(),
                    ..MuonMemory::new(recording, &muon)
                };
                unit_norm(recording, "case", &memory);
            }),
            Box::new(move |_, before| {
                let mut rest = &before[0][..];
                let mut values = Vec::new();
                for layer in &known.layers {
                    let (own, behind) = rest.split_at(layer.weights.len());
                    values.extend(reference::unit_norm(own));
                    rest = behind;
                }
                vec![Expected {
                    values,
                    tolerance: NEAR,
                }]
            }),
        )
    }
}

fn polynomial(sides: &[[usize; 2]]) -> Case {
    let muon = layers(sides);
    let floats = muon.grams();
    let rows: Vec<usize> = sides.iter().map(|sides| sides[0]).collect();
    let input = |label| (noise(label, floats), vec![floats]);
    Case::new(
        &kernels::NEWTON_SCHULZ,
        name(sides),
        vec![input("a"), input("aa")],
        vec![vec![floats]],
        Box::new(move |recording, i, o| {
            let memory = MuonMemory::new(recording, &muon);
            newton_schulz(recording, "case", &memory.gram_spans, [&i[0], &i[1]], &o[0]);
        }),
        Box::new(move |i, _| {
            let mut values = Vec::new();
            for rows in &rows {
                let own = values.len()..values.len() + rows * rows;
                values.extend(reference::newton_schulz(
                    &i[0][own.clone()],
                    &i[1][own],
                    *rows,
                ));
            }
            let size: f64 = NEWTON_SCHULZ.iter().map(|factor| factor.abs()).sum();
            vec![Expected {
                values,
                tolerance: Tolerance {
                    absolute: f64::from(f32::EPSILON) * size,
                    relative: 0.0,
                },
            }]
        }),
    )
}

fn step(sides: &[[usize; 2]]) -> Case {
    let muon = layers(sides);
    let known = muon.clone();
    let (weights, x) = (noise("w", arena(&muon)), noise("x", muon.updates()));
    let table = partial(&muon, &wide(&weights), &vec![0.0; x.len()]);
    let schedule = Schedule::default().with_muon_rate(RATE);
    Case {
        initial: vec![Some(weights.clone())],
        schedule,
        ..Case::new(
            &kernels::MUON,
            name(sides),
            vec![
                (narrow(&table), vec![table.len() / 4, 4]),
                (x.clone(), vec![x.len()]),
            ],
            vec![vec![weights.len()]],
            Box::new(move |recording, i, o| {
                let memory = MuonMemory {
                    partial: i[0].clone(),
                    ..MuonMemory::new(recording, &muon)
                };
                optimiser::muon(recording, "case", &memory, &i[1], &o[0]);
            }),
            Box::new(move |i, before| {
                let mut values = before[0].clone();
                let mut first = 0;
                for layer in &known.layers {
                    let at = layer.weights.clone();
                    let x = &i[1][first..first + at.len()];
                    let rate = f64::from(schedule.muon_rate);
                    let new = reference::muon(&before[0][at.clone()], x, layer.norm, rate);
                    values[at.clone()].copy_from_slice(&new);
                    first += at.len();
                }
                vec![Expected {
                    values,
                    tolerance: NEAR,
                }]
            }),
        )
    }
}
