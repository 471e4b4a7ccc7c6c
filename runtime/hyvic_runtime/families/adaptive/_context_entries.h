/* Contexts of wavelet coefficients: what contexts.py defines, entry by entry, made line by line.
 *
 * Every number is an integer in float32 and every sum of several stays below 2^24, so any order of additions gives what
 * NumPy gives; where a single addition or the division rounds, both round as IEEE 754 says. Hence no fast mathematics and
 * no contraction to fused operations (pyproject.toml), and tests/runtime/families/adaptive/test_contexts.py holds both to each
 * other's numbers.
 */

#ifndef HYVIC_CONTEXT_ENTRIES_H
#define HYVIC_CONTEXT_ENTRIES_H

#include "_buffers.h" /* first: it includes Python.h */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LEVELS 5
#define ORIENTATIONS 3
#define ENTRIES 43
#define VARYING 32     /* the others are the same for all coefficients of a component in a block */
#define NEIGHBOURS 26  /* the first entry of black squares alone */
#define BEFORE 22      /* the first entry of the orientations before */
#define PREDICTORS 6
#define NEAREST 3
#define PREDICTION_STEP 16.0f
#define PREDICTOR_MAX 127.0f
#define WEIGHT_MAX 64.0f
#define RIDGE 8.0f
#define MAGNITUDE_MAX 4095.0f
#define COMPANDED_MAX (27 * 4095.0f)
#define ON 64.0f

static inline float least(float a, float b) { return a < b ? a : b; }
static inline float most(float a, float b) { return a > b ? a : b; }
static inline float limited(float a, float limit) { return most(least(a, limit), -limit); }

/* To the nearest integer, ties to even; below 2^22 in magnitude. */
static inline float nearest_integer(float a) { return a + 12582912.0f - 12582912.0f; }

/* The highest bits of 1 + a: exponent and so many of the mantissa, which is a logarithm. */
static inline float highest_bits(float a, int bits)
{
    const float one_more = a + 1.0f;
    int32_t word;
    memcpy(&word, &one_more, sizeof word);
    return (float)((word >> (23 - bits)) - (127 << bits));
}

static inline float log_magnitude(float magnitude) { return highest_bits(least(magnitude, COMPANDED_MAX), 4); }
static inline float companded_energy(float energy) { return highest_bits(energy, 3); }
static inline float signed_companded(float value) { return copysignf(log_magnitude(fabsf(value)), value); }

typedef struct {
    size_t lines, samples;
} Size;

static inline size_t area(Size size) { return size.lines * size.samples; }
static inline Size halved(Size size) { return (Size){(size.lines + 1) / 2, (size.samples + 1) / 2}; }

/* Sums over 3 x 3, beyond the edges of what lies on them; `line` holds two samples more than a line. */
static inline void around(const float *restrict plane, Size size, float *restrict sums, float *restrict line)
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

/* Planes of magnitudes and of what lies around, both log_magnitude. */
FAST static void compand_planes(const float *planes, size_t count, Size size, float *there, float *near, float *scratch)
{
    const size_t pixels = area(size);
    for (size_t p = 0; p < count; p++, planes += pixels, there += pixels, near += pixels) {
        float *clipped = scratch, *line = scratch + pixels;
        for (size_t i = 0; i < pixels; i++) {
            const float magnitude = fabsf(planes[i]);
            there[i] = log_magnitude(magnitude);
            clipped[i] = least(magnitude, MAGNITUDE_MAX);
        }
        around(clipped, size, near, line);
        for (size_t i = 0; i < pixels; i++)
            near[i] = log_magnitude(near[i]);
    }
}

/* What is known of the components of a level: magnitudes of the last NEAREST of them, last first, their sum and the largest. */
typedef struct {
    float *nearest, *sum, *largest;
} Magnitudes;

/* Those of some components more; `pixels` counts the planes of all orientations. */
FAST static void add_components(const float *details, size_t count, size_t pixels, const Magnitudes *before,
                                const Magnitudes *after)
{
    memcpy(after->sum, before->sum, pixels * sizeof *after->sum);
    memcpy(after->largest, before->largest, pixels * sizeof *after->largest);
    if (count < NEAREST)
        memcpy(after->nearest + count * pixels, before->nearest, (NEAREST - count) * pixels * sizeof *after->nearest);
    for (size_t c = 0; c < count; c++, details += pixels) {
        float *restrict sum = after->sum, *restrict largest = after->largest;
        float *restrict nearest = count - c <= NEAREST ? after->nearest + (count - 1 - c) * pixels : NULL;
        for (size_t i = 0; i < pixels; i++) {
            const float magnitude = log_magnitude(fabsf(details[i]));
            sum[i] += magnitude;
            largest[i] = most(largest[i], magnitude);
            if (nearest)
                nearest[i] = magnitude;
        }
    }
}

