// A max pool that trains keeps which number of each window is the largest.
fn keep_argmax(i: u32, argmax: vec4f) { write_1(params.argmax_base + i, argmax); }
