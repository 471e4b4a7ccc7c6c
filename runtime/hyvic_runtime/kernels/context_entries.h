/* Contexts of wavelet coefficients, made line by line: what contexts.py defines, entry by entry. */

#ifndef HYVIC_CONTEXT_ENTRIES_H
#define HYVIC_CONTEXT_ENTRIES_H

#include "planes.h" /* first: it includes Python.h */

#include "checkerboard.h"

#define ENTRIES 43
#define VARYING 32     /* the others are the same for all coefficients of a component in a block */
#define NEIGHBOURS 26  /* the first entry of non-anchor positions alone */
#define EARLIER 22     /* the first entry of the orientations before */
#define YES 64.0f

/* Facts that the blocks of a group of components share; planes as `GroupContexts` has them. */
typedef struct {
    size_t components, level, first;
    Size size;
    const float *parent, *parent_sum_3x3, *grandparent; /* the last is NULL where there is none */
    const float *previous_components, *mean, *previous_sum_3x3, *largest;
    const float *prediction, *parent_energy, *residual_energy, *log2_spread;
} Group;

/* Coefficients of one orientation at anchor or non-anchor positions, of some lines and components of a group. */
typedef struct {
    const Group *group;
    size_t orientation, non_anchor;
    size_t begin, end;                             /* lines */
    size_t first, last;                            /* components of the group, the latter not included */
    const float *decoded;                          /* (component, orientation, line, sample) of the group */
    const float *decoded_sum_3x3[ORIENTATIONS - 1]; /* (component, line, sample) of the orientations before this one */
} Block;

static inline size_t positions_of_line(const Block *of, size_t line)
{
    return count_of_line(of->non_anchor, line, of->group->size.samples);
}

static size_t positions_of_component(const Block *of)
{
    size_t count = 0;
    for (size_t l = of->begin; l < of->end; l++)
        count += positions_of_line(of, l);
    return count;
}

/* `stride` is 2 for planes of the level, and 1 for planes of half its size: a position and its neighbour share a parent. */
static inline void put(const float *restrict line, size_t stride, size_t count, float *restrict out)
{
    for (size_t j = 0; j < count; j++)
        out[j] = line[stride * j];
}

static inline void put_magnitudes(const float *restrict line, size_t count, float *restrict out)
{
    for (size_t j = 0; j < count; j++)
        out[j] = log_magnitude(fabsf(line[2 * j]));
}

static inline void put_larger(const float *restrict a, const float *restrict b, size_t stride, size_t count,
                              float *restrict out)
{
    for (size_t j = 0; j < count; j++)
        out[j] = most(a[stride * j], b[stride * j]);
}

/* Take values from planes of a quarter of the size. */
static inline void put_grandparents(const float *restrict own, const float *restrict a, const float *restrict b,
                                    size_t count, float *restrict out, float *restrict larger_out)
{
    for (size_t j = 0; j < count; j++) {
        out[j] = own[j / 2];
        larger_out[j] = most(a[j / 2], b[j / 2]);
    }
}

static inline void put_constant(float value, size_t count, float *restrict out)
{
    for (size_t j = 0; j < count; j++)
        out[j] = value;
}

/* Distance of a coefficient from its prediction. */
static inline float off(float decoded, float prediction)
{
    return least(fabsf(decoded * PREDICTION_STEP - prediction), MAGNITUDE_MAX * PREDICTION_STEP);
}

/* Fill in the six entries on the four neighbours of non-anchor positions; beyond the edges lies zero. */
static inline void put_neighbours(const Block *of, const float *decoded, const float *prediction, size_t line,
                                  float *out, size_t entry)
{
    const size_t samples = of->group->size.samples, count = positions_of_line(of, line);
    const size_t first = first_sample(of->non_anchor, line);
    const int above = line > 0, below = line + 1 < of->group->size.lines;
    for (size_t j = 0; j < count; j++) {
        const size_t s = first + 2 * j, at = line * samples + s;
        const int before = s > 0, after = s + 1 < samples;
        const float left = before ? decoded[at - 1] : 0, right = after ? decoded[at + 1] : 0;
        const float upper = above ? decoded[at - samples] : 0, lower = below ? decoded[at + samples] : 0;
        const float off_along = (before ? off(left, prediction[at - 1]) : 0) + (after ? off(right, prediction[at + 1]) : 0);
        const float off_across = (above ? off(upper, prediction[at - samples]) : 0) +
                                 (below ? off(lower, prediction[at + samples]) : 0);
        const float of_line = left + right, of_column = upper + lower;
        const float line_magnitude = fabsf(left) + fabsf(right), column_magnitude = fabsf(upper) + fabsf(lower);
        /* First the sums in the direction in which the orientation is high. */
        const int turned = of->orientation == 1;
        out[j] = signed_log_magnitude(turned ? of_column : of_line);
        out[j + entry] = signed_log_magnitude(turned ? of_line : of_column);
        out[j + 2 * entry] = log_magnitude(turned ? column_magnitude : line_magnitude);
        out[j + 3 * entry] = log_magnitude(turned ? line_magnitude : column_magnitude);
        out[j + 4 * entry] = log_magnitude(line_magnitude + column_magnitude);
        out[j + 5 * entry] = log_magnitude(truncf((off_along + off_across) * (1 / PREDICTION_STEP)));
    }
}

