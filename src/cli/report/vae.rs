//! The parts of a report that only auto-encoders have: what they draw, and where images lie.

use std::fmt::Write;

use base64::Engine;

use crate::cli::CliError;
use crate::cli::output::escape;
use crate::cli::run_folder::EpochMetrics;

/// Steps of the power iteration: latents have few dimensions.
const ITERATIONS: usize = 200;

/// Pictures and places for a report.
pub(crate) struct AutoEncoderPage {
    /// Epochs and PNG files with samples of HP and LP from the same noise.
    pub samples: Vec<(u32, Vec<u8>)>,
    /// A PNG file with test images and their reconstructions.
    pub reconstructions: Vec<u8>,
    /// The network that places test images: LP, once it has learned.
    pub network: &'static str,
    /// Means of its posteriors of them.
    pub means: Vec<Vec<f32>>,
    /// Their classes.
    pub labels: Vec<u16>,
    /// Names of the classes.
    pub classes: Vec<String>,
}

/// Tiles with the last evidence lower bounds; `weights` are LP's.
pub(super) fn tiles(last: &EpochMetrics, weights: &str) -> Vec<(String, String)> {
    let lp = last.lp_loss.map(|loss| {
        let what = format!("nats: test -ELBO with {weights} (LP)");
        (format!("{loss:.1}"), what)
    });
    let hp = last.hp_loss.map(|loss| {
        let what = match lp {
            Some(_) => "nats with floats (HP)",
            None => "nats: test -ELBO with floats (HP)",
        };
        (format!("{loss:.1}"), what.to_owned())
    });
    lp.into_iter().chain(hp).collect()
}

/// The sections after the curves.
///
/// # Errors
/// None but those of writing text.
pub(super) fn sections(page: &mut String, data: &AutoEncoderPage) -> Result<(), CliError> {
    if !data.samples.is_empty() {
        page.push_str(
            "<h2>What it draws</h2><p>Samples of each network that had learned, from the same noise.</p>",
        );
    }
    for (epoch, png) in &data.samples {
        picture(page, &format!("after epoch {epoch}"), png)?;
    }
    page.push_str("<h2>What it keeps</h2><p>Test images, and what the network makes of them.</p>");
    picture(page, "reconstructions", &data.reconstructions)?;
    write!(
        page,
        "<h2>Where images lie</h2><p>Means of {}'s posteriors of test images along their two \
         principal components, coloured by class.</p>",
        data.network
    )?;
    scatter(page, data)
}

fn picture(page: &mut String, caption: &str, png: &[u8]) -> Result<(), CliError> {
    let text = base64::engine::general_purpose::STANDARD.encode(png);
    write!(
        page,
        "<figure style=\"margin-bottom:1rem\"><figcaption>{caption}</figcaption><img alt=\"{caption}\" \
         style=\"max-width:100%;image-rendering:pixelated\" src=\"data:image/png;base64,{text}\"></figure>"
    )?;
    Ok(())
}

/// Coordinates along the two directions of largest variance, by power iteration with deflation.
pub(super) fn principal_components(points: &[Vec<f32>]) -> Vec<[f64; 2]> {
    let count = points.len().max(1) as f64;
    let size = points.first().map_or(0, Vec::len);
    let mean: Vec<f64> = (0..size)
        .map(|k| points.iter().map(|p| f64::from(p[k])).sum::<f64>() / count)
        .collect();
    let mut left: Vec<Vec<f64>> = points
        .iter()
        .map(|p| {
            p.iter()
                .zip(&mean)
                .map(|(v, m)| f64::from(*v) - m)
                .collect()
        })
        .collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let mut found = vec![[0.0; 2]; points.len()];
    for axis in 0..2 {
        let mut direction: Vec<f64> = (0..size).map(|k| 1.0 / (1.0 + k as f64)).collect();
        for _ in 0..ITERATIONS {
            let mut next = vec![0.0; size];
            for p in &left {
                let along = dot(p, &direction);
                next.iter_mut().zip(p).for_each(|(n, v)| *n += along * v);
            }
            let length = dot(&next, &next).sqrt();
            if length == 0.0 {
                break;
            }
            direction = next.iter().map(|v| v / length).collect();
        }
        for (p, place) in left.iter_mut().zip(&mut found) {
            let along = dot(p, &direction);
            place[axis] = along;
            p.iter_mut()
                .zip(&direction)
                .for_each(|(v, d)| *v -= along * d);
        }
    }
    found
}

fn scatter(page: &mut String, data: &AutoEncoderPage) -> Result<(), CliError> {
    let points = principal_components(&data.means);
    let most = points
        .iter()
        .flatten()
        .fold(1e-9_f64, |m, v| m.max(v.abs()));
    let place = |v: f64| 300.0 + 280.0 * v / most;
    let classes = data.classes.len().max(1);
    let colour = |class: usize| format!("hsl({} 70% 50%)", 360 * class / classes);
    page.push_str("<figure><svg viewBox=\"0 0 600 600\" style=\"max-width:600px\" role=\"img\" aria-label=\"latent space\">");
    for (point, label) in points.iter().zip(&data.labels) {
        write!(
            page,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" style=\"fill:{}\" fill-opacity=\"0.7\"/>",
            place(point[0]),
            place(-point[1]),
            colour(usize::from(*label))
        )?;
    }
    page.push_str("</svg><div class=\"legend\">");
    for (class, name) in data.classes.iter().enumerate() {
        let name = escape(name);
        write!(page, "<span style=\"--c:{}\">{name}</span>", colour(class))?;
    }
    page.push_str("</div></figure>");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::principal_components;

    #[test]
    fn components_are_the_directions_of_largest_variance() {
        // Along (3, 4) / 5 with size 10, across it with size 1, and a mean.
        let points: Vec<Vec<f32>> = [(10.0, 0.0), (-10.0, 0.0), (0.0, 1.0), (0.0, -1.0)]
            .iter()
            .map(|(a, b)| vec![7.0 + 0.6 * a - 0.8 * b, -2.0 + 0.8 * a + 0.6 * b])
            .collect();
        let found = principal_components(&points);
        let size = |p: [f64; 2]| [p[0].abs(), p[1].abs()];
        for (place, want) in found
            .iter()
            .zip([[10.0, 0.0], [10.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        {
            let got = size(*place);
            assert!(
                (got[0] - want[0]).abs() < 1e-4 && (got[1] - want[1]).abs() < 1e-4,
                "{got:?}"
            );
        }
    }
}
