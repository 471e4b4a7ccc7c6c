/* Contexts of wavelet coefficients, and the network that they are for: what contexts.py defines, entry by entry, made line
 * by line; and from there, while they are in the cache, what the network makes of them.
 *
 * Every number is an integer in float32 and every sum of several stays below 2^24, so any order of additions gives what
 * NumPy gives; where a single addition or the division rounds, both round as IEEE 754 says. Hence no fast mathematics and
 * no contraction to fused operations (pyproject.toml), and tests/runtime/adaptive/test_contexts.py holds both to each
 * other's numbers.
 *
 * Memory: scratch of one call, freed by it; all other buffers are the caller's, their lengths are checked before they
 * are used, and the interpreter's lock is not held while they are.
 */

#include "_buffers.h" /* first: it includes Python.h */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "_context_network.h"
#include "_table_rows.h"

#define LEVELS 5
#define ORIENTATIONS 3
#define ENTRIES 43
#define VARYING 32     /* the others are the same for all coefficients of a component in a block */
#define NEIGHBOURS 26  /* the first entry of black squares alone */
#define BEFORE 22      /* the first entry of the orientations before */
#define AT_ONCE 128    /* squares whose contexts the nearest cache holds */
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

static inline float companded(float magnitude) { return highest_bits(least(magnitude, COMPANDED_MAX), 4); }
static inline float companded_energy(float energy) { return highest_bits(energy, 3); }
static inline float signed_companded(float value) { return copysignf(companded(fabsf(value)), value); }

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

