// d_x of an average pool: factor * the sum of d_y over the windows that hold an input.
//
// a: d_y (batch, output_height, output_width, channels)
// output_0: d_x (batch, input_height, input_width, channels)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.batch * params.input_height * params.input_width * params.channels {
        return;
    }
    let at = locate(i, params.input_height, params.input_width);
    let span = windows_with(at.pixel);
    var sum = vec4f(0.0);
    for (var row = span.first.x; row < span.end.x; row++) {
        for (var column = span.first.y; column < span.end.y; column++) {
            sum += read_a(params.y_base + output_offset(at, vec2u(row, column)));
        }
    }
    write_0(params.x_base + i, params.factor * sum);
}
