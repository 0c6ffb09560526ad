/* The loops over memory that PyTorch would make in several passes. Each has a PyTorch twin in kernels.py, which is
 * what runs where this file was not compiled, and what the tests compare with.
 *
 * Every function takes addresses and sizes, lets go of the interpreter while it works, and divides its rows among
 * OpenMP's threads; no sum crosses from one thread to another, so the result does not depend on how many there are.
 * Types: f32, and bf16 as the upper half of an f32.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__linux__)
/* One copy for each generation of processors, chosen when the module is loaded. */
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif
#define INLINE static inline __attribute__((always_inline))
#if !defined(__GNUC__)
#undef INLINE
#define INLINE static inline
#endif

typedef uint16_t bf16;

INLINE float wide(bf16 x) {
    uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

/* Round to the nearest bf16, ties to even; a NaN stays one. */
INLINE bf16 narrow(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return (bf16)(x == x ? rounded : 0x7fc0u);
}

/* e^x for x <= 0, to 2 units in the last place: 2^k e^r with |r| <= ln(2) / 2, and e^r by its Taylor series. */
INLINE float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    int32_t k = (int32_t)(x * 1.44269504f - 0.5f);
    float n = (float)k;
    float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    float p = 1.0f / 5040.0f;
    p = p * r + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    int32_t bits = (k + 127) << 23;
    float scale;
    memcpy(&scale, &bits, 4);
    return p * scale;
}

/* e^x for x <= 0, to 3e-6 of its value: 2^y, y = x / ln(2), as 2^k 2^f with |f| <= 1/2, and 2^f by the polynomial of
 * degree 4 whose largest error is smallest. Enough for what bf16 rounds to 4e-3. */
INLINE float rough_exponential(float x) {
    float y = x * 1.44269504f;
    y = y < -125.0f ? -125.0f : y;
    int32_t k = (int32_t)(y - 0.5f), bits;
    float f = y - (float)k, p = 0.0095701013f;
    p = p * f + 0.0559178628f;
    p = p * f + 0.2402474433f;
    p = p * f + 0.6931217909f;
    p = p * f + 0.9999992847f;
    memcpy(&bits, &p, 4);
    bits += k * (1 << 23);
    memcpy(&p, &bits, 4);
    return p;
}

/* The bits of a float as an integer of the same order, and back; a positive NaN is above everything. */
INLINE int32_t ordered(float x) {
    int32_t bits;
    memcpy(&bits, &x, 4);
    return bits ^ ((bits >> 31) & 0x7fffffff);
}

INLINE float unordered(int32_t bits) {
    float x;
    bits ^= (bits >> 31) & 0x7fffffff;
    memcpy(&x, &bits, 4);
    return x;
}

/* The largest of a row; a positive NaN, if there is one. */
INLINE float top_f32(const float *row, int64_t n) {
    int32_t top = INT32_MIN;
    for (int64_t j = 0; j < n; j++) {
        int32_t x = ordered(row[j]);
        top = x > top ? x : top;
    }
    return unordered(top);
}

INLINE float top_bf16(const bf16 *row, int64_t n) {
    int16_t top = INT16_MIN;
    for (int64_t j = 0; j < n; j++) {
        int16_t x = (int16_t)row[j];
        x ^= (int16_t)((x >> 15) & 0x7fff);
        top = x > top ? x : top;
    }
    top ^= (int16_t)((top >> 15) & 0x7fff);
    return wide((bf16)top);
}

/* One row of logits: the log-probability of the target, and in place of the logits weight * (y - d).
 * The offset of each column is added to its logit, but not to the target's unless `with_target`. */
