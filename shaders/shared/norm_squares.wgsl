// A max pool over squares of 2 x 2 behind a batch normalisation and its ReLU: which of a square passes is found anew from
// the input wherever it is needed, so that nothing of it is kept.

// Inputs less their mean, row by row.
struct Square {
    a: vec4f,
    b: vec4f,
    c: vec4f,
    d: vec4f,
    best: vec4f, // the largest after the normalisation, before the ReLU
    winner: vec4f, // which that is, 0 to 3, the first of equals; 4 where the ReLU lets nothing pass
}

// The first texel of the square of an output. No square reaches across two images, because all have even heights; so the images
// of a batch count as one high image, and no image has to be found.
fn square_texel(position: u32) -> u32 {
    let line = divide_long(position, params.width / 2u, params.inverse_half_width);
    return (2u * position + line * params.width) * params.channels;
}

fn square_at(first: u32, mean: vec4f, factor: vec4f, beta: vec4f) -> Square {
    let below = first + params.width * params.channels;
    let a = read_a(first) - mean;
    let b = read_a(first + params.channels) - mean;
    let c = read_a(below) - mean;
    let d = read_a(below + params.channels) - mean;
    let y = mat4x4f(a * factor + beta, b * factor + beta, c * factor + beta, d * factor + beta);
    let best = max(max(y[0], y[1]), max(y[2], y[3]));
    var winner = select(vec4f(3.0), vec4f(2.0), y[2] == best);
    winner = select(winner, vec4f(1.0), y[1] == best);
    winner = select(winner, vec4f(0.0), y[0] == best);
    winner = select(vec4f(4.0), winner, best > vec4f(0.0));
    return Square(a, b, c, d, best, winner);
}
