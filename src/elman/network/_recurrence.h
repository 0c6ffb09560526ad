/* One step of the recurrence, and one of the errors' way back: what stands around the product with W, in one pass. */

enum { SIGMOID, TANH, RELU };

/* The compiler is told that all numbers are finite, so what is none is looked for in its bits: NaN in, NaN out. */
INLINE float activation(float a, int kind) {
    int32_t bits;
    memcpy(&bits, &a, 4);
    float size = a < 0.0f ? -a : a, result;
    if (kind == RELU)
        result = a > 0.0f ? a : 0.0f;
    else if (kind == SIGMOID) {
        float e = exponential(-size), top = a < 0.0f ? e : 1.0f;
        result = top / (1.0f + e);
    } else {
        float e = exponential(-2.0f * size), t = (1.0f - e) / (1.0f + e);
        result = a < 0.0f ? -t : t;
    }
    return (bits & 0x7fffffff) > 0x7f800000 ? a : result;
}

INLINE float slope(float s, int kind) {
    return kind == SIGMOID ? s * (1.0f - s) : kind == TANH ? 1.0f - s * s : (s > 0.0f ? 1.0f : 0.0f);
}

/* state <- f( drive + product ), and its copy in bf16. */
#define ACTIVATE(NAME, TYPE, LOAD, KIND)                                                                             \
    CLONES static void NAME(const float *restrict drive, const TYPE *restrict product, float *restrict state,        \
                            bf16 *restrict copy, int64_t n) {                                                        \
        for (int64_t j = 0; j < n; j++) state[j] = activation(drive[j] + LOAD(product[j]), KIND);                    \
        if (copy)                                                                                                    \
            for (int64_t j = 0; j < n; j++) copy[j] = narrow(state[j]);                                              \
    }

/* delta <- ( error + product ) * f'(state), and its copy in bf16; there may be no product. */
#define SEND_BACK(NAME, TYPE, LOAD, KIND)                                                                            \
    CLONES static void NAME(const float *restrict error, const TYPE *restrict product, const float *restrict state,  \
                            float *restrict delta, bf16 *restrict copy, int64_t n) {                                 \
        if (product)                                                                                                 \
            for (int64_t j = 0; j < n; j++) delta[j] = (error[j] + LOAD(product[j])) * slope(state[j], KIND);        \
        else                                                                                                         \
            for (int64_t j = 0; j < n; j++) delta[j] = error[j] * slope(state[j], KIND);                             \
        if (copy)                                                                                                    \
            for (int64_t j = 0; j < n; j++) copy[j] = narrow(delta[j]);                                              \
    }

ACTIVATE(activate_sigmoid_f32, float, AS_IS, SIGMOID)
ACTIVATE(activate_sigmoid_bf16, bf16, wide, SIGMOID)
ACTIVATE(activate_tanh_f32, float, AS_IS, TANH)
ACTIVATE(activate_tanh_bf16, bf16, wide, TANH)
ACTIVATE(activate_relu_f32, float, AS_IS, RELU)
ACTIVATE(activate_relu_bf16, bf16, wide, RELU)
SEND_BACK(send_back_sigmoid_f32, float, AS_IS, SIGMOID)
SEND_BACK(send_back_sigmoid_bf16, bf16, wide, SIGMOID)
SEND_BACK(send_back_tanh_f32, float, AS_IS, TANH)
SEND_BACK(send_back_tanh_bf16, bf16, wide, TANH)
SEND_BACK(send_back_relu_f32, float, AS_IS, RELU)
SEND_BACK(send_back_relu_bf16, bf16, wide, RELU)

typedef void activate_f32(const float *, const float *, float *, bf16 *, int64_t);
typedef void activate_bf16(const float *, const bf16 *, float *, bf16 *, int64_t);
typedef void send_back_f32(const float *, const float *, const float *, float *, bf16 *, int64_t);
typedef void send_back_bf16(const float *, const bf16 *, const float *, float *, bf16 *, int64_t);

#define PART(type, address) ((address) ? AT(type, address) + at : NULL)

static PyObject *activate(PyObject *self, PyObject *args) {
    static activate_f32 *const exact[] = {activate_sigmoid_f32, activate_tanh_f32, activate_relu_f32};
    static activate_bf16 *const rough[] = {activate_sigmoid_bf16, activate_tanh_bf16, activate_relu_bf16};
    unsigned long long drive, product, state, copy;
    long long n;
    int is_bf16, kind, threads;
    if (!PyArg_ParseTuple(args, "KKpKKLii", &drive, &product, &is_bf16, &state, &copy, &n, &kind, &threads)) return NULL;
    Py_BEGIN_ALLOW_THREADS
#pragma omp parallel for num_threads(threads) if (threads > 1 && n > 4 * BLOCK) schedule(static)
    for (int64_t at = 0; at < n; at += BLOCK) {
        int64_t here = n - at < BLOCK ? n - at : BLOCK;
        if (is_bf16)
            rough[kind](PART(float, drive), PART(bf16, product), PART(float, state), PART(bf16, copy), here);
        else
            exact[kind](PART(float, drive), PART(float, product), PART(float, state), PART(bf16, copy), here);
    }
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *send_back(PyObject *self, PyObject *args) {
    static send_back_f32 *const exact[] = {send_back_sigmoid_f32, send_back_tanh_f32, send_back_relu_f32};
    static send_back_bf16 *const rough[] = {send_back_sigmoid_bf16, send_back_tanh_bf16, send_back_relu_bf16};
    unsigned long long error, product, state, delta, copy;
    long long n;
    int is_bf16, kind, threads;
    if (!PyArg_ParseTuple(args, "KKpKKKLii", &error, &product, &is_bf16, &state, &delta, &copy, &n, &kind, &threads))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
#pragma omp parallel for num_threads(threads) if (threads > 1 && n > 4 * BLOCK) schedule(static)
    for (int64_t at = 0; at < n; at += BLOCK) {
        int64_t here = n - at < BLOCK ? n - at : BLOCK;
        if (is_bf16)
            rough[kind](PART(float, error), PART(bf16, product), PART(float, state), PART(float, delta),
                        PART(bf16, copy), here);
        else
            exact[kind](PART(float, error), PART(float, product), PART(float, state), PART(float, delta),
                        PART(bf16, copy), here);
    }
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}