#define SOFTMAX_ROW(NAME, TYPE, LOAD, STORE, EXP, TOP)                                                               \
    CLONES static float NAME(TYPE *restrict row, int64_t n, int64_t target, const float *restrict offset,            \
                             int with_target, float weight, int want_error) {                                        \
        float own = LOAD(row[target]) + (offset && with_target ? offset[target] : 0.0f), sum = 0.0f;                 \
        int32_t bits = ordered(own);                                                                                 \
        if (offset)                                                                                                  \
            for (int64_t j = 0; j < n; j++) {                                                                        \
                int32_t x = ordered(LOAD(row[j]) + offset[j]);                                                       \
                bits = x > bits ? x : bits;                                                                          \
            }                                                                                                        \
        float top = offset ? unordered(bits) : TOP(row, n);                                                          \
        if (offset)                                                                                                  \
            for (int64_t j = 0; j < n; j++) sum += EXP(LOAD(row[j]) + offset[j] - top);                              \
        else                                                                                                         \
            for (int64_t j = 0; j < n; j++) sum += EXP(LOAD(row[j]) - top);                                          \
        if (offset && !with_target)                                                                                  \
            sum += EXP(own - top) - EXP(LOAD(row[target]) + offset[target] - top);                                   \
        float shift = top + logf(sum), log_prob = own - shift;                                                       \
        if (want_error) {                                                                                            \
            if (offset)                                                                                              \
                for (int64_t j = 0; j < n; j++)                                                                      \
                    row[j] = STORE(weight * EXP(LOAD(row[j]) + offset[j] - shift));                                  \
            else                                                                                                     \
                for (int64_t j = 0; j < n; j++) row[j] = STORE(weight * EXP(LOAD(row[j]) - shift));                  \
            row[target] = STORE(weight * (expf(log_prob) - 1.0f));                                                   \
        }                                                                                                            \
        return log_prob;                                                                                             \
    }
#define AS_IS(x) (x)
SOFTMAX_ROW(softmax_row_f32, float, AS_IS, AS_IS, exponential, top_f32)
SOFTMAX_ROW(softmax_row_bf16, bf16, wide, narrow, rough_exponential, top_bf16)

/* weight <- keep * weight + rate * change; a copy of the new weight in bf16 where one is wanted. */
CLONES static void shift_f32(float *weight, const float *change, bf16 *copy, int64_t n, float keep, float rate) {
    if (copy)
        for (int64_t j = 0; j < n; j++) {
            float x = keep * weight[j] + rate * change[j];
            weight[j] = x;
            copy[j] = narrow(x);
        }
    else
        for (int64_t j = 0; j < n; j++) weight[j] = keep * weight[j] + rate * change[j];
}

CLONES static void shift_bf16(float *weight, const bf16 *change, bf16 *copy, int64_t n, float keep, float rate) {
    if (copy)
        for (int64_t j = 0; j < n; j++) {
            float x = keep * weight[j] + rate * wide(change[j]);
            weight[j] = x;
            copy[j] = narrow(x);
        }
    else
        for (int64_t j = 0; j < n; j++) weight[j] = keep * weight[j] + rate * wide(change[j]);
}

/* Adam for one row; `unbias` is 1 / (1 - b2^n), and alpha holds 1 / (1 - b1^n). */
CLONES static void adam_row(float *restrict weight, float *restrict first, float *restrict second,
                            const float *restrict gradient, int64_t n, float keep, float alpha, float b1, float b2,
                            float epsilon, float unbias) {
    for (int64_t j = 0; j < n; j++) {
        float g = gradient[j];
        float m = b1 * first[j] + (1.0f - b1) * g;
        float v = b2 * second[j] + (1.0f - b2) * g * g;
        first[j] = m;
        second[j] = v;
        weight[j] = keep * weight[j] - alpha * m / (sqrtf(v * unbias) + epsilon);
    }
}

#define AT(type, address) ((type *)(uintptr_t)(address))

static PyObject *softmax_error(PyObject *self, PyObject *args) {
    unsigned long long logits, targets, offset, weights, log_probs;
    long long rows, columns, stride;
    int is_bf16, with_target, want_error, threads;
    if (!PyArg_ParseTuple(args, "KpLLLKKpKKpi", &logits, &is_bf16, &rows, &columns, &stride, &targets, &offset,
                          &with_target, &weights, &log_probs, &want_error, &threads))
        return NULL;
    const int64_t *target = AT(const int64_t, targets);
    const float *weight = AT(const float, weights), *shift = AT(const float, offset);
    float *out = AT(float, log_probs);
    Py_BEGIN_ALLOW_THREADS
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t i = 0; i < rows; i++) {
        float w = weight ? weight[i] : 1.0f;
        if (is_bf16)
            out[i] = softmax_row_bf16(AT(bf16, logits) + i * stride, columns, target[i], shift, with_target, w,
                                      want_error);
        else
            out[i] = softmax_row_f32(AT(float, logits) + i * stride, columns, target[i], shift, with_target, w,
                                     want_error);
    }
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

#define BLOCK 16384

