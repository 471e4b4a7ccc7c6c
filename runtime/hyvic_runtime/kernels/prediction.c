/* Details of some components as weighted sums of the components before them: what prediction.py defines. */

#include "planes.h" /* first: it includes Python.h */

#define PREDICTORS 6
#define PREDICTOR_MAX 127.0f
#define WEIGHT_MAX 64.0f
#define RIDGE 8.0f

/* Sum over the orientations of a product. */
static inline void product(const float *restrict a, const float *restrict b, size_t pixels, float *restrict sums)
{
    for (size_t i = 0; i < pixels; i++)
        sums[i] = a[i] * b[i] + a[i + pixels] * b[i + pixels] + a[i + 2 * pixels] * b[i + 2 * pixels];
}

typedef struct {
    size_t components, predictors;
    Size size;                      /* of the level; its parents have half */
    const float *parents;           /* (component, orientation, line, sample), within PREDICTOR_MAX */
    const float *predictor_parents; /* the same of the predictors */
    const float *predictor_details; /* the predictors in the level */
    float *prediction;              /* (component, orientation, line, sample) of the level */
    float *parent_energy, *residual_energy; /* (component, line, sample) of the parents, log_energy */
} Prediction;

static inline size_t scratch_elements(Size size)
{
    const Size half = halved(size);
    return (6 + PREDICTORS) * area(half) + half.samples + 2 + size.samples;
}

FAST static void predict_group(const Prediction *of, float *scratch)
{
    const Size size = of->size, half = halved(size);
    const size_t pixels = area(size), parents = area(half);
    float *residual = scratch, *products = residual + 3 * parents, *weight = products + parents;
    float *common = weight + parents, *own = common + parents, *line = own + PREDICTORS * parents;
    float *wide = line + half.samples + 2;
    for (size_t p = 0; p < of->predictors; p++) {
        const float *parent = of->predictor_parents + p * 3 * parents;
        product(parent, parent, parents, products);
        sum_3x3(products, half, own + p * parents, line);
        for (size_t i = 0; i < parents; i++)
            own[p * parents + i] += RIDGE;
    }
    for (size_t c = 0; c < of->components; c++) {
        float *prediction = of->prediction + c * 3 * pixels;
        float *parent_energy = of->parent_energy + c * parents, *residual_energy = of->residual_energy + c * parents;
        memcpy(residual, of->parents + c * 3 * parents, 3 * parents * sizeof *residual);
        memset(prediction, 0, 3 * pixels * sizeof *prediction);
        product(residual, residual, parents, products);
        sum_3x3(products, half, parent_energy, line);
        for (size_t p = 0; p < of->predictors; p++) {
            const float *parent = of->predictor_parents + p * 3 * parents;
            const float *details = of->predictor_details + p * 3 * pixels;
            product(parent, residual, parents, products);
            sum_3x3(products, half, common, line);
            for (size_t i = 0; i < parents; i++)
                weight[i] = nearest_integer(clamped(common[i] * PREDICTION_STEP / own[p * parents + i], WEIGHT_MAX));
            for (size_t o = 0; o < ORIENTATIONS; o++) {
                const float *from = parent + o * parents;
                float *left = residual + o * parents;
                for (size_t i = 0; i < parents; i++)
                    left[i] = clamped(left[i] - nearest_integer(weight[i] * from[i] * (1 / PREDICTION_STEP)),
                                      PREDICTOR_MAX);
            }
            for (size_t l = 0; l < size.lines; l++) {
                for (size_t s = 0; s < size.samples; s++)
                    wide[s] = weight[l / 2 * half.samples + s / 2];
                for (size_t o = 0; o < ORIENTATIONS; o++) {
                    const size_t at = o * pixels + l * size.samples;
                    for (size_t s = 0; s < size.samples; s++)
                        prediction[at + s] += wide[s] * details[at + s];
                }
            }
        }
        product(residual, residual, parents, products);
        sum_3x3(products, half, residual_energy, line);
        for (size_t i = 0; i < parents; i++) {
            parent_energy[i] = log_energy(parent_energy[i]);
            residual_energy[i] = log_energy(residual_energy[i]);
        }
    }
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
        PyErr_Format(PyExc_ValueError, "%zd predictors; %d are the most", predictors, PREDICTORS);
    else if (is_size(lines, samples, components)) {
        const Prediction of = {
            .components = (size_t)components,
            .predictors = (size_t)predictors,
            .size = {(size_t)lines, (size_t)samples},
            .parents = views[0].buf,
            .predictor_parents = views[1].buf,
            .predictor_details = views[2].buf,
            .prediction = views[3].buf,
            .parent_energy = views[4].buf,
            .residual_energy = views[5].buf,
        };
        const size_t parents = area(halved(of.size));
        const size_t items[6] = {of.components * 3 * parents,       of.predictors * 3 * parents,
                                 of.predictors * 3 * area(of.size), of.components * 3 * area(of.size),
                                 of.components * parents,           of.components * parents};
        done = hold_all(views, items, 6, sizeof(float)) &&
               (scratch = allocated(scratch_elements(of.size) * sizeof *scratch)) != NULL;
        if (done) {
            Py_BEGIN_ALLOW_THREADS
            predict_group(&of, scratch);
            Py_END_ALLOW_THREADS
        }
    }
    free(scratch);
    release(views, 6);
    return done ? Py_NewRef(Py_None) : NULL;
}

PyMethodDef PREDICTION_METHODS[] = {
    {"predict", predict, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
