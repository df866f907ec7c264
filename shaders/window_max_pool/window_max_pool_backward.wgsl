// d_x of a max pool: the sum of d_y over those windows in which the input was the first largest.
//
// a: d_y (batch, output_height, output_width, channels)
// b: argmax, like a, from window_max_pool_forward
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
            let output = vec2u(row, column);
            let place = place_in_window(at.pixel, output);
            let number = vec4f(f32(place.x * params.window_width + place.y));
            let offset = output_offset(at, output);
            let won = read_b(params.argmax_base + offset) == number;
            sum += select(vec4f(0.0), read_a(params.y_base + offset), won);
        }
    }
    write_0(params.x_base + i, sum);
}
