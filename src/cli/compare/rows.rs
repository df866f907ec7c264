//! Results of a comparison: a row for each method, over all seeds.

use serde::Serialize;

use super::contenders::Contender;
use super::energy::energy;
use crate::cli::series::Finished;
use crate::cli::{CliError, human_bytes};
use crate::costs::{self, Costs};
use crate::model::Parameters;
use crate::pack::PackedSize;

/// What one run came to.
pub(super) struct Outcome {
    contender: Contender,
    seed: u64,
    /// Part of the test images that the network named rightly.
    accuracy: f64,
    costs: Costs,
    bytes: usize,
    /// Seconds of training alone.
    seconds: f64,
    /// µJ of an image.
    energy: f64,
}

/// One method.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    /// Its word.
    pub method: String,
    /// Seeds that have ended.
    pub seeds: Vec<u64>,
    /// Test accuracies in percent, by seed.
    pub accuracies: Vec<f64>,
    /// Their mean.
    pub accuracy: f64,
    /// Their standard deviation (of a sample); 0 of one.
    pub deviation: f64,
    /// Means over seeds.
    pub costs: Costs,
    /// Bytes of the packed file, or of one like it with 4 bytes for each factor; of a float network of its weights.
    pub bytes: f64,
    /// µJ of an image.
    pub energy: f64,
    /// Seconds of training.
    pub seconds: f64,
    /// Why it cannot be packed, if so.
    pub obstacle: Option<&'static str>,
    /// Whether no other method is as good with fewer bits a weight, or better with as many.
    pub on_front: bool,
    /// The same among those that can be packed.
    pub on_packed_front: bool,
}

impl Outcome {
    /// Of a finished run.
    pub fn of(contender: &Contender, seed: u64, run: &Finished) -> Result<Self, CliError> {
        let float = *contender == Contender::Float;
        let header = &run.checkpoint.header;
        let model = header.model()?;
        let arena = &run.checkpoint.snapshot.weights;
        let layers = costs::layers(&model, arena, float);
        let accuracy = match float {
            true => run.last.hp_accuracy,
            false => run.last.lp_accuracy,
        };
        let accuracy = accuracy.ok_or_else(|| {
            format!(
                "{} is an auto-encoder: only classifiers are compared",
                header.model
            )
        })?;
        let weights = Parameters::new(&model).weights();
        let factors = match contender {
            Contender::Method(_) if !contender.packs() => {
                layers.iter().filter(|l| l.quantised).count()
            }
            _ => 0,
        };
        let bits = layers
            .iter()
            .filter(|l| l.quantised)
            .map(|l| l.code_bits as u32);
        let in_float = layers.iter().filter(|l| !l.quantised);
        let bytes = match float {
            true => 4 * weights,
            false => {
                let floats: usize = in_float.map(|l| 4 * l.weights).sum();
                PackedSize::of(&model)?.bytes(bits) + 4 * factors + floats
            }
        };
        let images = f64::from(header.options.epochs) * header.images as f64;
        let epochs = run.speeds.len().max(1) as f64;
        let per_image = run.speeds.iter().map(|speed| 1.0 / speed).sum::<f64>() / epochs;
        Ok(Self {
            contender: *contender,
            seed,
            accuracy: 100.0 * accuracy,
            costs: costs::total(&layers),
            bytes,
            seconds: images * per_image,
            energy: energy(&model, contender, &layers)?,
        })
    }
}

/// Mean and standard deviation of a sample.
fn spread(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    let freedom = values.len().saturating_sub(1).max(1) as f64;
    (mean, (squares / freedom).sqrt())
}

