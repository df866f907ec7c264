/* @MARK@. Known answers of @name@.h. Returns 0 if all are given; without stdio, as on a board, compile with
   -D@NAME@_NO_STDIO. With the name of a file: the logits of the inputs that stand in it one after the other. */

#include "@name@.h"

#ifndef @NAME@_NO_STDIO
#include <stdio.h>
#endif

#define VECTORS @count@
#define CANARY 16

static const @kind@ inputs[VECTORS * @NAME@_INPUTS] = {
@inputs@
};

static const int32_t expected[VECTORS * @NAME@_OUTPUTS] = {
@logits@
};

static union {
    uint32_t aligned;
    uint8_t bytes[@NAME@_ARENA_BYTES + CANARY];
} arena;
static int32_t logits[@NAME@_OUTPUTS];

/* How many of the vectors fail. */
int @name@_test(void);

int @name@_test(void)
{
    const @kind@ *input = inputs;
    const int32_t *wanted = expected;
    int failed = 0, vector;
    for (vector = 0; vector < VECTORS; vector++) {
        int wrong = 0;
        unsigned i;
        for (i = 0; i < @NAME@_ARENA_BYTES + CANARY; i++) {
            arena.bytes[i] = 0xa5;
        }
        @name@_run(input, logits, arena.bytes);
        for (i = 0; i < @NAME@_OUTPUTS; i++) {
            wrong |= logits[i] != wanted[i];
        }
        for (i = @NAME@_ARENA_BYTES; i < @NAME@_ARENA_BYTES + CANARY; i++) {
            wrong |= arena.bytes[i] != 0xa5;
        }
        failed += wrong;
        input += @NAME@_INPUTS;
        wanted += @NAME@_OUTPUTS;
    }
    return failed;
}

#ifndef @NAME@_NO_STDIO
static int logits_of(const char *name)
{
    static @kind@ input[@NAME@_INPUTS];
    FILE *file = fopen(name, "rb");
    if (file == NULL) {
        fprintf(stderr, "%s: cannot be opened\n", name);
        return 2;
    }
    while (fread(input, sizeof input, 1, file) == 1) {
        unsigned i;
        @name@_run(input, logits, arena.bytes);
        for (i = 0; i < @NAME@_OUTPUTS; i++) {
            printf(i == 0 ? "%ld" : " %ld", (long)logits[i]);
        }
        printf("\n");
    }
    fclose(file);
    return 0;
}

int main(int argc, char **argv)
{
    int failed;
    if (argc > 1) {
        return logits_of(argv[1]);
    }
    failed = @name@_test();
    printf("%d passed, %d failed\n", VECTORS - failed, failed);
    return failed == 0 ? 0 : 1;
}
#endif
