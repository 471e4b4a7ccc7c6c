/* The 9/7 wavelet: what wavelet.py defines, a component after the other.
 *
 * Every operation on float32 is one of NumPy's there, on the same numbers and rounded on its own (no contraction,
 * pyproject.toml), so coefficients and pixels are the same; tests/runtime/families/adaptive/test_wavelet.py holds both to that.
 *
 * Memory: scratch of one call, freed by it; all other buffers are the caller's, their lengths are checked before they
 * are used, and the interpreter's lock is not held while they are.
 */

#include "_buffers.h" /* first: it includes Python.h */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LEVELS 5
#define ORIENTATIONS 3
#define STEPS 4

/* Of wavelet.py: what the halves are scaled by, and the lifting steps' factors; the first changes the high half. */
typedef struct {
    float low, high, step[STEPS];
} Lifting;

static inline size_t low_of(size_t size) { return (size + 1) / 2; }

/* Add `factor` times what lies before and behind to every element of `target`, which is high or low. */
static inline void lift(float *restrict target, size_t targets, const float *restrict source, size_t sources, int high,
                        float factor)
{
    if (high) {
        for (size_t i = 0; i + 1 < sources && i < targets; i++)
            target[i] += (source[i] + source[i + 1]) * factor;
        if (sources == targets)
            target[targets - 1] += 2 * factor * source[sources - 1];
    } else {
        target[0] += 2 * factor * source[0];
        for (size_t i = 1; i < targets && i < sources; i++)
            target[i] += (source[i - 1] + source[i]) * factor;
        if (targets > sources)
            target[targets - 1] += 2 * factor * source[sources - 1];
    }
}

static inline void add_product(float *restrict target, const float *restrict a, const float *restrict b, float factor,
                               size_t count)
{
    for (size_t i = 0; i < count; i++)
        target[i] += (a[i] + b[i]) * factor;
}

static inline void add_twice(float *restrict target, const float *restrict a, float factor, size_t count)
{
    for (size_t i = 0; i < count; i++)
        target[i] += 2 * factor * a[i];
}

/* The same of whole lines of `samples`. */
static inline void lift_lines(float *target, size_t targets, const float *source, size_t sources, size_t samples,
                              int high, float factor)
{
    for (size_t i = 0; i < targets; i++) {
        const size_t before = high ? i : i - 1, behind = high ? i + 1 : i; /* of sources; one of them may be none */
        float *line = target + i * samples;
        if (!high && i == 0)
            add_twice(line, source, factor, samples);
        else if (behind >= sources)
            add_twice(line, source + before * samples, factor, samples);
        else
            add_product(line, source + before * samples, source + behind * samples, factor, samples);
    }
}

/* A line to its halves. */
static inline void split(const float *restrict line, size_t samples, float *restrict low, float *restrict high,
                         const Lifting *by)
{
    if (samples == 1) {
        low[0] = line[0];
        return;
    }
    const size_t lows = low_of(samples), highs = samples / 2;
    for (size_t i = 0; i < highs; i++) {
        low[i] = line[2 * i] * by->low;
        high[i] = line[2 * i + 1] * by->high;
    }
    if (lows > highs)
        low[highs] = line[2 * highs] * by->low;
    lift(high, highs, low, lows, 1, by->step[0]);
    lift(low, lows, high, highs, 0, by->step[1]);
    lift(high, highs, low, lows, 1, by->step[2]);
    lift(low, lows, high, highs, 0, by->step[3]);
}

/* Inverse; low and high are used up. Factors are the inverse's. */
static inline void join(float *restrict low, float *restrict high, size_t samples, float *restrict line,
                        const Lifting *by)
{
    if (samples == 1) {
        line[0] = low[0];
        return;
    }
    const size_t lows = low_of(samples), highs = samples / 2;
    lift(low, lows, high, highs, 0, by->step[3]);
    lift(high, highs, low, lows, 1, by->step[2]);
    lift(low, lows, high, highs, 0, by->step[1]);
    lift(high, highs, low, lows, 1, by->step[0]);
    for (size_t i = 0; i < highs; i++) {
        line[2 * i] = low[i] * by->low;
        line[2 * i + 1] = high[i] * by->high;
    }
    if (lows > highs)
        line[2 * highs] = low[highs] * by->low;
}

static inline void scaled(const float *restrict from, float *restrict to, size_t count, float factor)
{
    for (size_t i = 0; i < count; i++)
        to[i] = from[i] * factor;
}

static inline void weighed(float *restrict band, const float *restrict weights, size_t count)
{
    for (size_t i = 0; i < count; i++)
        band[i] *= weights[i];
}

