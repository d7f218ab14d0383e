#include "train/data/order.h"

#include "runtime/philox.h"

order order_init(i64 count, uint64_t seed, uint64_t source, uint64_t epoch) {
    order o = {.count = count};
    int bits = count > 1 ? 64 - __builtin_clzll((uint64_t)count - 1) : 0;
    o.low_bits = (bits + 1) / 2;
    o.high_bits = bits / 2;
    for (uint64_t r = 0; r < ORDER_ROUNDS; r++) {
        philox_block b = philox(seed, epoch, (source * ORDER_ROUNDS + r) << 8 | RNG_WINDOWS);
        o.keys[r] = (uint64_t)b.v[0] << 32 | b.v[1];
    }
    return o;
}

/* the finalizer of MurmurHash3 */
static uint64_t mixed(uint64_t x) {
    x = (x ^ (x >> 33)) * 0xff51afd7ed558ccd;
    x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53;
    return x ^ (x >> 33);
}

static uint64_t network(const order *o, uint64_t x) {
    uint64_t low_mask = (1ULL << o->low_bits) - 1, high_mask = (1ULL << o->high_bits) - 1;
    uint64_t low = x & low_mask, high = x >> o->low_bits;
    for (int r = 0; r < ORDER_ROUNDS; r += 2) {
        high ^= mixed(low + o->keys[r]) & high_mask;
        low ^= mixed(high + o->keys[r + 1]) & low_mask;
    }
    return high << o->low_bits | low;
}

i64 order_at(const order *o, i64 i) {
    uint64_t x = (uint64_t)i;
    do x = network(o, x);
    while (x >= (uint64_t)o->count);
    return (i64)x;
}
