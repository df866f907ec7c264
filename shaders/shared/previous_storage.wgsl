// What outputs held before this dispatch, for kernels with no more than four operands in all.

@group(0) @binding(9) var mirror_0: texture_storage_2d<rgba32float, read>;
@group(0) @binding(10) var mirror_1: texture_storage_2d<rgba32float, read>;
@group(0) @binding(11) var mirror_2: texture_storage_2d<rgba32float, read>;
@group(0) @binding(12) var mirror_3: texture_storage_2d<rgba32float, read>;

fn previous_0(texel: u32) -> Texel { return textureLoad(mirror_0, place(texel)); }
fn previous_1(texel: u32) -> Texel { return textureLoad(mirror_1, place(texel)); }
fn previous_2(texel: u32) -> Texel { return textureLoad(mirror_2, place(texel)); }
fn previous_3(texel: u32) -> Texel { return textureLoad(mirror_3, place(texel)); }
