// Integer division by a multiplication, which CPU drivers run eight times faster. Exact for
// values below 2^22 when inverse is 1 / divisor rounded to nearest: half a step is added, so that
// the quotient stays away from integers by more than the rounding error.

fn divide(value: vec4u, inverse: f32) -> vec4u { return vec4u((vec4f(value) + 0.5) * inverse); }
fn divide_one(value: u32, inverse: f32) -> u32 { return u32((f32(value) + 0.5) * inverse); }
