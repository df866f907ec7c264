// y = the sum of x over each window, shifted right with rounding, clamped. Outside the image x is zero.
//
// a: x (batch, input_height, input_width, channels)
// output_0: y (batch, output_height, output_width, channels)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.batch * params.output_height * params.output_width * params.channels {
        return;
    }
    let window = window(i);
    var sum = vec4i(0);
    for (var row = window.first.x; row < window.end.x; row++) {
        for (var column = window.first.y; column < window.end.y; column++) {
            sum += read_a(texel_of(window, row, column));
        }
    }
    write_0(params.y_base + i, requantise(sum, vec4i(0), vec4i(params.shift)));
}
