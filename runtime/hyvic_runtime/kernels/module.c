/* The extension `hyvic_runtime.kernels._native`: the functions of all files here, as _native.pyi documents them. */

#include "native.h"

static int execute(PyObject *module)
{
    PyMethodDef *files[] = {ANS_METHODS,        CHECKERBOARD_METHODS, CONTEXT_METHODS, MAGNITUDE_METHODS,
                            PREDICTION_METHODS, QUANTISER_METHODS,    WAVELET_METHODS};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (PyModule_AddFunctions(module, files[i]) < 0)
            return -1;
    return 0;
}

static PyModuleDef_Slot SLOTS[] = {{Py_mod_exec, (void *)execute}, {0, NULL}};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, .m_name = "_native", .m_slots = SLOTS};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&MODULE);
}
