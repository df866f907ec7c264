// y = the largest x of each window. Windows may overlap; places of a window outside the image never win.
//
// a: x (batch, input_height, input_width, channels)
// output_0: y (batch, output_height, output_width, channels)
// output_1: argmax, like y, if shared/argmax_kept.wgsl is included: the number of the first largest x within its
//           window, row * window_width + column

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.batch * params.output_height * params.output_width * params.channels {
        return;
    }
    let at = locate(i, params.output_height, params.output_width);
    let span = inside_window(at.pixel);
    var best = read_a(x_texel(at, input_pixel(at.pixel, span.first)));
    var argmax = vec4f(f32(span.first.x * params.window_width + span.first.y));
    for (var row = span.first.x; row < span.end.x; row++) {
        for (var column = span.first.y; column < span.end.y; column++) {
            let x = read_a(x_texel(at, input_pixel(at.pixel, vec2u(row, column))));
            argmax = select(argmax, vec4f(f32(row * params.window_width + column)), x > best);
            best = max(best, x);
        }
    }
    write_0(params.y_base + i, best);
    keep_argmax(i, argmax);
}
