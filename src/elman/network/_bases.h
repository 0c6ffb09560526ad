/* One base of DNA after the other, a part of _kernels.c: counted contexts mixed with what a plain recurrent net says,
 * and the mixture and the counts learning from each base once it has been predicted. The twin, which says what is
 * computed, is in bases.py. `predict` and `take` are functions of their own, so that a base by itself and a base within
 * a run give the same bits: what one compressed, the other has to read.
 */

enum { DENSE_ORDER = 12, MOST_ORDERS = 24, SIZES = 12, AHEAD = 6, LARGEST = 255, LARGEST_HASHED = 15 };
enum { LEARN_WEIGHTS = 1, LEARN_COUNTS = 2 };

typedef struct {
    uint64_t *registers; /* the last 32 bases, newest lowest; the other strand, newest highest; how many are known */
    int64_t count;       /* K, the number of orders */
    const int64_t *orders;
    const int64_t *starts; /* where the table of each begins, in bytes */
    uint8_t *tables;
    int64_t bits;      /* log2 of the places of a hashed table */
    float *weights;    /* (K, 2, SIZES) */
    const float *logs; /* (K, 256): log(n + smoothing) */
    int64_t hidden;    /* H, 0: no net */
    const float *U;    /* (4, H) */
    const float *grams;
    int64_t ngrams; /* how many n there are */
    const int64_t *n;
    const int64_t *gram_starts; /* the first row of each */
    const float *bias;          /* (H,) or none */
    const float *W;             /* (H, H) */
    const float *V;             /* (H, 4) */
    const float *offset;        /* (4,) or none */
    int64_t kind;               /* of the activation */
    float *states;              /* row 0 is s(t-1); `take` writes the row after it */
    /* What `predict` leaves for `take`: */
    float *stretched; /* (K, 4) */
    int64_t *buckets; /* (K,), -1: not known */
    float *y;         /* (4,), the probabilities */
    float *mixed;     /* (4,), what the contexts add to the logits */
    float *drive;     /* (H,), room */
} Bases;

INLINE uint64_t lowest(int64_t order) { return order >= 32 ? ~0ull : (1ull << (2 * order)) - 1; }

INLINE uint64_t mingled(uint64_t context, int64_t order) {
    uint64_t z = (context + (uint64_t)order) * 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 29)) * 0xBF58476D1CE4E5B9ull;
    return z ^ (z >> 32);
}

/* The context of the other strand before the base that is `order` bases back: complements, the newest read first. */
INLINE uint64_t opposite(uint64_t reverse, int64_t order) { return order ? reverse >> (64 - 2 * order) : 0; }

INLINE uint32_t *places(const Bases *b, int64_t i) { return (uint32_t *)(b->tables + b->starts[i]); }

INLINE uint64_t place_of(const Bases *b, uint64_t z) { return (z >> 16) & ((1ull << b->bits) - 1); }

INLINE uint32_t check_of(uint64_t z) { return (uint32_t)((z & 0xffff) ? (z & 0xffff) : 1); }

/* The four counts of a context; whether there are any. */
INLINE void counts_of(const Bases *b, int64_t i, uint64_t context, int32_t n[4]) {
    if (b->orders[i] <= DENSE_ORDER) {
        const uint8_t *row = b->tables + b->starts[i] + 4 * context;
        for (int j = 0; j < 4; j++) n[j] = row[j];
        return;
    }
    uint64_t z = mingled(context, b->orders[i]), at = place_of(b, z);
    uint32_t first = places(b, i)[at], second = places(b, i)[at ^ 1], check = check_of(z);
    uint32_t found = first >> 16 == check ? first : second >> 16 == check ? second : 0;
    for (int j = 0; j < 4; j++) n[j] = (int32_t)((found >> (4 * j)) & 15);
}