/* Fill in the varying entries of a line of a component, each `entry` numbers after the one before, and the prediction. */
FAST static void describe_line(const Block *of, size_t c, size_t l, float *out, size_t entry, float *predicted)
{
    static const size_t OTHERS[ORIENTATIONS][2] = {{1, 2}, {0, 2}, {0, 1}};
    const Group *group = of->group;
    const Size size = group->size, half = halved(size), quarter = halved(half);
    const size_t pixels = area(size), parents = area(half), grandparents = area(quarter);
    const size_t own = of->orientation, a = OTHERS[own][0], b = OTHERS[own][1];
    const size_t count = positions_of_line(of, l), here = l * size.samples + first_sample(of->non_anchor, l);
    const size_t twice = c * 3 * parents + l / 2 * half.samples;
    const float *parent = group->parent + twice, *parent_sums = group->parent_sum_3x3 + twice;
    const float *last = group->previous_components + here, *second = last + 3 * pixels, *third = second + 3 * pixels;
    const float *mean = group->mean + here, *last_sums = group->previous_sum_3x3 + here;
    const float *prediction = group->prediction + (c * 3 + own) * pixels;
    put(parent + own * parents, 1, count, out), out += entry;
    put(parent + a * parents, 1, count, out), out += entry;
    put(parent + b * parents, 1, count, out), out += entry;
    if (group->grandparent) {
        const float *grandparent = group->grandparent + c * 3 * grandparents + l / 4 * quarter.samples;
        put_grandparents(grandparent + own * grandparents, grandparent + a * grandparents,
                         grandparent + b * grandparents, count, out, out + entry);
    } else {
        put_constant(0, count, out);
        put_constant(0, count, out + entry);
    }
    out += 2 * entry;
    put(parent_sums + own * parents, 1, count, out), out += entry;
    put_larger(parent_sums + a * parents, parent_sums + b * parents, 1, count, out), out += entry;
    put(last + own * pixels, 2, count, out), out += entry;
    put(last + a * pixels, 2, count, out), out += entry;
    put(last + b * pixels, 2, count, out), out += entry;
    put(second + own * pixels, 2, count, out), out += entry;
    put_larger(second + a * pixels, second + b * pixels, 2, count, out), out += entry;
    put(third + own * pixels, 2, count, out), out += entry;
    put(mean + own * pixels, 2, count, out), out += entry;
    put_larger(mean + a * pixels, mean + b * pixels, 2, count, out), out += entry;
    put(last_sums + own * pixels, 2, count, out), out += entry;
    put_larger(last_sums + a * pixels, last_sums + b * pixels, 2, count, out), out += entry;
    put(group->largest + own * pixels + here, 2, count, out), out += entry;
    put(prediction + here, 2, count, predicted);
    for (size_t j = 0; j < count; j++)
        out[j] = signed_log_magnitude(nearest_integer(predicted[j] / 2));
    out += entry;
    for (size_t j = 0; j < count; j++)
        out[j] = fabsf(out[j - entry]);
    out += entry;
    put(group->parent_energy + c * parents + l / 2 * half.samples, 1, count, out), out += entry;
    put(group->residual_energy + c * parents + l / 2 * half.samples, 1, count, out), out += entry;
    for (size_t before = 0; before < ORIENTATIONS - 1; before++, out += 2 * entry)
        if (before < own) {
            put_magnitudes(of->decoded + (c * 3 + before) * pixels + here, count, out);
            put(of->decoded_sum_3x3[before] + c * pixels + here, 2, count, out + entry);
        } else {
            put_constant(0, count, out);
            put_constant(0, count, out + entry);
        }
    if (of->non_anchor)
        put_neighbours(of, of->decoded + (c * 3 + own) * pixels, prediction, l, out, entry);
    else
        for (size_t e = 0; e < VARYING - NEIGHBOURS; e++)
            put_constant(0, count, out + e * entry);
}

/* Fill in the entries after the varying ones. */
static void describe_component(const Block *of, size_t c, float *constants)
{
    *constants++ = of->non_anchor ? YES : 0;
    for (size_t level = 0; level < LEVELS; level++)
        *constants++ = level == of->group->level ? YES : 0;
    for (size_t o = 0; o < ORIENTATIONS; o++)
        *constants++ = o == of->orientation ? YES : 0;
    *constants++ = of->group->log2_spread[c];
    *constants = log_magnitude((float)(of->group->first + c));
}

/* Fill in contexts (entry, component, position) and predictions (component, position). */
static void describe_block(const Block *of, float *contexts, float *predicted)
{
    const size_t positions = positions_of_component(of), entry = (of->last - of->first) * positions;
    for (size_t c = of->first; c < of->last; c++) {
        float constants[ENTRIES - VARYING];
        describe_component(of, c, constants);
        for (size_t e = VARYING; e < ENTRIES; e++)
            put_constant(constants[e - VARYING], positions, contexts + e * entry);
        for (size_t l = of->begin; l < of->end; l++) {
            describe_line(of, c, l, contexts, entry, predicted);
            contexts += positions_of_line(of, l), predicted += positions_of_line(of, l);
        }
    }
}

#endif
