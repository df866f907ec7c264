// Blocks of bytes: a layer comes here only if its weights, in units of the smallest, and its inputs
// fit into int8. A step of the depth is 16 channels: x are the bytes that packed_bytes made, a texel
// a step.

alias Bytes = array<vec4u, 4>; // of each position or output, 16 channels

fn locate_rows(m: u32) -> Rows { return locate_windows(m); }

fn load_rows(rows: Rows, k: u32) -> Bytes {
    let at = window(rows, k);
    return Bytes(
        select(vec4u(0u), vec4u(read_a(at.texel.x)), at.inside.x),
        select(vec4u(0u), vec4u(read_a(at.texel.y)), at.inside.y),
        select(vec4u(0u), vec4u(read_a(at.texel.z)), at.inside.z),
        select(vec4u(0u), vec4u(read_a(at.texel.w)), at.inside.w),
    );
}

fn locate_columns(n: u32) -> u32 { return params.w_base + n * params.w_row; }

fn load_columns(first: u32, step: u32) -> Bytes {
    let k = whole_step(step);
    if WIDTH == 1u {
        let texel = vec4u(code_texel(first + (k >> 1u)));
        let pair = select(texel.xy, texel.zw, (k & 1u) == 1u);
        let shifts = vec4u(0u, 4u, 8u, 12u);
        return Bytes(
            bytes(vec4u(pair.x) >> shifts),
            bytes(vec4u(pair.x) >> (shifts + 16u)),
            bytes(vec4u(pair.y) >> shifts),
            bytes(vec4u(pair.y) >> (shifts + 16u)),
        );
    }
    if WIDTH == 2u {
        let texel = vec4u(code_texel(first + k));
        let shifts = vec4u(0u, 8u, 16u, 24u);
        return Bytes(
            bytes(vec4u(texel.x) >> shifts),
            bytes(vec4u(texel.y) >> shifts),
            bytes(vec4u(texel.z) >> shifts),
            bytes(vec4u(texel.w) >> shifts),
        );
    }
    if WIDTH == 4u {
        let low = vec4u(code_texel(first + 2u * k));
        let high = vec4u(code_texel(first + 2u * k + 1u));
        let shifts = vec4u(0u, 16u, 0u, 16u);
        return Bytes(
            bytes(low.xxyy >> shifts),
            bytes(low.zzww >> shifts),
            bytes(high.xxyy >> shifts),
            bytes(high.zzww >> shifts),
        );
    }
    let texel = first + 4u * k;
    return Bytes(
        bytes(vec4u(code_texel(texel))),
        bytes(vec4u(code_texel(texel + 1u))),
        bytes(vec4u(code_texel(texel + 2u))),
        bytes(vec4u(code_texel(texel + 3u))),
    );
}

const ONES: u32 = 0x01010101u; // one in each byte

// The weights of 16 channels, a byte each, from their codes: four in the low bits of every word.
fn bytes(codes: vec4u) -> vec4u {
    return vec4u(weights(codes.x), weights(codes.y), weights(codes.z), weights(codes.w));
}

// Of one word: number by number, because Intel's compiler keeps what is half done of all four in registers otherwise.
fn weights(codes: u32) -> u32 {
    let spread = spread_codes(codes);
    let sign = (spread >> (WIDTH - 1u)) & ONES;
    var size = ONES;
    if WIDTH == 2u {
        size = (spread & ONES) + ONES * (1u - params.zero);
    }
    if WIDTH > 2u {
        // 2^index of the three bits of an index, bit by bit. With a zero, index 0 is the zero and index i is 2^(i - 1): the
        // shift at the end halves every size, and makes 1 to 0.
        size += spread & ONES;
        let two = whole_bytes((spread >> 1u) & ONES);
        size = (size & ~two) | ((size << 2u) & two);
        let four = whole_bytes((spread >> 2u) & ONES);
        size = (size & ~four) | ((size << 4u) & four);
        size = select(size, (size >> 1u) & 0x7f7f7f7fu, params.zero == 1u);
    }
    // A zero has no sign, so nothing carries into the next byte.
    return (size ^ whole_bytes(sign)) + sign;
}

// 255 for each byte that is 1.
fn whole_bytes(ones: u32) -> u32 { return (ones << 8u) - ones; }

// A byte for each of four codes.
fn spread_codes(codes: u32) -> u32 {
    if WIDTH == 1u {
        let low = codes & 0xfu;
        let pairs = (low | (low << 14u)) & 0x00030003u;
        return (pairs | (pairs << 7u)) & ONES;
    }
    if WIDTH == 2u {
        let low = codes & 0xffu;
        let pairs = (low | (low << 12u)) & 0x000f000fu;
        return (pairs | (pairs << 6u)) & 0x03030303u;
    }
    if WIDTH == 4u {
        let low = codes & 0xffffu;
        let pairs = (low | (low << 8u)) & 0x00ff00ffu;
        return (pairs | (pairs << 4u)) & 0x0f0f0f0fu;
    }
    return codes;
}
