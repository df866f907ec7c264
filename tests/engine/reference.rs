//! The reference's gradients against finite differences of its forward functions, away from the
//! kinks of ReLU, max and round; its quantiser against the golden values.

use gtc::loss::Lesson;
use gtc::op::{self, Activate, GroupShape, WindowShape};
use gtc::op::{ConvShape, PoolShape, UpsampleShape};
use gtc::reference as r;
use gtc::rng::Philox;
use gtc::verify::GoldenLayer;

fn noise(seed: u64, count: usize) -> Vec<f64> {
    let mut rng = Philox::new(seed, 7);
    (0..count).map(|_| 2.0 * rng.uniform() - 1.0).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Compares `gradient` with central differences of `f` at `x`, one number after another.
fn check(what: &str, x: &[f64], gradient: &[f64], f: impl Fn(&[f64]) -> f64) {
    assert_eq!(x.len(), gradient.len(), "{what}");
    let step = 1e-5;
    for i in 0..x.len() {
        let at = |delta: f64| {
            let mut moved = x.to_vec();
            moved[i] += delta;
            f(&moved)
        };
        let difference = (at(step) - at(-step)) / (2.0 * step);
        let error = (difference - gradient[i]).abs();
        assert!(
            error < 1e-6 * (1.0 + gradient[i].abs()),
            "{what}[{i}]: {} but {difference}",
            gradient[i]
        );
    }
}

#[test]
fn convolution_gradients_are_those_of_its_forward() {
    for (stride, padding) in [
        (1, [0, 0]),
        (1, [1, 1]),
        (2, [1, 1]),
        (3, [2, 2]),
        (2, [0, 1]),
        (1, [2, 0]),
    ] {
        let shape = ConvShape {
            batch: 2,
            input_height: 5,
            input_width: 4,
            input_channels: 3,
            output_channels: 2,
            kernel_height: 3,
            kernel_width: 2,
            stride,
            padding,
        };
        let len = |s: [usize; 4]| s.iter().product::<usize>();
        let (x, w) = (noise(1, len(shape.x())), noise(2, len(shape.w())));
        let bias = noise(3, shape.w()[0]);
        let g = noise(4, len(shape.y()));
        let loss =
            |x: &[f64], w: &[f64], b: &[f64]| dot(&g, &r::conv_forward(&shape, x, w, b, false));
        check("d_x", &x, &r::conv_backward_input(&shape, &g, &w), |x| {
            loss(x, &w, &bias)
        });
        check("d_w", &w, &r::conv_backward_weight(&shape, &g, &x), |w| {
            loss(&x, w, &bias)
        });
        check("d_bias", &bias, &r::bias_backward(&g, bias.len()), |b| {
            loss(&x, &w, b)
        });
    }
}

#[test]
fn relu_and_max_pool_pass_the_gradient_they_should() {
    let shape = PoolShape {
        batch: 1,
        input_height: 5,
        input_width: 4,
        channels: 4,
        size: 2,
    };
    let x = noise(5, 80);
    let g = noise(6, r::max_pool_forward(&shape, &x).len());
    check(
        "pool",
        &x,
        &r::max_pool_backward(&shape, &x, &g, false),
        |x| dot(&g, &r::max_pool_forward(&shape, x)),
    );
    let relu = |x: &[f64]| x.iter().map(|v| v.max(0.0)).collect::<Vec<f64>>();
    let fused = r::max_pool_backward(&shape, &relu(&x), &g, true);
    check("ReLU and pool", &x, &fused, |x| {
        dot(&g, &r::max_pool_forward(&shape, &relu(x)))
    });
    let g = noise(7, 80);
    check("ReLU", &x, &r::relu_backward(&relu(&x), &g), |x| {
        dot(&g, &relu(x))
    });
}

#[test]
fn normalisation_gradients_are_those_of_its_forward() {
    let (rows, channels) = (9, 4);
    let x = noise(21, rows * channels);
    let parameters: Vec<f64> = noise(22, 2 * channels);
    let g = noise(23, rows * channels);
    let running = vec![0.0; 2 * channels];
    for relu in [false, true] {
        let statistics = |x: &[f64], p: &[f64]| {
            let partial = r::norm_statistics(x, channels, 2);
            r::norm_combine(&partial, p, (rows, 2), false, &running)[0].clone()
        };
        let loss = |x: &[f64], p: &[f64]| dot(&g, &r::norm_forward(x, &statistics(x, p), relu));
        let found = statistics(&x, &parameters);
        let partial = r::norm_backward_sums(&x, &g, &found, relu, 3);
        let [sums, d_parameters] = r::norm_gradients(&partial, &found, 0.0);
        let d_x = r::norm_backward(&x, &g, &found, &sums, relu);
        check("d_x", &x, &d_x, |x| loss(x, &parameters));
        check("d_gamma, d_beta", &parameters, &d_parameters, |p| {
            loss(&x, p)
        });
    }
}

/// In LP the factor is 2^round(log2 |gamma / sigma|); with the ratio to the exact factor held
/// constant its gradients are those of a normalisation whose gamma is gamma times that ratio.
#[test]
fn rounded_normalisation_is_one_with_another_gamma() {
    let (rows, channels) = (9, 4);
    let x = noise(31, rows * channels);
    let parameters: Vec<f64> = noise(32, 2 * channels);
    let g = noise(33, rows * channels);
    let partial = r::norm_statistics(&x, channels, 1);
    let combine =
        |p: &[f64], round, running: &[f64]| r::norm_combine(&partial, p, (rows, 1), round, running);
    // The running variance of a network that has seen this batch for long.
    let mut running = vec![0.0; 2 * channels];
    for _ in 0..200 {
        running = combine(&parameters, true, &running)[1].clone();
    }
    let block = |p: &[f64], round| combine(p, round, &running)[0].clone();
    let rounded = block(&parameters, true);
    for factor in &rounded[2 * channels..3 * channels] {
        assert_eq!(
            factor.abs().log2().fract(),
            0.0,
            "{factor} is a power of two"
        );
    }
    let ratio = &rounded[3 * channels..4 * channels];
    let mut moved = parameters.clone();
    for c in 0..channels {
        // Half a power of two, and the 9/8 between the two ways to estimate a variance.
        assert!((0.65..1.42).contains(&ratio[c]), "{}", ratio[c]);
        moved[c] *= ratio[c];
    }
    let exact = block(&moved, false);
    let d_x = |s: &[f64]| {
        let partial = r::norm_backward_sums(&x, &g, s, true, 1);
        let [sums, d] = r::norm_gradients(&partial, s, 0.0);
        (r::norm_backward(&x, &g, s, &sums, true), d)
    };
    let ((a, d_a), (b, d_b)) = (d_x(&rounded), d_x(&exact));
    let near = |a: f64, b: f64| (a - b).abs() < 1e-12 * (1.0 + b.abs());
    assert!(a.iter().zip(&b).all(|(a, b)| near(*a, *b)));
    for c in 0..channels {
        assert!(near(d_a[c], ratio[c] * d_b[c]), "d_gamma {c}");
        assert!(near(d_a[channels + c], d_b[channels + c]), "d_beta {c}");
        // With λ_norm also that of ½ λ_norm (γ - γ')², γ' being where the ratio takes γ.
        let pulled = r::norm_gradients(&[], &rounded, 0.3)[1][c];
        assert!(near(pulled, 0.3 * (parameters[c] - moved[c])), "pull {c}");
    }
}

#[test]
fn cross_entropy_gradient_is_that_of_its_loss() {
    let (rows, width, classes) = (3, 8, 6);
    let logits = noise(8, rows * width);
    let mut labels = vec![0.0; rows * width];
    let mut targets = noise(9, rows * width);
    for row in 0..rows {
        labels[row * width + row] = 1.0;
        let t = &mut targets[row * width..(row + 1) * width];
        t.iter_mut()
            .enumerate()
            .for_each(|(c, v)| *v = if c < classes { v.abs() } else { 0.0 });
        let sum: f64 = t.iter().sum();
        t.iter_mut().for_each(|v| *v /= sum);
    }
    for (temperature, label_share) in [(1.0, 0.0), (4.0, 0.0), (0.5, 0.25)] {
        let lesson = Lesson {
            scale: 0.25,
            temperature,
            label_share,
        };
        let loss =
            |x: &[f64]| r::softmax_cross_entropy(x, &targets, &labels, width, classes, lesson);
        check("d_logits", &logits, &loss(&logits).d_logits, |x| {
            0.25 * loss(x).outcome.iter().step_by(4).sum::<f64>()
        });
    }
}

/// Where rounding is left out the quantiser is smooth: sgn(w) 2^(c + s log2(|w| + eps)). Its
/// straight-through gradient is that function's, with Q in the place of the unrounded value.
#[test]
fn straight_through_gradient_is_that_of_the_unrounded_quantiser() {
    let w: Vec<f64> = noise(10, 40)
        .iter()
        .map(|v| v * 0.2 + 0.3_f64.copysign(*v))
        .collect();
    let (c, s) = (-0.7, 0.6);
    let g = noise(11, 40);
    let smooth = |w: f64, c: f64, s: f64| w.signum() * (c + s * r::log2_size(w)).exp2();
    let q = r::quantiser_forward(&w, c, s);
    let (d_w, [d_c, d_s]) = r::quantiser_backward(&w, [c, s], &g, &[0.0; 40], [0.0, 0.0], false);
    let h = 1e-6;
    let (mut sum_c, mut sum_s) = (0.0, 0.0);
    for i in 0..w.len() {
        let ratio = g[i] * q[i] / smooth(w[i], c, s);
        let slope = |a: f64, b: f64| (a - b) / (2.0 * h) * ratio;
        let d = slope(smooth(w[i] + h, c, s), smooth(w[i] - h, c, s));
        assert!((d - d_w[i]).abs() < 1e-6, "{d} {}", d_w[i]);
        sum_c += slope(smooth(w[i], c + h, s), smooth(w[i], c - h, s));
        sum_s += slope(smooth(w[i], c, s + h), smooth(w[i], c, s - h));
    }
    assert!((sum_c - d_c).abs() < 1e-6 && (sum_s - d_s).abs() < 1e-6);
}

#[test]
fn the_reference_matches_the_golden_values() {
    let text = include_str!("../../assets/golden/quantiser.json");
    let layers: Vec<GoldenLayer> = serde_json::from_str(text).unwrap();
    for layer in &layers {
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * (1.0 + b.abs());
        let (c, s) = (layer.intercept, layer.slope);
        assert_eq!(r::quantiser_forward(&layer.weights, c, s), layer.quantised);
        let levels = r::levels(&layer.weights, c, s);
        assert_eq!((levels.bits, levels.bit_loss), (layer.bits, layer.bit_loss));
        assert!(near(levels.d_slope, layer.bit_grad_slope));
        let zero = vec![0.0; layer.weights.len()];
        let (plain, sums) = r::quantiser_backward(
            &layer.weights,
            [c, s],
            &layer.upstream,
            &zero,
            [0.0; 2],
            false,
        );
        let (bits, _) =
            r::quantiser_backward(&layer.weights, [c, s], &zero, &zero, [1.0, 0.0], false);
        for i in 0..zero.len() {
            assert!(near(plain[i], layer.grad_weights[i]), "{i}");
            assert!(near(bits[i], layer.bit_grad_weights[i]), "{i}");
        }
        assert!(near(sums[0], layer.grad_intercept) && near(sums[1], layer.grad_slope));
    }
}

#[test]
fn upsampling_gradient_is_that_of_its_forward() {
    let shape = UpsampleShape {
        batch: 2,
        input_height: 2,
        input_width: 3,
        channels: 4,
        size: 2,
    };
    let (x, g) = (noise(41, 48), noise(42, 4 * 48));
    check("d_x", &x, &r::upsample_backward(&shape, &g), |x| {
        dot(&g, &r::upsample_forward(&shape, x))
    });
}

#[test]
fn sample_gradient_is_that_of_its_forward() {
    let (rows, latent, widths) = (3, 5, [12, 8]);
    let (q, eps) = (noise(43, rows * 12), noise(44, rows * 8));
    let g = noise(45, rows * 8);
    let zero = vec![0.0; q.len()];
    let d_q = r::reparameterise_backward([&q, &eps, &g, &zero], latent, widths);
    check("d_posterior", &q, &d_q, |q| {
        dot(&g, &r::reparameterise_forward(q, &eps, latent, widths))
    });
}

#[test]
fn divergence_gradients_are_those_of_the_divergence() {
    let (rows, latent, width) = (3, 5, 12);
    let (q, p) = (noise(46, rows * width), noise(47, rows * width));
    let counted = [1.0, 0.0, 1.0];
    for p in [None, Some(&p[..])] {
        let kl = |q: &[f64]| r::gaussian_kl(q, p, &counted, latent, width, [0.3, 0.7]);
        let total = |q: &[f64]| 0.3 * kl(q)[1].iter().step_by(4).sum::<f64>();
        check("d_q", &q, &kl(&q)[0], total);
    }
    // Against the integral of q log(q / p) over one dimension.
    let (m, v, n, w) = (0.3, -0.4, -0.5, 0.6);
    let [_, outcome] = r::gaussian_kl(&[m, v], Some(&[n, w]), &[1.0], 1, 2, [1.0; 2]);
    let log_density = |x: f64, m: f64, v: f64| {
        -0.5 * ((x - m).powi(2) / v.exp() + v + std::f64::consts::TAU.ln())
    };
    let step = 1e-3;
    let integral: f64 = (-12_000..12_000)
        .map(|i| f64::from(i) * step)
        .map(|x| {
            let q = log_density(x, m, v);
            q.exp() * (q - log_density(x, n, w)) * step
        })
        .sum();
    assert!(
        (outcome[0] - integral).abs() < 1e-8,
        "{} {integral}",
        outcome[0]
    );
}

#[test]
fn image_loss_gradients_are_those_of_the_losses() {
    let (rows, width) = (3, 8);
    let (logits, images) = (noise(48, rows * width), noise(49, rows * width));
    let targets: Vec<f64> = noise(50, rows * width).iter().map(|v| v.abs()).collect();
    let divergence = [0.5, 0.25, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 2.0, 1.0, 0.0, 1.0];
    for channels in [1, 3, 4] {
        let base = r::ImageLossInputs {
            logits: &logits,
            targets: &targets,
            images: &images,
            divergence: &divergence,
            channels,
            scale: 0.3,
        };
        let bernoulli = |x: &[f64]| r::bernoulli_loss(r::ImageLossInputs { logits: x, ..base });
        let gaussian = |x: &[f64]| r::gaussian_loss(r::ImageLossInputs { logits: x, ..base }, 0.5);
        for loss in [&bernoulli as &dyn Fn(&[f64]) -> [Vec<f64>; 3], &gaussian] {
            let total = |x: &[f64]| 0.3 * loss(x)[2].iter().step_by(4).sum::<f64>();
            check("d_logits", &logits, &loss(&logits)[0], total);
        }
    }
    // The definitions, for one pixel.
    let one = r::ImageLossInputs {
        logits: &[0.7, 0.0, 0.0, 0.0],
        targets: &[0.2, 0.0, 0.0, 0.0],
        images: &[1.0, 0.0, 0.0, 0.0],
        divergence: &[0.0, 0.0, 0.0, 1.0],
        channels: 1,
        scale: 1.0,
    };
    let p: f64 = 1.0 / (1.0 + (-0.7_f64).exp());
    let [_, _, outcome] = r::bernoulli_loss(one);
    assert!((outcome[0] + 0.2 * p.ln() + 0.8 * (1.0 - p).ln()).abs() < 1e-12);
    assert!((outcome[2] + p.ln()).abs() < 1e-12);
}

/// The first two moments of the normal numbers, and that the four of a block do not repeat.
#[test]
fn normal_noise_is_normal_and_depends_on_step_and_seed() {
    let draw = |seed, step| {
        let schedule = gtc::optimiser::Schedule::default().with_noise(1.0, seed, step);
        r::standard_normal(&schedule, gtc::op::TRAINING_NOISE, 20_000)
    };
    let numbers = draw(1, 1);
    let n = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / n;
    let moment = |power| numbers.iter().map(|v| v.powi(power)).sum::<f64>() / n;
    assert!(mean.abs() < 0.03, "{mean}");
    assert!((moment(2) - 1.0).abs() < 0.05 && (moment(4) - 3.0).abs() < 0.3);
    let product = |a: usize, b: usize| {
        let pairs = numbers.chunks(4).map(|block| block[a] * block[b]);
        pairs.sum::<f64>() / (n / 4.0)
    };
    for (a, b) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
        assert!(product(a, b).abs() < 0.06, "{a} {b}");
    }
    assert!(numbers != draw(1, 2) && numbers != draw(2, 1));
}

