// y = the largest x of each window.
//
// a: x (batch, input_height, input_width, channels)
// output_0: y (batch, output_height, output_width, channels), and at argmax_base which number of its window
//           each is, row by row, the first of equals; with relu set, x is the output of a ReLU, and where all
//           of a window are zero the argmax is past the last

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.batch * params.output_height * params.output_width * params.channels {
        return;
    }
    let at = locate(i, params.output_height, params.output_width);
    let first = params.x_base + input_texel(at, at.y * SIZE, at.z * SIZE);
    var best = read_a(first);
    var argmax = Texel();
    for (var row = 0u; row < SIZE; row++) {
        for (var column = 0u; column < SIZE; column++) {
            let step = (row * params.input_width + column) * params.channels;
            let x = read_a(first + step);
            argmax = select(argmax, Texel(Number(row * SIZE + column)), x > best);
            best = max(best, x);
        }
    }
    write_0(params.y_base + i, best);
    if params.argmax_base != 0xffffffffu {
        let none = (best <= Texel()) & vec4<bool>(params.relu != 0u);
        write_0(params.argmax_base + i, select(argmax, Texel(Number(SIZE * SIZE)), none));
    }
}
