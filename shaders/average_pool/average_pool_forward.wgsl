// y = factor * the sum of each window of x. Places of a window outside the image count as zero.
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
    let span = inside_window(at.pixel);
    var sum = vec4f(0.0);
    for (var row = span.first.x; row < span.end.x; row++) {
        for (var column = span.first.y; column < span.end.y; column++) {
            sum += read_a(x_texel(at, input_pixel(at.pixel, vec2u(row, column))));
        }
    }
    write_0(params.y_base + i, params.factor * sum);
}
