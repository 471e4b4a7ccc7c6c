/* Planes of wavelet coefficients and the integer arithmetic on them: what context_arithmetic.py defines.
 *
 * Every number is an integer in float32, and every sum of several stays below 2^24, so any order of additions gives
 * NumPy's numbers. Single additions and the division round as IEEE 754 says. Hence no fast mathematics and no
 * contraction to fused operations (pyproject.toml); tests/runtime/families/adaptive/test_contexts.py compares both.
 */

#ifndef HYVIC_PLANES_H
#define HYVIC_PLANES_H

#include "native.h" /* first: it includes Python.h */

#include <math.h>
#include <stddef.h>
#include <string.h>

#define LEVELS 5
#define ORIENTATIONS 3
#define PREVIOUS_COMPONENTS 3
#define PREDICTION_STEP 16.0f
#define MAGNITUDE_MAX 4095.0f
#define LOG_MAGNITUDE_MAX (27 * 4095.0f)

static inline float least(float a, float b) { return a < b ? a : b; }
static inline float most(float a, float b) { return a > b ? a : b; }
static inline float clamped(float a, float limit) { return most(least(a, limit), -limit); }

/* Round to the nearest integer, ties to even; below 2^22 in magnitude. */
static inline float nearest_integer(float a) { return a + 12582912.0f - 12582912.0f; }

/* The highest bits of 1 + a, exponent and so many of the mantissa, which are a logarithm. */
static inline float highest_bits(float a, int bits)
{
    const float one_more = a + 1.0f;
    int32_t word;
    memcpy(&word, &one_more, sizeof word);
    return (float)((word >> (23 - bits)) - (127 << bits));
}

static inline float log_magnitude(float magnitude) { return highest_bits(least(magnitude, LOG_MAGNITUDE_MAX), 4); }
static inline float log_energy(float energy) { return highest_bits(energy, 3); }
static inline float signed_log_magnitude(float value) { return copysignf(log_magnitude(fabsf(value)), value); }

typedef struct {
    size_t lines, samples;
} Size;

static inline size_t area(Size size) { return size.lines * size.samples; }
static inline Size halved(Size size) { return (Size){(size.lines + 1) / 2, (size.samples + 1) / 2}; }

/* Sums over 3 x 3, where each edge repeats beyond itself; `line` holds two samples more than a line. */
static inline void sum_3x3(const float *restrict plane, Size size, float *restrict sums, float *restrict line)
{
    for (size_t l = 0; l < size.lines; l++) {
        const float *here = plane + l * size.samples;
        const float *above = l ? here - size.samples : here;
        const float *below = l + 1 < size.lines ? here + size.samples : here;
        for (size_t s = 0; s < size.samples; s++)
            line[s + 1] = above[s] + here[s] + below[s];
        line[0] = line[1];
        line[size.samples + 1] = line[size.samples];
        for (size_t s = 0; s < size.samples; s++)
            sums[l * size.samples + s] = line[s] + line[s + 1] + line[s + 2];
    }
}

#endif
