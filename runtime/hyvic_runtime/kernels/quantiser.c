/* The table that codes a coefficient, and the integer that stands for it: what table_choice.py and quantiser.py define.
 *
 * Every float32 operation is one of NumPy's there and rounded on its own (no contraction, pyproject.toml), so the choices
 * are the same; test_quantiser.py and test_table_choice.py compare both. Each table's number is checked where it is used.
 */

#include "native.h" /* first: it includes Python.h */

#include <math.h>
#include <stdint.h>

#include "table_choice.h"

#define LARGEST 268435456.0f
#define DEAD 0.15f /* subtracted from magnitudes before they are rounded, where no table says better */
#define AT_ONCE 32

/* Fill in tables and offsets; false if a network's output is outside its range. */
static int tables_of_outputs(size_t count, const int32_t *scale_index, const int32_t *mean_steps, const int32_t *gain,
                           const float *prediction, int32_t *tables, int32_t *offsets)
{
    int32_t bad = 0;
    for (size_t i = 0; i < count; i++) {
        bad |= (scale_index[i] < 0) | (scale_index[i] >= SCALES) | (gain[i] < 0) | (gain[i] > MAX_GAIN) |
               (mean_steps[i] < -MAX_MEAN_STEPS) | (mean_steps[i] > MAX_MEAN_STEPS);
        choose_table(scale_index[i], mean_steps[i], gain[i], prediction[i], &tables[i], &offsets[i]);
    }
    return !bad;
}

typedef struct {
    size_t table_count, bit_count;
    const int32_t *first, *length; /* a table's first symbol, and its number of symbols */
    const int64_t *start;          /* where a table begins in `bits` */
    const float *bits;             /* every symbol's, and after a table's last symbol the escape's */
} Costs;

typedef struct {
    double off[2];        /* sums of how much nearer to zero coefficients lie than their integers ±1, and than larger ones */
    Py_ssize_t counts[2]; /* numbers of both */
} Chosen;

static float nearest(float coefficient)
{
    /* Adding 1.5 · 2^23 leaves no bits below 1. */
    const float rounded =
        fabsf(coefficient) < 4194304.0f ? coefficient + 12582912.0f - 12582912.0f : rintf(coefficient);
    return rounded > LARGEST ? LARGEST : rounded < -LARGEST ? -LARGEST : rounded;
}

static float cost(float coefficient, float integer, int32_t offset, int32_t first, int32_t length, const float *bits,
                  float lagrangian)
{
    const uint32_t position = (uint32_t)((int32_t)integer - offset - first); /* a negative one is a large one */
    const float off = coefficient - integer, error = off * off;
    const float rate = lagrangian * bits[position < (uint32_t)length ? position : (uint32_t)length];
    return error + rate;
}

/* Return 0, or -1 where a table's number is outside the tables. */
static int choose_integers(size_t count, const float *coefficients, const int32_t *tables, const int32_t *offsets,
                           const Costs *costs, float lagrangian, float *integers, int32_t *symbols, Chosen *chosen)
{
    for (size_t i = 0; i < count; i++) {
        float integer = nearest(coefficients[i]);
        if (integer != 0 && lagrangian > 0) {
            const size_t table = (size_t)(uint32_t)tables[i];
            if (table >= costs->table_count)
                return -1;
            const int32_t first = costs->first[table], length = costs->length[table];
            const int64_t start = costs->start[table];
            if (length < 0 || start < 0 || (uint64_t)start + (uint64_t)length >= costs->bit_count)
                return -1;
            const float *bits = costs->bits + start;
            const float smaller = integer - copysignf(1, integer);
            if (cost(coefficients[i], smaller, offsets[i], first, length, bits, lagrangian) <
                cost(coefficients[i], integer, offsets[i], first, length, bits, lagrangian))
                integer = smaller;
        }
        integers[i] = integer;
        symbols[i] = (int32_t)integer - offsets[i];
        if (integer != 0) {
            const int larger = fabsf(integer) > 1;
            chosen->counts[larger]++;
            chosen->off[larger] += (double)fabsf(integer) - copysign(1, integer) * (double)coefficients[i];
        }
    }
    return 0;
}

