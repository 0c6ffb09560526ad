/* One step, a part of _kernels.c: log y of a few states, from a V that is stored symbol by symbol, (D, H), in bf16 or
 * int8. The twin in PyTorch is in step.py. Four symbols at a time, so that a number of the state is read once for four.
 */

#define FOUR(OUT, SUM, STATE, LOAD)                                                                                  \
    for (int64_t j = 0; j < count; j += 4) {                                                                         \
        int64_t last = count - 1, j1 = j + 1 < last ? j + 1 : last, j2 = j + 2 < last ? j + 2 : last,                \
                j3 = j + 3 < last ? j + 3 : last;                                                                    \
        SUM a0 = 0, a1 = 0, a2 = 0, a3 = 0;                                                                          \
        for (int64_t h = 0; h < width; h++) {                                                                        \
            SUM s = STATE[h];                                                                                        \
            a0 += s * LOAD(rows[j * width + h]);                                                                     \
            a1 += s * LOAD(rows[j1 * width + h]);                                                                    \
            a2 += s * LOAD(rows[j2 * width + h]);                                                                    \
            a3 += s * LOAD(rows[j3 * width + h]);                                                                    \
        }                                                                                                            \
        OUT[j] = (float)a0, OUT[j1] = (float)a1, OUT[j2] = (float)a2, OUT[j3] = (float)a3;                           \
    }

CLONES static void products_bf16(const float *restrict state, const bf16 *restrict rows, float *restrict out,
                                 int64_t count, int64_t width) {
    FOUR(out, float, state, wide)
}

/* int8 times int16, summed in int32: exact, and several times faster than turning every weight into a float. */
CLONES static void products_int8(const int16_t *restrict state, const int8_t *restrict rows,
                                 const float *restrict scales, float step, float *restrict out, int64_t count,
                                 int64_t width) {
    FOUR(out, int32_t, state, (int16_t))
    for (int64_t j = 0; j < count; j++) out[j] *= step * scales[j];
}

/* A state as integers of at most `limit`, times the step that is returned. */
CLONES static float as_integers(const float *restrict state, int16_t *restrict out, int64_t n, int64_t limit) {
    float top = 0.0f;
    for (int64_t h = 0; h < n; h++) top = fabsf(state[h]) > top ? fabsf(state[h]) : top;
    float step = top > 0.0f ? top / (float)limit : 1.0f;
    for (int64_t h = 0; h < n; h++) out[h] = (int16_t)rintf(state[h] / step);
    return step;
}

CLONES static void log_softmax_row(float *restrict row, const float *restrict offset, int64_t n) {
    if (offset)
        for (int64_t j = 0; j < n; j++) row[j] += offset[j];
    int32_t bits = ordered(row[0]);
    float sum = 0.0f;
    for (int64_t j = 1; j < n; j++) {
        int32_t x = ordered(row[j]);
        bits = x > bits ? x : bits;
    }
    float top = unordered(bits);
    for (int64_t j = 0; j < n; j++) sum += exponential(row[j] - top);
    float shift = top + logf(sum);
    for (int64_t j = 0; j < n; j++) row[j] -= shift;
}

#define SYMBOLS 256

/* `integers`, (B, H), is room for the states as int16 where the rows are int8, and `steps`, (B,), for their steps. */
static PyObject *stored_log_probs(PyObject *self, PyObject *args) {
    unsigned long long states, rows, scales, integers, steps, offset, out;
    long long batch, count, width, limit;
    int threads;
    if (!PyArg_ParseTuple(args, "KKKKKKKLLLLi", &states, &rows, &scales, &integers, &steps, &offset, &out, &batch,
                          &count, &width, &limit, &threads))
        return NULL;
    const float *state = AT(const float, states);
    int16_t *integer = AT(int16_t, integers);
    float *logits = AT(float, out), *step = AT(float, steps);
    Py_BEGIN_ALLOW_THREADS
    if (scales)
        for (int64_t b = 0; b < batch; b++)
            step[b] = as_integers(state + b * width, integer + b * width, width, limit);
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t at = 0; at < count; at += SYMBOLS) {
        int64_t here = count - at < SYMBOLS ? count - at : SYMBOLS;
        for (int64_t b = 0; b < batch; b++)
            if (scales)
                products_int8(integer + b * width, AT(const int8_t, rows) + at * width, AT(const float, scales) + at,
                              step[b], logits + b * count + at, here, width);
            else
                products_bf16(state + b * width, AT(const bf16, rows) + at * width, logits + b * count + at, here,
                              width);
    }
    for (int64_t b = 0; b < batch; b++) log_softmax_row(logits + b * count, AT(const float, offset), count);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}
