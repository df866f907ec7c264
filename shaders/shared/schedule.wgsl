// The numbers that change from step to step.

struct Schedule {
    learning_rate: f32,
    first_correction: f32, // 1 / (1 - beta_1^t)
    second_correction: f32, // 1 / (1 - beta_2^t)
    lambda_bits: f32,
    kl_weight: f32, // of KL(q || N(0, 1)) in an evidence lower bound
    seed_low: u32, // of the noise
    seed_high: u32,
    step: u32, // of the noise
    quantiser_rate: f32, // multiple of the learning rate for intercepts and slopes
    lambda_norm: f32, // of the distance of gammas from those that rounded factors stand for
    free_exponents: f32, // a layer that uses no more of them pays nothing
    muon_rate: f32, // the step sizes of other optimisers than Adam
    sgd_rate: f32,
}
@group(0) @binding(13) var<uniform> schedule: Schedule;

// Exponents that a layer need not pay for. `own` is 0 for a layer without a number of its own, which has that of the schedule;
// a layer with the number n has n + 1 there.
fn free_exponents(own: f32) -> f32 {
    return select(schedule.free_exponents, own - 1.0, own > 0.0);
}
