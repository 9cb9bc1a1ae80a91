/* User-mode Linux 6.1 keeps 2696 bytes of a process's floating point registers (AVX-512). A processor with more of them (AMX) has a
 * host kernel that takes only the whole set: PTRACE_SETREGSET then fails, and the guest dies before its first process runs.
 * Loaded beside such a guest (LD_PRELOAD), this makes the set whole with what the process has in the rest. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#define WHOLE 32768

long ptrace(enum __ptrace_request request, ...)
{
    static long (*next)(enum __ptrace_request, ...);
    va_list more;
    va_start(more, request);
    pid_t pid = va_arg(more, pid_t);
    void *addr = va_arg(more, void *);
    void *data = va_arg(more, void *);
    va_end(more);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "ptrace");
    if (request == PTRACE_SETREGSET && addr == (void *)NT_X86_XSTATE) {
        static _Alignas(64) char whole[WHOLE];
        struct iovec *part = data;
        struct iovec all = { whole, sizeof whole };
        if (part->iov_len < sizeof whole && !next(PTRACE_GETREGSET, pid, addr, &all) && all.iov_len > part->iov_len) {
            memcpy(whole, part->iov_base, part->iov_len);
            return next(request, pid, addr, &all);
        }
    }
    return next(request, pid, addr, data);
}