/* log softmax( a )(target) with a(j) = product(j) * scale * scales(j), and the offset, if there is one. */
CLONES static float integer_row(const int32_t *restrict product, float scale, const float *restrict scales,
                                const float *restrict offset, float *restrict a, int64_t n, int64_t target) {
    float top = -INFINITY, sum = 0.0f;
    for (int64_t j = 0; j < n; j++) {
        float x = (float)product[j] * (scale * scales[j]);
        a[j] = x;
        top = x > top ? x : top;
    }
    if (offset) {
        top = -INFINITY;
        for (int64_t j = 0; j < n; j++) {
            float x = a[j] + offset[j];
            a[j] = x;
            top = x > top ? x : top;
        }
    }
    for (int64_t j = 0; j < n; j++) sum += rough_exponential(a[j] - top);
    return a[target] - top - logf(sum);
}

static PyObject *integer_log_probs(PyObject *self, PyObject *args) {
    unsigned long long products, targets, steps, scales, offset, log_probs;
    long long n, columns;
    int threads, failed = 0;
    if (!PyArg_ParseTuple(args, "KKKKKKLLi", &products, &targets, &steps, &scales, &offset, &log_probs, &n, &columns,
                          &threads))
        return NULL;
    const int32_t *all = AT(const int32_t, products);
    const int64_t *target = AT(const int64_t, targets);
    const float *step = AT(const float, steps);
    float *out = AT(float, log_probs);
    Py_BEGIN_ALLOW_THREADS
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        float *logits = malloc(sizeof(float) * columns);
        if (!logits) failed = 1;
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n; i++)
            if (logits)
                out[i] = integer_row(all + i * columns, step[i], AT(const float, scales), AT(const float, offset),
                                     logits, columns, target[i]);
        free(logits);
    }
    Py_END_ALLOW_THREADS
    if (failed) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *shift(PyObject *self, PyObject *args) {
    unsigned long long weight, change, copy;
    long long n;
    int is_bf16, threads;
    float keep, rate;
    if (!PyArg_ParseTuple(args, "KKpKLffi", &weight, &change, &is_bf16, &copy, &n, &keep, &rate, &threads)) return NULL;
    Py_BEGIN_ALLOW_THREADS
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t at = 0; at < n; at += BLOCK) {
        int64_t here = n - at < BLOCK ? n - at : BLOCK;
        bf16 *narrowed = copy ? AT(bf16, copy) + at : NULL;
        if (is_bf16)
            shift_bf16(AT(float, weight) + at, AT(const bf16, change) + at, narrowed, here, keep, rate);
        else
            shift_f32(AT(float, weight) + at, AT(const float, change) + at, narrowed, here, keep, rate);
    }
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *move_rows(PyObject *self, PyObject *args) {
    unsigned long long weight, change, rows, keep;
    long long count, width;
    float rate;
    int threads;
    if (!PyArg_ParseTuple(args, "KKKKLLfi", &weight, &change, &rows, &keep, &count, &width, &rate, &threads))
        return NULL;
    const int64_t *row = AT(const int64_t, rows);
    const float *kept = AT(const float, keep);
    Py_BEGIN_ALLOW_THREADS
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t i = 0; i < count; i++)
        shift_f32(AT(float, weight) + row[i] * width, AT(const float, change) + i * width, NULL, width,
                  kept ? kept[i] : 1.0f, rate);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *adam_rows(PyObject *self, PyObject *args) {
    unsigned long long weight, first, second, gradient, rows;
    long long count, width;
    float alpha, b1, b2, epsilon, keep, unbias;
    int threads;
    if (!PyArg_ParseTuple(args, "KKKKKLLffffffi", &weight, &first, &second, &gradient, &rows, &count, &width, &alpha,
                          &b1, &b2, &epsilon, &keep, &unbias, &threads))
        return NULL;
    const int64_t *row = AT(const int64_t, rows);
    Py_BEGIN_ALLOW_THREADS
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static)
    for (int64_t i = 0; i < count; i++) {
        int64_t at = (row ? row[i] : i) * width;
        adam_row(AT(float, weight) + at, AT(float, first) + at, AT(float, second) + at,
                 AT(const float, gradient) + i * width, width, keep, alpha, b1, b2, epsilon, unbias);
    }
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

#if defined(__GNUC__)
/* Small products, for the softmax within a class: a few rows and a few hundred columns each, where the overhead of a
 * call to a library costs more than the product. H runs in steps of LANES; where the last step would run over the end
 * it begins earlier, and what it covers twice is computed twice, or masked out of a sum. Needs H >= LANES. */
#define LANES 16
typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t mask __attribute__((vector_size(4 * LANES)));
typedef float loose __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#define VEC(p) (*(const loose *)(p))

