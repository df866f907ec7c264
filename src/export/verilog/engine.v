// Made by gtc.
//
// A shift-add engine for networks whose weights are powers of two, in plain Verilog-2005.
//
//   activation memory -> INPUTS activations a clock --+
//   weight memories   -> LANES x INPUTS codes a clock -+-> LANES lanes: a tree of INPUTS terms, one accumulator
//                                                           |  (chain of registers, one sum a clock)
//                        window unit (pools, sums, copies) -+-> rescaling: add, shift, limit -> activation memory
//
// An activation x of ACT bits is read as u = x + 2^(ACT-1), which is never negative. A weight +2^k contributes
// u << k, a weight -2^k contributes ~u << k = (2^ACT - 1 - u) << k: no carry, no sign extension. What these terms
// exceed the true products by depends on the weights alone, and is part of `correct`, a number of each output that
// the rescaling adds. Accumulators wrap: only the true sum of an output must fit into ACC bits.
//
// Numbers of the table of steps whose names end in `end` are counts minus one.

`default_nettype none
/* verilator lint_off DECLFILENAME */ // All modules of the engine are in this file.

// One term: an activation, shifted and inverted as the code says. CODE = sign above an index of INDEX bits.
// With ZERO, index 0 is no weight at all and index k stands for 2^(k-1); without it index k stands for 2^k.
module gtc_term #(
    parameter ACT = 8,
    parameter INDEX = 1,
    parameter ZERO = 0,
    parameter TERM = 9
) (
    input wire [ACT-1:0] u,
    input wire [INDEX:0] code,
    output reg [TERM-1:0] term
);
    wire [ACT-1:0] signed_u = u ^ {ACT{code[INDEX]}};
    generate
        if (INDEX == 0) begin : g_sign
            always @* term = signed_u;
        end else begin : g_shift
            integer k;
            always @* begin
                term = {TERM{1'b0}};
                for (k = ZERO; k < (1 << INDEX) && k - ZERO + ACT <= TERM; k = k + 1)
                    if (code[INDEX-1:0] == k[INDEX-1:0])
                        term = {{(TERM-ACT){1'b0}}, signed_u} << (k - ZERO);
            end
        end
    endgenerate
endmodule

// Codes of a memory of BITS bits a code, as codes of the array. In an array with ZERO, indices of layers without zeros
// begin at 1.
module gtc_expand #(
    parameter CODES = 128,
    parameter BITS = 1,
    parameter CODE = 2,
    parameter MULTIPLY = 0,
    parameter ZERO = 0
) (
    input wire [CODES*BITS-1:0] packed_codes,
    input wire zero,
    output wire [CODES*CODE-1:0] codes
);
    genvar i;
    generate
        if (MULTIPLY != 0 || CODE == 1) begin : g_same
            wire unused = &{1'b0, zero};
            assign codes = packed_codes;
        end else begin : g_codes
            for (i = 0; i < CODES; i = i + 1) begin : g_code
                wire [CODE-2:0] index;
                if (BITS == 1) begin : g_sign
                    assign index = {(CODE-1){1'b0}};
                end else if (BITS == CODE) begin : g_whole
                    assign index = packed_codes[i*BITS +: BITS-1];
                end else begin : g_part
                    assign index = {{(CODE-BITS){1'b0}}, packed_codes[i*BITS +: BITS-1]};
                end
                assign codes[i*CODE+CODE-1] = packed_codes[i*BITS+BITS-1];
                if (ZERO != 0) begin : g_zero
                    assign codes[i*CODE +: CODE-1] = index + {{(CODE-2){1'b0}}, !zero};
                end else begin : g_plain
                    assign codes[i*CODE +: CODE-1] = index;
                end
            end
            if (ZERO == 0) begin : g_unused
                wire unused = &{1'b0, zero};
            end
        end
    endgenerate
endmodule

// For comparison: an activation times a weight of CODE bits in two's complement.
module gtc_multiplier #(
    parameter ACT = 8,
    parameter CODE = 8
) (
    input wire [ACT-1:0] u,
    input wire [CODE-1:0] code,
    output wire [ACT+CODE-1:0] term
);
    wire signed [ACT-1:0] x = {~u[ACT-1], u[ACT-2:0]};
    wire signed [CODE-1:0] w = code;
    wire signed [ACT+CODE-1:0] product = x * w;
    assign term = product;
endmodule

// A processing element: INPUTS terms, their sum, an accumulator, and a register of the chain that sums leave by.
module gtc_lane #(
    parameter ACT = 8,
    parameter INPUTS = 8,
    parameter CODE = 2,
    parameter MULTIPLY = 0,
    parameter ZERO = 0,
    parameter TERM = 9,
    parameter ACC = 18
) (
    input wire clock,
    input wire [INPUTS*ACT-1:0] u,
    input wire [INPUTS*CODE-1:0] codes,
    input wire first,
    input wire add,
    input wire load,
    input wire [ACC-1:0] chain_in,
    output reg [ACC-1:0] chain
);
    localparam SUM = TERM + $clog2(INPUTS);
    wire [INPUTS*TERM-1:0] terms;
    genvar t;
    generate
        for (t = 0; t < INPUTS; t = t + 1) begin : g_terms
            if (MULTIPLY != 0) begin : g_multiply
                gtc_multiplier #(.ACT(ACT), .CODE(CODE)) multiplier (
                    .u(u[t*ACT +: ACT]), .code(codes[t*CODE +: CODE]), .term(terms[t*TERM +: TERM]));
            end else begin : g_add
                gtc_term #(.ACT(ACT), .INDEX(CODE-1), .ZERO(ZERO), .TERM(TERM)) shifted (
                    .u(u[t*ACT +: ACT]), .code(codes[t*CODE +: CODE]), .term(terms[t*TERM +: TERM]));
            end
        end
    endgenerate
    reg [SUM-1:0] tree;
    integer i;
    always @* begin
        tree = {SUM{1'b0}};
        for (i = 0; i < INPUTS; i = i + 1)
            tree = tree + {{(SUM-TERM){MULTIPLY != 0 && terms[i*TERM + TERM-1]}}, terms[i*TERM +: TERM]};
    end
    reg [SUM-1:0] sum;
    reg [ACC-1:0] total;
    wire [ACC-1:0] wide_sum;
    generate
        if (ACC > SUM) begin : g_extend
            assign wide_sum = {{(ACC-SUM){MULTIPLY != 0 && sum[SUM-1]}}, sum};
        end else begin : g_cut
            assign wide_sum = sum[ACC-1:0];
            if (SUM > ACC) begin : g_rest
                wire unused = &{1'b0, sum[SUM-1:ACC]};
            end
        end
    endgenerate
    always @(posedge clock) begin
        sum <= tree;
        if (add)
            total <= (first ? {ACC{1'b0}} : total) + wide_sum;
        chain <= load ? total : chain_in;
    end
endmodule

// All lanes. Sums leave at lane 0, one a clock.
module gtc_array #(
    parameter ACT = 8,
    parameter INPUTS = 8,
    parameter LANES = 16,
    parameter CODE = 2,
    parameter MULTIPLY = 0,
    parameter ZERO = 0,
    parameter TERM = 9,
    parameter ACC = 18
) (
    input wire clock,
    input wire [INPUTS*ACT-1:0] u,
    input wire [LANES*INPUTS*CODE-1:0] codes,
    input wire first,
    input wire add,
    input wire load,
    output wire [ACC-1:0] sum
);
    wire [(LANES+1)*ACC-1:0] chain;
    assign chain[LANES*ACC +: ACC] = {ACC{1'b0}};
    assign sum = chain[0 +: ACC];
    genvar l;
    generate
        for (l = 0; l < LANES; l = l + 1) begin : g_lanes
            gtc_lane #(.ACT(ACT), .INPUTS(INPUTS), .CODE(CODE), .MULTIPLY(MULTIPLY), .ZERO(ZERO), .TERM(TERM), .ACC(ACC))
                lane (.clock(clock), .u(u), .codes(codes[l*INPUTS*CODE +: INPUTS*CODE]), .first(first), .add(add),
                      .load(load), .chain_in(chain[(l+1)*ACC +: ACC]), .chain(chain[l*ACC +: ACC]));
        end
    endgenerate
endmodule

// Pools, sums of two values, activations and copies: one number a clock, from the numbers of a window.
module gtc_window #(
    parameter ACT = 8,
    parameter INPUTS = 8,
    parameter LANE = 3,
    parameter WIDE = 20,
    parameter UP = 1
) (
    input wire clock,
    input wire [INPUTS*ACT-1:0] u,
    input wire [LANE-1:0] lane,
    input wire first,
    input wire valid,
    input wire in_image,
    input wire second,
    input wire maximum,
    input wire leaky,
    input wire [UP-1:0] up_first,
    input wire [UP-1:0] up_second,
    output reg [WIDE-1:0] total
);
    wire [ACT-1:0] chosen = u[lane*ACT +: ACT];
    reg [ACT-1:0] x;
    reg first_x, valid_x, in_image_x, second_x;
    reg fresh;
    wire [UP-1:0] up = leaky ? (x[ACT-1] ? {UP{1'b0}} : up_first) : second_x ? up_second : up_first;
    wire [WIDE-1:0] shifted = {{(WIDE-ACT){x[ACT-1]}}, x} << up;
    wire [WIDE-1:0] sum = total + shifted;
    wire larger = $signed(shifted) > $signed(total);
    wire begins = first_x || fresh;
    always @(posedge clock) begin
        x <= {~chosen[ACT-1], chosen[ACT-2:0]};
        first_x <= first;
        valid_x <= valid;
        in_image_x <= in_image;
        second_x <= second;
        if (valid_x) begin
            if (maximum && !in_image_x)
                fresh <= begins;
            else begin
                fresh <= 1'b0;
                if (begins || (maximum && larger))
                    total <= shifted;
                else if (!maximum)
                    total <= sum;
            end
        end
    end
endmodule

// Where a step reads: six loops, from the in_image out over the words of a pixel, the columns and rows of a window, the
// groups of outputs, and the columns and rows of the output. Every loop has what is added to the address as it goes on.
module gtc_sequencer #(
    parameter ADDRESS = 14,
    parameter WEIGHT = 12,
    parameter INNER = 7,
    parameter KERNEL = 3,
    parameter GROUP = 8,
    parameter PLACE = 6,
    parameter SPACE = 6,
    parameter LANES = 16,
    parameter PADDED = 1
) (
    input wire clock,
    input wire reset,
    input wire start,
    input wire hold,
    input wire f_product,
    input wire [ADDRESS-1:0] f_base,
    input wire [6*ADDRESS-1:0] f_deltas,
    input wire [WEIGHT-1:0] f_weight,
    input wire [INNER-1:0] f_inner_end,
    input wire [KERNEL-1:0] f_column_end,
    input wire [KERNEL-1:0] f_row_end,
    input wire [GROUP-1:0] f_group_end,
    input wire [PLACE-1:0] f_x_end,
    input wire [PLACE-1:0] f_y_end,
    input wire [SPACE-1:0] f_last_lanes_end,
    input wire [PLACE:0] f_first_x,
    input wire [PLACE:0] f_first_y,
    input wire [KERNEL-1:0] f_stride_x,
    input wire [KERNEL-1:0] f_stride_y,
    input wire [PLACE:0] f_columns,
    input wire [PLACE:0] f_rows,
    output reg [ADDRESS-1:0] address,
    output reg [WEIGHT-1:0] weight,
    output wire issue,
    output wire first,
    output wire last,
    output wire in_image,
    output wire second,
    output wire busy
);
    reg running;
    reg [INNER-1:0] inner;
    reg [KERNEL-1:0] column, row;
    reg [GROUP-1:0] group;
    reg [PLACE-1:0] x, y;
    reg [SPACE-1:0] space;
    wire inner_end = inner == f_inner_end;
    wire column_end = column == f_column_end;
    wire row_end = row == f_row_end;
    wire group_end = group == f_group_end;
    wire x_end = x == f_x_end;
    wire y_end = y == f_y_end;
    wire whole = last && group_end;
    assign first = inner == 0 && column == 0 && row == 0;
    assign last = inner_end && column_end && row_end;
    assign second = row != 0;
    // The chain of sums must be empty again before the next ones are moved into it.
    assign issue = running && !hold && !(f_product && last && space != 0);
    assign busy = running || space != 0;
    wire [ADDRESS-1:0] delta = !inner_end ? f_deltas[0 +: ADDRESS]
                             : !column_end ? f_deltas[ADDRESS +: ADDRESS]
                             : !row_end ? f_deltas[2*ADDRESS +: ADDRESS]
                             : !group_end ? f_deltas[3*ADDRESS +: ADDRESS]
                             : !x_end ? f_deltas[4*ADDRESS +: ADDRESS]
                             : f_deltas[5*ADDRESS +: ADDRESS];
    always @(posedge clock) begin
        if (space != 0)
            space <= space - 1'b1;
        if (start) begin
            running <= 1'b1;
            address <= f_base;
            weight <= f_weight;
            inner <= 0;
            column <= 0;
            row <= 0;
            group <= 0;
            x <= 0;
            y <= 0;
        end else if (issue) begin
            address <= address + delta;
            weight <= whole ? f_weight : weight + {{(WEIGHT-1){1'b0}}, f_product};
            inner <= inner_end ? {INNER{1'b0}} : inner + 1'b1;
            if (inner_end)
                column <= column_end ? {KERNEL{1'b0}} : column + 1'b1;
            if (inner_end && column_end)
                row <= row_end ? {KERNEL{1'b0}} : row + 1'b1;
            if (last)
                group <= group_end ? {GROUP{1'b0}} : group + 1'b1;
            if (whole)
                x <= x_end ? {PLACE{1'b0}} : x + 1'b1;
            if (whole && x_end) begin
                y <= y + 1'b1;
                if (y_end)
                    running <= 1'b0;
            end
            if (f_product && last)
                space <= group_end ? f_last_lanes_end : LANES[SPACE-1:0] - 1'b1;
        end
        if (reset) begin
            running <= 1'b0;
            space <= 0;
        end
    end
    // Rows and columns of an image around which there are zeros. A row before the first one wraps to a large number.
    generate
        if (PADDED != 0) begin : g_padded
            reg [PLACE:0] left, top;
            wire [PLACE:0] at_x = left + {{(PLACE+1-KERNEL){1'b0}}, column};
            wire [PLACE:0] at_y = top + {{(PLACE+1-KERNEL){1'b0}}, row};
            assign in_image = at_x < f_columns && at_y < f_rows;
            always @(posedge clock) begin
                if (start) begin
                    left <= f_first_x;
                    top <= f_first_y;
                end else if (issue && whole) begin
                    left <= x_end ? f_first_x : left + {{(PLACE+1-KERNEL){1'b0}}, f_stride_x};
                    if (x_end)
                        top <= top + {{(PLACE+1-KERNEL){1'b0}}, f_stride_y};
                end
            end
        end else begin : g_plain
            wire unused = &{1'b0, f_first_x, f_first_y, f_stride_x, f_stride_y, f_columns, f_rows};
            assign in_image = 1'b1;
        end
    endgenerate
endmodule

// What becomes of a sum: (sum << up) + bias, halves rounded up, shifted to the right, limited; `bias` includes the half.
// A layer that a max pool follows keeps the largest number of each window in the activation memory.
module gtc_rescale #(
    parameter ACT = 8,
    parameter INPUTS = 8,
    parameter LANE = 3,
    parameter ADDRESS = 14,
    parameter ACC = 18,
    parameter WIDE = 20,
    parameter DOWN = 4,
    parameter UP = 1,
    parameter UPS = 0,
    parameter PLACE = 6,
    parameter POOL = 3,
    parameter POOLED = 1
) (
    input wire clock,
    input wire reset,
    input wire start,
    input wire f_product,
    input wire f_final,
    input wire f_pooled,
    input wire [ADDRESS-1:0] f_to,
    input wire [ADDRESS-1:0] f_to_pixel,
    input wire [PLACE-1:0] f_x_end,
    input wire [POOL-1:0] f_pool_column_end,
    input wire [POOL-1:0] f_pool_row_end,
    input wire [ACT-1:0] f_low,
    input wire [ACT-1:0] f_high,
    input wire f_has_low,
    input wire f_has_high,
    // A sum, the numbers of its output a clock later.
    input wire valid,
    input wire ends,
    input wire padding,
    input wire [WIDE-1:0] value,
    input wire [ACC-1:0] correct,
    input wire [WIDE-1:0] bias,
    input wire [DOWN-1:0] down,
    input wire [UP-1:0] up,
    // The old numbers of a pool.
    output wire fetch,
    output wire [ADDRESS-1:0] fetch_address,
    input wire [INPUTS*ACT-1:0] fetched,
    output wire write,
    output reg [ADDRESS-1:0] write_address,
    output wire [ACT-1:0] write_data,
    output reg out_valid,
    output reg [31:0] out_data
);
    reg valid1, valid2, valid3, valid4, valid5, valid6, ends1, ends2, ends3, ends4, padding1, padding2, padding3, padding4;
    reg [WIDE-1:0] value1, value2, value3, value4;
    reg [WIDE-1:0] bias2;
    reg [DOWN-1:0] down2, down3;
    wire [ACC-1:0] sum = value1[ACC-1:0] + correct;
    wire [WIDE-1:0] wide_sum;
    generate
        if (WIDE > ACC) begin : g_wider
            assign wide_sum = {{(WIDE-ACC){sum[ACC-1]}}, sum};
        end else begin : g_equal
            assign wide_sum = sum;
        end
    endgenerate
    wire [WIDE-1:0] raised;
    generate
        if (UPS != 0) begin : g_up
            reg [UP-1:0] up2;
            always @(posedge clock) up2 <= up;
            assign raised = value2 << up2;
        end else begin : g_no_up
            wire unused = &{1'b0, up};
            assign raised = value2;
        end
    endgenerate
    wire signed [WIDE-1:0] before_shift = value3;
    wire signed [WIDE-1:0] shifted = before_shift >>> down3;
    wire signed [WIDE-1:0] low = {{(WIDE-ACT){f_low[ACT-1]}}, f_low};
    wire signed [WIDE-1:0] high = {{(WIDE-ACT){f_high[ACT-1]}}, f_high};
    wire signed [WIDE-1:0] rounded = value4;
    wire [WIDE-1:0] limited = padding4 ? {WIDE{1'b0}} : (f_has_low && rounded < low) ? low
                            : (f_has_high && rounded > high) ? high : rounded;
    reg [ACT-1:0] limited5, limited6;
    reg [ADDRESS-1:0] at, at5;
    reg [ADDRESS-1:0] pixel;
    wire [ADDRESS-1:0] next_pixel;
    always @(posedge clock) begin
        valid1 <= valid;
        valid2 <= valid1;
        valid3 <= valid2;
        valid4 <= valid3;
        valid5 <= valid4 && !f_final;
        valid6 <= valid5;
        ends1 <= ends;
        ends2 <= ends1;
        ends3 <= ends2;
        ends4 <= ends3;
        padding1 <= padding;
        padding2 <= padding1;
        padding3 <= padding2;
        padding4 <= padding3;
        value1 <= value;
        value2 <= f_product ? wide_sum : value1;
        bias2 <= bias;
        down2 <= down;
        value3 <= raised + bias2;
        down3 <= down2;
        value4 <= shifted;
        at5 <= at;
        write_address <= at5;
        limited5 <= limited[ACT-1:0];
        limited6 <= limited5;
        if (start) begin
            at <= f_to;
            pixel <= f_to;
        end else if (valid4) begin
            at <= ends4 ? next_pixel : at + 1'b1;
            if (ends4)
                pixel <= next_pixel;
        end
        out_valid <= valid4 && f_final && !padding4;
        if (valid4 && f_final)
            out_data <= {{(32-WIDE){limited[WIDE-1]}}, limited};
        if (reset) begin
            valid1 <= 1'b0;
            valid2 <= 1'b0;
            valid3 <= 1'b0;
            valid4 <= 1'b0;
            valid5 <= 1'b0;
            valid6 <= 1'b0;
            out_valid <= 1'b0;
        end
    end
    assign write = valid6;
    generate
        if (POOLED != 0) begin : g_pooled
            reg [ADDRESS-1:0] line;
            reg [PLACE-1:0] x;
            reg [POOL-1:0] column, row;
            reg fetched5, again5, again6;
            reg [INPUTS*ACT-1:0] kept;
            wire signed [ACT-1:0] old = kept[write_address[LANE-1:0]*ACT +: ACT];
            wire signed [ACT-1:0] now = limited6;
            wire column_end = !f_pooled || column == f_pool_column_end;
            wire row_end = row == f_pool_row_end;
            wire x_end = x == f_x_end;
            wire again = f_pooled && (column != 0 || row != 0);
            wire [ADDRESS-1:0] onward = column_end ? pixel + f_to_pixel : pixel;
            assign next_pixel = (f_pooled && x_end && !row_end) ? line : onward;
            assign write_data = (again6 && old > now) ? old : now;
            assign fetch = valid4 && again && at[LANE-1:0] == 0;
            assign fetch_address = at;
            always @(posedge clock) begin
                fetched5 <= fetch;
                again5 <= again;
                again6 <= again5;
                if (fetched5)
                    kept <= fetched;
                if (start) begin
                    line <= f_to;
                    x <= 0;
                    column <= 0;
                    row <= 0;
                end else if (valid4 && ends4) begin
                    x <= x_end ? {PLACE{1'b0}} : x + 1'b1;
                    column <= column_end ? {POOL{1'b0}} : column + 1'b1;
                    if (x_end) begin
                        row <= row_end ? {POOL{1'b0}} : row + 1'b1;
                        if (row_end)
                            line <= onward;
                    end
                end
            end
        end else begin : g_plain
            wire unused = &{1'b0, f_pooled, f_x_end, f_pool_column_end, f_pool_row_end, fetched};
            assign next_pixel = pixel + f_to_pixel;
            assign write_data = limited6;
            assign fetch = 1'b0;
            assign fetch_address = {ADDRESS{1'b0}};
        end
    endgenerate
endmodule

// The engine without its memories.
module gtc_engine #(
    parameter ACT = 8,
    parameter INPUTS = 8,
    parameter LANE = 3,
    parameter LANES = 16,
    parameter CODE = 2,
    parameter MULTIPLY = 0,
    parameter ZERO = 0,
    parameter TERM = 9,
    parameter ACC = 18,
    parameter WIDE = 20,
    parameter DOWN = 4,
    parameter UP = 1,
    parameter UPS = 0,
    parameter ADDRESS = 14,
    parameter WEIGHT = 12,
    parameter OUTPUT = 10,
    parameter INNER = 7,
    parameter KERNEL = 3,
    parameter GROUP = 8,
    parameter PLACE = 6,
    parameter SPACE = 6,
    parameter POOL = 3,
    parameter PADDED = 1,
    parameter POOLED = 1,
    parameter STEP = 4,
    parameter STEPS = 9,
    parameter BYTES = 784,
    parameter CHANNELS = 1,
    parameter CHANNEL = 1,
    parameter COUNT = 10
) (
    input wire clock,
    input wire reset,
    // The bytes of an image; the last one starts the engine.
    input wire in_valid,
    output wire in_ready,
    input wire [7:0] in_data,
    // The answer, number by number.
    output wire out_valid,
    output wire [31:0] out_data,
    output reg done,
    // For tests, while the engine waits for an image: numbers of the activation memory, and single steps.
    input wire test_write,
    input wire test_read,
    input wire [ADDRESS-1:0] test_address,
    input wire [ACT-1:0] test_data,
    output wire [ACT-1:0] test_q,
    input wire test_start,
    input wire [STEP-1:0] test_first,
    input wire [STEP-1:0] test_last,
    // Activation memory: words of INPUTS numbers; what is read comes a clock later.
    output wire [ADDRESS-LANE-1:0] read_address,
    input wire [INPUTS*ACT-1:0] read_q,
    output wire [INPUTS-1:0] write_enable,
    output wire [ADDRESS-LANE-1:0] write_address,
    output wire [ACT-1:0] write_data,
    // What bytes become.
    output wire [CHANNEL+7:0] input_address,
    input wire [ACT-1:0] input_q,
    // Weights: the codes of all lanes for a word of activations.
    output wire [WEIGHT-1:0] weight_address,
    input wire [LANES*INPUTS*CODE-1:0] weight_q,
    // Numbers of each output.
    output wire [OUTPUT-1:0] output_address,
    input wire [ACC-1:0] output_correct,
    input wire [WIDE-1:0] output_bias,
    input wire [DOWN-1:0] output_down,
    input wire [UP-1:0] output_up,
    // The table of steps.
    output wire [STEP-1:0] step_address,
    input wire f_product,
    input wire f_final,
    input wire f_maximum,
    input wire f_leaky,
    input wire f_pooled,
    input wire f_has_low,
    input wire f_has_high,
    input wire [ACT-1:0] f_low,
    input wire [ACT-1:0] f_high,
    input wire [UP-1:0] f_up_first,
    input wire [UP-1:0] f_up_second,
    input wire [ADDRESS-1:0] f_base,
    input wire [6*ADDRESS-1:0] f_deltas,
    input wire [WEIGHT-1:0] f_weight,
    input wire [OUTPUT-1:0] f_output,
    input wire [INNER-1:0] f_inner_end,
    input wire [KERNEL-1:0] f_column_end,
    input wire [KERNEL-1:0] f_row_end,
    input wire [GROUP-1:0] f_group_end,
    input wire [PLACE-1:0] f_x_end,
    input wire [PLACE-1:0] f_y_end,
    input wire [SPACE-1:0] f_last_lanes_end,
    input wire [PLACE:0] f_first_x,
    input wire [PLACE:0] f_first_y,
    input wire [KERNEL-1:0] f_stride_x,
    input wire [KERNEL-1:0] f_stride_y,
    input wire [PLACE:0] f_columns,
    input wire [PLACE:0] f_rows,
    input wire [ADDRESS-1:0] f_to,
    input wire [ADDRESS-1:0] f_to_pixel,
    input wire [GROUP-1:0] f_count_end,
    input wire [GROUP-1:0] f_valid_end,
    input wire [POOL-1:0] f_pool_column_end,
    input wire [POOL-1:0] f_pool_row_end
);
    localparam [2:0] WAIT_IMAGE = 0, FETCH = 1, LOAD = 2, RUN = 3, FLUSH = 4;
    // Clocks from the last read of a step to its last write, less those that `busy` of the sequencer covers.
    localparam [3:0] LATENCY = 14;

    reg [2:0] state;
    reg [STEP-1:0] step, last_step;
    reg [3:0] flushed;
    wire start = state == LOAD;
    assign step_address = step;

    // Bytes of an image, through the table.
    reg [COUNT-1:0] received;
    reg [ADDRESS-1:0] in_address, table_address;
    reg [CHANNEL-1:0] channel;
    reg looked_up;
    wire taken = in_valid && in_ready;
    wire last_byte = received == BYTES[COUNT-1:0] - 1'b1;
    assign in_ready = state == WAIT_IMAGE && !test_start;
    assign input_address = {channel, in_data};

    wire busy;
    always @(posedge clock) begin
        done <= 1'b0;
        looked_up <= taken;
        table_address <= in_address;
        if (taken) begin
            received <= last_byte ? {COUNT{1'b0}} : received + 1'b1;
            in_address <= last_byte ? {ADDRESS{1'b0}} : in_address + 1'b1;
            channel <= (channel == CHANNELS[CHANNEL-1:0] - 1'b1) ? {CHANNEL{1'b0}} : channel + 1'b1;
        end
        case (state)
            WAIT_IMAGE: begin
                if (test_start) begin
                    step <= test_first;
                    last_step <= test_last;
                    state <= FETCH;
                end else if (taken && last_byte) begin
                    step <= 0;
                    last_step <= STEPS[STEP-1:0] - 1'b1;
                    state <= FETCH;
                end
            end
            FETCH: state <= LOAD;
            LOAD: state <= RUN;
            RUN: begin
                flushed <= 0;
                if (!busy)
                    state <= FLUSH;
            end
            default: begin
                flushed <= flushed + 1'b1;
                if (flushed == LATENCY) begin
                    step <= step + 1'b1;
                    state <= FETCH;
                    if (step == last_step) begin
                        state <= WAIT_IMAGE;
                        done <= 1'b1;
                    end
                end
            end
        endcase
        if (reset) begin
            state <= WAIT_IMAGE;
            received <= 0;
            in_address <= 0;
            channel <= 0;
            looked_up <= 1'b0;
        end
    end

    // Clock 0: addresses.
    wire [ADDRESS-1:0] address;
    wire issue, first, last, in_image, second;
    wire fetch;
    wire [ADDRESS-1:0] fetch_address;
    gtc_sequencer #(.ADDRESS(ADDRESS), .WEIGHT(WEIGHT), .INNER(INNER), .KERNEL(KERNEL), .GROUP(GROUP), .PLACE(PLACE),
                    .SPACE(SPACE), .LANES(LANES), .PADDED(PADDED)) sequencer (
        .clock(clock), .reset(reset), .start(start), .hold(fetch), .f_product(f_product), .f_base(f_base),
        .f_deltas(f_deltas), .f_weight(f_weight), .f_inner_end(f_inner_end), .f_column_end(f_column_end),
        .f_row_end(f_row_end), .f_group_end(f_group_end), .f_x_end(f_x_end), .f_y_end(f_y_end),
        .f_last_lanes_end(f_last_lanes_end), .f_first_x(f_first_x), .f_first_y(f_first_y), .f_stride_x(f_stride_x), .f_stride_y(f_stride_y),
       
        .f_columns(f_columns), .f_rows(f_rows), .address(address), .weight(weight_address), .issue(issue),
        .first(first), .last(last), .in_image(in_image), .second(second), .busy(busy));
    wire [ADDRESS-1:0] reads = fetch ? fetch_address : test_read ? test_address : address;
    assign read_address = reads[ADDRESS-1:LANE];

    // Clock 1: words of the memories. Clock 2: registers behind them. Clock 3: sums of terms. Clock 4: totals.
    reg issue1, issue2, issue3, issue4, first1, first2, first3, last1, last2, last3, last4, in_image1, in_image2, second1, second2;
    reg [LANE-1:0] lane1, lane2;
    reg [INPUTS*ACT-1:0] u;
    reg [LANES*INPUTS*CODE-1:0] codes;
    wire [ACT-1:0] offset = {1'b1, {(ACT-1){1'b0}}};
    always @(posedge clock) begin
        issue1 <= issue;
        issue2 <= issue1;
        issue3 <= issue2;
        issue4 <= issue3;
        first1 <= first;
        first2 <= first1;
        first3 <= first2;
        last1 <= last;
        last2 <= last1;
        last3 <= last2;
        last4 <= last3;
        in_image1 <= in_image;
        in_image2 <= in_image1;
        second1 <= second;
        second2 <= second1;
        lane1 <= reads[LANE-1:0];
        lane2 <= lane1;
        u <= (in_image1 ? read_q : {INPUTS*ACT{1'b0}}) ^ {INPUTS{offset}};
        codes <= weight_q;
        if (reset) begin
            issue1 <= 1'b0;
            issue2 <= 1'b0;
            issue3 <= 1'b0;
            issue4 <= 1'b0;
        end
    end
    assign test_q = read_q[lane1*ACT +: ACT];
    wire [ACC-1:0] sum;
    wire load = issue4 && last4 && f_product;
    gtc_array #(.ACT(ACT), .INPUTS(INPUTS), .LANES(LANES), .CODE(CODE), .MULTIPLY(MULTIPLY), .ZERO(ZERO), .TERM(TERM),
                .ACC(ACC)) array (
        .clock(clock), .u(u), .codes(codes), .first(first3), .add(issue3 && f_product), .load(load), .sum(sum));
    wire [WIDE-1:0] window_total;
    gtc_window #(.ACT(ACT), .INPUTS(INPUTS), .LANE(LANE), .WIDE(WIDE), .UP(UP)) window (
        .clock(clock), .u(u), .lane(lane2), .first(first2), .valid(issue2 && !f_product), .in_image(in_image2),
        .second(second2), .maximum(f_maximum), .leaky(f_leaky), .up_first(f_up_first), .up_second(f_up_second),
        .total(window_total));

    // Sums, one a clock, with the number of their output.
    reg draining;
    reg [SPACE-1:0] drained;
    reg [GROUP-1:0] count;
    reg [OUTPUT-1:0] number;
    wire has_sum = f_product ? draining : issue4 && last4;
    wire ends = count == f_count_end;
    wire padding = count > f_valid_end;
    assign output_address = number;
    always @(posedge clock) begin
        if (load) begin
            draining <= 1'b1;
            drained <= 0;
        end else if (draining) begin
            drained <= drained + 1'b1;
            if (ends || drained == LANES[SPACE-1:0] - 1'b1)
                draining <= 1'b0;
        end
        if (start) begin
            count <= 0;
            number <= f_output;
        end else if (has_sum) begin
            count <= ends ? {GROUP{1'b0}} : count + 1'b1;
            if (f_product)
                number <= ends ? f_output : number + 1'b1;
        end
        if (reset)
            draining <= 1'b0;
    end
    wire [WIDE-1:0] wide_sum;
    generate
        if (WIDE > ACC) begin : g_wider
            assign wide_sum = {{(WIDE-ACC){1'b0}}, sum};
        end else begin : g_equal
            assign wide_sum = sum;
        end
    endgenerate
    wire rescaled;
    wire [ADDRESS-1:0] rescaled_address;
    wire [ACT-1:0] rescaled_data;
    gtc_rescale #(.ACT(ACT), .INPUTS(INPUTS), .LANE(LANE), .ADDRESS(ADDRESS), .ACC(ACC), .WIDE(WIDE), .DOWN(DOWN),
                  .UP(UP), .UPS(UPS), .PLACE(PLACE), .POOL(POOL), .POOLED(POOLED)) rescale (
        .clock(clock), .reset(reset), .start(start), .f_product(f_product), .f_final(f_final), .f_pooled(f_pooled),
        .f_to(f_to), .f_to_pixel(f_to_pixel), .f_x_end(f_x_end), .f_pool_column_end(f_pool_column_end),
        .f_pool_row_end(f_pool_row_end), .f_low(f_low), .f_high(f_high), .f_has_low(f_has_low),
        .f_has_high(f_has_high), .valid(has_sum), .ends(ends), .padding(padding),
        .value(f_product ? wide_sum : window_total), .correct(output_correct), .bias(output_bias),
        .down(output_down), .up(output_up), .fetch(fetch), .fetch_address(fetch_address), .fetched(read_q),
        .write(rescaled), .write_address(rescaled_address), .write_data(rescaled_data), .out_valid(out_valid),
        .out_data(out_data));

    wire [ADDRESS-1:0] writes = rescaled ? rescaled_address : looked_up ? table_address : test_address;
    assign write_address = writes[ADDRESS-1:LANE];
    assign write_data = rescaled ? rescaled_data : looked_up ? input_q : test_data;
    assign write_enable = {{(INPUTS-1){1'b0}}, rescaled || looked_up || test_write} << writes[LANE-1:0];
endmodule

`default_nettype wire
