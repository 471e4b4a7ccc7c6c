/* Which table codes a coefficient, and which integer stands for it: what table_rows.py and quantiser.py define, one
 * coefficient after the other.
 *
 * Every float32 operation is one of theirs and rounded on its own (no contraction, pyproject.toml), so the choices are
 * the same; tests/runtime/adaptive/test_quantiser.py and test_table_rows.py hold them to that.
 *
 * All buffers are the caller's; their lengths are checked before they are used, and each row where it is, and the
 * interpreter's lock is not held while they are.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>

#define SCALES 64
#define FRACTIONS 8
#define MEAN_STEP_BITS 3
#define SHIFT 5 /* GAIN_STEP_BITS + PREDICTION_STEP_BITS - MEAN_STEP_BITS */
#define MAX_GAIN 16
#define MAX_MEAN_STEPS 1023
#define LARGEST 268435456.0f

/* Whether all of the network's outputs are such; rows and shifts are those of table_rows.rows_and_shifts. */
static int rows_of_outputs(size_t count, const int32_t *scale_index, const int32_t *mean_steps, const int32_t *gain,
                           const float *prediction, int32_t *rows, int32_t *shifts)
{
    int32_t bad = 0;
    for (size_t i = 0; i < count; i++) {
        bad |= (scale_index[i] < 0) | (scale_index[i] >= SCALES) | (gain[i] < 0) | (gain[i] > MAX_GAIN) |
               (mean_steps[i] < -MAX_MEAN_STEPS) | (mean_steps[i] > MAX_MEAN_STEPS);
        /* Unsigned, so that what no network gives overflows without harm. */
        const uint32_t product = (uint32_t)gain[i] * (uint32_t)(int32_t)prediction[i];
        const int32_t rounded = (int32_t)(product + (1u << (SHIFT - 1))) >> SHIFT;
        const int32_t mean = (int32_t)((uint32_t)mean_steps[i] + (uint32_t)rounded);
        rows[i] = (int32_t)((uint32_t)(mean & (FRACTIONS - 1)) * SCALES + (uint32_t)scale_index[i]);
        shifts[i] = mean >> MEAN_STEP_BITS;
    }
    return !bad;
}

typedef struct {
    size_t row_count, bit_count;
    const int32_t *first, *length; /* of every row */
    const int64_t *start;          /* of every row, in `bits` */
    const float *bits;             /* of every symbol, and of the escape behind a row's last */
} Costs;

typedef struct {
    double off[2];     /* how much nearer to zero than ±1, and than larger integers, their coefficients lie in all */
    Py_ssize_t counts[2]; /* how many there are of both */
} Chosen;

static float nearest(float coefficient)
{
    /* Adding 1.5 · 2^23 leaves no bits below 1. */
    const float rounded =
        fabsf(coefficient) < 4194304.0f ? coefficient + 12582912.0f - 12582912.0f : rintf(coefficient);
    return rounded > LARGEST ? LARGEST : rounded < -LARGEST ? -LARGEST : rounded;
}

static float cost(float coefficient, float integer, int32_t shift, int32_t first, int32_t length, const float *bits,
                  float lagrangian)
{
    const uint32_t position = (uint32_t)((int32_t)integer - shift - first); /* a negative one is a large one */
    const float off = coefficient - integer, error = off * off;
    const float rate = lagrangian * bits[position < (uint32_t)length ? position : (uint32_t)length];
    return error + rate;
}

/* 0, or -1 where a row is not of the tables. */
static int choose_integers(size_t count, const float *coefficients, const int32_t *rows, const int32_t *shifts,
                           const Costs *costs, float lagrangian, float *integers, int32_t *symbols, Chosen *chosen)
{
    for (size_t i = 0; i < count; i++) {
        float integer = nearest(coefficients[i]);
        if (integer != 0 && lagrangian > 0) {
            const size_t row = (size_t)(uint32_t)rows[i];
            if (row >= costs->row_count)
                return -1;
            const int32_t first = costs->first[row], length = costs->length[row];
            if (length < 0 || costs->start[row] < 0 || (uint64_t)costs->start[row] + (uint64_t)length >= costs->bit_count)
                return -1;
            const float *bits = costs->bits + costs->start[row];
            const float smaller = integer - copysignf(1, integer);
            if (cost(coefficients[i], smaller, shifts[i], first, length, bits, lagrangian) <
                cost(coefficients[i], integer, shifts[i], first, length, bits, lagrangian))
                integer = smaller;
        }
        integers[i] = integer;
        symbols[i] = (int32_t)integer - shifts[i];
        if (integer != 0) {
            const int larger = fabsf(integer) > 1;
            chosen->counts[larger]++;
            chosen->off[larger] += (double)fabsf(integer) - copysign(1, integer) * (double)coefficients[i];
        }
    }
    return 0;
}

