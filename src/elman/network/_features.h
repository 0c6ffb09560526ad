/* The features of direct connections, a part of _kernels.c: what n-grams add to the logits, and the errors sent back to
 * them. The twins in PyTorch are in direct.py. `found` holds for each row the number of its context of each length, -1
 * for none; `starts` and `successors` the symbols that were seen after each context, a weight for each; `place` the
 * column of each symbol, -1 for none, or is NULL where the columns are the symbols. Where `groups` is not NULL a row has
 * the columns of one group of symbols only, its own.
 */

#define COLUMN(I, K)                                                                                                  \
    (group && group[successor[K]] != mine[I] ? -1 : place ? place[successor[K]] : (int64_t)successor[K])

static PyObject *features_add(PyObject *self, PyObject *args) {
    unsigned long long logits, weight, found, starts, successors, places, groups, own;
    long long count, lengths, stride;
    int half, threads;
    if (!PyArg_ParseTuple(args, "KKKKKKKKLLLii", &logits, &weight, &found, &starts, &successors, &places, &groups, &own,
                          &count, &lengths, &stride, &half, &threads))
        return NULL;
    const int64_t *group = AT(const int64_t, groups), *mine = AT(const int64_t, own);
    const int64_t *context = AT(const int64_t, found), *start = AT(const int64_t, starts);
    const int64_t *place = AT(const int64_t, places);
    const int32_t *successor = AT(const int32_t, successors);
    const float *w = AT(const float, weight);
    Py_BEGIN_ALLOW_THREADS
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(dynamic, 16)
    for (int64_t i = 0; i < count; i++)
        for (int64_t m = 0; m < lengths; m++) {
            int64_t c = context[i * lengths + m];
            if (c < 0) continue;
            for (int64_t k = start[c]; k < start[c + 1]; k++) {
                int64_t j = COLUMN(i, k);
                if (j < 0) continue;
                if (half) {
                    bf16 *at = AT(bf16, logits) + i * stride + j;
                    *at = narrow(wide(*at) + w[k]);
                } else {
                    AT(float, logits)[i * stride + j] += w[k];
                }
            }
        }
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

/* values[begins[u] + ..] += the errors of the rows whose context is used[u], which[i * lengths + m] = u; in the order of
 * the rows, by one thread. */
static PyObject *features_back(PyObject *self, PyObject *args) {
    unsigned long long errors, values, found, which, begins, starts, successors, places, groups, own;
    long long count, lengths, stride;
    int half;
    if (!PyArg_ParseTuple(args, "KKKKKKKKKKLLLi", &errors, &values, &found, &which, &begins, &starts, &successors,
                          &places, &groups, &own, &count, &lengths, &stride, &half))
        return NULL;
    const int64_t *group = AT(const int64_t, groups), *mine = AT(const int64_t, own);
    const int64_t *context = AT(const int64_t, found), *start = AT(const int64_t, starts);
    const int64_t *place = AT(const int64_t, places), *used = AT(const int64_t, which);
    const int64_t *begin = AT(const int64_t, begins);
    const int32_t *successor = AT(const int32_t, successors);
    Py_BEGIN_ALLOW_THREADS
    for (int64_t i = 0; i < count; i++)
        for (int64_t m = 0; m < lengths; m++) {
            int64_t c = context[i * lengths + m];
            if (c < 0) continue;
            float *out = AT(float, values) + begin[used[i * lengths + m]] - start[c];
            for (int64_t k = start[c]; k < start[c + 1]; k++) {
                int64_t j = COLUMN(i, k);
                if (j < 0) continue;
                out[k] += half ? wide(AT(const bf16, errors)[i * stride + j]) : AT(const float, errors)[i * stride + j];
            }
        }
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}