INLINE int32_t total_of(uint32_t place) {
    return (int32_t)((place & 15) + ((place >> 4) & 15) + ((place >> 8) & 15) + ((place >> 12) & 15));
}

/* Count a base after a context. Counts that are full are halved; in a hashed table the less seen of two makes room. */
INLINE void count_base(const Bases *b, int64_t i, uint64_t context, int base) {
    if (b->orders[i] <= DENSE_ORDER) {
        uint8_t *row = b->tables + b->starts[i] + 4 * context;
        if (row[base] == LARGEST)
            for (int j = 0; j < 4; j++) row[j] >>= 1;
        row[base]++;
        return;
    }
    uint64_t z = mingled(context, b->orders[i]), at = place_of(b, z);
    uint32_t *first = places(b, i) + at, *second = places(b, i) + (at ^ 1), check = check_of(z), *place;
    if (*first >> 16 == check)
        place = first;
    else if (*second >> 16 == check)
        place = second;
    else {
        place = total_of(*first) <= total_of(*second) ? first : second;
        *place = check << 16;
    }
    if (((*place >> (4 * base)) & 15) == LARGEST_HASHED) *place = (*place & 0xffff0000u) | ((*place >> 1) & 0x7777u);
    *place += 1u << (4 * base);
}

/* y = softmax( s V + c + sum over orders of weight * ( log(n + smoothing) less its mean ) ). */
CLONES static void predict(const Bases *b) {
    uint64_t history = b->registers[0];
    int64_t known = (int64_t)b->registers[2];
    float a[4] = {0, 0, 0, 0}, r[4] = {0, 0, 0, 0};
    for (int64_t i = 0; i < b->count; i++) {
        int64_t order = b->orders[i];
        if (known < order) {
            b->buckets[i] = -1;
            continue;
        }
        int32_t n[4], sum = 0, top = 0;
        counts_of(b, i, history & lowest(order), n);
        float *l = b->stretched + 4 * i, mean = 0;
        for (int j = 0; j < 4; j++) {
            sum += n[j];
            top = n[j] > top ? n[j] : top;
            l[j] = b->logs[256 * i + n[j]];
            mean += 0.25f * l[j];
        }
        int64_t size = 0;
        for (int32_t rest = sum; rest; rest >>= 1) size++;
        size = size < SIZES ? size : SIZES - 1;
        b->buckets[i] = size + (sum && top == sum ? SIZES : 0);
        float weight = b->weights[2 * SIZES * i + b->buckets[i]];
        for (int j = 0; j < 4; j++) {
            l[j] -= mean;
            a[j] += weight * l[j];
        }
    }
    if (b->hidden) {
        const float *s = b->states;
        for (int64_t h = 0; h < b->hidden; h++)
            for (int j = 0; j < 4; j++) r[j] += s[h] * b->V[4 * h + j];
        if (b->offset)
            for (int j = 0; j < 4; j++) r[j] += b->offset[j];
    }
    float top = a[0] + r[0], sum = 0;
    for (int j = 0; j < 4; j++) {
        b->mixed[j] = a[j];
        b->y[j] = a[j] + r[j];
        top = b->y[j] > top ? b->y[j] : top;
    }
    for (int j = 0; j < 4; j++) sum += b->y[j] = exponential(b->y[j] - top);
    for (int j = 0; j < 4; j++) b->y[j] /= sum;
}