/* sum(i, j) += s(i) . r(j) over LANES elements, of s only those that `keep` lets through. */
INLINE void dot_step(vec sum[4][4], const float *s, const float *r, int64_t h, const mask *keep, const int masked,
                     const int rows, const int columns) {
    vec x[4];
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++) {
        x[i] = VEC(s + i * h);
        if (masked) x[i] = (vec)((mask)x[i] & *keep);
    }
#pragma GCC unroll 4
    for (int j = 0; j < columns; j++) {
        vec y = VEC(r + j * h);
#pragma GCC unroll 4
        for (int i = 0; i < rows; i++) sum[i][j] += x[i] * y;
    }
}

/* e(i, j) = s(i) . r(j), for `rows` times `columns` vectors of length h; e has m columns. */
INLINE void dots(const float *s, const float *r, int64_t h, float *e, int64_t m, const mask *tail, const int rows,
                 const int columns) {
    vec sum[4][4] = {{{0.0f}}};
    int64_t k = 0;
    for (; k + LANES <= h; k += LANES) dot_step(sum, s + k, r + k, h, tail, 0, rows, columns);
    if (k < h) dot_step(sum, s + h - LANES, r + h - LANES, h, tail, 1, rows, columns);
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < columns; j++) {
            float total = 0.0f;
            for (int l = 0; l < LANES; l++) total += sum[i][j][l];
            e[i * m + j] = total;
        }
}

/* out(i) = sum over p of a(i, p) b(p), `rows` times `vecs` vectors at once; a(i, p) is a[i * down + p * along]. */
INLINE void sums(const float *a, int64_t down, int64_t along, int64_t count, const float *b, float *out, int64_t h,
                 const int rows, const int vecs) {
    vec sum[4][4] = {{{0.0f}}};
    for (int64_t p = 0; p < count; p++)
#pragma GCC unroll 4
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
            for (int v = 0; v < vecs; v++) sum[i][v] += a[i * down + p * along] * VEC(b + p * h + v * LANES);
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++) *(loose *)(out + i * h + v * LANES) = sum[i][v];
}

CLONES static void all_dots(const float *s, int64_t n, const float *r, int64_t m, int64_t h, float *e) {
    mask tail;
    for (int l = 0; l < LANES; l++) tail[l] = l >= LANES - h % LANES ? -1 : 0;
    int64_t i, j;
    for (j = 0; j + 4 <= m; j += 4) {
        for (i = 0; i + 4 <= n; i += 4) dots(s + i * h, r + j * h, h, e + i * m + j, m, &tail, 4, 4);
        for (; i < n; i++) dots(s + i * h, r + j * h, h, e + i * m + j, m, &tail, 1, 4);
    }
    for (; j < m; j++)
        for (i = 0; i < n; i++) dots(s + i * h, r + j * h, h, e + i * m + j, m, &tail, 1, 1);
}

CLONES static void all_sums(const float *a, int64_t n, int64_t down, int64_t along, int64_t count, const float *b,
                            float *out, int64_t h) {
    int64_t i, k;
    for (i = 0; i < n; i += i + 4 <= n ? 4 : 1) {
        const float *from = a + i * down;
        float *to = out + i * h;
        for (k = 0; k < h; k += k + 4 * LANES <= h ? 4 * LANES : LANES) {
            int64_t at = k + LANES <= h ? k : h - LANES;
            if (i + 4 <= n && k + 4 * LANES <= h)
                sums(from, down, along, count, b + at, to + at, h, 4, 4);
            else if (i + 4 <= n)
                sums(from, down, along, count, b + at, to + at, h, 4, 1);
            else if (k + 4 * LANES <= h)
                sums(from, down, along, count, b + at, to + at, h, 1, 4);
            else
                sums(from, down, along, count, b + at, to + at, h, 1, 1);
        }
    }
}

