/* Which table codes a coefficient, and which integer stands for it: what table_rows.py and quantiser.py define, one
 * coefficient after the other.
 *
 * Every float32 operation is one of theirs and rounded on its own (no contraction, pyproject.toml), so the choices are
 * the same; tests/runtime/families/adaptive/test_quantiser.py and test_table_rows.py hold them to that.
 *
 * All buffers are the caller's; their lengths are checked before they are used, and each row where it is, and the
 * interpreter's lock is not held while they are.
 */

#include "_buffers.h" /* first: it includes Python.h */

#include <math.h>
#include <stdint.h>

#include "_table_rows.h"

#define LARGEST 268435456.0f
#define DEAD 0.15f /* what magnitudes are made smaller by before they are rounded, where no table says better */
#define AT_ONCE 32

/* Whether all of the network's outputs are such; rows and shifts are those of table_rows.tables_and_offsets. */
static int rows_of_outputs(size_t count, const int32_t *scale_index, const int32_t *mean_steps, const int32_t *gain,
                           const float *prediction, int32_t *rows, int32_t *shifts)
{
    int32_t bad = 0;
    for (size_t i = 0; i < count; i++) {
        bad |= (scale_index[i] < 0) | (scale_index[i] >= SCALES) | (gain[i] < 0) | (gain[i] > MAX_GAIN) |
               (mean_steps[i] < -MAX_MEAN_STEPS) | (mean_steps[i] > MAX_MEAN_STEPS);
        table_row(scale_index[i], mean_steps[i], gain[i], prediction[i], &rows[i], &shifts[i]);
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

static inline void weigh_some(const float *coefficients, size_t count, double *savings, double *totals)
{
    for (size_t j = 0; j < count; j++) {
        const float magnitude = fabsf(coefficients[j]), integer = fabsf(rintf(magnitude - DEAD));
        savings[j] += (double)(integer * (2 * magnitude - integer));
        totals[j] += (double)integer;
    }
}

/* What integers of the magnitudes of a plane take off its squared error, and their sum. NumPy adds up in another order, so
 * the last bits may differ: an encoder's affair, whose choices a decoder is told. */
FAST static void weigh_plane(const float *plane, size_t count, double *saved, double *total)
{
    double savings[AT_ONCE] = {0}, totals[AT_ONCE] = {0}; /* apart, so that they are added up several at once */
    size_t i = 0;
    for (; i + AT_ONCE <= count; i += AT_ONCE)
        weigh_some(plane + i, AT_ONCE, savings, totals);
    weigh_some(plane + i, count - i, savings, totals);
    *saved = *total = 0;
    for (size_t j = 0; j < AT_ONCE; j++)
        *saved += savings[j], *total += totals[j];
}

static PyObject *tables_and_offsets(PyObject *module, PyObject *arguments)
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

static PyObject *weigh(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_buffer v[3];
    if (!PyArg_ParseTuple(arguments, "y*w*w*", &v[0], &v[1], &v[2]))
        return NULL;
    const size_t planes = (size_t)v[1].len / sizeof(double), count = planes ? (size_t)v[0].len / sizeof(float) / planes : 0;
    const int fit = holds(&v[0], planes * count, sizeof(float)) && holds(&v[1], planes, sizeof(double)) &&
                    holds(&v[2], planes, sizeof(double));
    if (fit) {
        Py_BEGIN_ALLOW_THREADS
        for (size_t p = 0; p < planes; p++)
            weigh_plane((const float *)v[0].buf + p * count, count, (double *)v[1].buf + p, (double *)v[2].buf + p);
        Py_END_ALLOW_THREADS
    }
    release(v, 3);
    return fit ? Py_NewRef(Py_None) : NULL;
}

static PyMethodDef METHODS[] = {
    {"weigh", weigh, METH_VARARGS, NULL},
    {"tables_and_offsets", tables_and_offsets, METH_VARARGS, NULL},
    {"choose", choose, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, .m_name = "_quantiser", .m_methods = METHODS};

PyMODINIT_FUNC PyInit__quantiser(void)
{
    return PyModuleDef_Init(&MODULE);
}
