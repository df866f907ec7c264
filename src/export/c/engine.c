/* [all] */
/* (sum << up) + bias, shifted to the right with halves rounded up, then limited. A shift below zero goes left. */
static int32_t rounded(int32_t sum, int32_t bias, int shift, int32_t low, int32_t high)
{
    if (shift <= 0) {
        sum = (int32_t)((uint32_t)sum << -shift) + bias;
    } else {
        sum = (sum + bias + (int32_t)(((uint32_t)1 << shift) >> 1)) >> shift;
    }
    return sum < low ? low : sum > high ? high : sum;
}

/* [border] */
/* Zeros around an image, which convolutions read beyond its edges. `image` is its first number, a row and its border
   take `row_step` numbers. Volatile, so that no compiler makes a call to memset of it. */
static void clear_border(value_t *image, size_t rows, size_t row, size_t row_step, size_t top, size_t left)
{
    volatile value_t *p = image - top - left;
    size_t n = top + left;
    while (n-- > 0) {
        *p++ = 0;
    }
    while (rows-- > 0) {
        p += row;
        n = row_step - row;
        while (n-- > 0) {
            *p++ = 0;
        }
    }
    n = top > left ? top - left : 0;
    while (n-- > 0) {
        *p++ = 0;
    }
}
/* [image] */
/* What the first layer reads of an image's bytes: row after row, through a table for each channel. */
static void read_image(const uint8_t *bytes, const value_t *table, size_t channels, value_t *y, size_t rows,
                       size_t columns, size_t row_step)
{
    while (rows-- > 0) {
        value_t *p = y;
        size_t column;
        for (column = 0; column < columns; column++) {
            const value_t *t = table;
            size_t channel;
            for (channel = 0; channel < channels; channel++) {
                *p++ = t[*bytes++];
                t += 256;
            }
        }
        y += row_step;
    }
}
/* [numbers] */
/* The numbers of a latent, as they are. Volatile, so that no compiler makes a call to memcpy of it. */
static void read_numbers(const value_t *x, value_t *y, size_t count)
{
    while (count-- > 0) {
        *(volatile value_t *)y++ = *x++;
    }
}
/* [keep] */
static void keep(void *y, size_t at, int whole, int32_t number)
{
    if (whole) {
        ((int32_t *)y)[at] = number;
    } else {
        ((value_t *)y)[at] = (value_t)number;
    }
}
/* [product] */
/* A convolution, a dense layer or a batch normalisation. Steps are in numbers, not bytes. */
struct product {
    const uint32_t *codes; /* of every output from a word of its own, the first in the lowest bits */
    const int32_t *bias;
    const int8_t *shift; /* to the right; below zero to the left */
    int32_t low, high;
    uint8_t bits;  /* of a code: a sign above an index of the power of two */
    uint8_t zero;  /* whether index 0 is no weight at all */
    uint8_t whole; /* whether the outputs are 32 bits wide */
    uint32_t outputs, group_outputs, inputs; /* inputs that one output reads of a pixel */
    uint16_t kernel_rows, kernel_columns;
    uint32_t kernel_row;                     /* taps of a row: columns by inputs */
    uint32_t x_row, x_pixel;                 /* from row to row of the input, and from pixel to pixel */
    uint32_t x_down, x_right;                /* from window to window */
    uint16_t rows, columns;                  /* of the output */
    uint16_t pool_rows, pool_columns;        /* windows of which the largest result is kept */
    uint32_t x_pool_down, x_pool_right;      /* from the first of them to the first of the next */
    uint32_t y_row, y_pixel;
};
/* [windows] */
/* Codes one after the other. */
struct codes {
    const uint32_t *next;
    uint32_t word;
    unsigned left, in_word, bits;
};

static struct codes codes_from(const uint32_t *words, unsigned bits, unsigned in_word)
{
    struct codes c;
    c.next = words;
    c.word = 0;
    c.left = 0;
    c.in_word = in_word;
    c.bits = bits;
    return c;
}

