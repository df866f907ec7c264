// The polynomial of an iteration of Newton and Schulz, for all of Muon's layers: B = a I + b A + c A A with A = X X^T.
// X <- B X brings all singular values of X nearer to one (Jordan et al. 2024, "Muon").
//
// a: A of all layers, each (rows, rows), one behind the other
// b: A A, like a
// c: spans (spans, 4): first texel, texels, first texel of the layer, texels of a row
// output_0: B, like a

struct Params {
    identity: f32,
    linear: f32,
    square: f32,
    gram_base: u32, // texels
    squared_base: u32,
    spans_base: u32,
    polynomial_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3u) {
    let span = vec4u(read_c(params.spans_base + group.x));
    for (var i = span.x + thread; i < span.x + span.y; i += 64u) {
        let within = i - span.z;
        let row = within / span.w;
        let column = 4u * (within - row * span.w);
        let columns = vec4u(column, column + 1u, column + 2u, column + 3u);
        let identity = select(vec4f(0.0), vec4f(params.identity), columns == vec4u(row));
        let polynomial = identity
            + params.linear * read_a(params.gram_base + i)
            + params.square * read_b(params.squared_base + i);
        write_0(params.polynomial_base + i, polynomial);
    }
}
