// d_x of a max pool: d_y goes to the input that passed.
//
// a: d_y (batch, output_height, output_width, channels)
// b: argmax, like a: which number of its window, row by row; past the last if none
// output_0: d_x (batch, input_height, input_width, channels)
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
    let source = select(0u, output_texel(at), whole);
    let d_y = read_a(params.y_base + source);
    let argmax = select(vec4f(-1.0), read_b(params.argmax_base + source), whole);
    let top = at.y * SIZE;
    let left = at.z * SIZE;
    for (var r = 0u; r < SIZE; r++) {
        for (var c = 0u; c < SIZE; c++) {
            if top + r < params.input_height && left + c < params.input_width {
                let takes = argmax == vec4f(f32(r * SIZE + c));
                let texel = input_texel(at, top + r, left + c);
                write_0(params.x_base + texel, select(vec4f(0.0), d_y, takes));
            }
        }
    }
}
