// What texels hold: four integers.
alias Number = i32;
alias Texel = vec4i;
