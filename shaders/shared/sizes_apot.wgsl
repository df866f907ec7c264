// The nearest size of an additive codebook. setting_0: its bits, 4 or 5.

fn size_of(v: vec4f) -> vec4f {
    // Tenths: {0, 1/2, 1/4, 1/16} + {0, 1/8} over 5/8. And 48ths: {0, 1/2, 1/8, 1/32} + {0, 1/4, 1/16, 1/64} over 3/4.
    var sizes = array<f32, 16>(0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0);
    var unit = 10.0;
    if params.setting_0 == 5.0 {
        sizes = array<f32, 16>(0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 9.0, 12.0, 16.0, 18.0, 24.0, 32.0, 33.0, 36.0, 48.0);
        unit = 48.0;
    }
    let x = v * unit;
    var size = vec4f(0.0);
    for (var i = 1u; i < 16u; i++) {
        size = select(size, vec4f(sizes[i]), x >= vec4f(0.5 * (sizes[i - 1u] + sizes[i])));
    }
    return size / unit;
}