static inline void unweighed(const float *restrict from, const float *restrict weights, float *restrict to, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] = from[i] / weights[i];
}

/* A plane to its quarter that is low along both, and its details, padded to that quarter's size; `halves` is scratch. */
FAST static void analyse_level(const float *plane, size_t lines, size_t samples, float *lowest, float *details,
                               const float *weights, float *halves, const Lifting *by)
{
    const size_t lows = low_of(lines), highs = lines / 2, low_samples = low_of(samples), padded = lows * low_samples;
    float *low = halves, *high = halves + lows * samples;
    if (lines == 1)
        memcpy(low, plane, samples * sizeof *low);
    else {
        for (size_t i = 0; i < lines; i++)
            scaled(plane + i * samples, (i % 2 ? high : low) + i / 2 * samples, samples, i % 2 ? by->high : by->low);
        lift_lines(high, highs, low, lows, samples, 1, by->step[0]);
        lift_lines(low, lows, high, highs, samples, 0, by->step[1]);
        lift_lines(high, highs, low, lows, samples, 1, by->step[2]);
        lift_lines(low, lows, high, highs, samples, 0, by->step[3]);
    }
    for (size_t i = 0; i < lows; i++)
        split(low + i * samples, samples, lowest + i * low_samples, details + i * low_samples, by);
    for (size_t i = 0; i < highs; i++)
        split(high + i * samples, samples, details + padded + i * low_samples, details + 2 * padded + i * low_samples, by);
    weighed(details, weights, ORIENTATIONS * padded);
}

/* Inverse; `line` is scratch of two halves of a line. */
FAST static void synthesise_level(const float *lowest, const float *details, const float *weights, size_t lines,
                                  size_t samples, float *plane, float *halves, float *line, const Lifting *by)
{
    const size_t lows = low_of(lines), highs = lines / 2, low_samples = low_of(samples), padded = lows * low_samples;
    float *low = halves, *high = halves + lows * samples, *line_high = line + low_samples;
    for (size_t i = 0; i < lows; i++) {
        memcpy(line, lowest + i * low_samples, low_samples * sizeof *line);
        unweighed(details + i * low_samples, weights + i * low_samples, line_high, samples / 2);
        join(line, line_high, samples, low + i * samples, by);
    }
    for (size_t i = 0; i < highs; i++) {
        const size_t one = padded + i * low_samples, both = padded + one;
        unweighed(details + one, weights + one, line, low_samples);
        unweighed(details + both, weights + both, line_high, samples / 2);
        join(line, line_high, samples, high + i * samples, by);
    }
    if (lines == 1) {
        memcpy(plane, low, samples * sizeof *low);
        return;
    }
    lift_lines(low, lows, high, highs, samples, 0, by->step[3]);
    lift_lines(high, highs, low, lows, samples, 1, by->step[2]);
    lift_lines(low, lows, high, highs, samples, 0, by->step[1]);
    lift_lines(high, highs, low, lows, samples, 1, by->step[0]);
    for (size_t i = 0; i < lines; i++)
        scaled((i % 2 ? high : low) + i / 2 * samples, plane + i * samples, samples, i % 2 ? by->high : by->low);
}

/* Of planes and their coefficients: sizes level by level, and how many elements a component has. */
typedef struct {
    size_t lines[LEVELS + 1], samples[LEVELS + 1];
} Sizes;

static Sizes sizes_of(size_t lines, size_t samples)
{
    Sizes of = {.lines = {lines}, .samples = {samples}};
    for (size_t level = 0; level < LEVELS; level++) {
        of.lines[level + 1] = low_of(of.lines[level]);
        of.samples[level + 1] = low_of(of.samples[level]);
    }
    return of;
}

static size_t area(const Sizes *of, size_t level) { return of->lines[level] * of->samples[level]; }

typedef struct {
    Sizes sizes;
    float *plane, *approximation, *details[LEVELS]; /* of one component; in each direction some are read and some written */
    const float *approximation_weights, *weights[LEVELS]; /* of any */
} Component;

static void analyse_component(const Component *of, float *scratch, const Lifting *by)
{
    const Sizes *sizes = &of->sizes;
    float *halves = scratch, *lows[2] = {halves + area(sizes, 0), halves + area(sizes, 0) + area(sizes, 1)};
    const float *plane = of->plane;
    for (size_t level = 0; level < LEVELS; level++) {
        float *lowest = level + 1 < LEVELS ? lows[level % 2] : of->approximation;
        analyse_level(plane, sizes->lines[level], sizes->samples[level], lowest, of->details[level],
                      of->weights[level], halves, by);
        plane = lowest;
    }
    weighed(of->approximation, of->approximation_weights, area(sizes, LEVELS));
}