#[test]
fn activation_gradients_are_those_of_their_forward() {
    let x: Vec<f64> = noise(61, 60).iter().map(|v| 8.0 * v).collect();
    let g = noise(62, 60);
    for activate in [Activate::RELU, Activate::RELU6, Activate::leaky(2)] {
        let d_x = op::activation::reference::activation_backward(&activate, &x, &g);
        check("d_x", &x, &d_x, |x| {
            dot(
                &g,
                &op::activation::reference::activation_forward(&activate, x),
            )
        });
    }
    // At its kinks.
    let relu6 = op::activation::reference::activation_backward(
        &Activate::RELU6,
        &[0.0, 6.0, 5.9],
        &[1.0; 3],
    );
    assert_eq!(relu6, [0.0, 0.0, 1.0]);
    let leaky = op::activation::reference::activation_backward(
        &Activate::leaky(3),
        &[-1.0, 0.0, 1.0],
        &[1.0; 3],
    );
    assert_eq!(leaky, [0.125, 0.125, 1.0]);
}

#[test]
fn window_pooling_gradients_are_those_of_their_forward() {
    for (window, stride, padding) in [
        ([2, 2], [2, 2], [0, 0]),
        ([3, 3], [2, 2], [1, 1]),
        ([3, 2], [1, 3], [2, 0]),
        ([5, 6], [1, 1], [0, 0]),
    ] {
        let shape = WindowShape {
            batch: 2,
            input: [5, 6],
            channels: 4,
            window,
            stride,
            padding,
        };
        let x = noise(63, shape.x().iter().product());
        let g = noise(64, shape.y().iter().product());
        let average = |x: &[f64]| op::average_pool::reference::average_pool_forward(&shape, 0.3, x);
        let d_x = op::average_pool::reference::average_pool_backward(&shape, 0.3, &g);
        check("average", &x, &d_x, |x| dot(&g, &average(x)));
        let max = |x: &[f64]| op::window_max_pool::reference::window_max_pool_forward(&shape, x);
        let [_, argmax] = max(&x);
        let d_x = op::window_max_pool::reference::window_max_pool_backward(&shape, &g, &argmax);
        check("max", &x, &d_x, |x| {
            let [y, _] = max(x);
            dot(&g, &y)
        });
    }
}