/* Whether a buffer holds so many items of this size, aligned. */
static int holds(const Py_buffer *view, size_t count, size_t size)
{
    if ((size_t)view->len == count * size && (uintptr_t)view->buf % size == 0)
        return 1;
    PyErr_Format(PyExc_ValueError, "a buffer of %zd octets does not hold %zu items of %zu", view->len, count, size);
    return 0;
}

static void release(Py_buffer *views, int count)
{
    for (int i = 0; i < count; i++)
        PyBuffer_Release(&views[i]);
}

static PyObject *rows_and_shifts(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_buffer v[6];
    if (!PyArg_ParseTuple(arguments, "y*y*y*y*w*w*", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5]))
        return NULL;
    const size_t count = (size_t)v[0].len / sizeof(int32_t);
    int fit = 1, sound = 0;
    for (int i = 0; i < 6 && fit; i++)
        fit = holds(&v[i], count, sizeof(int32_t));
    if (fit) {
        Py_BEGIN_ALLOW_THREADS
        sound = rows_of_outputs(count, v[0].buf, v[1].buf, v[2].buf, v[3].buf, v[4].buf, v[5].buf);
        Py_END_ALLOW_THREADS
    }
    release(v, 6);
    return fit ? PyBool_FromLong(sound) : NULL;
}

static PyObject *choose(PyObject *module, PyObject *arguments)
{
    (void)module;
    float lagrangian;
    Py_buffer v[9];
    if (!PyArg_ParseTuple(arguments, "y*y*y*fy*y*y*y*w*w*", &v[0], &v[1], &v[2], &lagrangian, &v[3], &v[4], &v[5],
                          &v[6], &v[7], &v[8]))
        return NULL;
    const size_t count = (size_t)v[0].len / sizeof(float), row_count = (size_t)v[3].len / sizeof(int32_t);
    const Costs costs = {
        .row_count = row_count,
        .bit_count = (size_t)v[6].len / sizeof(float),
        .first = v[3].buf,
        .length = v[4].buf,
        .start = v[5].buf,
        .bits = v[6].buf,
    };
    Chosen chosen = {{0}, {0}};
    int outcome = -1;
    if (holds(&v[0], count, 4) && holds(&v[1], count, 4) && holds(&v[2], count, 4) && holds(&v[3], row_count, 4) &&
        holds(&v[4], row_count, 4) && holds(&v[5], row_count, 8) && holds(&v[6], costs.bit_count, 4) &&
        holds(&v[7], count, 4) && holds(&v[8], count, 4)) {
        Py_BEGIN_ALLOW_THREADS
        outcome = choose_integers(count, v[0].buf, v[1].buf, v[2].buf, &costs, lagrangian, v[7].buf, v[8].buf, &chosen);
        Py_END_ALLOW_THREADS
        if (outcome)
            PyErr_SetString(PyExc_ValueError, "a row is not of the tables");
    }
    release(v, 9);
    if (outcome)
        return NULL;
    return Py_BuildValue("(dd)(nn)", chosen.off[0], chosen.off[1], chosen.counts[0], chosen.counts[1]);
}

static PyMethodDef METHODS[] = {
    {"rows_and_shifts", rows_and_shifts, METH_VARARGS, NULL},
    {"choose", choose, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, .m_name = "_quantiser", .m_methods = METHODS};

PyMODINIT_FUNC PyInit__quantiser(void)
{
    return PyModuleDef_Init(&MODULE);
}
