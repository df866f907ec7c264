//! The report's section about engines that were synthesised.

use std::fmt::{self, Write};

use super::Results;
use super::page::table;
use super::tables::{Unit, count, significant};
use crate::cli::output::escape;
use crate::simulate::Synthesis;

/// Results of synthesis beside what the model says of the same engines.
pub(super) fn section(page: &mut String, results: &Results) -> fmt::Result {
    if results.synthesis.is_empty() {
        return Ok(());
    }
    page.push_str(
        "<h2>As synthesised</h2><p>Area, clock and memories are results of synthesis; cycles are simulated, or else this \
         model's; the energy is this model's for an engine with as many lanes.</p>",
    );
    let shown = |value: Option<f64>| value.map_or("-".to_owned(), |v| count(v.round() as u64));
    let int8 = |lanes: u64, target: &Option<String>| {
        results.synthesis.iter().find(|other| {
            let other = &other.synthesis;
            other.engine == "int8" && other.lanes == lanes && other.target == *target
        })
    };
    let rows: Vec<Vec<String>> = results
        .synthesis
        .iter()
        .map(|joined| {
            let engine = &joined.synthesis;
            let area = |engine: &Synthesis| {
                let area = engine.cells_nand2.or(engine.luts);
                area.filter(|area| *area > 0.0)
            };
            let ratio = int8(engine.lanes, &engine.target)
                .and_then(|int8| Some(area(&int8.synthesis)? / area(engine)?));
            let rate = engine.mhz.map(|mhz| 1e6 * mhz / joined.cycles_of_image);
            let rate = rate.filter(|rate| rate.is_finite());
            vec![
                engine.engine.clone(),
                engine.target.clone().unwrap_or_default(),
                engine.lanes.to_string(),
                shown(engine.cells_nand2),
                shown(engine.luts),
                shown(engine.ffs),
                shown(engine.brams),
                shown(engine.memory_bits),
                engine.mhz.map_or("-".to_owned(), significant),
                rate.map_or("-".to_owned(), significant),
                joined.modelled_pj.map_or("-".to_owned(), |pj| {
                    let unit = Unit::of(pj);
                    format!("{} {}", unit.show(pj), unit.name)
                }),
                ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
            ]
        })
        .collect();
    table(
        page,
        &[
            "engine",
            "target",
            "lanes",
            "NAND2",
            "LUTs",
            "flip-flops",
            "block RAMs",
            "weight memory, bits",
            "MHz",
            "images/s",
            "energy, model",
            "int8 area / this",
        ],
        &rows,
    )?;
    price_of_a_bit(page, results)?;
    let mut tools: Vec<String> = results
        .synthesis
        .iter()
        .flat_map(|joined| &joined.synthesis.tools)
        .map(|(tool, version)| format!("{tool} {version}"))
        .collect();
    tools.sort();
    tools.dedup();
    if !tools.is_empty() {
        write!(page, "<p>Tools: {}.</p>", escape(&tools.join(", ")))?;
    }
    Ok(())
}

/// What one bit of a weight costs, from engines with multipliers of different widths.
fn price_of_a_bit(page: &mut String, results: &Results) -> fmt::Result {
    let mut linear: Vec<(u32, u64, &Option<String>, f64)> = results
        .synthesis
        .iter()
        .filter_map(|joined| {
            let engine = &joined.synthesis;
            let bits = engine.linear_bits()?;
            Some((bits, engine.lanes, &engine.target, engine.cells_nand2?))
        })
        .collect();
    linear.sort_by_key(|engine| engine.0);
    for (i, (bits, lanes, target, area)) in linear.iter().enumerate() {
        let next = linear[i + 1..]
            .iter()
            .find(|next| next.1 == *lanes && next.2 == *target && next.0 > *bits);
        if let Some((wider, _, _, more)) = next {
            write!(
                page,
                "<p>One bit of a weight between {bits} and {wider} bits costs {} NAND2 a lane, and as many bits of memory as \
                 there are weights ({}).</p>",
                significant((more - area) / f64::from(wider - bits) / *lanes as f64),
                count(results.weights)
            )?;
        }
    }
    Ok(())
}
