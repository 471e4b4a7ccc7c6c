/* Coefficients at anchor or non-anchor positions, taken from planes and put back: what checkerboard.py defines. */

#include "planes.h" /* first: it includes Python.h */

#include "checkerboard.h"

/* Planes (component, orientation, line, sample) and coefficients (component, position) of one orientation. */
typedef struct {
    size_t components, orientation, non_anchor;
    Size size;
    float *planes, *coefficients;
} Move;

FAST static void move_positions(const Move *of, int to_planes)
{
    float *coefficients = of->coefficients;
    for (size_t c = 0; c < of->components; c++)
        for (size_t l = 0; l < of->size.lines; l++) {
            const size_t count = count_of_line(of->non_anchor, l, of->size.samples);
            float *plane = of->planes + (c * ORIENTATIONS + of->orientation) * area(of->size);
            float *line = plane + l * of->size.samples + first_sample(of->non_anchor, l);
            if (to_planes)
                for (size_t j = 0; j < count; j++)
                    line[2 * j] = coefficients[j];
            else
                for (size_t j = 0; j < count; j++)
                    coefficients[j] = line[2 * j];
            coefficients += count;
        }
}

/* `format` says which of planes and coefficients is written. */
static PyObject *move(PyObject *arguments, const char *format, int to_planes)
{
    Py_ssize_t components, orientation, lines, samples;
    int non_anchor, done = 0;
    Py_buffer v[2];
    if (!PyArg_ParseTuple(arguments, format, &components, &orientation, &non_anchor, &lines, &samples, &v[0], &v[1]))
        return NULL;
    if (orientation < 0 || orientation >= ORIENTATIONS)
        PyErr_Format(PyExc_ValueError, "orientation %zd is outside 0..%d", orientation, ORIENTATIONS - 1);
    else if (is_size(lines, samples, components)) {
        const Move of = {
            .components = (size_t)components,
            .orientation = (size_t)orientation,
            .non_anchor = non_anchor != 0,
            .size = {(size_t)lines, (size_t)samples},
            .planes = v[0].buf,
            .coefficients = v[1].buf,
        };
        const size_t pixels = area(of.size), positions = non_anchor ? pixels / 2 : pixels - pixels / 2;
        done = hold_all(v, (const size_t[]){of.components * ORIENTATIONS * pixels, of.components * positions}, 2,
                        sizeof(float));
        if (done) {
            Py_BEGIN_ALLOW_THREADS
            move_positions(&of, to_planes);
            Py_END_ALLOW_THREADS
        }
    }
    release(v, 2);
    return done ? Py_NewRef(Py_None) : NULL;
}

static PyObject *take_positions(PyObject *module, PyObject *arguments)
{
    (void)module;
    return move(arguments, "nnpnny*w*", 0);
}

static PyObject *put_positions(PyObject *module, PyObject *arguments)
{
    (void)module;
    return move(arguments, "nnpnnw*y*", 1);
}

PyMethodDef CHECKERBOARD_METHODS[] = {
    {"take_positions", take_positions, METH_VARARGS, NULL},
    {"put_positions", put_positions, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
