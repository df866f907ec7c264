// Whole numbers made into bytes, 16 channels a texel: for products of packed bytes.
//
// a: x (rows, channels), numbers of 32 bits from -128 to 127
// output_0: bytes (rows, groups), zero past the last channel

struct Params {
    rows: u32,
    channels: u32, // texels
    groups: u32, // texels of 16 bytes
    x_base: u32, // first texel of each operand within its buffer
    y_base: u32,
    inverse_groups: f32,
}
@group(0) @binding(0) var<uniform> params: Params;

fn packed(row: u32, step: u32) -> u32 {
    let x = vec4u(read_a(params.x_base + row * params.channels + min(step, params.channels - 1u)));
    let low = (x & vec4u(255u)) << vec4u(0u, 8u, 16u, 24u);
    return select(0u, low.x | low.y | low.z | low.w, step < params.channels);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.rows * params.groups {
        return;
    }
    let row = divide_long(i, params.groups, params.inverse_groups);
    let step = 4u * (i - row * params.groups);
    write_0(params.y_base + i, vec4i(vec4u(
        packed(row, step),
        packed(row, step + 1u),
        packed(row, step + 2u),
        packed(row, step + 3u),
    )));
}
