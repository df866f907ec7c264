// Records of an extreme exponent: the exponent, how many weights have it, the sum of their
// log2(|w| + eps).

// The extreme of two records: the farther exponent wins, equal ones add up.
fn merge(a: vec4f, b: vec4f, direction: f32) -> vec4f {
    let apart = (b.x - a.x) * direction;
    if apart > 0.0 {
        return b;
    }
    return a + select(vec4f(0.0), vec4f(0.0, b.yzw), apart == 0.0);
}

const NO_TOP = vec4f(-1000.0, 0.0, 0.0, 0.0);
const NO_LOW = vec4f(1000.0, 0.0, 0.0, 0.0);

var<workgroup> tops: array<vec4f, 64>;
var<workgroup> lows: array<vec4f, 64>;

// Of all threads' records, to be called by every thread; the first one has the result.
fn merged(thread: u32, top: vec4f, low: vec4f) -> array<vec4f, 2> {
    tops[thread] = top;
    lows[thread] = low;
    workgroupBarrier();
    var both = array<vec4f, 2>(top, low);
    if thread == 0u {
        for (var i = 1u; i < 64u; i++) {
            both[0] = merge(both[0], tops[i], 1.0);
            both[1] = merge(both[1], lows[i], -1.0);
        }
    }
    return both;
}
