// One step of stochastic gradient descent with Nesterov's momentum (Sutskever et al. 2013, in the form of PyTorch) and
// decoupled weight decay over a range of the arenas: m <- mu m + g, w <- w - rate (g + mu m + decay w).
//
// a: gradients (count texels)
// output_0: weights, updated
// output_1: momentum, updated

struct Params {
    count: u32, // texels
    mu: f32,
    decayed: u32, // texels at the start of the range that decay
    weight_decay: f32, // for a rate of one
    gradient_base: u32, // texels
    weight_base: u32,
    momentum_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.count {
        return;
    }
    let gradient = read_a(params.gradient_base + i);
    let weight = previous_0(params.weight_base + i);
    let m = params.mu * previous_1(params.momentum_base + i) + gradient;
    let decay = select(0.0, params.weight_decay, i < params.decayed);
    let step = gradient + params.mu * m + decay * weight;
    write_0(params.weight_base + i, weight - schedule.sgd_rate * step);
    write_1(params.momentum_base + i, m);
}
