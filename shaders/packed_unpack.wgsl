// Codes made into floats, four channels a texel, as bits: for sums in f32 over many positions.
//
// a: codes (outputs, w_row texels)
// output_0: weights in units of the layer's smallest (outputs, depth)

struct Params {
    outputs: u32,
    depth: u32, // texels
    w_row: u32, // texels of codes of one output
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
    if i >= params.outputs * params.depth {
        return;
    }
    let output = divide_one(i, params.inverse_depth);
    let codes = read_codes(params.w_base + output * params.w_row, i - output * params.depth);
    output_0[params.y_base + i] = bitcast<vec4i>(vec4f(decode(codes, params.zero)));
}
