// -log N(target; logit, 1 / inverse_variance) in nats: the outputs are means of normal distributions of
// one variance. See `shared/image_loss.wgsl`.

fn losses(logit: vec4f, target_value: vec4f) -> vec4f {
    let difference = logit - target_value;
    return 0.5 * params.inverse_variance * difference * difference + params.constant;
}

fn mean_of(logit: vec4f) -> vec4f { return logit; }

fn slope(logit: vec4f, target_value: vec4f) -> vec4f {
    return params.inverse_variance * (logit - target_value);
}
