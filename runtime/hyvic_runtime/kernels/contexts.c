/* Contexts of wavelet coefficients, and the tables that the context network chooses by them.
 *
 * Two objects of Python's hold what many calls share: a group of components, and a network. Both are capsules that keep
 * the callers' buffers until they are deleted.
 */

#include "context_tables.h" /* first: it includes Python.h */

static const char GROUP[] = "hyvic_runtime.kernels._native.group", NETWORK[] = "hyvic_runtime.kernels._native.network";

#define GROUP_VIEWS 11

typedef struct {
    Group of;
    Py_buffer views[GROUP_VIEWS];
} HeldGroup;

static void delete_group(PyObject *capsule)
{
    HeldGroup *held = PyCapsule_GetPointer(capsule, GROUP);
    release(held->views, GROUP_VIEWS);
    free(held);
}

static PyObject *group_contexts(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_ssize_t level, first, lines, samples;
    HeldGroup *held = allocated(sizeof *held);
    PyObject *capsule = NULL;
    if (held == NULL)
        return NULL;
    Py_buffer *v = held->views;
    if (!PyArg_ParseTuple(arguments, "nnnny*y*z*y*y*y*y*y*y*y*y*", &level, &first, &lines, &samples, &v[0], &v[1], &v[2],
                          &v[3], &v[4], &v[5], &v[6], &v[7], &v[8], &v[9], &v[10])) {
        free(held);
        return NULL;
    }
    const size_t n = (size_t)v[10].len / sizeof(float);
    if (level < 0 || level >= LEVELS || first < 0 || first > 1 << 15)
        PyErr_Format(PyExc_ValueError, "level %zd or component %zd is invalid", level, first);
    else if (is_size(lines, samples, (Py_ssize_t)n)) {
        const Size size = {(size_t)lines, (size_t)samples};
        const size_t pixels = area(size), parents = area(halved(size)), grandparents = area(halved(halved(size)));
        const size_t items[GROUP_VIEWS] = {
            n * 3 * parents,
            n * 3 * parents,
            n * 3 * grandparents,
            PREVIOUS_COMPONENTS * 3 * pixels,
            3 * pixels,
            3 * pixels,
            3 * pixels,
            n * 3 * pixels,
            n * parents,
            n * parents,
            n,
        };
        held->of = (Group){
            .components = n,
            .level = (size_t)level,
            .first = (size_t)first,
            .size = size,
            .parent = v[0].buf,
            .parent_sum_3x3 = v[1].buf,
            .grandparent = v[2].buf,
            .previous_components = v[3].buf,
            .mean = v[4].buf,
            .previous_sum_3x3 = v[5].buf,
            .largest = v[6].buf,
            .prediction = v[7].buf,
            .parent_energy = v[8].buf,
            .residual_energy = v[9].buf,
            .log2_spread = v[10].buf,
        };
        if (hold_all(v, items, GROUP_VIEWS, sizeof(float)))
            capsule = PyCapsule_New(held, GROUP, delete_group);
    }
    if (capsule == NULL) {
        release(v, GROUP_VIEWS);
        free(held);
    }
    return capsule;
}

#define BLOCK_VIEWS 3

/* Complete a block of a group, whose planes are in `views`; false, with an error set, if it is invalid. */
static int find_block(PyObject *capsule, Py_ssize_t orientation, int non_anchor, const Py_buffer *views, Block *of)
{
    const HeldGroup *held = PyCapsule_GetPointer(capsule, GROUP);
    if (held == NULL)
        return 0;
    if (orientation < 0 || orientation >= ORIENTATIONS) {
        PyErr_Format(PyExc_ValueError, "orientation %zd is outside 0..%d", orientation, ORIENTATIONS - 1);
        return 0;
    }
    for (Py_ssize_t before = 0; before < orientation && before < ORIENTATIONS - 1; before++)
        if (views[1 + before].obj == NULL) {
            PyErr_SetString(PyExc_ValueError, "sums of the orientations before are missing");
            return 0;
        }
    const size_t n = held->of.components, pixels = area(held->of.size);
    *of = (Block){
        .group = &held->of,
        .orientation = (size_t)orientation,
        .non_anchor = non_anchor != 0,
        .begin = 0,
        .end = held->of.size.lines,
        .first = 0,
        .last = n,
        .decoded = views[0].buf,
        .decoded_sum_3x3 = {views[1].buf, views[2].buf},
    };
    return hold_all(views, (const size_t[]){n * 3 * pixels, n * pixels, n * pixels}, BLOCK_VIEWS, sizeof(float));
}

