/* Asymmetric numeral systems over blocks of symbols; the symbols of a block are grouped by frequency table.
 *
 * The stream is constriction's AnsCoder's: 64-bit state, 32-bit words, 24-bit precision (docs/packet-format.md, "Coder").
 * tests/runtime/entropy/test_ans.py compares the octets. constriction has no wheel for Linux on Arm, and takes about twice
 * as long (tests/benchmarks/bench_ans.py).
 *
 * Each length and each index that comes from outside is checked where it is used. Nothing that a stream says decides how
 * long a loop runs.
 *
 * Needs a 64-bit compiler with unsigned __int128 (GCC, Clang). Without one the extension is not built.
 */

#include "native.h" /* first: it includes Python.h */

#include <string.h>

#define PRECISION_BITS 24
#define TOTAL (UINT32_C(1) << PRECISION_BITS)
#define WORD_BITS 32
/* A stream ends in the rest of the state, at most two words. */
#define STATE_WORDS 2
/* A quantile's top bits choose where to look for its symbol; 8 are 1 KiB a row. */
#define LOOKUP_BITS 8
#define BUCKETS (1 << LOOKUP_BITS)
#define BUCKET_SHIFT (PRECISION_BITS - LOOKUP_BITS)

typedef struct {
    uint64_t reciprocal; /* with `increment` and `shift`: division by `frequency`, see set_reciprocal */
    uint32_t start;      /* sum of the frequencies before it */
    uint32_t frequency;
    uint8_t increment;
    uint8_t shift;
} Symbol;

typedef struct {
    const Symbol *symbols;
    uint32_t last; /* greatest position: the escape's */
    /* Position of every bucket's first quantile, and then `last`. */
    uint32_t lookup[BUCKETS + 1];
} Row;

typedef struct {
    size_t row_count;
    Row *rows;
    Symbol *symbols; /* all rows', one after another */
} Tables;

/* Exact division by multiplication (Robison, N-bit unsigned division via N-bit multiply-add, ARITH 2005):
 *
 *     floor(x / f) = floor((x + increment) * reciprocal / 2^(64 + shift))    for 0 <= x < 2^64 - 1.
 *
 * With 2^s <= f < 2^(s+1), let m = floor((2^(64+s) - 1) / f) and d = 2^(64+s) - m f, so that 1 <= d <= f; m < 2^64.
 * Write x = q f + r.
 *
 * If d <= 2^s, take m and increment 1:  (x + 1) m / 2^(64+s) = q + (r + 1) / f - (x + 1) d / (2^(64+s) f).
 * The subtracted term is more than 0 and, as x + 1 <= 2^64, at most 1 / f. So the value lies in [q + r / f, q + 1).
 *
 * Else take m + 1 and increment 0:  x (m + 1) / 2^(64+s) = q + r / f + x (f - d) / (2^(64+s) f).
 * Now f - d < 2^(s+1) - 2^s = 2^s, so the added term is at least 0 and less than 1 / f: the value lies in [q, q + 1).
 * m + 1 fits 64 bits: here f > d > 2^s, so m < 2^64 2^s / (2^s + 1) < 2^64 - 1.
 */
static void set_reciprocal(Symbol *symbol)
{
    const uint32_t f = symbol->frequency;
    int s = 0;
    while (f >> s > 1)
        s++;
    const unsigned __int128 power = (unsigned __int128)1 << (64 + s);
    const uint64_t m = (uint64_t)((power - 1) / f);
    const uint32_t d = (uint32_t)(power - (unsigned __int128)m * f);
    const int down = d <= UINT32_C(1) << s;
    symbol->reciprocal = down ? m : m + 1;
    symbol->increment = (uint8_t)down;
    symbol->shift = (uint8_t)s;
}

/* Return the number of words written, or -1 where counts or a position do not fit the tables. `counts` has one number a
 * row, block after block; `words` has room for count + STATE_WORDS. */
