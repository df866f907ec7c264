// Codes of weights. A code of WIDTH bits is a sign above an index; index 0 is zero where a layer
// has zeros, the others are exponents counted from the layer's smallest. The codes of an output
// run over (kernel_height, kernel_width, input_channels * 4) and start at a whole texel. A kernel
// says with code_texel() which operand holds them.

override WIDTH: u32 = 2u;

// The four codes of one step of the depth, lowest first; the bits above them mean nothing.
fn read_codes(first: u32, k: u32) -> vec4u {
    let bit = k * (4u * WIDTH);
    let word = bit >> 5u;
    let texel = code_texel(first + (word >> 2u));
    let low = select(texel.x, texel.y, (word & 1u) == 1u);
    let high = select(texel.z, texel.w, (word & 1u) == 1u);
    let codes = u32(select(low, high, (word & 2u) == 2u)) >> (bit & 31u);
    return vec4u(codes) >> vec4u(0u, WIDTH, 2u * WIDTH, 3u * WIDTH);
}

fn indices(codes: vec4u) -> vec4u { return codes & vec4u((1u << (WIDTH - 1u)) - 1u); }

// 0 or, for negative weights, -1.
fn signs(codes: vec4u) -> vec4i { return -vec4i((codes >> vec4u(WIDTH - 1u)) & vec4u(1u)); }

// The weights in units of the layer's smallest.
fn decode(codes: vec4u, zero: u32) -> vec4i {
    let size = vec4i((vec4u(1u) << indices(codes)) >> vec4u(zero));
    let sign = signs(codes);
    return (size ^ sign) - sign;
}
