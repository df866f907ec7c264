// Made by gtc. A test bench: every layer with the inputs that drive its sums to their limits, then images.
// With +images=N only the first N images.

`timescale 1ns / 1ps

module gtc_tb;
    localparam IMAGES = @images@;
    localparam BYTES = @bytes@;
    localparam LOGITS = @logits@;
    localparam WORDS = @words@;
    localparam CASES = @cases@;
    localparam ADDRESS = @address@;
    localparam ACT = @act@;
    localparam STEP = @step@;

    reg clock = 0;
    always #5 clock = !clock;

    reg reset = 1;
    reg in_valid = 0;
    wire in_ready;
    reg [7:0] in_data = 0;
    wire out_valid, done;
    wire [31:0] out_data;
    reg test_write = 0, test_read = 0, test_start = 0;
    reg [ADDRESS-1:0] test_address = 0;
    reg [ACT-1:0] test_data = 0;
    wire [ACT-1:0] test_q;
    reg [STEP-1:0] test_first = 0, test_last = 0;

    @top@ top (
        .clock(clock), .reset(reset), .in_valid(in_valid), .in_ready(in_ready), .in_data(in_data),
        .out_valid(out_valid), .out_data(out_data), .done(done), .test_write(test_write), .test_read(test_read),
        .test_address(test_address), .test_data(test_data), .test_q(test_q), .test_start(test_start),
        .test_first(test_first), .test_last(test_last));

    reg [7:0] images [0:IMAGES*BYTES-1];
    reg [31:0] logits [0:IMAGES*LOGITS-1];
    reg [31:0] commands [0:WORDS-1];

    // What the engine gives, since `clear`, which lasts for two clocks, because nothing says which of two blocks runs first.
    reg clear = 1;
    integer received = 0;
    reg [31:0] answer [0:LOGITS-1];
    integer cycles = 0;
    always @(negedge clock) begin
        cycles <= clear ? 0 : cycles + 1;
        if (clear)
            received <= 0;
        else if (out_valid) begin
            if (received < LOGITS)
                answer[received] <= out_data;
            received <= received + 1;
        end
    end

    integer at, i, n, image, count, number, wrong, wrong_cases, wrong_images, image_cycles;

    task wait_for_done;
        integer patience;
        begin
            patience = 0;
            while (!done && patience < 100000000) begin
                @(negedge clock);
                patience = patience + 1;
            end
            if (!done) begin
                $display("FAIL: the engine does not finish");
                $finish;
            end
            @(negedge clock);
        end
    endtask

    initial begin
        $readmemh("images.hex", images);
        $readmemh("logits.hex", logits);
        $readmemh("layers.hex", commands);
        count = IMAGES;
        if ($value$plusargs("images=%d", n))
            count = n < IMAGES ? n : IMAGES;
        repeat (4) @(negedge clock);
        reset = 0;
        @(negedge clock);

        at = 0;
        number = 0;
        wrong = 0;
        wrong_cases = 0;
        while (at < WORDS) begin
            n = commands[at + 2];
            case (commands[at])
                1: begin // write n numbers from an address on
                    for (i = 0; i < n; i = i + 1) begin
                        test_write = 1;
                        test_address = commands[at + 1] + i;
                        test_data = commands[at + 3 + i];
                        @(negedge clock);
                    end
                    test_write = 0;
                    at = at + 3 + n;
                end
                2: begin // steps from a first to a last
                    test_first = commands[at + 1];
                    test_last = commands[at + 2];
                    test_start = 1;
                    clear = 1;
                    @(negedge clock);
                    test_start = 0;
                    @(negedge clock);
                    clear = 0;
                    wait_for_done;
                    at = at + 3;
                end
                3: begin // n numbers must stand from an address on
                    for (i = 0; i < n; i = i + 1) begin
                        test_read = 1;
                        test_address = commands[at + 1] + i;
                        @(negedge clock);
                        if (test_q !== commands[at + 3 + i][ACT-1:0]) begin
                            if (wrong == 0)
                                $display("case %0d: number %0d is %0d, not %0d", number, i, $signed(test_q),
                                         $signed(commands[at + 3 + i]));
                            wrong = wrong + 1;
                        end
                    end
                    test_read = 0;
                    at = at + 3 + n;
                end
                4: begin // the n numbers that come out
                    if (received != n)
                        wrong = wrong + 1;
                    for (i = 0; i < n; i = i + 1)
                        if (answer[i] !== commands[at + 3 + i]) begin
                            if (wrong == 0)
                                $display("case %0d: logit %0d is %0d, not %0d", number, i, $signed(answer[i]),
                                         $signed(commands[at + 3 + i]));
                            wrong = wrong + 1;
                        end
                    at = at + 3 + n;
                end
                default: begin // a case begins
                    if (wrong != 0)
                        wrong_cases = wrong_cases + 1;
                    wrong = 0;
                    number = commands[at + 1];
                    at = at + 3;
                end
            endcase
        end
        if (wrong != 0)
            wrong_cases = wrong_cases + 1;

        wrong_images = 0;
        image_cycles = 0;
        for (image = 0; image < count; image = image + 1) begin
            clear = 1;
            repeat (2) @(negedge clock);
            clear = 0;
            i = 0;
            while (i < BYTES) begin
                in_valid = 1;
                in_data = images[image*BYTES + i];
                if (in_ready)
                    i = i + 1;
                @(negedge clock);
            end
            in_valid = 0;
            wait_for_done;
            image_cycles = cycles - 1;
            wrong = received != LOGITS;
            for (i = 0; i < LOGITS; i = i + 1)
                if (answer[i] !== logits[image*LOGITS + i])
                    wrong = wrong + 1;
            if (wrong != 0) begin
                if (wrong_images == 0)
                    $display("image %0d: %0d logits are wrong; the first is %0d, not %0d", image, wrong,
                             $signed(answer[0]), $signed(logits[image*LOGITS]));
                wrong_images = wrong_images + 1;
            end
        end
        if (wrong_cases == 0 && wrong_images == 0)
            $display("PASS: %0d layer cases, %0d images, %0d logits each, %0d cycles an image", CASES, count, LOGITS,
                     image_cycles);
        else
            $display("FAIL: %0d of %0d layer cases, %0d of %0d images", wrong_cases, CASES, wrong_images, count);
        $finish;
    end
endmodule
