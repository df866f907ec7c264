//! Scales that a network may have: of weights where they are free, and of pixels.

use super::*;

/// The scale of weights before a normalisation, and between layers without one, is free.
#[test]
fn the_scale_of_weights_changes_nothing() {
    for exponent in [-6, -3, -1, 1, 3, 6] {
        let factor = 10f64.powi(exponent);
        let mut tensors = mine().tensors.clone();
        let times = |values: &mut [f32], factor: f64| {
            values
                .iter_mut()
                .for_each(|v| *v = (f64::from(*v) * factor) as f32);
        };
        let old = tensors["conv1_norm.running_var"].1.clone();
        times(&mut tensors.get_mut("conv1.weight").unwrap().1, factor);
        times(
            &mut tensors.get_mut("conv1_norm.running_mean").unwrap().1,
            factor,
        );
        times(
            &mut tensors.get_mut("conv1_norm.running_var").unwrap().1,
            factor * factor,
        );
        // The constant under the root does not scale; gamma makes up for it, so that the network is the same.
        let new = tensors["conv1_norm.running_var"].1.clone();
        let gamma = &mut tensors.get_mut("conv1_norm.weight").unwrap().1;
        for (gamma, (old, new)) in gamma.iter_mut().zip(old.iter().zip(&new)) {
            let deviation = |variance: f32| (f64::from(variance) + 1e-5).sqrt();
            *gamma = (f64::from(*gamma) * deviation(*new) / deviation(*old) / factor) as f32;
        }
        // Between two layers with a ReLU alone.
        times(&mut tensors.get_mut("conv2.weight").unwrap().1, factor);
        times(&mut tensors.get_mut("conv2.bias").unwrap().1, factor);
        times(
            &mut tensors.get_mut("conv3.weight").unwrap().1,
            1.0 / factor,
        );
        let report = Foreign::new(&write(&tensors, Dtype::F32)).report(&[]);
        for key in ["float_accuracy", "lp_accuracy"] {
            let [found, wanted] = [&report, &mine().report].map(|r| r[key].as_f64().unwrap());
            assert!(
                (found - wanted).abs() <= 0.01,
                "10^{exponent}, {key}: {found}, {wanted}"
            );
        }
        let layers = report["layers"].as_array().unwrap();
        let wanted = mine().report["layers"].as_array().unwrap();
        for (layer, wanted) in layers.iter().zip(wanted) {
            let error = |layer: &Value| layer["relative_squared_error"].as_f64().unwrap();
            assert!(
                (error(layer) - error(wanted)).abs() < 0.02,
                "10^{exponent}: {layer} {wanted}"
            );
        }
    }
}

/// Training, too, begins with weights of an ordinary size.
#[test]
fn training_goes_on_from_weights_of_any_scale() {
    let mine = mine();
    let file = format!("{}/model.safetensors", mine.run);
    let mut checkpoint = checkpoint::load(file.as_ref()).unwrap();
    let model = checkpoint.header.model().unwrap();
    let parameters = gtc::model::Parameters::new(&model);
    let times = |name: &str, factor: f32, weights: &mut [f32]| {
        let layer = parameters.layers.iter().find(|l| l.name == name).unwrap();
        let scale = |values: Vec<f32>| values.into_iter().map(|v| v * factor).collect::<Vec<f32>>();
        let mut values = layer.values(weights);
        values.weights = scale(values.weights);
        if name == "conv2" {
            values.bias = scale(values.bias);
        }
        layer.place(weights, &values);
    };
    times("conv2", 1e7, &mut checkpoint.snapshot.weights);
    times("conv3", 1e-7, &mut checkpoint.snapshot.weights);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(
        at("far.safetensors"),
        checkpoint::encode(&checkpoint).unwrap(),
    )
    .unwrap();
    let train = [
        "train",
        &mine.description,
        "--data",
        &mine.data,
        "--epochs",
        "1",
        "--batch-size",
        "20",
        // Too small to learn again what rescaling should have kept.
        "--learning-rate",
        "1e-9",
    ];
    let (far, out) = (at("far.safetensors"), at("run"));
    let (code, _, stderr) = run(&[&train[..], &["--from", &far, "--out", &out]].concat());
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("of another size"), "{stderr}");
    let found = json(&["eval", &out, "--json"]);
    let wanted = mine.report["float_accuracy"].as_f64().unwrap();
    assert!(
        found["lp_accuracy"].as_f64().unwrap() > wanted - 0.05,
        "{found}"
    );
}

#[test]
fn the_scaling_of_pixels_is_found_out_and_not_guessed() {
    // Trained on pixels from 0 to 255.
    let mut tensors = mine().tensors.clone();
    let weights = &mut tensors.get_mut("conv1.weight").unwrap().1;
    weights.iter_mut().for_each(|w| *w /= 255.0);
    let theirs = Foreign::new(&write(&tensors, Dtype::F32));
    theirs.refused(&[], &["--range 0..255", "--range 0..1", "other pixels"]);
    // What was imported is named, but may be meant so.
    let (imported, out) = (
        theirs.at("imported.safetensors"),
        theirs.at("out.safetensors"),
    );
    let file = theirs.at("theirs.safetensors");
    succeed(&[
        "import",
        &file,
        "--model",
        &mine().description,
        "-o",
        &imported,
    ]);
    let quantise = [
        "quantise",
        &imported,
        "-o",
        &out,
        "--bits",
        "3",
        "--data",
        &mine().data,
    ];
    let (code, _, stderr) = run(&quantise);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("Import it again and say"), "{stderr}");
    let accuracy = |report: Value| report["float_accuracy"].as_f64().unwrap();
    let wanted = mine().report["float_accuracy"].as_f64().unwrap();
    let found = accuracy(theirs.report(&["--range", "0..255"]));
    assert!((found - wanted).abs() <= 0.01, "{found}");
    let numbers = ["--mean", "0", "--deviation", "0.00392156862745098"];
    let found = accuracy(theirs.report(&numbers));
    assert!((found - wanted).abs() <= 0.01, "{found}");
    // Who insists is told, and gets what they want.
    assert!(accuracy(theirs.report(&["--range", "0..1"])) < wanted);
    fs::remove_file(theirs.at("out.safetensors")).unwrap();
    for (flags, word) in [
        (&["--range", "1..0"][..], "--range"),
        (&["--range", "x"], "--range"),
        (&["--mean", "1,2"], "one or three"),
        (&["--deviation", "0"], "above zero"),
        (&["--range", "0..255", "--expect", "100.9"], "were expected"),
    ] {
        theirs.refused(flags, &[word]);
    }
    // A model of this program knows how it reads pixels.
    let out = theirs.at("out.safetensors");
    refuse(
        &["quantise", &mine().run, "-o", &out, "--range", "0..1"],
        &["which knows"],
    );
}
