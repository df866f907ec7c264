// One step of Adam with decoupled weight decay over whole arenas (Kingma and Ba 2015, Algorithm 1; Loshchilov and
// Hutter 2019, Algorithm 2).
//
// a: gradients (count texels)
// output_0: weights, updated
// output_1: first moment, updated
// output_2: second moment, updated

struct Params {
    count: u32, // texels
    beta_1: f32,
    beta_2: f32,
    one_minus_beta_1: f32, // apart, because 1 - 0.999 in f32 is off by 1e-5
    one_minus_beta_2: f32,
    epsilon: f32,
    least_slope: f32, // of a layer's (intercept, slope, centre, -)
    quantisers: u32, // first texel of the layers' intercepts and slopes
    decayed: u32, // texels at the start of the arenas that decay
    weight_decay: f32, // for a learning rate of one
    gradient_base: u32, // texels
    weight_base: u32,
    first_base: u32,
    second_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.count {
        return;
    }
    let gradient = read_a(params.gradient_base + i);
    let m = params.beta_1 * previous_1(params.first_base + i) + params.one_minus_beta_1 * gradient;
    let v = params.beta_2 * previous_2(params.second_base + i)
        + params.one_minus_beta_2 * gradient * gradient;
    let change = (m * schedule.first_correction)
        / (sqrt(v * schedule.second_correction) + params.epsilon);
    let multiple = select(1.0, schedule.quantiser_rate, i >= params.quantisers);
    let rate = schedule.learning_rate * multiple;
    let weight = previous_0(params.weight_base + i);
    let decay = select(0.0, params.weight_decay, i < params.decayed);
    var moved = weight - rate * (change + decay * weight);
    if i >= params.quantisers {
        // A slope that begins below, as fitted ones of zero do, falls no farther, and stays while the rate is zero.
        moved.y = max(moved.y, min(weight.y, params.least_slope));
        // With centred slopes z is log2 of a usual |w|: c + s z stays what it was, and with it the exponent of such a weight.
        moved.x -= weight.z * (moved.y - weight.y);
    }
    write_0(params.weight_base + i, moved);
    write_1(params.first_base + i, m);
    write_2(params.second_base + i, v);
}