/* Planes of magnitudes and of what lies around, both companded. */
FAST static void compand_planes(const float *planes, size_t count, Size size, float *there, float *near, float *scratch)
{
    const size_t pixels = area(size);
    for (size_t p = 0; p < count; p++, planes += pixels, there += pixels, near += pixels) {
        float *clipped = scratch, *line = scratch + pixels;
        for (size_t i = 0; i < pixels; i++) {
            const float magnitude = fabsf(planes[i]);
            there[i] = companded(magnitude);
            clipped[i] = least(magnitude, MAGNITUDE_MAX);
        }
        around(clipped, size, near, line);
        for (size_t i = 0; i < pixels; i++)
            near[i] = companded(near[i]);
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
        for (size_t i = 0; i < pixels; i++) {
            const float magnitude = companded(fabsf(details[i]));
            sum[i] += magnitude;
            largest[i] = most(largest[i], magnitude);
        }
        if (count - c <= NEAREST) {
            float *nearest = after->nearest + (count - 1 - c) * pixels;
            for (size_t i = 0; i < pixels; i++)
                nearest[i] = companded(fabsf(details[i]));
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
    float *prediction, *companded_prediction; /* (component, orientation, line, sample) of the level */
    float *energy, *rest;          /* (component, line, sample) of the parents, companded */
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
        for (size_t i = 0; i < 3 * pixels; i++)
            of->companded_prediction[c * 3 * pixels + i] = signed_companded(nearest_integer(prediction[i] / 2));
    }
}

/* What describes coefficients of one orientation on the squares of one colour; planes as GroupContexts has them. */
typedef struct {
    size_t components, level, orientation, black, first;
    size_t begin, end; /* lines */
    Size size;
    const float *parent, *around_parent, *grandparent; /* the last is NULL where there is none */
    const float *nearest, *mean, *around_nearest, *largest;
    const float *prediction, *companded_prediction, *energy, *rest;
    const float *there[ORIENTATIONS - 1], *near[ORIENTATIONS - 1]; /* of the orientations before this one */
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
        out[j + 2 * entry] = companded(turned ? column_magnitude : line_magnitude);
        out[j + 3 * entry] = companded(turned ? line_magnitude : column_magnitude);
        out[j + 4 * entry] = companded(line_magnitude + column_magnitude);
        out[j + 5 * entry] = companded(truncf((off_along + off_across) * (1 / PREDICTION_STEP)));
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
    put(of->companded_prediction + (c * 3 + own) * pixels + here, 2, count, out), out += entry;
    for (size_t j = 0; j < count; j++)
        out[j] = fabsf(out[j - entry]);
    out += entry;
    put(of->energy + c * parents + l / 2 * half.samples, 1, count, out), out += entry;
    put(of->rest + c * parents + l / 2 * half.samples, 1, count, out), out += entry;
    for (size_t before = 0; before < ORIENTATIONS - 1; before++, out += 2 * entry)
        if (before < own) {
            put(of->there[before] + c * pixels + here, 2, count, out);
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
    put(prediction + here, 2, count, predicted);
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
    *constants = companded((float)(of->first + c));
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

typedef struct {
    RunLayer *run;
    size_t count, widest; /* layers; rows of the widest */
    Layer layers[MAX_LAYERS];
} Network;

/* Memory of one call; planes hold `capacity` squares. */
typedef struct {
    size_t capacity;
    int32_t *inputs, *channels[2]; /* pairs of channels: the network's inputs; a layer's inputs and outputs */
    float *contexts, *predicted;
    Row *first;                    /* of the first layer's rows, with biases of a component */
    void *memory;
} Scratch;

static size_t rounded_up(size_t count) { return (count + SQUARES_AT_ONCE - 1) / SQUARES_AT_ONCE * SQUARES_AT_ONCE; }

/* For so many squares in a line; whether there is enough memory. */
static int scratch_for(const Network *network, size_t squares, Scratch *scratch)
{
    const size_t capacity = rounded_up(squares < AT_ONCE ? AT_ONCE : squares);
    const size_t inputs = (ENTRIES + 1) / 2 * capacity, channels = network->widest / 2 * capacity;
    const size_t words = inputs + 2 * channels + (ENTRIES + 1) * capacity;
    const size_t octets = words * sizeof(int32_t) + network->layers[0].rows * sizeof(Row);
    int32_t *next = scratch->memory = calloc(octets + 64, 1);
    if (next == NULL)
        return 0;
    next = (int32_t *)(((uintptr_t)next + 63) & ~(uintptr_t)63); /* instructions load 64 octets at once */
    scratch->capacity = capacity;
    scratch->inputs = next, next += inputs;
    scratch->channels[0] = next, next += channels;
    scratch->channels[1] = next, next += channels;
    scratch->contexts = (float *)next, next += ENTRIES * capacity;
    scratch->predicted = (float *)next, next += capacity;
    scratch->first = (Row *)next;
    return 1;
}

FAST static void pair_entries(const float *contexts, size_t capacity, size_t entries, size_t squares, int32_t *inputs)
{
    for (size_t e = 0; e < entries; e += 2, inputs += capacity, contexts += 2 * capacity) {
        const float *first = contexts, *second = e + 1 < entries ? contexts + capacity : NULL;
        for (size_t j = 0; j < squares; j++)
            inputs[j] = paired((int32_t)first[j], second ? (int32_t)second[j] : 0);
    }
}

/* Of the first entries of the scratch's contexts, the others being zero or in the first layer's biases: OUTPUT_PAIRS. */
static const int32_t *run_network(const Network *network, const Row *first, size_t entries, size_t squares,
                                  const Scratch *scratch)
{
    const size_t padded = rounded_up(squares);
    pair_entries(scratch->contexts, scratch->capacity, entries, padded, scratch->inputs);
    Layer layer = network->layers[0];
    layer.pairs = (entries + 1) / 2, layer.row = first;
    network->run(&layer, scratch->inputs, scratch->channels[0], scratch->capacity, padded);
    for (size_t i = 1; i < network->count; i++)
        network->run(&network->layers[i], scratch->channels[(i - 1) % 2], scratch->channels[i % 2], scratch->capacity,
                     padded);
    return scratch->channels[(network->count - 1) % 2];
}

/* Outputs (OUTPUT, square) of contexts (entry, square). */
static void evaluate_contexts(const Network *network, const float *contexts, size_t squares, int32_t *outputs,
                              const Scratch *scratch)
{
    for (size_t begin = 0; begin < squares; begin += scratch->capacity) {
        const size_t count = squares - begin < scratch->capacity ? squares - begin : scratch->capacity;
        for (size_t e = 0; e < ENTRIES; e++)
            memcpy(scratch->contexts + e * scratch->capacity, contexts + e * squares + begin, count * sizeof *contexts);
        const int32_t *found = run_network(network, network->layers[0].row, ENTRIES, count, scratch);
        for (size_t j = 0; j < count; j++, found++) {
            outputs[begin + j] = first_of(found[0]);
            outputs[squares + begin + j] = second_of(found[0]);
            outputs[2 * squares + begin + j] = first_of(found[scratch->capacity]);
        }
    }
}

/* Rows and shifts (component, square) of a block. */
static void find_rows(const Network *network, const Description *of, int32_t *rows, int32_t *shifts,
                      const Scratch *scratch)
{
    const Layer *layer = &network->layers[0];
    const size_t entries = of->black ? VARYING : BEFORE + 2 * of->orientation; /* that are not zero */
    for (size_t c = 0; c < of->components; c++) {
        float constants[ENTRIES - VARYING + 1] = {0};
        describe_component(of, c, constants);
        memcpy(scratch->first, layer->row, layer->rows * sizeof(Row));
        for (size_t e = VARYING; e < ENTRIES; e += 2)
            for (size_t row = 0; row < layer->rows; row++) {
                const int32_t weight = layer->weights[e / 2 * layer->rows + row];
                scratch->first[row].bias += first_of(weight) * (int32_t)constants[e - VARYING] +
                                            second_of(weight) * (int32_t)constants[e + 1 - VARYING];
            }
        for (size_t l = of->begin, waiting = 0; l < of->end; l++) {
            describe_line(of, c, l, scratch->contexts + waiting, scratch->capacity, scratch->predicted + waiting);
            waiting += squares_of_line(of, l);
            if (l + 1 < of->end && waiting + squares_of_line(of, l + 1) <= scratch->capacity)
                continue;
            const int32_t *found = run_network(network, scratch->first, entries, waiting, scratch);
            for (size_t j = 0; j < waiting; j++, found++)
                table_row(first_of(found[0]), second_of(found[0]), first_of(found[scratch->capacity]),
                          scratch->predicted[j], rows++, shifts++);
            waiting = 0;
        }
    }
}

/* What a function takes: buffers of float32, and how many elements each must hold. */
static int hold_all(const Py_buffer *views, const size_t *elements, int count)
{
    for (int i = 0; i < count; i++)
        if (views[i].obj != NULL &&
            ((size_t)views[i].len != elements[i] * sizeof(float) || (uintptr_t)views[i].buf % sizeof(float))) {
            PyErr_Format(PyExc_ValueError, "buffer %d holds %zd octets, not %zu float32 numbers", i, views[i].len,
                         elements[i]);
            return 0;
        }
    return 1;
}

/* Whether planes of this size, so many in all, can be counted in octets. */
static int is_size(Py_ssize_t lines, Py_ssize_t samples, Py_ssize_t planes)
{
    if (lines > 0 && samples > 0 && planes >= 0 && lines <= 1 << 15 && samples <= 1 << 15 && planes <= 1 << 15)
        return 1;
    PyErr_Format(PyExc_ValueError, "%zd planes of %zd x %zd are none", planes, lines, samples);
    return 0;
}

static PyObject *magnitudes(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_ssize_t lines, samples;
    Py_buffer views[3];
    if (!PyArg_ParseTuple(arguments, "nny*w*w*", &lines, &samples, &views[0], &views[1], &views[2]))
        return NULL;
    float *scratch = NULL;
    int done = 0;
    if (is_size(lines, samples, 0)) {
        const Size size = {(size_t)lines, (size_t)samples};
        const size_t planes = (size_t)views[0].len / sizeof(float) / area(size), all = planes * area(size);
        if (hold_all(views, (const size_t[]){all, all, all}, 3)) {
            scratch = malloc((area(size) + size.samples + 2) * sizeof *scratch);
            if (scratch == NULL)
                PyErr_NoMemory();
            else {
                Py_BEGIN_ALLOW_THREADS
                compand_planes(views[0].buf, planes, size, views[1].buf, views[2].buf, scratch);
                Py_END_ALLOW_THREADS
                done = 1;
            }
        }
    }
    free(scratch);
    release(views, 3);
    return done ? Py_NewRef(Py_None) : NULL;
}

static PyObject *add_magnitudes(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_ssize_t components, lines, samples;
    Py_buffer v[7];
    if (!PyArg_ParseTuple(arguments, "nnny*y*y*y*w*w*w*", &components, &lines, &samples, &v[0], &v[1], &v[2], &v[3],
                          &v[4], &v[5], &v[6]))
        return NULL;
    int done = 0;
    if (is_size(lines, samples, components)) {
        const size_t n = (size_t)components, pixels = ORIENTATIONS * (size_t)lines * (size_t)samples;
        const size_t elements[7] = {n * pixels, NEAREST * pixels, pixels, pixels, NEAREST * pixels, pixels, pixels};
        if (hold_all(v, elements, 7)) {
            const Magnitudes before = {v[1].buf, v[2].buf, v[3].buf}, after = {v[4].buf, v[5].buf, v[6].buf};
            Py_BEGIN_ALLOW_THREADS
            add_components(v[0].buf, n, pixels, &before, &after);
            Py_END_ALLOW_THREADS
            done = 1;
        }
    }
    release(v, 7);
    return done ? Py_NewRef(Py_None) : NULL;
}

static PyObject *predict(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_ssize_t components, predictors, lines, samples;
    Py_buffer views[7];
    if (!PyArg_ParseTuple(arguments, "nnnny*y*y*w*w*w*w*", &components, &predictors, &lines, &samples, &views[0],
                          &views[1], &views[2], &views[3], &views[4], &views[5], &views[6]))
        return NULL;
    float *scratch = NULL;
    int done = 0;
    if (predictors < 0 || predictors > PREDICTORS)
        PyErr_Format(PyExc_ValueError, "%zd predictors, %d are the most", predictors, PREDICTORS);
    else if (is_size(lines, samples, components)) {
        const Prediction of = {
            .components = (size_t)components,
            .predictors = (size_t)predictors,
            .size = {(size_t)lines, (size_t)samples},
            .parents = views[0].buf,
            .predictor_parents = views[1].buf,
            .predictor_details = views[2].buf,
            .prediction = views[3].buf,
            .companded_prediction = views[4].buf,
            .energy = views[5].buf,
            .rest = views[6].buf,
        };
        const size_t parents = area(halved(of.size)), all = of.components * 3 * area(of.size);
        const size_t elements[7] = {of.components * 3 * parents,
                                    of.predictors * 3 * parents,
                                    of.predictors * 3 * area(of.size),
                                    all,
                                    all,
                                    of.components * parents,
                                    of.components * parents};
        if (hold_all(views, elements, 7)) {
            scratch = malloc(prediction_scratch(of.size) * sizeof *scratch);
            if (scratch == NULL)
                PyErr_NoMemory();
            else {
                Py_BEGIN_ALLOW_THREADS
                predict_group(&of, scratch);
                Py_END_ALLOW_THREADS
                done = 1;
            }
        }
    }
    free(scratch);
    release(views, 7);
    return done ? Py_NewRef(Py_None) : NULL;
}

/* Of planes and squares, in `v`, with what else both functions take. */
static int hold_squares(PyObject *arguments, const char *format, Size *size, size_t *n, size_t *orientation, int *black,
                        Py_buffer *v)
{
    Py_ssize_t components, number, lines, samples;
    if (!PyArg_ParseTuple(arguments, format, &components, &number, black, &lines, &samples, &v[0], &v[1]))
        return 0;
    if (number < 0 || number >= ORIENTATIONS)
        PyErr_Format(PyExc_ValueError, "orientation %zd is none", number);
    else if (is_size(lines, samples, components)) {
        *size = (Size){(size_t)lines, (size_t)samples}, *n = (size_t)components, *orientation = (size_t)number;
        const size_t pixels = area(*size), squares = *black ? pixels / 2 : pixels - pixels / 2;
        if (hold_all(v, (const size_t[]){*n * ORIENTATIONS * pixels, *n * squares}, 2))
            return 1;
    }
    release(v, 2);
    return 0;
}

static PyObject *take_squares(PyObject *module, PyObject *arguments)
{
    (void)module;
    Size size;
    size_t components, orientation;
    int black;
    Py_buffer v[2];
    if (!hold_squares(arguments, "nnpnny*w*", &size, &components, &orientation, &black, v))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    take(components, orientation, black != 0, size, v[0].buf, v[1].buf);
    Py_END_ALLOW_THREADS
    release(v, 2);
    return Py_NewRef(Py_None);
}

static PyObject *set_squares(PyObject *module, PyObject *arguments)
{
    (void)module;
    Size size;
    size_t components, orientation;
    int black;
    Py_buffer v[2];
    if (!hold_squares(arguments, "nnpnnw*y*", &size, &components, &orientation, &black, v))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    set(components, orientation, black != 0, size, v[0].buf, v[1].buf);
    Py_END_ALLOW_THREADS
    release(v, 2);
    return Py_NewRef(Py_None);
}

#define DESCRIPTION_VIEWS 17

/* What a caller gave as a description, a tuple, until it is released. */
typedef struct {
    Description of;
    Py_buffer views[DESCRIPTION_VIEWS];
} HeldDescription;

/* Converters of PyArg_ParseTuple; a second call, of no object, releases what the first one held. */
static int hold_description(PyObject *tuple, void *address)
{
    HeldDescription *held = address;
    Py_buffer *v = held->views;
    Py_ssize_t components, level, orientation, black, first, begin, end, lines, samples;
    if (tuple == NULL) {
        release(v, DESCRIPTION_VIEWS);
        return 0;
    }
    if (!PyTuple_Check(tuple)) {
        PyErr_SetString(PyExc_TypeError, "a description is a tuple");
        return 0;
    }
    if (!PyArg_ParseTuple(tuple, "nnnnnnnnny*y*z*y*y*y*y*y*y*y*y*z*z*z*z*y*y*", &components, &level, &orientation, &black,
                          &first, &begin, &end, &lines, &samples, &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7],
                          &v[8], &v[9], &v[10], &v[11], &v[12], &v[13], &v[14], &v[15], &v[16]))
        return 0;
    if (level < 0 || level >= LEVELS || orientation < 0 || orientation >= ORIENTATIONS || first < 0 || first > 1 << 15)
        PyErr_Format(PyExc_ValueError, "level %zd, orientation %zd or component %zd is none", level, orientation, first);
    else if (begin < 0 || begin > end || end > lines)
        PyErr_Format(PyExc_ValueError, "lines %zd to %zd are none of %zd", begin, end, lines);
    else if ((orientation > 0 && !(v[11].obj && v[12].obj)) || (orientation > 1 && !(v[13].obj && v[14].obj)))
        PyErr_SetString(PyExc_ValueError, "magnitudes of the orientations before are missing");
    else if (is_size(lines, samples, components)) {
        held->of = (Description){
            .components = (size_t)components,
            .level = (size_t)level,
            .orientation = (size_t)orientation,
            .black = black != 0,
            .first = (size_t)first,
            .begin = (size_t)begin,
            .end = (size_t)end,
            .size = {(size_t)lines, (size_t)samples},
            .parent = v[0].buf,
            .around_parent = v[1].buf,
            .grandparent = v[2].buf,
            .nearest = v[3].buf,
            .mean = v[4].buf,
            .around_nearest = v[5].buf,
            .largest = v[6].buf,
            .prediction = v[7].buf,
            .companded_prediction = v[8].buf,
            .energy = v[9].buf,
            .rest = v[10].buf,
            .there = {v[11].buf, v[13].buf},
            .near = {v[12].buf, v[14].buf},
            .decoded = v[15].buf,
            .log2_spread = v[16].buf,
        };
        const size_t n = held->of.components, pixels = area(held->of.size), parents = area(halved(held->of.size));
        const size_t elements[DESCRIPTION_VIEWS] = {
            n * 3 * parents, n * 3 * parents, n * 3 * area(halved(halved(held->of.size))),
            9 * pixels,      3 * pixels,      3 * pixels,
            3 * pixels,      n * 3 * pixels,  n * 3 * pixels,
            n * parents,     n * parents,     n * pixels,
            n * pixels,      n * pixels,      n * pixels,
            n * 3 * pixels,  n,
        };
        if (hold_all(v, elements, DESCRIPTION_VIEWS))
            return Py_CLEANUP_SUPPORTED;
    }
    release(v, DESCRIPTION_VIEWS);
    return 0;
}

#define NETWORK_VIEWS 3

typedef struct {
    Network of;
    Py_buffer views[NETWORK_VIEWS]; /* sizes (layer, 2): pairs, rows; weights; rows */
} HeldNetwork;

/* Fill in the layers, if the buffers hold them. */
static int find_layers(HeldNetwork *held)
{
    const Py_buffer *v = held->views;
    const size_t count = (size_t)v[0].len / (2 * sizeof(int32_t));
    const int32_t *sizes = v[0].buf, *weights = v[1].buf;
    const Row *row = v[2].buf;
    size_t pairs = (ENTRIES + 1) / 2, weight_count = 0, row_count = 0, aligned = 1;
    for (int i = 0; i < NETWORK_VIEWS; i++)
        aligned &= (uintptr_t)v[i].buf % sizeof(int32_t) == 0;
    if (!aligned || count == 0 || count > MAX_LAYERS || (size_t)v[0].len != count * 2 * sizeof(int32_t))
        return 0;
    held->of.count = count, held->of.widest = 0;
    for (size_t i = 0; i < count; i++) {
        const int32_t rows = sizes[2 * i + 1];
        if (rows <= 0 || rows > MAX_ROWS || rows % ROWS_AT_ONCE || sizes[2 * i] < 0 || (size_t)sizes[2 * i] != pairs)
            return 0;
        held->of.layers[i] = (Layer){pairs, (size_t)rows, weights + weight_count, row + row_count};
        weight_count += pairs * (size_t)rows, row_count += (size_t)rows, pairs = (size_t)rows / 2;
        held->of.widest = (size_t)rows > held->of.widest ? (size_t)rows : held->of.widest;
    }
    return pairs == OUTPUT_PAIRS && (size_t)v[1].len == weight_count * sizeof(int32_t) &&
           (size_t)v[2].len == row_count * sizeof(Row);
}

static int hold_network(PyObject *tuple, void *address)
{
    HeldNetwork *held = address;
    Py_ssize_t which;
    size_t count;
    const InstructionSet *sets = instruction_sets(&count);
    if (tuple == NULL) {
        release(held->views, NETWORK_VIEWS);
        return 0;
    }
    if (!PyTuple_Check(tuple)) {
        PyErr_SetString(PyExc_TypeError, "a network is a tuple");
        return 0;
    }
    if (!PyArg_ParseTuple(tuple, "ny*y*y*", &which, &held->views[0], &held->views[1], &held->views[2]))
        return 0;
    if (which < 0 || (size_t)which >= count)
        PyErr_Format(PyExc_ValueError, "instruction set %zd is none of %zu", which, count);
    else if (!find_layers(held))
        PyErr_SetString(PyExc_ValueError, "sizes, weights and rows are not of one network of contexts");
    else {
        held->of.run = sets[which].run;
        return Py_CLEANUP_SUPPORTED;
    }
    release(held->views, NETWORK_VIEWS);
    return 0;
}

static PyObject *describe(PyObject *module, PyObject *arguments)
{
    (void)module;
    HeldDescription held;
    Py_buffer views[2];
    if (!PyArg_ParseTuple(arguments, "O&w*w*", hold_description, &held, &views[0], &views[1]))
        return NULL;
    const size_t squares = held.of.components * squares_of_component(&held.of);
    const int done = hold_all(views, (const size_t[]){ENTRIES * squares, squares}, 2);
    if (done) {
        Py_BEGIN_ALLOW_THREADS
        describe_block(&held.of, views[0].buf, views[1].buf);
        Py_END_ALLOW_THREADS
    }
    release(views, 2);
    release(held.views, DESCRIPTION_VIEWS);
    return done ? Py_NewRef(Py_None) : NULL;
}

static PyObject *rows_and_shifts(PyObject *module, PyObject *arguments)
{
    (void)module;
    HeldNetwork network;
    HeldDescription held;
    Py_buffer views[2];
    if (!PyArg_ParseTuple(arguments, "O&O&w*w*", hold_network, &network, hold_description, &held, &views[0], &views[1]))
        return NULL;
    Scratch scratch = {.memory = NULL};
    const size_t squares = held.of.components * squares_of_component(&held.of);
    int done = hold_all(views, (const size_t[]){squares, squares}, 2);
    if (done && !scratch_for(&network.of, (held.of.size.samples + 1) / 2, &scratch)) {
        PyErr_NoMemory();
        done = 0;
    }
    if (done) {
        Py_BEGIN_ALLOW_THREADS
        find_rows(&network.of, &held.of, views[0].buf, views[1].buf, &scratch);
        Py_END_ALLOW_THREADS
    }
    free(scratch.memory);
    release(views, 2);
    release(held.views, DESCRIPTION_VIEWS);
    release(network.views, NETWORK_VIEWS);
    return done ? Py_NewRef(Py_None) : NULL;
}

static PyObject *evaluate(PyObject *module, PyObject *arguments)
{
    (void)module;
    HeldNetwork network;
    Py_buffer views[2];
    if (!PyArg_ParseTuple(arguments, "O&y*w*", hold_network, &network, &views[0], &views[1]))
        return NULL;
    Scratch scratch = {.memory = NULL};
    const size_t squares = (size_t)views[0].len / sizeof(float) / ENTRIES;
    int done = hold_all(views, (const size_t[]){ENTRIES * squares, 3 * squares}, 2);
    if (done && !scratch_for(&network.of, 0, &scratch)) {
        PyErr_NoMemory();
        done = 0;
    }
    if (done) {
        Py_BEGIN_ALLOW_THREADS
        evaluate_contexts(&network.of, views[0].buf, squares, views[1].buf, &scratch);
        Py_END_ALLOW_THREADS
    }
    free(scratch.memory);
    release(views, 2);
    release(network.views, NETWORK_VIEWS);
    return done ? Py_NewRef(Py_None) : NULL;
}

static PyObject *names_of_instruction_sets(PyObject *module, PyObject *arguments)
{
    (void)module, (void)arguments;
    size_t count;
    const InstructionSet *sets = instruction_sets(&count);
    PyObject *names = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; names != NULL && i < count; i++) {
        PyObject *name = PyUnicode_FromString(sets[i].name);
        if (name == NULL || PyTuple_SetItem(names, (Py_ssize_t)i, name) < 0)
            Py_CLEAR(names);
    }
    return names;
}

static PyMethodDef METHODS[] = {
    {"magnitudes", magnitudes, METH_VARARGS, NULL},
    {"add_magnitudes", add_magnitudes, METH_VARARGS, NULL},
    {"predict", predict, METH_VARARGS, NULL},
    {"take_squares", take_squares, METH_VARARGS, NULL},
    {"set_squares", set_squares, METH_VARARGS, NULL},
    {"describe", describe, METH_VARARGS, NULL},
    {"rows_and_shifts", rows_and_shifts, METH_VARARGS, NULL},
    {"evaluate", evaluate, METH_VARARGS, NULL},
    {"instruction_sets", names_of_instruction_sets, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, .m_name = "_contexts", .m_methods = METHODS};

PyMODINIT_FUNC PyInit__contexts(void)
{
    return PyModuleDef_Init(&MODULE);
}
