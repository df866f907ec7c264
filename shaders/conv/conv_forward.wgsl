// y = convolution of x with w, plus bias, then optionally ReLU, and with POOLED a max pool over 2 x 2.
//
// a: x (batch, input_height, input_width, input_channels)
// b: w (output_channels, kernel_height, kernel_width, input_channels)
// c: bias (output_channels)
// output_0: y (batch, output_height, output_width, output_channels); with POOLED half as high and wide, and the
//           argmax at argmax_base, see shared/squares.wgsl; with SPLIT partial sums of y (splits, like y) without bias
//           and ReLU
//
// As a matrix product: see shared/windows.wgsl, for few channels shared/shift_windows.wgsl.

fn depth_range(m: vec2u, n: vec2u, split: u32) -> vec2u {
    let all = part_of(split, depth());
    if !IMAGES_FIRST {
        return all;
    }
    return part_among(taps_of(m), all, params.kernel_width, params.input_channels);
}

fn locate_rows(m: u32) -> Rows {
    if SHIFTS {
        return Rows(vec4i(i32(shift_base(m))), vec4i(0), vec4i(0));
    }
    return locate_windows(m);
}

fn load_rows(rows: Rows, k: u32) -> mat4x4f {
    if SHIFTS {
        let texel = vec4u(rows.base) + shift_offsets(k);
        return transpose(mat4x4f(read_a(texel.x), read_a(texel.y), read_a(texel.z), read_a(texel.w)));
    }
    let at = window(rows, k);
    if INSIDE {
        return mat4x4f(read_a(at.texel.x), read_a(at.texel.y), read_a(at.texel.z), read_a(at.texel.w));
    }
    let mask = select(vec4f(0.0), vec4f(1.0), at.inside);
    return mat4x4f(
        read_a(at.texel.x) * mask.x,
        read_a(at.texel.y) * mask.y,
        read_a(at.texel.z) * mask.z,
        read_a(at.texel.w) * mask.w,
    );
}

fn locate_columns(n: u32) -> u32 { return params.w_base + n * 4u * depth(); }

fn load_columns(base: u32, k: u32) -> mat4x4f {
    let step = depth();
    let first = base + whole_step(k);
    return transpose(mat4x4f(
        read_b(first),
        read_b(first + step),
        read_b(first + 2u * step),
        read_b(first + 3u * step),
    ));
}

fn store(m: u32, n: u32, split: u32, block: mat4x4f) {
    let position = m * 4u + vec4u(0u, 1u, 2u, 3u);
    let kept = position < vec4u(positions());
    if SPLIT {
        let texel = params.y_base + (split * positions() + pixels(position)) * params.output_channels + n;
        put(kept.x, texel.x, block[0]);
        put(kept.y, texel.y, block[1]);
        put(kept.z, texel.z, block[2]);
        put(kept.w, texel.w, block[3]);
        return;
    }
    let bias = read_c(params.bias_base + n);
    let low = select(vec4f(-3.4e38), vec4f(0.0), params.relu != 0u);
    if POOLED {
        store_pooled(m * params.output_channels + n, bias, block);
        return;
    }
    let texel = params.y_base + pixels(position) * params.output_channels + n;
    put(kept.x, texel.x, max(block[0] + bias, low));
    put(kept.y, texel.y, max(block[1] + bias, low));
    put(kept.z, texel.z, max(block[2] + bias, low));
    put(kept.w, texel.w, max(block[3] + bias, low));
}

fn store_pooled(texel: u32, bias: vec4f, block: mat4x4f) {
    let y = mat4x4f(block[0] + bias, block[1] + bias, block[2] + bias, block[3] + bias);
    let best = max(max(y[0], y[1]), max(y[2], y[3]));
    write_0(params.y_base + texel, max(best, vec4f(0.0)));
    if params.argmax_base != 0xffffffffu {
        // The first of equals.
        var argmax = select(vec4f(3.0), vec4f(2.0), y[2] == best);
        argmax = select(argmax, vec4f(1.0), y[1] == best);
        argmax = select(argmax, vec4f(0.0), y[0] == best);
        write_0(params.argmax_base + texel, select(vec4f(4.0), argmax, best > vec4f(0.0)));
    }
}

fn put(kept: bool, texel: u32, value: vec4f) {
    if kept {
        write_0(texel, value);
    }
}