static Py_ssize_t encode_words(const Tables *tables, const uint32_t *positions, size_t count, const int64_t *counts,
                               size_t group_count, uint32_t *words)
{
    uint64_t state = 0;
    uint32_t *next = words;
    /* ANS is a stack: last block first, in a block the last row first, and in a row the last symbol first. */
    for (size_t r = 0; group_count-- > 0;) {
        r = (r ? r : tables->row_count) - 1;
        const int64_t size = counts[group_count];
        if (size == 0) /* most rows of a small block */
            continue;
        const Row *row = &tables->rows[r];
        if (size < 0 || (uint64_t)size > count)
            return -1;
        const size_t begin = count - (size_t)size;
        while (count > begin) {
            const uint32_t position = positions[--count];
            if (position > row->last)
                return -1;
            const Symbol symbol = row->symbols[position];
            /* Keeps the state below f 2^40 here, so its quotient below 2^40 and the new state below 2^64. */
            if (state >> (64 - PRECISION_BITS) >= symbol.frequency) {
                *next++ = (uint32_t)state;
                state >>= WORD_BITS;
            }
            const uint64_t quotient =
                (uint64_t)((unsigned __int128)(state + symbol.increment) * symbol.reciprocal >> 64) >> symbol.shift;
            /* quotient 2^24 + start + remainder, the remainder being state - quotient f. */
            state += symbol.start + quotient * (TOTAL - symbol.frequency);
        }
    }
    if (count)
        return -1;
    for (; state; state >>= WORD_BITS)
        *next++ = (uint32_t)state;
    return next - words;
}

/* The place that a stream is decoded to; all zero before the first symbol. */
typedef struct {
    uint64_t state;
    uint64_t taken; /* words */
} Cursor;

/* Return 1 if the words from the cursor on hold these symbols and nothing else, 0 if not, and -1 where the counts do not
 * fit the tables or the cursor does not fit the words. `counts` are as in encode_words. */
static int decode_words(const Tables *tables, const uint32_t *words, size_t word_count, const int64_t *counts,
                        size_t group_count, uint32_t *positions, size_t count, Cursor *cursor)
{
    if (cursor->taken > word_count)
        return -1;
    uint64_t state = cursor->state;
    size_t left = word_count - (size_t)cursor->taken;
    if (cursor->taken == 0)
        for (int i = 0; i < STATE_WORDS && left; i++)
            state = state << WORD_BITS | words[--left];
    for (size_t group = 0, r = 0; group < group_count; group++, r = r + 1 < tables->row_count ? r + 1 : 0) {
        const int64_t size = counts[group];
        if (size == 0)
            continue;
        const Row *row = &tables->rows[r];
        if (size < 0 || (uint64_t)size > count)
            return -1;
        count -= (size_t)size;
        for (const uint32_t *end = positions + size; positions < end; positions++) {
            const uint32_t quantile = (uint32_t)state & (TOTAL - 1);
            /* The greatest position that starts at or before the quantile; mostly its bucket has but one. */
            uint32_t low = row->lookup[quantile >> BUCKET_SHIFT];
            uint32_t high = row->lookup[(quantile >> BUCKET_SHIFT) + 1];
            while (low < high) {
                const uint32_t middle = high - (high - low) / 2;
                if (row->symbols[middle].start <= quantile)
                    low = middle;
                else
                    high = middle - 1;
            }
            *positions = low;
            const Symbol *symbol = &row->symbols[low];
            state = (state >> PRECISION_BITS) * symbol->frequency + quantile - symbol->start;
            if (state >> WORD_BITS == 0 && left)
                state = state << WORD_BITS | words[--left];
        }
    }
    if (count)
        return -1;
    cursor->state = state;
    cursor->taken = word_count - left;
    return state == 0 && left == 0;
}

/* Prepare one row. Return 0, or -1 unless its frequencies are at least 1 and add up to TOTAL. */
static int set_row(Row *row, Symbol *symbols, const uint32_t *frequencies, uint32_t last)
{
    uint32_t start = 0, bucket = 0;
    row->symbols = symbols;
    row->last = last;
    for (uint32_t position = 0; position <= last; position++) {
        const uint32_t frequency = frequencies[position];
        if (frequency == 0 || frequency > TOTAL - start)
            return -1;
        symbols[position].start = start;
        symbols[position].frequency = frequency;
        set_reciprocal(&symbols[position]);
        start += frequency;
        for (; bucket << BUCKET_SHIFT < start; bucket++)
            row->lookup[bucket] = position;
    }
    row->lookup[BUCKETS] = last;
    return start == TOTAL ? 0 : -1;
}

