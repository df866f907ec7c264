// What texels hold: four floats.
alias Number = f32;
alias Texel = vec4f;
