// Chains of multiply-adds, x = x * factor + term, in registers: how many of them a device does a second is its peak.
// Nothing is read, and each thread writes one vec4 at its end.
//
// Each thread has three vec4, twelve chains that do not depend on each other: enough to hide the latency of a
// multiply-add, few enough for the 16 registers of a CPU driver with AVX2.
//
// output_0: y (count vec4), the sum of the three

struct Params {
    count: u32, // threads
    rounds: u32, // of 16 multiply-adds for every chain
    factor: f32,
    term: f32,
    y_base: u32, // in vec4
}
@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    let f = vec4f(params.factor);
    let t = vec4f(params.term);
    var a = vec4f(0.0, 0.25, 0.5, 0.75) + f32(i & 63u) / 64.0;
    var b = a + 1.0;
    var c = a + 2.0;
    // Written out, so that the loop takes no part of the time.
    for (var round = 0u; round < params.rounds; round += 1u) {
        a = a * f + t; b = b * f + t; c = c * f + t;
        a = a * f + t; b = b * f + t; c = c * f + t;
        a = a * f + t; b = b * f + t; c = c * f + t;
        a = a * f + t; b = b * f + t; c = c * f + t;
        a = a * f + t; b = b * f + t; c = c * f + t;
        a = a * f + t; b = b * f + t; c = c * f + t;
        a = a * f + t; b = b * f + t; c = c * f + t;
        a = a * f + t; b = b * f + t; c = c * f + t;
        a = a * f + t; b = b * f + t; c = c * f + t;
        a = a * f + t; b = b * f + t; c = c * f + t;
        a = a * f + t; b = b * f + t; c = c * f + t;
        a = a * f + t; b = b * f + t; c = c * f + t;
        a = a * f + t; b = b * f + t; c = c * f + t;
        a = a * f + t; b = b * f + t; c = c * f + t;
        a = a * f + t; b = b * f + t; c = c * f + t;
        a = a * f + t; b = b * f + t; c = c * f + t;
    }
    if i < params.count {
        write_0(params.y_base + i, a + b + c);
    }
}