static PyObject *class_softmax(PyObject *self, PyObject *args) {
    unsigned long long states, rows, targets, starts, order, ends, weights, d_states, d_rows, places, extras, log_probs;
    long long classes, h, stride;
    int threads, failed = 0;
    if (!PyArg_ParseTuple(args, "KKKKKKKKKKKKLLLi", &states, &rows, &targets, &starts, &order, &ends, &weights, &d_states,
                          &d_rows, &places, &extras, &log_probs, &classes, &h, &stride, &threads))
        return NULL;
    const float *all = AT(const float, states), *matrix = AT(const float, rows), *weight = AT(const float, weights);
    const int64_t *target = AT(const int64_t, targets), *start = AT(const int64_t, starts);
    const int64_t *row = AT(const int64_t, order), *end = AT(const int64_t, ends), *place = AT(const int64_t, places);
    float *back = AT(float, d_states), *moves = AT(float, d_rows), *out = AT(float, log_probs);
    float *extra = AT(float, extras);
    Py_BEGIN_ALLOW_THREADS
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(dynamic)
    for (int64_t c = 0; c < classes; c++) {
        int64_t n = end[c + 1] - end[c], m = start[c + 1] - start[c];
        if (n == 0) continue;
        const int64_t *mine = row + end[c];
        const float *r = matrix + start[c] * h;
        float *s = malloc(sizeof(float) * n * (h + m)), *e = s + n * h;
        if (!s) {
            failed = 1;
            continue;
        }
        for (int64_t i = 0; i < n; i++) memcpy(s + i * h, all + mine[i] * h, sizeof(float) * h);
        all_dots(s, n, r, m, h, e);
        for (int64_t i = 0; extra && i < n; i++) shift_f32(e + i * m, extra + mine[i] * stride, NULL, m, 1.0f, 1.0f);
        for (int64_t i = 0; i < n; i++)
            out[mine[i]] = softmax_row_f32(e + i * m, m, target[mine[i]] - start[c], NULL, 1,
                                           weight ? weight[mine[i]] : 1.0f, back != NULL);
        if (back) {
            for (int64_t i = 0; extra && i < n; i++) memcpy(extra + mine[i] * stride, e + i * m, sizeof(float) * m);
            all_sums(e, m, 1, m, n, s, moves + place[c] * h, h);
            all_sums(e, n, m, 1, m, r, s, h); /* the states have done their work */
            for (int64_t i = 0; i < n; i++) shift_f32(back + mine[i] * h, s + i * h, NULL, h, 1.0f, 1.0f);
        }
        free(s);
    }
    Py_END_ALLOW_THREADS
    if (failed) return PyErr_NoMemory();
    Py_RETURN_NONE;
}
#endif

#include "_step.h"
#include "_recurrence.h"
#include "_gates.h"
#include "_features.h"
#include "_bases.h"
#include "_base_coder.h"

static PyMethodDef methods[] = {
    {"softmax_error", softmax_error, METH_VARARGS, "Softmax, log-probability of the target and error, row by row."},
    {"integer_log_probs", integer_log_probs, METH_VARARGS, "log y of each row's target, from products of integers."},
    {"shift", shift, METH_VARARGS, "weight <- keep * weight + rate * change, with a copy in bf16."},
    {"move_rows", move_rows, METH_VARARGS, "The same for some rows, each with a `keep` of its own."},
    {"adam_rows", adam_rows, METH_VARARGS, "Adam for the rows that a gradient names."},
#if defined(__GNUC__)
    {"class_softmax", class_softmax, METH_VARARGS, "The softmax within the class of each row's target, and its errors."},
#endif
    {"stored_log_probs", stored_log_probs, METH_VARARGS, "log y of a few states, from a V stored in bf16 or int8."},
    {"activate", activate, METH_VARARGS, "state <- f( drive + product ), with a copy in bf16."},
    {"send_back", send_back, METH_VARARGS, "delta <- ( error + product ) * slope, with a copy in bf16."},
    {"lstm_step", lstm_step, METH_VARARGS, "One step of an LSTM, with a copy of its state in bf16."},
    {"lstm_back", lstm_back, METH_VARARGS, "One step back through an LSTM, with a copy of the errors in bf16."},
    {"features_add", features_add, METH_VARARGS, "What n-grams add to the logits."},
    {"features_back", features_back, METH_VARARGS, "The errors of the logits, added up for each n-gram."},
    {"bases_follow", bases_follow, METH_VARARGS, "Predict bases of DNA, and learn from each."},
    {"bases_predict", bases_predict, METH_VARARGS, "Predict one base."},
    {"bases_take", bases_take, METH_VARARGS, "Learn from the base that was predicted, and read it."},
    {"bases_count", bases_count, METH_VARARGS, "Count bases in their contexts."},
    {"bases_frequencies", bases_frequencies, METH_VARARGS, "Frequencies for a range coder, of probabilities."},
    {"bases_decode", bases_decode, METH_VARARGS, "Predict bases of DNA, decode them, and learn from each."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_kernels", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernels(void) { return PyModule_Create(&module); }
