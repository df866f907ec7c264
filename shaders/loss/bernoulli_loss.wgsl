// Cross entropy in nats of sigmoid(logits) with pixels of 0 to 1, hard or soft, from the logits:
// log(1 + exp(x)) - t x, written so that nothing overflows. See `shared/image_loss.wgsl`.

fn losses(logit: vec4f, target_value: vec4f) -> vec4f {
    return max(logit, vec4f(0.0)) - logit * target_value + log(1.0 + exp(-abs(logit)));
}

fn mean_of(logit: vec4f) -> vec4f {
    let small = exp(-abs(logit));
    return select(small, vec4f(1.0), logit >= vec4f(0.0)) / (1.0 + small);
}

fn slope(logit: vec4f, target_value: vec4f) -> vec4f { return mean_of(logit) - target_value; }
