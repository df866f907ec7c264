// Strips of a depthwise convolution, see shared/depthwise.wgsl, in the kernels that read and write them alike: y from x,
// and d_x from d_y.

// A line of what a strip reads, by its first pixel.
struct Line {
    first: u32,
    exists: bool,
}

// A row of an image of `size` rows and columns. Negative rows have become large ones, which lie outside too.
fn line_at(image: u32, row: u32, size: vec2u) -> Line {
    let exists = row < size.x;
    return Line((image * size.x + select(0u, row, exists)) * size.y, exists);
}

// The texel of a line of `width` pixels, zero outside of it. `base` is the texel of the first pixel of all.
fn texel_at(line: Line, column: u32, width: u32, base: u32, channels: u32) -> vec4f {
    let inside = line.exists && column < width;
    let pixel = line.first + select(0u, column, inside);
    return select(vec4f(0.0), read_a(base + pixel * channels), inside);
}

// Stores what a strip came to, where its row does not end before.
fn put_strip(strip: Strip, size: vec2u, channel: u32, sums: mat4x4f) {
    let position = (strip.image * size.x + strip.row) * size.y + strip.column;
    let there = size.y - strip.column;
    put(position, channel, sums[0]);
    if there > 1u { put(position + 1u, channel, sums[1]); }
    if there > 2u { put(position + 2u, channel, sums[2]); }
    if there > 3u { put(position + 3u, channel, sums[3]); }
}
