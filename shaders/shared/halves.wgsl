// Texels in half the room: four numbers as IEEE binary16. Numbers too large for it become the largest it has; two of which
// one is infinite or no number become NaN both. What the built-in functions make of such numbers, and in which direction
// they round, depends on the driver.

fn from_halves(halves: vec2u) -> vec4f { return vec4f(unpack2x16float(halves.x), unpack2x16float(halves.y)); }

fn to_halves(texel: vec4f) -> vec2u {
    let kept = bitcast<vec4u>(clamp(texel, vec4f(-65504.0), vec4f(65504.0)));
    // To the nearest number of eleven bits, of two equally near ones the even one.
    let even = (kept >> vec4u(13u)) & vec4u(1u);
    let rounded = bitcast<vec4f>((kept + vec4u(0xfffu) + even) & vec4u(0xffffe000u));
    let halves = vec2u(pack2x16float(rounded.xy), pack2x16float(rounded.zw));
    // By their bits: compilers may take for granted that there is no NaN.
    let lost = (bitcast<vec4u>(texel) & vec4u(0x7f800000u)) == vec4u(0x7f800000u);
    return select(halves, vec2u(0x7e007e00u), vec2<bool>(any(lost.xy), any(lost.zw)));
}
