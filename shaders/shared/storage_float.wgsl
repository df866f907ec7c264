// The formats of storage textures cannot be named by an alias.
@group(0) @binding(1) var input_a: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var input_b: texture_storage_2d<rgba32float, read>;
@group(0) @binding(3) var input_c: texture_storage_2d<rgba32float, read>;
@group(0) @binding(4) var input_d: texture_storage_2d<rgba32float, read>;
