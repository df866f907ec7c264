// z = mean + exp(log variance / 2) * noise: a sample of each row's distribution (Kingma, Welling
// 2013, section 2.4).
//
// a: posterior (rows, posterior_texels): means, then log variances
// b: noise (rows, latent_texels), of N(0, 1)
// output_0: z (rows, latent_texels), the padding zero
//
// A thread makes one texel of z.

struct Params {
    rows: u32,
    latent: u32, // numbers
    latent_texels: u32,
    posterior_texels: u32,
    posterior_base: u32, // texels
    noise_base: u32,
    z_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.rows * params.latent_texels {
        return;
    }
    let row = i / params.latent_texels;
    let t = i - row * params.latent_texels;
    let posterior = params.posterior_base + row * params.posterior_texels;
    let noise = read_b(params.noise_base + i);
    var z = vec4f(0.0);
    for (var part = 0u; part < 4u; part++) {
        let k = min(t * 4u + part, params.latent - 1u);
        let deviation = exp(0.5 * number_a(posterior, params.latent + k));
        let value = number_a(posterior, k) + deviation * component(noise, part);
        z[part] = select(0.0, value, t * 4u + part < params.latent);
    }
    write_0(params.z_base + i, z);
}
