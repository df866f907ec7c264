//! Quantisation methods beside an independent implementation, see `tests/files/quantisers/make.py`.

use gtc::quantiser::Quantiser;
use gtc::reference::{method_backward, method_forward};

#[derive(serde::Deserialize)]
struct Golden {
    quantiser: Quantiser,
    weights: Vec<f64>,
    start: [f64; 2],
    learned: [f64; 2],
    d_q: Vec<f64>,
    q: Vec<f64>,
    d_w: Vec<f64>,
    d_learned: [f64; 2],
}

fn assert_near(what: &str, got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let allowed = 1e-11 * (1.0 + want.abs());
        assert!(
            (got - want).abs() <= allowed,
            "{what} {i}: {got}, not {want}"
        );
    }
}

#[test]
fn every_method_agrees_with_automatic_differentiation() {
    let text = include_str!("../files/quantisers/golden.json");
    let records: Vec<Golden> = serde_json::from_str(text).unwrap();
    for golden in &records {
        let method = golden.quantiser.method().unwrap();
        let name = golden.quantiser.to_string();
        let weights = &golden.weights;
        assert_near(
            &format!("{name} start"),
            &method.start(weights),
            &golden.start,
        );
        let scales = method.scales(weights, golden.learned);
        let q = method_forward(&*method, weights, &scales);
        assert_near(&format!("{name} q"), &q, &golden.q);
        let zeros = vec![0.0; weights.len()];
        let gradients = [&golden.d_q[..], &zeros];
        let (d_w, d_learned) = method_backward(&*method, weights, &scales, gradients, 0.0);
        assert_near(&format!("{name} d_w"), &d_w, &golden.d_w);
        assert_near(&format!("{name} d_learned"), &d_learned, &golden.d_learned);
    }
    // All there are, but the one that has its own golden values.
    let mut known: Vec<Quantiser> = records.iter().map(|golden| golden.quantiser).collect();
    known.dedup();
    assert_eq!(known, Quantiser::all()[1..]);
}
