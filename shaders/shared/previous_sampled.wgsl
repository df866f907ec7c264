// What outputs held before this dispatch, from sampled texture copies: WebGPU grants four storage textures, and
// inputs may need them.

@group(0) @binding(9) var copy_0: texture_2d<Number>;
@group(0) @binding(10) var copy_1: texture_2d<Number>;
@group(0) @binding(11) var copy_2: texture_2d<Number>;
@group(0) @binding(12) var copy_3: texture_2d<Number>;

fn previous_0(texel: u32) -> Texel { return textureLoad(copy_0, place(texel), 0); }
fn previous_1(texel: u32) -> Texel { return textureLoad(copy_1, place(texel), 0); }
fn previous_2(texel: u32) -> Texel { return textureLoad(copy_2, place(texel), 0); }
fn previous_3(texel: u32) -> Texel { return textureLoad(copy_3, place(texel), 0); }
