/* Common to all files of the extension `hyvic_runtime.kernels._native`: target processors, checks of callers' buffers, and
 * the functions that each file gives to Python.
 *
 * Memory: a function's scratch is freed before it returns. All other buffers are the caller's. Their lengths are checked
 * before they are used, and the interpreter's lock is not held while they are.
 */

#ifndef HYVIC_NATIVE_H
#define HYVIC_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>

_Static_assert(sizeof(size_t) >= 8, "lengths of buffers are products of sizes, which 32 bits do not hold");

/* Compile for x86-64 of 2013 and later too, and choose at run time; float32 gives the same numbers in both. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define FAST __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define FAST
#endif

/* Each ends in an empty entry; module.c adds all of them. */
extern PyMethodDef ANS_METHODS[], CHECKERBOARD_METHODS[], CONTEXT_METHODS[], MAGNITUDE_METHODS[], PREDICTION_METHODS[],
    QUANTISER_METHODS[], WAVELET_METHODS[];

/* True if each buffer holds so many aligned items of `size` octets. A buffer that is absent holds as many as needed. */
static inline int hold_all(const Py_buffer *views, const size_t *items, int count, size_t size)
{
    for (int i = 0; i < count; i++)
        if (views[i].obj != NULL && ((size_t)views[i].len != items[i] * size || (uintptr_t)views[i].buf % size)) {
            PyErr_Format(PyExc_ValueError, "buffer %d holds %zd octets, not %zu items of %zu", i, views[i].len, items[i],
                         size);
            return 0;
        }
    return 1;
}

/* True if planes of this size, so many in all, can be counted in octets. */
static inline int is_size(Py_ssize_t lines, Py_ssize_t samples, Py_ssize_t planes)
{
    if (lines > 0 && samples > 0 && planes >= 0 && lines <= 1 << 20 && samples <= 1 << 20 && planes <= 1 << 15)
        return 1;
    PyErr_Format(PyExc_ValueError, "%zd planes of %zd x %zd are invalid", planes, lines, samples);
    return 0;
}

/* Allocate memory; NULL, with an error set, if it is short. */
static inline void *allocated(size_t octets)
{
    void *memory = malloc(octets);
    if (memory == NULL)
        PyErr_NoMemory();
    return memory;
}

static inline void release(Py_buffer *views, int count)
{
    for (int i = 0; i < count; i++)
        PyBuffer_Release(&views[i]);
}

#endif