/* s(t) = f( rows of U and of the n-grams + bias + s(t-1) W ), into the row after s(t-1). */
CLONES static void advance(const Bases *b, int base) {
    int64_t width = b->hidden, known = (int64_t)b->registers[2];
    uint64_t reverse = b->registers[1];
    float *restrict drive = b->drive;
    const float *restrict s = b->states, *restrict row = b->U + base * width;
    for (int64_t h = 0; h < width; h++) drive[h] = row[h] + (b->bias ? b->bias[h] : 0.0f);
    for (int64_t g = 0; g < b->ngrams; g++) {
        if (known < b->n[g]) continue;
        uint64_t place = opposite(reverse, b->n[g]) ^ lowest(b->n[g]); /* the oldest base is the lowest digit */
        const float *restrict gram = b->grams + (b->gram_starts[g] + (int64_t)place) * width;
        for (int64_t h = 0; h < width; h++) drive[h] += gram[h];
    }
    int64_t i = 0;
    for (; i + 4 <= width; i += 4) {
        const float *restrict w = b->W + i * width;
        float s0 = s[i], s1 = s[i + 1], s2 = s[i + 2], s3 = s[i + 3];
        for (int64_t h = 0; h < width; h++)
            drive[h] += (s0 * w[h] + s1 * w[width + h]) + (s2 * w[2 * width + h] + s3 * w[3 * width + h]);
    }
    for (; i < width; i++)
        for (int64_t h = 0; h < width; h++) drive[h] += s[i] * b->W[i * width + h];
    float *restrict next = b->states + width;
    if (b->kind == TANH)
        for (int64_t h = 0; h < width; h++) next[h] = activation(drive[h], TANH);
    else if (b->kind == SIGMOID)
        for (int64_t h = 0; h < width; h++) next[h] = activation(drive[h], SIGMOID);
    else
        for (int64_t h = 0; h < width; h++) next[h] = activation(drive[h], RELU);
}

/* Learn from the base that was predicted, and read it. */
CLONES static void take(const Bases *b, int base, float rate, int learn) {
    uint64_t history = b->registers[0], longer = history << 2 | (uint64_t)base;
    uint64_t reverse = b->registers[1] >> 2 | (uint64_t)(3 - base) << 62;
    int64_t known = (int64_t)b->registers[2];
    if (learn & LEARN_WEIGHTS)
        for (int64_t i = 0; i < b->count; i++) {
            if (b->buckets[i] < 0) continue;
            const float *l = b->stretched + 4 * i;
            float slope = l[base];
            for (int j = 0; j < 4; j++) slope -= b->y[j] * l[j];
            b->weights[2 * SIZES * i + b->buckets[i]] += rate * slope;
        }
    if (learn & LEARN_COUNTS)
        for (int64_t i = 0; i < b->count; i++) {
            int64_t order = b->orders[i];
            if (known < order) continue;
            count_base(b, i, history & lowest(order), base);
            count_base(b, i, opposite(reverse, order), 3 - (int)(longer >> (2 * order) & 3));
        }
    b->registers[0] = longer;
    b->registers[1] = reverse;
    b->registers[2] = (uint64_t)(known + 1);
    if (b->hidden) advance(b, base);
}

/* Ask memory for the counts of the bases that come soon. */
INLINE void fetch_ahead(const Bases *b, uint64_t history, uint64_t reverse, int counting) {
    for (int64_t i = 0; i < b->count; i++) {
        int64_t order = b->orders[i];
        if (order < 9) continue; /* these are near anyway */
        for (int strand = 0; strand <= counting; strand++) {
            uint64_t context = strand ? opposite(reverse, order) : history & lowest(order);
            const uint8_t *row = order <= DENSE_ORDER
                                     ? b->tables + b->starts[i] + 4 * context
                                     : (const uint8_t *)(places(b, i) + place_of(b, mingled(context, order)));
#if defined(__GNUC__)
            __builtin_prefetch(row);
#else
            (void)row;
#endif
        }
    }
}

static Bases bases_from(unsigned long long address) {
    const int64_t *plan = AT(const int64_t, address);
    Bases b = {AT(uint64_t, plan[0]),      plan[1],
               AT(const int64_t, plan[2]), AT(const int64_t, plan[3]),
               AT(uint8_t, plan[4]),       plan[5],
               AT(float, plan[6]),         AT(const float, plan[7]),
               plan[8],                    AT(const float, plan[9]),
               AT(const float, plan[10]),  plan[11],
               AT(const int64_t, plan[12]), AT(const int64_t, plan[13]),
               AT(const float, plan[14]),  AT(const float, plan[15]),
               AT(const float, plan[16]),  AT(const float, plan[17]),
               plan[18],                   AT(float, plan[19]),
               AT(float, plan[20]),        AT(int64_t, plan[21]),
               AT(float, plan[22]),        AT(float, plan[23]),
               AT(float, plan[24])};
    return b;
}

