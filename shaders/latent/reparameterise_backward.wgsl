// The gradient of z, passed on to means and log variances and added to what is there.
//
// a: posterior (rows, posterior_texels): means, then log variances
// b: noise (rows, latent_texels)
// c: d_z (rows, latent_texels)
// output_0: d_posterior (rows, posterior_texels), updated
//
// A thread makes one texel of d_posterior.

struct Params {
    rows: u32,
    latent: u32, // numbers
    latent_texels: u32,
    posterior_texels: u32,
    posterior_base: u32, // texels
    noise_base: u32,
    d_z_base: u32,
    d_posterior_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.rows * params.posterior_texels {
        return;
    }
    let row = i / params.posterior_texels;
    let first = (i - row * params.posterior_texels) * 4u;
    let posterior = params.posterior_base + row * params.posterior_texels;
    let noise = params.noise_base + row * params.latent_texels;
    let d_z = params.d_z_base + row * params.latent_texels;
    var d = vec4f(0.0);
    for (var part = 0u; part < 4u; part++) {
        let at = min(first + part, 2u * params.latent - 1u);
        let is_variance = at >= params.latent;
        let k = select(at, at - params.latent, is_variance);
        let d_mean = component(read_c(d_z + k / 4u), k & 3u);
        let deviation = exp(0.5 * number_a(posterior, params.latent + k));
        let d_log_variance = d_mean * 0.5 * deviation * number_b(noise, k);
        let value = select(d_mean, d_log_variance, is_variance);
        d[part] = select(0.0, value, first + part < 2u * params.latent);
    }
    write_0(params.d_posterior_base + i, previous_0(params.d_posterior_base + i) + d);
}
