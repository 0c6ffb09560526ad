/* Bases of DNA out of the bytes of a range coder, a part of _kernels.c: each is predicted, decoded and taken before the
 * next can be predicted. The twins are `decode_slowly` in base_coder.py and `quantize` in range_coder.py.
 */

enum { TOTAL_BITS = 16 };
enum { DECODED = 0, CUT_SHORT = 1, DAMAGED = 2 };

/* f_i = 1 + floor((2^16 - 4) y_i / sum), what is left over to the largest. Each number goes through memory as a double,
 * so that no compiler adds in another order, or multiplies before it divides, than NumPy does. */
INLINE void frequencies_of(const float y[4], uint32_t f[4]) {
    volatile double total = (double)y[0], share;
    uint32_t left = 1u << TOTAL_BITS;
    int largest = 0;
    for (int j = 1; j < 4; j++) {
        total = total + (double)y[j];
        largest = y[j] > y[largest] ? j : largest;
    }
    for (int j = 0; j < 4; j++) {
        share = (double)y[j] / total;
        share = share * (double)((1 << TOTAL_BITS) - 4);
        f[j] = 1u + (uint32_t)(int32_t)share;
        left -= f[j];
    }
    f[largest] += left;
}

/* Go past one symbol: `coder` is range, code, and how many words were read. Returns DECODED, or what is wrong. */
INLINE int decode_symbol(uint64_t *coder, const uint32_t *words, int64_t size, const uint32_t f[4], int *symbol) {
    uint64_t r = coder[0] >> TOTAL_BITS, start = 0;
    if (coder[1] >= r << TOTAL_BITS) return DAMAGED;
    int j = 0;
    while (j < 3 && coder[1] >= (start + f[j]) * r) start += f[j++];
    *symbol = j;
    coder[1] -= start * r;
    coder[0] = f[j] * r;
    if (coder[0] >> 32) return DECODED;
    if ((int64_t)coder[2] >= size) return CUT_SHORT;
    coder[0] <<= 32;
    coder[1] = coder[1] << 32 | words[coder[2]++];
    return DECODED;
}

/* The frequencies of rows of probabilities, (count, 4). */
static PyObject *bases_frequencies(PyObject *self, PyObject *args) {
    unsigned long long y, f;
    long long count;
    if (!PyArg_ParseTuple(args, "KKL", &y, &f, &count)) return NULL;
    for (int64_t i = 0; i < count; i++) frequencies_of(AT(const float, y) + 4 * i, AT(uint32_t, f) + 4 * i);
    Py_RETURN_NONE;
}

/* Predict, decode and take `count` bases, states kept from this row on; returns DECODED, or what is wrong. */
static PyObject *bases_decode(PyObject *self, PyObject *args) {
    unsigned long long plan, coder, words, codes, mixed;
    long long size, count, row;
    float rate;
    int learn, base = 0, found = DECODED;
    if (!PyArg_ParseTuple(args, "KKKLKLLKfi", &plan, &coder, &words, &size, &codes, &count, &row, &mixed, &rate, &learn))
        return NULL;
    Bases b = bases_from(plan);
    float *first = b.states + row * b.hidden;
    Py_BEGIN_ALLOW_THREADS
    for (int64_t t = 0; t < count; t++) {
        uint32_t f[4];
        b.states = first + t * b.hidden;
        predict(&b);
        memcpy(AT(float, mixed) + 4 * t, b.mixed, 4 * sizeof(float));
        frequencies_of(b.y, f);
        found = decode_symbol(AT(uint64_t, coder), AT(const uint32_t, words), size, f, &base);
        if (found != DECODED) break;
        AT(uint8_t, codes)[t] = (uint8_t)base;
        /* What the next base needs of memory comes while the net makes its state. */
        fetch_ahead(&b, b.registers[0] << 2 | (uint64_t)base, b.registers[1] >> 2 | (uint64_t)(3 - base) << 62,
                    learn & LEARN_COUNTS);
        take(&b, base, rate, learn);
    }
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(found);
}
