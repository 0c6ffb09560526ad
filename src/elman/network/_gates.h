/* One step of the LSTM, and one of the errors' way back: what stands around the product with W, in one pass.
 * Gates lie side by side, i, f, g, o, as in PyTorch; `before` is c(t-1), `curve` is tanh( c(t) ). */

#define LSTM_STEP(NAME, TYPE, LOAD)                                                                                  \
    CLONES static void NAME(const float *restrict drive, const TYPE *restrict product, const float *restrict before, \
                            float *restrict gates, float *restrict memory, float *restrict curve,                    \
                            float *restrict state, bf16 *restrict copy, int64_t h) {                                 \
        const float *f = gates + h, *g = gates + 2 * h, *o = gates + 3 * h;                                          \
        for (int64_t j = 0; j < 2 * h; j++) gates[j] = activation(drive[j] + LOAD(product[j]), SIGMOID);             \
        for (int64_t j = 2 * h; j < 3 * h; j++) gates[j] = activation(drive[j] + LOAD(product[j]), TANH);            \
        for (int64_t j = 3 * h; j < 4 * h; j++) gates[j] = activation(drive[j] + LOAD(product[j]), SIGMOID);         \
        for (int64_t j = 0; j < h; j++) {                                                                            \
            memory[j] = f[j] * before[j] + gates[j] * g[j];                                                          \
            curve[j] = activation(memory[j], TANH);                                                                  \
            state[j] = o[j] * curve[j];                                                                              \
        }                                                                                                            \
        if (copy)                                                                                                    \
            for (int64_t j = 0; j < h; j++) copy[j] = narrow(state[j]);                                              \
    }

/* `later` is the error at c(t) that comes from c(t+1), and leaves as what goes to c(t-1); there may be no product. */
#define LSTM_BACK(NAME, TYPE, LOAD)                                                                                  \
    CLONES static void NAME(const float *restrict error, const TYPE *restrict product, const float *restrict gates,  \
                            const float *restrict before, const float *restrict curve, float *restrict later,        \
                            float *restrict delta, bf16 *restrict copy, int64_t h) {                                 \
        for (int64_t j = 0; j < h; j++) {                                                                            \
            float i = gates[j], f = gates[h + j], g = gates[2 * h + j], o = gates[3 * h + j], c = curve[j];          \
            float e = error[j] + (product ? LOAD(product[j]) : 0.0f);                                                \
            float e_c = later[j] + e * o * (1.0f - c * c);                                                           \
            delta[j] = e_c * g * i * (1.0f - i);                                                                     \
            delta[h + j] = e_c * before[j] * f * (1.0f - f);                                                         \
            delta[2 * h + j] = e_c * i * (1.0f - g * g);                                                             \
            delta[3 * h + j] = e * c * o * (1.0f - o);                                                               \
            later[j] = e_c * f;                                                                                      \
        }                                                                                                            \
        if (copy)                                                                                                    \
            for (int64_t j = 0; j < 4 * h; j++) copy[j] = narrow(delta[j]);                                          \
    }

LSTM_STEP(lstm_step_f32, float, AS_IS)
LSTM_STEP(lstm_step_bf16, bf16, wide)
LSTM_BACK(lstm_back_f32, float, AS_IS)
LSTM_BACK(lstm_back_bf16, bf16, wide)

#define ROW(type, address, width) ((address) ? AT(type, address) + row * (width) : NULL)

static PyObject *lstm_step(PyObject *self, PyObject *args) {
    unsigned long long drive, product, before, gates, memory, curve, state, copy;
    long long rows, h;
    int is_bf16, threads;
    if (!PyArg_ParseTuple(args, "KKpKKKKKKLLi", &drive, &product, &is_bf16, &before, &gates, &memory, &curve, &state,
                          &copy, &rows, &h, &threads))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
#pragma omp parallel for num_threads(threads) if (threads > 1 && rows * h > BLOCK) schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        if (is_bf16)
            lstm_step_bf16(ROW(float, drive, 4 * h), ROW(bf16, product, 4 * h), ROW(float, before, h),
                           ROW(float, gates, 4 * h), ROW(float, memory, h), ROW(float, curve, h), ROW(float, state, h),
                           ROW(bf16, copy, h), h);
        else
            lstm_step_f32(ROW(float, drive, 4 * h), ROW(float, product, 4 * h), ROW(float, before, h),
                          ROW(float, gates, 4 * h), ROW(float, memory, h), ROW(float, curve, h), ROW(float, state, h),
                          ROW(bf16, copy, h), h);
    }
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *lstm_back(PyObject *self, PyObject *args) {
    unsigned long long error, product, gates, before, curve, later, delta, copy;
    long long rows, h;
    int is_bf16, threads;
    if (!PyArg_ParseTuple(args, "KKpKKKKKKLLi", &error, &product, &is_bf16, &gates, &before, &curve, &later, &delta,
                          &copy, &rows, &h, &threads))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
#pragma omp parallel for num_threads(threads) if (threads > 1 && rows * h > BLOCK) schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        if (is_bf16)
            lstm_back_bf16(ROW(float, error, h), ROW(bf16, product, h), ROW(float, gates, 4 * h), ROW(float, before, h),
                           ROW(float, curve, h), ROW(float, later, h), ROW(float, delta, 4 * h),
                           ROW(bf16, copy, 4 * h), h);
        else
            lstm_back_f32(ROW(float, error, h), ROW(float, product, h), ROW(float, gates, 4 * h), ROW(float, before, h),
                          ROW(float, curve, h), ROW(float, later, h), ROW(float, delta, 4 * h),
                          ROW(bf16, copy, 4 * h), h);
    }
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}
