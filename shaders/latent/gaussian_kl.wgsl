// KL(q || p) of diagonal normal distributions in nats, its gradient, and KL(q || N(0, 1)).
//
// a: q (rows, posterior_texels): means, then log variances
// b: p, like q and constant; not looked at with PRIOR, where p is N(0, 1)
// c: labels (rows, classes padded), one-hot; a row of zeros is padding and counts for nothing
// output_0: d_q = scale * weight * gradient of KL(q || p); the weight is the schedule's kl_weight
//           with PRIOR (the warm-up of an evidence lower bound), else 1
// output_1: (rows, 4): weight * KL(q || p), KL(q || N(0, 1)), 0, 1 if the row counts
//
// A thread owns a row.

override PRIOR: bool = false;

struct Params {
    rows: u32,
    latent: u32, // numbers
    posterior_texels: u32,
    label_texels: u32,
    scale: f32,
    q_base: u32, // texels
    p_base: u32,
    labels_base: u32,
    d_q_base: u32,
    outcome_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let row = thread_index(id, groups);
    if row >= params.rows {
        return;
    }
    var labels = vec4f(0.0);
    for (var t = 0u; t < params.label_texels; t++) {
        labels += read_c(params.labels_base + row * params.label_texels + t);
    }
    let counted = (labels.x + labels.y) + (labels.z + labels.w);
    let q = params.q_base + row * params.posterior_texels;
    let p = params.p_base + row * params.posterior_texels;
    let d_q = params.d_q_base + row * params.posterior_texels;
    let weight = select(1.0, schedule.kl_weight, PRIOR) * counted;
    var divergence = 0.0;
    var from_prior = 0.0;
    for (var t = 0u; t < params.posterior_texels; t++) {
        var d = vec4f(0.0);
        for (var part = 0u; part < 4u; part++) {
            let at = min(t * 4u + part, 2u * params.latent - 1u);
            let is_variance = at >= params.latent;
            let k = select(at, at - params.latent, is_variance);
            let mean = number_a(q, k);
            let log_variance = number_a(q, params.latent + k);
            var p_mean = 0.0;
            var p_log_variance = 0.0;
            if !PRIOR {
                p_mean = number_b(p, k);
                p_log_variance = number_b(p, params.latent + k);
            }
            let difference = mean - p_mean;
            let inverse = exp(-p_log_variance);
            let ratio = exp(log_variance - p_log_variance);
            let inside = t * 4u + part < 2u * params.latent;
            // Every latent number is met twice, as a mean and as a variance: it counts once.
            let once = select(0.0, 0.5, inside && is_variance);
            divergence += once
                * (p_log_variance - log_variance + ratio + difference * difference * inverse - 1.0);
            from_prior += once * (exp(log_variance) + mean * mean - log_variance - 1.0);
            let value = select(difference * inverse, 0.5 * (ratio - 1.0), is_variance);
            d[part] = select(0.0, value, inside);
        }
        write_0(d_q + t, params.scale * weight * d);
    }
    let outcome = vec4f(weight * divergence, from_prior * counted, 0.0, counted);
    write_1(params.outcome_base + row, outcome);
}
