/* The 9/7 wavelet, component by component: what wavelet.py defines.
 *
 * Every operation on float32 is one of NumPy's there, on the same numbers and rounded on its own (no contraction,
 * pyproject.toml), so coefficients and pixels are the same; tests/runtime/families/adaptive/test_wavelet.py compares both.
 */

#include "planes.h" /* first: it includes Python.h */

#define STEPS 4

/* Factors of wavelet.py: of both halves, and of the lifting steps, the first of which changes the high half. */
typedef struct {
    float low, high, step[STEPS];
} Lifting;

static inline size_t low_of(size_t size) { return (size + 1) / 2; }

/* Add `factor` times the two neighbours to every element of `target`, which is the high or the low half. */
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

/* Lift whole lines of `samples`. */
static inline void lift_lines(float *target, size_t targets, const float *source, size_t sources, size_t samples,
                              int high, float factor)
{
    for (size_t i = 0; i < targets; i++) {
        const size_t before = high ? i : i - 1, after = high ? i + 1 : i; /* sources; one of them may be outside */
        float *line = target + i * samples;
        if (!high && i == 0)
            add_twice(line, source, factor, samples);
        else if (after >= sources)
            add_twice(line, source + before * samples, factor, samples);
        else
            add_product(line, source + before * samples, source + after * samples, factor, samples);
    }
}

/* Split a line into its halves. */
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

/* Inverse of `split`, with the inverse's factors; low and high are used up. */
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

static inline void weight_band(float *restrict band, const float *restrict weights, size_t count)
{
    for (size_t i = 0; i < count; i++)
        band[i] *= weights[i];
}

static inline void unweight_band(const float *restrict from, const float *restrict weights, float *restrict to, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] = from[i] / weights[i];
}

/* Split a plane into its quarter that is low along both axes and its details, which are padded to that quarter's size;
 * `halves` is scratch. */
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
    weight_band(details, weights, ORIENTATIONS * padded);
}

/* Inverse of `analyse_level`; `line` is scratch for two halves of a line. */
FAST static void synthesise_level(const float *lowest, const float *details, const float *weights, size_t lines,
                                  size_t samples, float *plane, float *halves, float *line, const Lifting *by)
{
    const size_t lows = low_of(lines), highs = lines / 2, low_samples = low_of(samples), padded = lows * low_samples;
    float *low = halves, *high = halves + lows * samples, *line_high = line + low_samples;
    for (size_t i = 0; i < lows; i++) {
        memcpy(line, lowest + i * low_samples, low_samples * sizeof *line);
        unweight_band(details + i * low_samples, weights + i * low_samples, line_high, samples / 2);
        join(line, line_high, samples, low + i * samples, by);
    }
    for (size_t i = 0; i < highs; i++) {
        const size_t one = padded + i * low_samples, both = padded + one;
        unweight_band(details + one, weights + one, line, low_samples);
        unweight_band(details + both, weights + both, line_high, samples / 2);
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

/* Sizes of a plane and of its low-pass bands, level by level. */
typedef struct {
    Size of[LEVELS + 1];
} Sizes;

static Sizes sizes_of(size_t lines, size_t samples)
{
    Sizes sizes = {.of = {{lines, samples}}};
    for (size_t level = 0; level < LEVELS; level++)
        sizes.of[level + 1] = halved(sizes.of[level]);
    return sizes;
}

static size_t area_of(const Sizes *sizes, size_t level) { return area(sizes->of[level]); }

typedef struct {
    Sizes sizes;
    float *plane, *approximation, *details[LEVELS]; /* one component's; each direction reads some and writes some */
    const float *approximation_weights, *weights[LEVELS]; /* any component's */
} Component;

static void analyse_component(const Component *of, float *scratch, const Lifting *by)
{
    const Sizes *sizes = &of->sizes;
    float *halves = scratch, *lows[2] = {halves + area_of(sizes, 0), halves + area_of(sizes, 0) + area_of(sizes, 1)};
    const float *plane = of->plane;
    for (size_t level = 0; level < LEVELS; level++) {
        float *lowest = level + 1 < LEVELS ? lows[level % 2] : of->approximation;
        analyse_level(plane, sizes->of[level].lines, sizes->of[level].samples, lowest, of->details[level],
                      of->weights[level], halves, by);
        plane = lowest;
    }
    weight_band(of->approximation, of->approximation_weights, area_of(sizes, LEVELS));
}

static void synthesise_component(const Component *of, float *scratch, const Lifting *by)
{
    const Sizes *sizes = &of->sizes;
    float *halves = scratch, *lows[2] = {halves + area_of(sizes, 0), halves + area_of(sizes, 0) + area_of(sizes, 1)};
    float *line = lows[1] + area_of(sizes, 1);
    const float *lowest = lows[LEVELS % 2];
    unweight_band(of->approximation, of->approximation_weights, lows[LEVELS % 2], area_of(sizes, LEVELS));
    for (size_t level = LEVELS; level-- > 0;) {
        float *plane = level ? lows[level % 2] : of->plane;
        synthesise_level(lowest, of->details[level], of->weights[level], sizes->of[level].lines, sizes->of[level].samples, plane,
                         halves, line, by);
        lowest = plane;
    }
}

static size_t scratch_elements(const Sizes *sizes)
{
    return area_of(sizes, 0) + 2 * area_of(sizes, 1) + sizes->of[0].samples + 1;
}

#define BANDS (LEVELS + 1)
#define VIEWS (1 + 2 * BANDS)

/* Transform planes, approximation and details in one of the two ways; `format` says which of them are written. The weights
 * of one component's approximation and details follow. */
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
    if (is_size(lines, samples, components)) {
        const size_t n = (size_t)components;
        Component of = {.sizes = sizes_of((size_t)lines, (size_t)samples)};
        const size_t coarsest = area_of(&of.sizes, LEVELS);
        size_t items[VIEWS] = {n * area_of(&of.sizes, 0), n * coarsest};
        items[1 + BANDS] = coarsest;
        for (size_t level = 0; level < LEVELS; level++) {
            const size_t details = ORIENTATIONS * area_of(&of.sizes, level + 1);
            items[2 + level] = n * details, items[2 + BANDS + level] = details;
            of.weights[level] = v[2 + BANDS + level].buf;
        }
        of.approximation_weights = v[1 + BANDS].buf;
        float *scratch = NULL;
        done = hold_all(v, items, VIEWS, sizeof(float)) &&
               (scratch = allocated(scratch_elements(&of.sizes) * sizeof *scratch)) != NULL;
        if (done) {
            Py_BEGIN_ALLOW_THREADS
            for (size_t c = 0; c < n; c++) {
                of.plane = (float *)v[0].buf + c * area_of(&of.sizes, 0);
                of.approximation = (float *)v[1].buf + c * area_of(&of.sizes, LEVELS);
                for (size_t level = 0; level < LEVELS; level++)
                    of.details[level] = (float *)v[2 + level].buf + c * ORIENTATIONS * area_of(&of.sizes, level + 1);
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

PyMethodDef WAVELET_METHODS[] = {
    {"analyse", analyse, METH_VARARGS, NULL},
    {"synthesise", synthesise, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
