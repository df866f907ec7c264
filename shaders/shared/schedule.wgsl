// The numbers that change from step to step.

struct Schedule {
    learning_rate: f32,
    first_correction: f32, // 1 / (1 - beta_1^t)
    second_correction: f32, // 1 / (1 - beta_2^t)
    lambda_bits: f32,
}
@group(0) @binding(13) var<uniform> schedule: Schedule;