#[test]
fn grouped_convolution_gradients_are_those_of_its_forward() {
    use op::group_conv::reference as grouped;
    for (inputs, outputs, groups, stride, padding) in [
        (4, 4, 4, 1, [1, 1]),
        (3, 6, 3, 2, [1, 0]),
        (6, 4, 2, 1, [0, 0]),
        (4, 8, 1, 2, [2, 1]),
    ] {
        let conv = ConvShape {
            batch: 2,
            input_height: 5,
            input_width: 4,
            input_channels: inputs,
            output_channels: outputs,
            kernel_height: 3,
            kernel_width: 2,
            stride,
            padding,
        };
        let shape = GroupShape { conv, groups };
        let (x, w) = (
            noise(65, conv.x().iter().product()),
            noise(66, shape.w().iter().product()),
        );
        let bias = noise(67, shape.w()[0]);
        let mut g = noise(68, conv.y().iter().product());
        // Outputs that do not exist have no gradient.
        let width = conv.y()[3];
        for (i, g) in g.iter_mut().enumerate() {
            *g = if i % width < outputs { *g } else { 0.0 };
        }
        let loss = |x: &[f64], w: &[f64], b: &[f64]| {
            dot(&g, &grouped::group_conv_forward(&shape, [x, w, b], false))
        };
        let d_x = grouped::group_conv_backward_input(&shape, &g, &w);
        check("d_x", &x, &d_x, |x| loss(x, &w, &bias));
        let d_w = grouped::group_conv_backward_weight(&shape, &g, &x);
        check("d_w", &w, &d_w, |w| loss(&x, w, &bias));
        check("d_bias", &bias, &r::bias_backward(&g, bias.len()), |b| {
            loss(&x, &w, b)
        });
    }
}

