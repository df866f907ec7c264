// Philox 4x32-10, a counter-based random number generator (Salmon et al., SC 2011): the same bits
// as `rng::Philox::block`.

// The third word of the counter is the schedule's step, the key its seed. The other words are parameters of the
// kernel: `counter_0` of its first block, `counter_1` and `counter_3`.

const MULTIPLIERS = vec2u(0xd2511f53u, 0xcd9e8d57u);
const WEYL = vec2u(0x9e3779b9u, 0xbb67ae85u);

// The upper halves of two products of 32 bits, from products of 16 that cannot overflow.
fn multiply_high(a: vec2u, b: vec2u) -> vec2u {
    let a_low = a & vec2u(0xffffu);
    let a_high = a >> vec2u(16u);
    let b_low = b & vec2u(0xffffu);
    let b_high = b >> vec2u(16u);
    let first = a_high * b_low + ((a_low * b_low) >> vec2u(16u));
    let second = a_low * b_high + (first & vec2u(0xffffu));
    return a_high * b_high + (first >> vec2u(16u)) + (second >> vec2u(16u));
}

// The four words of block `i` of this dispatch.
fn random_bits(i: u32) -> vec4u {
    var counter = vec4u(params.counter_0 + i, params.counter_1, schedule.step, params.counter_3);
    var key = vec2u(schedule.seed_low, schedule.seed_high);
    for (var round = 0u; round < 10u; round++) {
        let high = multiply_high(counter.xz, MULTIPLIERS);
        let low = counter.xz * MULTIPLIERS;
        counter = vec4u(high.y ^ counter.y ^ key.x, low.y, high.x ^ counter.w ^ key.y, low.x);
        key += WEYL;
    }
    return counter;
}