/* Sum over the orientations of a product. */
static inline void product(const float *restrict a, const float *restrict b, size_t pixels, float *restrict sums)
{
    for (size_t i = 0; i < pixels; i++)
        sums[i] = a[i] * b[i] + a[i + pixels] * b[i + pixels] + a[i + 2 * pixels] * b[i + 2 * pixels];
}

typedef struct {
    size_t components, predictors;
    Size size;                     /* of the level; its parents have half */
    const float *parents;          /* (component, orientation, line, sample), clipped to PREDICTOR_MAX */
    const float *predictor_parents; /* likewise, of the predictors */
    const float *predictor_details; /* likewise, of the level */
    float *prediction;             /* (component, orientation, line, sample) of the level */
    float *energy, *rest;          /* (component, line, sample) of the parents, log_magnitude */
} Prediction;

static inline size_t prediction_scratch(Size size)
{
    const Size half = halved(size);
    return (6 + PREDICTORS) * area(half) + half.samples + 2 + size.samples;
}

FAST static void predict_group(const Prediction *of, float *scratch)
{
    const Size size = of->size, half = halved(size);
    const size_t pixels = area(size), parents = area(half);
    float *rest = scratch, *products = rest + 3 * parents, *weight = products + parents, *common = weight + parents;
    float *own = common + parents, *line = own + PREDICTORS * parents, *wide = line + half.samples + 2;
    for (size_t p = 0; p < of->predictors; p++) {
        const float *parent = of->predictor_parents + p * 3 * parents;
        product(parent, parent, parents, products);
        around(products, half, own + p * parents, line);
        for (size_t i = 0; i < parents; i++)
            own[p * parents + i] += RIDGE;
    }
    for (size_t c = 0; c < of->components; c++) {
        float *prediction = of->prediction + c * 3 * pixels, *energy = of->energy + c * parents;
        memcpy(rest, of->parents + c * 3 * parents, 3 * parents * sizeof *rest);
        memset(prediction, 0, 3 * pixels * sizeof *prediction);
        product(rest, rest, parents, products);
        around(products, half, energy, line);
        for (size_t p = 0; p < of->predictors; p++) {
            const float *parent = of->predictor_parents + p * 3 * parents;
            const float *details = of->predictor_details + p * 3 * pixels;
            product(parent, rest, parents, products);
            around(products, half, common, line);
            for (size_t i = 0; i < parents; i++)
                weight[i] = nearest_integer(limited(common[i] * PREDICTION_STEP / own[p * parents + i], WEIGHT_MAX));
            for (size_t o = 0; o < ORIENTATIONS; o++) {
                const float *from = parent + o * parents;
                float *left = rest + o * parents;
                for (size_t i = 0; i < parents; i++)
                    left[i] = limited(left[i] - nearest_integer(weight[i] * from[i] * (1 / PREDICTION_STEP)),
                                      PREDICTOR_MAX);
            }
            for (size_t l = 0; l < size.lines; l++) {
                for (size_t s = 0; s < size.samples; s++)
                    wide[s] = weight[l / 2 * half.samples + s / 2];
                for (size_t o = 0; o < ORIENTATIONS; o++) {
                    const size_t at = o * pixels + l * size.samples;
                    for (size_t s = 0; s < size.samples; s++)
                        prediction[at + s] += wide[s] * details[at + s];
                }
            }
        }
        product(rest, rest, parents, products);
        around(products, half, of->rest + c * parents, line);
        for (size_t i = 0; i < parents; i++) {
            energy[i] = companded_energy(energy[i]);
            of->rest[c * parents + i] = companded_energy(of->rest[c * parents + i]);
        }
    }
}

/* What describes coefficients of one orientation on the squares of one colour; planes as GroupContexts has them. */
typedef struct {
    size_t components, level, orientation, black, first;
    size_t begin, end; /* lines */
    Size size;
    const float *parent, *around_parent, *grandparent; /* the last is NULL where there is none */
    const float *nearest, *mean, *around_nearest, *largest;
    const float *prediction, *energy, *rest;
    const float *near[ORIENTATIONS - 1]; /* of the orientations before this one */
    const float *decoded, *log2_spread;
} Description;

