/* Contexts of wavelet coefficients: what contexts.py defines, entry by entry, made line by line.
 *
 * Every number is an integer in float32 and every sum of several stays below 2^24, so any order of additions gives what
 * NumPy gives; where a single addition or the division rounds, both round as IEEE 754 says. Hence no fast mathematics and
 * no contraction to fused operations (pyproject.toml), and tests/runtime/adaptive/test_contexts.py holds both to each
 * other's numbers.
 *
 * Memory: scratch of one call, freed by it; all other buffers are the caller's, their lengths are checked before they
 * are used, and the interpreter's lock is not held while they are.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LEVELS 5
#define ORIENTATIONS 3
#define ENTRIES 43
#define PREDICTORS 6
#define PREDICTION_STEP 16.0f
#define PREDICTOR_MAX 127.0f
#define WEIGHT_MAX 64.0f
#define RIDGE 8.0f
#define MAGNITUDE_MAX 4095.0f
#define COMPANDED_MAX (27 * 4095.0f)
#define ON 64.0f

/* What x86-64 has had since 2013, where the processor has it; float32 gives the same in either. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define FAST __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define FAST
#endif

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
    float *contexts, *predicted;
} Description;

/* Squares of one colour are every other sample of a line. */
static inline size_t first_square(const Description *of, size_t line) { return (line + of->black) & 1; }

