// Codes made into floats, as bits: for sums in f32 over many positions.
//
// a: codes (blocks of four outputs, w_row texels)
// output_0: weights in units of the layer's smallest (blocks, depth, channel), a texel over the four
//   outputs of a block

struct Params {
    blocks: u32,
    depth: u32, // steps of four channels
    w_row: u32, // texels of codes of one block
    w_base: u32, // texels
    y_base: u32,
    zero: u32, // 1 if index 0 stands for zero
    inverse_depth: f32,
}
@group(0) @binding(0) var<uniform> params: Params;

fn code_texel(at: u32) -> vec4i { return read_a(at); }

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.blocks * params.depth {
        return;
    }
    let block = divide_one(i, params.inverse_depth);
    let codes = read_codes(params.w_base + block * params.w_row, i - block * params.depth);
    for (var channel = 0u; channel < 4u; channel++) {
        let weights = decode(channel_codes(codes, channel), params.zero);
        output_0[params.y_base + 4u * i + channel] = bitcast<vec4i>(weights);
    }
}
