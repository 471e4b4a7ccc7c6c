/* A layer for one instruction set: a RunLayer. The file that includes this one defines LAYER and the macros below. */

TARGET static void LAYER(const Layer *layer, const int32_t *inputs, int32_t *outputs, size_t capacity, size_t positions)
{
    for (size_t position = 0; position < positions; position += 2 * LANES)
        for (size_t row = 0; row < layer->rows; row += ROWS_AT_ONCE) {
            const Row *of = layer->row + row;
            const int32_t *weights = layer->weights + row;
            INTS sums[ROWS_AT_ONCE][2];
            for (size_t r = 0; r < ROWS_AT_ONCE; r++)
                sums[r][0] = sums[r][1] = SIMD(set1_epi32)(of[r].bias);
            const int32_t *from = inputs + position;
            size_t pairs = layer->pairs;
            do { /* at least one pair: a loop that may have none compiles to many more moves */
                const INTS x[2] = {((const INTS *)from)[0], ((const INTS *)from)[1]};
                for (size_t r = 0; r < ROWS_AT_ONCE; r++) {
                    const INTS weight = SIMD(set1_epi32)(weights[r]);
                    ADD_PRODUCTS(sums[r], x, weight);
                }
                from += capacity, weights += layer->rows;
            } while (--pairs);
            for (size_t r = 0; r < ROWS_AT_ONCE; r += 2) {
                SHORTS both[2];
                for (size_t i = 0; i < 2; i++) {
                    const Row *own = &of[r + i];
                    INTS rounded[2];
                    for (size_t half = 0; half < 2; half++) {
                        const FLOATS sum = SIMD(cvtepi32_ps)(sums[r + i][half]);
                        const FLOATS scaled = SIMD(mul_ps)(sum, SIMD(set1_ps)(own->unit));
                        const FLOATS negative = SIMD(mul_ps)(sum, SIMD(set1_ps)(own->negative_unit));
                        rounded[half] = SIMD(cvtps_epi32)(SIMD(max_ps)(scaled, negative));
                    }
                    both[i] = SIMD(packs_epi32)(rounded[0], rounded[1]);
                    both[i] = SIMD(max_epi16)(both[i], SIMD(set1_epi16)((int16_t)own->low));
                    both[i] = SIMD(min_epi16)(both[i], SIMD(set1_epi16)((int16_t)own->high));
                }
                INTS *to = (INTS *)(outputs + (row + r) / 2 * capacity + position);
                to[0] = SIMD(unpacklo_epi16)(both[0], both[1]);
                to[1] = SIMD(unpackhi_epi16)(both[0], both[1]);
            }
        }
}

#undef LAYER
#undef TARGET
#undef INTS
#undef SHORTS
#undef FLOATS
#undef SIMD
#undef LANES
#undef MULTIPLY_ADD
