#include "worker/interrupt.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <ucontext.h>

enum { INTERRUPT_SIGNAL = SIGUSR1 };

static struct interrupt *volatile interrupt_now;
static pthread_t interrupt_thread;

static uintptr_t interrupt_pc(const ucontext_t *registers) {
#if defined __x86_64__
    return (uintptr_t)registers->uc_mcontext.gregs[REG_RIP];
#elif defined __aarch64__
    return registers->uc_mcontext.pc;
#else
#error "the register of the next instruction of this processor"
#endif
}

static void interrupt_go_on_at(ucontext_t *registers, uintptr_t pc) {
#if defined __x86_64__
    registers->uc_mcontext.gregs[REG_RIP] = (greg_t)pc;
#else
    registers->uc_mcontext.pc = pc;
#endif
}

static void interrupt_on_signal(int signal, siginfo_t *info, void *registers) {
    (void)signal, (void)info;
    struct interrupt *interrupt = interrupt_now;
    if (!interrupt)
        return;
    int saved_errno = errno;
    uintptr_t pc = interrupt_pc(registers);
    if (pc < interrupt->code->begin || pc >= interrupt->code->end)
        interrupt->seen = true;
    else if (interrupt->on_ask(interrupt->context))
        interrupt_go_on_at(registers, interrupt->code->stop);
    errno = saved_errno;
}

int interrupt_open(struct err *err) {
    interrupt_thread = pthread_self();
    /* On a stack of its own: the guest may have used up the thread's. The engine has made one by the time
     * that a guest runs. */
    struct sigaction action = {.sa_sigaction = interrupt_on_signal,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    sigemptyset(&action.sa_mask);
    return sigaction(INTERRUPT_SIGNAL, &action, NULL) == 0 ? 0
                                                           : err_sys(err, "cannot set the clock's signal");
}

void interrupt_begin(struct interrupt *interrupt) {
    interrupt_now = interrupt;
}

void interrupt_end(void) {
    interrupt_now = NULL;
}

void interrupt_ask(void) {
    if (interrupt_now)
        pthread_kill(interrupt_thread, INTERRUPT_SIGNAL);
}