static inline size_t squares_of_line(const Description *of, size_t line)
{
    return (of->size.samples + 1 - first_square(of, line)) / 2;
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

FAST static void describe_block(const Description *of)
{
    static const size_t OTHERS[ORIENTATIONS][2] = {{1, 2}, {0, 2}, {0, 1}};
    const Size size = of->size, half = halved(size), quarter = halved(half);
    const size_t pixels = area(size), parents = area(half), grandparents = area(quarter);
    const size_t own = of->orientation, a = OTHERS[own][0], b = OTHERS[own][1];
    const size_t squares = squares_of_component(of), entry = of->components * squares;
    for (size_t c = 0; c < of->components; c++) {
        float *out = of->contexts + c * squares, *predicted = of->predicted + c * squares;
        const float *parent = of->parent + c * 3 * parents, *around_parent = of->around_parent + c * 3 * parents;
        const float *decoded = of->decoded + (c * 3 + own) * pixels;
        const float *prediction = of->prediction + (c * 3 + own) * pixels;
        const float *companded_prediction = of->companded_prediction + (c * 3 + own) * pixels;
        for (size_t l = of->begin; l < of->end; l++) {
            const size_t count = squares_of_line(of, l), here = l * size.samples + first_square(of, l);
            const size_t twice = l / 2 * half.samples;
            float *next = out;
            put(parent + own * parents + twice, 1, count, next), next += entry;
            put(parent + a * parents + twice, 1, count, next), next += entry;
            put(parent + b * parents + twice, 1, count, next), next += entry;
            if (of->grandparent) {
                const float *grandparent = of->grandparent + c * 3 * grandparents + l / 4 * quarter.samples;
                put_grandparents(grandparent + own * grandparents, grandparent + a * grandparents,
                                 grandparent + b * grandparents, count, next, next + entry);
            } else {
                put_constant(0, count, next);
                put_constant(0, count, next + entry);
            }
            next += 2 * entry;
            put(around_parent + own * parents + twice, 1, count, next), next += entry;
            put_larger(around_parent + a * parents + twice, around_parent + b * parents + twice, 1, count, next);
            next += entry;
            if (c == 0) {
                const float *second = of->nearest + 3 * pixels + here, *third = of->nearest + 6 * pixels + here;
                put(of->nearest + own * pixels + here, 2, count, next), next += entry;
                put(of->nearest + a * pixels + here, 2, count, next), next += entry;
                put(of->nearest + b * pixels + here, 2, count, next), next += entry;
                put(second + own * pixels, 2, count, next), next += entry;
                put_larger(second + a * pixels, second + b * pixels, 2, count, next), next += entry;
                put(third + own * pixels, 2, count, next), next += entry;
                put(of->mean + own * pixels + here, 2, count, next), next += entry;
                put_larger(of->mean + a * pixels + here, of->mean + b * pixels + here, 2, count, next), next += entry;
                put(of->around_nearest + own * pixels + here, 2, count, next), next += entry;
                put_larger(of->around_nearest + a * pixels + here, of->around_nearest + b * pixels + here, 2, count,
                           next);
                next += entry;
                put(of->largest + own * pixels + here, 2, count, next), next += entry;
            } else /* the same for all components of a group */
                for (int shared = 0; shared < 11; shared++, next += entry)
                    memcpy(next, next - c * squares, count * sizeof *next);
            put(companded_prediction + here, 2, count, next), next += entry;
            for (size_t j = 0; j < count; j++)
                next[j] = fabsf(next[j - entry]);
            next += entry;
            put(of->energy + c * parents + twice, 1, count, next), next += entry;
            put(of->rest + c * parents + twice, 1, count, next), next += entry;
            for (size_t before = 0; before < ORIENTATIONS - 1; before++, next += 2 * entry)
                if (before < own) {
                    put(of->there[before] + c * pixels + here, 2, count, next);
                    put(of->near[before] + c * pixels + here, 2, count, next + entry);
                } else {
                    put_constant(0, count, next);
                    put_constant(0, count, next + entry);
                }
            if (of->black)
                put_neighbours(of, decoded, prediction, l, next, entry);
            else
                for (int e = 0; e < 6; e++)
                    put_constant(0, count, next + (size_t)e * entry);
            next += 6 * entry;
            put_constant(of->black ? ON : 0, count, next), next += entry;
            for (size_t level = 0; level < LEVELS; level++, next += entry)
                put_constant(level == of->level ? ON : 0, count, next);
            for (size_t o = 0; o < ORIENTATIONS; o++, next += entry)
                put_constant(o == own ? ON : 0, count, next);
            put_constant(of->log2_spread[c], count, next), next += entry;
            put_constant(companded((float)(of->first + c)), count, next);
            put(prediction + here, 2, count, predicted);
            out += count, predicted += count;
        }
    }
}

/* What a function takes: buffers of float32, and how many elements each must hold. */
static int holds(const Py_buffer *views, const size_t *elements, int count)
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

static void release(Py_buffer *views, int count)
{
    for (int i = 0; i < count; i++)
        PyBuffer_Release(&views[i]);
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
        if (holds(views, (const size_t[]){all, all, all}, 3)) {
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
        if (holds(views, elements, 7)) {
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

static PyObject *describe(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_ssize_t components, level, orientation, black, first, begin, end, lines, samples;
    Py_buffer v[19];
    if (!PyArg_ParseTuple(arguments, "nnnnnnnnny*y*z*y*y*y*y*y*y*y*y*z*z*z*z*y*y*w*w*", &components, &level, &orientation,
                          &black, &first, &begin, &end, &lines, &samples, &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7],
                          &v[8], &v[9], &v[10], &v[11], &v[12], &v[13], &v[14], &v[15], &v[16], &v[17], &v[18]))
        return NULL;
    int done = 0;
    if (level < 0 || level >= LEVELS || orientation < 0 || orientation >= ORIENTATIONS || first < 0 || first > 1 << 15)
        PyErr_Format(PyExc_ValueError, "level %zd, orientation %zd or component %zd is none", level, orientation, first);
    else if (begin < 0 || begin > end || end > lines)
        PyErr_Format(PyExc_ValueError, "lines %zd to %zd are none of %zd", begin, end, lines);
    else if ((orientation > 0 && !(v[11].obj && v[12].obj)) || (orientation > 1 && !(v[13].obj && v[14].obj)))
        PyErr_SetString(PyExc_ValueError, "magnitudes of the orientations before are missing");
    else if (is_size(lines, samples, components)) {
        const Description of = {
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
            .contexts = v[17].buf,
            .predicted = v[18].buf,
        };
        const size_t n = of.components, pixels = area(of.size), parents = area(halved(of.size));
        const size_t squares = n * squares_of_component(&of);
        const size_t elements[19] = {n * 3 * parents, n * 3 * parents, n * 3 * area(halved(halved(of.size))),
                                     9 * pixels,      3 * pixels,      3 * pixels,
                                     3 * pixels,      n * 3 * pixels,  n * 3 * pixels,
                                     n * parents,     n * parents,     n * pixels,
                                     n * pixels,      n * pixels,      n * pixels,
                                     n * 3 * pixels,  n,               ENTRIES * squares,
                                     squares};
        if (holds(v, elements, 19)) {
            Py_BEGIN_ALLOW_THREADS
            describe_block(&of);
            Py_END_ALLOW_THREADS
            done = 1;
        }
    }
    release(v, 19);
    return done ? Py_NewRef(Py_None) : NULL;
}

static PyMethodDef METHODS[] = {
    {"magnitudes", magnitudes, METH_VARARGS, NULL},
    {"predict", predict, METH_VARARGS, NULL},
    {"describe", describe, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, .m_name = "_contexts", .m_methods = METHODS};

PyMODINIT_FUNC PyInit__contexts(void)
{
    return PyModuleDef_Init(&MODULE);
}
