//! What a newcomer sees: `gtc train` with nothing else must learn the embedded digits.

use crate::common::succeed;

#[test]
fn the_default_run_learns_digits_with_few_levels() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run").display().to_string();
    succeed(&["train", "--out", &out]);
    let document =
        |args: &[&str]| -> serde_json::Value { serde_json::from_str(&succeed(args)).unwrap() };
    let eval = document(&["eval", &out, "--json"]);
    let number = |key: &str| eval[key].as_f64().unwrap();
    let (hp, lp) = (number("hp_accuracy"), number("lp_accuracy"));
    assert!(lp >= 0.96, "LP {lp}");
    assert!(hp - lp <= 0.010, "HP {hp}, LP {lp}");
    let mean_bits = document(&["inspect", &out, "--json"])["mean_bits"]
        .as_f64()
        .unwrap();
    assert!(mean_bits <= 3.0, "{mean_bits} bits");
}
