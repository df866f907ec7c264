// Lets no layer pay for bits once all layers together fit into a budget: then levels stay as many as they are.
//
// a: layers (layers, 4): its weights, -, -, -
// output_0: levels (layers, 3, 4), updated: the last number of each layer, see levels.wgsl

struct Params {
    layers: u32,
    budget: f32, // bits
    layers_base: u32, // texels
    levels_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

// More exponents than there are.
const ALL_FREE: f32 = 1000.0;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    if id.x != 0u {
        return;
    }
    var used = 0.0;
    for (var layer = 0u; layer < params.layers; layer++) {
        let bits = previous_0(params.levels_base + 3u * layer).w;
        used += bits * read_a(params.layers_base + layer).x;
    }
    if used > params.budget {
        return;
    }
    for (var layer = 0u; layer < params.layers; layer++) {
        let at = params.levels_base + 3u * layer + 2u;
        write_0(at, vec4f(previous_0(at).xyz, ALL_FREE));
    }
}