static PyObject *describe(PyObject *module, PyObject *arguments)
{
    (void)module;
    PyObject *group;
    Py_ssize_t orientation, begin, end, first, last;
    int non_anchor, done = 0;
    Py_buffer v[BLOCK_VIEWS], out[2];
    if (!PyArg_ParseTuple(arguments, "Onpy*z*z*nnnnw*w*", &group, &orientation, &non_anchor, &v[0], &v[1], &v[2], &begin,
                          &end, &first, &last, &out[0], &out[1]))
        return NULL;
    Block of;
    if (find_block(group, orientation, non_anchor, v, &of)) {
        if (begin < 0 || begin > end || (size_t)end > of.end)
            PyErr_Format(PyExc_ValueError, "lines %zd to %zd are outside 0..%zu", begin, end, of.end);
        else if (first < 0 || first > last || (size_t)last > of.last)
            PyErr_Format(PyExc_ValueError, "components %zd to %zd are outside 0..%zu", first, last, of.last);
        else {
            of.begin = (size_t)begin, of.end = (size_t)end, of.first = (size_t)first, of.last = (size_t)last;
            const size_t positions = (of.last - of.first) * positions_of_component(&of);
            done = hold_all(out, (const size_t[]){ENTRIES * positions, positions}, 2, sizeof(float));
        }
    }
    if (done) {
        Py_BEGIN_ALLOW_THREADS
        describe_block(&of, out[0].buf, out[1].buf);
        Py_END_ALLOW_THREADS
    }
    release(out, 2);
    release(v, BLOCK_VIEWS);
    return done ? Py_NewRef(Py_None) : NULL;
}

#define NETWORK_VIEWS 3

typedef struct {
    Network of;
    Py_buffer views[NETWORK_VIEWS]; /* sizes (layer, 2): pairs, rows; weights; rows */
} HeldNetwork;

static void delete_network(PyObject *capsule)
{
    HeldNetwork *held = PyCapsule_GetPointer(capsule, NETWORK);
    release(held->views, NETWORK_VIEWS);
    free(held);
}

/* Fill in the layers; false if the buffers do not hold them. */
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

static PyObject *context_network(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_ssize_t which;
    size_t count;
    const InstructionSet *sets = instruction_sets(&count);
    HeldNetwork *held = allocated(sizeof *held);
    PyObject *capsule = NULL;
    if (held == NULL)
        return NULL;
    if (!PyArg_ParseTuple(arguments, "ny*y*y*", &which, &held->views[0], &held->views[1], &held->views[2])) {
        free(held);
        return NULL;
    }
    if (which < 0 || (size_t)which >= count)
        PyErr_Format(PyExc_ValueError, "instruction set %zd is outside 0..%zu", which, count - 1);
    else if (!find_layers(held))
        PyErr_SetString(PyExc_ValueError, "sizes, weights and rows are not of one context network");
    else {
        held->of.run = sets[which].run;
        capsule = PyCapsule_New(held, NETWORK, delete_network);
    }
    if (capsule == NULL) {
        release(held->views, NETWORK_VIEWS);
        free(held);
    }
    return capsule;
}

static PyObject *network_tables(PyObject *module, PyObject *arguments)
{
    (void)module;
    PyObject *capsule, *group;
    Py_ssize_t orientation;
    int non_anchor, done = 0;
    Py_buffer v[BLOCK_VIEWS], out[2];
    if (!PyArg_ParseTuple(arguments, "OOnpy*z*z*w*w*", &capsule, &group, &orientation, &non_anchor, &v[0], &v[1], &v[2],
                          &out[0], &out[1]))
        return NULL;
    const HeldNetwork *network = PyCapsule_GetPointer(capsule, NETWORK);
    Scratch scratch = {.memory = NULL};
    Block of;
    if (network != NULL && find_block(group, orientation, non_anchor, v, &of)) {
        const size_t positions = of.last * positions_of_component(&of);
        done = hold_all(out, (const size_t[]){positions, positions}, 2, sizeof(int32_t)) &&
               scratch_for(&network->of, (of.group->size.samples + 1) / 2, &scratch);
    }
    if (done) {
        Py_BEGIN_ALLOW_THREADS
        choose_tables(&network->of, &of, out[0].buf, out[1].buf, &scratch);
        Py_END_ALLOW_THREADS
    }
    free(scratch.memory);
    release(out, 2);
    release(v, BLOCK_VIEWS);
    return done ? Py_NewRef(Py_None) : NULL;
}

static PyObject *evaluate(PyObject *module, PyObject *arguments)
{
    (void)module;
    PyObject *capsule;
    Py_buffer v[2];
    if (!PyArg_ParseTuple(arguments, "Oy*w*", &capsule, &v[0], &v[1]))
        return NULL;
    const HeldNetwork *network = PyCapsule_GetPointer(capsule, NETWORK);
    Scratch scratch = {.memory = NULL};
    const size_t positions = (size_t)v[0].len / sizeof(float) / ENTRIES;
    const int done = network != NULL &&
                     hold_all(v, (const size_t[]){ENTRIES * positions, 3 * positions}, 2, sizeof(float)) &&
                     scratch_for(&network->of, 0, &scratch);
    if (done) {
        Py_BEGIN_ALLOW_THREADS
        evaluate_contexts(&network->of, v[0].buf, positions, v[1].buf, &scratch);
        Py_END_ALLOW_THREADS
    }
    free(scratch.memory);
    release(v, 2);
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

PyMethodDef CONTEXT_METHODS[] = {
    {"group_contexts", group_contexts, METH_VARARGS, NULL},
    {"describe", describe, METH_VARARGS, NULL},
    {"context_network", context_network, METH_VARARGS, NULL},
    {"network_tables", network_tables, METH_VARARGS, NULL},
    {"evaluate", evaluate, METH_VARARGS, NULL},
    {"instruction_sets", names_of_instruction_sets, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