static void synthesise_component(const Component *of, float *scratch, const Lifting *by)
{
    const Sizes *sizes = &of->sizes;
    float *halves = scratch, *lows[2] = {halves + area(sizes, 0), halves + area(sizes, 0) + area(sizes, 1)};
    float *line = lows[1] + area(sizes, 1);
    const float *lowest = lows[LEVELS % 2];
    unweighed(of->approximation, of->approximation_weights, lows[LEVELS % 2], area(sizes, LEVELS));
    for (size_t level = LEVELS; level-- > 0;) {
        float *plane = level ? lows[level % 2] : of->plane;
        synthesise_level(lowest, of->details[level], of->weights[level], sizes->lines[level], sizes->samples[level], plane,
                         halves, line, by);
        lowest = plane;
    }
}

static size_t scratch_elements(const Sizes *of) { return area(of, 0) + 2 * area(of, 1) + of->samples[0] + 1; }

#define BANDS (LEVELS + 1)
#define VIEWS (1 + 2 * BANDS)

/* Planes, approximation and details through one of the two; `format` says which of them are written. Behind them come
 * the weights of one component's approximation and details. */
static PyObject *transform(PyObject *arguments, const char *format,
                           void (*one)(const Component *, float *, const Lifting *))
{
    Py_ssize_t components, lines, samples;
    Lifting by;
    Py_buffer v[VIEWS];
    if (!PyArg_ParseTuple(arguments, format, &by.low, &by.high, &by.step[0], &by.step[1], &by.step[2], &by.step[3],
                          &components, &lines, &samples, &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7], &v[8], &v[9],
                          &v[10], &v[11], &v[12]))
        return NULL;
    int done = 0;
    if (components < 0 || lines < 1 || samples < 1 || components > 1 << 15 || lines > 1 << 20 || samples > 1 << 20)
        PyErr_Format(PyExc_ValueError, "%zd planes of %zd x %zd are none", components, lines, samples);
    else {
        const size_t n = (size_t)components;
        Component of = {.sizes = sizes_of((size_t)lines, (size_t)samples)};
        const size_t coarsest = area(&of.sizes, LEVELS);
        done = holds(&v[0], n * area(&of.sizes, 0), sizeof(float)) && holds(&v[1], n * coarsest, sizeof(float)) &&
               holds(&v[1 + BANDS], coarsest, sizeof(float));
        for (size_t level = 0; done && level < LEVELS; level++) {
            const size_t details = ORIENTATIONS * area(&of.sizes, level + 1);
            done = holds(&v[2 + level], n * details, sizeof(float)) &&
                   holds(&v[2 + BANDS + level], details, sizeof(float));
            of.weights[level] = v[2 + BANDS + level].buf;
        }
        of.approximation_weights = v[1 + BANDS].buf;
        float *scratch = done ? malloc(scratch_elements(&of.sizes) * sizeof *scratch) : NULL;
        if (done && scratch == NULL) {
            PyErr_NoMemory();
            done = 0;
        }
        if (done) {
            Py_BEGIN_ALLOW_THREADS
            for (size_t c = 0; c < n; c++) {
                of.plane = (float *)v[0].buf + c * area(&of.sizes, 0);
                of.approximation = (float *)v[1].buf + c * area(&of.sizes, LEVELS);
                for (size_t level = 0; level < LEVELS; level++)
                    of.details[level] = (float *)v[2 + level].buf + c * ORIENTATIONS * area(&of.sizes, level + 1);
                one(&of, scratch, &by);
            }
            Py_END_ALLOW_THREADS
        }
        free(scratch);
    }
    release(v, VIEWS);
    return done ? Py_NewRef(Py_None) : NULL;
}

static PyObject *analyse(PyObject *module, PyObject *arguments)
{
    (void)module;
    return transform(arguments, "(ffffff)nnny*w*w*w*w*w*w*y*y*y*y*y*y*", analyse_component);
}

static PyObject *synthesise(PyObject *module, PyObject *arguments)
{
    (void)module;
    return transform(arguments, "(ffffff)nnnw*y*y*y*y*y*y*y*y*y*y*y*y*", synthesise_component);
}

static PyMethodDef METHODS[] = {
    {"analyse", analyse, METH_VARARGS, NULL},
    {"synthesise", synthesise, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, .m_name = "_wavelet", .m_methods = METHODS};

PyMODINIT_FUNC PyInit__wavelet(void)
{
    return PyModuleDef_Init(&MODULE);
}
