//! Descriptions that do not fit are answered with an error that names the thing and, for a mistyped name, the nearest
//! one.

use crate::common::described::{AUTO_ENCODER, GOOD, changed, read, refuse};
use gtc::graph::{Description, MOST_TEXT, Model};

#[test]
fn mistyped_words_are_answered_with_the_nearest() {
    read(GOOD).unwrap();
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "op = \"max-pool\"",
            "op = \"maxpool\"",
            &["'pool'", "'maxpool'", "did you mean 'max-pool'"],
        ),
        (
            "op = \"relu\"",
            "op = \"rely\"",
            &["node 2", "'rely'", "did you mean 'relu'"],
        ),
        (
            "kernel = 3, padding = 1 }",
            "kernal = 3 }",
            &["'stem'", "conv", "'kernal'", "did you mean 'kernel'"],
        ),
        (
            "groups = 2",
            "group = 2",
            &["'deep'", "'group'", "did you mean 'groups'"],
        ),
        (
            "\"pool\"] }",
            "\"pol\"] }",
            &["'sum'", "'pol'", "did you mean 'pool'"],
        ),
        (
            "nodes =",
            "scaling = \"cifar\"\nnodes =",
            &["scaling", "'cifar'", "did you mean 'cifar10'"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"leaky-relu\", shft = 2 }",
            &["node 2", "'shft'", "did you mean 'shift'"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"relu\", size = 2 }",
            &["node 2", "'size'"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"norm\", size = 2 }",
            &["node 2", "norm", "'size'", "no settings"],
        ),
        (
            "name = \"mine\"",
            "name = \"mine\"\nsumary = \"x\"",
            &["line 3", "sumary", "summary"],
        ),
    ];
    for (from, to, words) in cases {
        refuse(&changed(GOOD, from, to), words);
    }
    refuse(
        &changed(AUTO_ENCODER, "bernoulli", "bernuli"),
        &["line 4", "bernuli", "bernoulli"],
    );
    refuse(
        &changed(AUTO_ENCODER, "likelihood", "likelyhood"),
        &["line 4", "likelyhood", "likelihood"],
    );
    let error = Model::by_name("resnet-20").unwrap_err().to_string();
    assert!(error.contains("did you mean 'resnet20'"), "{error}");
}

#[test]
fn settings_of_a_wrong_type_are_named() {
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "kernel = 3, padding = 1 }",
            "kernel = \"three\" }",
            &["'stem'", "kernel", "whole number"],
        ),
        (
            "kernel = 3, padding = 1 }",
            "kernel = [3, 3, 3] }",
            &["'stem'", "kernel", "whole number"],
        ),
        ("outputs = 10", "outputs = \"ten\"", &["'fc'", "outputs"]),
        ("outputs = 10", "outputs = 2.5", &["'fc'", "outputs"]),
        ("outputs = 10", "outputs = -10", &["'fc'", "outputs", "-10"]),
        ("outputs = 10", "outputs = 10, bias = 1", &["'fc'", "bias"]),
        ("size = 2", "size = -2", &["'pool'", "size"]),
        ("size = 2", "size = true", &["'pool'", "size"]),
        (", size = 2", "", &["'pool'", "size"]),
        (
            "outputs = 8, kernel = 3, padding = 1 }",
            "kernel = 3 }",
            &["'stem'", "outputs"],
        ),
        ("op = \"max-pool\"", "op = 3", &["'pool'", "op"]),
        ("op = \"max-pool\", ", "", &["'pool'", "op ="]),
        ("name = \"pool\"", "name = 3", &["node 3", "name"]),
        (
            "inputs = [\"deep\", \"pool\"]",
            "inputs = 3",
            &["'sum'", "inputs"],
        ),
        (
            "inputs = [\"deep\", \"pool\"]",
            "inputs = [\"deep\", 3]",
            &["'sum'", "inputs"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"leaky-relu\", shift = -1 }",
            &["node 2", "shift"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"dropout\", probability = \"half\" }",
            &["node 2", "probability"],
        ),
        ("[8, 8, 3]", "[8, 8]", &["input"]),
        ("[8, 8, 3]", "[8, 8, -3]", &["input"]),
        (
            "nodes =",
            "scaling = { mean = [0.0, 0.0], deviation = [1.0, 1.0, 1.0] }\nnodes =",
            &["scaling"],
        ),
        (
            "nodes =",
            "scaling = { mean = [0.0, 0.0, nan], deviation = [1.0, 1.0, 1.0] }\nnodes =",
            &["scaling"],
        ),
        (
            "nodes =",
            "scaling = { mean = [0.0, 0.0, 0.0], deviation = [1.0, 0.0, 1.0] }\nnodes =",
            &["scaling", "deviation"],
        ),
        (
            "nodes =",
            "scaling = { mean = [0.0, 0.0, 0.0], deviation = [1.0, inf, 1.0] }\nnodes =",
            &["scaling"],
        ),
        ("nodes =", "nods =", &["nods"]),
    ];
    for (from, to, words) in cases {
        refuse(&changed(GOOD, from, to), words);
    }
}

#[test]
fn graphs_that_are_none_are_refused() {
    let cases: &[(&str, &str, &[&str])] = &[
        // A cycle, and a node that reads itself.
        (
            "{ name = \"pool\", op = \"max-pool\", size = 2 }",
            "{ name = \"pool\", op = \"max-pool\", size = 2, inputs = \"deep\" }",
            &["cycle", "pool", "deep"],
        ),
        (
            "{ op = \"relu\" }",
            "{ name = \"self\", op = \"relu\", inputs = \"self\" }",
            &["cycle", "self"],
        ),
        (
            "name = \"deep\"",
            "name = \"stem\"",
            &["two nodes", "'stem'"],
        ),
        ("name = \"fc\"", "name = \"input\"", &["'input'"]),
        (
            "name = \"fc\"",
            "name = \"relu_1\"",
            &["two nodes", "'relu_1'"],
        ),
        (
            "inputs = [\"deep\", \"pool\"]",
            "inputs = [\"pool\", \"pool\"]",
            &["nobody reads", "'deep'"],
        ),
        (
            "inputs = [\"deep\", \"pool\"]",
            "inputs = []",
            &["'sum'", "add", "0"],
        ),
        (
            "inputs = [\"deep\", \"pool\"]",
            "inputs = \"deep\"",
            &["'sum'", "add", "1"],
        ),
        (
            "outputs = 10 }",
            "outputs = 10, inputs = [\"sum\", \"pool\"] }",
            &["'fc'", "dense", "one value", "2"],
        ),
        (
            "  { name = \"fc\", op = \"dense\", outputs = 10 },\n",
            "",
            &["last node", "dense"],
        ),
        ("name = \"mine\"", "name = \"\"", &["name", "''"]),
        ("name = \"mine\"", "name = \"a/../b\"", &["a/../b"]),
        ("name = \"stem\"", "name = \"\"", &["name", "''"]),
        ("name = \"stem\"", "name = \"a.b\"", &["'a.b'"]),
        ("name = \"stem\"", "name = \"a b\"", &["'a b'"]),
        ("name = \"stem\"", "name = \"a\\nb\"", &["name"]),
        (
            "kernel = 3, padding = 1 }",
            "kernel = 9 }",
            &["'stem'", "kernel", "9 x 9", "8 x 8"],
        ),
        (
            "kernel = 3, padding = 1 }",
            "kernel = 3, stride = 0 }",
            &["'stem'", "stride"],
        ),
        (
            "kernel = 3, padding = 1 }",
            "kernel = 0 }",
            &["'stem'", "kernel"],
        ),
        (
            "kernel = 3, padding = 1 }",
            "kernel = 3, padding = 3 }",
            &["'stem'", "padding", "3"],
        ),
        (
            "kernel = 3, padding = 1 }",
            "kernel = 3, groups = 0 }",
            &["'stem'", "groups"],
        ),
        ("groups = 2", "groups = 3", &["'deep'", "3 groups", "8"]),
        ("outputs = 10", "outputs = 0", &["'fc'", "outputs"]),
        ("size = 2", "size = 9", &["'pool'", "9 x 9", "8 x 8"]),
        ("size = 2", "size = 0", &["'pool'", "size"]),
        ("size = 2", "size = 2, stride = 0", &["'pool'", "stride"]),
        ("size = 2", "size = 2, padding = 2", &["'pool'", "padding"]),
        (
            "{ op = \"relu\" }",
            "{ op = \"dropout\", probability = 1 }",
            &["'dropout_1'", "probability 1"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"dropout\", probability = -0.5 }",
            &["'dropout_1'", "probability -0.5"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"dropout\", probability = nan }",
            &["'dropout_1'", "probability NaN"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"leaky-relu\", shift = 0 }",
            &["'leaky_relu_1'", "shift 0", "1 to 15"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"leaky-relu\", shift = 99 }",
            &["'leaky_relu_1'", "shift 99"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"relu6\", shift = 2 }",
            &["'relu6_1'", "shift"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"reshape\", height = 5, width = 5 }",
            &["'reshape_1'", "512 numbers", "5 x 5"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"reshape\", height = 0, width = 5 }",
            &["'reshape_1'"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"upsample\", size = 0 }",
            &["'upsample_1'", "size"],
        ),
        (
            "{ op = \"relu\" }",
            "{ op = \"flatten\" }",
            &["'pool'", "flattened", "512"],
        ),
        ("[8, 8, 3]", "[0, 8, 3]", &["image"]),
        ("[8, 8, 3]", "[8, 8, 0]", &["image"]),
        (
            "nodes =",
            "likelihood = \"bernoulli\"\nnodes =",
            &["likelihood", "latent"],
        ),
    ];
    for (from, to, words) in cases {
        refuse(&changed(GOOD, from, to), words);
    }
    let apart = changed(GOOD, "\"deep\", \"pool\"", "\"deep\", \"stem\", \"pool\"");
    refuse(&apart, &["'sum'", "4 x 4 x 8", "8 x 8 x 8"]);
    let joined = changed(&apart, "op = \"add\"", "op = \"concat\"");
    refuse(&joined, &["'sum'", "4 x 4 x 8", "8 x 8 x 8"]);
    refuse("name = \"x\"\ninput = [8, 8, 1]\nnodes = []", &["no nodes"]);
    refuse("name = \"x\"\ninput = [8, 8, 1]", &["nodes"]);
    refuse(
        "name = \"x\"\ninput = [8, 8, 1]\nnodes = [{ op = \"global-average-pool\" }]",
        &["no node has weights", "dense"],
    );
}

#[test]
fn auto_encoders_that_are_none_are_refused() {
    read(AUTO_ENCODER).unwrap();
    let latent = "{ name = \"sample\", op = \"latent\", size = 3 }";
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "likelihood = \"bernoulli\"\n",
            "",
            &["auto-encoder", "likelihood"],
        ),
        ("size = 3", "size = 4", &["'sample'", "4", "8", "6"]),
        ("size = 3", "size = 0", &["'sample'", "0"]),
        (latent, "{ op = \"relu\" }", &["likelihood", "latent"]),
        (
            "{ name = \"pixels\", op = \"dense\", outputs = 16 }",
            "{ name = \"around\", op = \"dense\", outputs = 3, inputs = \"posterior\" },\n{ name = \"both\", op = \"add\", inputs = [\"around\", \"sample\"] },\n{ op = \"dense\", outputs = 16 }",
            &["before the latent", "around"],
        ),
        (
            "{ name = \"pixels\", op = \"dense\", outputs = 16 }",
            "{ name = \"pixels\", op = \"dense\", outputs = 16, inputs = \"input\" }",
            &["sample"],
        ),
        ("outputs = 16", "outputs = 15", &["15", "4 x 4 x 1"]),
        (
            "  { name = \"pixels\", op = \"dense\", outputs = 16 },\n",
            "",
            &["decoder"],
        ),
        (
            latent,
            "{ name = \"sample\", op = \"latent\", size = 3 },\n{ op = \"dense\", outputs = 4 }, { name = \"again\", op = \"latent\", size = 2 }",
            &["one latent"],
        ),
    ];
    for (from, to, words) in cases {
        refuse(&changed(AUTO_ENCODER, from, to), words);
    }
}

#[test]
fn huge_numbers_are_refused() {
    let huge = [
        "1000000000000",
        "9223372036854775807",
        "4611686018427387904",
        "4294967296",
        "4294967297",
        "99999999999999999999999",
    ];
    for number in huge {
        for (from, to) in [
            ("kernel = 3, padding = 1 }", "kernel = HUGE }"),
            ("kernel = 3, padding = 1 }", "kernel = 3, padding = HUGE }"),
            (
                "kernel = 3, padding = 1 }",
                "kernel = [1, HUGE], padding = 0 }",
            ),
            ("kernel = 3, padding = 1 }", "kernel = 1, stride = HUGE }"),
            ("outputs = 10", "outputs = HUGE"),
            (
                "outputs = 8, kernel = 3, padding = 1 }",
                "outputs = HUGE, kernel = 3, padding = 1 }",
            ),
            ("groups = 2", "groups = HUGE"),
            ("size = 2", "size = HUGE"),
            ("size = 2", "size = 2, stride = HUGE"),
            ("size = 2", "size = 2, padding = HUGE"),
            ("{ op = \"relu\" }", "{ op = \"upsample\", size = HUGE }"),
            ("{ op = \"relu\" }", "{ op = \"leaky-relu\", shift = HUGE }"),
            (
                "{ op = \"relu\" }",
                "{ op = \"reshape\", height = HUGE, width = HUGE }",
            ),
            ("[8, 8, 3]", "[HUGE, 8, 3]"),
            ("[8, 8, 3]", "[HUGE, HUGE, HUGE]"),
            ("[8, 8, 3]", "[8, 8, HUGE]"),
        ] {
            refuse(&changed(GOOD, from, &to.replace("HUGE", number)), &[]);
        }
        refuse(
            &changed(AUTO_ENCODER, "size = 3", &format!("size = {number}")),
            &[],
        );
    }
    // A padding just smaller than the kernel, so that only the sizes themselves speak against them.
    for (kernel, padding) in [
        ("9223372036854775807", "9223372036854775806"),
        ("4611686018427387904", "4611686018427387903"),
        ("4294967296", "4294967295"),
        ("1048576", "1048575"),
    ] {
        let sizes = format!("kernel = {kernel}, padding = {padding}, stride = {kernel} }}");
        refuse(
            &changed(GOOD, "kernel = 3, padding = 1 }", &sizes),
            &["'stem'"],
        );
        let sizes = format!("size = {kernel}, padding = {padding}, stride = {kernel}");
        refuse(&changed(GOOD, "size = 2", &sizes), &["'pool'"]);
        let text = changed(GOOD, "op = \"max-pool\"", "op = \"average-pool\"");
        refuse(&changed(&text, "size = 2", &sizes), &["'pool'"]);
    }
    let image = r#"{"name":"x","input":[18446744073709551615,1,1],"nodes":[OP,{"op":"dense","outputs":2}]}"#;
    for op in [
        r#"{"op":"conv","outputs":1,"kernel":2,"padding":1}"#,
        r#"{"op":"max-pool","size":2,"padding":1}"#,
        r#"{"op":"reshape","height":2,"width":2}"#,
        r#"{"op":"flatten"}"#,
        r#"{"op":"global-average-pool"}"#,
    ] {
        for sizes in [
            "[18446744073709551615,1,1]",
            "[4294967296,4294967296,4294967296]",
            "[0,1,1]",
        ] {
            let text = image
                .replace("OP", op)
                .replace("[18446744073709551615,1,1]", sizes);
            let description: Description = serde_json::from_str(&text).unwrap();
            let error = description.model(None).unwrap_err().to_string();
            assert!(error.contains("image"), "{error}: {text}");
        }
    }
    // Two large layers whose weights only together are too many.
    let wide = changed(
        GOOD,
        "outputs = 10 }",
        "outputs = 1000000 }, { op = \"dense\", outputs = 1000 }, { op = \"dense\", outputs = 1000000 }, { op = \"dense\", outputs = 2 }",
    );
    refuse(&wide, &["dense", "weights"]);
}

#[test]
fn long_texts_are_refused() {
    let long = format!("{GOOD}\n# {}", "x".repeat(10 << 20));
    refuse(&long, &["bytes", &MOST_TEXT.to_string()]);
    let mut nodes = String::new();
    for _ in 0..5000 {
        nodes.push_str("{ op = \"relu\" },");
    }
    let many = changed(GOOD, "{ op = \"relu\" },", &nodes);
    refuse(&many, &["5005 nodes", "4096"]);
    // As many as are allowed, each behind the one that it reads, in the worst order of the text.
    let mut text = "name = \"x\"\ninput = [1, 1, 4]\nnodes = [{ name = \"last\", op = \"dense\", outputs = 2, inputs = \"n0\" },".to_owned();
    for number in 0..4094 {
        let next = number + 1;
        text.push_str(&format!(
            "{{ name = \"n{number}\", op = \"relu\", inputs = \"n{next}\" }},"
        ));
    }
    text.push_str("{ name = \"n4094\", op = \"relu\", inputs = \"input\" }]");
    let model = read(&text).unwrap();
    assert_eq!(model.graph.nodes.len(), 4096);
    assert_eq!(read(&model.to_toml()).unwrap(), model);
    let deep = format!(
        "name = \"x\"\ninput = {}1{}",
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    refuse(&deep, &[]);
    let name = changed(GOOD, "\"stem\"", &format!("\"{}\"", "n".repeat(100_000)));
    refuse(&name, &["names have"]);
    let reads = format!("inputs = [{}]", "\"deep\",".repeat(100_000));
    let sums = changed(GOOD, "inputs = [\"deep\", \"pool\"]", &reads);
    drop(read(&sums));
}

#[test]
fn syntax_errors_come_with_their_line() {
    refuse(
        &changed(GOOD, "{ op = \"relu\" }", "{ op = \"relu }"),
        &["line "],
    );
    refuse(&changed(GOOD, "size = 2 }", "size = 2"), &["line "]);
    refuse(
        &changed(GOOD, "input = [8, 8, 3]", "input = [8, 8, 3"),
        &["line "],
    );
    refuse("name = \"x\"\nname = \"y\"", &["line 2"]);
    refuse("\u{0}\u{7f}", &["line 1"]);
    refuse("", &["name"]);
    let twice = changed(GOOD, "size = 2", "size = 2, size = 3");
    refuse(&twice, &["line 7", "duplicate key"]);
}
