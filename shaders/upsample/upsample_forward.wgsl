// y = every x as a square of equal numbers: nearest neighbour.
//
// a: x (batch, input_height, input_width, channels)
// output_0: y (batch, input_height * size, input_width * size, channels)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    let height = params.input_height * params.size;
    let width = params.input_width * params.size;
    if i >= params.batch * height * width * params.channels {
        return;
    }
    let at = locate(i, height, width);
    let row = divide_one(at.y, params.inverse_size);
    let column = divide_one(at.z, params.inverse_size);
    let texel = ((at.x * params.input_height + row) * params.input_width + column) * params.channels;
    write_0(params.y_base + i, read_a(params.x_base + texel + at.w));
}
