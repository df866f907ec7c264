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
    let rows = (params.input_height + params.size - 1u) / params.size;
    let columns = (params.input_width + params.size - 1u) / params.size;
    if i >= params.batch * rows * columns * params.channels {
        return;
    }
    let at = locate(i, rows, columns);
    let whole = at.y < params.output_height && at.z < params.output_width;
    let d_y = select(vec4f(0.0), read_b(params.y_base + select(0u, output_texel(at), whole)), whole);
    let top = at.y * params.size;
    let left = at.z * params.size;
    let bottom = min(top + params.size, params.input_height);
    let right = min(left + params.size, params.input_width);
    var best = read_a(params.x_base + input_texel(at, top, left));
    for (var row = top; row < bottom; row++) {
        for (var column = left; column < right; column++) {
            best = max(best, read_a(params.x_base + input_texel(at, row, column)));
        }
    }
    var open = vec4<bool>(true); // no earlier input took the gradient
    if params.relu != 0u {
        open = best > vec4f(0.0);
    }
    for (var row = top; row < bottom; row++) {
        for (var column = left; column < right; column++) {
            let texel = input_texel(at, row, column);
            let takes = open & (read_a(params.x_base + texel) == best);
            output_0[params.d_x_base + texel] = select(vec4f(0.0), d_y, takes);
            open &= !takes;
        }
    }
}