static unsigned next_code(struct codes *c)
{
    unsigned code;
    if (c->left == 0) {
        c->word = *c->next++;
        c->left = c->in_word;
    }
    code = (unsigned)(c->word & (((uint32_t)1 << c->bits) - 1));
    c->word >>= c->bits;
    c->left--;
    return code;
}

/* One window: the taps of every power of two, the largest first, those of positive weights before the others. */
static int32_t window_sum(const value_t *window, const offset_t *tap, const tap_count_t *count, unsigned sign,
                          unsigned zero)
{
    int32_t sum = 0;
    unsigned code;
    for (code = sign; code-- > zero;) {
        size_t n = count[code];
        const offset_t *end = tap + (n & ~(size_t)7); /* of eights */
        sum += sum;
        while (tap != end) {
            sum += window[tap[0]];
            sum += window[tap[1]];
            sum += window[tap[2]];
            sum += window[tap[3]];
            sum += window[tap[4]];
            sum += window[tap[5]];
            sum += window[tap[6]];
            sum += window[tap[7]];
            tap += 8;
        }
        for (n &= 7; n > 0; n--) {
            sum += window[*tap++];
        }
        n = count[code | sign];
        end = tap + (n & ~(size_t)7);
        while (tap != end) {
            sum -= window[tap[0]];
            sum -= window[tap[1]];
            sum -= window[tap[2]];
            sum -= window[tap[3]];
            sum -= window[tap[4]];
            sum -= window[tap[5]];
            sum -= window[tap[6]];
            sum -= window[tap[7]];
            tap += 8;
        }
        for (n &= 7; n > 0; n--) {
            sum -= window[*tap++];
        }
    }
    return sum;
}

/* The taps of each output are sorted by weight once, into `taps`, as distances from the first number of a window. Then
   a window takes one addition a tap, and a shift a power of two. */
static void product_of_windows(const struct product *p, unsigned in_word, const value_t *x, void *y, offset_t *taps)
{
    const uint32_t *words = p->codes;
    const unsigned sign = 1u << (p->bits - 1);
    unsigned output, in_group = 0;
    for (output = 0; output < p->outputs; output++) {
        tap_count_t count[CODES], place[CODES];
        unsigned code, row, column, input;
        tap_count_t total = 0;
        struct codes c = codes_from(words, p->bits, in_word);
        offset_t row_at = 0;
        for (code = 0; code < sign << 1; code++) {
            ((volatile tap_count_t *)count)[code] = 0; /* no call of memset */
        }
        for (row = 0; row < p->kernel_rows; row++) {
            for (column = 0; column < p->kernel_columns; column++) {
                for (input = 0; input < p->inputs; input++) {
                    count[next_code(&c)]++;
                }
            }
        }
        /* The largest powers first; taps without a weight last. */
        for (code = sign; code-- > 0;) {
            place[code] = total;
            total = (tap_count_t)(total + count[code]);
            place[code | sign] = total;
            total = (tap_count_t)(total + count[code | sign]);
        }
        c = codes_from(words, p->bits, in_word);
        for (row = 0; row < p->kernel_rows; row++) {
            offset_t at = row_at;
            for (column = 0; column < p->kernel_columns; column++) {
                offset_t from = at;
                for (input = 0; input < p->inputs; input++) {
                    taps[place[next_code(&c)]++] = from++;
                }
                at = (offset_t)(at + p->x_pixel);
            }
            row_at = (offset_t)(row_at + p->x_row);
        }
        words = c.next;
        {
            const value_t *line = x;
            size_t line_at = output;
            const int32_t bias = p->bias[output];
            const int shift = p->shift[output];
            for (row = 0; row < p->rows; row++) {
                const value_t *first = line;
                size_t at = line_at;
                unsigned pool_row, pool_column;
                for (column = 0; column < p->columns; column++) {
                    int32_t best = INT32_MIN;
                    const value_t *pool_line = first;
                    for (pool_row = 0; pool_row < p->pool_rows; pool_row++) {
                        const value_t *window = pool_line;
                        for (pool_column = 0; pool_column < p->pool_columns; pool_column++) {
                            int32_t sum = window_sum(window, taps, count, sign, p->zero);
                            sum = rounded(sum, bias, shift, p->low, p->high);
                            best = sum > best ? sum : best;
                            window += p->x_right;
                        }
                        pool_line += p->x_down;
                    }
                    keep(y, at, p->whole, best);
                    first += p->x_pool_right;
                    at += p->y_pixel;
                }
                line += p->x_pool_down;
                line_at += p->y_row;
            }
        }
        if (++in_group == p->group_outputs) {
            in_group = 0;
            x += p->inputs;
        }
    }
}
/* [pixel] */
/* One window that covers the image. Of codes of one bit the inputs of negative weights are added up: the sum of all is
   the same for every output. Else inputs are added up by the code of their weight, and the sums weighed at the end. */