static const char TABLES[] = "hyvic_runtime.kernels._native.tables";

static void free_tables(Tables *tables)
{
    if (tables == NULL)
        return;
    free(tables->rows);
    free(tables->symbols);
    free(tables);
}

static void delete_tables(PyObject *capsule)
{
    free_tables(PyCapsule_GetPointer(capsule, TABLES));
}

/* True if a buffer is whole, aligned items of this size. Any contents are allowed, and checked before use. */
static int holds_items(const Py_buffer *view, size_t size)
{
    return (size_t)view->len % size == 0 && (uintptr_t)view->buf % size == 0;
}

static PyObject *tables_from_frequencies(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_buffer v[2]; /* length; frequencies */
    if (!PyArg_ParseTuple(arguments, "y*y*", &v[0], &v[1]))
        return NULL;
    PyObject *capsule = NULL;
    Tables *tables = NULL;
    if (!holds_items(&v[0], sizeof(int32_t)) || !holds_items(&v[1], sizeof(uint32_t))) {
        PyErr_SetString(PyExc_TypeError, "frequency tables are arrays of 32-bit integers");
        goto done;
    }
    const size_t row_count = (size_t)v[0].len / sizeof(int32_t);
    size_t left = (size_t)v[1].len / sizeof(uint32_t);
    tables = calloc(1, sizeof(Tables));
    if (tables == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    tables->row_count = row_count;
    tables->rows = calloc(row_count, sizeof(Row));
    tables->symbols = calloc(left, sizeof(Symbol));
    if (tables->rows == NULL || tables->symbols == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    const uint32_t *frequency = v[1].buf;
    Symbol *symbol = tables->symbols;
    int bad = row_count == 0;
    for (size_t r = 0; r < row_count && !bad; r++) {
        const int32_t last = ((const int32_t *)v[0].buf)[r];
        bad = last < 1 || (size_t)last >= left || set_row(&tables->rows[r], symbol, frequency, (uint32_t)last);
        if (!bad) {
            symbol += last + 1;
            frequency += last + 1;
            left -= (size_t)last + 1;
        }
    }
    if (bad || left) {
        PyErr_SetString(PyExc_ValueError, "frequencies, each at least 1, add up to 2^24 a row of length + 1");
        goto done;
    }
    capsule = PyCapsule_New(tables, TABLES, delete_tables);
done:
    if (capsule == NULL)
        free_tables(tables);
    release(v, 2);
    return capsule;
}

/* True if there is one count a row of every block, and items are of 32 bits; if not, the error is set. */
static int fit(const Tables *tables, const Py_buffer *positions, const Py_buffer *counts, const Py_buffer *words)
{
    if (holds_items(positions, sizeof(uint32_t)) && holds_items(words, sizeof(uint32_t)) &&
        holds_items(counts, sizeof(int64_t)) && (size_t)counts->len / sizeof(int64_t) % tables->row_count == 0)
        return 1;
    PyErr_SetString(PyExc_TypeError,
                    "positions and words are 32-bit integers, counts one 64-bit integer a row of every block");
    return 0;
}

static PyObject *encode(PyObject *module, PyObject *arguments)
{
    (void)module;
    PyObject *capsule, *result = NULL;
    Py_buffer positions, counts, words;
    if (!PyArg_ParseTuple(arguments, "Oy*y*w*", &capsule, &positions, &counts, &words))
        return NULL;
    const Tables *tables = PyCapsule_GetPointer(capsule, TABLES);
    if (tables != NULL && fit(tables, &positions, &counts, &words)) {
        const size_t count = (size_t)positions.len / sizeof(uint32_t);
        Py_ssize_t written = -1;
        if ((size_t)words.len / sizeof(uint32_t) >= count + STATE_WORDS) {
            Py_BEGIN_ALLOW_THREADS
            written = encode_words(tables, positions.buf, count, counts.buf, (size_t)counts.len / sizeof(int64_t),
                                   words.buf);
            Py_END_ALLOW_THREADS
        }
        if (written < 0)
            PyErr_SetString(PyExc_ValueError, "positions or counts are not of these tables, or words are too few");
        else
            result = PyLong_FromSsize_t(written);
    }
    PyBuffer_Release(&words);
    PyBuffer_Release(&counts);
    PyBuffer_Release(&positions);
    return result;
}

static PyObject *decode(PyObject *module, PyObject *arguments)
{
    (void)module;
    PyObject *capsule, *result = NULL;
    Py_buffer words, counts, positions, kept = {0};
    if (!PyArg_ParseTuple(arguments, "Oy*y*w*|w*", &capsule, &words, &counts, &positions, &kept))
        return NULL;
    const Tables *tables = PyCapsule_GetPointer(capsule, TABLES);
    Cursor cursor = {0};
    if (kept.obj != NULL && kept.len != sizeof cursor)
        PyErr_SetString(PyExc_TypeError, "a cursor is two 64-bit integers");
    else if (tables != NULL && fit(tables, &positions, &counts, &words)) {
        int outcome;
        if (kept.obj != NULL)
            memcpy(&cursor, kept.buf, sizeof cursor);
        Py_BEGIN_ALLOW_THREADS
        outcome = decode_words(tables, words.buf, (size_t)words.len / sizeof(uint32_t), counts.buf,
                               (size_t)counts.len / sizeof(int64_t), positions.buf,
                               (size_t)positions.len / sizeof(uint32_t), &cursor);
        Py_END_ALLOW_THREADS
        if (kept.obj != NULL)
            memcpy(kept.buf, &cursor, sizeof cursor);
        if (outcome < 0)
            PyErr_SetString(PyExc_ValueError, "counts do not add up to the positions, or the cursor is after the words");
        else
            result = PyBool_FromLong(outcome);
    }
    PyBuffer_Release(&kept);
    PyBuffer_Release(&positions);
    PyBuffer_Release(&counts);
    PyBuffer_Release(&words);
    return result;
}

/* Find where the symbols of a block stand when they are grouped by row in their order, and how many every row has. Return
 * GROUPED, or the first number that is no row. `next` has room for one item a row. */
#define GROUPED INT64_MIN
static int64_t group_symbols(const int32_t *rows, size_t count, size_t row_count, int64_t *counts, int64_t *next,
                             int64_t *order)
{
    memset(counts, 0, row_count * sizeof *counts);
    for (size_t i = 0; i < count; i++) {
        if ((uint32_t)rows[i] >= row_count)
            return rows[i];
        counts[rows[i]]++;
    }
    int64_t begun = 0;
    for (size_t r = 0; r < row_count; begun += counts[r], r++)
        next[r] = begun;
    for (size_t i = 0; i < count; i++)
        order[next[rows[i]]++] = (int64_t)i;
    return GROUPED;
}

static PyObject *group(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_buffer rows, counts, order;
    if (!PyArg_ParseTuple(arguments, "y*w*w*", &rows, &counts, &order))
        return NULL;
    const size_t count = (size_t)rows.len / sizeof(int32_t), row_count = (size_t)counts.len / sizeof(int64_t);
    int64_t *next = NULL, bad = GROUPED;
    int done = 0;
    if (!holds_items(&rows, sizeof(int32_t)) || !holds_items(&counts, sizeof(int64_t)) ||
        !holds_items(&order, sizeof(int64_t)) || (size_t)order.len / sizeof(int64_t) != count)
        PyErr_SetString(PyExc_TypeError, "rows are 32-bit integers, order one 64-bit integer each, counts 64-bit ones");
    else if ((next = calloc(row_count, sizeof *next)) == NULL)
        PyErr_NoMemory();
    else {
        Py_BEGIN_ALLOW_THREADS
        bad = group_symbols(rows.buf, count, row_count, counts.buf, next, order.buf);
        Py_END_ALLOW_THREADS
        done = bad == GROUPED;
        if (!done)
            PyErr_Format(PyExc_ValueError, "row %lld is outside the %zu frequency tables", (long long)bad, row_count);
    }
    free(next);
    PyBuffer_Release(&order);
    PyBuffer_Release(&counts);
    PyBuffer_Release(&rows);
    return done ? Py_NewRef(Py_None) : NULL;
}

PyMethodDef ANS_METHODS[] = {
    {"ans_tables", tables_from_frequencies, METH_VARARGS, NULL},
    {"ans_encode", encode, METH_VARARGS, NULL},
    {"ans_decode", decode, METH_VARARGS, NULL},
    {"ans_group", group, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
