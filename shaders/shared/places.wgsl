// The positions of a convolution, how they count, and the taps that a tile of them runs over.

// Whether positions count through the images first. Those of a tile then lie at one place of many
// images, and near the edges of an image a tile can leave out every tap that reaches across.
override IMAGES_FIRST: bool = false;
// Whether the batch then comes in fours, so that a block of four positions is one place of four images.
override FOURS: bool = false;
// Whether no tap of any position reaches across an edge.
override INSIDE: bool = false;
// Whether windows are single pixels, as those of a dense layer are; then INSIDE too.
override POINTS: bool = false;

// Rows and columns that positions lie in.
struct Extent {
    height: u32,
    width: u32,
    inverse_height: f32,
    inverse_width: f32,
}

struct Places {
    image: vec4u,
    row: vec4u,
    column: vec4u,
}

fn places_of(position: vec4u, extent: Extent) -> Places {
    if IMAGES_FIRST {
        let place = divide(position, params.inverse_batch);
        let row = divide(place, extent.inverse_width);
        return Places(position - place * params.batch, row, place - row * extent.width);
    }
    let line = divide(position, extent.inverse_width);
    let image = divide(line, extent.inverse_height);
    return Places(image, line - image * extent.height, position - line * extent.width);
}

// Those of a block of positions.
fn places_of_block(position: vec4u, extent: Extent) -> Places {
    if !FOURS {
        return places_of(position, extent);
    }
    let place = divide_one(position.x, params.inverse_batch);
    let row = divide_one(place, extent.inverse_width);
    return Places(position - place * params.batch, vec4u(row), vec4u(place - row * extent.width));
}

// The rows and columns that positions lie in, both ends included.
struct Span {
    low: vec2u,
    high: vec2u,
}

fn span(first: u32, last: u32, extent: Extent) -> Span {
    let ends = places_of(vec4u(first, last, 0u, 0u), extent);
    var all = Span(vec2u(0u), vec2u(extent.height, extent.width) - 1u);
    if IMAGES_FIRST || ends.image.x == ends.image.y {
        all.low.x = ends.row.x;
        all.high.x = ends.row.y;
    }
    if IMAGES_FIRST && all.low.x == all.high.x {
        all.low.y = ends.column.x;
        all.high.y = ends.column.y;
    }
    return all;
}

struct Taps {
    first: vec2u, // row and column
    count: vec2u,
    inverse_columns: f32,
}

// Those of a thread's tile, set where the depth is asked for.
var<private> taps: Taps;

// Lets the tile run over the taps from `first` to before `end`, and returns them.
fn choose_taps(first: vec2u, end: vec2u) -> Taps {
    let count = max(end, first) - first;
    let chosen = Taps(first, count, 1.0 / f32(max(count.y, 1u)));
    taps = chosen;
    return chosen;
}

fn tap_of(number: u32) -> vec2u {
    let row = divide_one(number, taps.inverse_columns);
    return taps.first + vec2u(row, number - row * taps.count.y);
}