/* Squares of one colour are every other sample of a line. */
static inline size_t first_of_colour(size_t black, size_t line) { return (line + black) & 1; }

static inline size_t count_of_colour(size_t black, size_t line, size_t samples)
{
    return (samples + 1 - first_of_colour(black, line)) / 2;
}

static inline size_t first_square(const Description *of, size_t line) { return first_of_colour(of->black, line); }

static inline size_t squares_of_line(const Description *of, size_t line)
{
    return count_of_colour(of->black, line, of->size.samples);
}

static size_t squares_of_component(const Description *of)
{
    size_t count = 0;
    for (size_t l = of->begin; l < of->end; l++)
        count += squares_of_line(of, l);
    return count;
}

/* `stride` 2 for planes of the level; 1 for those of half the size: a square and its neighbour have one parent. */
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

/* Of planes of a quarter of the size. */
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

/* How far a coefficient lies from its prediction. */
static inline float off(float decoded, float prediction)
{
    return least(fabsf(decoded * PREDICTION_STEP - prediction), MAGNITUDE_MAX * PREDICTION_STEP);
}

/* The six entries that tell of the four neighbours of black squares; beyond the edges lies zero. */
static inline void put_neighbours(const Description *of, const float *decoded, const float *prediction, size_t line,
                                  float *out, size_t entry)
{
    const size_t samples = of->size.samples, count = squares_of_line(of, line), first = first_square(of, line);
    const int above = line > 0, below = line + 1 < of->size.lines;
    for (size_t j = 0; j < count; j++) {
        const size_t s = first + 2 * j, at = line * samples + s;
        const int before = s > 0, behind = s + 1 < samples;
        const float left = before ? decoded[at - 1] : 0, right = behind ? decoded[at + 1] : 0;
        const float upper = above ? decoded[at - samples] : 0, lower = below ? decoded[at + samples] : 0;
        const float off_along = (before ? off(left, prediction[at - 1]) : 0) + (behind ? off(right, prediction[at + 1]) : 0);
        const float off_across = (above ? off(upper, prediction[at - samples]) : 0) +
                                 (below ? off(lower, prediction[at + samples]) : 0);
        const float of_line = left + right, of_column = upper + lower;
        const float line_magnitude = fabsf(left) + fabsf(right), column_magnitude = fabsf(upper) + fabsf(lower);
        /* Along samples for what is high along samples; along lines for what is high along lines. */
        const int turned = of->orientation == 1;
        out[j] = signed_companded(turned ? of_column : of_line);
        out[j + entry] = signed_companded(turned ? of_line : of_column);
        out[j + 2 * entry] = log_magnitude(turned ? column_magnitude : line_magnitude);
        out[j + 3 * entry] = log_magnitude(turned ? line_magnitude : column_magnitude);
        out[j + 4 * entry] = log_magnitude(line_magnitude + column_magnitude);
        out[j + 5 * entry] = log_magnitude(truncf((off_along + off_across) * (1 / PREDICTION_STEP)));
    }
}