/* Predict and take `count` bases: y of each, (count, 4), and what the contexts added to its logits, where asked for. */
static PyObject *bases_follow(PyObject *self, PyObject *args) {
    unsigned long long plan, codes, y, mixed;
    long long count, row;
    float rate;
    int learn, keep;
    if (!PyArg_ParseTuple(args, "KKLLKKfip", &plan, &codes, &count, &row, &y, &mixed, &rate, &learn, &keep)) return NULL;
    Bases b = bases_from(plan);
    const uint8_t *code = AT(const uint8_t, codes);
    float *first = b.states;
    Py_BEGIN_ALLOW_THREADS
    uint64_t history = b.registers[0], reverse = b.registers[1];
    for (int64_t t = 0; t < count + AHEAD; t++) {
        if (t < count) {
            history = history << 2 | code[t];
            reverse = reverse >> 2 | (uint64_t)(3 - code[t]) << 62;
            if (t + 1 < count) fetch_ahead(&b, history, reverse, learn & LEARN_COUNTS);
        }
        int64_t now = t - AHEAD;
        if (now < 0) continue;
        b.states = b.hidden ? first + (keep ? row + now : 0) * b.hidden : first;
        predict(&b);
        if (y) memcpy(AT(float, y) + 4 * now, b.y, 4 * sizeof(float));
        if (mixed) memcpy(AT(float, mixed) + 4 * now, b.mixed, 4 * sizeof(float));
        take(&b, code[now], rate, learn);
        if (b.hidden && !keep) memcpy(first, first + b.hidden, sizeof(float) * b.hidden);
    }
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

/* Predict one base: y, (4,), is left in the plan's own room. */
static PyObject *bases_predict(PyObject *self, PyObject *args) {
    unsigned long long plan;
    long long row;
    if (!PyArg_ParseTuple(args, "KL", &plan, &row)) return NULL;
    Bases b = bases_from(plan);
    b.states += row * b.hidden;
    predict(&b);
    Py_RETURN_NONE;
}

/* Take the base that was predicted last. */
static PyObject *bases_take(PyObject *self, PyObject *args) {
    unsigned long long plan;
    long long row;
    int base, learn;
    float rate;
    if (!PyArg_ParseTuple(args, "KLifi", &plan, &row, &base, &rate, &learn)) return NULL;
    Bases b = bases_from(plan);
    b.states += row * b.hidden;
    take(&b, base, rate, learn);
    Py_RETURN_NONE;
}

/* Count bases without predicting them: what a table is made of anew. */
static PyObject *bases_count(PyObject *self, PyObject *args) {
    unsigned long long plan, codes;
    long long count;
    if (!PyArg_ParseTuple(args, "KKL", &plan, &codes, &count)) return NULL;
    Bases b = bases_from(plan);
    const uint8_t *code = AT(const uint8_t, codes);
    b.hidden = 0;
    Py_BEGIN_ALLOW_THREADS
    uint64_t history = b.registers[0], reverse = b.registers[1];
    for (int64_t t = 0; t < count + AHEAD; t++) {
        if (t < count) {
            history = history << 2 | code[t];
            reverse = reverse >> 2 | (uint64_t)(3 - code[t]) << 62;
            if (t + 1 < count) fetch_ahead(&b, history, reverse, 1);
        }
        if (t >= AHEAD) take(&b, code[t - AHEAD], 0.0f, LEARN_COUNTS);
    }
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}
