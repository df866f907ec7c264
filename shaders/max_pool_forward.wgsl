// y = the largest x of each window.
//
// a: x (batch, input_height, input_width, channels)
// output_0: y (batch, output_height, output_width, channels)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.batch * params.output_height * params.output_width * params.channels {
        return;
    }
    let at = locate(i, params.output_height, params.output_width);
    let first = params.x_base + input_texel(at, at.y * SIZE, at.z * SIZE);
    var best = read_a(first);
    for (var row = 0u; row < SIZE; row++) {
        for (var column = 0u; column < SIZE; column++) {
            let step = (row * params.input_width + column) * params.channels;
            best = max(best, read_a(first + step));
        }
    }
    output_0[params.y_base + i] = best;
}
