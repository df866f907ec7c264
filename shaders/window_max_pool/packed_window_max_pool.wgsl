// y = the largest x of each window. Padding never wins: pixels outside the image are left out.
//
// a: x (batch, input_height, input_width, channels)
// output_0: y (batch, output_height, output_width, channels)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.batch * params.output_height * params.output_width * params.channels {
        return;
    }
    // Every window has a pixel inside the image, because the padding is smaller than the window.
    let window = window(i);
    var best = read_a(texel_of(window, window.first.x, window.first.y));
    for (var row = window.first.x; row < window.end.x; row++) {
        for (var column = window.first.y; column < window.end.y; column++) {
            best = max(best, read_a(texel_of(window, row, column)));
        }
    }
    write_0(params.y_base + i, best);
}
