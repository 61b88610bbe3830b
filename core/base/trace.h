/*
 * Static tracepoints of the provider `spate`, for bpftrace, perf and SystemTap: each is one no-op
 * instruction until somebody attaches, and a note in the program that says where its arguments are.
 * See docs/profiling.md and tools/trace/.
 *
 * Without <sys/sdt.h> (Debian: systemtap-sdt-dev) at build time there are none.
 */
#ifndef SPATE_CORE_BASE_TRACE_H
#define SPATE_CORE_BASE_TRACE_H

#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#define TRACE1(name, a)             DTRACE_PROBE1(spate, name, a)
#define TRACE2(name, a, b)          DTRACE_PROBE2(spate, name, a, b)
#define TRACE3(name, a, b, c)       DTRACE_PROBE3(spate, name, a, b, c)
#define TRACE5(name, a, b, c, d, e) DTRACE_PROBE5(spate, name, a, b, c, d, e)
#else
#define TRACE1(name, a)             ((void)(a))
#define TRACE2(name, a, b)          ((void)(a), (void)(b))
#define TRACE3(name, a, b, c)       ((void)(a), (void)(b), (void)(c))
#define TRACE5(name, a, b, c, d, e) ((void)(a), (void)(b), (void)(c), (void)(d), (void)(e))
#endif

#endif
