// Inputs and outputs as storage buffers: the form for GPUs. A texel is four consecutive numbers.

@group(0) @binding(1) var<storage, read> input_a: array<Texel>;
@group(0) @binding(2) var<storage, read> input_b: array<Texel>;
@group(0) @binding(3) var<storage, read> input_c: array<Texel>;
@group(0) @binding(4) var<storage, read> input_d: array<Texel>;
@group(0) @binding(5) var<storage, read_write> output_0: array<Texel>;
@group(0) @binding(6) var<storage, read_write> output_1: array<Texel>;
@group(0) @binding(7) var<storage, read_write> output_2: array<Texel>;
@group(0) @binding(8) var<storage, read_write> output_3: array<Texel>;

fn read_a(texel: u32) -> Texel { return input_a[texel]; }
fn read_b(texel: u32) -> Texel { return input_b[texel]; }
fn read_c(texel: u32) -> Texel { return input_c[texel]; }
fn read_d(texel: u32) -> Texel { return input_d[texel]; }

// What an output held before this dispatch.
fn previous_0(texel: u32) -> Texel { return output_0[texel]; }
fn previous_1(texel: u32) -> Texel { return output_1[texel]; }
fn previous_2(texel: u32) -> Texel { return output_2[texel]; }
fn previous_3(texel: u32) -> Texel { return output_3[texel]; }

fn write_0(texel: u32, value: Texel) { output_0[texel] = value; }
fn write_1(texel: u32, value: Texel) { output_1[texel] = value; }
fn write_2(texel: u32, value: Texel) { output_2[texel] = value; }
fn write_3(texel: u32, value: Texel) { output_3[texel] = value; }

// The thread's number in a grid that may be folded into y.
fn thread_index(id: vec3u, groups: vec3u) -> u32 { return id.x + id.y * groups.x * 64u; }