static void product_of_pixel(const struct product *p, unsigned in_word, const value_t *x, void *y)
{
    const uint32_t *words = p->codes;
    const unsigned sign = 1u << (p->bits - 1);
    const uint32_t mask = ((uint32_t)sign << 1) - 1;
    const value_t *line = x;
    int32_t all = 0;
    unsigned output, row;
    for (row = 0; row < p->kernel_rows; row++) {
        size_t n;
        for (n = 0; n < p->kernel_row; n++) {
            all += line[n];
        }
        line += p->x_row;
    }
    for (output = 0; output < p->outputs; output++) {
        int32_t sums[CODES], sum = 0;
        uint32_t word = 0;
        size_t left = 0;
        unsigned code;
        for (code = 0; code <= mask; code++) {
            ((volatile int32_t *)sums)[code] = 0;
        }
        line = x;
        for (row = 0; row < p->kernel_rows; row++) {
            const value_t *q = line;
            size_t n = p->kernel_row;
            while (n > 0) {
                size_t take;
                if (left == 0) {
                    word = *words++;
                    left = in_word;
                }
                take = n < left ? n : left;
                n -= take;
                left -= take;
                if (sign == 1) {
                    for (; take >= 8; take -= 8) {
                        if (word & 1) sum += q[0];
                        if (word & 2) sum += q[1];
                        if (word & 4) sum += q[2];
                        if (word & 8) sum += q[3];
                        if (word & 16) sum += q[4];
                        if (word & 32) sum += q[5];
                        if (word & 64) sum += q[6];
                        if (word & 128) sum += q[7];
                        q += 8;
                        word >>= 8;
                    }
                    for (; take > 0; take--) {
                        if (word & 1) sum += *q;
                        q++;
                        word >>= 1;
                    }
                } else {
                    for (; take > 0; take--) {
                        sums[word & mask] += *q++;
                        word >>= p->bits;
                    }
                }
            }
            line += p->x_row;
        }
        if (sign == 1) {
            sum = p->zero ? 0 : all - sum - sum;
        } else {
            for (code = sign; code-- > p->zero;) {
                sum += sum;
                sum += sums[code] - sums[code | sign];
            }
        }
        keep(y, output, p->whole, rounded(sum, p->bias[output], p->shift[output], p->low, p->high));
    }
}
/* [map] */
/* Rows of numbers that lie `x_step` and `y_step` apart. */
struct rows {
    size_t rows, row, x_step, y_step;
};

