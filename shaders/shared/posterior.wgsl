// A diagonal normal distribution a row: `latent` means, then as many log variances, padded to
// whole texels.

fn component(texel: vec4f, part: u32) -> f32 {
    let low = select(texel.x, texel.y, part == 1u);
    let high = select(texel.z, texel.w, part == 3u);
    return select(low, high, part > 1u);
}

fn number_a(base: u32, at: u32) -> f32 { return component(read_a(base + at / 4u), at & 3u); }
fn number_b(base: u32, at: u32) -> f32 { return component(read_b(base + at / 4u), at & 3u); }