static inline void add_some(const float *coefficients, size_t count, double *savings, double *totals)
{
    for (size_t j = 0; j < count; j++) {
        const float magnitude = fabsf(coefficients[j]), integer = fabsf(rintf(magnitude - DEAD));
        savings[j] += (double)(integer * (2 * magnitude - integer));
        totals[j] += (double)integer;
    }
}

/* Sum what the integers of a plane's magnitudes take off its squared error, and the integers. NumPy adds in another order,
 * so the last bits may differ. Only an encoder's choices depend on them, and it sends its choices to the decoder. */
FAST static void sum_plane(const float *plane, size_t count, double *saved, double *total)
{
    double savings[AT_ONCE] = {0}, totals[AT_ONCE] = {0}; /* apart, so that several are added at once */
    size_t i = 0;
    for (; i + AT_ONCE <= count; i += AT_ONCE)
        add_some(plane + i, AT_ONCE, savings, totals);
    add_some(plane + i, count - i, savings, totals);
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
    const int fit = hold_all(v, (const size_t[]){count, count, count, count, count, count}, 6, sizeof(int32_t));
    int sound = 0;
    if (fit) {
        Py_BEGIN_ALLOW_THREADS
        sound = tables_of_outputs(count, v[0].buf, v[1].buf, v[2].buf, v[3].buf, v[4].buf, v[5].buf);
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
    const size_t count = (size_t)v[0].len / sizeof(float), table_count = (size_t)v[3].len / sizeof(int32_t);
    const Costs costs = {
        .table_count = table_count,
        .bit_count = (size_t)v[6].len / sizeof(float),
        .first = v[3].buf,
        .length = v[4].buf,
        .start = v[5].buf,
        .bits = v[6].buf,
    };
    Chosen chosen = {{0}, {0}};
    int outcome = -1;
    if (hold_all(v, (const size_t[]){count, count, count, table_count, table_count}, 5, 4) &&
        hold_all(v + 5, (const size_t[]){table_count}, 1, 8) &&
        hold_all(v + 6, (const size_t[]){costs.bit_count, count, count}, 3, 4)) {
        Py_BEGIN_ALLOW_THREADS
        outcome = choose_integers(count, v[0].buf, v[1].buf, v[2].buf, &costs, lagrangian, v[7].buf, v[8].buf, &chosen);
        Py_END_ALLOW_THREADS
        if (outcome)
            PyErr_SetString(PyExc_ValueError, "a number is outside the tables");
    }
    release(v, 9);
    if (outcome)
        return NULL;
    return Py_BuildValue("(dd)(nn)", chosen.off[0], chosen.off[1], chosen.counts[0], chosen.counts[1]);
}

static PyObject *rd_sums(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_buffer v[3];
    if (!PyArg_ParseTuple(arguments, "y*w*w*", &v[0], &v[1], &v[2]))
        return NULL;
    const size_t planes = (size_t)v[1].len / sizeof(double), count = planes ? (size_t)v[0].len / sizeof(float) / planes : 0;
    const int fit = hold_all(v, (const size_t[]){planes * count}, 1, sizeof(float)) &&
                    hold_all(v + 1, (const size_t[]){planes, planes}, 2, sizeof(double));
    if (fit) {
        Py_BEGIN_ALLOW_THREADS
        for (size_t p = 0; p < planes; p++)
            sum_plane((const float *)v[0].buf + p * count, count, (double *)v[1].buf + p, (double *)v[2].buf + p);
        Py_END_ALLOW_THREADS
    }
    release(v, 3);
    return fit ? Py_NewRef(Py_None) : NULL;
}

PyMethodDef QUANTISER_METHODS[] = {
    {"rd_sums", rd_sums, METH_VARARGS, NULL},
    {"tables_and_offsets", tables_and_offsets, METH_VARARGS, NULL},
    {"choose", choose, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
