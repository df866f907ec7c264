// Texels in half the room: four numbers as IEEE binary16. Numbers too large for it become the largest it has, infinities
// NaN; what the built-in functions would make of them depends on the driver.

fn from_halves(halves: vec2u) -> vec4f { return vec4f(unpack2x16float(halves.x), unpack2x16float(halves.y)); }

fn to_halves(texel: vec4f) -> vec2u {
    let kept = clamp(texel, vec4f(-65504.0), vec4f(65504.0));
    let halves = vec2u(pack2x16float(kept.xy), pack2x16float(kept.zw));
    // By their bits: compilers may take for granted that there is no NaN.
    let lost = (bitcast<vec4u>(texel) & vec4u(0x7f800000u)) == vec4u(0x7f800000u);
    return select(halves, vec2u(0x7e007e00u), vec2<bool>(any(lost.xy), any(lost.zw)));
}
