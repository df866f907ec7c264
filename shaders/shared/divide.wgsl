// Integer division by a multiplication, which CPU drivers run eight times faster. Exact for
// values below 2^22 when inverse is 1 / divisor rounded to nearest: half a step is added, so that
// the quotient stays away from integers by more than the rounding error. Through i32, which CPUs
// convert in one instruction.

fn divide(value: vec4u, inverse: f32) -> vec4u {
    return vec4u(vec4i((vec4f(vec4i(value)) + 0.5) * inverse));
}

fn divide_one(value: u32, inverse: f32) -> u32 {
    return u32(i32((f32(i32(value)) + 0.5) * inverse));
}

// The same for larger values, exact while the quotient is below 2^22: what is off by one is mended.
fn divide_long(value: u32, divisor: u32, inverse: f32) -> u32 {
    let guess = u32(f32(value) * inverse);
    let rest = i32(value - guess * divisor);
    return guess + u32(rest >= i32(divisor)) - u32(rest < 0);
}