impl Row {
    /// A row for each method of which a run has ended.
    pub fn all(contenders: &[Contender], results: &[Outcome]) -> Vec<Self> {
        let mut rows: Vec<Self> = Vec::new();
        for contender in contenders {
            let own: Vec<&Outcome> = results
                .iter()
                .filter(|r| r.contender == *contender)
                .collect();
            if own.is_empty() {
                continue;
            }
            let mean = |part: &dyn Fn(&Outcome) -> f64| {
                own.iter().map(|r| part(r)).sum::<f64>() / own.len() as f64
            };
            let whole =
                |part: &dyn Fn(&Costs) -> u64| mean(&|r| part(&r.costs) as f64).round() as u64;
            let accuracies: Vec<f64> = own.iter().map(|r| r.accuracy).collect();
            let (accuracy, deviation) = spread(&accuracies);
            rows.push(Self {
                method: contender.to_string(),
                seeds: own.iter().map(|r| r.seed).collect(),
                accuracies,
                accuracy,
                deviation,
                costs: Costs {
                    code_bits: mean(&|r| r.costs.code_bits),
                    entropy_bits: mean(&|r| r.costs.entropy_bits),
                    zeros: mean(&|r| r.costs.zeros),
                    weight_multiplications: whole(&|c| c.weight_multiplications),
                    scale_multiplications: whole(&|c| c.scale_multiplications),
                    additions: whole(&|c| c.additions),
                    shifts: whole(&|c| c.shifts),
                },
                bytes: mean(&|r| r.bytes as f64),
                energy: mean(&|r| r.energy),
                seconds: mean(&|r| r.seconds),
                obstacle: contender.obstacle(),
                on_front: false,
                on_packed_front: false,
            });
        }
        let points = |rows: &[Self], packed: bool| -> Vec<Option<(f64, f64)>> {
            let counts = |row: &Self| !packed || row.obstacle.is_none();
            let point = |row: &Self| counts(row).then_some((row.costs.code_bits, row.accuracy));
            rows.iter().map(point).collect()
        };
        let (all, packed) = (front(&points(&rows, false)), front(&points(&rows, true)));
        for (row, (all, packed)) in rows.iter_mut().zip(all.into_iter().zip(packed)) {
            (row.on_front, row.on_packed_front) = (all, packed);
        }
        rows
    }
}

/// Which points (cost, gain) no other one dominates: none costs less and gains as much, or gains more and costs as much.
/// Those that are `None` do not take part.
fn front(points: &[Option<(f64, f64)>]) -> Vec<bool> {
    let beats = |a: (f64, f64), b: (f64, f64)| a.0 <= b.0 && a.1 >= b.1 && a != b;
    let others = || points.iter().flatten();
    points
        .iter()
        .map(|point| point.is_some_and(|point| !others().any(|other| beats(*other, point))))
        .collect()
}

/// Millions or thousands.
fn short(count: u64) -> String {
    match count {
        0 => "0".to_owned(),
        1..10_000 => count.to_string(),
        10_000..1_000_000 => format!("{:.0} k", count as f64 / 1e3),
        _ => format!("{:.2} M", count as f64 / 1e6),
    }
}

/// The columns of a row after its method.
pub(super) fn cells(row: &Row) -> Vec<String> {
    let accuracy = match row.seeds.len() {
        1 => format!("{:.2}", row.accuracy),
        _ => format!("{:.2} ± {:.2}", row.accuracy, row.deviation),
    };
    let c = &row.costs;
    vec![
        accuracy,
        format!("{:.2}", c.code_bits),
        format!("{:.2}", c.entropy_bits),
        human_bytes(row.bytes.round() as u64),
        format!("{:.0} %", 100.0 * c.zeros),
        short(c.weight_multiplications),
        short(c.scale_multiplications),
        short(c.additions),
        short(c.shifts),
        row.obstacle
            .map_or("yes".to_owned(), |why| format!("no: {why}")),
        match (row.on_front, row.on_packed_front) {
            (true, true) => "both",
            (true, false) => "all",
            (false, true) => "packed",
            (false, false) => "",
        }
        .to_owned(),
        format!("{:.3}", row.energy),
        format!("{:.0}", row.seconds),
    ]
}

/// What the columns are.
pub(super) const HEADS: [&str; 14] = [
    "method",
    "accuracy, %",
    "bits a weight",
    "entropy",
    "file",
    "zeros",
    "multiplications by weights",
    "by factors",
    "additions",
    "shifts",
    "packs",
    "on the front",
    "µJ an image",
    "training, s",
];

/// A Markdown table.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "| {} |\n|{}\n",
        HEADS.join(" | "),
        "---|".repeat(HEADS.len())
    );
    for row in rows {
        text += &format!("| {} | {} |\n", row.method, cells(row).join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_holds_what_nothing_dominates() {
        let points = [
            (1.0, 90.0),
            (2.0, 89.0),
            (2.0, 95.0),
            (3.0, 95.0),
            (4.0, 96.0),
        ];
        let all: Vec<_> = points.iter().copied().map(Some).collect();
        assert_eq!(front(&all), [true, false, true, false, true]);
        let some = [None, all[1], None, all[3], None];
        assert_eq!(front(&some), [false, true, false, true, false]);
    }

    #[test]
    fn the_deviation_is_that_of_a_sample() {
        assert_eq!(spread(&[1.0, 2.0, 3.0]), (2.0, 1.0));
        assert_eq!(spread(&[5.0]), (5.0, 0.0));
    }
}
