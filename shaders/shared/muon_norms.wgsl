// Norms of one of Muon's layers, from what `momentum` left.
//
// a: partial (spans, 4): the sum of u^2, the sum of w^2, -, -
// b: layers (layers, 4): first span, spans, the norm that its weights are to have, -

// Keeps divisions by a norm finite.
const NORM_EPSILON: f32 = 1e-7;

var<workgroup> shares: array<vec2f, 64>;

// (|u|, |w|) of a layer, for a workgroup of 64 threads.
fn norms(thread: u32, partial_base: u32, layer: vec4f) -> vec2f {
    let first = partial_base + u32(layer.x);
    var squares = vec2f(0.0);
    for (var i = thread; i < u32(layer.y); i += 64u) {
        squares += read_a(first + i).xy;
    }
    shares[thread] = squares;
    workgroupBarrier();
    squares = vec2f(0.0);
    for (var i = 0u; i < 64u; i++) {
        squares += shares[i];
    }
    return sqrt(squares);
}
