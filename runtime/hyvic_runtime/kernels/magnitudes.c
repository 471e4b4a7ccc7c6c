/* How large coefficients are: what `magnitudes` and `LevelContexts` of the Python package define. */

#include "planes.h" /* first: it includes Python.h */

/* Magnitudes of planes, and the sums of 3 x 3 of them, as logarithms. */
FAST static void measure(const float *planes, size_t count, Size size, float *own, float *sums, float *scratch)
{
    const size_t pixels = area(size);
    for (size_t p = 0; p < count; p++, planes += pixels, own += pixels, sums += pixels) {
        float *clipped = scratch, *line = scratch + pixels;
        for (size_t i = 0; i < pixels; i++) {
            const float magnitude = fabsf(planes[i]);
            own[i] = log_magnitude(magnitude);
            clipped[i] = least(magnitude, MAGNITUDE_MAX);
        }
        sum_3x3(clipped, size, sums, line);
        for (size_t i = 0; i < pixels; i++)
            sums[i] = log_magnitude(sums[i]);
    }
}

/* Magnitudes of the components of a level: the last PREVIOUS_COMPONENTS of them, last first; their sum; the largest. */
typedef struct {
    float *previous_components, *sum, *largest;
} Magnitudes;

/* Add some components; `pixels` counts the planes of all orientations. */
FAST static void add_components(const float *details, size_t count, size_t pixels, const Magnitudes *before,
                                const Magnitudes *after)
{
    memcpy(after->sum, before->sum, pixels * sizeof *after->sum);
    memcpy(after->largest, before->largest, pixels * sizeof *after->largest);
    if (count < PREVIOUS_COMPONENTS)
        memcpy(after->previous_components + count * pixels, before->previous_components,
               (PREVIOUS_COMPONENTS - count) * pixels * sizeof *after->previous_components);
    for (size_t c = 0; c < count; c++, details += pixels) {
        float *restrict sum = after->sum, *restrict largest = after->largest;
        const size_t place = count - 1 - c;
        float *restrict previous = place < PREVIOUS_COMPONENTS ? after->previous_components + place * pixels : NULL;
        for (size_t i = 0; i < pixels; i++) {
            const float magnitude = log_magnitude(fabsf(details[i]));
            sum[i] += magnitude;
            largest[i] = most(largest[i], magnitude);
            if (previous)
                previous[i] = magnitude;
        }
    }
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
        done = hold_all(views, (const size_t[]){all, all, all}, 3, sizeof(float)) &&
               (scratch = allocated((area(size) + size.samples + 2) * sizeof *scratch)) != NULL;
        if (done) {
            Py_BEGIN_ALLOW_THREADS
            measure(views[0].buf, planes, size, views[1].buf, views[2].buf, scratch);
            Py_END_ALLOW_THREADS
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
        const size_t previous = PREVIOUS_COMPONENTS * pixels;
        done = hold_all(v, (const size_t[]){n * pixels, previous, pixels, pixels, previous, pixels, pixels}, 7,
                        sizeof(float));
        if (done) {
            const Magnitudes before = {v[1].buf, v[2].buf, v[3].buf}, after = {v[4].buf, v[5].buf, v[6].buf};
            Py_BEGIN_ALLOW_THREADS
            add_components(v[0].buf, n, pixels, &before, &after);
            Py_END_ALLOW_THREADS
        }
    }
    release(v, 7);
    return done ? Py_NewRef(Py_None) : NULL;
}

PyMethodDef MAGNITUDE_METHODS[] = {
    {"magnitudes", magnitudes, METH_VARARGS, NULL},
    {"add_magnitudes", add_magnitudes, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
