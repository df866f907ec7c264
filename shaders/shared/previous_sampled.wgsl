// What outputs held before this dispatch, from sampled mirrors: WebGPU grants four storage textures, and
// inputs may need them.

@group(0) @binding(9) var mirror_0: texture_2d<Number>;
@group(0) @binding(10) var mirror_1: texture_2d<Number>;
@group(0) @binding(11) var mirror_2: texture_2d<Number>;
@group(0) @binding(12) var mirror_3: texture_2d<Number>;

fn previous_0(texel: u32) -> Texel { return textureLoad(mirror_0, place(texel), 0); }
fn previous_1(texel: u32) -> Texel { return textureLoad(mirror_1, place(texel), 0); }
fn previous_2(texel: u32) -> Texel { return textureLoad(mirror_2, place(texel), 0); }
fn previous_3(texel: u32) -> Texel { return textureLoad(mirror_3, place(texel), 0); }
