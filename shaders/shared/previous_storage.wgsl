// What outputs held before this dispatch, for kernels with no more than four operands in all.

@group(0) @binding(9) var copy_0: texture_storage_2d<rgba32float, read>;
@group(0) @binding(10) var copy_1: texture_storage_2d<rgba32float, read>;
@group(0) @binding(11) var copy_2: texture_storage_2d<rgba32float, read>;
@group(0) @binding(12) var copy_3: texture_storage_2d<rgba32float, read>;

fn previous_0(texel: u32) -> Texel { return textureLoad(copy_0, place(texel)); }
fn previous_1(texel: u32) -> Texel { return textureLoad(copy_1, place(texel)); }
fn previous_2(texel: u32) -> Texel { return textureLoad(copy_2, place(texel)); }
fn previous_3(texel: u32) -> Texel { return textureLoad(copy_3, place(texel)); }
