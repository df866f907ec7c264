// Codes of weights. A code of WIDTH bits is a sign above an index; index 0 is zero where a layer
// has zeros, the others are exponents counted from the layer's smallest. Codes lie in groups of
// [block of four outputs][16 channels of the depth], in a group [output][channel], the first in the
// lowest bits; the depth runs over (kernel_height, kernel_width, input_channels) and a block starts
// at a whole texel. A kernel says with code_texel() which operand holds them.

override WIDTH: u32 = 2u;

// The codes of four outputs at one step of four channels, the first channel's lowest; the bits above
// them mean nothing.
fn read_codes(first: u32, k: u32) -> vec4u { return codes_at(read_group(first, k >> 2u), k & 3u); }

alias Group = array<vec4u, 4>; // texels, as many as it takes

fn read_group(first: u32, group: u32) -> Group {
    if WIDTH == 1u {
        let texel = vec4u(code_texel(first + (group >> 1u)));
        let pair = select(texel.xy, texel.zw, (group & 1u) == 1u);
        return Group(vec4u(pair, 0u, 0u), vec4u(), vec4u(), vec4u());
    }
    if WIDTH == 2u {
        return Group(vec4u(code_texel(first + group)), vec4u(), vec4u(), vec4u());
    }
    if WIDTH == 4u {
        let texel = first + 2u * group;
        return Group(vec4u(code_texel(texel)), vec4u(code_texel(texel + 1u)), vec4u(), vec4u());
    }
    let texel = first + 4u * group;
    return Group(
        vec4u(code_texel(texel)),
        vec4u(code_texel(texel + 1u)),
        vec4u(code_texel(texel + 2u)),
        vec4u(code_texel(texel + 3u)),
    );
}

// The codes at one of the four steps of a group.
fn codes_at(group: Group, step: u32) -> vec4u {
    if WIDTH == 1u {
        let pair = group[0].xy;
        return vec4u(pair.x, pair.x >> 16u, pair.y, pair.y >> 16u) >> vec4u(4u * step);
    }
    if WIDTH == 2u {
        return group[0] >> vec4u(8u * step);
    }
    if WIDTH == 4u {
        let low = vec4u(group[0].xz, group[1].xz);
        let high = vec4u(group[0].yw, group[1].yw);
        return select(low, high, (step & 2u) == 2u) >> vec4u(16u * (step & 1u));
    }
    return vec4u(pick(group[0], step), pick(group[1], step), pick(group[2], step), pick(group[3], step));
}

fn pick(words: vec4u, step: u32) -> u32 {
    let pair = select(words.xy, words.zw, (step & 2u) == 2u);
    return select(pair.x, pair.y, (step & 1u) == 1u);
}

// Of read_codes(), one channel.
fn channel_codes(codes: vec4u, channel: u32) -> vec4u { return codes >> vec4u(WIDTH * channel); }

fn indices(codes: vec4u) -> vec4u { return codes & vec4u((1u << (WIDTH - 1u)) - 1u); }

// Where a weight is zero: 0. Elsewhere -1.
fn keeps(codes: vec4u, zero: u32) -> vec4i {
    return select(vec4i(-1), vec4i(0), indices(codes) < vec4u(zero));
}

// The exponents, counted from the smallest; of a zero, 0.
fn places(codes: vec4u, zero: u32) -> vec4u { return max(indices(codes), vec4u(zero)) - zero; }

// 0 or, for negative weights, -1.
fn signs(codes: vec4u) -> vec4i { return -vec4i((codes >> vec4u(WIDTH - 1u)) & vec4u(1u)); }
