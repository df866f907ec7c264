//! The table of steps: its fields, and what stands in them.

use super::Options;
use super::hardware::{Hardware, bits};
use super::plan::{Micro, Plan, Work};

/// Clocks that a product whose pixels are narrow waits between two of them, so that a pool reads what was written.
const POOL_GAP: usize = 5;

impl Hardware {
    /// The fields of the table, and their widths.
    pub(super) fn widths(&self) -> Vec<(&'static str, usize)> {
        let of = |name: &str| self.parameters[name];
        let (address, place, kernel) = (of("ADDRESS"), of("PLACE"), of("KERNEL"));
        let (group, pool, act) = (of("GROUP"), of("POOL"), of("ACT"));
        vec![
            ("f_product", 1),
            ("f_final", 1),
            ("f_maximum", 1),
            ("f_leaky", 1),
            ("f_pooled", 1),
            ("f_has_low", 1),
            ("f_has_high", 1),
            ("f_zero", 1),
            ("f_bank", bits(self.banks.len().max(2) - 1)),
            ("f_low", act),
            ("f_high", act),
            ("f_up_first", of("UP")),
            ("f_up_second", of("UP")),
            ("f_base", address),
            ("f_delta_0", address),
            ("f_delta_1", address),
            ("f_delta_2", address),
            ("f_delta_3", address),
            ("f_delta_4", address),
            ("f_delta_5", address),
            ("f_weight", of("WEIGHT")),
            ("f_output", of("OUTPUT")),
            ("f_inner_end", of("INNER")),
            ("f_column_end", kernel),
            ("f_row_end", kernel),
            ("f_group_end", group),
            ("f_x_end", place),
            ("f_y_end", place),
            ("f_last_lanes_end", of("SPACE")),
            ("f_first_x", place + 1),
            ("f_first_y", place + 1),
            ("f_stride_x", kernel),
            ("f_stride_y", kernel),
            ("f_columns", place + 1),
            ("f_rows", place + 1),
            ("f_to", address),
            ("f_to_pixel", address),
            ("f_count_end", group),
            ("f_valid_end", group),
            ("f_pool_column_end", pool),
            ("f_pool_row_end", pool),
        ]
    }

    /// One row of the table. Numbers that may be negative are in two's complement of 128 bits.
    pub(super) fn row(
        &self,
        plan: &Plan<'_>,
        options: &Options,
        micro: &Micro,
        [output, weight, _, act]: [usize; 4],
    ) -> Vec<(&'static str, u128)> {
        let wrap = |v: i64| i128::from(v).cast_unsigned();
        let base = |place: usize| plan.places[place].base as i64;
        let mut strides = micro.strides;
        if let Some(second) = micro.second {
            strides[2] = base(second) - base(micro.from.0);
        }
        let mut deltas = [0; 6];
        let mut back = 0;
        for (i, delta) in deltas.iter_mut().enumerate() {
            *delta = strides[i] - back;
            back += strides[i] * (micro.counts[i] as i64 - 1);
        }
        let most = (1i64 << (act - 1)) - 1;
        let [low, high] = micro.limits.map(i64::from);
        let (has_low, has_high) = (low >= -most, high <= most);
        let counts = micro.counts.map(|n| n as u128 - 1);
        let product = matches!(micro.work, Work::Product { .. });
        let [written, valid] = micro.written;
        let (maximum, leaky, ups) = match micro.work {
            Work::Window {
                maximum,
                leaky,
                ups,
                ..
            } => (maximum, leaky, ups),
            Work::Product { .. } => (false, false, [0, 0]),
        };
        let pooled = micro.pool != [1, 1];
        let gap = match pooled && written < options.inputs + POOL_GAP {
            true => POOL_GAP,
            false => 0,
        };
        let last_lanes = match product {
            true => written - (micro.counts[3] - 1) * options.lanes - 1 + gap,
            false => 0,
        };
        let weights = self.weights[micro.step].as_ref().filter(|_| product);
        let bank = weights.map_or(0, |w| {
            self.banks
                .keys()
                .position(|bits| *bits == w.bits)
                .unwrap_or(0)
        });
        let image = micro
            .image
            .map(|sides| sides.map(|side| side as u128))
            .unwrap_or([u128::MAX; 2]);
        let to = micro.to.map_or([0, 0], |(place, offset)| {
            [plan.places[place].base + offset, plan.places[place].pixel]
        });
        let flag = |set: bool| u128::from(set);
        vec![
            ("f_product", flag(product)),
            ("f_final", flag(micro.to.is_none())),
            ("f_maximum", flag(maximum)),
            ("f_leaky", flag(leaky)),
            ("f_pooled", flag(pooled)),
            ("f_has_low", flag(has_low)),
            ("f_has_high", flag(has_high)),
            ("f_zero", flag(weights.is_some_and(|w| w.zero))),
            ("f_bank", bank as u128),
            ("f_low", if has_low { wrap(low) } else { 0 }),
            ("f_high", if has_high { wrap(high) } else { 0 }),
            ("f_up_first", ups[0].into()),
            ("f_up_second", ups[1].into()),
            ("f_base", wrap(base(micro.from.0) + micro.from.1)),
            ("f_delta_0", wrap(deltas[0])),
            ("f_delta_1", wrap(deltas[1])),
            ("f_delta_2", wrap(deltas[2])),
            ("f_delta_3", wrap(deltas[3])),
            ("f_delta_4", wrap(deltas[4])),
            ("f_delta_5", wrap(deltas[5])),
            ("f_weight", weight as u128),
            ("f_output", output as u128),
            ("f_inner_end", counts[0]),
            ("f_column_end", counts[1]),
            ("f_row_end", counts[2]),
            ("f_group_end", counts[3]),
            ("f_x_end", counts[4]),
            ("f_y_end", counts[5]),
            ("f_last_lanes_end", last_lanes as u128),
            (
                "f_first_x",
                wrap(if micro.image.is_some() {
                    micro.first[0]
                } else {
                    0
                }),
            ),
            (
                "f_first_y",
                wrap(if micro.image.is_some() {
                    micro.first[1]
                } else {
                    0
                }),
            ),
            (
                "f_stride_x",
                if micro.image.is_some() {
                    micro.apart[0] as u128
                } else {
                    0
                },
            ),
            (
                "f_stride_y",
                if micro.image.is_some() {
                    micro.apart[1] as u128
                } else {
                    0
                },
            ),
            ("f_columns", image[0]),
            ("f_rows", image[1]),
            ("f_to", to[0] as u128),
            ("f_to_pixel", to[1] as u128),
            ("f_count_end", written as u128 - 1),
            ("f_valid_end", valid as u128 - 1),
            ("f_pool_column_end", micro.pool[1] as u128 - 1),
            ("f_pool_row_end", micro.pool[0] as u128 - 1),
        ]
    }
}
