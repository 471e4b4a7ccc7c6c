/* The extension: contexts of wavelet coefficients, and what the network that they are for makes of them.
 *
 * Memory: scratch of one call, freed by it; all other buffers are the caller's, their lengths are checked before they
 * are used, and the interpreter's lock is not held while they are.
 */

#include "_context_rows.h" /* first: it includes Python.h */

#include <stdint.h>
#include <stdlib.h>

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
    Py_buffer views[6];
    if (!PyArg_ParseTuple(arguments, "nnnny*y*y*w*w*w*", &components, &predictors, &lines, &samples, &views[0],
                          &views[1], &views[2], &views[3], &views[4], &views[5]))
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
            .energy = views[4].buf,
            .rest = views[5].buf,
        };
        const size_t parents = area(halved(of.size));
        const size_t elements[6] = {of.components * 3 * parents,       of.predictors * 3 * parents,
                                    of.predictors * 3 * area(of.size), of.components * 3 * area(of.size),
                                    of.components * parents,           of.components * parents};
        if (hold_all(views, elements, 6)) {
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
    release(views, 6);
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

#define DESCRIPTION_VIEWS 14

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
    if (!PyArg_ParseTuple(tuple, "nnnnnnnnny*y*z*y*y*y*y*y*y*y*z*z*y*y*", &components, &level, &orientation, &black, &first,
                          &begin, &end, &lines, &samples, &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7], &v[8],
                          &v[9], &v[10], &v[11], &v[12], &v[13]))
        return 0;
    if (level < 0 || level >= LEVELS || orientation < 0 || orientation >= ORIENTATIONS || first < 0 || first > 1 << 15)
        PyErr_Format(PyExc_ValueError, "level %zd, orientation %zd or component %zd is none", level, orientation, first);
    else if (begin < 0 || begin > end || end > lines)
        PyErr_Format(PyExc_ValueError, "lines %zd to %zd are none of %zd", begin, end, lines);
    else if ((orientation > 0 && !v[10].obj) || (orientation > 1 && !v[11].obj))
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
            .energy = v[8].buf,
            .rest = v[9].buf,
            .near = {v[10].buf, v[11].buf},
            .decoded = v[12].buf,
            .log2_spread = v[13].buf,
        };
        const size_t n = held->of.components, pixels = area(held->of.size), parents = area(halved(held->of.size));
        const size_t elements[DESCRIPTION_VIEWS] = {
            n * 3 * parents, n * 3 * parents, n * 3 * area(halved(halved(held->of.size))),
            9 * pixels,      3 * pixels,      3 * pixels,
            3 * pixels,      n * 3 * pixels,  n * parents,
            n * parents,     n * pixels,      n * pixels,
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

static PyObject *tables_and_offsets(PyObject *module, PyObject *arguments)
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
    {"tables_and_offsets", tables_and_offsets, METH_VARARGS, NULL},
    {"evaluate", evaluate, METH_VARARGS, NULL},
    {"instruction_sets", names_of_instruction_sets, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, .m_name = "_contexts", .m_methods = METHODS};

PyMODINIT_FUNC PyInit__contexts(void)
{
    return PyModuleDef_Init(&MODULE);
}
