// What the kernels know that only draw random numbers.

struct Params {
    count: u32, // blocks, one a texel
    y_base: u32, // texels
    counter_0: u32, // of the first block, see shared/philox.wgsl
    counter_1: u32,
    counter_3: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
