//! Numbers and sentences that the terminal and the report share.

use super::Results;
use crate::simulate::{Accelerator, Dataflow, Format};

/// A unit of energy that suits a page.
#[derive(Clone, Copy)]
pub(super) struct Unit {
    /// Its name.
    pub name: &'static str,
    /// pJ in it.
    pj: f64,
}

impl Unit {
    /// The one in which a number of pJ is easy to read.
    pub fn of(pj: f64) -> Self {
        let units = [("mJ", 1e9), ("µJ", 1e6), ("nJ", 1e3)];
        let found = units.into_iter().find(|(_, one)| pj >= 0.5 * one);
        let (name, pj) = found.unwrap_or(("pJ", 1.0));
        Self { name, pj }
    }

    /// A number of pJ in it.
    pub fn value(&self, pj: f64) -> f64 {
        pj / self.pj
    }

    /// The same in words.
    pub fn show(&self, pj: f64) -> String {
        significant(self.value(pj))
    }
}

/// A number with three digits that count, or all before the point.
pub(super) fn significant(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let decimals = (2 - value.abs().log10().floor() as i32).clamp(0, 6) as usize;
    format!("{value:.decimals$}")
}

/// A whole number in groups of three.
pub(super) fn count(value: u64) -> String {
    indicatif::HumanCount(value).to_string()
}

/// The accelerator in words.
pub(super) fn machine(on: &Accelerator) -> String {
    let elements = match on.dataflow {
        Dataflow::Lanes => format!("{} lanes", on.lanes),
        flow => format!("{} x {} array, {}", on.rows, on.columns, flow.name()),
    };
    let batch = match on.batch {
        1 => String::new(),
        batch => format!(", batch {batch}"),
    };
    format!(
        "{elements}, up to {} KiB each for weights and activations{batch}",
        on.sram_kib
    )
}

/// A part in percent: a small one with a decimal.
fn percent(part: f64) -> String {
    let decimals = usize::from(part.abs() < 0.1);
    format!("{:.decimals$} %", 100.0 * part)
}

/// What has to be said before any ratio: what powers of two gain over linear integers of the same bits, and where the energy
/// goes.
pub(super) fn control(results: &Results) -> Vec<String> {
    let [packed, same] = [Format::Packed, Format::SameBits].map(|format| results.of(format));
    let (mine, linear) = (packed.energy.total(), same.energy.total());
    let mut lines = Vec::new();
    if let Some([two, power]) = results.two_bits {
        lines.push(format!(
            "A multiply-accumulate with a linear weight of 2 bits takes {:.2} times that with a power of two of 2 bits \
             ({} and {} pJ, {}).",
            two / power,
            significant(two),
            significant(power),
            results.node.title
        ));
    }
    let signs = packed.layers.iter().filter(|layer| layer.weight_bits == 1);
    let signs = signs.map(|layer| layer.macs).sum::<u64>() as f64 / results.macs.max(1) as f64;
    let alike = match signs > 0.0 {
        true => format!(
            "; {} of its multiply-accumulates have weights of 1 bit, which are ±1 in both",
            percent(signs)
        ),
        false => String::new(),
    };
    lines.push(format!(
        "The whole network in linear integers of the same bits takes {:.3} times the energy of the packed one{alike}.",
        linear / mine
    ));
    let memory = packed.energy.on_chip() + packed.energy.off_chip;
    lines.push(format!(
        "Memories take {} of the packed network's energy.",
        percent(memory / mine)
    ));
    if let (Some(skipping), Some(activity), Some(on)) =
        (packed.skipping, &results.activity, &results.counted_on)
    {
        let (left_out, gain) = (1.0 - skipping.energy.total() / mine, 1.0 - mine / linear);
        let beside = match gain {
            gain if gain < 0.0 => format!("powers of two cost {} more than", percent(-gain)),
            gain => format!("powers of two save {} over", percent(gain)),
        };
        lines.push(format!(
            "{} of the multiply-accumulates meet an activation of zero ({on}). Leaving them out saves {}, as every format can; \
             {beside} linear integers of the same bits.",
            percent(activity.zero_share()),
            percent(left_out)
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits() {
        let shown = [0.0, 0.012345, 1.2345, 12.345, 123.45, 12345.6].map(significant);
        assert_eq!(shown, ["0", "0.0123", "1.23", "12.3", "123", "12346"]);
        assert_eq!(Unit::of(3e6).show(3.2e6), "3.20");
        assert_eq!(Unit::of(3e6).name, "µJ");
        assert_eq!(Unit::of(3.0).name, "pJ");
    }
}
