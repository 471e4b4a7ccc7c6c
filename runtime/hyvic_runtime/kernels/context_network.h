/* The context network in integers: products of 16-bit numbers and sums of 32 bits, the same on every processor.
 *
 * Channels lie in pairs, (pair, position, channel of the pair). So do the instructions take them that multiply two pairs
 * of 16-bit numbers and add both products, for several positions at once. A layer's sums are below 2^24
 * (context_weights.py checks it), so float32 holds them. Scaled by a power of two, rounded to the nearest integer with
 * ties to even, and clamped, the sums are the next layer's channels. See export/hyvic_export/integer_layer.py.
 */

#ifndef HYVIC_CONTEXT_NETWORK_H
#define HYVIC_CONTEXT_NETWORK_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#define ROWS_AT_ONCE 4
#define POSITIONS_AT_ONCE 32 /* a multiple of what any instruction set takes */
#define MAX_LAYERS 9
#define MAX_ROWS 256
#define OUTPUT_PAIRS 2 /* scale index and mean; gain and nothing */

typedef struct {
    int32_t bias;
    float unit, negative_unit; /* factors of sums, and of negative sums: powers of two, the latter no larger */
    int32_t low, high;         /* bounds of results; 16 bits */
} Row;

typedef struct {
    size_t pairs, rows;     /* of input channels; a multiple of ROWS_AT_ONCE */
    const int32_t *weights; /* (pair, row): the pair's first channel in the low half */
    const Row *row;
} Layer;

/* Compute the channels of positions 0 … positions - 1, a multiple of POSITIONS_AT_ONCE; a pair's plane holds `capacity`. */
typedef void RunLayer(const Layer *layer, const int32_t *inputs, int32_t *outputs, size_t capacity, size_t positions);

static inline int32_t paired(int32_t first, int32_t second)
{
    return (int32_t)((uint32_t)(uint16_t)first | (uint32_t)second << 16);
}

static inline int32_t first_of(int32_t pair) { return (int16_t)pair; }
static inline int32_t second_of(int32_t pair) { return pair >> 16; }

/* The definition, which every instruction set computes. */
static inline int32_t layer_output(const Layer *layer, size_t row, const int32_t *inputs, size_t capacity)
{
    const Row *of = &layer->row[row];
    int32_t sum = of->bias;
    for (size_t pair = 0; pair < layer->pairs; pair++) {
        const int32_t input = inputs[pair * capacity], weight = layer->weights[pair * layer->rows + row];
        sum += first_of(input) * first_of(weight) + second_of(input) * second_of(weight);
    }
    const float value = nearbyintf((float)sum * (sum < 0 ? of->negative_unit : of->unit));
    return (int32_t)fminf(fmaxf(value, (float)of->low), (float)of->high);
}

static void layer_in_c(const Layer *layer, const int32_t *inputs, int32_t *outputs, size_t capacity, size_t positions)
{
    for (size_t row = 0; row < layer->rows; row += 2)
        for (size_t i = 0; i < positions; i++)
            outputs[row / 2 * capacity + i] = paired(layer_output(layer, row, inputs + i, capacity),
                                                     layer_output(layer, row + 1, inputs + i, capacity));
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define ADD_PRODUCTS(sums, x, w) (sums[0] = MULTIPLY_ADD(sums[0], x[0], w), sums[1] = MULTIPLY_ADD(sums[1], x[1], w))

#define LAYER layer_in_sse2
#define TARGET
#define INTS __m128i
#define SHORTS __m128i
#define FLOATS __m128
#define SIMD(operation) _mm_##operation
#define LANES 4
#define MULTIPLY_ADD(sums, a, b) _mm_add_epi32(sums, _mm_madd_epi16(a, b))
#include "context_layer.h"

#define LAYER layer_in_avx2
#define TARGET __attribute__((target("avx2")))
#define INTS __m256i
#define SHORTS __m256i
#define FLOATS __m256
#define SIMD(operation) _mm256_##operation
#define LANES 8
#define MULTIPLY_ADD(sums, a, b) _mm256_add_epi32(sums, _mm256_madd_epi16(a, b))
#include "context_layer.h"

#define LAYER layer_in_avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vnni")))
#define INTS __m512i
#define SHORTS __m512i
#define FLOATS __m512
#define SIMD(operation) _mm512_##operation
#define LANES 16
#define MULTIPLY_ADD(sums, a, b) _mm512_dpwssd_epi32(sums, a, b)
#include "context_layer.h"

#elif defined(__aarch64__) && defined(__GNUC__)
#include <arm_neon.h>

/* NEON's instructions under the names of x86. */
#define neon_set1_epi32 vdupq_n_s32
#define neon_set1_epi16 vdupq_n_s16
#define neon_set1_ps vdupq_n_f32
#define neon_cvtepi32_ps vcvtq_f32_s32
#define neon_cvtps_epi32 vcvtnq_s32_f32
#define neon_mul_ps vmulq_f32
#define neon_max_ps vmaxq_f32
#define neon_packs_epi32(a, b) vcombine_s16(vqmovn_s32(a), vqmovn_s32(b))
#define neon_min_epi16 vminq_s16
#define neon_max_epi16 vmaxq_s16
#define neon_unpacklo_epi16(a, b) vreinterpretq_s32_s16(vzip1q_s16(a, b))
#define neon_unpackhi_epi16(a, b) vreinterpretq_s32_s16(vzip2q_s16(a, b))

/* NEON multiplies single channels, so the channels of eight positions are sorted first. */
static inline void neon_add_products(int32x4_t *sums, const int32x4_t *x, int32x4_t weight)
{
    const int16x8_t low = vreinterpretq_s16_s32(x[0]), high = vreinterpretq_s16_s32(x[1]);
    const int16x8_t first = vuzp1q_s16(low, high), second = vuzp2q_s16(low, high);
    const int16x4_t w = vget_low_s16(vreinterpretq_s16_s32(weight));
    sums[0] = vmlal_lane_s16(vmlal_lane_s16(sums[0], vget_low_s16(first), w, 0), vget_low_s16(second), w, 1);
    sums[1] = vmlal_high_lane_s16(vmlal_high_lane_s16(sums[1], first, w, 0), second, w, 1);
}

#define ADD_PRODUCTS neon_add_products
#define LAYER layer_in_neon
#define TARGET
#define INTS int32x4_t
#define SHORTS int16x8_t
#define FLOATS float32x4_t
#define SIMD(operation) neon_##operation
#define LANES 4
#include "context_layer.h"
#endif

typedef struct {
    const char *name;
    RunLayer *run;
} InstructionSet;

/* Instruction sets of this processor, the fastest first; the last is always there. */
static const InstructionSet *instruction_sets(size_t *count)
{
    static InstructionSet found[4];
    size_t n = 0;
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vnni"))
        found[n++] = (InstructionSet){"AVX-512 VNNI", layer_in_avx512};
    if (__builtin_cpu_supports("avx2"))
        found[n++] = (InstructionSet){"AVX2", layer_in_avx2};
    found[n++] = (InstructionSet){"SSE2", layer_in_sse2};
#elif defined(__aarch64__) && defined(__GNUC__)
    found[n++] = (InstructionSet){"NEON", layer_in_neon};
#endif
    found[n++] = (InstructionSet){"C", layer_in_c};
    *count = n;
    return found;
}

#endif