static struct rows rows_of(size_t rows, size_t row, size_t x_step, size_t y_step)
{
    struct rows r;
    r.rows = rows;
    r.row = row;
    r.x_step = x_step;
    r.y_step = y_step;
    return r;
}
/* [activation] */
/* Each number by itself: what is not negative goes up by `leak` places first. */
static void activation(struct rows r, const value_t *x, void *y, int whole, int leak, int shift, int32_t low,
                       int32_t high)
{
    size_t y_at = 0;
    while (r.rows-- > 0) {
        size_t i;
        for (i = 0; i < r.row; i++) {
            int32_t v = x[i];
            if (v >= 0) {
                v = (int32_t)((uint32_t)v << leak);
            }
            keep(y, y_at + i, whole, rounded(v, 0, shift, low, high));
        }
        x += r.x_step;
        y_at += r.y_step;
    }
}
/* [sum] */
/* The sum of `inputs` images, each shifted to the left first; `steps` are the steps of their rows. */
static void add(struct rows r, unsigned inputs, const value_t **x, const size_t *steps, const uint8_t *ups, void *y,
                int whole, int shift, int32_t low, int32_t high)
{
    size_t y_at = 0;
    while (r.rows-- > 0) {
        size_t i;
        unsigned k;
        for (i = 0; i < r.row; i++) {
            int32_t sum = 0;
            for (k = 0; k < inputs; k++) {
                sum += (int32_t)((uint32_t)(int32_t)x[k][i] << ups[k]);
            }
            keep(y, y_at + i, whole, rounded(sum, 0, shift, low, high));
        }
        for (k = 0; k < inputs; k++) {
            x[k] += steps[k];
        }
        y_at += r.y_step;
    }
}
/* [join] */
/* One input of a concatenation: `row` channels of each of `columns` pixels of a row, `y_pixel` apart in y. */
static void join(struct rows r, size_t columns, size_t y_pixel, const value_t *x, void *y, size_t y_at, int whole,
                 int shift, int32_t low, int32_t high)
{
    while (r.rows-- > 0) {
        const value_t *p = x;
        size_t at = y_at, column, i;
        for (column = 0; column < columns; column++) {
            for (i = 0; i < r.row; i++) {
                keep(y, at + i, whole, rounded(*p++, 0, shift, low, high));
            }
            at += y_pixel;
        }
        x += r.x_step;
        y_at += r.y_step;
    }
}
/* [pool] */
/* Windows over images, each channel by itself. Sizes in pixels, steps in numbers. */
struct pool {
    uint16_t input_rows, input_columns, window_rows, window_columns;
    uint16_t down, right, padding_rows, padding_columns;
    uint16_t rows, columns;
    uint32_t channels, x_row, y_row;
    uint32_t x_down, x_right, x_before; /* from window to window, and from the first window back to padding */
};

static void pool(const struct pool *p, int average, const value_t *x, void *y, int whole, int shift, int32_t low,
                 int32_t high)
{
    size_t y_line = 0;
    unsigned row, column, channel;
    int top = -(int)p->padding_rows;
    ptrdiff_t line = -(ptrdiff_t)p->x_before;
    for (row = 0; row < p->rows; row++) {
        ptrdiff_t window = line;
        size_t at = y_line;
        int left = -(int)p->padding_columns;
        for (column = 0; column < p->columns; column++) {
            for (channel = 0; channel < p->channels; channel++) {
                ptrdiff_t across = window + (ptrdiff_t)channel;
                int32_t best = INT32_MIN, sum = 0;
                int r, c;
                for (r = top; r < top + (int)p->window_rows; r++) {
                    ptrdiff_t from = across;
                    if (r >= 0 && r < (int)p->input_rows) {
                        for (c = left; c < left + (int)p->window_columns; c++) {
                            if (c >= 0 && c < (int)p->input_columns) {
                                const int32_t v = x[from];
                                sum += v;
                                best = v > best ? v : best;
                            }
                            from += (ptrdiff_t)p->channels;
                        }
                    }
                    across += (ptrdiff_t)p->x_row;
                }
                keep(y, at, whole, average ? rounded(sum, 0, shift, low, high) : best);
                at++;
            }
            window += (ptrdiff_t)p->x_right;
            left += (int)p->right;
        }
        line += (ptrdiff_t)p->x_down;
        y_line += p->y_row;
        top += (int)p->down;
    }
}
/* [repeat] */
/* Each pixel as a square of `size` rows and columns; `r` has the rows of x and the columns in place of `row`. */
static void repeat(struct rows r, unsigned size, size_t channels, const value_t *x, void *y, int whole)
{
    size_t y_at = 0;
    while (r.rows-- > 0) {
        unsigned copy, square;
        for (copy = 0; copy < size; copy++) {
            const value_t *p = x;
            size_t at = y_at, column, i;
            for (column = 0; column < r.row; column++) {
                for (square = 0; square < size; square++) {
                    for (i = 0; i < channels; i++) {
                        keep(y, at++, whole, p[i]);
                    }
                }
                p += channels;
            }
            y_at += r.y_step;
        }
        x += r.x_step;
    }
}
