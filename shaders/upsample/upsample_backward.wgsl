// d_x of an upsampling: the sum of d_y over each square.
//
// a: d_y (batch, input_height * size, input_width * size, channels)
// output_0: d_x (batch, input_height, input_width, channels)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.batch * params.input_height * params.input_width * params.channels {
        return;
    }
    let at = locate(i, params.input_height, params.input_width);
    let width = params.input_width * params.size;
    let top = at.x * params.input_height * params.size + at.y * params.size;
    var d_x = vec4f(0.0);
    for (var row = 0u; row < params.size; row++) {
        for (var column = 0u; column < params.size; column++) {
            let pixel = (top + row) * width + at.z * params.size + column;
            d_x += read_a(params.y_base + pixel * params.channels + at.w);
        }
    }
    write_0(params.x_base + i, d_x);
}
