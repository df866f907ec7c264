/* Cortex-M under QEMU: text and exit code by semihosting, time by SysTick. */
#include "board.h"

extern uint32_t stack_top;
void reset(void);

__attribute__((section(".vectors"), used)) static const void *const vectors[] = {&stack_top, (const void *)reset};

static uint32_t call(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void write_text(const char *text)
{
    call(0x04, text); /* SYS_WRITE0 */
}

void reset(void)
{
    volatile uint32_t *const systick = (volatile uint32_t *)0xe000e010;
    uint32_t end[2];
    uint32_t ticks;
    int failed;
    systick[1] = 0xffffff;
    systick[2] = 0;
    systick[0] = 5; /* on, at the processor's clock */
    failed = lenet5_test();
    ticks = 0xffffff - systick[2];
    write_hex("ticks", ticks);
    end[0] = 0x20026; /* the application ended */
    end[1] = (uint32_t)failed;
    call(0x20, end); /* SYS_EXIT_EXTENDED */
    for (;;) {
    }
}
