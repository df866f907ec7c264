// A max pool that only tests keeps no argmax, and has no output for it.
fn keep_argmax(i: u32, argmax: vec4f) {}
