// Cross entropy of softmax(logits) against target probabilities, its gradient, and how the rows
// fared against the labels. With a temperature T targets and probabilities are softened, p^(1/T) over its sum, and the
// loss counts T^2 times, so that its gradient keeps its size (Hinton et al. 2015, "Distilling the knowledge in a neural
// network"); a part of it may be the cross entropy with the labels instead.
//
// a: logits (rows, classes padded)
// b: targets (rows, classes padded): one-hot labels, or another network's probabilities
// c: labels (rows, classes padded), one-hot; a row of zeros is padding and counts for nothing
// output_0: d_logits = scale * ((1 - share) * T * (softened probabilities - softened targets)
//           + share * (probabilities - labels))
// output_1: probabilities
// output_2: (rows, 4): the loss, 1 if the label won, cross entropy with
//           the label, 1 if the row counts

struct Params {
    rows: u32,
    classes: u32, // logical
    texels: u32, // of one row
    scale: f32,
    temperature: f32,
    label_share: f32,
    logits_base: u32, // texels
    targets_base: u32,
    labels_base: u32,
    d_logits_base: u32,
    probabilities_base: u32,
    outcome_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

// 1 for real classes, 0 for padding.
fn real(texel: u32) -> vec4f {
    let class_index = texel * 4u + vec4u(0u, 1u, 2u, 3u);
    return select(vec4f(0.0), vec4f(1.0), class_index < vec4u(params.classes));
}

fn logits(row: u32, texel: u32) -> vec4f {
    let value = read_a(params.logits_base + row * params.texels + texel);
    return select(vec4f(-3.0e38), value, real(texel) > vec4f(0.0));
}

// p^(1/T), for a temperature of one p itself.
fn softened(p: vec4f) -> vec4f {
    if params.temperature == 1.0 {
        return p;
    }
    let power = exp2(log2(max(p, vec4f(1e-30))) / params.temperature);
    return select(vec4f(0.0), power, p > vec4f(0.0));
}

fn sum(v: vec4f) -> f32 { return (v.x + v.y) + (v.z + v.w); }

fn largest(v: vec4f) -> f32 { return max(max(v.x, v.y), max(v.z, v.w)); }

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let row = thread_index(id, groups);
    if row >= params.rows {
        return;
    }
    let first = row * params.texels;
    var top = -3.0e38;
    for (var t = 0u; t < params.texels; t++) {
        top = max(top, largest(logits(row, t)));
    }
    var total = 0.0;
    var soft_total = 0.0; // of exp((logit - top) / T)
    var target_total = 0.0; // of softened targets
    var labelled = 0.0; // the label's logit
    var counted = 0.0;
    var beaten = 0.0; // logits above the label's, or equal and earlier
    for (var t = 0u; t < params.texels; t++) {
        let label = read_c(params.labels_base + first + t) * real(t);
        let below = logits(row, t) - top;
        total += sum(exp(below) * real(t));
        soft_total += sum(exp(below / params.temperature) * real(t));
        target_total += sum(softened(read_b(params.targets_base + first + t)) * real(t));
        labelled += sum(select(vec4f(0.0), logits(row, t), label > vec4f(0.0)));
        counted += sum(label);
    }
    var seen = false;
    for (var c = 0u; c < params.classes; c++) {
        let value = logits(row, c / 4u)[c & 3u];
        let is_label = read_c(params.labels_base + first + c / 4u)[c & 3u] > 0.0;
        seen = seen || is_label;
        beaten += select(0.0, 1.0, value > labelled || (value == labelled && !seen));
    }
    let log_total = log(total) + top;
    let log_soft_total = log(soft_total) + top / params.temperature;
    // Targets that are taken as they are may sum to less than one: then the row is padding.
    let target_scale = select(1.0 / max(target_total, 1e-30), 1.0, params.temperature == 1.0);
    let softness = (1.0 - params.label_share) * params.temperature;
    var cross = 0.0;
    for (var t = 0u; t < params.texels; t++) {
        let value = logits(row, t);
        let label = read_c(params.labels_base + first + t) * real(t);
        let soft_target = softened(read_b(params.targets_base + first + t))
            * (target_scale * counted) * real(t);
        let probability = exp(value - top) / total * real(t);
        let soft = exp((value - top) / params.temperature) / soft_total * real(t);
        let missed = (log_soft_total - value / params.temperature) * soft_target;
        cross += sum(select(vec4f(0.0), missed, real(t) > vec4f(0.0)));
        let d_logits = params.scale
            * (softness * (soft * counted - soft_target)
                + params.label_share * (probability * counted - label));
        write_0(params.d_logits_base + first + t, d_logits);
        write_1(params.probabilities_base + first + t, probability);
    }
    let won = select(0.0, counted, beaten == 0.0);
    let hard = (log_total - labelled) * counted;
    let loss = softness * params.temperature * cross + params.label_share * hard;
    write_2(params.outcome_base + row, vec4f(loss, won, hard, counted));
}
