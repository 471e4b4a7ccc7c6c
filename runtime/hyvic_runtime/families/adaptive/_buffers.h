/* What the extensions of this package have in common: the processors that they are compiled for, and buffers of callers. */

#ifndef HYVIC_BUFFERS_H
#define HYVIC_BUFFERS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

_Static_assert(sizeof(size_t) >= 8, "lengths of buffers are products of sizes, which 32 bits do not hold");

/* What x86-64 has had since 2013, where the processor has it; float32 gives the same in either. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define FAST __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define FAST
#endif

/* Whether a buffer holds so many items of this size, aligned. */
static inline int holds(const Py_buffer *view, size_t count, size_t size)
{
    if ((size_t)view->len == count * size && (uintptr_t)view->buf % size == 0)
        return 1;
    PyErr_Format(PyExc_ValueError, "a buffer of %zd octets does not hold %zu items of %zu", view->len, count, size);
    return 0;
}

static inline void release(Py_buffer *views, int count)
{
    for (int i = 0; i < count; i++)
        PyBuffer_Release(&views[i]);
}

#endif
