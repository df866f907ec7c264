// d_x of a max pool: d_y goes to the first largest x of each window. With relu set, x is the
// output of a ReLU and the result is the gradient before it: nothing passes where x is zero.
//
// a: x (batch, input_height, input_width, channels)
// b: d_y (batch, output_height, output_width, channels)
// output_0: d_x, like x
//
// A thread owns one window, the cut-off ones at the right and lower edge included, whose
// inputs reach no output.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    let rows = (params.input_height + SIZE - 1u) / SIZE;
    let columns = (params.input_width + SIZE - 1u) / SIZE;
    if i >= params.batch * rows * columns * params.channels {
        return;
    }
    let at = locate(i, rows, columns);
    let whole = at.y < params.output_height && at.z < params.output_width;
    let d_y = select(vec4f(0.0), read_b(params.y_base + select(0u, output_texel(at), whole)), whole);
    let top = at.y * SIZE;
    let left = at.z * SIZE;
    // A cut-off window counts its last row or column more than once.
    let last = vec2u(params.input_height, params.input_width) - 1u;
    var best = read_a(params.x_base + input_texel(at, top, left));
    for (var r = 0u; r < SIZE; r++) {
        for (var c = 0u; c < SIZE; c++) {
            let place = min(vec2u(top + r, left + c), last);
            best = max(best, read_a(params.x_base + input_texel(at, place.x, place.y)));
        }
    }
    var open = vec4<bool>(true); // no earlier input took the gradient
    if params.relu != 0u {
        open = best > vec4f(0.0);
    }
    for (var r = 0u; r < SIZE; r++) {
        for (var c = 0u; c < SIZE; c++) {
            let place = min(vec2u(top + r, left + c), last);
            let texel = input_texel(at, place.x, place.y);
            let takes = open & (read_a(params.x_base + texel) == best);
            open &= !takes;
            if all(place == vec2u(top + r, left + c)) {
                output_0[params.d_x_base + texel] = select(vec4f(0.0), d_y, takes);
            }
        }
    }
}
