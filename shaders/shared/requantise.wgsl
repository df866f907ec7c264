// From a sum to an activation (docs/FORMAT.md, What is computed). `params` has the limits of activations, low and high.

// clamp((sum + bias) / 2^shift, rounded half up). A negative shift goes left, before the bias is added.
fn requantise(sum: vec4i, bias: vec4i, shift: vec4i) -> vec4i {
    let up = vec4u(max(-shift, vec4i(0)));
    let down = vec4u(max(shift, vec4i(0)));
    let half = vec4i((vec4u(1u) << down) >> vec4u(1u));
    let value = ((sum << up) + bias + half) >> down;
    return clamp(value, vec4i(params.low), vec4i(params.high));
}
