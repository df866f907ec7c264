/* What the test of an exported network needs of a board: a counter, a line of text, an end. */
#include <stdint.h>

int lenet5_test(void);

/* Writes "NAME 0x0123abcd" and a new line. */
static void write_hex(const char *name, uint32_t number);
static void write_text(const char *text);

static void write_hex(const char *name, uint32_t number)
{
    char text[] = " 0x00000000\n";
    int i;
    for (i = 10; i > 2; i--) {
        text[i] = "0123456789abcdef"[number & 15];
        number >>= 4;
    }
    write_text(name);
    write_text(text);
}