/// Of one group it is an ordinary convolution, but for the padding between taps.
#[test]
fn a_convolution_in_one_group_is_an_ordinary_one() {
    let conv = ConvShape {
        batch: 2,
        input_height: 5,
        input_width: 4,
        input_channels: 4,
        output_channels: 8,
        kernel_height: 3,
        kernel_width: 2,
        stride: 2,
        padding: [1, 1],
    };
    let shape = GroupShape { conv, groups: 1 };
    let x = noise(71, conv.x().iter().product());
    let (w, bias) = (noise(72, conv.w().iter().product()), noise(73, 8));
    let grouped = op::group_conv::reference::group_conv_forward(&shape, [&x, &w, &bias], true);
    assert_eq!(grouped, r::conv_forward(&conv, &x, &w, &bias, true));
}

#[test]
fn the_gradient_of_a_concatenation_is_its_channels() {
    use op::concat::reference as joined;
    let (a, b) = (noise(74, 2 * 4), noise(75, 2 * 8));
    let g = noise(76, 2 * 8);
    let loss = |a: &[f64], b: &[f64]| dot(&g, &joined::concat([(a, 3), (b, 5)]));
    let d_a = joined::channels(&g, 8, (0, 3));
    check("d_a", &a, &d_a, |a| loss(a, &b));
    let d_b = joined::channels(&g, 8, (3, 5));
    check("d_b", &b, &d_b, |b| loss(&a, b));
}
