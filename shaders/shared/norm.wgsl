// Batch normalisation (Ioffe, Szegedy 2015). The block `statistics` (5, channels) holds
// 0 the mean, 1 one over the deviation, 2 the factor gamma / deviation, in LP rounded to a power
// of two, 3 that factor over the unrounded one, 4 beta.

const SMALLEST_FACTOR: f32 = 1e-6;

struct Moments {
    mean: vec4f,
    variance: vec4f,
    // The running variance decides which power of two a factor is rounded to: it is the same for
    // every batch and when the model is used, where that of a batch would flip at random.
    running_variance: vec4f,
}

// Writes the block of one texel of channels.
fn store_statistics(channel: u32, moments: Moments, gamma: vec4f, beta: vec4f) {
    let inverse = 1.0 / sqrt(moments.variance + params.epsilon);
    let exact = gamma * inverse;
    var factor = exact;
    if params.round != 0u {
        let lasting = gamma / sqrt(moments.running_variance + params.epsilon);
        let size = max(abs(lasting), vec4f(SMALLEST_FACTOR));
        let rounded = sign(lasting) * power_of_two(round(log2_exact(size)));
        factor = select(vec4f(0.0), rounded, abs(lasting) >= vec4f(SMALLEST_FACTOR));
    }
    // Of a gamma of zero too, so that it can become another one.
    let ratio = select(vec4f(1.0), factor / exact, exact != vec4f(0.0));
    let at = params.statistics_base + channel;
    write_0(at, moments.mean);
    write_0(at + params.channels, inverse);
    write_0(at + 2u * params.channels, factor);
    write_0(at + 3u * params.channels, ratio);
    write_0(at + 4u * params.channels, beta);
}
