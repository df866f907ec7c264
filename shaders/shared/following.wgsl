// Four consecutive numbers of two neighbouring texels, from number `skipped`, 0 to 3, on.
fn following(low: vec4f, high: vec4f, skipped: u32) -> vec4f {
    let far = (skipped & 2u) != 0u;
    let a = select(low, vec4f(low.zw, high.xy), far);
    let b = select(high.xy, high.zw, far);
    return select(a, vec4f(a.yzw, b.x), (skipped & 1u) != 0u);
}