/* The varying entries of a line of a component's squares, `entry` numbers after each other, and the prediction. */
FAST static void describe_line(const Description *of, size_t c, size_t l, float *out, size_t entry, float *predicted)
{
    static const size_t OTHERS[ORIENTATIONS][2] = {{1, 2}, {0, 2}, {0, 1}};
    const Size size = of->size, half = halved(size), quarter = halved(half);
    const size_t pixels = area(size), parents = area(half), grandparents = area(quarter);
    const size_t own = of->orientation, a = OTHERS[own][0], b = OTHERS[own][1];
    const size_t count = squares_of_line(of, l), here = l * size.samples + first_square(of, l);
    const size_t twice = c * 3 * parents + l / 2 * half.samples;
    const float *parent = of->parent + twice, *around_parent = of->around_parent + twice;
    const float *second = of->nearest + 3 * pixels + here, *third = of->nearest + 6 * pixels + here;
    const float *prediction = of->prediction + (c * 3 + own) * pixels;
    put(parent + own * parents, 1, count, out), out += entry;
    put(parent + a * parents, 1, count, out), out += entry;
    put(parent + b * parents, 1, count, out), out += entry;
    if (of->grandparent) {
        const float *grandparent = of->grandparent + c * 3 * grandparents + l / 4 * quarter.samples;
        put_grandparents(grandparent + own * grandparents, grandparent + a * grandparents,
                         grandparent + b * grandparents, count, out, out + entry);
    } else {
        put_constant(0, count, out);
        put_constant(0, count, out + entry);
    }
    out += 2 * entry;
    put(around_parent + own * parents, 1, count, out), out += entry;
    put_larger(around_parent + a * parents, around_parent + b * parents, 1, count, out), out += entry;
    put(of->nearest + own * pixels + here, 2, count, out), out += entry;
    put(of->nearest + a * pixels + here, 2, count, out), out += entry;
    put(of->nearest + b * pixels + here, 2, count, out), out += entry;
    put(second + own * pixels, 2, count, out), out += entry;
    put_larger(second + a * pixels, second + b * pixels, 2, count, out), out += entry;
    put(third + own * pixels, 2, count, out), out += entry;
    put(of->mean + own * pixels + here, 2, count, out), out += entry;
    put_larger(of->mean + a * pixels + here, of->mean + b * pixels + here, 2, count, out), out += entry;
    put(of->around_nearest + own * pixels + here, 2, count, out), out += entry;
    put_larger(of->around_nearest + a * pixels + here, of->around_nearest + b * pixels + here, 2, count, out);
    out += entry;
    put(of->largest + own * pixels + here, 2, count, out), out += entry;
    put(prediction + here, 2, count, predicted);
    for (size_t j = 0; j < count; j++)
        out[j] = signed_companded(nearest_integer(predicted[j] / 2));
    out += entry;
    for (size_t j = 0; j < count; j++)
        out[j] = fabsf(out[j - entry]);
    out += entry;
    put(of->energy + c * parents + l / 2 * half.samples, 1, count, out), out += entry;
    put(of->rest + c * parents + l / 2 * half.samples, 1, count, out), out += entry;
    for (size_t before = 0; before < ORIENTATIONS - 1; before++, out += 2 * entry)
        if (before < own) {
            put_magnitudes(of->decoded + (c * 3 + before) * pixels + here, count, out);
            put(of->near[before] + c * pixels + here, 2, count, out + entry);
        } else {
            put_constant(0, count, out);
            put_constant(0, count, out + entry);
        }
    if (of->black)
        put_neighbours(of, of->decoded + (c * 3 + own) * pixels, prediction, l, out, entry);
    else
        for (size_t e = 0; e < VARYING - NEIGHBOURS; e++)
            put_constant(0, count, out + e * entry);
}

/* The entries behind the varying ones. */
static void describe_component(const Description *of, size_t c, float *constants)
{
    *constants++ = of->black ? ON : 0;
    for (size_t level = 0; level < LEVELS; level++)
        *constants++ = level == of->level ? ON : 0;
    for (size_t o = 0; o < ORIENTATIONS; o++)
        *constants++ = o == of->orientation ? ON : 0;
    *constants++ = of->log2_spread[c];
    *constants = log_magnitude((float)(of->first + c));
}

/* Contexts (entry, component, square) and predictions (component, square). */
static void describe_block(const Description *of, float *contexts, float *predicted)
{
    const size_t squares = squares_of_component(of), entry = of->components * squares;
    for (size_t c = 0; c < of->components; c++) {
        float constants[ENTRIES - VARYING];
        describe_component(of, c, constants);
        for (size_t e = VARYING; e < ENTRIES; e++)
            put_constant(constants[e - VARYING], squares, contexts + e * entry);
        for (size_t l = of->begin; l < of->end; l++) {
            describe_line(of, c, l, contexts, entry, predicted);
            contexts += squares_of_line(of, l), predicted += squares_of_line(of, l);
        }
    }
}

/* Squares of one colour and orientation, (component, square), of planes (component, orientation, line, sample). */
FAST static void take(size_t components, size_t orientation, size_t black, Size size, const float *planes, float *squares)
{
    for (size_t c = 0; c < components; c++)
        for (size_t l = 0; l < size.lines; l++) {
            const size_t first = first_of_colour(black, l), count = count_of_colour(black, l, size.samples);
            const float *line = planes + (c * ORIENTATIONS + orientation) * area(size) + l * size.samples + first;
            put(line, 2, count, squares);
            squares += count;
        }
}

/* Inverse. */
FAST static void set(size_t components, size_t orientation, size_t black, Size size, float *planes, const float *squares)
{
    for (size_t c = 0; c < components; c++)
        for (size_t l = 0; l < size.lines; l++) {
            const size_t first = first_of_colour(black, l), count = count_of_colour(black, l, size.samples);
            float *line = planes + (c * ORIENTATIONS + orientation) * area(size) + l * size.samples + first;
            for (size_t j = 0; j < count; j++)
                line[2 * j] = squares[j];
            squares += count;
        }
}

#endif
