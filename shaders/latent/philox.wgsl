// Random bits as they are: what `standard_normal` makes its numbers of.
//
// output_0: bits (count texels), four words of 32 bits a texel

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.count {
        return;
    }
    write_0(params.y_base + i, bitcast<vec4i>(random_bits(i)));
}
