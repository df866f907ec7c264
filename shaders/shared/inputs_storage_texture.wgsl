// Inputs as read-only storage textures that hold copies of the buffers: the form for lavapipe, where
// such a load costs half of a sampled texture's and a twentieth of a buffer's. Their rows hold
// 1,024 texels.

@group(0) @binding(5) var<storage, read_write> output_0: array<Texel>;
@group(0) @binding(6) var<storage, read_write> output_1: array<Texel>;
@group(0) @binding(7) var<storage, read_write> output_2: array<Texel>;
@group(0) @binding(8) var<storage, read_write> output_3: array<Texel>;

fn place(texel: u32) -> vec2u { return vec2u(texel & 1023u, texel >> 10u); }

fn read_a(texel: u32) -> Texel { return textureLoad(input_a, place(texel)); }
fn read_b(texel: u32) -> Texel { return textureLoad(input_b, place(texel)); }
fn read_c(texel: u32) -> Texel { return textureLoad(input_c, place(texel)); }
fn read_d(texel: u32) -> Texel { return textureLoad(input_d, place(texel)); }

fn write_0(texel: u32, value: Texel) { output_0[texel] = value; }
fn write_1(texel: u32, value: Texel) { output_1[texel] = value; }
fn write_2(texel: u32, value: Texel) { output_2[texel] = value; }
fn write_3(texel: u32, value: Texel) { output_3[texel] = value; }

// The thread's number in a grid that may be folded into y.
fn thread_index(id: vec3u, groups: vec3u) -> u32 { return id.x + id.y * groups.x * 64u; }
