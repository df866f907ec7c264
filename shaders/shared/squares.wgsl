// Outputs of a convolution in squares: the four positions of a block are two rows by two columns, as a max pool
// over 2 x 2 takes them and as shared/shift_windows.wgsl reads for them. Height and width of the outputs are even
// then: what a pool cuts off is left out.

// Whether positions count by squares.
override SQUARES: bool = false;
// Whether outputs pass through a ReLU and a max pool of their squares; then SQUARES too. Of a square there is the
// result, its gradient, and the argmax: which position passed, 0 to 3, or 4 where the ReLU let nothing through.
override POOLED: bool = false;

struct Square {
    image: u32,
    row: u32, // counted in squares
    column: u32,
}

fn square_of(number: u32) -> Square {
    let line = divide_one(number, 2.0 * params.inverse_output_width);
    let image = divide_one(line, 2.0 * params.inverse_output_height);
    let row = line - image * (params.output_height / 2u);
    return Square(image, row, number - line * (params.output_width / 2u));
}

fn rows_of(at: Square) -> vec4u { return 2u * at.row + vec4u(0u, 0u, 1u, 1u); }

fn columns_of(at: Square) -> vec4u { return 2u * at.column + vec4u(0u, 1u, 0u, 1u); }

// Where its outputs lie, in pixels.
fn pixels_of(at: Square) -> vec4u {
    let line = at.image * params.output_height + 2u * at.row;
    let first = line * params.output_width + 2u * at.column;
    return first + vec4u(0u, 1u, params.output_width, params.output_width + 1u);
}

// What a position of a square has of the gradient of the pool's result.
fn unpooled(d_y: vec4f, argmax: vec4f, position: u32) -> vec4f {
    return select(vec4f(0.0), d_y, argmax == vec4f(f32(position)));
}
